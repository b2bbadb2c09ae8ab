"""Bytes are not touched without a reason: requests and answers in pass-through, whole and streamed, as direct."""

import glob
import json
import os

import wire
from harness import chat_body, chat_provider, messages_provider
from upstream import chat_answer

ROUTES = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "completions": ("/v1/completions", {"prompt": "hi"}),
    "embeddings": ("/v1/embeddings", {"input": "hi"}),
    "responses": ("/v1/responses", {"input": "hi"}),
    "messages": ("/v1/messages", {"max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}),
}
FOLDERS = {
    "openai-responses": "responses",
    "anthropic": "messages",
    "openai-chat": "chat",
    "azure": "chat",
    "deepseek": "chat",
    "groq": "chat",
    "mistral": "chat",
    "qwen": "chat",
    "xai": "chat",
}


def both(h, *mock):
    """A weir with a chat and a messages provider at one mock."""
    m = h.mock(*mock)
    return h.weir(chat_provider("oai", m.url) + messages_provider("ant", m.url) + 'default_provider "oai"\n'), m


def body_of(route, stream, **more):
    return json.dumps({"model": "mock", **ROUTES[route][1], **({"stream": True} if stream else {}), **more}).encode()


def headers_of(route, spec=""):
    return ([("x-mock", spec)] if spec else []) + ([("anthropic-version", "2023-06-01")] if route == "messages" else [])


def same(direct, through, what):
    assert direct.whole and through.whole, f"{what}: direct {'whole' if direct.whole else 'cut'}, through weir {through}"
    assert through.status == direct.status, f"{what}: {through}"
    if through.body != direct.body:
        at = next((i for i, (x, y) in enumerate(zip(through.body, direct.body)) if x != y), min(len(through.body), len(direct.body)))
        raise AssertionError(f"{what}: bytes differ at {at}: {through.body[at - 40:at + 40]!r}, direct {direct.body[at - 40:at + 40]!r}")
    assert through.header("content-type") == direct.header("content-type"), what


def compare(w, m, route, stream, spec):
    path, body = ROUTES[route][0], body_of(route, stream)
    direct = wire.post(m.port, path, body, headers_of(route, spec))
    same(direct, wire.post(w.port, path, body, headers_of(route, spec)), f"{route} {'stream' if stream else 'whole'} {spec}")


def test_every_route_as_direct(h):
    w, m = both(h)
    for route in ROUTES:
        compare(w, m, route, False, "")
        compare(w, m, route, False, "split=7")
        if route != "embeddings":
            for spec in ("", "split=1", "split=7", "split=50;gap=3", "events=1", "events=60", "text=naïve – 日本語 \U0001f600;split=5"):
                compare(w, m, route, True, spec)
        if route in ("chat", "messages"):
            compare(w, m, route, True, "tools=1;split=11")
            compare(w, m, route, False, "tools=2")


def test_large_answers(h):
    w, m = both(h)
    for spec in ("size=200000", "size=300000", "size=3000000", "size=300000;no-length"):  # below hold_answer, above it, without a length
        compare(w, m, "chat", False, spec)
    compare(w, m, "chat", True, "size=3000000;events=20000")
    compare(w, m, "chat", True, "size=400000;events=1")
    compare(w, m, "messages", True, "size=1000000;events=3000")


def test_answer_framing(h):
    """Lengths, chunks and the end of the connection are all the same answer to a client; a length that is known is kept."""
    body = chat_answer("as it is")
    frames = {
        "length": b"content-length: %d\r\n\r\n%s" % (len(body), body),
        "chunked": b"transfer-encoding: chunked\r\n\r\n"
        + b"".join(b"%X;x=y\r\n%s\r\n" % (len(p), p) for p in (body[:1], body[1:50], body[50:]))
        + b"0\r\ntrailer: x\r\n\r\n",
        "close": b"connection: close\r\n\r\n" + body,
    }

    def handler(r, peer):
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + frames[r.header("x-frame")])
        return r.header("x-frame") != "close"

    u = h.upstream(handler)
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\n')
    for name in frames:
        a = w.chat(headers=[("x-frame", name)])
        assert a.whole and a.body == body, f"{name}: {a}"
        assert a.header("content-length") == str(len(body)), f"{name}: {a}"


