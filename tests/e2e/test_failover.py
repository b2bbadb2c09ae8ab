"""Before the content point a failure is invisible when another target can answer, and told truly when none can. DESIGN 6 Attempts."""

import time

from faults import FAST, error, says, sends, stream
from harness import chat_body, chat_provider, messages_provider
from upstream import DONE, FINISH, ROLE, START, chat_answer, chat_events, event, messages_answer, messages_word, STOP, word

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
WHOLE = {  # name: (handler, fault)
    "429": (says(429, error("requests", "rate_limit_exceeded"), retry_after=30), "rate_limited"),
    "429 at once": (says(429), "rate_limited"),
    "500": (says(500), "overloaded"),
    "502 html": (says(502, b"<html>"), "overloaded"),
    "503": (says(503), "overloaded"),
    "529": (says(529), "overloaded"),
    "504": (says(504), "timeout"),
    "401": (says(401, error("invalid_request_error", "invalid_api_key")), "auth"),
    "402": (says(402), "quota"),
    "403": (says(403), "auth"),
    "quota": (says(429, error("insufficient_quota", "insufficient_quota")), "quota"),
    "closed": (lambda r, p: p.close(), "connection"),
    "reset": (lambda r, p: p.reset(), "connection"),
    "no answer": (lambda r, p: p.gone(3) and False, "timeout"),
    "no http": (sends(b"SSH-2.0-x\r\n\r\n"), "protocol"),
    "both framings": (sends(HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}"), "protocol"),
    "head cut": (sends(b"HTTP/1.1 200 OK\r\ncontent-"), "connection"),
    "101": (sends(b"HTTP/1.1 101 X\r\n\r\n"), "protocol"),
}
WHOLE_ONLY = {
    "empty 200": (says(200, b""), "empty"),
    "html 200": (says(200, b"<html>Welcome</html>"), "invalid"),
    "no json": (says(200, b'{"choices":[{"mess'), "invalid"),
    "no dialect": (says(200, b'{"hello":1}'), "invalid"),
    "no text": (says(200, chat_answer("")), "empty"),
    "cut length": (sends(HEAD + b"content-length: 500\r\n\r\n" + chat_answer()[:200]), "connection"),
    "cut by reset": (sends(HEAD + b"content-length: 500\r\n\r\n" + chat_answer()[:200], "reset"), "connection"),
    "cut chunked": (sends(HEAD + b"transfer-encoding: chunked\r\n\r\n40\r\n" + chat_answer()[:64] + b"\r\n"), "connection"),
    "stall in body": (sends(HEAD + b"content-length: 500\r\n\r\n{", "stall"), "timeout"),
    "bad chunk": (sends(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
    "error in a 200": (says(200, error()), None),
}
STREAM_ONLY = {
    "empty 200": (sends(SSE + b"content-length: 0\r\n\r\n"), "empty"),
    "empty stream": (stream(), "empty"),
    "role, then end": (stream(ROLE), "protocol"),
    "only done": (stream(DONE), "empty"),
    "finish without content": (stream(ROLE, FINISH, DONE), "empty"),
    "reset before content": (stream(ROLE, then="reset"), "connection"),
    "cut before content": (stream(ROLE, then="cut"), "connection"),
    "no first event": (stream(then="stall"), "timeout"),
    "role, then silence": (stream(ROLE, then="stall"), "timeout"),
    "only pings": (stream(*[b": ping\n\n"] * 3, then="stall"), "timeout"),
    "garbage": (stream(b'data: {"choices": oops\n\n'), "protocol"),
    "error event first": (stream(b"data: " + error("server_error") + b"\n\n"), "overloaded"),
    "error after the role": (stream(ROLE, b"data: " + error("rate_limit_error", "rate_limit_exceeded") + b"\n\n"), "rate_limited"),
    "json error for a stream": (says(200, error("server_error")), "overloaded"),
    "json for a stream": (says(200, chat_answer()), "invalid"),
    "html for a stream": (says(200, b"<html>"), "invalid"),
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
        again = fault == "connection"  # a kept connection that dies at once is tried on a fresh one: no attempt of its own
        assert len(bad.requests) <= 1 + again, f"{name}: the failing provider was asked {len(bad.requests)} times"


def test_whole_answers_fail_over(h):
    each(h, {**WHOLE, **WHOLE_ONLY}, False)


def test_streams_fail_over(h):
    each(h, {**WHOLE, **STREAM_ONLY}, True)


def test_unreachable_providers(h):
    """Refused port, a name that does not exist, TLS to a port that speaks none, an address that drops."""
    good, plain = h.upstream(), h.upstream(greeting=b"220 smtp.test ESMTP\r\n")
    kinds = {
        "refused": (f"http://127.0.0.1:{h.port()}/v1", "connection"),
        "name": ("http://no-such-host.invalid/v1", "connection"),
        "tls": (f"https://127.0.0.1:{plain.port}/v1", "tls"),
    }
    w = h.weir(
        "".join(chat_provider(k, url) for k, (url, _) in kinds.items())
        + chat_provider("good", good.url)
        + FAST
        + "".join(f'model "chain-{k}" {{ "{k}/x", "good/y" }}\n' for k in kinds)
    )
    for k, (_, fault) in kinds.items():
        for streamed in (False, True):
            a = w.chat(f"chain-{k}", streamed)
            assert a.status == 200 and a.text() == "Hello." and a.header("x-weir-target") == "good/y", f"{k}: {a}"
            assert w.record(a.header("x-request-id"))["failed"][0]["fault"] == fault, k
        a = w.chat(f"{k}/x")
        assert (
            a.status == 502 and a.weir["fault"] == fault and a.weir["tried"][0]["fault"] == fault and a.header("x-should-retry") == "false"
        ), f"{k}: {a}"


def test_messages_streams_fail_over(h):
    overloaded = event(type="error", error={"type": "overloaded_error", "message": "Overloaded"})
    cases = {
        "529": says(529, b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'),
        "error first": stream(overloaded),
        "start, then error": stream(START, overloaded),
        "start, then end": stream(START),
        "ping, then silence": stream(event(type="ping"), then="stall"),
        "stop without content": stream(START, STOP),
        "garbage": stream(b"event: x\ndata: {\n\n"),
    }
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
    a = w.post("/v1/messages", chat_body("chain", max_tokens=9))  # whole: an event stream is no answer
    assert a.status == 200 and a.body == messages_answer(), a
