"""The operators' side: health, metrics, the access log; listeners of every kind; proxies that are trusted."""

import json
import os
import re
import time

import wire
from harness import SECRET, chat_body, chat_provider, messages_provider, until
from upstream import chat_answer


def weir(h, more="", **kw):
    u = h.upstream()
    return h.weir(chat_provider("p", u.url, 'models = { ["known"] = {} }') + 'model "smart" { "p/known" }\n' + more, **kw), u


def admin(w, path, method="GET", **more):
    return wire.ask(w.admin, method, path, host=more.pop("host", "127.0.0.1"), **more)


def test_health(h):
    w, u = weir(h)
    for path in ("/livez", "/readyz"):
        a = admin(w, path)
        assert a.status == 200 and a.header("content-type").startswith("text/plain") and a.body, a
        assert admin(w, path, "HEAD").status == 200
        assert admin(w, path, "POST", body=b"x").status == 405
    assert admin(w, "/nothing").status == 404
    assert wire.get(w.port, "/livez").status == 404, "the clients' port answers for the admin listener"
    assert admin(w, "/v1/models").status == 404


def test_only_addresses_as_host(h):
    """A page that made a browser resolve its own name to this machine is not answered."""
    w, u = weir(h)
    for host in ("127.0.0.1", f"127.0.0.1:{w.admin}", "localhost", "localhost:9090", "[::1]:9090", "10.1.2.3"):
        assert admin(w, "/metrics", host=host).status == 200, host
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "unix.evil.example",
        "evil.example:9090",
        "127.0.0.1.nip.io:9090",
    ):
        assert admin(w, "/metrics", host=host).status == 403, host


def test_admin_strictness(h):
    w, u = weir(h)
    for data in (
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\nhost: 127.0.0.1\n\n",
        b"GARBAGE\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"a: b\r\n" * 9000,
    ):
        with wire.raw(w.admin, data) as c:
            assert c.answer().status in (400, 431) and c.ended(), data[:40]
    with wire.Connection(w.admin) as c:
        for _ in range(3):
            c.send(wire.request("GET", "/readyz", host="127.0.0.1"))
            assert c.answer("GET").status == 200
    idle = [wire.Connection(w.admin) for _ in range(80)]
    for c in idle[20:]:
        c.close()
    time.sleep(0.05)
    assert admin(w, "/livez").status == 200


def test_metrics(h):
    w, u = weir(h)
    assert w.chat("smart").status == 200 and w.chat("smart", True).status == 200 and w.chat("p/unheard-of").status == 200
    assert w.post("/v1/chat/completions", b"{").status == 400
    text = until(lambda: (m := w.metrics()) and "weir_tokens_total" in m and m, 2, "token metrics")
    for line in text.splitlines():
        assert line.startswith("# ") or re.fullmatch(
            r'[a-z_]+(\{([a-z_]+="[^"]*",?)*\})? [0-9.e+-]+(Inf|NaN)?', line
        ), f"no exposition line: {line}"
    assert w.metric("weir_requests_total", dialect="chat", model="smart", status="200") == 2, text
    assert w.metric("weir_requests_total", dialect="chat", model="other", status="200") == 1, "a name a client made up is a label"
    assert w.metric("weir_requests_total", status="400") == 1
    assert not [x for x in text.splitlines() if "unheard-of" in x and 'model="' in x], "a name a client made up is a label"
    assert (
        w.metric("weir_attempts_total", target="p/known", fault="") + w.metric("weir_attempts_total", target="p/known", fault="none") == 2
    ), [x for x in text.splitlines() if "attempts" in x]
    assert w.metric("weir_tokens_total", model="smart", **{"class": "input"}) == 3, [x for x in text.splitlines() if "tokens" in x]
    assert w.metric("weir_streams_open") == 0 and w.metric("weir_first_event_seconds_count") == 1, [
        x for x in text.splitlines() if "first_event" in x
    ]
    assert w.metric("weir_overhead_seconds_count") == 3 and w.metric("weir_overhead_seconds_sum") < 0.2
    assert 'le="1e-05"' in text or 'le="0.00001"' in text, "the histogram starts at 10 µs"
    assert w.metric("weir_upstream_connections", state="idle") >= 1 and w.metric("weir_upstream_connections", state="busy") == 0
    until(lambda: w.metric("weir_memory_bytes", kind="lua") > 1000, 3, "the Lua states are weighed")


