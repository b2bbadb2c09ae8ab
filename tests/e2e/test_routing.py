"""Which provider a request goes to: aliases, provider/model, the default, raw paths, multipart; and the list of models. INTERFACE 2."""

import json

import wire
from harness import chat_body, chat_provider, messages_provider


def two(h, more=""):
    """Three providers at three upstreams."""
    one, other, ant = h.upstream(), h.upstream(), h.upstream()
    w = h.weir(
        chat_provider("one", one.url, 'models = { ["gpt-x"] = { window = 1000 } }')
        + chat_provider("other", other.url)
        + messages_provider("ant", ant.url)
        + 'model "smart" { "other/big", "one/small" }\nmodel "claude" { "ant/sonnet" }\nmodel "both" { "ant/sonnet", "one/small" }\n'
        + more
    )
    return w, one, other, ant


def goes(w, path, model, upstream, arrives, headers=()):
    upstream.requests.clear()
    a = w.post(path, json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}], "input": "x", "prompt": "x", "max_tokens": 5}).encode(), headers)
    assert a.status == 200, f"{path} {model}: {a}"
    assert upstream.requests and upstream.one().json()["model"] == arrives, f"{path} {model} did not arrive as {arrives} at its provider"
    return a


def test_model_names(h):
    w, one, other, ant = two(h)
    chat, messages = "/v1/chat/completions", "/v1/messages"
    assert goes(w, chat, "smart", other, "big").header("x-weir-target") == "other/big"
    goes(w, chat, "other/x", other, "x")
    goes(w, chat, "one/a/b/c", one, "a/b/c")
    goes(w, chat, "gpt-5", one, "gpt-5")  # no default named: the first of the path's dialect
    goes(w, chat, "nobody/gpt-5", one, "nobody/gpt-5")  # no provider of that name: the whole name
    goes(w, messages, "claude-x", ant, "claude-x")
    goes(w, messages, "claude", ant, "sonnet")
    goes(w, messages, "ant/y", ant, "y")
    goes(w, messages, "both", ant, "sonnet")
    goes(w, chat, "both", ant, "sonnet")  # in the order of the alias: translated


def test_default_provider(h):
    w, one, other, ant = two(h, 'default_provider "other"\n')
    goes(w, "/v1/chat/completions", "gpt-5", other, "gpt-5")
    goes(w, "/v1/messages", "claude-x", ant, "claude-x")
    w, one, other, ant = two(h, 'default_provider "ant"\n')
    goes(w, "/v1/chat/completions", "gpt-5", one, "gpt-5")
    goes(w, "/v1/messages", "claude-x", ant, "claude-x")


def test_unknown_models(h):
    ant = h.upstream()
    w = h.weir(messages_provider("ant", ant.url) + 'model "clever" { "ant/x" }\n')
    a = w.post("/v1/chat/completions", chat_body("clevr"))
    assert a.status == 404 and a.error["code"] == "model_not_found" and "clever" in a.error["message"] and a.weir["fault"] == "not_found", a
    a = w.post("/v1/embeddings", json.dumps({"model": "ant/x", "input": "a"}).encode())
    assert a.status == 400 and "messages" in a.error["message"], a  # known, and of a dialect without them
    chat = h.upstream()
    w = h.weir(chat_provider("oai", chat.url))
    a = w.post("/v1/messages", chat_body("claude-x", max_tokens=5))
    assert a.status == 404 and a.json()["type"] == "error" and a.error["type"] == "not_found_error", a
    for body in (b'{"messages":[]}', b'{"model":"","messages":[]}', b'{"model":null,"messages":[]}'):
        a = w.post("/v1/chat/completions", body)
        assert a.status == 400 and "model" in a.error["message"], f"{body!r}: {a}"
    assert not ant.requests and not chat.requests


def test_models_list(h):
    w, one, other, ant = two(h)
    d = wire.get(w.port, "/v1/models").json()
    names = [m["id"] for m in d["data"]]
    assert d["object"] == "list" and {"smart", "claude", "both", "one/gpt-x"} <= set(names), d
    assert all(m["object"] == "model" and isinstance(m["created"], int) for m in d["data"]), d
    d = wire.get(w.port, "/v1/models", [("anthropic-version", "2023-06-01")]).json()
    assert (
        {"smart", "claude"} <= {m["id"] for m in d["data"]} and all(m["type"] == "model" for m in d["data"]) and d["has_more"] is False
    ), d
    assert not one.requests and not other.requests and not ant.requests


def test_endpoint_paths(h):
    """Where a request lands below a provider's url, with and without its /v1."""
    u = h.upstream()
    base = f"http://127.0.0.1:{u.port}"
    w = h.weir(
        chat_provider("a", base + "/v1")
        + chat_provider("b", base + "/openai/v1/")
        + chat_provider("c", base)
        + messages_provider("d", base)
        + messages_provider("e", base + "/v1")
        + chat_provider("f", base + "/deployments/x?api-version=7")
    )
    lands = [
        ("/v1/chat/completions", "a/m", "/v1/chat/completions"),
        ("/v1/embeddings", "b/m", "/openai/v1/embeddings"),
        ("/v1/responses", "c/m", "/responses"),
        ("/v1/messages", "d/m", "/v1/messages"),
        ("/v1/messages/count_tokens", "e/m", "/v1/messages/count_tokens"),
        ("/v1/completions", "f/m", "/deployments/x/completions?api-version=7"),
        ("/a/v1/files?x=1", None, "/v1/files?x=1"),
        ("/b/v1/files", None, "/openai/v1/files"),
        ("/b/openai/v1/files", None, "/openai/v1/files"),
        ("/c/v1/files/", None, "/v1/files/"),
        ("/c", None, "/"),
        ("/a/x%2Fy//z", None, "/v1/x%2Fy//z"),
        ("/d/v1/messages/batches", None, "/v1/messages/batches"),
        ("/f/y", None, "/deployments/x/y?api-version=7"),
    ]
    for path, model, lands_at in lands:
        u.requests.clear()
        a = w.post(path, chat_body(model or "m"))
        assert u.requests, f"{path}: {a}"
        assert u.one().target == lands_at, f"{path} landed at {u.one().target}, not {lands_at}"


