"""weir.ask: a question of a policy goes through weir as a client's does, and ends with who asked. INTERFACE 4."""

import os
import threading
import time

import wire
from harness import SECRET, chat_body, chat_provider, messages_provider, until
from upstream import chat_answer, chat_events, messages_answer

SHIPPED = {"WEIR_POLICIES": os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "policies")}
JUDGED = 'model "chain" { "p/a", "other/b" }\nuse "judge" { model = "judge/small", seconds = 2 }\n'


def says(text, delay=0):
    def handler(request, peer):
        time.sleep(delay)
        peer.answer(chat_answer(text))
        return True

    return handler


def judged(h, judge, more=JUDGED):
    """A weir with the shipped judge before two providers."""
    p, other, j = h.upstream(says("It is so.")), h.upstream(says("It is not.")), h.upstream(judge)
    w = h.weir(chat_provider("p", p.url) + chat_provider("other", other.url) + chat_provider("judge", j.url) + more, env=SHIPPED)
    return w, p, other, j


def asking(h, hooks, config):
    return h.weir(config + 'use "rule"\n', policies={"rule": f"local p = {{}}\n{hooks}\nreturn p\n"})


def children(w, parent, count=1):
    """The access lines of the questions that a request asked."""
    return until(lambda: (r := [x for x in w.records() if x.get("parent") == parent]) and len(r) >= count and r, 3, f"{count} questions of {parent}")


def test_judge_rejects_and_the_next_target_answers(h):
    scores = iter(["3", "Score: 8.5"])
    w, p, other, j = judged(h, lambda request, peer: says(next(scores))(request, peer))
    a = w.chat("chain", headers=[("x-client-header", "1")])
    assert a.status == 200 and a.text() == "It is not." and a.header("x-weir-target") == "other/b", a
    assert a.header("x-weir-attempts") == "2", a
    record = w.record(a.header("x-request-id"))
    assert record["notes"]["judge"] == "8.5" and record["failed"][0]["fault"] == "invalid" and "parent" not in record, record
    asked = children(w, record["id"], 2)
    assert [r["target"] for r in asked] == ["judge/small"] * 2 and {r["policy"] for r in asked} == {"judge"}, asked
    assert all(r["end"] == "done" and r["input"] == 3 and r["id"] != record["id"] for r in asked), asked
    sent = j.requests[0]
    body = sent.json()
    assert body["model"] == "small" and body["temperature"] == 0 and body["max_tokens"] == 16, body
    assert [m["role"] for m in body["messages"]] == ["system", "user"] and "It is so." in body["messages"][1]["content"], body
    assert sent.header("x-client-header") is None and sent.header("authorization") == f"Bearer {SECRET}", sent.head
    assert w.metric("weir_attempts_total", target="judge/small") == 2


def test_judge_of_a_stream(h):
    scores = iter(["1", "9"])
    w, p, other, j = judged(h, lambda request, peer: says(next(scores))(request, peer))
    for u, text in ((p, "First"), (other, "Second")):
        u.handler = lambda request, peer, text=text: peer.stream(*chat_events(text, " answer.")) or True
    a = w.chat("chain", stream=True)
    assert a.status == 200 and a.text() == "Second answer." and a.body.count(b"[DONE]") == 1 and b"First" not in a.body, a


def test_judge_times_out(h):
    more = JUDGED.replace("seconds = 2", "seconds = 0.2")
    w, p, other, j = judged(h, lambda request, peer: peer.gone(5), more)
    a = w.chat("chain")
    assert a.status == 200 and a.header("x-weir-target") == "p/a", a
    record = w.record(a.header("x-request-id"))
    assert record["notes"]["judge"] == "timeout" and record["ms"] < 2000 * h.slow, record
    assert children(w, record["id"])[0]["end"] == "timeout"
    w.write(w.config.replace("seconds = 0.2", 'seconds = 0.2, on_timeout = "reject"'))
    assert w.reload()[0] == 0
    a = w.chat("chain")
    assert a.status == 502 and a.weir["fault"] == "invalid" and len(a.weir["tried"]) == 2, a


