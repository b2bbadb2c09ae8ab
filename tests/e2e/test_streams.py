"""A stream never lies: after content it ends with its terminator or with its dialect's error event, and what was sent is true."""

import json
import time

import wire
from harness import chat_body, chat_provider, messages_provider
from test_bytes import ROUTES, body_of, both, headers_of
from upstream import DONE, ROLE, START, chat_events, event, messages_word, word

FAST = "defaults { between_events = 0.4, first_event = 2, hold_head = 0 }\n"
STREAMS = ("chat", "completions", "responses", "messages")
FAULTS = {
    "stall=3": "timeout",
    "reset=3": "connection",
    "cut=3": "connection",
    "end=3": "protocol",
    "bad=3": "protocol",
    "no-done": "protocol",
    "stall=3;split=1": "timeout",
    "cut=3;split=3": "connection",
}


def error_of(route, body):
    """The error event at the end of a stream, checked to be that dialect's; and all that stood before it."""
    found = wire.events(body)
    name, data = found[-1]
    assert name != "rest", f"the stream ends within an event: {body[-200:]!r}"
    d = json.loads(data)
    if route == "messages":
        assert name == "error" and d["type"] == "error" and d["error"]["type"].endswith("_error") and d["error"]["message"], data
    elif route == "responses":
        assert name == "error" and d["type"] == "error" and d["message"] and isinstance(d["sequence_number"], int), data
    else:
        assert name is None and d["error"]["message"] and d["error"]["type"], data
    at = max(body.rfind(b"event: error"), body.rfind(b'data: {"error"')) if route != "responses" else body.rfind(b"event: error")
    return d, body[:at]


def no_terminator(route, body):
    for mark in (b"[DONE]", b"message_stop", b"response.completed"):
        assert mark not in body, f"{route}: a broken stream claims to be whole"


def test_faults_after_content(h):
    m = h.mock()
    w = h.weir(chat_provider("oai", m.url) + messages_provider("ant", m.url) + 'default_provider "oai"\n' + FAST)
    for route in STREAMS:
        true = wire.post(m.port, ROUTES[route][0], body_of(route, True), headers_of(route)).body
        for spec, fault in FAULTS.items():
            begun = time.monotonic()
            a = wire.post(w.port, ROUTES[route][0], body_of(route, True), headers_of(route, spec))
            what = f"{route} {spec}"
            assert a.status == 200 and a.whole, f"{what}: {a}"
            d, before = error_of(route, a.body)
            assert true.startswith(before), f"{what}: the client got what the provider did not say: {before!r}"
            words = sum(bool(wire.text_of(e)) for e in wire.events(before))
            assert words >= (3 if spec != "no-done" else 15), f"{what}: words that came with the fault are lost: {before!r}"
            no_terminator(route, a.body)
            assert d.get("error", d)["weir"]["fault"] == fault, f"{what}: {d}"
            assert time.monotonic() - begun < 1.5 * h.slow, what
            assert w.record(a.header("x-request-id"))["end"] == fault, what


def test_the_providers_own_error_event(h):
    """It is forwarded as it came, and is the end."""
    m = h.mock()
    w = h.weir(chat_provider("oai", m.url) + messages_provider("ant", m.url) + 'default_provider "oai"\n' + FAST)
    for route in STREAMS:
        direct = wire.post(m.port, ROUTES[route][0], body_of(route, True), headers_of(route, "error=3")).body
        a = wire.post(w.port, ROUTES[route][0], body_of(route, True), headers_of(route, "error=3"))
        assert a.whole and a.body == direct, f"{route}: {a.body[-300:]!r}, direct {direct[-300:]!r}"


def test_no_second_target_after_content(h):
    for then in ("close", "reset"):
        bad = h.upstream(lambda r, p: p.stream(ROLE, word("Hel"), end=False) or time.sleep(0.1) or (p.reset() if then == "reset" else None))
        good = h.upstream()
        w = h.weir(chat_provider("bad", bad.url) + chat_provider("good", good.url) + 'model "chain" { "bad/x", "good/y" }\n' + FAST)
        a = w.chat("chain", True)
        assert a.text() == "Hel" and len(bad.requests) == 1 and not good.requests, a
        error_of("chat", a.body)


