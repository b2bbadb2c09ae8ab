"""What each ending of an exchange costs, beside what its provider charges; kills and reloads in storms of streams; limits that
providers tell of; chains that heed prices."""
import json
import random
import signal
import socket
import threading
import time

from harness import chat_body, chat_provider, until
from test_money import CALL, IN, INPUT, MODEL, OUTPUT, PRICE, Till, capped, record, shipped, storm
from upstream import chat_answer, event

FREE_STREAM = f"models = {{ x = {{ window = 8000, hidden = false, {PRICE} }} }}"  # no output limit of its own: reserved step by step


def price_of(tokens_in, tokens_out):
    return (tokens_in * INPUT + tokens_out * OUTPUT) / 1e6


class Ledger:
    """A provider that writes a token a piece, in the dialect that is asked, and keeps what it would put on the bill."""

    def __init__(self, h, pieces=40, gap=0.0, tells=True, ends="well", hidden=0):
        self.pieces, self.gap, self.tells, self.ends, self.hidden = pieces, gap, tells, ends, hidden
        self.lock, self.tokens, self.calls = threading.Lock(), 0, 0
        self.up = h.upstream(self.answer)

    @property
    def charged(self):
        return price_of(self.calls * IN, self.tokens)

    def count(self, n):
        with self.lock:
            self.tokens += n

    def answer(self, request, peer):
        asked = json.loads(request.body)
        with self.lock:
            self.calls += 1
        most = min(asked.get(k) or 10**9 for k in ("max_tokens", "max_completion_tokens", "max_output_tokens"))
        self.count(min(self.hidden, most))
        pieces = min(self.pieces, most - min(self.hidden, most))
        dialect = request.target.rsplit("/", 1)[1]
        if not asked.get("stream"):
            self.count(pieces)
            return self.whole(peer, dialect, pieces)
        told = self.tells and (dialect != "completions" or b"include_usage" in request.body)
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        begin, word, end = STREAMS[dialect]
        total = pieces + min(self.hidden, most)
        if begin:
            peer.chunk(begin)
        for i in range(pieces):
            self.count(1)
            peer.chunk(word)
            if self.gap:
                time.sleep(self.gap)
            if self.ends == "cut" and i == pieces // 2:
                peer.reset()
                return False
        peer.chunk(end(total if told else None))
        peer.send(b"0\r\n\r\n")
        return True

    def whole(self, peer, dialect, pieces):
        total, text = pieces + self.hidden, "word " * pieces
        if self.ends == "cut":
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{")
            peer.reset()
            return False
        usage = {"chat": {"prompt_tokens": IN, "completion_tokens": total, "total_tokens": IN + total}}.get(
            "chat" if dialect == "completions" else dialect, {"input_tokens": IN, "output_tokens": total})
        if dialect == "completions":
            body = {"id": "c", "object": "chat.completion", "created": 1, "model": "x",
                    "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
        elif dialect == "messages":
            body = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        else:
            body = {"id": "r", "object": "response", "status": "completed", "model": "x",
                    "output": [{"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]}]}
        if self.tells:
            body["usage"] = usage
        peer.answer(json.dumps(body).encode())
        return True


def data(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chunk(choices, **more):
    return data(id="c", object="chat.completion.chunk", created=1, model="x", choices=choices, **more)


def chat_end(total):
    usage = chunk([], usage={"prompt_tokens": IN, "completion_tokens": total, "total_tokens": IN + total}) if total is not None else b""
    return chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]) + usage + b"data: [DONE]\n\n"


def messages_end(total):
    return (event(type="content_block_stop", index=0)
            + event(type="message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": total} if total is not None else {})
            + event(type="message_stop"))


def responses_end(total):
    usage = {"usage": {"input_tokens": IN, "output_tokens": total, "total_tokens": IN + total}} if total is not None else {}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": []}
    return (event(type="response.output_item.done", output_index=0, item=item)
            + event(type="response.completed", response={"id": "r", "object": "response", "status": "completed", "model": "x", "output": [item], **usage}))


STREAMS = {
    "completions": (b"", chunk([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]), chat_end),
    "messages": (
        event(type="message_start", message={"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": {"input_tokens": IN, "output_tokens": 1}})
        + event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "word "}), messages_end),
    "responses": (
        event(type="response.created", response={"id": "r", "object": "response", "status": "in_progress", "model": "x", "output": []})
        + event(type="response.output_item.added", output_index=0, item={"type": "message", "id": "i", "role": "assistant", "status": "in_progress", "content": []}),
        event(type="response.output_text.delta", output_index=0, content_index=0, item_id="i", delta="word "), responses_end),
}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


NAMES = {"chat": "openai", "messages": "anthropic", "responses": "openai"}  # of the catalogue: what is known of them is that they stop when one leaves


def body_of(dialect, stream, **more):
    if dialect == "messages":
        more.setdefault("max_tokens", 300)
    said = {"input": "Say something."} if dialect == "responses" else {"messages": [{"role": "user", "content": "Say something."}]}
    return json.dumps({"model": f"{NAMES[dialect]}/x", **said, **({"stream": True} if stream else {}), **more}).encode()


def provider_of(dialect, url, more):
    return f'provider "{NAMES[dialect]}" {{ dialect = "{dialect}", url = "{url}", key = env "OPENAI_KEY", {more} }}\n'


def spent(w, n=1):
    """What weir counted, once n exchanges have ended: the sum in its log."""
    until(lambda: sum("end" in r for r in w.records()) >= n, what="the records")
    return sum(float(r.get("cost", 0)) for r in w.records())


def pair(h, dialect, model=FREE_STREAM, cap="usd(50)", more="", **mock):
    till = Ledger(h, **mock)
    return till, capped(h, f'per = "all", day = {cap}', provider_of(dialect, till.up.url, model), more=more)


def test_normal_ends_cost_what_is_charged(h):
    for dialect in PATHS:
        till, w = pair(h, dialect)
        for stream in (False, True):
            a = w.post(PATHS[dialect], body_of(dialect, stream))
            assert a.status == 200, (dialect, stream, a)
        assert abs(spent(w, 2) - till.charged) < 1e-9, (dialect, spent(w, 2), till.charged, w.records())


def test_who_tells_no_usage(h):
    for dialect in PATHS:
        till, w = pair(h, dialect, tells=False)
        for n, stream in enumerate((False, True), 1):
            before = till.charged
            w.post(PATHS[dialect], body_of(dialect, stream))
            cost = spent(w, n) - (0 if n == 1 else first)
            first = spent(w, n)
            assert cost >= till.charged - before, (dialect, stream, cost, till.charged - before)
            assert cost <= 8 * (till.charged - before), (dialect, stream, cost, till.charged - before)


def test_broken_ends_cost_enough(h):
    """The provider breaks off in the middle of an answer: a stream counts by what came, a whole answer by what was reserved."""
    for dialect in PATHS:
        for stream in (False, True):
            till, w = pair(h, dialect, ends="cut")
            w.post(PATHS[dialect], body_of(dialect, stream))
            cost = spent(w)
            assert till.charged <= cost, (dialect, stream, cost, till.charged)
            assert not stream or cost <= 0.03, (dialect, cost)


def test_leaving_costs_enough(h):
    """Clients that leave before the head, and in the middle of a stream."""
    for dialect in PATHS:
        till, w = pair(h, dialect, pieces=200, gap=0.002)
        for n, (stream, seconds) in enumerate(((True, 0.02), (True, 0.15), (False, 0.0)), 1):
            leave(w.port, PATHS[dialect], body_of(dialect, stream), seconds)
        time.sleep(0.1)
        cost = spent(w, 3)
        assert till.charged <= cost, (dialect, cost, till.charged)


def leave(port, path, body, seconds):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(body), body))
    time.sleep(seconds)
    s.close()