def test_access_log(h):
    w, u = weir(h)
    a = w.chat("smart", headers=[("x-request-id", "one")])
    r = w.record("one")
    assert r["method"] == "POST" and r["path"] == "/v1/chat/completions" and r["status"] == 200 and r["end"] == "done", r
    assert (
        r["model"] == "smart"
        and r["target"] == "p/known"
        and r["ip"] == "127.0.0.1"
        and r["bytes"] == len(a.body)
        and r["input"] == 3
        and r["output"] == 2
    ), r
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r["time"]) and isinstance(r["ms"], int) and "stream" not in r, r
    w.chat("smart", True, headers=[("x-request-id", "two")])
    r = w.record("two")
    assert r["stream"] is True and "first_event_ms" in r and r["served"] == "mock", r
    odd = 'a"b\\c\nd\u2028\x01'
    w.post("/v1/chat/completions", json.dumps({"model": odd, "messages": []}).encode(), [("x-request-id", "three")])
    assert w.record("three")["model"] == odd
    w.post("/v1/chat/completions", b"\xff{", [("x-request-id", "four")])
    r = w.record("four")
    assert r["status"] == 400 and r["end"] == "bad_request", r
    with wire.raw(w.port, b"GARBAGE\r\n\r\n") as c:
        c.answer()
    until(lambda: any(x["status"] == 400 and x["id"] not in ("four",) for x in w.records()), 2, "a line for what was no request")


def test_access_log_places(h):
    u = h.upstream()
    for where in ("stdout", "stderr", "off", "./a.log"):
        w = h.weir(chat_provider("p", u.url) + f'log {{ access = "{where}" }}\n')
        path = os.path.join(os.path.dirname(w.file), "a.log")
        request_id = w.chat().header("x-request-id")
        if where == "off":
            time.sleep(0.1)
            assert request_id not in w.out + w.err
        else:
            until(
                lambda: f'"id":"{request_id}"' in {"stdout": lambda: w.out, "stderr": lambda: w.err}.get(where, lambda: w.text(path))(),
                2,
                f"a line on {where}",
            )


def test_listeners(h):
    u = h.upstream()
    v6, path = h.port(), os.path.join(h.tmp, "w.sock")
    w = h.weir(chat_provider("p", u.url) + f'listen "[::1]:{v6}"\nlisten "unix:{path}"\n')
    for address, ip in ((w.port, "127.0.0.1"), (("::1", v6), "::1"), (path, "unix")):
        with wire.Connection(address) as c:
            for _ in range(2):
                c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
                a = c.answer()
                assert a.status == 200 and a.text() == "Hello.", f"{address}: {a}"
        assert w.record(a.header("x-request-id"))["ip"] == ip
    assert w.err.count("listens on") == 3


def test_admin_on_a_unix_socket(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url), start=False)
    w.ended = True
    w.end()
    path = os.path.join(h.tmp, "admin.sock")
    with open(w.file) as f:
        text = f.read()
    with open(w.file, "w") as f:
        f.write(re.sub(r'admin ".*"', f'admin "unix:{path}"', text))
    again = h.again(w, ready=False)
    until(lambda: "listens on" in again.err and os.path.exists(path), 5)
    assert wire.get(path, "/readyz").status == 200


def test_ipv6_upstream(h):
    from upstream import Upstream

    u = Upstream(h.port(), host="::1")
    h.things.append(u)
    w = h.weir(chat_provider("p", f"http://[::1]:{u.port}/v1"))
    assert w.chat().text() == "Hello." and u.one().header("host") == f"[::1]:{u.port}"


def test_localhost_by_name(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", f"http://localhost:{u.port}/v1"))
    for _ in range(3):
        assert w.chat().text() == "Hello."
    assert u.one().header("host") == f"localhost:{u.port}"


def test_trusted_proxies(h):
    chain = [("x-forwarded-for", "9.9.9.9, 8.8.8.8, 10.1.2.3")]
    for more, ip in (
        ("", "127.0.0.1"),
        ('trusted_proxies { "127.0.0.0/8" }\n', "10.1.2.3"),
        ('trusted_proxies { "127.0.0.1", "10.0.0.0/8" }\n', "8.8.8.8"),
        ('trusted_proxies { "10.0.0.0/8" }\n', "127.0.0.1"),
    ):
        w, u = weir(h, more)
        assert w.record(w.chat(headers=chain).header("x-request-id"))["ip"] == ip, more
        assert not u.one().header("x-forwarded-for")
    w, u = weir(h, 'trusted_proxies { "127.0.0.0/8" }\n')
    for value in ("nonsense", "", ", ,", "1.2.3.4:5", "<script>"):
        assert w.record(w.chat(headers=[("x-forwarded-for", value)]).header("x-request-id"))["ip"] in ("127.0.0.1", "1.2.3.4"), value


def test_keys_are_nowhere(h):
    """The provider's key in no log, metric, error or answer, whatever goes wrong; the harness looks into every file besides."""

    def handler(r, p):
        status = int(r.json()["model"])
        p.answer(b'{"error":{"message":"no"}}' if status != 200 else chat_answer(), status)
        return True

    u = h.upstream(handler)
    w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + 'log { level = "debug" }\n')
    said = ""
    for status in (200, 400, 401, 403, 429, 500):
        said += (
            str(w.chat(f"p/{status}"))
            + str(w.chat(f"p/{status}", True))
            + str(w.post("/v1/messages", chat_body(f"a/{status}", max_tokens=5)))
        )
    said += w.err + w.out + w.metrics() + str(wire.get(w.port, "/v1/models")) + str(w.reload())
    assert SECRET not in said
    assert u.one().header("authorization") == f"Bearer {SECRET}"
