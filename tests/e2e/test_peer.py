"""Who asks, where a proxy stands before weir: the PROXY protocol, X-Forwarded-For and Forwarded, from trusted_proxies alone."""

import hashlib
import os
import socket
import struct
import time

import wire
from harness import chat_body, chat_provider, until

V2 = b"\r\n\r\n\0\r\nQUIT\n"
POLICY = 'return { on_error = "deny", on_request = function(req) req:note("ip", req.ip) end }\n'


def v1(ip, kind="TCP4", to="198.51.100.1"):
    return f"PROXY {kind} {ip} {to} 56324 443\r\n".encode()


def v2(ip, tlv=b""):
    v6 = ":" in ip
    family = socket.AF_INET6 if v6 else socket.AF_INET
    body = socket.inet_pton(family, ip) + socket.inet_pton(family, "::1" if v6 else "10.0.0.1") + struct.pack("!HH", 1, 2) + tlv
    return V2 + bytes([0x21, 0x21 if v6 else 0x11]) + struct.pack("!H", len(body)) + body


def asked(headers=()):
    return wire.request("POST", "/v1/chat/completions", chat_body(), headers)


def weir(h, more=""):
    u = h.upstream()
    return h.weir(chat_provider("p", u.url) + 'use "tells" {}\n' + more, policies={"tells": POLICY}), u


def ip_of(w, answer):
    """As the access log and a policy see it."""
    r = w.record(answer.header("x-request-id"))
    assert r.get("notes", {}).get("ip", r["ip"]) == r["ip"], r
    return r["ip"]


