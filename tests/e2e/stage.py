"""Very many exchanges in few processes: scripted providers and clients on one event loop, each exchange with a script of its own.

A script is a list of bytes to send, seconds to wait, and how it ends: "close", "reset", "drop" (the end of the connection without TLS's own), "stall" (the peer has to leave) or "keep".
The request's x-cell header says which one is played; what has none is answered by the good provider's usual words."""

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
import time

import wire

RESET = struct.pack("ii", 1, 0)


class Provider(asyncio.Protocol):
    """One connection of a scripted provider."""

    def __init__(self, stage, name):
        self.stage, self.name, self.got, self.t, self.cell, self.acts = stage, name, b"", None, None, None

    def connection_made(self, transport):
        self.t = transport
        self.stage.open.add(self)

    def connection_lost(self, error):
        self.stage.open.discard(self)
        self.acts = None

    def data_received(self, data):
        self.got += data
        end = self.got.find(b"\r\n\r\n")
        if end < 0 or self.acts is not None:
            return
        head = self.got[:end].lower()
        size = int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        if len(self.got) < end + 4 + size:
            return
        body, self.got = self.got[end + 4 : end + 4 + size], self.got[end + 4 + size :]
        self.cell = head.split(b"\r\nx-cell:")[1].split(b"\r\n")[0].strip().decode()
        key = self.name, self.cell
        self.stage.hits[key] = self.stage.hits.get(key, 0) + 1
        self.acts = list(self.stage.script(self.name, self.cell, head, body))
        self.play()

    def unsent(self):
        """Bytes that are not in the peer's kernel yet: a reset would take them with it."""
        if self.t.is_closing():
            return 0
        queued = fcntl.ioctl(self.t.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
        return self.t.get_write_buffer_size() + struct.unpack("i", queued)[0]

    def play(self):
        while self.acts:
            act = self.acts.pop(0)
            if isinstance(act, bytes):
                self.t.write(act)
            elif act == "close":
                self.t.close()
            elif act in ("reset", "drop") and self.unsent():
                self.acts.insert(0, act)
                asyncio.get_running_loop().call_later(0.005, self.play)
                return
            elif act == "reset":
                self.t.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.t.abort()
            elif act == "drop":
                self.t.abort()
            elif act == "stall":
                return
            elif act != "keep":
                asyncio.get_running_loop().call_later(act, self.play)
                return
        self.acts = None
        if self.got and not self.t.is_closing():
            self.data_received(b"")


class Caller(asyncio.Protocol):
    """One request of a client that reads to the end of the connection."""

    def __init__(self, request):
        self.request, self.data, self.clean = request, b"", True
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        transport.write(self.request)

    def data_received(self, data):
        self.data += data

    def connection_lost(self, error):
        self.clean = error is None
        if not self.over.done():
            self.over.set_result(None)


def chunks(data):
    """The payload of a chunked body, whether its end came, and what stands behind it."""
    parts, at = [], 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return b"".join(parts), False, b""
        size = int(data[at:end].split(b";")[0], 16)
        if len(data) < end + 4 + size:
            return b"".join(parts + [data[end + 2 : end + 2 + size]]), False, b""
        if not size:
            return b"".join(parts), True, data[end + 4 :]
        parts.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size


def parsed(data, clean=True):
    """The answer at the start of what came until the connection ended, and the bytes behind it."""
    head, gap, rest = data.partition(b"\r\n\r\n")
    if not gap:
        raise wire.Broken(f"no response head: {data[:200]!r}")
    lines = head.decode("latin-1").split("\r\n")
    a = wire.Answer(int(lines[0].split(" ")[1]), [(k.lower(), v.strip()) for k, _, v in (x.partition(":") for x in lines[1:])], [])
    length, behind = a.header("content-length"), b""
    if a.header("transfer-encoding"):
        body, a.whole, behind = chunks(rest)
    elif length is not None:
        body, behind, a.whole = rest[: int(length)], rest[int(length) :], len(rest) >= int(length)
    else:
        body, a.whole = rest, clean
    a.pieces.append((time.monotonic(), body))
    return a, behind


class Stage:
    """script(provider, cell, head, body) gives the acts of one request."""

    def __init__(self, h, script, names=("bad", "good"), at_once=96, tls=None):
        self.h, self.script, self.hits, self.open = h, script, {}, set()
        self.ports = {name: h.port() for name in names}
        self.gate_size, self.gate, self.tls = at_once, None, None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)

    def url(self, name):
        return f"https://localhost:{self.ports[name]}/v1" if self.tls else f"http://127.0.0.1:{self.ports[name]}/v1"

    async def ask(self, port, path, body, headers, behind=None, limit=15):
        """The answer, what came behind it, and the seconds it took. behind: the body of a second request on the same connection."""

        def request(body, close):
            lines = "".join(f"{k}: {v}\r\n" for k, v in headers + ([("connection", "close")] if close else []))
            return f"POST {path} HTTP/1.1\r\nhost: weir.test\r\ncontent-type: application/json\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body

        sent = request(body, not behind) + (request(behind, True) if behind else b"")
        async with self.gate:
            begun = time.monotonic()
            transport, caller = await asyncio.get_running_loop().create_connection(lambda: Caller(sent), "127.0.0.1", port)
            try:
                await asyncio.wait_for(caller.over, limit * self.h.slow)
            finally:
                transport.abort()
            return *parsed(caller.data, caller.clean), time.monotonic() - begun

    async def playing(self, work):
        loop = asyncio.get_running_loop()
        self.gate = asyncio.Semaphore(self.gate_size)
        servers = [
            await loop.create_server(lambda n=name: Provider(self, n), "127.0.0.1", port, backlog=512, ssl=self.tls) for name, port in self.ports.items()
        ]
        try:
            return await work()
        finally:
            for s in servers:
                s.close()
            for p in list(self.open):
                p.t.abort()

    def run(self, work):
        """work: a coroutine function that asks; the providers are there while it runs."""
        return asyncio.run(self.playing(work))
