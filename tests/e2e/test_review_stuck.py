"""Requests and answers that cross: nothing of one request reaches the next, and nothing waits for what cannot come."""
import socket
import ssl
import threading
import time

import certs
import wire
from harness import chat_body, chat_provider, until
from upstream import chat_answer

RAW_HEAD = b"POST /p/upload HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n"


def queues(near, far):
    """Bytes the kernel holds on the way from port `far` to port `near`, on both sides."""
    total, to, back = 0, f":{near:04X} ", f":{far:04X} "
    with open("/proc/net/tcp") as f:
        for line in f:
            if to in line and back in line:                # few of perhaps ten thousands that other tests have left there
                words = line.split()
                sending, waiting = (int(x, 16) for x in words[4].split(":"))
                total += waiting if words[1].endswith(to.strip()) else sending
    return total


class Slow:
    """A provider that takes a connection and does nothing by itself."""

    def __init__(self, h):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.port = h.port()
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(8)
        self.listener.settimeout(10)
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def accept(self):
        s, _ = self.listener.accept()
        s.settimeout(10)
        return s


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def give(c, w, data):
    c.send(data)
    until(lambda: not queues(w.port, c.s.getsockname()[1]), what="weir takes the piece")
    time.sleep(0.005)


def fill(c, w, p, s):
    """Sends chunks until one that weir took did not go on to the provider."""
    theirs, before = (p.port, s.getpeername()[1]), -1
    with open("/proc/sys/net/ipv4/tcp_wmem") as f:
        surely_fits = int(f.read().split()[2]) * 7 // 10
    for _ in range(surely_fits // 0x4000):
        c.send(chunk(b"u" * 0x4000))
    until(lambda: not queues(w.port, c.s.getsockname()[1]), what="weir takes the first pieces")
    while (now := queues(*theirs)) != before:
        before = now
        give(c, w, chunk(b"u" * 0x4000))


def test_early_answer_to_an_upload_is_not_followed_on_its_connection(h):
    """The provider answers while the end of the upload still lies in weir: what comes next may not go out behind a hole."""
    p = Slow(h)
    w = h.weir(chat_provider("p", p.url))
    c = wire.Connection(w.port)
    c.send(RAW_HEAD + b"transfer-encoding: chunked\r\n\r\n")
    s = p.accept()
    fill(c, w, p, s)
    c.send(b"0\r\n\r\n")
    until(lambda: not queues(w.port, c.s.getsockname()[1]), what="weir takes the end")
    time.sleep(0.1)
    s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok")
    assert c.answer().body == b"ok"
    asked = threading.Thread(target=lambda: w.chat("p/m"), daemon=True)
    asked.start()
    second = p.accept()                                  # on a connection of its own
    assert b"POST /v1/chat/completions" in second.recv(65536)
    second.sendall(b"HTTP/1.1 400 No\r\ncontent-length: 2\r\n\r\n{}")
    asked.join(5)


def test_form_whose_model_stands_far_behind(h):
    """The search for the model part ends where no more is read before it is found."""
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\n')
    part = b"--b\r\ncontent-disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n"
    body = part % (b"file", b"; filename=\"f\"", b"f" * 200000) + part % (b"model", b"", b"whisper-1") + b"--b--\r\n"
    with wire.Connection(w.port, timeout=5) as c:
        c.send(b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: %d\r\n\r\n" % len(body))
        time.sleep(0.2)                                  # so that the reads of the body fill their buffers
        c.send(body)
        assert c.answer().status == 200
    assert u.requests[0].body == body


WAITS = """
local policy = { on_error = "deny" }
function policy.on_request(req) weir.sleep(0.2) end
return policy
"""


def test_empty_chunked_body_that_ends_while_a_policy_waits(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'use "waits"\n', policies={"waits": WAITS})
    with wire.raw(w.port, RAW_HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", timeout=5) as c:
        assert c.answer().status == 200
    assert u.requests[0].framing == "chunked" and u.requests[0].body == b""


def test_bad_chunk_behind_an_answer_that_has_begun(h):
    """The bytes that waited for room are walked through when the exchange ends under them."""
    p = Slow(h)
    w = h.weir(chat_provider("p", p.url))
    c = wire.Connection(w.port)
    c.send(RAW_HEAD + b"transfer-encoding: chunked\r\n\r\n")
    s = p.accept()
    s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
    assert c.head().status == 200
    while c.rest != b"abc":
        c.rest += c.more()
    c.rest = b""
    fill(c, w, p, s)
    batch = chunk(b"s" * 900) * 17
    for _ in range(2):
        give(c, w, batch)
    c.send(batch + b"no chunk\r\n")                     # there is no room any more in the middle of this
    time.sleep(0.2)
    s.settimeout(0.5)
    try:
        while s.recv(65536):
            pass
    except TimeoutError:
        pass
    assert c.ended(), "the answer is cut"
    assert wire.get(w.port, "/v1/models").status == 200
    c.close()
    s.close()


def test_record_behind_an_answer_is_nobodys(h):
    """What a provider sends behind a whole answer, in a TLS record of its own, is not the answer to the next request."""
    certs.authority(h.tmp, "root")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*certs.leaf(h.tmp, "good", "root", ["DNS:localhost"]))
    p, good, evil = Slow(h), chat_answer("good"), chat_answer("evil")

    def serve(s):
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(into, out, server_side=True)
        step, done = tls.do_handshake, None
        while True:
            try:
                if step() and step == tls.read:
                    for body in (good, evil):            # two records, one segment
                        tls.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                step = tls.read
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return
            if out.pending:
                s.sendall(out.read())
            if done is None and step == tls.read:
                done = True
                continue  # the request may have come in one piece with the handshake's end
            data = s.recv(65536)
            if not data:
                return
            into.write(data)

    def accept():
        while True:
            try:
                threading.Thread(target=serve, args=(p.accept(),), daemon=True).start()
            except OSError:
                return
    threading.Thread(target=accept, daemon=True).start()
    w = h.weir(f'provider "t" {{ dialect = "chat", url = "https://localhost:{p.port}/v1", ca = "{h.tmp}/root.pem" }}\ndefaults {{ warm = 0 }}\n')
    asked = wire.request("POST", "/v1/chat/completions", chat_body("t/m"))
    with wire.Connection(w.port) as c:
        c.send(asked * 3)
        for _ in range(3):
            a = c.answer()
            assert a.text() == "good", a
