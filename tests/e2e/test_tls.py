"""TLS to the provider: what is trusted, what is refused and by which word, and the same bytes as without it."""

import os
import time

import certs
import wire
from harness import Weir, chat_body, chat_provider, messages_provider, until
from test_bytes import ROUTES, body_of, headers_of


def mock_tls(h, pem, key, *more):
    m = h.mock("--tls", f"127.0.0.1:{(port := h.port())}", "--cert", pem, "--key", key, *more)
    until(lambda: Weir.listening(port), 5, "the mock's TLS listens")
    m.tls = f"https://localhost:{port}/v1"
    return m


def world(h):
    certs.authority(h.tmp, "root")
    certs.authority(h.tmp, "other")
    return os.path.join(h.tmp, "root.pem")


def test_streams_and_answers_over_tls(h):
    root = world(h)
    for rsa in (False, True):
        pem, key = certs.leaf(h.tmp, f"good{rsa}", "root", ["DNS:localhost", "IP:127.0.0.1"], rsa)
        m = mock_tls(h, pem, key)
        w = h.weir(
            chat_provider("oai", m.tls, f'ca = "{root}"') + messages_provider("ant", m.tls, f'ca = "{root}"') + 'default_provider "oai"\n'
        )
        for route in ROUTES:
            for streamed in (False, True) if route != "embeddings" else (False,):
                for spec in ("", "split=1", "size=300000;events=300", "size=70000;events=1"):
                    path, body = ROUTES[route][0], body_of(route, streamed)
                    direct = wire.post(m.port, path, body, headers_of(route, spec))
                    a = wire.post(w.port, path, body, headers_of(route, spec))
                    assert a.whole and a.status == 200 and a.body == direct.body, f"{route} {streamed} {spec}: {str(a)[:500]}"
        big = chat_body(pad="z" * 3_000_000)
        assert wire.post(w.port, "/v1/chat/completions", big).status == 200


def test_what_is_not_trusted(h):
    """Each with its word in the error, and each goes to the next target."""
    root = world(h)
    leaves = {
        "expired": (
            certs.leaf(h.tmp, "expired", "root", ["DNS:localhost"], dates=("20200101000000Z", "20210101000000Z")),
            ("expired", "no longer valid", "validity"),
        ),
        "future": (
            certs.leaf(h.tmp, "future", "root", ["DNS:localhost"], dates=("20900101000000Z", "20910101000000Z")),
            ("not yet valid", "validity", "expired"),
        ),
        "name": (certs.leaf(h.tmp, "name", "root", ["DNS:elsewhere.test"]), ("name", "host")),
        "unknown": (certs.leaf(h.tmp, "unknown", "other", ["DNS:localhost"]), ("authority", "trust", "issuer", "unknown")),
    }
    good = h.upstream()
    for kind, ((pem, key), words) in leaves.items():
        m = mock_tls(h, pem, key)
        w = h.weir(
            chat_provider("bad", m.tls, f'ca = "{root}"') + chat_provider("good", good.url) + 'model "chain" { "bad/x", "good/y" }\n'
        )
        for streamed in (False, True):
            a = w.chat("bad/x", streamed)
            assert a.status == 502 and a.weir["fault"] == "tls" and [t["fault"] for t in a.weir["tried"]] == ["tls"], f"{kind}: {a}"
            assert any(x in a.error["message"].lower() for x in words), f"{kind}: {a.error['message']!r} says none of {words}"
            a = w.chat("chain", streamed)
            assert a.status == 200 and a.text() == "Hello." and a.header("x-weir-target") == "good/y", f"{kind}: {a}"
        assert w.metric("weir_attempts_total", target="bad/x", fault="tls") == 4


def test_addresses(h):
    """https://127.0.0.1: the certificate must have the address as one; a DNS name of that text, or another address, will not do."""
    root = world(h)
    for i, (names, good) in enumerate(((["IP:127.0.0.1"], True), (["DNS:x.test", "IP:::1", "IP:127.0.0.1"], True), (["DNS:127.0.0.1"], False), (["IP:127.0.0.2"], False), (["DNS:localhost"], False))):
        m = mock_tls(h, *certs.leaf(h.tmp, f"ip{i}", "root", names))
        w = h.weir(chat_provider("p", m.tls.replace("localhost", "127.0.0.1"), f'ca = "{root}"'))
        for _ in range(2):  # a chain that was found good is remembered with its name
            a = w.chat()
            assert (a.status == 200) if good else (a.status == 502 and a.weir["fault"] == "tls"), f"{names}: {a}"


