"""Slow clients, leaving clients, and the end of the process."""

import signal
import time

import wire
from harness import chat_body, chat_provider, until
from upstream import DONE, ROLE, chat_answer, chat_events, word

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
LEAVE_MS = 50


def weir(h, handler, more="", policies=None):
    u = h.upstream(handler)
    return h.weir(chat_provider("p", u.url) + more, policies=policies), u


# ---- slow readers


def flood(state, piece, count):
    """Writes without end, as fast as it is taken; state["sent"] tells how far it came."""

    def handler(r, p):
        p.s.settimeout(30)
        p.send(
            SSE
            if r.json().get("stream")
            else b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (len(piece) * count)
        )
        for _ in range(count):
            p.send(piece)
            state["sent"] += len(piece)
        if r.json().get("stream"):
            p.send(DONE)

    return handler


def slow_reader(h, streamed):
    piece = word("y" * 60000)
    state = {"sent": 0}
    w, u = weir(h, flood(state, piece, 1000))
    before = w.memory()
    with wire.Connection(w.port, receive_buffer=8192) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=streamed)))
        until(lambda: state["sent"] > 100000, 5, "the answer flows")
        last, still = -1, 0
        for _ in range(100):
            time.sleep(0.05)
            still = still + 1 if state["sent"] == last else 0
            last = state["sent"]
            if still >= 10:
                break
        assert still >= 10, f"the upstream is read on for a client that does not read: {last} bytes"
        assert last < 16 << 20, f"{last} bytes were taken from the provider for nobody"
        assert w.memory() - before < (12 << 20) * h.slow, f"{w.memory() - before} bytes more for one slow reader"
        with wire.Connection(w.port) as other:  # nobody else is held
            begun = time.monotonic()
            other.send(wire.request("GET", "/v1/models"))
            assert other.answer("GET").status == 200 and time.monotonic() - begun < 0.5
        a = c.answer()  # and it gets all of it when it reads again
        expected = len(piece) * 1000 + (len(DONE) if streamed else 0)
        assert a.whole and len(a.body) == expected, f"{len(a.body)} of {expected} bytes"


def test_slow_reader_of_a_stream(h):
    slow_reader(h, True)


def test_slow_reader_of_a_whole_answer(h):
    slow_reader(h, False)


def test_slow_reader_is_no_slow_provider(h):
    """The clock between events does not run while it is the client that does not read."""
    state = {"sent": 0}
    w, u = weir(h, flood(state, word("y" * 60000), 300), "defaults { between_events = 0.4 }\n")
    with wire.Connection(w.port, receive_buffer=8192) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        time.sleep(1.5)
        a = c.answer()
        assert a.whole and a.body.endswith(DONE), a.body[-300:]


def test_slow_reader_that_leaves(h):
    state = {"sent": 0, "gone": None}

    def handler(r, p):
        try:
            flood(state, word("y" * 60000), 3000)(r, p)
        except OSError:
            state["gone"] = time.monotonic()
            raise

    w, u = weir(h, handler)
    with wire.Connection(w.port, receive_buffer=8192) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        time.sleep(0.7)
        left = time.monotonic()
    until(lambda: state["gone"], 3, "the provider sees its stream closed")
    assert state["gone"] - left < 0.3 * h.slow, f"{(state['gone'] - left) * 1000:.0f} ms after the client left"


# ---- leaving clients


def leave(h, handler, when, streamed=True, how="close", more="", path="/v1/chat/completions"):
    """A client that goes at a moment; gives how many milliseconds later the provider saw it, and the access record."""
    seen = {}

    def watched(r, p):
        handler(p)
        gone = p.gone(4)
        seen["at"] = time.monotonic() if gone is not None else None

    w, u = weir(h, watched, more)
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", path, chat_body(stream=streamed), [("x-request-id", "leaver")]))
        u.one()
        when(c)
        left = time.monotonic()
        {"close": c.close, "reset": c.reset, "half": c.half_close}[how]()
        until(lambda: "at" in seen, 6, "the provider's handler ends")
    assert seen["at"], "the provider never saw the client leave"
    return (seen["at"] - left) * 1000, w.record("leaver"), w


def test_leaving_before_the_head(h):
    for streamed in (False, True):
        for how in ("close", "reset", "half"):
            ms, record, w = leave(h, lambda p: None, lambda c: time.sleep(0.1), streamed, how)
            assert ms < LEAVE_MS * h.slow and record["end"] == "client_gone", f"{how}: {ms:.0f} ms, {record}"
            assert w.metric("weir_attempts_total", fault="timeout") == 0


def test_leaving_in_the_middle(h):
    for how in ("close", "reset", "half"):
        ms, record, w = leave(h, lambda p: p.stream(ROLE, word("Hel"), end=False), lambda c: c.head(), True, how)
        assert ms < LEAVE_MS * h.slow and record["end"] == "client_gone", f"{how}: {ms:.0f} ms, {record}"
        until(lambda: w.metric("weir_streams_open") == 0, 2, "the stream counts as closed")


