"""Budgets, as the ones who pay meet them: storms on a small cap, kill -9, leaving clients, failovers; and what each ending costs."""
import asyncio
import hashlib
import json
import os
import random
import signal
import threading
import time

from harness import chat_body, chat_provider
from upstream import chat_answer, chat_events

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../policies")
INPUT, OUTPUT = 10, 100  # USD per million
PRICE = f"price = {{ input = usd({INPUT}), output = usd({OUTPUT}) }}"
MODEL = f'models = {{ x = {{ window = 8000, max_output = 500, {PRICE} }} }}'
IN, OUT = 20, 500
CALL = (IN * INPUT + OUT * OUTPUT) / 1e6  # what the provider below charges for a full answer: 0.0502 USD


def shipped(name):
    with open(os.path.join(FOLDER, f"{name}.lua")) as f:
        return f.read()


class Till:
    """A provider that charges for every request it begins to serve, whether anybody waits for the answer or not."""

    def __init__(self, h, seconds=0.03, fail=None, model="x"):
        self.lock, self.served, self.tokens, self.seconds, self.fail = threading.Lock(), 0, 0, seconds, fail
        self.up = h.upstream(self.answer)
        self.url = self.up.url

    @property
    def charged(self):
        return (self.served * IN * INPUT + self.tokens * OUTPUT) / 1e6

    def answer(self, request, peer):
        if self.fail and random.random() < self.fail:
            peer.answer(b'{"error":{"message":"busy","type":"server_error"}}', 500)
            return True
        asked = json.loads(request.body)
        out = min(OUT, asked.get("max_completion_tokens", OUT), asked.get("max_tokens", OUT))
        with self.lock:
            self.served += 1
            self.tokens += out
        time.sleep(self.seconds)
        peer.answer(chat_answer(usage={"prompt_tokens": IN, "completion_tokens": out, "total_tokens": IN + out}))
        return True


def capped(h, options, *providers, more="", env=None):
    text = "".join(providers) + f'use "cost_caps" {{ {options} }}\n' + more
    return h.weir(text, policies={"cost_caps": shipped("cost_caps")}, env=env)


async def ask(port, body, statuses, leave=None):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        if leave is not None:
            await asyncio.sleep(leave)
            writer.transport.abort()
            statuses.append(0)
            return
        line = await asyncio.wait_for(reader.readline(), 30)
        await reader.read()
        statuses.append(int(line.split()[1]) if line else 0)
        writer.close()
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        statuses.append(0)


def storm(port, count, body=None, leaving=0.0):
    statuses = []

    async def all_of_them():
        await asyncio.gather(*(ask(port, body or chat_body("a/x"), statuses, random.random() * 0.05 if random.random() < leaving else None) for _ in range(count)))
    asyncio.run(all_of_them())
    return statuses


def test_a_thousand_at_once_on_a_cap_for_37(h):
    till = Till(h)
    cap = 37.5 * CALL
    w = capped(h, f'per = "all", day = usd({cap:.6f})', chat_provider("a", till.url, MODEL), more="defaults { queue = 0.5 }\n")
    statuses = storm(w.port, 1000)
    assert till.charged <= cap, (till.charged, cap)
    assert statuses.count(200) == till.served, (statuses.count(200), till.served)
    assert set(statuses) == {200, 429}, set(statuses)
    while w.chat("a/x").status == 200:  # what came back is spent to the last answer that fits
        pass
    assert cap - till.charged < CALL + 0.002, (cap, till.charged)
    a = w.chat("a/x")
    error = json.loads(a.body)["error"]
    assert a.status == 429 and error["type"] == "insufficient_quota" and error["weir"]["fault"] == "capped", a
    assert a.header("x-should-retry") == "false" and a.header("retry-after") is None, a
    assert "a day" in error["message"] and "begins anew at" in error["message"], error


def test_leaving_clients_pay(h):
    till = Till(h)
    cap = 25.5 * CALL
    w = capped(h, f'per = "all", total = usd({cap:.6f})', chat_provider("a", till.url, MODEL), more="defaults { queue = 0.5 }\n")
    storm(w.port, 300, leaving=0.7)
    time.sleep(0.2)
    assert till.charged <= cap, (till.charged, cap)
    storm(w.port, 100)
    assert till.charged <= cap, (till.charged, cap)
    assert till.served >= 10, till.served


def test_failovers_pay_once(h):
    bad, good = Till(h, fail=1.0), Till(h, fail=0.3)
    cap = 20.5 * CALL
    w = capped(h, f'per = "all", hour = usd({cap:.6f})', chat_provider("a", bad.url, MODEL), chat_provider("b", good.url, MODEL),
               more='model "chain" { "a/x", "b/x" }\ndefaults { queue = 0.3 }\n')
    storm(w.port, 200, chat_body("chain"))
    assert bad.served == 0 and good.charged <= cap, (good.charged, cap)
    while w.chat("chain").status in (200, 500, 502):
        pass
    assert cap - good.charged < CALL + 0.002, (cap, good.charged)


