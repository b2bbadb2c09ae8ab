"""An HTTP proxy on the way to the provider: CONNECT, absolute form, whose rules apply, and proxies that misbehave."""

import base64
import select
import socket
import time

import certs
from harness import chat_provider, leaks, until
from test_tls import mock_tls, world
from upstream import usual

PASSWORD = "pr0xy-pass-0123456789"
AWAY = "models.weir-test.invalid"  # no resolver knows it: the proxy does
LOGIN = "Basic " + base64.b64encode(b"user@corp:" + PASSWORD.encode()).decode()


def splice(a, b, seconds=10):
    due = time.monotonic() + seconds
    while time.monotonic() < due:
        for s in select.select([a, b], [], [], 0.1)[0]:
            data = s.recv(65536)
            if not data:
                return
            (b if s is a else a).sendall(data)


def tunnels(port, login=None, early=b"", cut=0):
    """A handler that answers CONNECT as proxies do, whatever the host, and anything else as a provider would."""

    def handler(r, peer):
        if login and r.header("proxy-authorization") != login:
            peer.answer(b"who are you?", 407, [("proxy-authenticate", 'Basic realm="x"')], "text/plain")
            return True
        if r.method != "CONNECT":
            return usual(r, peer)
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            answer = early + b"HTTP/1.1 200 Connection established\r\nvia: test\r\ncontent-length: 5\r\n\r\n"
            for piece in [answer[:cut], answer[cut:]] if cut else [answer]:
                peer.send(piece)
                time.sleep(0.05 if cut else 0)
            s.sendall(peer.rest)
            splice(peer.s, s)
        return False

    return handler


def tls_mock(h):
    root = world(h)
    pem, key = certs.leaf(h.tmp, "away", "root", [f"DNS:{AWAY}", "DNS:localhost"])
    m = mock_tls(h, pem, key)
    return m, int(m.tls.split(":")[2].split("/")[0]), f'ca = "{root}"'


def test_connect_for_https(h):
    """A tunnel serves many calls; its head names target and credentials, and nothing of the request is in it."""
    m, port, ca = tls_mock(h)
    for early, cut in ((b"", 0), (b"HTTP/1.1 100 Continue\r\n\r\n", 0), (b"", 9)):
        proxy = h.upstream(tunnels(port, LOGIN, early, cut))
        w = h.weir(chat_provider("away", f"https://{AWAY}/v1", f'proxy = env "PROXY", {ca}, warm = 0'), env={"PROXY": f"http://user%40corp:{PASSWORD}@127.0.0.1:{proxy.port}"})
        for stream in (False, True, False, True):
            a = w.chat(stream=stream)
            assert a.status == 200 and a.whole and a.text(), a
        assert {r.target for r in proxy.requests} == {f"{AWAY}:443"} and len(proxy.requests) <= 2, [r.head for r in proxy.requests]  # two workers
        assert proxy.one().names() == ["host", "proxy-authorization"] and proxy.one().header("host") == f"{AWAY}:443", proxy.one().head
        assert PASSWORD not in w.metrics() and not list(leaks(h.tmp, PASSWORD)) and LOGIN[6:] not in w.metrics()


def test_addresses_behind_the_proxy(h):
    """An IPv6 address has its brackets in CONNECT, and must stand in the certificate."""
    root = world(h)
    m = mock_tls(h, *certs.leaf(h.tmp, "v6", "root", ["IP:2001:db8::7"]))
    proxy = h.upstream(tunnels(int(m.tls.split(":")[2].split("/")[0])))
    more = f'proxy = "http://127.0.0.1:{proxy.port}", ca = "{root}", warm = 0'
    w = h.weir(chat_provider("good", "https://[2001:db8::7]/v1", more) + chat_provider("bad", "https://[2001:db8::8]:8443/v1", more))
    assert w.chat("good/x").status == 200 and proxy.one().target == proxy.one().header("host") == "[2001:db8::7]:443", proxy.one().head
    assert w.chat("bad/x").weir["fault"] == "tls" and proxy.requests[-1].target == "[2001:db8::8]:8443"