def test_fallback_of_the_question(h):
    """The judge's own chain fails over between dialects."""
    hooks = """
        function p.on_request(req)
          local r, fault = weir.ask { model = "judges", max_tokens = 9, stop = "END", messages = {
            { role = "system", content = "Be brief." }, { role = "user", content = { { type = "text", text = "Hel" }, { type = "text", text = "lo?" } } } } }
          return weir.answer(r and r.text .. " " .. r.finish .. " " .. r.status .. " " .. r.usage.output .. " " .. tostring(r.done) .. " " .. r.headers["x-weir-target"] or fault.kind)
        end"""
    bad, good = h.upstream(lambda request, peer: peer.answer(b"{}", 500) or True), h.upstream()
    good.handler = lambda request, peer: peer.answer(messages_answer("Hi.")) or True
    config = chat_provider("c", bad.url) + messages_provider("m", good.url) + 'model "judges" { "c/x", "m/y" }\n'
    w = asking(h, hooks, config)
    a = w.chat("c/x")
    assert a.text() == "Hi. end_turn 200 2 true m/y", a
    assert bad.one().json()["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    assert bad.one().json()["stop"] == ["END"]
    sent = good.one()
    assert sent.target == "/v1/messages" and sent.header("anthropic-version"), sent.head
    assert sent.json() == {
        "model": "y",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hello?"}],
        "max_tokens": 9,
        "stop_sequences": ["END"],
    }, sent.body
    record = children(w, a.header("x-request-id"))[0]
    assert record["path"] == "/v1/messages" and record["failed"][0]["target"] == "c/x" and record["model"] == "judges", record


def test_faults(h):
    hooks = """
        function p.on_request(req)
          local r, f = weir.ask { model = req.model, messages = { { role = "user", content = "?" } }, timeout = 1 }
          return weir.answer { r == nil, f.kind, f.status or 0, f.target, f.phase, f.retry_after or 0, f.code or "" }
        end"""
    answers = {
        "limited": lambda peer: peer.answer(b'{"error":{"code":"slow"}}', 429, [("retry-after", "30")]),
        "empty": lambda peer: peer.answer(chat_answer("")),
        "broken": lambda peer: peer.answer(b"<html>"),
        "packed": lambda peer: peer.answer(b"\x1f\x8b\x08\x00", headers=[("content-encoding", "gzip")]),
        "cut": lambda peer: peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"),
        "large": lambda peer: peer.answer(chat_answer("x" * 70000)),
    }
    u = h.upstream(lambda request, peer: answers[request.json()["model"]](peer))
    config = "defaults { max_answer = kb(64) }\n" + chat_provider("p", u.url) + chat_provider("down", f"http://127.0.0.1:{h.port()}/v1")
    w = asking(h, hooks, config)
    for model, want in {
        "p/limited": [True, "rate_limited", 429, "p/limited", "head", 30, "slow"],
        "p/empty": [True, "empty", 200, "p/empty", "head", 0, ""],
        "p/broken": [True, "invalid", 200, "p/broken", "head", 0, ""],
        "p/packed": [True, "protocol", 200, "p/packed", "head", 0, ""],
        "p/cut": [True, "connection", 200, "p/cut", "stream", 0, ""],
        "p/large": [True, "invalid", 200, "p/large", "head", 0, ""],
        "down/x": [True, "connection", 0, "down/x", "connect", 0, ""],
        "dwon/x": [True, "not_found", 0, "dwon/x", "head", 0, ""],
    }.items():
        a = w.chat(model)
        assert a.status == 200 and a.json() == want, (model, a.body)
    assert "did you mean 'down'" in w.err, w.err[-600:]


def test_client_leaves_while_asking(h):
    left = []
    w, p, other, j = judged(h, lambda request, peer: left.append(peer.gone(5)), JUDGED.replace("seconds = 2", "seconds = 20"))
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body("chain")))
        j.one()
        c.close()
    until(lambda: left, 3 * h.slow, "the judge's upstream to be closed")
    assert left[0] is not None and left[0] < 1 * h.slow, left
    until(lambda: len([r for r in w.records() if r["end"] == "client_gone"]) == 2, 3, "two records")
    w2 = [r for r in w.records()]
    assert {r.get("policy") for r in w2} == {None, "judge"}, w2


def test_budget_ends_while_the_judge_reads(h):
    """What is judged has no time left: the question about it ends with it."""
    left = []
    w, p, other, j = judged(h, lambda request, peer: left.append(peer.gone(5)), JUDGED.replace("seconds = 2", "seconds = 20"))
    long = ["word "] * 200
    p.handler = lambda request, peer: peer.stream(*chat_events(*long)) if request.json().get("stream") else peer.answer(chat_answer("".join(long)))
    for stream in (False, True):
        a = w.chat("chain", stream=stream, headers=[("x-weir-timeout", "0.3")])
        assert a.status == 504 and a.weir["fault"] == "timeout", a
    until(lambda: len(left) == 2 and None not in left, 2, "the judge's upstreams to be closed")
    until(lambda: len([r for r in w.records() if r.get("parent")]) == 2, 3, "a record of each question")