def test_hidden_output_costs_its_reservation(h):
    """Of a model that thinks unseen, what a cut stream had used cannot be counted: the reservation stands."""
    hidden = f"models = {{ x = {{ window = 8000, max_output = 500, hidden = true, {PRICE} }} }}"
    for ends, stream in (("well", True), ("cut", True), ("well", False), ("cut", False)):
        till, w = pair(h, "chat", hidden, hidden=300, ends=ends)
        w.post(PATHS["chat"], body_of("chat", stream))
        cost = spent(w)
        assert till.charged <= cost <= 0.06, (ends, stream, cost, till.charged)
        if ends == "well":
            assert abs(cost - till.charged) < 1e-9, (stream, cost, till.charged)


def test_a_stopped_stream_costs_what_came(h):
    stop = "local p = {}\nlocal n = weir.shared('n')\nfunction p.on_chunk(req, chunk) if n:add('n', 1) == 10 then return weir.stop('enough', 'length') end end\nreturn p"
    till = Ledger(h, pieces=400, gap=0.001)
    w = h.weir(provider_of("chat", till.up.url, FREE_STREAM) + 'use "cost_caps" { per = "all", day = usd(50) }\nuse "stop"\n', policies={"cost_caps": shipped("cost_caps"), "stop": stop})
    w.post(PATHS["chat"], body_of("chat", True))
    time.sleep(0.05)
    cost = spent(w)
    assert w.records()[-1]["end"] == "stopped"
    assert till.charged <= cost <= till.charged + 0.01, (cost, till.charged)