def test_headers_of_the_proxy_protocol(h):
    """Whole, in every split, byte by byte; several requests on the connection; the client's own address, and nothing upstream."""
    w, u = weir(h, 'trusted_proxies { "127.0.0.0/8" }\n')
    tlv = b"\x03\x00\x04abcd" + b"\x04" + struct.pack("!H", 300) + b"\0" * 300
    for start, ip in (
        (v1("192.0.2.7"), "192.0.2.7"),
        (v1("2001:DB8::7", "TCP6", "::1"), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (v2("192.0.2.8"), "192.0.2.8"),
        (v2("2001:db8::8", tlv), "2001:db8::8"),
        (v2("::ffff:192.0.2.9"), "192.0.2.9"),
        (V2 + b"\x20\0\0\0", "127.0.0.1"),
        (V2 + b"\x21\0\0\x02xx", "127.0.0.1"),
    ):
        whole = start + asked()
        cuts = {1, 5, 6, 11, 12, 13, 16, len(start) - 1, len(start), len(start) + 1}
        for cut in sorted(c for c in cuts if c < len(whole)):
            with wire.raw(w.port, whole[:cut]) as c:
                time.sleep(0.002)
                c.send(whole[cut:])
                a = c.answer()
                assert a.status == 200 and ip_of(w, a) == ip, (start, cut, a)
                c.send(asked())
                a = c.answer()
                assert a.status == 200 and ip_of(w, a) == ip, (start, cut, a)
    with wire.raw(w.port, b"") as c:
        for b in v2("192.0.2.8") + asked():
            c.send(bytes([b]))
        assert ip_of(w, c.answer()) == "192.0.2.8"
    assert ip_of(w, w.chat()) == "127.0.0.1"  # it may send one, and need not
    assert not any(b"PROXY" in r.head or b"192.0.2" in r.head for r in u.requests)


def test_proxy_headers_that_are_refused(h):
    """From anybody else, broken ones, and a second one: 400, the connection ends, and nothing reaches the provider."""
    w, u = weir(h, 'trusted_proxies { "127.0.0.1" }\n')
    stranger, _ = weir(h, 'trusted_proxies { "10.0.0.0/8" }\n')
    nobody, _ = weir(h)
    cases = [(x, s) for x in (stranger, nobody) for s in (v1("192.0.2.7"), v2("192.0.2.7"), b"PROXY x\r\n", V2 + b"\x20\0\0\0")]
    cases += [(w, s) for s in (v1("1.2.3"), b"PROXY TCP4\r\n", b"PROXY " + b"x" * 200, V2 + b"\x31\x11\0\0", V2 + b"\x21\x11\0\x01x", V2 + b"\x21\x11\xff\xff")]
    for x, start in cases:
        with wire.raw(x.port, start + asked()) as c:
            a = c.answer()
            assert a.status == 400 and a.weir["fault"] == "bad_request" and "PROXY header" in a.error["message"] and c.ended(), (start, a)
        assert ("trusted_proxies" in a.error["message"]) == (x is not w), a
    for start in (v1("192.0.2.7") + v1("192.0.2.8"), v2("192.0.2.7") + v2("192.0.2.8")):
        with wire.raw(w.port, start + asked()) as c:
            assert c.answer().status == 400 and c.ended(), start
    assert not u.requests
    with wire.raw(w.port, v1("192.0.2.7") + asked() + v1("192.0.2.8") + asked()) as c:  # only at the start
        assert c.answer().status == 200 and c.answer().status == 400 and c.ended()


def test_one_that_does_not_come(h):
    """Half a header has header_time; a connection that only said who it is for waits as any idle one."""
    w, _ = weir(h, 'trusted_proxies { "127.0.0.1" }\ndefaults { header_time = 0.3, client_idle = 1.5 }\n')
    with wire.raw(w.port, v1("192.0.2.7")[:20]) as c:
        assert c.answer().status == 408 and c.ended()
    with wire.raw(w.port, v2("192.0.2.7")) as c:
        time.sleep(0.7)
        c.send(asked())
        assert ip_of(w, c.answer()) == "192.0.2.7"
    with wire.raw(w.port, v2("192.0.2.7")) as c:
        assert c.ended(4 * h.slow)


def test_forwarded(h):
    """The right-most address that is no trusted proxy's; where two headers disagree, neither."""
    w, _ = weir(h, 'trusted_proxies { "127.0.0.1", "10.0.0.0/8", "fd00::/8" }\n')
    xff, fwd = "x-forwarded-for", "forwarded"
    for headers, ip in (
        ([(xff, "192.0.2.1")], "192.0.2.1"),
        ([(xff, "1.1.1.1, 192.0.2.1, 10.0.0.1")], "192.0.2.1"),
        ([(xff, "1.1.1.1"), (xff, "192.0.2.1"), (xff, "10.0.0.1")], "192.0.2.1"),  # as haproxy adds a line of its own
        ([(xff, "192.0.2.1:4711")], "192.0.2.1"),
        ([(xff, "10.0.0.2, 10.0.0.1")], "10.0.0.2"),
        ([(xff, "1.1.1.1, unknown")], "127.0.0.1"),
        ([(xff, "1.1.1.1, unknown, 10.0.0.1")], "10.0.0.1"),
        ([(xff, "")], "127.0.0.1"),
        ([(fwd, "for=1.1.1.1, for=192.0.2.1;proto=https;by=10.0.0.1")], "192.0.2.1"),
        ([(fwd, 'for="[2001:db8::1]:4711", for="[fd00::1]"')], "2001:db8::1"),
        ([(fwd, "for=1.1.1.1"), (fwd, "for=192.0.2.1")], "192.0.2.1"),
        ([(fwd, "for=1.1.1.1, for=_hidden")], "127.0.0.1"),
        ([(fwd, "for=192.0.2.1"), (xff, "192.0.2.1")], "192.0.2.1"),
        ([(fwd, "for=192.0.2.66"), (xff, "192.0.2.1")], "127.0.0.1"),
    ):
        a = w.chat(headers=headers)
        assert a.status == 200 and ip_of(w, a) == ip, (headers, ip_of(w, a))
    for start, header, ip in (("10.0.0.9", "192.0.2.1", "192.0.2.1"), ("192.0.2.50", "192.0.2.1", "192.0.2.50")):
        with wire.raw(w.port, v1(start) + asked([(xff, header)])) as c:  # the connection's own client must be trusted to speak for others
            assert ip_of(w, c.answer()) == ip


def test_refusals_show_it_too(h):
    """Who is turned away at the door is whom an operator wants to see."""
    key = "weir_" + "A" * 43
    w, _ = weir(h, 'trusted_proxies { "127.0.0.1" }\nkey "k" { hash = "sha256:%s" }\n' % hashlib.sha256(key.encode()).hexdigest())
    a = w.chat(headers=[("x-forwarded-for", "192.0.2.1")])
    assert a.status == 401 and ip_of(w, a) == "192.0.2.1"
    with wire.raw(w.port, v2("192.0.2.2") + asked()) as c:
        assert ip_of(w, c.answer()) == "192.0.2.2"


def test_over_a_path(h):
    """A peer on a unix socket is believed where "unix" stands among them."""
    for more, told in (("", False), ('trusted_proxies { "0.0.0.0/0", "::/0" }\n', False), ('trusted_proxies { "unix" }\n', True)):
        path = os.path.join(h.tmp, f"s{len(more)}")
        w, _ = weir(h, f'listen "unix:{path}"\n' + more)
        until(lambda: os.path.exists(path), 5, "the socket")
        a = wire.post(path, "/v1/chat/completions", chat_body(), [("x-forwarded-for", "192.0.2.1")])
        assert ip_of(w, a) == ("192.0.2.1" if told else "unix"), more
        with wire.raw(path, v1("192.0.2.2") + asked()) as c:
            a = c.answer()
            assert (a.status, ip_of(w, a)) == ((200, "192.0.2.2") if told else (400, "unix")), (more, a)
