"""Providers and clients that mean harm or are broken: no answer of one reaches another, nothing hangs, nothing ends weir."""

import json
import random
import threading
import time

import wire
from harness import chat_body, chat_provider
from upstream import chat_answer, chat_events

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
GOOD = chat_answer("good")
FAST = "defaults { connect = 1, head = 0.6, first_event = 0.6, between_events = 0.6 }\n"


def length(body, extra=b""):
    return OK + b"content-length: %d\r\n%s\r\n%s" % (len(body), extra, body)


REFUSED = {  # what no HTTP client should take for an answer
    "no status line": b"\x00\x01\x02\x03" * 100 + b"\r\n\r\n",
    "http/2": b"HTTP/2 200\r\n\r\n",
    "http/0.9": b"<html>hello</html>\r\n\r\n",
    "status 99": b"HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 X\r\ncontent-length: 0\r\n\r\n",
    "status text": b"HTTP/1.1 OK 200\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: %d\n\n%s" % (len(GOOD), GOOD),
    "nul in a value": OK + b"x: a\x00b\r\ncontent-length: %d\r\n\r\n%s" % (len(GOOD), GOOD),
    "space before a colon": OK + b"content-length : %d\r\n\r\n%s" % (len(GOOD), GOOD),
    "folded header": OK + b"x: a\r\n b\r\ncontent-length: %d\r\n\r\n%s" % (len(GOOD), GOOD),
    "two lengths": OK + b"content-length: %d\r\ncontent-length: 5\r\n\r\n%s" % (len(GOOD), GOOD),
    "signed length": OK + b"content-length: +%d\r\n\r\n%s" % (len(GOOD), GOOD),
    "negative length": OK + b"content-length: -1\r\n\r\n",
    "length and chunks": OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": OK + b"transfer-encoding: chunked\r\n\r\n5g\r\nhello\r\n0\r\n\r\n",
    "huge chunk size": OK + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n",
    "negative chunk size": OK + b"transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "no line end behind a chunk": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    "endless chunk extension": OK + b"transfer-encoding: chunked\r\n\r\n5;" + b"a" * 200_000,
    "endless head": OK + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 100) for i in range(3000)),
    "one endless header": OK + b"x: " + b"y" * 400_000,
    "endless trailers": OK + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 30_000,
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/evil\r\ncontent-length: 0\r\n\r\n",
    "reset content": b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
    "deep json": length(b"[" * 100_000),
    "deep object": length(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "bad utf-8": length(GOOD.replace(b"good", b"\xff\xfe\xfd")),
    "duplicate keys": length(b'{"choices":[],"choices":[{"message":{"content":"x"}}]}'),
    "an array": length(b"[1,2,3]"),
    "a string": length(b'"hello"'),
    "null": length(b"null"),
}


def answers(data, then="close"):
    def handler(r, p):
        p.send(data)
        if then == "close":
            time.sleep(0.02)
        return then == "keep"

    return handler


def test_hostile_answers(h):
    which = {"data": b""}
    u, good = h.upstream(lambda r, p: answers(which["data"])(r, p)), h.upstream()
    w = h.weir(chat_provider("p", u.url) + chat_provider("good", good.url) + 'model "chain" { "p/x", "good/y" }\n' + FAST)
    for name, data in REFUSED.items():
        which["data"] = data
        for streamed in (False, True):
            begun = time.monotonic()
            a = w.chat("p/x", streamed)
            what = f"{name} ({'stream' if streamed else 'whole'})"
            passes = name in ("duplicate keys", "bad utf-8") and not streamed and a.status == 200  # the client's own matter in pass-through
            assert passes or (a.status in (502, 503, 504) and a.whole and a.weir["tried"]), f"{what}: {a}"
            a = w.chat("chain", streamed)
            assert a.status == 200 and (passes or a.text() == "Hello."), f"{what}: {a}"
            assert time.monotonic() - begun < 2.5 * h.slow, f"{what} took {time.monotonic() - begun:.1f} s"