def play(h, pick):
    folder = h.fixtures()
    w, m = both(h, "--play", folder)
    done = 0
    for name, route in FOLDERS.items():
        for path in sorted(glob.glob(os.path.join(folder, name, "*"))):
            rest = os.path.relpath(path, folder)
            if pick(rest):
                done += 1
                yield w, m, route, rest
    assert done > 0, "the fixtures hold no recording of this kind"


def test_recorded_streams(h):
    for w, m, route, name in play(h, lambda n: n.endswith(".chunks.txt") and "error" not in n):
        for split in (0, 1, 7, 1000):
            if split == 1 and os.path.getsize(os.path.join(h.fixtures(), name)) > 120000:
                continue  # a packet for each byte: the small ones show it
            compare(w, m, route, True, f"play={name}" + (f";split={split}" if split else ""))


def test_recorded_whole_answers(h):
    for w, m, route, name in play(h, lambda n: n.endswith(".json") and "error" not in n and "429" not in n):
        for split in (0, 1, 333):
            compare(w, m, route, False, f"play={name}" + (f";split={split}" if split else ""))


def test_recorded_streams_in_other_clothes(h):
    """The same events with CRLF and lone CR ends, comments, ids, no space behind the colon: passed as they came."""
    folder = h.fixtures()
    with open(os.path.join(folder, "openai-chat", "openai-text.chunks.txt"), "rb") as f:
        lines = f.read().splitlines()[:40] + [b"[DONE]"]
    with open(os.path.join(folder, "openai-chat", "openai-text.chunks.txt"), "rb") as f:
        whole = f.read().splitlines()
    dresses = {
        "crlf": b"".join(b"data: %s\r\n\r\n" % x for x in whole + [b"[DONE]"]),
        "cr": b"".join(b"data: %s\r\r" % x for x in whole + [b"[DONE]"]),
        "bare": b"".join(b"data:%s\n\n" % x for x in whole + [b"[DONE]"]),
        "noise": b"\xef\xbb\xbf: hello\n\n"
        + b"".join(b"id: 7\n: OPENROUTER PROCESSING\n\nretry: 10\ndata: %s\n\n" % x for x in whole + [b"[DONE]"])
        + b": bye\n\n",
        "spaced": b"".join(b"data: %s\n\n" % x for x in whole) + b"data:  [DONE] \n\n",
    }
    assert lines
    os.mkdir(os.path.join(h.tmp, "play"))
    for name, text in dresses.items():
        with open(os.path.join(h.tmp, "play", f"{name}.sse"), "wb") as f:
            f.write(text)
    w, m = both(h, "--play", os.path.join(h.tmp, "play"))
    for name in dresses:
        for split in ("", ";split=1", ";split=13"):
            compare(
                w,
                m,
                "chat",
                True,
                f"play={name}.sse{split}" if split != ";split=1" or len(dresses[name]) < 120000 else f"play={name}.sse;split=3",
            )


# ---- requests

ODD = [
    b'{"model":"mock","messages":[{"role":"user","content":"hi"}]}',
    b' {\r\n\t"messages" :\n[ { "role":"user" , "content":"\\u00e9\\ud83d\\ude00\\/ \xc3\xa9" } ] ,\t"model" : "mock" , "n":1 } \n',
    b'{"seed":123456789012345678901234567890,"temperature":1E400,"top_p":0.1000000000000000055511151231257827,"model":"mock","messages":[]}',
    b'{"x":-0,"y":1.0,"z":1e-999,"model":"mock","messages":[{"role":"user","content":"\\ud800 lone"}],"logit_bias":{"50256":-100}}',
    b'{"messages":[],"metadata":{"model":"not this one","Model":"nor this"},"model":"mock","tools":[{"a":[[[[{"b":null}]]]]}]}',
    b'{"m\\u006fdel2":1,"":2,"\\u0000":3,"model":"mock","messages":[],"deep":' + b"[" * 100 + b"]" * 100 + b"}",
]


