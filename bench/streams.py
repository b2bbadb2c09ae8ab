#!/usr/bin/env python3
"""What an open stream costs weir: opens many slow ones, plain and with TLS to the provider, and counts its memory.

    bench/streams.py BUILD [N [plain|TLS]]

User memory is what weir's own pages cost (Pss); the kernel's memory is told apart: sockets and other kernel objects of the
whole machine, for all four ends of a stream (client, weir's two, provider). Numbers of streams are bounded by
RLIMIT_NOFILE: weir needs two descriptors for each."""

import json
import os
import resource
import selectors
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests", "e2e"))
import certs  # noqa: E402
import harness  # noqa: E402
from harness import Weir, chat_provider, until  # noqa: E402

PROVIDERS = 2  # the mock needs three descriptors for a TLS connection


def request(provider):
    body = json.dumps({"model": f"p{provider}/mock", "stream": True, "messages": [{"role": "user", "content": "Say something. " * 40}]}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-mock: events=9999;gap=600000;first=1\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    ) + body


REQUESTS = [request(i) for i in range(PROVIDERS)]
AT_ONCE = 200


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def kernel_kib():
    """Sockets, their files and their buffers, of the whole machine; where that may not be seen, all slabs that stay."""
    kinds = ("TCP", "sock_inode_cache", "filp", "dentry", "io_kiocb", "request_sock_TCP", "skbuff_head_cache", "skbuff_small_head")
    try:
        with open("/proc/slabinfo") as f:
            objects = [line.split() for line in f if line.split()[0] in kinds]
        slab = sum(int(o[1]) * int(o[3]) for o in objects) // 1024
    except OSError:
        with open("/proc/meminfo") as f:
            slab = next(int(line.split()[1]) for line in f if line.startswith("SUnreclaim:"))
    with open("/proc/net/sockstat") as f:
        pages = next(line.split() for line in f if line.startswith("TCP:"))
    return slab + int(pages[pages.index("mem") + 1]) * 4


def open_streams(port, count, seconds):
    """Sockets whose streams have said their first word, and how many failed."""
    chooser, waiting, ready, failed = selectors.DefaultSelector(), 0, [], 0
    until_time, begun = time.monotonic() + seconds, 0
    while len(ready) + failed < count and time.monotonic() < until_time:
        while begun < count and waiting < AT_ONCE:
            s = socket.create_connection(("127.0.0.1", port), 10)
            s.sendall(REQUESTS[begun % PROVIDERS])
            s.setblocking(False)
            chooser.register(s, selectors.EVENT_READ, bytearray())
            begun, waiting = begun + 1, waiting + 1
        for key, _ in chooser.select(0.2):
            try:
                piece = key.fileobj.recv(65536)
            except OSError:
                piece = b""
            key.data.extend(piece)
            if piece and b'"content":"' not in key.data.replace(b" ", b"").replace(b'"content":""', b""):
                continue
            chooser.unregister(key.fileobj)
            waiting -= 1
            if piece and key.data.startswith(b"HTTP/1.1 200 "):
                ready.append(key.fileobj)
            else:
                failed += 1
                if failed > 3:
                    continue
                print(f"a stream failed: {bytes(key.data[-300:])!r}", file=sys.stderr)
    return ready, count - len(ready)


def measure(h, kind, urls, more, count):
    w = h.weir(
        "".join(chat_provider(f"p{i}", url, more) for i, url in enumerate(urls)) + 'default_provider "p0"\nlog { access = "off" }\n'
        "defaults { between_events = 3600, total = 3600, first_event = 60, head = 60, connect = 30, tls = 60 }\n"
    )
    assert w.chat().status == 200
    time.sleep(2)
    idle, kernel, begun = pss(w.pid), kernel_kib(), time.monotonic()
    ready, failed = open_streams(w.port, count, 240)
    took = time.monotonic() - begun
    time.sleep(3)
    held, kernel = pss(w.pid) - idle, kernel_kib() - kernel
    n = max(1, len(ready))
    alive = w.chat().status == 200
    print(f"{kind:6} {len(ready):6} streams in {took:5.1f} s: {held * 1024 / n:7.0f} bytes of user memory each ({idle / 1024:.1f} MB idle, {(idle + held) / 1024:.1f} MB held); "
          f"kernel {kernel * 1024 / n / 1024:.1f} KB each for all four ends; open says {w.metric('weir_streams_open'):.0f}", flush=True)
    for s in ready:
        s.close()
    gone = until(lambda: w.metric("weir_streams_open") == 0, 60, "all streams are gone")
    time.sleep(3)
    print(f"       afterwards {pss(w.pid) / 1024:.1f} MB, {len(os.listdir(f'/proc/{w.pid}/fd'))} descriptors", flush=True)
    if failed or not alive or not gone:
        print(f"FAILED {kind}: {failed} of {count} streams", flush=True)
    return not failed and alive


def main():
    build, count = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 9000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = (hard - 500) // 2 if hard != resource.RLIM_INFINITY else count
    if count > most:
        print(f"RLIMIT_NOFILE is {hard}: {most} streams instead of {count}")
        count = most
    h = harness.Harness(build, 0, "streams")
    certs.authority(h.tmp, "root")
    pem, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost", "IP:127.0.0.1"])
    plain, sealed = [], []
    for _ in range(PROVIDERS):
        port = h.port()
        plain.append(h.mock("--tls", f"127.0.0.1:{port}", "--cert", pem, "--key", key).url)
        until(lambda: Weir.listening(port), 10, "the mock's TLS listens")
        sealed.append(f"https://localhost:{port}/v1")
    good = False
    try:
        only = sys.argv[3] if len(sys.argv) > 3 else ""
        kinds = {"plain": (plain, ""), "TLS": (sealed, f'ca = "{h.tmp}/root.pem"')}
        good = all([measure(h, kind, *where, count) for kind, where in kinds.items() if only in ("", kind)])
    finally:
        wrong = h.end()
    if wrong:
        print(f"FAILED {wrong}")
    return 0 if good and not wrong else 1


sys.exit(main())
