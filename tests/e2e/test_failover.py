"""Before the content point a failure is invisible when another target can answer, and told truly when none can. DESIGN 6 Attempts."""
import json
import time

import wire
from harness import chat_body, chat_provider, messages_provider, until
from upstream import DONE, FINISH, ROLE, START, chat_answer, chat_events, event, messages_answer, messages_word, STOP, word

FAST = "defaults { connect = 1, head = 0.5, first_event = 0.5, between_events = 0.5, hold_head = 0 }\n"


def error(kind="server_error", code=None):
    return json.dumps({"error": {"message": "told to fail", "type": kind, "param": None, "code": code}}).encode()


def says(status, body=None, **headers):
    body = error() if body is None else body
    return lambda r, p: p.answer(body, status, [(k.replace("_", "-"), str(v)) for k, v in headers.items()]) or True


def sends(data, then="close"):
    """Raw bytes, then the end, a reset, or silence."""
    def handler(r, p):
        p.send(data)
        time.sleep(0.02)
        if then == "reset":
            p.reset()
        elif then == "stall":
            p.gone(3)
        return False
    return handler


def stream(*pieces, then="end"):
    def handler(r, p):
        p.stream(*pieces, end=then == "end")
        time.sleep(0.02)
        if then == "reset":
            p.reset()
        elif then == "stall":
            p.gone(3)
        return then == "end"
    return handler


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
WHOLE = {                                                # name: (handler, fault)
    "429": (says(429, error("requests", "rate_limit_exceeded"), retry_after=30), "rate_limited"), "429 at once": (says(429), "rate_limited"),
    "500": (says(500), "overloaded"), "502 html": (says(502, b"<html>"), "overloaded"), "503": (says(503), "overloaded"), "529": (says(529), "overloaded"),
    "504": (says(504), "timeout"), "401": (says(401, error("invalid_request_error", "invalid_api_key")), "auth"), "402": (says(402), "quota"), "403": (says(403), "auth"),
    "quota": (says(429, error("insufficient_quota", "insufficient_quota")), "quota"),
    "closed": (lambda r, p: p.close(), "connection"), "reset": (lambda r, p: p.reset(), "connection"), "no answer": (lambda r, p: p.gone(3) and False, "timeout"),
    "no http": (sends(b"SSH-2.0-x\r\n\r\n"), "protocol"), "both framings": (sends(HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}"), "protocol"),
    "head cut": (sends(b"HTTP/1.1 200 OK\r\ncontent-"), "connection"), "101": (sends(b"HTTP/1.1 101 X\r\n\r\n"), "protocol"),
}
WHOLE_ONLY = {
    "empty 200": (says(200, b""), "empty"), "html 200": (says(200, b"<html>Welcome</html>"), "invalid"), "no json": (says(200, b'{"choices":[{"mess'), "invalid"),
    "no dialect": (says(200, b'{"hello":1}'), "invalid"), "no text": (says(200, chat_answer("")), "empty"),
    "cut length": (sends(HEAD + b"content-length: 500\r\n\r\n" + chat_answer()[:200]), "connection"), "cut by reset": (sends(HEAD + b"content-length: 500\r\n\r\n" + chat_answer()[:200], "reset"), "connection"),
    "cut chunked": (sends(HEAD + b"transfer-encoding: chunked\r\n\r\n40\r\n" + chat_answer()[:64] + b"\r\n"), "connection"), "stall in body": (sends(HEAD + b"content-length: 500\r\n\r\n{", "stall"), "timeout"),
    "bad chunk": (sends(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
    "error in a 200": (says(200, error()), None),
}
STREAM_ONLY = {
    "empty 200": (sends(SSE + b"content-length: 0\r\n\r\n"), "empty"), "empty stream": (stream(), "empty"), "role, then end": (stream(ROLE), "protocol"), "only done": (stream(DONE), "empty"),
    "finish without content": (stream(ROLE, FINISH, DONE), "empty"), "reset before content": (stream(ROLE, then="reset"), "connection"), "cut before content": (stream(ROLE, then="cut"), "connection"),
    "no first event": (stream(then="stall"), "timeout"), "role, then silence": (stream(ROLE, then="stall"), "timeout"), "only pings": (stream(*[b": ping\n\n"] * 3, then="stall"), "timeout"),
    "garbage": (stream(b"data: {\"choices\": oops\n\n"), "protocol"), "error event first": (stream(b"data: " + error("server_error") + b"\n\n"), "overloaded"),
    "error after the role": (stream(ROLE, b"data: " + error("rate_limit_error", "rate_limit_exceeded") + b"\n\n"), "rate_limited"),
    "json error for a stream": (says(200, error("server_error")), "overloaded"), "json for a stream": (says(200, chat_answer()), "invalid"), "html for a stream": (says(200, b"<html>"), "invalid"),
    "half an event": (sends(SSE + b"connection: close\r\n\r\n" + ROLE + word("Hel")[:-5]), "protocol"),
}


def chain(h, handler, more="", good=None):
    bad, other = h.upstream(handler), h.upstream(good)
    w = h.weir(chat_provider("bad", bad.url) + chat_provider("good", other.url) + 'model "chain" { "bad/x", "good/y" }\n' + FAST + more)
    return w, bad, other


def invisible(w, name, fault, streamed):
    begun = time.monotonic()
    a = w.chat("chain", streamed)
    what = f"{name} ({'stream' if streamed else 'whole'})"
    assert a.status == 200 and a.whole and a.text() == "Hello.", f"{what}: {a}"
    assert a.body == (b"".join(chat_events("Hel", "lo.")) if streamed else chat_answer()), f"{what}: {a}"
    assert a.header("x-weir-target") == "good/y" and a.header("x-weir-attempts") == "2", f"{what}: {a}"
    assert time.monotonic() - begun < 2 * w.h.slow, f"{what} took {time.monotonic() - begun:.1f} s"
    failed = w.record(a.header("x-request-id"))["failed"]
    assert len(failed) == 1 and failed[0]["target"] == "bad/x", f"{what}: {failed}"
    assert fault is None or failed[0]["fault"] == fault, f"{what}: {failed}, not {fault}"


def each(h, cases, streamed):
    which = {"now": None}
    w, bad, other = chain(h, lambda r, p: cases[which["now"]][0](r, p))
    for name, (_, fault) in cases.items():
        which["now"] = name
        bad.requests.clear()
        invisible(w, name, fault, streamed)
        again = fault == "connection"                    # a kept connection that dies at once is tried on a fresh one: no attempt of its own
        assert len(bad.requests) <= 1 + again, f"{name}: the failing provider was asked {len(bad.requests)} times"


def test_whole_answers_fail_over(h):
    each(h, {**WHOLE, **WHOLE_ONLY}, False)


def test_streams_fail_over(h):
    each(h, {**WHOLE, **STREAM_ONLY}, True)


def test_unreachable_providers(h):
    """Refused port, a name that does not exist, TLS to a port that speaks none, an address that drops."""
    good, plain = h.upstream(), h.upstream(greeting=b"220 smtp.test ESMTP\r\n")
    kinds = {"refused": (f"http://127.0.0.1:{h.port()}/v1", "connection"), "name": ("http://no-such-host.invalid/v1", "connection"), "tls": (f"https://127.0.0.1:{plain.port}/v1", "tls")}
    w = h.weir("".join(chat_provider(k, url) for k, (url, _) in kinds.items()) + chat_provider("good", good.url) + FAST +
               "".join(f'model "chain-{k}" {{ "{k}/x", "good/y" }}\n' for k in kinds))
    for k, (_, fault) in kinds.items():
        for streamed in (False, True):
            a = w.chat(f"chain-{k}", streamed)
            assert a.status == 200 and a.text() == "Hello." and a.header("x-weir-target") == "good/y", f"{k}: {a}"
            assert w.record(a.header("x-request-id"))["failed"][0]["fault"] == fault, k
        a = w.chat(f"{k}/x")
        assert a.status == 502 and a.weir["fault"] == fault and a.weir["tried"][0]["fault"] == fault and a.header("x-should-retry") == "false", f"{k}: {a}"


def test_messages_streams_fail_over(h):
    overloaded = event(type="error", error={"type": "overloaded_error", "message": "Overloaded"})
    cases = {"529": says(529, b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'), "error first": stream(overloaded), "start, then error": stream(START, overloaded),
             "start, then end": stream(START), "ping, then silence": stream(event(type="ping"), then="stall"), "stop without content": stream(START, STOP), "garbage": stream(b"event: x\ndata: {\n\n")}
    which = {"now": None}
    bad, good = h.upstream(lambda r, p: cases[which["now"]](r, p)), h.upstream()
    w = h.weir(messages_provider("bad", bad.url) + messages_provider("good", good.url) + 'model "chain" { "bad/x", "good/y" }\n' + FAST)
    for name in cases:
        which["now"] = name
        a = w.post("/v1/messages", chat_body("chain", True, max_tokens=9))
        assert a.status == 200 and a.body == START + messages_word("Hel") + messages_word("lo.") + STOP, f"{name}: {a}"
    which["now"] = "529"
    a = w.post("/v1/messages", chat_body("bad/x", max_tokens=9))
    assert a.status == 529 and a.json()["type"] == "error" and a.error["type"] == "overloaded_error" and a.weir["tried"], a
    which["now"] = "error first"
    a = w.post("/v1/messages", chat_body("chain", max_tokens=9))                        # whole: an event stream is no answer
    assert a.status == 200 and a.body == messages_answer(), a


# ---- nothing left

def spent(h, first, second, streamed=False, **headers):
    one, two = h.upstream(first), h.upstream(second)
    w = h.weir(chat_provider("one", one.url) + chat_provider("two", two.url) + 'model "chain" { "one/x", "two/y" }\n' + FAST)
    return w.chat("chain", streamed), one, two


def test_the_first_fault_is_told(h):
    kinds = [(says(500), "overloaded", 503), (lambda r, p: p.close(), "connection", 502), (lambda r, p: p.gone(3) and False, "timeout", 504), (says(401), "auth", 502), (says(402), "quota", 502),
             (says(200, b""), "empty", 502), (says(200, b"<p>"), "invalid", 502), (says(429, retry_after=60), "rate_limited", 429)]
    for streamed in (False, True):
        for (first, fault, status), (second, other, _) in zip(kinds, kinds[1:] + kinds[:1]):
            a, one, two = spent(h, first, second, streamed)
            assert a.status == status and a.weir["fault"] == fault, f"{fault} then {other}: {a}"
            assert [t["fault"] for t in a.weir["tried"]][0] == fault and [t["target"] for t in a.weir["tried"]][:2] == ["one/x", "two/y"], a.weir
            assert len(one.requests) == 1 and len(two.requests) == 1, f"{fault}: asked {len(one.requests)} and {len(two.requests)} times"
            assert a.header("content-type") == "application/json" and a.whole, a
            if fault == "rate_limited":
                assert a.header("retry-after") == "60", a
            else:
                assert a.header("x-should-retry") == "false" and not a.header("retry-after"), a


def test_refusals_pass_byte_for_byte(h):
    body = b'{ "error":{"message":"no \\u00e9","type":"invalid_request_error","param":"x","code":null} }\n'
    for status in (400, 404, 405, 409, 413, 415, 418, 422, 429, 451):
        for streamed in (False, True):
            u = h.upstream(says(status, body, x_extra="yes", retry_after=90))
            w = h.weir(chat_provider("p", u.url) + FAST)
            a = w.chat(stream=streamed)
            assert a.status == status and a.body == body and a.header("x-extra") == "yes" and a.header("retry-after") == "90", f"{status}: {a}"
            assert len(u.requests) == 1, f"{status} was tried {len(u.requests)} times"


def test_a_bad_request_never_falls_back(h):
    for status, kind in ((400, "invalid_request_error"), (422, "invalid_request_error"), (413, "request_too_large"), (404, "not_found_error")):
        w, bad, good = chain(h, says(status, error(kind)))
        a = w.chat("chain")
        assert a.status == status and a.body == error(kind) and not good.requests, f"{status}: {a}"


def test_a_refusal_is_an_answer(h):
    """What a model refused or a filter took is the provider's own word and passes, unless the chain says to go on for it."""
    refusal = START + STOP.replace(b"end_turn", b"refusal")
    filtered = [ROLE, FINISH.replace(b'"stop"', b'"content_filter"'), DONE]
    bad = h.upstream(lambda r, p: p.stream(*([refusal] if "messages" in r.target else filtered)) or True if r.json().get("stream") else p.answer(chat_answer("", finish="content_filter")) or True)
    good = h.upstream()
    for next_on in ("", 'next_on = { "refused", "content_filtered" }'):
        w = h.weir(chat_provider("bad", bad.url) + messages_provider("worse", bad.url) + chat_provider("good", good.url) + messages_provider("better", good.url) +
                   f'model "chat" {{ "bad/x", "good/y", {next_on} }}\nmodel "messages" {{ "worse/x", "better/y", {next_on} }}\n')
        for a, own in ((w.chat("chat", True), b"".join(filtered)), (w.chat("chat"), chat_answer("", finish="content_filter")), (w.post("/v1/messages", chat_body("messages", True, max_tokens=5)), refusal)):
            assert a.status == 200 and a.whole, a
            assert a.text() == "Hello." if next_on else a.body == own, a


def test_the_accounts_troubles_are_not_the_callers(h):
    for status in (401, 402, 403):
        u = h.upstream(says(status, error("invalid_request_error", "invalid_api_key" if status == 401 else None)))
        w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + FAST)
        a = w.chat("p/x")
        assert a.status == 502 and a.weir["fault"] == ("quota" if status == 402 else "auth") and a.header("x-should-retry") == "false", f"{status}: {a}"
        assert a.error["type"] == "api_error" and a.error["code"] != "invalid_api_key", a
        a = w.post("/v1/messages", chat_body("a/x", max_tokens=5))
        assert a.status in (500, 502) and a.error["type"] == "api_error", a


def test_short_retry_after_is_waited_for(h):
    for value, header in (("0.3", "retry-after"), ("300", "retry-after-ms")):
        count = {"n": 0}

        def handler(r, p):
            count["n"] += 1
            if count["n"] % 2:
                p.answer(error("requests"), 429, [(header, value)])
            else:
                p.answer(chat_answer())
            return True
        u = h.upstream(handler)
        w = h.weir(chat_provider("p", u.url))
        begun = time.monotonic()
        a = w.chat()
        assert a.status == 200 and a.header("x-weir-attempts") == "2", a
        assert 0.28 < time.monotonic() - begun < 1.5 * h.slow, time.monotonic() - begun
        first, second = u.requests
        assert first.body == second.body


def test_retry_after_is_waited_for_once(h):
    u = h.upstream(says(429, retry_after="0.1"))
    w = h.weir(chat_provider("p", u.url))
    a = w.chat()
    assert a.status == 429 and a.header("retry-after") and len(u.requests) == 2, (a, len(u.requests))


def test_accounts_and_endpoints(h):
    """Two keys, two endpoints: the one that refuses is left for the other, within one candidate."""
    seen = []

    def picky(r, p):
        seen.append(r.header("authorization"))
        p.answer(*((chat_answer(),) if r.header("authorization") == "Bearer second" else (error("requests"), 429, [("retry-after", "20")])))
        return True
    u = h.upstream(picky)
    w = h.weir(f'provider "p" {{ dialect = "chat", url = "{u.url}", key = {{ env "FIRST", env "SECOND" }} }}\n', env={"FIRST": "first", "SECOND": "second"})
    for _ in range(8):
        assert w.chat().status == 200
    assert seen.count("Bearer first") <= 2 and seen.count("Bearer second") == 8, seen   # one worker may not know what the other has learnt
    dead, alive = h.port(), h.upstream()
    w = h.weir(f'provider "p" {{ dialect = "chat", endpoint {{ url = "http://127.0.0.1:{dead}/v1", weight = 50 }}, endpoint {{ url = "{alive.url}" }} }}\n')
    for _ in range(8):
        assert w.chat().status == 200
    for name in ("html 200", "500", "cut length"):
        broken, good = h.upstream(WHOLE_ONLY.get(name, WHOLE.get(name))[0]), h.upstream()
        w = h.weir(f'provider "p" {{ dialect = "chat", endpoint {{ url = "{broken.url}", weight = 3 }}, endpoint {{ url = "{good.url}" }} }}\n')
        for i in range(12):
            a = w.chat()
            assert a.status == 200, f"{name}, request {i}: {a}"
            assert a.header("x-weir-attempts") in ("1", "2"), f"{name}: {a}"


# ---- clocks

def test_latency_budget(h):
    u = h.upstream(lambda r, p: p.gone(5) and False)
    w = h.weir(chat_provider("p", u.url) + 'model "slow" { "p/x", "p/y", latency_budget = 0.5 }\ndefaults { head = 0.4, first_event = 0.4 }\n')
    for model, headers in (("p/x", [("x-weir-timeout", "0.5")]), ("slow", [])):
        for streamed in (False, True):
            begun = time.monotonic()
            a = w.chat(model, streamed, headers)
            assert a.status == 504 and a.weir["fault"] == "timeout", a
            assert 0.35 < time.monotonic() - begun < 0.9 * h.slow, f"{model}: {time.monotonic() - begun:.2f} s"


def test_early_head_and_heartbeats(h):
    def late(r, p):
        time.sleep(0.7)
        if r.json()["model"] == "fails":
            p.answer(error("bad", "x"), 400)
        else:
            p.stream(*chat_events("Hel", "lo."))
        return True
    u = h.upstream(late)
    w = h.weir(chat_provider("p", u.url) + "defaults { hold_head = 0.2 }\n")
    with wire.Connection(w.port) as c:
        begun = time.monotonic()
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        a = c.answer()
        assert a.header("x-weir-early") == "1" and a.header("x-request-id") and not a.header("x-weir-target") and a.header("content-type").startswith("text/event-stream"), a
        assert a.pieces[0][0] - begun < 0.6, "the head was not early"
        assert a.body.startswith(b":") and a.body.endswith(b"".join(chat_events("Hel", "lo."))) and a.whole, a
    a = w.chat("fails", True)                                                           # too late for a status: the dialect's error event
    last = json.loads(wire.events(a.body)[-1][1])
    assert a.status == 200 and last["error"]["weir"]["fault"] == "bad_request" and b"[DONE]" not in a.body, a
    a = w.chat(stream=False)                                                            # whole answers have no early head
    assert not a.header("x-weir-early"), a


def test_early_head_then_failover(h):
    w, bad, good = chain(h, lambda r, p: time.sleep(0.4) or p.answer(error(), 500) or True, "")
    w.write(w.config.replace("hold_head = 0", "hold_head = 0.1"))
    assert w.reload()[0] == 0
    a = w.chat("chain", True)
    assert a.header("x-weir-early") == "1" and a.text() == "Hello." and a.whole, a


def test_stale_connections_are_not_faults(h):
    """A kept connection that the provider closed in the meantime is replaced without a word, and without a second attempt."""
    u = h.upstream(lambda r, p: p.answer(chat_answer()) or False)                       # says keep-alive, and closes
    w = h.weir(chat_provider("p", u.url) + "defaults { warm = 0 }\n")
    for _ in range(30):
        a = w.chat()
        assert a.status == 200 and a.header("x-weir-attempts") == "1", a
    assert w.metric("weir_attempts_total", fault="connection") == 0
    assert until(lambda: w.metric("weir_attempts_total", target="p/mock"), 2) == 30
