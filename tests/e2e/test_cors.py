"""Calls from web pages: preflights that weir answers itself, and what a page may read."""

import hashlib

import wire
from harness import chat_body, chat_provider, until
from upstream import chat_answer

KEY = "weir_" + "c" * 43
PAGE, OTHER = "https://app.example", "https://evil.example"
PATH = "/v1/chat/completions"


def handler(r, peer):
    """A provider that has a mind of its own about origins."""
    if b"fail" in r.body:
        peer.answer(b'{"error":{"message":"no"}}', 400, [("access-control-allow-origin", "https://provider.example")])
    elif b'"stream":true' in r.body.replace(b" ", b""):
        return False
    else:
        peer.answer(chat_answer(), 200, [("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true"), ("vary", "accept")])
    return True


def weir(h, word):
    u = h.upstream(handler)
    k = 'key "k" { hash = "sha256:%s" }\n' % hashlib.sha256(KEY.encode()).hexdigest()
    return h.weir(chat_provider("p", u.url) + k + word), u


def preflight(w, origin, more=(), path=PATH):
    return wire.ask(w.port, "OPTIONS", path, None, [("origin", origin), ("access-control-request-method", "POST"), *more])


def control(a):
    return {k.lower(): v for k, v in a.headers if k.lower().startswith("access-control-")}


def test_preflight(h):
    """Answered without a key and without the provider, on the connection that goes on."""
    w, u = weir(h, 'cors { "https://app.example", "HTTP://Localhost:3000", "https://b.example:443" }\n')
    asked = "authorization, content-type, x-stainless-os"
    for origin in (PAGE, "http://localhost:3000", "https://b.example"):
        a = preflight(w, origin, [("access-control-request-headers", asked)])
        c = control(a)
        assert a.status == 204 and a.body == b"" and c["access-control-allow-origin"] == origin and a.header("vary") == "origin", a
        assert c["access-control-allow-headers"] == asked and "POST" in c["access-control-allow-methods"] and int(c["access-control-max-age"]) > 0, a
        assert "access-control-allow-credentials" not in c and a.header("x-request-id"), a
        r = w.record(a.header("x-request-id"))
        assert r["status"] == 204 and r["method"] == "OPTIONS" and r["path"] == PATH and r["end"] == "done", r
    for origin in (OTHER, "null", "https://app.example.evil", "http://app.example", "https://app.example:8443", "https://APP.example"):
        a = preflight(w, origin)
        assert a.status == 403 and not control(a) and "cors" in a.error["message"], (origin, a)
    assert preflight(w, PAGE, [("access-control-request-headers", "a" * 5000)]).status == 403
    assert preflight(w, PAGE, path="/p/v1/files?x=1").status == 204
    with wire.raw(w.port, b"") as c:
        for _ in range(2):
            c.send(wire.request("OPTIONS", PATH, None, [("origin", PAGE), ("access-control-request-method", "POST")]))
            assert c.answer("OPTIONS").status == 204
        c.send(wire.request("POST", PATH, chat_body(), [("origin", PAGE), ("authorization", f"Bearer {KEY}")]))
        assert c.answer().text() == "Hello."
    a = wire.ask(w.port, "OPTIONS", PATH, None, [("origin", PAGE)])  # no preflight: a request as any other
    assert a.status == 401, a
    assert len(u.requests) == 1


def test_answers(h):
    """Each answer, weir's own too, can be read by the pages in the list and by no other; the provider has no say, and is not told."""
    w, u = weir(h, 'cors { "https://app.example" }\n')
    auth = ("authorization", f"Bearer {KEY}")
    for origin, mine in ((PAGE, True), (OTHER, False), (None, False)):
        headers = [("origin", origin)] if origin else []
        for what, a in (
            ("whole", w.chat(headers=headers + [auth])),
            ("cut stream", w.chat(stream=True, headers=headers + [auth])),
            ("refused by the provider", w.post(PATH, chat_body(fail="fail"), headers + [auth])),
            ("raw", w.post("/p/v1/files", b"x", headers + [auth])),
            ("models", wire.get(w.port, "/v1/models", headers + [auth])),
            ("no key", w.chat(headers=headers)),
            ("no path", wire.get(w.port, "/nothing", headers + [auth])),
            ("no JSON", w.post(PATH, b"{", headers + [auth])),
        ):
            c = control(a)
            assert set(c) == ({"access-control-allow-origin", "access-control-expose-headers"} if mine else set()), (what, origin, a)
            assert a.count("vary") >= 1 and ("vary", "origin") in a.headers, (what, a)
            if mine:
                seen = c["access-control-expose-headers"].split(", ")
                assert c["access-control-allow-origin"] == PAGE and {"x-request-id", "retry-after", "x-weir-target", "x-weir-upstream-id"} <= set(seen), a
                ours = {k for k, _ in a.headers if k.startswith("x-weir-") or k in ("x-request-id", "retry-after", "server-timing", "traceparent")}
                assert ours <= set(seen), (what, ours - set(seen))
    assert len(u.requests) >= 8 and not any("origin" in r.names() for r in u.requests)


def test_early_head(h):
    """A stream whose head goes out before the provider's."""
    u = h.upstream(lambda r, peer: until(lambda: peer.gone(1), 5, "the client leaves") and False)
    w = h.weir(chat_provider("p", u.url) + 'cors "https://app.example"\ndefaults { hold_head = 0.1 }\n')
    with wire.raw(w.port, wire.request("POST", PATH, chat_body(stream=True), [("origin", PAGE)])) as c:
        a = c.head()
    assert a.status == 200 and a.header("x-weir-early") == "1" and a.header("access-control-allow-origin") == PAGE, a


def test_any_and_none(h):
    w, u = weir(h, 'cors { "*" }\n')
    for origin in (PAGE, "null"):
        a = preflight(w, origin)
        assert a.status == 204 and control(a)["access-control-allow-origin"] == "*" and "access-control-allow-credentials" not in control(a) and not a.header("vary"), a
        a = w.chat(headers=[("origin", origin), ("authorization", f"Bearer {KEY}")])
        assert a.header("access-control-allow-origin") == "*" and a.count("access-control-allow-origin") == 1 and "access-control-allow-credentials" not in control(a), a
        assert a.header("vary") == "accept", a
    w.write(chat_provider("p", u.url))  # off by default: the bytes are the provider's
    code, said = w.reload()
    assert code == 0 or "no key" in said, said
    if code == 0:
        a = w.chat(headers=[("origin", PAGE)])
        assert a.header("access-control-allow-credentials") == "true" and "origin" in u.requests[-1].names(), a
    r = h.run("check", "--config", w.file, env={"OPENAI_KEY": "x"})
    w.write(chat_provider("p", u.url) + 'cors "*"\n')
    r = h.run("check", "--config", w.file, env={"OPENAI_KEY": "x"})
    assert r.returncode == 0 and "cors: with \"*\" every page" in r.stderr, r