def test_no_trust_without_ca(h):
    root = world(h)
    pem, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost"])
    m = mock_tls(h, pem, key)
    w = h.weir(chat_provider("p", m.tls))
    a = w.chat()
    assert a.status == 502 and a.weir["fault"] == "tls", a
    assert root


def test_tls_name(h):
    root = world(h)
    pem, key = certs.leaf(h.tmp, "named", "root", ["DNS:api.provider.test", "DNS:*.wild.test"])
    m = mock_tls(h, pem, key)
    for name, works in (
        ("api.provider.test", True),
        ("API.Provider.Test", True),
        ("x.wild.test", True),
        ("x.y.wild.test", False),
        ("wild.test", False),
        ("provider.test", False),
    ):
        w = h.weir(chat_provider("p", m.tls, f'ca = "{root}", tls_name = "{name}"'))
        a = w.chat()
        assert (a.status == 200) == works, f"{name}: {a}"


def test_faults_through_tls(h):
    root = world(h)
    pem, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost"])
    m = mock_tls(h, pem, key)
    w = h.weir(chat_provider("p", m.tls, f'ca = "{root}"') + "defaults { between_events = 0.5, first_event = 0.5, head = 0.5 }\n")
    true = wire.post(m.port, "/v1/chat/completions", chat_body(stream=True)).body
    for spec, fault in (("cut=3", "connection"), ("reset=3", "connection"), ("stall=3", "timeout"), ("end=3", "protocol")):
        a = w.chat(stream=True, headers=[("x-mock", spec)])
        assert (
            a.whole
            and a.body.count(b'"content":') >= 4
            and f'"fault":"{fault}"'.encode() in a.body
            and true.startswith(a.body[: a.body.rindex(b"data:")])
        ), f"{spec}: {a}"
    for spec, fault, status in (
        ("drop", "connection", 502),
        ("hang", "timeout", 504),
        ("status=500", "overloaded", 503),
        ("cut=1", "connection", 502),
    ):
        a = w.chat(headers=[("x-mock", spec)])
        assert a.status == status and a.weir["fault"] == fault, f"{spec}: {a}"


def test_leaving_client_and_reuse_over_tls(h):
    root = world(h)
    pem, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost"])
    m = mock_tls(h, pem, key)
    w = h.weir(chat_provider("p", m.tls, f'ca = "{root}"'))
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True), [("x-mock", "gap=100"), ("x-request-id", "leaver")]))
        c.head()
    assert w.record("leaver")["end"] == "client_gone"
    until(lambda: w.metric("weir_upstream_connections", state="busy") == 0, 2, "its connection is closed")
    with wire.Connection(w.port) as c:
        begun = time.monotonic()
        for _ in range(100):
            c.send(wire.request("POST", "/v1/chat/completions", chat_body()))
            assert c.answer().status == 200
        assert time.monotonic() - begun < 2 * h.slow, "each request makes a handshake of its own"


def test_silent_and_talking_peers(h):
    """A peer that accepts and says nothing, or speaks no TLS, or hangs up: the tls fault, within its clock."""
    silent, talks, hangs = (
        h.upstream(),
        h.upstream(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\nplain HTTP was sent to an HTTPS port"),
        h.upstream(greeting=b"\x15\x03\x03\x00\x02\x02\x28"),
    )
    for u in (silent, talks, hangs):
        w = h.weir(chat_provider("p", f"https://127.0.0.1:{u.port}/v1") + "defaults { tls = 0.5 }\n")
        begun = time.monotonic()
        a = w.chat()
        assert a.status in (502, 504) and a.weir["fault"] in ("tls", "timeout"), a
        assert time.monotonic() - begun < 1.5 * h.slow