def test_interim_answers_are_skipped(h):
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    u = h.upstream(answers(interim * 20 + length(GOOD), "keep"))
    w = h.weir(chat_provider("p", u.url))
    for _ in range(3):
        a = w.chat()
        assert a.status == 200 and a.body == GOOD and not a.header("link"), a


def test_a_second_answer_reaches_nobody(h):
    """Bytes behind an answer are not the next client's answer."""
    for more in (length(chat_answer("evil")), b"x", b"\r\n", b"HTTP/1.1 200 OK\r\n"):
        u = h.upstream(answers(length(GOOD) + more, "keep"))
        w = h.weir(chat_provider("p", u.url))
        for _ in range(6):
            a = w.chat()
            assert a.status == 200 and a.body == GOOD, f"{more[:20]!r}: {a}"
    late = h.upstream(lambda r, p: p.send(length(GOOD)) or time.sleep(0.05) or p.send(length(chat_answer("evil"))) or True)
    w = h.weir(chat_provider("p", late.url))
    for _ in range(6):
        a = w.chat()
        assert a.status == 200 and a.body == GOOD, a
        time.sleep(0.1)


def test_an_answer_before_the_request_is_whole(h):
    """A provider that answers early and closes: its answer counts, and the connection is not used again."""

    def handler(r, p):
        return True

    early = h.upstream(
        handler,
        greeting=length(b'{"error":{"message":"too large","type":"invalid_request_error"}}', b"connection: close\r\n").replace(
            b"200 OK", b"413 X"
        ),
    )
    w = h.weir(chat_provider("p", early.url))
    for size in (10, 3_000_000):
        a = w.post("/v1/chat/completions", chat_body(pad="x" * size))
        assert a.status in (413, 502), a


def test_streams_of_odd_bytes(h):
    """Events that no dialect has, and bytes that are no events at all: passed or failed, never a hang, never a made-up end."""
    odd = [
        b"\x00" * 50,
        b"data\n\n",
        b"data:\n\n",
        b": only a comment\n\n",
        b"event: x\n\n",
        b"data: [DONE\n\n",
        b"data: {}\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b'data: {"choices":null}\n\n',
        b'data: {"choices":[]}\n\n',
        b'data: {"choices":[{"delta":null}]}\n\n',
        b'data: {"choices":[{"index":99999999999,"delta":{"content":"x"}}]}\n\n',
        b'data: {"choices":[{"index":-1,"delta":{"content":"x"}}]}\n\n',
        b'data: {"choices":{"delta":{"content":"x"}}}\n\n',
        b"data: " + b"[" * 5000 + b"\n\n",
        b"\r\r\r\r",
        b"\n" * 10_000,
        b"x" * 100_000,
        b'data: {"usage":{"prompt_tokens":-5,"completion_tokens":1e999}}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud800"}}]}\n\n',
        b'data: {"a":1}\ndata: {"b":2}\n\n',
        b"retry: 99999999999999999999\nid: \x00\n\n",
    ]
    which = {"piece": b"", "first": True}

    def handler(r, p):
        events = chat_events("Hel", "lo.")
        p.stream(*([which["piece"]] + events if which["first"] else events[:2] + [which["piece"]] + events[2:]))
        return True

    u = h.upstream(handler)
    w = h.weir(chat_provider("p", u.url) + FAST)
    for piece in odd:
        for first in (True, False):
            which.update(piece=piece, first=first)
            a = w.chat(stream=True)
            assert a.whole, f"{piece[:40]!r}: {a}"
            if a.status == 200 and b"[DONE]\n\n" in a.body:
                events = chat_events("Hel", "lo.")
                assert a.body == b"".join(
                    [piece] + events if first else events[:2] + [piece] + events[2:]
                ), f"{piece[:40]!r}: {a.body[:300]!r}"
            elif a.status == 200:
                assert b'"error"' in a.body, f"{piece[:40]!r}: {a}"
            else:
                assert a.status in (502, 503, 504), f"{piece[:40]!r}: {a}"