def test_a_drained_stream_costs_what_came(h):
    till, w = pair(h, "chat", pieces=2000, gap=0.005, more="defaults { drain = 0.2 }\n")
    t = threading.Thread(target=lambda: w.chat("openai/x", True))
    t.start()
    until(lambda: till.tokens > 5, what="a running stream")
    w.signal(signal.SIGTERM)
    t.join()
    w.wait()
    cost = sum(float(r.get("cost", 0)) for r in w.records())
    assert w.records()[-1]["end"] == "drained", w.records()
    assert 0 < price_of(IN, 5) <= cost and till.charged <= cost + price_of(0, 20), (cost, till.charged)


def test_questions_and_retries_add_up(h):
    """A judge is a question of its own: the budget of a request holds for both."""
    judge = ("local p = {}\nfunction p.on_response(req, response)\n  local a, fault = weir.ask { model = 'j/x', messages = { { role = 'user', content = 'Good?' } } }\n"
             "  req:note('judge', a and a.text or fault.kind)\nend\nreturn p")
    till, other = Ledger(h, pieces=440), Ledger(h, pieces=100)
    text = provider_of("chat", till.up.url, MODEL) + chat_provider("j", other.up.url, MODEL)
    for cap, asked in (("usd(0.2)", True), ("usd(0.0475)", False)):
        before = other.calls
        w = h.weir(text + f'use "cost_caps" {{ per = "all", request = {cap} }}\nuse "judge"\n', policies={"cost_caps": shipped("cost_caps"), "judge": judge})
        a = w.post(PATHS["chat"], body_of("chat", False, max_tokens=450))
        assert a.status == 200, a
        assert (other.calls > before) == asked, (cap, other.calls, record(w, a))


# ---- storms
def test_kills_among_extended_streams(h):
    """Twenty kills at random moments, with streams under way that reserve step by step; then one that is let live."""
    till = Ledger(h, pieces=900, gap=0.0)
    cap = 6.0
    w = capped(h, f'per = "all", day = usd({cap})', provider_of("chat", till.up.url, FREE_STREAM), more="defaults { queue = 0.1 }\n")
    kills, begun = 0, time.monotonic()
    while kills < 20 and time.monotonic() - begun < 8:
        done = []
        t = threading.Thread(target=lambda w=w: done.extend(storm(w.port, 6, chat_body("openai/x", True))))
        t.start()
        time.sleep(random.random() * 0.12)
        w.signal(signal.SIGKILL)
        w.wait()
        t.join()
        w = h.again(w)
        kills += 1
    time.sleep(0.1)
    assert till.charged <= cap, (till.charged, cap, kills)
    last = [w.chat("openai/x", True) for _ in range(2)]
    assert all(a.status in (200, 429) for a in last), last
    assert kills >= 5 and till.calls > kills, (kills, till.calls)


def test_a_cap_that_changes_in_a_storm(h):
    """The newest file's cap holds, whatever requests of older ones are under way; a lower one refuses at once."""
    till = Till(h, seconds=0.02)
    config = lambda calls: (chat_provider("a", till.url, MODEL) + f'use "cost_caps" {{ per = "all", day = usd({calls * CALL:.6f}) }}\ndefaults {{ queue = 0.2 }}\n')
    w = h.weir(config(10.5), policies={"cost_caps": shipped("cost_caps")})
    statuses = []
    t = threading.Thread(target=lambda: statuses.extend(sum((storm(w.port, 25) for _ in range(6)), [])))
    t.start()
    for calls in (20.5, 5.5, 30.5, 12.5, 40.5):
        time.sleep(0.12)
        w.write(config(calls))
        w.reload()
    t.join()
    assert till.charged <= 40.5 * CALL, (till.served, statuses.count(200))
    assert till.served == statuses.count(200), (till.served, statuses.count(200))
    w.write(config(3.5))
    w.reload()
    assert w.chat("a/x").status == 429
    w.write(config(till.charged / CALL + 1.5))
    w.reload()
    assert w.chat("a/x").status == 200
    assert w.chat("a/x").header("x-weir-output-limit") != "500"


