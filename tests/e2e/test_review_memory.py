"""Memory that two parties hold: a body the kernel still writes to or reads from, names that point into a body that was let go."""
import json
import socket
import ssl
import threading
import time

import certs
import wire
from harness import chat_provider
from upstream import chat_events, pausing

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def big(text, size, model="p/m", stream=False):
    return json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": text * size}]}).encode()


def test_body_of_a_refused_client_is_not_written_to(h):
    """The 408 of a slow body gives its memory to the next request while the kernel may still receive into it."""
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + "defaults { client_idle = 1 }\n")
    body = big("b", 190000)
    slow, good = [], []
    for _ in range(4):                                   # both workers get some of each
        slow.append(wire.raw(w.port, HEAD + b"content-length: 200000\r\n\r\n" + b"{" + b" " * 30000))
    answers = [c.head() for c in slow]
    assert all(a.status == 408 for a in answers), answers
    for _ in range(4):
        good.append(wire.raw(w.port, HEAD + b"content-length: %d\r\n\r\n" % len(body) + body[:-10]))
    time.sleep(0.2)
    for c in slow:
        try:
            c.send(b"X" * 100000)
        except OSError:
            pass
    time.sleep(0.2)
    for c in good:
        c.send(body[-10:])
        a = c.answer()
        assert a.status == 200, a
    for r in u.requests:
        assert b"X" not in r.body, "bytes of another client's request stand in this one"


def test_names_outlive_a_large_body(h):
    """Past the content point a large request's memory goes to the next one; its model, user and session are still told of."""
    go = threading.Event()
    u = h.upstream(pausing(go))
    w = h.weir(chat_provider("p", u.url))
    asked = big("a", 40000, "p/the-model-that-was-asked", True)
    open_ones = []
    for i in range(2):
        c = wire.Connection(w.port)
        c.send(wire.request("POST", "/v1/chat/completions", asked, [("x-request-id", f"stream-{i}")]))
        assert c.head().status == 200
        open_ones.append(c)
    for _ in range(6):                                   # their bodies are over those of the streams now
        assert w.post("/v1/chat/completions", big("z", 39900)).status == 200
    go.set()
    for c in open_ones:
        while c.more():
            c.s.settimeout(0.3)
            try:
                if b"0\r\n\r\n" in c.more():
                    break
            except (TimeoutError, OSError):
                break
        c.close()
    for i in range(2):
        r = w.record(f"stream-{i}")
        assert r["model"] == "p/the-model-that-was-asked" and r["target"] == "p/the-model-that-was-asked", r


def test_large_body_over_tls_is_the_clients_to_the_end(h):
    """A provider that begins to answer before it has read the request: what it then reads is still that request."""
    certs.authority(h.tmp, "root")
    cert, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    port, go, read = h.port(), threading.Event(), []
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    listener.bind(("127.0.0.1", port))
    listener.listen(8)
    pieces = chat_events("Hel", "lo.")

    def serve():
        s = context.wrap_socket(listener.accept()[0], server_side=True)
        got = s.recv(1000)
        s.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + b"".join(pieces[:2]))
        go.wait(20)
        head, _, rest = got.partition(b"\r\n\r\n")
        while len(rest) < 12000000:
            data = s.recv(65536)
            if not data:
                break
            rest += data
        read.append(rest)
        s.sendall(b"".join(pieces[2:]))
        s.close()
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    u = h.upstream()
    w = h.weir(f'provider "t" {{ dialect = "chat", url = "https://localhost:{port}/v1", ca = "{h.tmp}/root.pem" }}\n' + chat_provider("p", u.url))
    body = big("a", 12000000, "t/m", True)
    c = wire.Connection(w.port)
    c.send(wire.request("POST", "/v1/chat/completions", body))
    assert c.head().status == 200
    for _ in range(6):
        assert w.post("/v1/chat/completions", big("z", 11999000)).status == 200
    go.set()
    server.join(20)
    assert read and read[0] == body.replace(b"t/m", b"m")[:len(read[0])] and b"z" not in read[0], "other bytes than the client's went out"
    c.close()
    listener.close()


def test_clients_that_leave_in_the_middle_of_handshakes(h):
    """The connection goes when both its descriptor and the thread that computes have let go of it, in either order."""
    certs.authority(h.tmp, "root")
    pem, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost"])
    m = h.mock("--tls", f"127.0.0.1:{(port := h.port())}", "--cert", pem, "--key", key)
    w = h.weir(f'provider "t" {{ dialect = "chat", url = "https://localhost:{port}/v1", ca = "{h.tmp}/root.pem" }}\ndefaults {{ warm = 0, idle_pool = 1 }}\n')
    for i in range(300):
        c = wire.Connection(w.port)
        c.send(wire.request("POST", "/v1/chat/completions", big("a", 10, "t/m"), [("x-mock", "close")]))
        time.sleep(i % 30 / 5000)
        c.close()
    assert w.post("/v1/chat/completions", big("a", 10, "t/m")).status == 200 and m.alive()