def test_raw_routes(h):
    w, one, other, ant = two(h)
    for path, u in (("/other/v1/files", other), ("/ant/v1/anything", ant), ("/v1/files", one), ("/v1/fine_tuning/jobs", one)):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            u.requests.clear()
            body = None if method in ("GET", "DELETE") else b"\x00\x01 not json \xff" * 9000
            a = wire.ask(
                w.port,
                method,
                path,
                body,
                [("content-type", "application/octet-stream")] if body else [],
                framing="chunked" if method == "PUT" else "length",
            )
            assert a.status == 200, f"{method} {path}: {a}"
            r = u.one()
            assert r.method == method and r.body == (body or b""), f"{method} {path}: {len(r.body)} bytes arrived"
            assert r.framing == ("none" if body is None else "chunked" if method == "PUT" else "length"), f"{method}: {r.headers}"
    a = wire.get(w.port, "/v1/files", [("anthropic-version", "2023-06-01")])  # a messages client's unknown path
    assert a.status == 200 and len(ant.requests) > 0
    until = w.record(a.header("x-request-id"))
    assert until["raw"] is True and until["target"] == "ant", until


def test_unknown_paths(h):
    w, one, other, ant = two(h)
    for path in (
        "/",
        "/nobody/v1/files",
        "/v1beta/models/x:generateContent",
        "/v2/chat",
        "/model/x/converse",
        "/chat/completions",
        "//v1/models",
        "/.well-known/x",
    ):
        a = wire.get(w.port, path)
        assert a.status == 404 and a.weir["fault"] == "not_found", f"{path}: {a}"
    assert "not in this version" in wire.get(w.port, "/v2/chat").error["message"]
    for path in ("/one/../other/x", "/one/%2e%2e/x", "/v1/./files"):  # what a provider could read in another way
        assert wire.get(w.port, path).status == 400, path
    assert not one.requests


def test_raw_errors_pass(h):
    u = h.upstream(lambda r, p: p.answer(b"<html>teapot</html>", 418, content_type="text/html") or True)
    w = h.weir(chat_provider("p", u.url))
    a = wire.get(w.port, "/v1/files")
    assert a.status == 418 and a.body == b"<html>teapot</html>" and a.header("content-type") == "text/html", a
    dead = h.weir(chat_provider("p", f"http://127.0.0.1:{h.port()}/v1"))
    a = wire.get(dead.port, "/p/v1/files")
    assert a.status == 502 and a.weir["fault"] == "connection" and a.weir["tried"][0]["target"].startswith("p"), a


def multipart(*parts, boundary="xyz"):
    return (
        b"".join(
            b'--%s\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (boundary.encode(), n.encode(), more, v)
            for n, v, more in parts
        )
        + b"--%s--\r\n" % boundary.encode()
    )


def test_multipart_model_part(h):
    w, one, other, ant = two(h)
    sound = bytes(range(256)) * 1200
    file = ("file", sound, b'; filename="a.wav"\r\ncontent-type: audio/wav')
    for framing in ("length", "chunked"):
        for model, u, arrives in (
            ("other/whisper-1", other, "whisper-1"),
            ("smart", other, "big"),
            ("whisper-1", one, "whisper-1"),
            (None, one, None),
        ):
            u.requests.clear()
            parts = [("language", b"en", b"")] + ([("model", model.encode(), b"")] if model else []) + [file]
            a = w.post(
                "/v1/audio/transcriptions", multipart(*parts), [("content-type", "multipart/form-data; boundary=xyz")], framing=framing
            )
            assert a.status == 200, f"{model} {framing}: {a}"
            expected = [("language", b"en", b"")] + ([("model", arrives.encode(), b"")] if arrives else []) + [file]
            assert u.requests and u.one().body == multipart(*expected), f"{model} {framing}: another body arrived"
    a = w.post("/v1/audio/transcriptions", b"no multipart at all" * 10000, [("content-type", "multipart/form-data; boundary=xyz")])
    assert a.status in (200, 400) and a.whole, a


def test_large_uploads_stream_through(h):
    """More than memory would be kept for: the gateway holds a bounded piece of it."""
    w, one, other, ant = two(h)
    body = bytes(range(256)) * 4096 * 48
    before = w.memory()
    a = w.post("/other/v1/files", body, [("content-type", "application/octet-stream")])
    assert a.status == 200 and other.one().body == body
    assert h.slow > 1 or w.memory() - before < 16 << 20, f"{w.memory() - before} bytes more after an upload of {len(body)}"
