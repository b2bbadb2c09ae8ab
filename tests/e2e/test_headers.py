"""Which headers pass, in both directions; whose key goes where; request ids; queries. INTERFACE 3."""

from harness import SECRET, chat_body, chat_provider, messages_provider
from upstream import chat_answer, chat_events

KEYS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
CLIENT = "client-own-key-7261"


def plain(h, handler=None, more="", provider=""):
    u = h.upstream(handler)
    return h.weir(chat_provider("p", u.url, provider) + messages_provider("a", u.url) + 'default_provider "p"\n' + more), u


def test_client_keys_stay_and_the_provider_key_goes(h):
    w, u = plain(h)
    for path, own in (
        ("/v1/chat/completions", "authorization"),
        ("/v1/messages", "x-api-key"),
        ("/p/v1/files", "authorization"),
        ("/v1/audio/speech", "authorization"),
        ("/a/v1/messages/batches", "x-api-key"),
    ):
        for key in KEYS:
            u.requests.clear()
            value = f"Bearer {CLIENT}" if key == "authorization" else CLIENT
            a = w.post(path + f"?key={CLIENT}&keep=1", chat_body(max_tokens=5), [(key.title(), value), ("cookie", f"session={CLIENT}")])
            assert a.status == 200, f"{path} {key}: {a}"
            r = u.one()
            assert (
                CLIENT.encode() not in r.head and CLIENT.encode() not in r.body
            ), f"{path} {key}: the client's key went upstream: {r.head!r}"
            assert r.header(own) == (f"Bearer {SECRET}" if own == "authorization" else SECRET), f"{path}: {r.headers}"
            assert r.head.count(SECRET.encode()) == 1, r.head
            assert r.target.endswith("?keep=1"), r.target
            assert CLIENT not in str(a.headers) and SECRET not in str(a), a


