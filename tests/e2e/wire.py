"""HTTP/1.1 by hand, on plain sockets: what a client sends stands in the test byte for byte, and what it got is kept likewise."""

import json
import socket
import struct
import time

TIMEOUT = 15  # no socket waits longer


class Broken(AssertionError):
    """The answer was cut, or is no HTTP."""


class Answer:
    def __init__(self, status, headers, interim):
        self.status, self.headers, self.interim = status, headers, interim
        self.pieces, self.whole = [], False  # (time, bytes) as they came; it ended as its framing says
        self.keep_alive, self.joined = True, (0, b"")

    @property
    def body(self):
        if self.joined[0] != len(self.pieces):
            self.joined = len(self.pieces), b"".join(p for _, p in self.pieces)
        return self.joined[1]

    def header(self, name, default=None):
        values = [v for k, v in self.headers if k.lower() == name.lower()]
        return values[0] if values else default

    def count(self, name):
        return sum(k.lower() == name.lower() for k, _ in self.headers)

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]

    @property
    def weir(self):
        return self.error["weir"]

    def text(self):
        """What a chat, messages or responses stream or answer says."""
        if (self.header("content-type") or "").startswith("text/event-stream"):
            return "".join(text_of(e) for e in events(self.body))
        d = self.json()
        if "choices" in d:
            return "".join(c.get("text") or (c.get("message") or {}).get("content") or "" for c in d["choices"])
        if "content" in d:
            return "".join(b.get("text", "") for b in d["content"])
        return "".join(p.get("text", "") for o in d["output"] for p in o.get("content", ()))

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:400]!r}{'' if self.whole else ' (cut)'}"


def events(body):
    """(name, data) of each whole event; a rest that no blank line closed is named 'rest'."""
    found = []
    blocks = body.replace(b"\r\n", b"\n").split(b"\n\n")
    for i, block in enumerate(blocks):
        if not block.strip():
            continue
        name, data = None, []
        for line in block.split(b"\n"):
            if line.startswith(b"event:"):
                name = line[6:].strip().decode()
            elif line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
        text = b"\n".join(data).decode(errors="replace")
        if i == len(blocks) - 1:
            found.append(("rest", text))
        elif data:
            found.append((name, text))
    return found


def text_of(event):
    name, data = event
    if name == "rest" or not data.startswith("{"):
        return ""
    d = json.loads(data)
    if d.get("type") == "content_block_delta":
        return d["delta"].get("text", "")
    if d.get("type") == "response.output_text.delta":
        return d["delta"]
    return "".join(c.get("text") or (c.get("delta") or {}).get("content") or "" for c in d.get("choices", ()))


class Connection:
    """One client connection. address: a port of 127.0.0.1, (host, port), or the path of a unix socket."""

    def __init__(self, address, timeout=TIMEOUT, receive_buffer=None):
        if isinstance(address, str):
            self.s = socket.socket(socket.AF_UNIX)
        else:
            host, port = address if isinstance(address, tuple) else ("127.0.0.1", address)
            address = (host, port)
            self.s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.s.settimeout(timeout)
        self.s.connect(address)
        if self.s.family != socket.AF_UNIX:
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def send(self, data):
        self.s.sendall(data)

    def half_close(self):
        self.s.shutdown(socket.SHUT_WR)

    def close(self):
        self.s.close()

    def reset(self):
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def more(self, size=65536):
        """Bytes as they come; b'' at the end, also when it is a reset."""
        try:
            return self.s.recv(size)
        except ConnectionResetError:
            return b""

    def ended(self, seconds=3):
        """The peer has closed, and sent nothing that was not read."""
        self.s.settimeout(seconds)
        try:
            return not self.rest and self.more() == b""
        except (TimeoutError, socket.timeout):
            return False

    def head(self):
        interim = []
        while True:
            while b"\r\n\r\n" not in self.rest:
                data = self.more()
                if not data:
                    raise Broken(f"the connection ended before a response head; got {self.rest[:300]!r}")
                self.rest += data
            head, self.rest = self.rest.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            headers = [(k.strip(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:])]
            if status >= 200:
                return Answer(status, headers, interim)
            interim.append(status)

    def answer(self, method="POST", on_piece=None):
        """One whole response. on_piece(answer) is called as bytes of its body come; true: enough."""
        a = self.head()
        a.keep_alive = (a.header("connection") or "").lower() != "close"
        length, chunked = a.header("content-length"), (a.header("transfer-encoding") or "").lower() == "chunked"
        if method == "HEAD" or a.status in (204, 304):
            a.whole = True
            return a
        take = self.chunks(a) if chunked else self.counted(a, int(length)) if length is not None else self.to_end(a)
        for piece in take:
            a.pieces.append((time.monotonic(), piece))
            if on_piece and on_piece(a):
                break
        return a

    def need(self, n):
        if len(self.rest) >= n:
            return True
        rest = bytearray(self.rest)
        while len(rest) < n:
            data = self.more()
            rest += data
            if not data:
                break
        self.rest = bytes(rest)
        return len(rest) >= n

    def counted(self, a, left):
        while left:
            if not self.rest and not self.need(1):
                return
            piece, self.rest = self.rest[:left], self.rest[left:]
            left -= len(piece)
            a.whole = not left
            yield piece
        a.whole = True

    def chunks(self, a):
        while True:
            while b"\r\n" not in self.rest:
                if not self.need(len(self.rest) + 1):
                    return
            line, self.rest = self.rest.split(b"\r\n", 1)
            size = int(line.split(b";")[0], 16)
            if not self.need(size + 2):
                return
            piece, end, self.rest = self.rest[:size], self.rest[size : size + 2], self.rest[size + 2 :]
            if end != b"\r\n":
                raise Broken(f"a chunk of {size} bytes ends with {end!r}")
            if not size:
                a.whole = True
                return
            yield piece

    def to_end(self, a):
        a.keep_alive = False
        while True:
            piece, self.rest = self.rest or self.more(), b""
            if not piece:
                a.whole = True
                return
            yield piece


def request(method, path, body=None, headers=(), host="weir.test", framing="length", version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", f"host: {host}"] + [f"{k}: {v}" for k, v in headers]
    names = [k.lower() for k, _ in headers]
    if body is not None and "content-type" not in names:
        lines.append("content-type: application/json")
    if body is None:
        return "\r\n".join(lines).encode() + b"\r\n\r\n"
    if framing == "chunked":
        half = len(body) // 2 or len(body)
        parts = [p for p in (body[:half], body[half:]) if p]
        body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
        lines.append("transfer-encoding: chunked")
    else:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ask(address, method, path, body=None, headers=(), timeout=TIMEOUT, on_piece=None, **more):
    with Connection(address, timeout) as c:
        c.send(request(method, path, body, headers, **more))
        return c.answer(method, on_piece)


def post(address, path, body, headers=(), **more):
    return ask(address, "POST", path, body, headers, **more)


def get(address, path, headers=(), **more):
    return ask(address, "GET", path, None, headers, **more)


def raw(address, data, timeout=TIMEOUT):
    """Sends bytes as they are and gives the connection."""
    c = Connection(address, timeout)
    c.send(data)
    return c