def test_kill_and_restart(h):
    """What a killed process had under way counts as it was reserved; nothing is forgotten."""
    till = Till(h, seconds=0.02)
    cap = 60.5 * CALL
    w = capped(h, f'per = "all", day = usd({cap:.6f})', chat_provider("a", till.url, MODEL), more="defaults { queue = 0.2 }\n")
    kills = 6
    for _ in range(kills):
        done = []
        t = threading.Thread(target=lambda w=w: done.extend(storm(w.port, 12)))
        t.start()
        time.sleep(0.01 + random.random() * 0.06)
        w.signal(signal.SIGKILL)
        w.wait()
        t.join()
        w = h.again(w)
        assert till.charged <= cap, (till.charged, cap)
    while w.chat("a/x").status == 200:
        pass
    assert till.charged <= cap, (till.charged, cap)
    lost = cap - till.charged  # at most what was under way at the kills, reserved a little higher than it cost
    assert lost <= (kills * 12 + 2) * (CALL + 0.002), (lost, cap)


# ---- what one exchange costs, by how it ends
def record(w, a):
    return w.record(a.header("x-request-id"))


def test_cost_of_a_whole_answer(h):
    till = Till(h, 0)
    w = capped(h, 'per = "all", day = usd(1)', chat_provider("a", till.url, MODEL))
    a = w.chat("a/x", headers=[("x-weir-include", "estimate")])
    assert a.header("x-weir-cost-usd") == "0.0502", a
    assert 0.05 < float(a.header("x-weir-estimate-usd")) < 0.06, a
    assert a.header("x-weir-output-limit") == "500", a
    assert json.loads(till.up.requests[0].body)["max_completion_tokens"] == 500
    assert record(w, a)["cost"] == "0.0502"
    assert w.metric("weir_spend_usd_total", model="a/x") == 0.0502


def test_the_callers_own_limit_stands(h):
    till = Till(h, 0)
    w = capped(h, 'per = "all", day = usd(1)', chat_provider("a", till.url, MODEL))
    body = chat_body("a/x", max_tokens=77)
    a = w.post("/v1/chat/completions", body)
    assert a.status == 200 and a.header("x-weir-output-limit") is None
    assert till.up.requests[0].body == body.replace(b'"a/x"', b'"x"')


def test_a_small_rest_makes_a_short_answer(h):
    till = Till(h, 0)
    w = capped(h, 'per = "all", request = usd(0.02)', chat_provider("a", till.url, MODEL))
    a = w.chat("a/x")
    limit = int(a.header("x-weir-output-limit"))
    assert a.status == 200 and 100 < limit < 200, a


def test_no_price_is_a_decision(h):
    till = Till(h, 0)
    refuse = capped(h, 'per = "all", day = usd(1)', chat_provider("a", till.url))
    a = refuse.chat("a/unheard-of")
    assert a.status == 400 and "no price" in json.loads(a.body)["error"]["message"], a
    assert not till.up.requests
    assert refuse.metric("weir_requests_total", dialect="chat", model="other", status="400") == 1
    a = refuse.post("/a/images/generations", b'{"model":"x"}')
    assert a.status == 400 and "asked on this path" in json.loads(a.body)["error"]["message"], a
    free = capped(h, 'per = "all", day = usd(1)', chat_provider("a", till.url), more='prices { unpriced = "pass" }\n')
    assert free.chat("a/unheard-of").status == 200


def test_what_it_may_cost_is_told_without_a_budget_too(h):
    till = Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL))
    a = w.post("/v1/chat/completions", chat_body("a/x"), [("x-weir-include", "estimate")])
    assert CALL <= float(a.header("x-weir-estimate-usd")) < CALL + 0.003 and a.header("x-weir-output-limit") is None, a
    assert w.chat("a/x").header("x-weir-estimate-usd") is None


def stream_with_usage(request, peer):
    """As OpenAI does it: null in every chunk, then a chunk of its own."""
    events = chat_events("Hel", "lo.")
    if b"include_usage" in request.body:
        events = [e.replace(b"}\n\n", b', "usage": null}\n\n') for e in events]
        usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
        events.insert(-1, b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}).encode() + b"\n\n")
    peer.stream(*events)
    return True