# ---- what a client is told
def test_the_trace_of_a_stream_has_its_cost(h):
    for dialect in PATHS:
        till, w = pair(h, dialect)
        a = w.post(PATHS[dialect], body_of(dialect, True), headers=[("x-weir-include", "trace")])
        line = next(x for x in a.body.split(b"\n") if x.startswith(b": weir "))
        told = json.loads(line[7:])
        assert abs(float(told["cost-usd"]) - till.charged) < 1e-9, (dialect, told, till.charged)
        assert told["target"] == f"{NAMES[dialect]}/x" and told["attempts"] == "1", told
        plain = w.post(PATHS[dialect], body_of(dialect, True))
        assert a.body.replace(line + b"\n\n", b"") == plain.body, dialect


def test_on_done_sees_the_cost(h):
    policy = "local p = {}\nfunction p.on_done(req, usage) req:note('cost', tostring(usage.cost)) end\nreturn p"
    till = Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL) + 'use "cost"\n', policies={"cost": policy})
    a = w.chat("a/x")
    assert record(w, a)["notes"]["cost"] == record(w, a)["cost"] == a.header("x-weir-cost-usd"), record(w, a)


# ---- limits that providers tell of
def limited(remaining, reset="1s", tokens=None, served=None, name=None):
    def answer(request, peer):
        if served is not None:
            served.append(name or request.header("authorization"))
        headers = [("x-ratelimit-remaining-requests", str(remaining)), ("x-ratelimit-reset-requests", reset)]
        if tokens is not None:
            headers += [("x-ratelimit-remaining-tokens", str(tokens)), ("x-ratelimit-reset-tokens", reset)]
        peer.answer(chat_answer(), headers=headers)
        return True
    return answer


def test_an_account_without_room_is_avoided(h):
    served = []
    first, second = h.upstream(limited(0, "30s", served=served, name="a")), h.upstream(limited(100, served=served, name="b"))
    w = h.weir(chat_provider("a", first.url) + chat_provider("b", second.url) + 'model "chain" { "a/x", "b/x" }\n')
    answers = [w.chat("chain") for _ in range(8)]
    assert {a.status for a in answers} == {200} and 1 <= served.count("a") <= 2, served  # each worker learns it once
    assert all(a.header("x-weir-attempts") == "1" for a in answers), answers


def test_tokens_that_do_not_suffice(h):
    served = []
    first, second = h.upstream(limited(50, "30s", 1000, served, "a")), h.upstream(limited(100, served=served, name="b"))
    w = h.weir(chat_provider("a", first.url) + chat_provider("b", second.url) + 'model "chain" { "a/x", "b/x" }\n')
    for most in 6 * [10] + 6 * [5000] + 2 * [10]:
        assert w.post("/v1/chat/completions", chat_body("chain", max_tokens=most)).status == 200
    assert set(served[:6]) == {"a"} and served[6:12].count("a") <= 1 and set(served[12:]) == {"a"}, served


def test_alone_it_is_waited_for(h):
    times = []
    for reset in ("400ms", "30s"):
        up = h.upstream(limited(0, reset))
        w = h.weir(chat_provider("a", up.url))
        begun = time.monotonic()
        assert {w.chat("a/x").status for _ in range(4)} == {200}
        times.append(time.monotonic() - begun)
    assert 0.35 < times[0] < 4, times  # each worker learns it by itself, and their waits may be the same one
    assert times[1] < 1.5, times  # longer than `queue`: the provider decides


# ---- chains that heed prices
def test_max_price_factor(h):
    fail = h.upstream(lambda r, p: p.answer(b"{}", 500))
    good = h.upstream()
    models = "models = { low = { price = { input = usd(1), output = usd(4) } }, mid = { price = { input = usd(2), output = usd(8) } }, high = { price = { input = usd(9), output = usd(36) } } }"
    w = h.weir(chat_provider("a", fail.url, models) + chat_provider("b", good.url, models)
               + 'model "free" { "a/low", "b/high" }\nmodel "strict" { "a/low", "b/high", "b/unpriced", max_price_factor = 3 }\nmodel "fits" { "a/low", "b/high", "b/mid", max_price_factor = 3 }\n'
               + 'model "unknown" { "a/nothing", "b/high", max_price_factor = 3 }\n')
    assert w.chat("free").header("x-weir-target") == "b/high"
    assert w.chat("strict").status >= 500
    assert w.chat("fits").header("x-weir-target") == "b/mid"
    assert w.chat("unknown").header("x-weir-target") == "b/high"
    tier = "models = { x = { price = { input = usd(1), output = usd(4), priority = { input = usd(9), output = usd(36) } } } }"
    w = h.weir(chat_provider("a", fail.url, models) + chat_provider("b", good.url, tier) + 'model "m" { "a/low", "b/x", max_price_factor = 1 }\n')
    assert w.chat("m").header("x-weir-target") == "b/x"  # a tier that nobody asked for
