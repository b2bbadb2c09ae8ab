"""A provider of the test's own: keeps every request as its bytes came, answers what a handler says, sees when its peer leaves."""

import json
import select
import socket
import struct
import threading
import time

LIMIT = 20


class Request:
    def __init__(self, head, body, framing):
        self.head, self.body, self.framing = head, body, framing
        self.at = time.monotonic()
        line, *rest = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = line.split(" ", 2)
        self.headers = [(k, v.strip()) for k, _, v in (x.partition(":") for x in rest)]

    def header(self, name, default=None):
        return next((v for k, v in self.headers if k.lower() == name.lower()), default)

    def names(self):
        return [k.lower() for k, _ in self.headers]

    def json(self):
        return json.loads(self.body)


class Peer:
    """The connection of one request, for a handler."""

    def __init__(self, s):
        self.s, self.rest, self.closed = s, b"", False

    def send(self, data):
        self.s.sendall(data)

    def take(self, n):
        """The next n bytes of a request."""
        rest = bytearray(self.rest)
        while len(rest) < n:
            rest += need(self.s)
        self.rest = bytes(rest[n:])
        return bytes(rest[:n])

    def answer(self, body, status=200, headers=(), content_type="application/json"):
        lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}"] + [
            f"{k}: {v}" for k, v in headers
        ]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def stream(self, *pieces, gap=0, end=True, headers=()):
        """An event stream in chunks; end=False leaves it open."""
        more = "".join(f"{k}: {v}\r\n" for k, v in headers)
        self.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n" + more.encode() + b"\r\n")
        for p in pieces:
            self.chunk(p)
            if gap:
                time.sleep(gap)
        if end:
            self.send(b"0\r\n\r\n")

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def close(self):
        if not self.closed:
            self.closed = True
            self.s.close()

    def reset(self):
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def gone(self, seconds=5):
        """Seconds until the peer closed; None when it did not."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if select.select([self.s], [], [], 0.005)[0]:
                try:
                    if not self.s.recv(65536):
                        return time.monotonic() - begun
                except OSError:
                    return time.monotonic() - begun
        return None


class Upstream:
    """handler(request, peer) writes the answer; what it returns true for keeps the connection."""

    def __init__(self, port, handler=None, host="127.0.0.1", greeting=b""):
        self.port, self.handler, self.requests, self.errors, self.greeting = port, handler or usual, [], [], greeting
        self.connections, self.lock, self.open = 0, threading.Lock(), set()
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(256)
        self.url = f"http://127.0.0.1:{port}/v1"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            s.settimeout(LIMIT)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open.add(s)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        peer = Peer(s)
        try:
            if self.greeting:  # a server that talks first, and is done
                s.sendall(self.greeting)
                return
            while True:
                r = self.read(peer)
                if not r:
                    break
                with self.lock:
                    self.requests.append(r)
                if not self.handler(r, peer):
                    break
        except OSError:
            pass  # the peer left, as it may
        except Exception as e:  # a mistake of the test's handler must not pass as a fault
            self.errors.append(f"{type(e).__name__}: {e}")
        finally:
            peer.close()
            with self.lock:
                self.open.discard(s)

    @staticmethod
    def read(peer):
        while b"\r\n\r\n" not in peer.rest:
            data = peer.s.recv(65536)
            if not data:
                return None
            peer.rest += data
        head, peer.rest = peer.rest.split(b"\r\n\r\n", 1)
        lower = head.lower()
        if b"\r\ntransfer-encoding: chunked" in lower:
            parts = []
            while True:
                while b"\r\n" not in peer.rest:
                    peer.rest += need(peer.s)
                line, peer.rest = peer.rest.split(b"\r\n", 1)
                size = int(line, 16)
                parts.append(peer.take(size + 2)[:-2])
                if not size:
                    return Request(head, b"".join(parts), "chunked")
        if b"\r\ncontent-length:" not in lower:
            return Request(head, b"", "none")
        size = int(lower.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        return Request(head, peer.take(size), "length")

    def one(self, seconds=5):
        """The only request, or the first."""
        due = time.monotonic() + seconds
        while not self.requests:
            assert time.monotonic() < due, "no request reached the provider"
            time.sleep(0.002)
        return self.requests[0]

    def end(self):
        self.listener.close()
        with self.lock:
            for s in self.open:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return f"a handler of the test failed: {self.errors[0]}" if self.errors else ""


def need(s):
    data = s.recv(65536)
    if not data:
        raise OSError("the peer left in its request")
    return data


# ---- answers


def chat_answer(text="Hello.", model="mock", finish="stop", **more):
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            **more,
        }
    ).encode()


def chunk(delta, finish=None, **more):
    d = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "mock",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }
    return b"data: " + json.dumps(d).encode() + b"\n\n"


ROLE, FINISH, DONE = chunk({"role": "assistant", "content": ""}), chunk({}, "stop"), b"data: [DONE]\n\n"


def word(text):
    return chunk({"content": text})


def chat_events(*words):
    return [ROLE] + [word(w) for w in words] + [FINISH, DONE]


def pausing(go):
    """A handler whose whole answers are there at once, and whose streams stop behind their first word until `go` is set."""

    def handler(request, peer):
        if b'"stream": true' not in request.body:
            peer.answer(chat_answer())
            return True
        pieces = chat_events("Hel", "lo.")
        peer.stream(*pieces[:2], end=False)
        go.wait(20)
        for p in pieces[2:]:
            peer.chunk(p)
        peer.send(b"0\r\n\r\n")
        return True

    return handler


def messages_answer(text="Hello."):
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "mock",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }
    ).encode()


def event(**data):
    return b"event: %s\ndata: %s\n\n" % (data["type"].encode(), json.dumps(data).encode())


START = event(
    type="message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
) + event(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
STOP = (
    event(type="content_block_stop", index=0)
    + event(type="message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2})
    + event(type="message_stop")
)


def messages_word(text):
    return event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def usual(request, peer):
    """What a provider without a cause to fail would say."""
    messages = request.target.split("?")[0].endswith("/messages")
    if b'"stream": true' in request.body or b'"stream":true' in request.body:
        peer.stream(*([START, messages_word("Hel"), messages_word("lo."), STOP] if messages else chat_events("Hel", "lo.")))
    else:
        peer.answer(messages_answer() if messages else chat_answer())
    return True