def test_usage_option_is_invisible(h):
    """weir asks for the usage of a stream for itself; the client gets the bytes of a call without it."""
    up = h.upstream(stream_with_usage)
    plain = h.weir(chat_provider("a", up.url, MODEL + ", usage_option = false"))
    w = capped(h, 'per = "all", day = usd(1)', chat_provider("a", up.url, MODEL + ", usage_option = true"))
    a, b = plain.chat("a/x", True), w.chat("a/x", True)
    assert b"include_usage" in up.requests[1].body and b"include_usage" not in up.requests[0].body
    assert a.body == b.body, (a.body, b.body)
    time.sleep(0.05)
    assert record(w, b)["cost"] == "0.0502", record(w, b)


def test_a_ledger_that_was_asked_for_knows_the_usage_of_streams(h):
    """Without the word nothing is asked for, and weir counts what it sees."""
    up = h.upstream(stream_with_usage)
    plain = h.weir(chat_provider("a", up.url, MODEL.replace("x = {", "x = { hidden = false,") + ", usage_option = true"))
    w = h.weir(chat_provider("a", up.url, MODEL + ", usage_option = true") + "ledger { keep = days(1) }\n")
    a, b = plain.chat("a/x", True), w.chat("a/x", True)
    assert b"include_usage" not in up.requests[0].body and b"include_usage" in up.requests[1].body
    assert a.body == b.body, (a.body, b.body)
    time.sleep(0.05)
    assert record(w, b)["cost"] == "0.0502" and record(plain, a)["output"] > 0 and record(plain, a)["cost"] != "0", (record(w, b), record(plain, a))


def test_a_stream_ends_at_its_reservation(h):
    """No output limit goes out for a stream of visible text: it is extended as it goes, and ended as `length` where the money ends."""
    def endless(request, peer):
        word = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"x","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n' % (b"word " * 20)
        try:
            peer.stream(end=False)
            for _ in range(2000):
                peer.chunk(word)
        except OSError:
            pass
    up = h.upstream(endless)
    w = capped(h, 'per = "all", day = usd(0.5)', chat_provider("openai", up.url, f'models = {{ x = {{ hidden = false, {PRICE} }} }}'))
    a = w.chat("openai/x", True)
    assert a.status == 200 and b'"finish_reason":"length"' in a.body and a.body.endswith(b"data: [DONE]\n\n"), a.body[-300:]
    assert 2000 < len(a.text()) <= 5000, len(a.text())
    r = record(w, a)
    assert r["end"] == "capped" and float(r["cost"]) <= 0.5, r

    # What the caller allows does not have to be there at once; and no more is reserved than it allows.
    w = capped(h, 'per = "all", day = usd(0.5)', chat_provider("openai", up.url, f'models = {{ x = {{ hidden = false, {PRICE} }} }}'))
    a = w.post("/v1/chat/completions", chat_body("openai/x", stream=True, max_tokens=32000))
    assert a.status == 200 and b'"finish_reason":"length"' in a.body and 2000 < len(a.text()) <= 5000, a.body[-300:]
    assert b'"max_tokens": 32000' in up.requests[-1].body and float(record(w, a)["cost"]) <= 0.5, up.requests[-1].body
    few = h.upstream(lambda request, peer: peer.stream(*chat_events(*["word " * 1000] * 3)) or True)  # 15,000 bytes of at most 3,000 tokens
    w = capped(h, 'per = "all", day = usd(0.35)', chat_provider("openai", few.url, f'models = {{ x = {{ hidden = false, {PRICE} }} }}'))
    a = w.post("/v1/chat/completions", chat_body("openai/x", stream=True, max_tokens=3000))
    assert len(a.text()) == 15000 and b'"finish_reason": "stop"' in a.body, a.body[-300:]


def test_a_stream_does_not_wait_for_the_disk(h):
    """What comes all at once needs more than the store has promised, but not more than the budget has."""
    many = h.upstream(lambda request, peer: peer.stream(*chat_events(*["word " * 1000] * 8)) or True)  # 40,000 bytes
    w = capped(h, 'per = "all", day = usd(5)', chat_provider("openai", many.url, f'models = {{ x = {{ hidden = false, {PRICE} }} }}'))
    a = w.chat("openai/x", True)
    assert len(a.text()) == 40000 and record(w, a)["end"] == "done", (len(a.text()), record(w, a))


def test_under_the_providers_own_name_it_counts_too(h):
    """/{provider}/… and unread answers: what they cost is read as it passes."""
    till = Till(h, 0)
    w = capped(h, 'per = "all", day = usd(0.12)', chat_provider("a", till.url, MODEL))
    body = chat_body("x", max_tokens=500)
    statuses = [w.post("/a/v1/chat/completions", body).status for _ in range(3)]
    assert statuses == [200, 200, 429], statuses
    assert till.up.requests[0].body == body
    assert till.charged <= 0.12