def test_leaving_raw_and_large(h):
    begin = lambda p: p.send(b"HTTP/1.1 200 OK\r\ncontent-type: x/y\r\ncontent-length: 100000\r\n\r\nabc")
    ms, record, w = leave(h, begin, lambda c: c.head(), False, path="/p/v1/files")
    assert ms < LEAVE_MS * h.slow and record["end"] == "client_gone", f"{ms:.0f} ms, {record}"


def test_leaving_in_the_request_body(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url))
    for path in ("/v1/chat/completions", "/p/v1/files"):
        with wire.Connection(w.port) as c:
            c.send(wire.request("POST", path, b"x" * 500000)[:90000])
            time.sleep(0.1)
    time.sleep(0.2)
    assert w.chat().status == 200 and len([r for r in u.requests if "chat" in r.target]) == 1


def test_leaving_after_the_terminator_is_done(h):
    """As the SDKs do: they close when they have read [DONE]."""

    def handler(r, p):
        p.stream(*chat_events("Hel", "lo."), end=False)
        p.gone(2)

    w, u = weir(h, handler)
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True), [("x-request-id", "sdk")]))
        c.answer(on_piece=lambda a: a.body.endswith(DONE))
    assert w.record("sdk")["end"] == "done"


def test_leaving_during_backoff_or_a_second_attempt(h):
    def handler(r, p):
        p.answer(b'{"error":{"message":"x","type":"requests"}}', 429, [("retry-after", "0.6")])
        return True

    w, u = weir(h, handler)
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(), [("x-request-id", "leaver")]))
        u.one()
        time.sleep(0.1)
    assert w.record("leaver")["end"] == "client_gone"
    time.sleep(0.8)
    assert len(u.requests) == 1, "a request was sent for a client that had left"


def test_many_leavers(h):
    w, u = weir(h, lambda r, p: p.stream(ROLE, word("Hel"), end=False) or p.gone(3))
    for round_ in range(3):
        clients = [wire.Connection(w.port) for _ in range(60)]
        for c in clients:
            c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        for c in clients:
            c.head()
        for c in clients:
            c.reset() if round_ % 2 else c.close()
    until(lambda: w.metric("weir_streams_open") == 0, 3, "all streams are closed")
    until(lambda: len(u.open) <= 4, 3, "all upstream connections are closed")


# ---- the end


def test_sigterm_drains(h):
    w, u = weir(h, lambda r, p: p.stream(ROLE, *[word(f"{i} ") for i in range(20)], DONE, gap=0.03) or True)
    idle = wire.Connection(w.port)
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        a = c.head()
        w.signal(signal.SIGTERM)
        until(lambda: not w.listening(w.port), 2, "no new connection is taken")
        for path, status in (("/readyz", 503), ("/livez", 200)):
            a2 = wire.get(w.admin, path, host="127.0.0.1")
            assert a2.status == status, f"{path}: {a2}"
        assert idle.ended(2), "an idle connection is kept while draining"
        rest = b"".join(c.chunks(a))
        assert a.whole and rest.endswith(DONE), "the running stream was cut by the drain"
        assert c.ended(2)
    assert w.wait(3) == 0 and "draining" in w.err, w.err


def test_second_signal_ends_at_once(h):
    w, u = weir(h, lambda r, p: p.stream(ROLE, word("Hel"), end=False) or p.gone(8))
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        c.head()
        w.signal(signal.SIGTERM)
        until(lambda: "draining" in w.err, 2)
        begun = time.monotonic()
        w.signal(signal.SIGINT)
        assert w.wait(3) == 0 and time.monotonic() - begun < 1.5 * h.slow
        a = b"".join(iter(lambda: c.more(), b""))
        assert b"[DONE]" not in a and b'"drained"' in a, "a cut stream looks as if it were whole"


def test_drain_time(h):
    w, u = weir(h, lambda r, p: p.stream(ROLE, word("Hel"), end=False) or p.gone(8), "defaults { drain = 0.5 }\n")
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        c.head()
        begun = time.monotonic()
        w.signal(signal.SIGTERM)
        assert w.wait(4) == 0 and 0.4 < time.monotonic() - begun < 2 * h.slow, w.err


def test_drain_with_keep_alive_clients(h):
    """A client between two requests gets its answer with connection: close, or its connection closed, never a reset in an answer."""
    w, u = weir(h, lambda r, p: time.sleep(0.2) or p.answer(chat_answer()) or True)
    clients = [wire.Connection(w.port) for _ in range(10)]
    for c in clients:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body()))
    time.sleep(0.1)
    w.signal(signal.SIGTERM)
    for c in clients:
        a = c.answer()
        assert a.status == 200 and a.whole and not a.keep_alive and c.ended(), a
    assert w.wait(3) == 0


def test_kill_and_start_again(h):
    """A weir that was killed leaves nothing that keeps the next one from starting."""
    w, u = weir(h, None)
    assert w.chat().status == 200
    w.signal(signal.SIGKILL)
    w.wait()
    until(lambda: not w.listening(w.port), 2, "the kernel has let the listener go")
    time.sleep(0.05)
    assert h.again(w).chat().status == 200
