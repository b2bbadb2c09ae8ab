"""Answers that come encoded although identity was asked for: passed on as they are, read all the same; bounded. And what an early head
could not say (x-weir-include: trace), and the bytes that the access log counts."""

import gzip
import json
import signal
import time
import zlib

import wire
from faults import error
from harness import chat_body, chat_provider, messages_provider, until
from upstream import START, chat_answer, chat_events, messages_word, usual

SECRET_WORD = "Nightjar"


def bare(data):
    c = zlib.compressobj(wbits=-15)
    return c.compress(data) + c.flush()


ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress, "x-gzip": lambda d: gzip.compress(d[:40]) + gzip.compress(d[40:])}


def whole(packed, status=200, encoding="gzip"):
    return lambda r, p: p.answer(packed, status, headers=[("content-encoding", encoding)]) or True


def streamed(*pieces, encoding="gzip", end=True):
    """An encoded stream, flushed behind each piece as a provider would."""

    def answers(r, p):
        c = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
        packed = [c.compress(piece) + c.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
        if end:
            packed.append(c.flush())
        p.sent = b"".join(packed)
        answers.sent = p.sent
        p.stream(*[x for x in packed if x], headers=[("content-encoding", encoding)])
        return True

    return answers


def test_whole_answers(h):
    for name, encode in [*ENCODERS.items(), ("deflate", bare)]:
        packed = encode(chat_answer("packed"))
        u = h.upstream(whole(packed, encoding=name))
        w = h.weir(chat_provider("p", u.url))
        a = w.chat()
        assert a.status == 200 and a.body == packed and a.header("content-encoding") == name, f"{name}: {a}"
        r = w.record(a.header("x-request-id"))
        assert (r["input"], r["output"], r["bytes"], r["served"]) == (3, 2, len(packed), "mock"), f"{name}: {r}"


def test_what_stands_in_them_counts(h):
    bomb = gzip.compress(b'{"choices":[{"index":0,"message":{"content":"' + b"x" * 30_000_000)
    bad = {
        "empty": (whole(gzip.compress(chat_answer(""))), "empty"),
        "no-json": (whole(gzip.compress(b"<html>")), "invalid"),
        "cut": (whole(gzip.compress(chat_answer("x" * 500))[:-9]), "protocol"),
        "broken": (whole(b"\x1f\x8b\x08\x00 and then this"), "protocol"),
        "behind": (whole(zlib.compress(chat_answer()) + b"more", encoding="deflate"), "protocol"),
        "bomb": (whole(bomb), "protocol"),
        "quota": (whole(gzip.compress(error("insufficient_quota", "insufficient_quota")), 429), "quota"),
    }
    config, good = 'defaults { max_answer = mb(1) }\nprovider "good" { dialect = "chat", url = "%s" }\n', h.upstream()
    config %= good.url
    for name, (handler, _) in bad.items():
        config += chat_provider(name, h.upstream(handler).url) + f'model "m-{name}" {{ "{name}/x", "good/y" }}\n'
    w = h.weir(config)
    before = w.memory()
    for name, (_, fault) in bad.items():
        a = w.chat(f"m-{name}")
        assert a.status == 200 and a.header("x-weir-target") == "good/y" and not a.header("content-encoding"), f"{name}: {a}"
        failed = w.record(a.header("x-request-id"))["failed"]
        assert [f["fault"] for f in failed] == [fault], f"{name}: {failed}"
    assert w.memory() - before < 16 << 20, "a bomb took its room"


def test_policies_read_them(h):
    seen = "local p = { on_error = 'deny' }\nfunction p.on_response(req, response)\n  req:note('text', response.text)\n  if response.text == 'bad' then return weir.reject('bad') end\nend\nreturn p\n"
    u = h.upstream(lambda r, p: whole(gzip.compress(chat_answer(r.json()["model"])))(r, p))
    strange = h.upstream(whole(b"\x00\x01", encoding="br"))
    w = h.weir(chat_provider("p", u.url) + chat_provider("br", strange.url) + 'use "seen"\nmodel "m" { "p/bad", "br/x", "p/good" }\n', policies={"seen": seen})
    a = w.chat("m")
    assert a.status == 200 and json.loads(gzip.decompress(a.body))["choices"][0]["message"]["content"] == "good", a
    r = w.record(a.header("x-request-id"))
    assert r["notes"]["text"] == "good" and [f["fault"] for f in r["failed"]] == ["invalid", "invalid"], r


def test_streams(h):
    for encoding in ("gzip", "deflate"):
        handler = streamed(*chat_events("Hel", "lo."), encoding=encoding)
        u = h.upstream(handler)
        w = h.weir(chat_provider("p", u.url))
        a = w.chat(stream=True)
        assert a.whole and a.header("content-encoding") == encoding and a.body == handler.sent, a
        r = w.record(a.header("x-request-id"))
        assert r["end"] == "done" and r["served"] == "mock" and "first_event_ms" in r and r["bytes"] == len(handler.sent), r
    bad = h.upstream(streamed(*chat_events()))
    half = h.upstream(streamed(START, messages_word("Hel")))
    good = h.upstream()
    w = h.weir(chat_provider("bad", bad.url) + chat_provider("good", good.url) + messages_provider("half", half.url) + 'model "m" { "bad/x", "good/y" }\n')
    a = w.chat("m", stream=True)
    assert a.status == 200 and a.header("x-weir-target") == "good/y" and a.text() == "Hello.", a
    a = w.post("/v1/messages", chat_body("half/x", stream=True, max_tokens=5))
    assert a.status == 200 and not a.whole and b"event: error" not in a.body, "a broken packed stream is cut: no event of weir's own fits into it"


def test_streams_are_decoded_where_weir_may_speak(h):
    guard = f"local p = {{ on_error = 'deny' }}\nlocal m = weir.matcher {{ '{SECRET_WORD}' }}\nfunction p.on_chunk(req, chunk)\n  if chunk.text and m:feed(req, chunk.text) then return weir.stop('secret', 'filter') end\nend\nreturn p\n"
    u = h.upstream(lambda r, p: streamed(*chat_events("Hel", r.json()["model"], "lo."))(r, p))
    w = h.weir(chat_provider("p", u.url) + 'use "guard"\n', policies={"guard": guard})
    a = w.chat("p/word", stream=True)
    assert not a.header("content-encoding") and a.body == b"".join(chat_events("Hel", "word", "lo.")), a
    a = w.chat(f"p/{SECRET_WORD}", stream=True)
    assert SECRET_WORD.encode() not in a.body and a.text() == "Hel" and a.body.endswith(b"[DONE]\n\n"), a

    def late(r, p):
        time.sleep(0.4)
        return streamed(*chat_events("Hel", "lo."))(r, p)

    w = h.weir(chat_provider("p", h.upstream(late).url) + "defaults { hold_head = 0.1 }\n")
    a = w.chat("p/x", stream=True)
    assert a.header("x-weir-early") == "1" and not a.header("content-encoding") and a.body.endswith(b"".join(chat_events("Hel", "lo."))), a


def test_a_drain_cuts_a_packed_stream(h):
    """Nothing of weir's own is put behind encoded bytes."""

    def hangs(r, p):
        c = zlib.compressobj(wbits=31)
        p.stream(c.compress(b"".join(chat_events("Hel")[:2])) + c.flush(zlib.Z_SYNC_FLUSH), headers=[("content-encoding", "gzip")], end=False)
        p.gone(5)

    w = h.weir(chat_provider("p", h.upstream(hangs).url) + "defaults { drain = 0.1 }\n")
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        until(lambda: w.metric("weir_streams_open") == 1, what="the stream has begun")
        w.signal(signal.SIGTERM)
        a = c.answer()
        assert not a.whole and b"drained" not in a.body and b"Hel" in zlib.decompressobj(wbits=31).decompress(a.body), a
    assert w.wait() == 0


def trace_of(body):
    lines = [line for line in body.split(b"\n") if line.startswith(b": weir ")]
    assert len(lines) <= 1, body
    return json.loads(lines[0][7:]) if lines else None


def test_what_an_early_head_could_not_say(h):
    def late(r, p):
        time.sleep(0.2)
        if "fails" in r.json()["model"]:
            return p.answer(error("bad", "x"), 400) or True
        return usual(r, p)

    bad, good = h.upstream(lambda r, p: time.sleep(0.2) or p.answer(error(), 500) or True), h.upstream(late)
    chunks = "local p = { on_error = 'deny' }\nfunction p.on_chunk(req, chunk) end\nreturn p\n"
    for use in ("", 'use "chunks"\n'):
        w = h.weir(
            chat_provider("bad", bad.url) + chat_provider("good", good.url) + messages_provider("ant", good.url)
            + 'model "m" { "bad/x", "good/y" }\ndefaults { hold_head = 0.1 }\n' + use,
            policies={"chunks": chunks},
        )
        asked = [("x-weir-include", "estimate, trace")]
        a = w.chat("m", stream=True, headers=asked)
        t = trace_of(a.body)
        assert sorted(k for k, _ in a.headers if k.lower().startswith("x-weir")) == ["x-weir-early"] and not a.header("traceparent"), a
        assert t["target"] == "good/y" and t["attempts"] == "2" and t["traceparent"].startswith("00-") and "upstream;dur=" in t["server-timing"], t
        assert a.body.endswith(b"}\n\ndata: [DONE]\n\n") and a.text() == "Hello.", a.body
        a = w.post("/v1/messages", chat_body("ant/x", stream=True, max_tokens=5), asked)
        assert trace_of(a.body)["target"] == "ant/x" and a.body.index(b": weir") < a.body.index(b"event: message_stop"), a.body
        a = w.chat("good/fails", stream=True, headers=asked)
        assert trace_of(a.body)["target"] == "good/fails" and a.body.index(b": weir") < a.body.index(b'"error"'), a.body
        assert trace_of(w.chat("m", stream=True).body) is None, "nobody asked"
    w = h.weir(chat_provider("now", h.upstream(lambda r, p: p.stream(*chat_events("Hel"), headers=[("x-request-id", "prov-9")]) or True).url))
    a = w.chat("now/x", stream=True, headers=[("x-weir-include", "trace")])
    t = trace_of(a.body)
    assert t["target"] == a.header("x-weir-target") == "now/x", a.body  # what the head cannot know, the cost, comes there for every stream
    assert t["upstream-id"] == a.header("x-weir-upstream-id") == "prov-9", a.body
    assert trace_of(w.chat("now/x", stream=True).body) is None, "nobody asked"


def test_bytes_are_counted_whoever_speaks(h):
    deny = "local p = { on_error = 'deny' }\nfunction p.on_request(req)\n  if req.model == 'p/no' then return weir.deny(403, 'no') end\n  if req.model == 'p/own' then return weir.answer('my own') end\nend\nreturn p\n"
    w = h.weir(chat_provider("p", h.upstream().url) + 'use "deny"\n', policies={"deny": deny})
    for model, stream in (("p/no", False), ("p/own", False), ("p/own", True), ("p/x", False), ("p/x", True)):
        a = w.chat(model, stream=stream)
        assert a.body and w.record(a.header("x-request-id"))["bytes"] == len(a.body), f"{model} {stream}: {w.record(a.header('x-request-id'))} {len(a.body)}"
        assert a.header("server-timing", "").startswith("weir;dur="), a