def test_what_has_no_price_is_refused_under_a_cap(h):
    till = Till(h, 0)
    w = capped(h, 'per = "all", day = usd(1)', chat_provider("a", till.url, MODEL) + 'default_provider "a"\n')
    a = w.post("/v1/images/generations", b'{"prompt":"a weir"}')
    assert a.status == 400 and "no price" in json.loads(a.body)["error"]["message"], a


def test_failed_attempts(h):
    """A refusal costs nothing; an answer that was cut counts as it was reserved."""
    def cut(request, peer):
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{")
        peer.close()
    refusing, cutting, good = h.upstream(lambda r, p: p.answer(b"{}", 500)), h.upstream(cut), Till(h, 0)
    w = capped(h, 'per = "all", day = usd(1)', chat_provider("a", refusing.url, MODEL), chat_provider("b", cutting.url, MODEL), chat_provider("c", good.url, MODEL),
               more='model "chain" { "a/x", "b/x", "c/x" }\n')
    a = w.chat("chain")
    assert a.status == 200 and a.header("x-weir-attempts") == "3", a
    failed = record(w, a)["failed"]
    assert "cost" not in failed[0] and 0.05 < float(failed[1]["cost"]) < 0.06, failed
    assert 0.1 < float(record(w, a)["cost"]) < 0.11, record(w, a)


def test_what_a_key_says_no_client_can_say_otherwise(h):
    """Budgets of a user or a tag that the key has: headers and bodies name another one in vain."""
    till = Till(h, 0)
    key = f'key "k" {{ hash = "sha256:{hashlib.sha256(b"secret").hexdigest()}", user = "ann", tags = {{ project = "apollo" }} }}\n'
    as_bob = [("x-litellm-customer-id", "bob"), ("x-weir-tags", "project=other, free=yes"), ("x-portkey-metadata", '{"_user":"bob","project":"other"}')]
    body = chat_body("a/x", user="bob", metadata={"project": "other"})
    policy = "local p = {}\nfunction p.on_request(req) req:note('who', (req.user or '-') .. '/' .. (req.tags.project or '-') .. '/' .. (req:tag('project') or '-') .. '/' .. (req.tags.free or '-')) end\nreturn p"
    for per in ("user", "tag:project"):
        w = h.weir(key + chat_provider("a", till.url, MODEL) + f'use "who"\nuse "cost_caps" {{ per = "{per}", day = usd(0.06) }}\n', policies={"cost_caps": shipped("cost_caps"), "who": policy})
        bearer = [("authorization", "Bearer secret")]
        assert w.post("/v1/chat/completions", chat_body("a/x"), bearer).status == 200
        second = w.post("/v1/chat/completions", body, bearer + as_bob)
        assert second.status == 200 and 0 < float(second.header("x-weir-cost-usd")) <= 0.0098, second  # what the first one left
        assert record(w, second)["notes"]["who"] == "ann/apollo/apollo/yes", record(w, second)
        w.rows(2)
        report = json.loads(h.run("report", "--config", w.file, "--by", per, "--json", env={"OPENAI_KEY": ""}).stdout)
        assert [(r[per], r["requests"]) for r in report] == [("ann" if per == "user" else "apollo", 2)], report


def test_who_pays_by_other_gateways_headers(h):
    """Tags, users and sessions of clients that were written for another gateway."""
    till = Till(h, 0)
    policy = "local p = {}\nfunction p.on_request(req) req:note('who', (req.user or '-') .. '/' .. (req.session or '-') .. '/' .. (req.tags.team or '-') .. '/' .. (req.tags.prod or '-')) end\nreturn p"
    w = h.weir(chat_provider("a", till.url) + 'use "who"\n', policies={"who": policy})
    for headers in ([("x-litellm-tags", "team:red, prod"), ("x-litellm-customer-id", "ann"), ("x-litellm-session-id", "s1")],
                    [("x-portkey-metadata", '{"_user":"ann","team":"red","prod":true}'), ("x-portkey-trace-id", "s1")],
                    [("x-weir-tags", "team=red, prod=true"), ("x-litellm-end-user-id", "ann"), ("x-weir-session", "s1")]):
        a = w.chat("a/x", headers=headers)
        assert record(w, a)["notes"]["who"] == "ann/s1/red/true", record(w, a)
        sent = till.up.requests[-1].names()
        assert not [n for n in sent if n.startswith(("x-litellm", "x-portkey", "x-weir"))], sent
    body = chat_body("a/x", user="ann", metadata={"team": "red", "prod": "true", "session_id": "s1"})
    assert record(w, w.post("/v1/chat/completions", body))["notes"]["who"] == "ann/s1/red/true"