def test_absolute_form_for_http(h):
    proxy = h.upstream(tunnels(1, LOGIN))
    w = h.weir(chat_provider("away", f"http://{AWAY}:8000/v1", 'proxy = env "PROXY"'), env={"PROXY": f"user%40corp:{PASSWORD}@127.0.0.1:{proxy.port}"})
    assert w.chat().text() == "Hello." and w.chat(stream=True).text() == "Hello."
    r = proxy.one()
    assert r.target == f"http://{AWAY}:8000/v1/chat/completions" and r.header("host") == f"{AWAY}:8000", r.head
    assert r.header("proxy-authorization") == LOGIN and r.header("authorization"), r.head
    a = w.post("/away/v1/files?a=b", b"x" * 100_000, [("content-type", "text/plain")])
    assert a.status == 200 and proxy.requests[-1].target == f"http://{AWAY}:8000/v1/files?a=b", proxy.requests[-1].head


def test_proxies_that_refuse(h):
    """Each is a connection fault that says what the proxy said, and goes to the next target; none hangs."""
    good = h.upstream()
    m, port, ca = tls_mock(h)
    silent = lambda r, peer: time.sleep(8)
    refusals = {
        "407": (tunnels(port, LOGIN), "connection", "(407)"),
        "403": (lambda r, peer: peer.answer(b"no", 403), "connection", "(403)"),
        "502": (lambda r, peer: peer.answer(b"no", 502), "connection", "502"),
        "garbage": (lambda r, peer: peer.send(b"SSH-2.0-OpenSSH\r\n\r\n"), "connection", "no HTTP"),
        "endless": (lambda r, peer: peer.send(b"HTTP/1.1 200 OK\r\na: " + b"x" * 40000), "connection", "too great a length"),
        "cut": (lambda r, peer: None, "connection", "closed"),
        "half": (lambda r, peer: peer.send(b"HTTP/1.1 200 O"), "connection", "closed"),
        "reset": (lambda r, peer: peer.reset(), "connection", "closed"),
        "slow": (silent, "timeout", "in time"),
        "no tls": (lambda r, peer: peer.send(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "tls", "TLS"),
    }
    config, env = chat_provider("good", good.url), {}
    for name, (handler, _, _) in refusals.items():
        p = name.replace(" ", "_")
        env[f"PROXY_{p}"] = f"http://user:wrong-{PASSWORD}@127.0.0.1:{h.upstream(handler).port}/"
        config += chat_provider(p, f"https://{AWAY}/v1", f'proxy = env "PROXY_{p}", {ca}, connect = 1, warm = 0') + f'model "m-{p}" {{ "{p}/x", "good/y" }}\n'
    env["PROXY_dead"] = f"http://127.0.0.1:{h.port()}"
    config += chat_provider("dead", f"https://{AWAY}/v1", 'proxy = env "PROXY_dead", ' + ca)
    config += chat_provider("nowhere", f"http://{AWAY}/v1", 'proxy = "http://proxy.weir-test.invalid:3128"')
    config += chat_provider("plain", f"http://{AWAY}/v1", 'proxy = env "PROXY_407"') + 'model "m-plain" { "plain/x", "good/y" }\n'
    w = h.weir(config, env=env)
    for name, (_, fault, words) in refusals.items():
        p = name.replace(" ", "_")
        begun = time.monotonic()
        a = w.chat(f"{p}/x")
        assert a.weir["fault"] == fault and [t["fault"] for t in a.weir["tried"]] == [fault], f"{name}: {a}"
        assert words in a.error["message"] and time.monotonic() - begun < 4 * h.slow, f"{name}: {a.error['message']!r}"
        assert w.chat(f"m-{p}").text() == "Hello.", name
    a = w.chat("dead/x")
    assert a.weir["fault"] == "connection" and "connect to the proxy 127.0.0.1:" in a.error["message"], a
    a = w.chat("nowhere/x")
    assert a.status == 502 and "DNS" in a.error["message"], a
    a = w.chat("plain/x")
    assert a.status == 502 and a.weir["fault"] == "connection" and "(407)" in a.error["message"], a
    assert w.chat("m-plain").text() == "Hello."
    a = w.post("/plain/v1/files", b"x", [("content-type", "text/plain")])
    assert a.status == 502 and not a.header("proxy-authenticate"), a
    assert not list(leaks(h.tmp, PASSWORD)) and PASSWORD not in w.metrics()


def test_rules_of_the_environment(h):
    """Who goes through the proxy: by scheme, by NO_PROXY, never loopback; and what a provider says of itself goes first."""
    proxy, own, direct = h.upstream(), h.upstream(), h.upstream()
    config = (
        chat_provider("away", "http://a.weir-test.invalid/v1", "connect = 1")
        + chat_provider("near", direct.url)
        + chat_provider("listed", "http://b.internal.invalid/v1", "connect = 1")
        + chat_provider("own", "http://c.internal.invalid/v1", f'proxy = "http://127.0.0.1:{own.port}"')
        + chat_provider("forced", direct.url, f'proxy = "127.0.0.1:{own.port}"')
        + chat_provider("never", "http://d.weir-test.invalid/v1", "proxy = false, connect = 1")
        + 'provider "two" { dialect = "chat", proxy = false, endpoint { url = "http://e.weir-test.invalid/v1", proxy = "http://127.0.0.1:%d" } }\n' % own.port
    )
    for env in (
        {"HTTP_PROXY": "PROXY", "NO_PROXY": "other.invalid, .internal.invalid"},
        {"http_proxy": "PROXY", "HTTP_PROXY": "http://127.0.0.1:1", "no_proxy": "internal.invalid"},
        {"ALL_PROXY": "PROXY", "HTTP_PROXY": "", "NO_PROXY": "*.internal.invalid:80"},
    ):
        w = h.weir(config, env={k: v.replace("PROXY", f"http://127.0.0.1:{proxy.port}") for k, v in env.items()})
        for u in (proxy, own, direct):
            u.requests.clear()
        assert w.chat("away/x").text() == "Hello." and proxy.requests[-1].target.startswith("http://a.weir-test.invalid/"), env
        assert w.chat("near/x").text() == "Hello." and len(direct.requests) == 1 and direct.one().target == "/v1/chat/completions", env
        assert "DNS" in w.chat("listed/x").error["message"] and "DNS" in w.chat("never/x").error["message"], env
        assert w.chat("own/x").text() == "Hello." and own.requests[-1].target.startswith("http://c.internal.invalid/"), env
        assert w.chat("forced/x").text() == "Hello." and own.requests[-1].target == f"{direct.url}/chat/completions", env
        assert w.chat("two/x").text() == "Hello." and own.requests[-1].target.startswith("http://e.weir-test.invalid/"), env
        assert len(proxy.requests) == 1 and len(direct.requests) == 1, env
    r = h.run("check", "--config", w.file, "--explain", "own/x", env={"OPENAI_KEY": "x"})
    assert f"through the proxy 127.0.0.1:{own.port}\n" in r.stdout, r.stdout + r.stderr
    r = h.run("check", "--config", w.file, env={"OPENAI_KEY": "x", "ALL_PROXY": f"socks5://u:{PASSWORD}@127.0.0.1:1"})
    assert r.returncode == 1 and "ALL_PROXY: only http:// proxies can be used" in r.stderr and "provider 'away'" in r.stderr and "near" not in r.stderr, r.stderr
    assert PASSWORD not in r.stderr


def test_fetch_goes_by_the_environment(h):
    proxy = h.upstream(lambda r, peer: peer.answer(b'{"seen":true}') or True)
    near = h.upstream(lambda r, peer: peer.answer(b'{"near":true}') or True)
    good = h.upstream()
    policy = """
local policy = { on_error = "deny" }
function policy.on_request(req)
  local a, why = weir.fetch { url = "http://judge.weir-test.invalid/score?q=1", timeout = 2 }
  local b = weir.fetch { url = "http://127.0.0.1:NEAR/x", timeout = 2 }
  req:note("answer", a and a.body or why)
  req:note("near", b and b.body or "none")
end
return policy
""".replace("NEAR", str(near.port))
    w = h.weir(chat_provider("good", good.url) + 'use "asks" {}\n', env={"HTTP_PROXY": f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"}, policies={"asks": policy})
    a = w.chat("good/x")
    notes = w.record(a.header("x-request-id"))["notes"]
    assert notes == {"answer": '{"seen":true}', "near": '{"near":true}'}, notes
    assert proxy.one().target == "http://judge.weir-test.invalid/score?q=1" and proxy.one().header("proxy-authorization"), proxy.one().head
    assert not near.one().header("proxy-authorization") and not list(leaks(h.tmp, PASSWORD))


def test_fetch_through_a_tunnel_or_not_at_all(h):
    """https over CONNECT (the certificate is no system's: TLS answers, so the tunnel stood); an unusable proxy is no way round it."""
    m, port, ca = tls_mock(h)
    proxy, good = h.upstream(tunnels(port)), h.upstream()
    policy = f"""
local policy = {{ on_error = "deny" }}
function policy.on_request(req)
  local a, why = weir.fetch {{ url = "https://{AWAY}/score", timeout = 3 }}
  req:note("why", why or "no")
end
return policy
"""
    for url, words in ((f"http://127.0.0.1:{proxy.port}", "TLS"), ("socks5://127.0.0.1:1", "cannot be used")):
        w = h.weir(chat_provider("good", good.url) + 'use "asks" {}\n', env={"HTTPS_PROXY": url}, policies={"asks": policy})

        def why():
            a = w.chat("good/x")
            return w.record(a.header("x-request-id"))["notes"]["why"]

        until(lambda: "roots are not loaded" not in why(), 10, "the system's roots")
        assert words in why(), why()
    assert proxy.one().target == f"{AWAY}:443"


def test_a_reload_takes_another_proxy(h):
    first, second = h.upstream(), h.upstream()
    line = lambda u: chat_provider("away", f"http://{AWAY}/v1", f'proxy = "http://127.0.0.1:{u.port}"')
    w = h.weir(line(first))
    assert w.chat("away/x").text() == "Hello."
    w.write(line(second))
    assert w.reload()[0] == 0
    assert w.chat("away/x").text() == "Hello." and len(first.requests) == 1 and len(second.requests) == 1


def test_commands_go_through_it(h):
    """What weir check and weir compare connect to themselves, they reach as weir does."""
    m, port, ca = tls_mock(h)
    good, bad, plain = h.upstream(tunnels(port, LOGIN)), h.upstream(lambda r, peer: peer.answer(b"no", 403)), h.upstream(tunnels(1, LOGIN))
    env = {x: f"http://user%40corp:{PASSWORD}@127.0.0.1:{u.port}" for x, u in (("GOOD", good), ("BAD", bad), ("PLAIN", plain))}
    config = "".join(chat_provider(n, f"{scheme}://{AWAY}/v1", f'proxy = env "{n.upper()}", {ca if scheme == "https" else ""}') for n, scheme in (("good", "https"), ("bad", "https"), ("plain", "http")))
    w = h.weir(config, env=env)
    r = h.run("check", "--providers", "--config", w.file, env={"OPENAI_KEY": "x", **env})
    assert r.returncode == 1 and "2 of 3 endpoints" in r.stdout and f"chain good for {AWAY}" in r.stdout, r.stdout + r.stderr
    assert f"FAILED: the proxy 127.0.0.1:{bad.port} answered CONNECT with 403" in r.stdout and f"through the proxy 127.0.0.1:{good.port}" in r.stdout, r.stdout
    for model in ("good/x", "plain/x"):
        r = h.run("compare", "--config", w.file, "--model", model, "--count", "3", env={"OPENAI_KEY": "x", **env})
        assert r.returncode == 0 and "bytes: equal in all 3 pairs" in r.stdout and PASSWORD not in r.stdout + r.stderr, r.stdout + r.stderr
    assert {r.target for r in plain.requests} == {f"http://{AWAY}/v1/chat/completions"} and {r.target for r in good.requests} == {f"{AWAY}:443"}