def test_half_an_event_is_not_sent(h):
    u = h.upstream(lambda r, p: p.stream(ROLE, word("Hel"), word("lo.")[:-9], end=False) or time.sleep(0.1))
    w = h.weir(chat_provider("p", u.url) + FAST)
    a = w.chat(stream=True)
    d, before = error_of("chat", a.body)
    assert before == ROLE + word("Hel"), before


def test_words_after_the_terminator(h):
    """A provider that is slow to end, or breaks, after its terminator has said everything; the client is not kept waiting."""
    for ending in ("stall", "reset", "close"):

        def handler(r, p):
            p.stream(*chat_events("Hel", "lo."), end=False)
            if ending == "stall":
                p.gone(4)
            elif ending == "reset":
                p.reset()

        u = h.upstream(handler)
        w = h.weir(chat_provider("p", u.url))
        begun = time.monotonic()
        a = w.chat(stream=True)
        assert a.whole and a.body == b"".join(chat_events("Hel", "lo.")), f"{ending}: {a}"
        assert time.monotonic() - begun < 2.5, f"{ending}: {time.monotonic() - begun:.1f} s"
        assert w.record(a.header("x-request-id"))["end"] == "done", ending


def test_open_blocks_at_the_cut(h):
    """An end within an open block is a fault even when the bytes end cleanly."""
    for pieces in ([START, messages_word("Hel")], [START, messages_word("Hel"), event(type="content_block_stop", index=0)]):
        u = h.upstream(lambda r, p: p.stream(*pieces) or True)
        w = h.weir(messages_provider("p", u.url) + FAST)
        a = w.post("/v1/messages", chat_body(stream=True, max_tokens=9))
        d, before = error_of("messages", a.body)
        assert before == b"".join(pieces) and d["error"]["weir"]["fault"] == "protocol", a


def test_large_whole_answers_are_cut_not_ended(h):
    """Above hold_answer bytes flow before the answer is whole: when it breaks the connection does too, without a clean end."""
    w, m = both(h)
    direct = wire.post(m.port, "/v1/chat/completions", body_of("chat", False), headers_of("chat", "cut=1;size=600000"))
    a = wire.post(w.port, "/v1/chat/completions", body_of("chat", False), headers_of("chat", "cut=1;size=600000"))
    assert not direct.whole and not a.whole, a.whole
    assert direct.body.startswith(a.body) and len(a.body) > 256 * 1024, f"{len(a.body)} bytes"


def test_chunks_come_at_once(h):
    """Nothing is held once content flows: each event is there within milliseconds of the provider's."""
    sent = []

    def handler(r, p):
        p.stream(ROLE, end=False)
        for i in range(20):
            sent.append(time.monotonic())
            p.chunk(word(f"w{i} "))
            time.sleep(0.02)
        p.chunk(DONE)
        p.send(b"0\r\n\r\n")
        return True

    u = h.upstream(handler)
    w = h.weir(chat_provider("p", u.url))
    a = w.chat(stream=True)
    late = [min(t for t, p in a.pieces if b"w%d " % i in p) - sent[i] for i in range(20)]
    late.sort()
    assert late[10] < 0.005 * h.slow, f"half of the events were later than {late[10] * 1000:.1f} ms"


def test_large_events_and_many(h):
    big = word("x" * 900_000)
    u = h.upstream(lambda r, p: p.stream(ROLE, big, *[word(str(i)) for i in range(3000)], DONE) or True)
    w = h.weir(chat_provider("p", u.url))
    a = w.chat(stream=True)
    assert a.body == ROLE + big + b"".join(word(str(i)) for i in range(3000)) + DONE


def test_usage_in_the_access_log(h):
    w, m = both(h)
    a = wire.post(
        w.port,
        "/v1/chat/completions",
        body_of("chat", True, stream_options={"include_usage": True}),
        headers_of("chat", "input=20;cached=5;output=30;reasoning=7"),
    )
    r = w.record(a.header("x-request-id"))
    assert (r["input"], r["cache_read"], r["output"], r["reasoning"]) == (15, 5, 30, 7), r
    a = wire.post(w.port, "/v1/messages", body_of("messages", False), headers_of("messages", "input=20;cached=5;output=30"))
    r = w.record(a.header("x-request-id"))
    assert (r["input"], r["cache_read"], r["output"]) == (20, 5, 30), r
    a = wire.post(w.port, "/v1/embeddings", body_of("embeddings", False), headers_of("embeddings", "input=8"))
    assert w.record(a.header("x-request-id"))["input"] == 8
