"""What is no request is refused with its status and a JSON error, and nothing of it goes upstream; what is one is served in order."""

import time

import wire
from harness import chat_body, until
from upstream import chat_answer

BODY = chat_body()
LINE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def weir(h, more="", handler=None):
    u = h.upstream(handler)
    return h.weir(f'provider "p" {{ dialect = "chat", url = "{u.url}", key = env "OPENAI_KEY" }}\ndefault_provider "p"\n' + more), u


def refused(w, data, *statuses):
    """The status, a JSON error, and the end of the connection."""
    with wire.raw(w.port, data) as c:
        try:
            a = c.answer()
        except wire.Broken as e:
            raise AssertionError(f"{data[:120]!r}: {e}") from None
        assert a.status in statuses, f"{data[:120]!r}: {a}"
        assert a.header("content-type") == "application/json" and a.error["message"] and a.weir["id"], a
        assert not a.keep_alive and c.ended(), f"{data[:120]!r}: the connection stays open after {a}"
    return a


def refused_all(h, cases, more=""):
    w, u = weir(h, more)
    for status, data in cases:
        refused(w, data, *(status if isinstance(status, tuple) else (status,)))
    assert not u.requests, "something that was refused went upstream"
    assert w.chat().status == 200


def test_request_lines(h):
    rest = b"host: x\r\n\r\n"
    bad = [
        b"GARBAGE",
        b"GET",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1.x",
        b"G\x00T / HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"CONNECT x:443 HTTP/1.1",
        b"GET x HTTP/1.1",
        b"GET * HTTP/1.1",
        b"\x16\x03\x01\x02\x00",
        b"X" * 40 + b" / HTTP/1.1",
        b"GET / HTTP/1.1\r",
        b"PRI * HTTP/2.0X",
        b"GET ftp://x/ HTTP/1.1",
        b"GET http:///x HTTP/1.1",
    ]
    cases = [(400, line + b"\r\n" + rest) for line in bad]
    cases += [(505, b"GET / HTTP/%s\r\n" % v + rest) for v in (b"2.0", b"0.9", b"1.2", b"3.1")]
    cases += [(400, b"GET / HTTP/1.1\nhost: x\n\n"), (400, b"GET / HTTP/1.1\r\nhost: x\n\r\n"), (400, b"\r\n\r\nGET\r\n\r\n")]
    refused_all(h, cases + [(414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + rest)])


def test_header_lines(h):
    first = b"GET /v1/models HTTP/1.1\r\n"
    refused_all(
        h,
        [
            (400, first + x + b"\r\n\r\n")
            for x in (
                b"a: b",
                b"host: x\r\nhost: x",
                b"host: x\r\nHost: y",
                b"host: a b",
                b"host: x/y",
                b"host: x@y",
                b"host: x\r\nno colon",
                b"host: x\r\na : b",
                b"host: x\r\n a: b",
                b"host: x\r\na: b\r\n folded",
                b"host: x\r\na: b\r\n\tfolded",
                b"host: x\r\na: b\x00c",
                b"host: x\r\na\x00: b",
                b"host: x\r\na: b\x01",
                b"host: x\r\na: b\rc",
                b"host: x\r\n: b",
                b"host: x\r\na(b: c",
                b"host: x\r\n\xc3\xa9: c",
                b"host : x",
                b"host: x\r\na: b\nc: d",
            )
        ],
    )