def test_request_bodies_reach_the_provider_unchanged(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\n')
    for framing in ("length", "chunked"):
        for body in ODD:
            u.requests.clear()
            a = w.post("/v1/chat/completions", body, framing=framing)
            assert a.status == 200, f"{body!r}: {a}"
            assert u.one().body == body, f"{body!r} arrived as {u.one().body!r}"
            assert u.one().header("content-length") == str(len(body)), u.one().headers


def test_only_the_model_changes(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\nmodel "smart" { "p/gpt-\\u{e9}\\"x" }\n')
    for body in ODD:
        for name, sent in ((b'"smart"', '"gpt-é\\"x"'.encode()), (b'"p/a/b:c"', b'"a/b:c"'), (b'"sm\\u0061rt"', '"gpt-é\\"x"'.encode())):
            u.requests.clear()
            asked = body.replace(b'"mock"', name)
            a = w.post("/v1/chat/completions", asked)
            assert a.status == 200, f"{asked!r}: {a}"
            assert u.one().body == body.replace(b'"mock"', sent), f"{asked!r} arrived as {u.one().body!r}"


def test_large_requests(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\nmodel "smart" { "p/other" }\n')
    for size in (15_000, 17_000, 70_000, 1_000_000, 9_000_000):
        for framing in ("length", "chunked"):
            for name in ("mock", "smart"):
                u.requests.clear()
                body = chat_body(name, padding="a\\\u00e9" * (size // 4))
                a = w.post("/v1/chat/completions", body, framing=framing)
                assert a.status == 200, f"{size} {framing}: {a}"
                assert u.one().body == body.replace(
                    b'"smart"', b'"other"'
                ), f"{size} bytes {framing} for {name}: {len(u.one().body)} of {len(body)} arrived"


def test_duplicate_keys_are_refused(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\n')
    for body in (
        b'{"model":"a","model":"b","messages":[]}',
        b'{"model":"a","m\\u006fdel":"b","messages":[]}',
        b'{"model":"a","Model":"b","messages":[]}',
    ):
        a = w.post("/v1/chat/completions", body)
        assert a.status == 400 and a.error["type"] == "invalid_request_error", a
    assert not u.requests


def test_what_is_no_json_object_is_refused(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + 'default_provider "p"\n')
    bad = [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"model":}',
        b'{"model":"mock",}',
        b'{"model":NaN}',
        b"{'model':'mock'}",
        b'{"model":"mock"} x',
        b'{"model":"\xff"}',
        b'{"model":"mock","messages":[01]}',
        b'{"model":"a\nb"}',
        b'{"model":7,"messages":[]}',
        b"[" * 200,
        b'{"model":"mock","a":' + b"[" * 200 + b"]" * 200 + b"}",
    ]
    for body in bad:
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"):
            a = w.post(path, body)
            assert a.status == 400 and a.whole, f"{path} {body[:40]!r}: {a}"
            if path == "/v1/messages":
                assert a.json()["type"] == "error" and a.error["type"] == "invalid_request_error", a
            else:
                assert a.error["type"] == "invalid_request_error" and a.weir["fault"] == "bad_request", a
    assert not u.requests, "a refused body opened an upstream request"


def test_encoded_answers_pass_raw(h):
    import gzip

    packed = gzip.compress(chat_answer("packed"))
    u = h.upstream(lambda r, p: p.answer(packed, headers=[("content-encoding", "gzip")]) or True)
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\n')
    a = w.chat(headers=[("accept-encoding", "gzip, br")])
    assert a.body == packed and a.header("content-encoding") == "gzip", a
    assert u.one().header("accept-encoding") == "identity", u.one().headers