def test_latency_budget_covers_the_question(h):
    hooks = """
        function p.on_request(req)
          local begun = weir.now()
          local r, f = weir.ask { model = "p/x", messages = { { role = "user", content = "?" } }, timeout = 30 }
          req:note("never", 1)
        end"""
    left = []
    u = h.upstream(lambda request, peer: left.append(peer.gone(5)))
    w = asking(h, hooks, chat_provider("p", u.url))
    a = w.chat("p/y", headers=[("x-weir-timeout", "0.3")])
    assert a.status == 504 and a.weir["fault"] == "timeout", a
    until(lambda: left and left[0] is not None, 2, "the question's upstream to be closed")
    assert len(u.requests) == 1


def test_no_policy_runs_for_the_question(h):
    hooks = """
        local seen = weir.shared("seen")
        local function count(name) return function(req, x)
          seen:add(name, 1)
          if name == "on_request" then
            local r = weir.ask { model = "p/x", messages = { { role = "user", content = "?" } } }
            req:note("asked", r.text)
          end
        end end
        for _, name in ipairs { "on_request", "on_attempt", "on_response", "on_done" } do p[name] = count(name) end
        p.on_chunk = function(req, chunk) if chunk.finish then
          for _, name in ipairs { "on_request", "on_attempt", "on_response" } do req:note(name, seen:get(name)) end
        end end"""
    u = h.upstream()
    w = asking(h, hooks, chat_provider("p", u.url))
    a = w.chat("p/y", stream=True)
    notes = w.record(a.header("x-request-id"))["notes"]
    assert notes == {"asked": "Hello.", "on_request": "1", "on_attempt": "1", "on_response": "1"}, notes
    assert len(u.requests) == 2


def test_reload_while_asking(h):
    go, scores = threading.Event(), []

    def judge(request, peer):
        scores.append(1)
        if len(scores) == 1:
            go.wait(5)
        peer.answer(chat_answer("9"))
        return True

    w, p, other, j = judged(h, judge, JUDGED.replace("seconds = 2", "seconds = 20"))
    got = []
    t = threading.Thread(target=lambda: got.append(w.chat("chain")))
    t.start()
    j.one()
    w.write(chat_provider("p", p.url) + 'model "chain" { "p/a" }\n')
    assert w.reload()[0] == 0
    assert w.chat("chain").status == 200 and len(scores) == 1
    go.set()
    t.join(5)
    assert got and got[0].status == 200 and got[0].header("x-weir-target") == "p/a", got
    record = w.record(got[0].header("x-request-id"))
    assert record["notes"]["judge"] == "9" and children(w, record["id"])[0]["generation"] == record["generation"], record


def test_drain_while_asking(h):
    """The process ends: who asked gets its answer first."""
    w, p, other, j = judged(h, says("9", 0.4))
    got = []
    t = threading.Thread(target=lambda: got.append(w.chat("chain")))
    t.start()
    j.one()
    w.signal(15)
    t.join(5)
    assert got and got[0].status == 200, got
    assert w.wait(5) == 0


def test_drain_is_over_while_asking(h):
    left = []
    more = JUDGED.replace("seconds = 2", "seconds = 20") + "defaults { drain = 0.3 }\n"
    w, p, other, j = judged(h, lambda request, peer: left.append(peer.gone(5)), more)
    got = []
    t = threading.Thread(target=lambda: got.append(w.chat("chain")))
    t.start()
    j.one()
    w.signal(15)
    t.join(5)
    assert got and got[0].status == 503 and got[0].weir["fault"] == "drained", got
    assert w.wait(5) == 0
    until(lambda: left and left[0] is not None, 3, "the question's upstream to be closed")