def test_what_never_goes_upstream(h):
    w, u = plain(h)
    gone = [
        ("x-forwarded-for", "1.2.3.4"),
        ("X-Forwarded-Proto", "https"),
        ("forwarded", "for=1.2.3.4"),
        ("via", "1.1 x"),
        ("x-real-ip", "1.2.3.4"),
        ("x-weir-session", "s"),
        ("x-weir-tags", "a=b"),
        ("X-Weir-Anything", "x"),
        ("te", "trailers"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "keep-alive"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("trailer", "x"),
        ("cookie", "a=b"),
    ]
    for path in ("/v1/chat/completions", "/p/v1/files"):
        u.requests.clear()
        assert w.post(path, chat_body(), gone).status == 200
        left = set(u.one().names()) & {k.lower() for k, _ in gone}
        assert not left, f"{path}: {left} went upstream"
        assert u.one().header("host") == f"127.0.0.1:{u.port}", u.one().headers


def test_everything_else_passes(h):
    w, u = plain(h)
    kept = [
        ("OpenAI-Organization", "org-1"),
        ("openai-project", "p"),
        ("anthropic-beta", "a,b"),
        ("Anthropic-Beta", "c"),
        ("x-stainless-lang", "python"),
        ("user-agent", "OpenAI/Python 1"),
        ("x-custom", 'v\u00e4lue with  two spaces; and "quotes"'),
        ("x-empty", ""),
        ("accept", "application/json"),
        ("idempotency-key", "k-1"),
        ("x-request-id", "mine-1"),
        ("traceparent2", "x"),
    ]
    for path in ("/v1/chat/completions", "/p/v1/files"):
        u.requests.clear()
        with_them = [(k, v) for k, v in kept]
        a = w.post(path, chat_body(), with_them)
        assert a.status == 200
        got = [(k.lower(), v.encode("latin-1").decode()) for k, v in u.one().headers]
        for k, v in kept:
            assert (k.lower(), v) in got, f"{path}: {k} did not arrive: {got}"


def test_provider_headers_and_policy_headers(h):
    u = h.upstream()
    w = h.weir(
        chat_provider("p", u.url + "?api-version=2024-10-21", 'headers = { ["x-team"] = "search", ["user-agent"] = "weir" }')
        + 'default_provider "p"\nuse "add"\n',
        policies={
            "add": 'local p = {}\nfunction p.on_attempt(req, attempt)\n  attempt.headers["x-added"] = "by-" .. attempt.target\n  attempt.headers["x-team"] = "other"\nend\nreturn p\n'
        },
    )
    assert (
        w.post("/v1/chat/completions?a=1", chat_body(), [("user-agent", "client"), ("x-team", "client"), ("x-added", "client")]).status
        == 200
    )
    r = u.one()
    assert [r.header(k) for k in ("x-team", "user-agent", "x-added")] == ["other", "weir", "by-p/mock"], r.headers
    assert all(r.names().count(k) == 1 for k in ("x-team", "user-agent", "x-added")), r.headers
    assert r.target == "/v1/chat/completions?api-version=2024-10-21&a=1", r.target


def test_answer_headers(h):
    def handler(r, peer):
        more = [
            ("x-request-id", "prov-9"),
            ("openai-processing-ms", "12"),
            ("x-ratelimit-remaining-requests", "7"),
            ("vary", "a"),
            ("vary", "b"),
            ("keep-alive", "timeout=9"),
            ("x-weir-target", "forged"),
            ("x-weir-cost-usd", "0"),
            ("proxy-authenticate", "Basic"),
            ("alt-svc", 'h3=":443"'),
            ("strict-transport-security", "max-age=1"),
        ]
        if r.json().get("stream"):
            peer.stream(*chat_events("hi"), headers=more)
        else:
            peer.answer(chat_answer(), headers=more)
        return True

    w, u = plain(h, handler)
    for stream in (False, True):
        a = w.chat(stream=stream)
        assert a.status == 200
        assert a.header("openai-processing-ms") == "12" and a.header("x-ratelimit-remaining-requests") == "7", a
        assert [v for k, v in a.headers if k == "vary"] == ["a", "b"], a
        assert a.header("x-weir-upstream-id") == "prov-9" and a.header("x-request-id").startswith("req_"), a
        assert a.header("x-weir-target") == "p/mock" and a.header("x-weir-attempts") == "1", a
        assert not [
            k for k, _ in a.headers if k in ("keep-alive", "proxy-authenticate", "alt-svc", "strict-transport-security", "x-weir-cost-usd")
        ], a
        assert all(a.count(k) == 1 for k in ("x-request-id", "x-weir-target", "content-type", "traceparent", "server-timing")), a


def test_request_ids(h):
    w, u = plain(h)
    good = ["a", "A.b_c-9", "x" * 64]
    bad = ["x" * 65, "a b", "a/b", "ü", "", 'a"b', "a,b"]
    for own in good:
        assert w.chat(headers=[("X-Request-Id", own)]).header("x-request-id") == own
    seen = set()
    for own in bad:
        a = w.chat(headers=[("x-request-id", own)])
        assert a.status == 200 and a.header("x-request-id") != own, a
        seen.add(a.header("x-request-id"))
    seen.add(w.chat().header("x-request-id"))
    assert len(seen) == len(bad) + 1, "two requests got one id"
    a = w.post("/v1/chat/completions", b"{", [("x-request-id", "mine")])
    assert a.header("x-request-id") == "mine" and a.weir["id"] == "mine", a


def test_traceparent(h):
    w, u = plain(h)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    a = w.chat(headers=[("traceparent", trace)])
    assert a.header("traceparent").startswith(trace[:36]) and a.header("traceparent") != trace, a
    assert u.one().header("traceparent").startswith(trace[:36]) and u.one().names().count("traceparent") == 1, u.one().headers
    u.requests.clear()
    a = w.chat(headers=[("traceparent", "nonsense")])
    assert len(a.header("traceparent")) == 55 and (u.one().header("traceparent") or trace) != "nonsense", a


def test_queries(h):
    w, u = plain(h)
    for sent, arrives in (
        ("?a=b", "?a=b"),
        ("?key=1", ""),
        ("?a=%20%2f&key=x&c", "?a=%20%2f&c"),
        ("?monkey=1&key=2&key=3&keys=4", "?monkey=1&keys=4"),
        ("?", ""),
        ("?k%65y=1&b=2", "?b=2"),
    ):
        for path in ("/v1/chat/completions", "/p/v1/files"):
            u.requests.clear()
            assert w.post(path + sent, chat_body()).status == 200, sent
            got = u.one().target
            assert got in (
                "/v1" + path.split("/v1")[1] + arrives,
                "/v1" + path.split("/v1")[1] + (arrives or "?"),
            ), f"{path}{sent} arrived as {got}"