def test_an_event_without_end(h):
    """An event that never ends is bounded: an error, not all memory."""

    def handler(r, p):
        p.stream(chat_events("x")[0], chat_events("x")[1], end=False)
        p.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"')
        for _ in range(3000):
            p.chunk(b"y" * 65536)

    u = h.upstream(handler)
    w = h.weir(chat_provider("p", u.url) + FAST)
    a = w.chat(stream=True)
    last = json.loads(wire.events(a.body)[-1][1])
    assert a.whole and last["error"]["weir"]["fault"] == "protocol", a.body[-300:]
    assert w.memory() < (120 << 20) * h.slow, w.memory()


def test_odd_requests(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url))
    many = b'{"model":"mock","messages":[]' + b"".join(b',"k%d":1' % i for i in range(2000)) + b"}"
    cases = [
        (many, (200, 400)),
        (b'{"model":"' + b"m" * 100_000 + b'","messages":[]}', (200, 400, 404)),
        (b'{"model":"mock/../x","messages":[]}', (200, 404)),
        (b'{"model":"\\u0000","messages":[]}', (200, 400, 404)),
        (b'{"model":"mock","messages":"no"}', (200, 400)),
        (b'{"model":"mock","stream":"yes","messages":[]}', (200, 400)),
        (b'{"model":"mock","max_tokens":1e400,"messages":[]}', (200, 400)),
        (b'{"model":"p/","messages":[]}', (200, 400, 404)),
        (b'{"model":"/","messages":[]}', (200, 400, 404)),
        (b'{"model":"p\\r\\nx-evil: 1","messages":[]}', (200, 400, 404)),
    ]
    for body, statuses in cases:
        a = w.post("/v1/chat/completions", body)
        assert a.status in statuses and a.whole, f"{body[:50]!r}: {a}"
        assert not a.header("x-evil") and len([k for k, _ in a.headers if k == "x-weir-target"]) <= 1, a
    for r in u.requests:
        assert r.header("x-evil") is None


def test_random_bytes(h):
    """Some hundred connections of mutated requests, from a fixed seed, beside good ones that must not notice."""
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + "defaults { header_time = 1, client_idle = 1 }\n")
    seed = random.Random(7)
    valid = [
        wire.request("POST", "/v1/chat/completions", chat_body()),
        wire.request("POST", "/v1/chat/completions", chat_body(stream=True), framing="chunked"),
        wire.request("POST", "/p/v1/files?x=1", b"abc", framing="chunked"),
        wire.request("GET", "/v1/models"),
    ]
    wrong, stop = [], threading.Event()

    def good():
        while not stop.is_set():
            a = w.chat()
            if a.status != 200 or a.text() != "Hello.":
                wrong.append(str(a))

    beside = threading.Thread(target=good)
    beside.start()
    for _ in range(600 // h.slow):
        data = bytearray(seed.choice(valid) * seed.randint(1, 2))
        for _ in range(seed.randint(1, 6)):
            at = seed.randrange(len(data))
            kind = seed.randrange(4)
            if kind == 0:
                data[at] = seed.randrange(256)
            elif kind == 1:
                del data[at : at + seed.randint(1, 20)]
            elif kind == 2:
                data[at:at] = bytes(seed.choice(b"\r\n\0 :;,0") for _ in range(seed.randint(1, 4)))
            else:
                data[at:at] = data[seed.randrange(len(data)) :][:30]
            data = data or bytearray(b"x")
        with wire.Connection(w.port, 0.1) as c:
            try:
                c.send(bytes(data[: len(data) // 2]))
                c.send(bytes(data[len(data) // 2 :]))
                if seed.random() < 0.7:
                    c.half_close()
                c.more()
            except OSError:
                pass
    stop.set()
    beside.join()
    assert not wrong, wrong[0]
    assert w.chat().status == 200