def test_mistakes_are_told(h):
    cases = {
        "weir.ask { messages = { { role = 'user', content = 'x' } } }": "model is the name of a model",
        "weir.ask { model = 'p/x' }": "messages is a list",
        "weir.ask { model = 'p/x', messages = { { role = 'tool', content = 'x' } } }": "has system, user and assistant",
        "weir.ask { model = 'p/x', messages = { { role = 'user', content = { { type = 'image' } } } } }": "made of text alone",
        "weir.ask { model = 'p/x', mesages = {} }": "messages",
        "weir.ask { model = 'p/x', messages = { { role = 'user', content = 'x' } }, fields = { stream = true } }": "may not hold stream",
        "weir.ask { model = 'p/x', messages = { { role = 'user', content = 'x' } }, timeout = -1 }": "timeout is a number",
        "weir.ask { model = 'p/x', messages = { { role = 'user', content = 'x' } }, temperature = 'hot' }": "temperature is a number",
    }
    u = h.upstream()
    w = asking(h, "function p.on_request() end", chat_provider("p", u.url))
    for i, (call, why) in enumerate(cases.items()):
        w.policy("rule", f"return {{ on_request = function(req) local ok, e = pcall(function() {call} end) return weir.answer(tostring(e)) end }}")
        assert w.reload()[0] == 0
        assert why in w.chat("p/x").text(), (call, w.chat("p/x").body)
    w.policy("rule", "return { on_chunk = function() weir.ask { model = 'p/x', messages = { { role = 'user', content = 'x' } } } end }")
    assert w.reload()[0] == 0
    w.chat("p/x", stream=True)
    assert "weir.ask waits, and on_chunk may not wait" in w.err and len(u.requests) == 1, w.err[-500:]


def test_in_every_hook_that_may_wait(h):
    hooks = """
        local function yes(req, what)
          local r, f = weir.ask { model = "j/x", messages = { { role = "user", content = what } }, timeout = 2 }
          req:note(what, r and r.text or f.kind)
          return r and r.text == "yes"
        end
        function p.on_request(req) yes(req, "request") end
        function p.on_attempt(req, attempt) if yes(req, "skip " .. attempt.target) then return weir.skip("as told") end end
        function p.on_failure(req, attempt, fault) if yes(req, "again") and req.attempts == 1 then return weir.retry { after = 0 } end end
        function p.on_response(req, response) if yes(req, "reject " .. response.text) then return weir.reject("as told") end end"""
    said = {"skip a/m": "yes", "again": "yes", "reject first": "yes"}
    answers = iter(["first", "second"])

    def judge(request, peer):
        peer.answer(chat_answer(said.get(request.json()["messages"][0]["content"], "no")))
        return True

    j, a, b = h.upstream(judge), h.upstream(), h.upstream(lambda r, peer: peer.answer(chat_answer(next(answers))) or True)
    w = asking(h, hooks, chat_provider("j", j.url) + chat_provider("a", a.url) + chat_provider("b", b.url) + 'model "chain" { "a/m", "b/m" }\n')
    r = w.chat("chain")
    assert r.text() == "second" and not a.requests and len(b.requests) == 2, r
    asked = [q.json()["messages"][0]["content"] for q in j.requests]
    assert asked == ["request", "skip a/m", "skip b/m", "reject first", "again", "skip b/m", "reject second"], asked
    assert len(children(w, r.header("x-request-id"), 7)) == 7


def test_budget_ends_in_every_hook(h):
    ask = 'weir.ask { model = "j/x", messages = { { role = "user", content = "?" } } }'
    left = []
    for hook in ("on_request", "on_attempt", "on_failure", "on_response"):
        j = h.upstream(lambda r, peer: left.append(peer.gone(5)))
        u = h.upstream((lambda r, peer: peer.answer(b"{}", 503)) if hook == "on_failure" else None)
        w = asking(h, f"function p.{hook}() {ask} end", chat_provider("j", j.url) + chat_provider("p", u.url))
        a = w.chat("p/m", headers=[("x-weir-timeout", "0.2")])
        assert a.status in (503, 504) and a.weir["fault"] in ("timeout", "overloaded"), (hook, a)
    until(lambda: len(left) == 4 and None not in left, 3, "the questions' upstreams to be closed")


def test_many_questions_and_clients_that_leave(h):
    """Questions of many requests at once, a third of them given up in the middle: nothing stays open."""
    j = h.upstream(lambda r, peer: time.sleep(0.02) or peer.answer(chat_answer("9")) or True)
    p = h.upstream(says("It is so."))
    w = h.weir(chat_provider("p", p.url) + chat_provider("judge", j.url) + 'use "judge" { model = "judge/small", seconds = 5 }\n', env=SHIPPED)
    good = []

    def client(n):
        for i in range(12):
            if (n + i) % 3:
                good.append(w.chat("p/m").status)
                continue
            with wire.Connection(w.port) as c:
                c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/m")))
                time.sleep(0.01 * (i % 4))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert good == [200] * 64, good
    until(lambda: len([r for r in w.records() if "parent" not in r]) == 96, 5, "a record of each request")
    ends = {r["end"] for r in w.records()}
    assert ends <= {"done", "client_gone"}, ends
    until(lambda: all(w.metric("weir_upstream_connections", state="busy") == 0 for _ in range(2)), 3, "no busy connection")