def test_body_framing(h):
    cases = [
        (400, LINE + x + b"\r\n\r\n{}")
        for x in (
            b"content-length: 2\r\ntransfer-encoding: chunked",
            b"transfer-encoding: chunked\r\ncontent-length: 2",
            b"content-length: 2\r\ncontent-length: 2",
            b"content-length: 2\r\ncontent-length: 3",
            b"content-length: 2, 2",
            b"content-length: +2",
            b"content-length: -2",
            b"content-length: 0x2",
            b"content-length: 2 2",
            b"content-length: ",
            b"content-length: two",
            b"content-length: 2.0",
            b"content-length: 99999999999999999999999",
            b"content-length: 18446744073709551618",
            b"transfer-encoding: chunked, chunked",
            b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            b"transfer-encoding: chunked;q=1",
            b"transfer-encoding: ,chunked",
        )
    ]
    cases += [
        ((400, 501), LINE + b"transfer-encoding: " + x + b"\r\n\r\n0\r\n\r\n")
        for x in (b"identity", b"gzip", b"xchunked", b"gzip, chunked", b"chunked, gzip", b'"chunked"', b"chunk ed", b"")
    ]
    cases += [(411, LINE + b"\r\n"), (400, LINE.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n")]
    cases += [
        (400, LINE + b"transfer-encoding: chunked\r\n\r\n" + x)
        for x in (
            b"x\r\n",
            b"\r\n{}\r\n",
            b"-2\r\n{}\r\n",
            b"+2\r\n{}\r\n",
            b"0x2\r\n{}\r\n",
            b"2 \r\n{}\r\n",
            b" 2\r\n{}\r\n",
            b"2\n{}\n0\n\n",
            b"2\r\n{}X\r\n",
            b"2\r\n{}\n0\r\n\r\n",
            b"2\r\n{} \r\n0\r\n\r\n",
            b"ffffffffffffffff\r\n{}",
            b"10000000000000000\r\n{}",
            b"2;a\nb\r\n{}\r\n",
            b"2;" + b"a" * 9000 + b"\r\n",
            b"0\r\nno trailer\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b"0\r\na: b\nc\r\n\r\n",
        )
    ]
    refused_all(h, cases)


def test_smuggled_request_is_not_served(h):
    w, u = weir(h)
    inner = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
    for framing in (
        b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"content-length : 0\r\n\r\n",
        b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    ):
        refused(w, LINE + framing + inner, 400, 501)
    assert not u.requests


def test_limits(h):
    w, u = weir(h, "defaults { max_head = kb(8), max_body = kb(64) }\n")
    many = b"".join(b"x-%d: y\r\n" % i for i in range(2000))
    refused(w, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"b" * 9000, 431)
    refused(w, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + many, 431)
    refused(w, LINE + b"expect: 200-ok\r\ncontent-length: 2\r\n\r\n{}", 417)
    refused(w, LINE + b"content-length: 70000\r\n\r\n", 413)  # its body is not waited for
    refused(w, LINE + b"expect: 100-continue\r\ncontent-length: 70000\r\n\r\n", 413)
    refused(w, LINE + b"transfer-encoding: chunked\r\n\r\n" + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 3, 413)
    refused(w, b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 501)
    assert not u.requests
    body = chat_body(pad="x" * 60000)
    for framing in ("length", "chunked"):
        assert w.post("/v1/chat/completions", body, framing=framing).status == 200


def test_refused_large_body_is_let_in_for_a_moment(h):
    """The refusal can be read although the client is still writing: it is sent first, and what comes is discarded."""
    w, u = weir(h, "defaults { max_body = kb(64) }\n")
    with wire.Connection(w.port) as c:
        c.send(LINE + b"content-length: 800000\r\n\r\n")
        for _ in range(8):
            c.send(b"x" * 100000)
            time.sleep(0.01)
        assert c.answer().status == 413 and c.ended()
    begun = time.monotonic()
    with wire.Connection(w.port) as c:
        c.send(LINE + b"content-length: 80000000000\r\n\r\n")
        try:
            while time.monotonic() - begun < 10:
                c.send(b"x" * 100000)
        except OSError:
            pass
    assert time.monotonic() - begun < 5, "a refused body was read for ever"


def test_pipelining(h):
    def handler(r, peer):
        if r.json().get("slow"):
            time.sleep(0.2)
        peer.answer(chat_answer(str(r.json()["n"])))
        return True

    w, u = weir(h, handler=handler)
    data = b"".join(
        wire.request(
            "POST", "/v1/chat/completions", chat_body(n=i, slow=i % 3 == 0, pad="p" * (i * 3000)), framing=("length", "chunked")[i % 2]
        )
        for i in range(9)
    )
    for size in (len(data), 1000, 17):
        with wire.Connection(w.port) as c:
            if size == len(data):
                c.send(data)
            else:
                for at in range(0, len(data), size):
                    c.send(data[at : at + size])
            assert [c.answer().text() for _ in range(9)] == [str(i) for i in range(9)]
            c.send(b"\r\n" + wire.request("GET", "/v1/models"))  # an empty line before a request is forgiven
            assert c.answer("GET").status == 200


def test_any_split_of_a_request(h):
    w, u = weir(h)
    data = wire.request("POST", "/v1/chat/completions", BODY, framing="chunked")
    with wire.Connection(w.port) as c:
        for at in range(1, len(data), 7):
            c.send(data[:at])
            time.sleep(0.001)
            c.send(data[at:])
            assert c.answer().status == 200, f"split at {at}"


def test_keep_alive(h):
    w, u = weir(h)
    with wire.Connection(w.port) as c:
        for path, body, status in (
            ("/v1/chat/completions", BODY, 200),
            ("/v1/chat/completions", b"{", 400),
            ("/v1/chat/completions", b'{"messages":[]}', 400),
            ("/v1/chat/completions", chat_body(stream=True), 200),
            ("/p/v1/files", b"{}", 200),
            ("/v1/chat/completions", BODY, 200),
        ):
            c.send(wire.request("POST", path, body))
            a = c.answer()
            assert a.status == status and a.whole and a.keep_alive, f"{path} {body[:20]!r}: {a}"
        c.send(wire.request("GET", "/nowhere"))
        a = c.answer("GET")
        assert a.status == 404 and a.keep_alive, a
        c.send(wire.request("POST", "/v1/chat/completions", BODY, [("connection", "close")]))
        assert c.answer().status == 200 and c.ended()
    a = w.post("/nowhere", BODY)  # its body was not read: the connection cannot go on
    assert a.status == 404 and not a.keep_alive, a
    assert u.connections <= 2, f"{u.connections} connections to the provider for one client's requests"


def test_http_1_0(h):
    w, u = weir(h)
    for stream in (False, True):
        a = w.post("/v1/chat/completions", chat_body(stream=stream), version="1.0")
        assert a.status == 200 and not a.header("transfer-encoding") and a.text() == ("Hello."), a
    with wire.Connection(w.port) as c:
        for _ in range(2):
            c.send(wire.request("POST", "/v1/chat/completions", BODY, [("connection", "keep-alive")], version="1.0"))
            a = c.answer()
            assert a.status == 200 and a.header("connection") == "keep-alive", a
    with wire.raw(w.port, b"GET /v1/models HTTP/1.0\r\n\r\n") as c:
        assert c.answer("GET").status == 200 and c.ended()


def test_head_and_empty_answers(h):
    def handler(r, peer):
        if r.method == "HEAD":
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n")
        elif r.method == "DELETE":
            peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            peer.send(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n")
        return True

    w, u = weir(h, handler=handler)
    with wire.Connection(w.port) as c:
        for method, status in (("HEAD", 200), ("DELETE", 204), ("GET", 304), ("HEAD", 200)):
            c.send(wire.request(method, "/v1/files/x"))
            a = c.answer(method)
            assert a.status == status and not a.body, f"{method}: {a}"
        assert not c.rest


def test_expect_100(h):
    w, u = weir(h)
    for path in ("/v1/chat/completions", "/p/v1/files"):
        with wire.Connection(w.port) as c:
            c.send(wire.request("POST", path, BODY, [("expect", "100-continue")])[: -len(BODY)])
            c.s.settimeout(5)
            interim = b""
            while not interim.endswith(b"\r\n\r\n"):
                interim += c.more() or b"closed\r\n\r\n"
            assert interim.startswith(b"HTTP/1.1 100 "), path
            c.send(BODY)
            assert c.answer().status == 200


def test_slow_heads_and_idle_clients(h):
    w, u = weir(h, "defaults { header_time = 0.6, client_idle = 0.6 }\n")
    begun = time.monotonic()
    slow = [wire.Connection(w.port) for _ in range(30)]
    for i in range(20):
        for c in slow:
            try:
                c.send(b"GET /v1/models HTTP/1.1\r\n"[i : i + 1])
            except OSError:
                pass
        time.sleep(0.03)
    for c in slow:
        assert c.answer().status == 408
        c.close()
    assert time.monotonic() - begun < 2, "dribbled heads are kept too long"
    with wire.Connection(w.port) as c:
        assert c.ended(2), "an idle client is kept"
    with wire.raw(w.port, LINE + b"content-length: 20\r\n\r\n{") as c:
        assert c.answer().status == 408 and c.ended()
    with wire.Connection(w.port) as c:  # a slow body that moves is no idle one
        c.send(LINE + b"content-length: %d\r\n\r\n" % len(BODY))
        for at in range(0, len(BODY), 20):
            c.send(BODY[at : at + 20])
            time.sleep(0.3)
        assert c.answer().status == 200


def test_half_closed_client_is_gone(h):
    w, u = weir(h, handler=lambda r, peer: time.sleep(0.5) or peer.answer(chat_answer()))
    with wire.raw(w.port, wire.request("POST", "/v1/chat/completions", BODY, [("x-request-id", "half")])) as c:
        u.one()
        c.half_close()
        assert c.ended(2), "a half-closed client is answered"
    assert w.record("half")["end"] == "client_gone"


def test_absolute_targets(h):
    w, u = weir(h)
    with wire.raw(
        w.port,
        b"POST http://other.example:99/v1/chat/completions?x=1 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY),
    ) as c:
        assert c.answer().status == 200
    assert u.one().target == "/v1/chat/completions?x=1" and u.one().header("host") == f"127.0.0.1:{u.port}"


def test_many_connections(h):
    w, u = weir(h)
    open_ones = [wire.Connection(w.port) for _ in range(300)]
    for c in open_ones:
        c.send(wire.request("POST", "/v1/chat/completions", BODY))
    for c in open_ones:
        assert c.answer().status == 200
        c.close()
    until(lambda: w.metric("weir_streams_open") == 0, what="no stream is open")
