"""The tests: each runs one load through one peer and gives its figures."""
import json, os, re, select, shutil, signal, socket, statistics, subprocess, time
import machine
from peers import HERE, exchange

PLAIN = ["direct", "nginx", "nginx-lua", "haproxy", "weir-plain", "weir"]
STREAMED = [*PLAIN, "weir-chunk"]
MONEY = ["weir-ledger", "weir-caps", "weir-money", "weir-keys"]
TLS = ["nginx", "nginx-tls", "weir", "weir-tls"]

# name: title, kind, peers, arguments
TESTS = {
    "unary-1k": ("Whole answers: 1 KB request, 64 connections, as fast as it goes", "unary", [*PLAIN, *MONEY, "weir-epoll", "nginx-tls", "weir-tls"], ("1k", 64, 0)),
    "unary-20k": ("Whole answers: 20 KB request, 16 connections", "unary", PLAIN, ("20k", 16, 0)),
    "unary-200k": ("Whole answers: 200 KB request, 16 connections", "unary", PLAIN, ("200k", 16, 0)),
    "unary-1m": ("Whole answers: 1 MB request, 16 connections", "unary", PLAIN, ("1m", 16, 0)),
    "unary-slow": ("Whole answers at low load: 1 KB request, 8 connections, the provider thinks 5 ms", "unary", [*PLAIN, "weir-epoll"], ("1k", 8, 5000)),
    "stream-20": ("Streams: 20 at once, a chunk each 10 ms", "stream", STREAMED, (20, 10000)),
    "stream-200": ("Streams: 200 at once, a chunk each 10 ms", "stream", [*STREAMED, "weir-hold", "weir-epoll", "nginx-tls", "weir-tls"], (200, 10000)),
    "stream-flat": ("Streams: 50 at once, 1000 chunks each, as fast as they go", "stream", STREAMED, (50, 0)),
}
ONCE = {"start": [p for p in PLAIN if p != "direct"], "hold": ["nginx", "nginx-lua", "haproxy", "weir-plain", "weir", "nginx-tls", "weir-tls"],
        "syscalls": [*STREAMED[1:], "weir-epoll"], "cancel": [p for p in PLAIN if p != "direct"]}


ALONE = {"cells": "reservations, made and settled, in the cells of budgets and limits", "ledger": "records of the ledger, 20,000 a second for a while",
         "translate": "one dialect said in another, beside reading it alone; the talk of an agent with 200 messages and 60 tools"}


def alone(bench, name):
    """A program that measures one part without the gateway; its lines."""
    done = subprocess.run([f"{bench.build}/bench/{name}", f"{min(1.0, bench.seconds)}"], capture_output=True, text=True, timeout=60, env={**os.environ, "TMPDIR": bench.folder},
                          preexec_fn=lambda: os.sched_setaffinity(0, machine.CORES))
    return (done.stdout or f"failed: {done.stderr}").strip().splitlines()


def upstream_counts(bench):
    got = exchange(bench.upstream_port, b"GET /stats HTTP/1.1\r\n\r\n")
    return json.loads(got.partition(b"\r\n\r\n")[2])


def watched(bench, peer, command, units, timeout, **more):
    """Runs a load; units(text) gives its figures with what was counted as "n". Adds what the gateway spent on it."""
    before = upstream_counts(bench)
    with machine.Watch(peer.pids, bench.own_pids()) as watch:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **more)
    figures = units(done.stdout)
    after = upstream_counts(bench)
    if peer.died():
        figures["bad"] += 1
    figures.update(cpu=watch.cpu / max(1, figures["n"]) * 1e6, busy=watch.cpu / watch.wall, foreign=watch.foreign,
                   connections=float("nan") if peer.tls else after["accepted"] - before["accepted"] - 1)
    figures["bad"] += after["refused"] - before["refused"]
    return figures


def unary(bench, peer, size, connections, think, seconds=None):
    seconds = seconds or bench.seconds

    def figures(text):
        line = [l for l in text.splitlines() if l.startswith("RESULT ")]
        r = json.loads(line[0][7:]) if line else {"requests": 0, "seconds": 1, "p50": 0, "p99": 0, "bad": 1}
        return {"n": r["requests"], "rate": r["requests"] / r["seconds"], "p50": r["p50"] - think, "p99": r["p99"] - think,
                "bad": r["bad"] + (r["requests"] == 0)}
    return watched(bench, peer, ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", f"{HERE}/unary.lua",
                                 "-H", "Authorization: Bearer sk-client", f"http://127.0.0.1:{peer.port}/v1/chat/completions"],
                   figures, seconds + 40, env={**os.environ, "BODY": f"{bench.folder}/{size}.json", "WISH": f"think={think}" if think else ""})


def load_command(bench, peer, **options):
    return [f"{bench.build}/bench/load", str(peer.port), f"{bench.folder}/1k-stream.json", "Authorization:Bearer sk-client",
            *(f"{k}={v}" for k, v in options.items())]


def stream(bench, peer, streams, gap, seconds=None):
    seconds = seconds or bench.seconds
    paced = {"chunks": int(seconds * 1e6 / gap)} if gap else {"chunks": 1000, "seconds": max(1, round(seconds))}

    def figures(text):
        r = json.loads(text.splitlines()[-1]) if text else {"chunks": 0, "seconds": 1, "bad": 1, "faults": "no word", "p50": 0, "p99": 0, "first50": 0, "most": 0}
        return {"n": r["chunks"], "rate": r["chunks"] / r["seconds"], "p50": r["p50"], "p99": r["p99"], "most": r["most"], "first": r["first50"],
                "bad": r["bad"], "faults": r["faults"]}
    return watched(bench, peer, load_command(bench, peer, streams=streams, gap=gap, timeout=int(seconds) + 15, **paced), figures, seconds + 40)


def warm(bench, peer, connections):
    """As many streams at once as the test will have connections: handshakes and pools are not what it measures."""
    subprocess.run(load_command(bench, peer, streams=connections, chunks=10, gap=10000, timeout=10), capture_output=True, timeout=20)


def run(bench, name, peer):
    _, kind, _, arguments = TESTS[name]
    warm(bench, peer, arguments[1] if kind == "unary" else arguments[0])
    figures = {"unary": unary, "stream": stream}[kind](bench, peer, *arguments)
    figures["bad"] += streams_left(bench, 5)
    return figures


# ---- once each
def start(bench, peer):
    times = []
    for _ in range(bench.starts):
        times.append(peer.start() * 1000)
        peer.stop()
    return {"start": statistics.median(times), **size(bench, peer)}


def size(bench, peer):
    """Bytes on disk: the program without debug symbols; that and whatever it maps besides the C library."""
    peer.start()
    program = os.path.realpath(shutil.which(peer.program()))
    maps = open(f"/proc/{peer.pids[-1]}/maps").read()
    peer.stop()
    bare = f"{bench.folder}/stripped"
    subprocess.run(["strip", "-o", bare, program], check=False, capture_output=True)
    own = os.path.getsize(bare if os.path.exists(bare) else program)
    libraries = {f for f in re.findall(r"(/\S+\.so\S*)$", maps, re.M) if os.path.exists(f)}
    libraries = {f for f in libraries if not re.search(r"/(libc|libm|ld-linux[^/]*|libpthread|libdl|librt|libnss_\w+)[.-]", f)}
    return {"size": own, "mapped": own + sum(map(os.path.getsize, libraries)), "files": 1 + len(libraries)}


def hold(bench, peer):
    """Memory of a fresh process, then with many slow streams open."""
    peer.start()
    idle = machine.pss_kib(peer.pids)
    figures = {"idle": idle, "bad": 0}
    load = machine.start(load_command(bench, peer, streams=bench.held, chunks=100000, gap=1000000, hold=1), machine.LOAD_CORE,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        word = load.stdout.readline() if select.select([load.stdout], [], [], 60)[0] else ""
        if word.startswith("READY"):
            time.sleep(1)
            figures["each"] = (machine.pss_kib(peer.pids) - idle) / bench.held
        load.stdin.close()
        load.wait(10)
        end = json.loads((word + load.stdout.read()).splitlines()[-1])
        figures["bad"] = end["bad"] + (bench.held - end["still_open"])
        figures["faults"] = end["faults"]
    finally:
        machine.stop(load)
        figures["left"] = streams_left(bench, 5)
        figures["bad"] += bool(peer.died()) + figures["left"]
        peer.stop()
    return figures


def streams_left(bench, seconds):
    """The provider's open streams, once they are gone or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and upstream_counts(bench)["open"]:
        time.sleep(0.02)
    return upstream_counts(bench)["open"]


def cancel(bench, peer):
    """Milliseconds from a client's leaving to the provider's end of the stream."""
    body, times = bench.bodies["1k-stream"], []
    for _ in range(bench.starts):
        with socket.create_connection(("127.0.0.1", peer.port), 5) as s:
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nx-bench: chunks=1000 gap=50000 size=32\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(body) + body)
            got = b""
            while b"@0000002" not in got:
                piece = s.recv(65536)
                if not piece:
                    return {"cancel": float("nan"), "bad": 1}
                got += piece
        left = time.monotonic()
        while upstream_counts(bench)["open"]:
            if time.monotonic() - left > 5:
                return {"cancel": float("nan"), "bad": 1}
        times.append((time.monotonic() - left) * 1000)
    return {"cancel": statistics.median(times), "bad": 0}


def syscalls(bench, peer):
    """System calls per request and per chunk, counted by strace while it slows the gateway down."""
    figures = {"bad": 0}
    for unit, work in (("request", lambda: unary(bench, peer, "1k", 64, 0, 1)), ("chunk", lambda: stream(bench, peer, 50, 20000, 1))):
        report = f"{bench.folder}/strace"
        threads = [t for pid in peer.pids for t in os.listdir(f"/proc/{pid}/task")]
        tracer = machine.start(["strace", "-f", "-c", "-q", "-U", "name,calls", "-o", report, *(a for t in threads for a in ("-p", t))],
                               machine.LOAD_CORE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.4)
        if tracer.poll() is not None:
            return figures                                   # not allowed here
        load = work()
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        calls = dict((l.split()[0], int(l.split()[1])) for l in open(report) if re.match(r"^\w+ +\d+$", l.strip()) and not l.startswith("total"))
        figures[unit] = sum(calls.values()) / max(1, load["n"])
        figures[unit + "s"] = ", ".join(f"{k} {v / max(1, load['n']):.2f}" for k, v in sorted(calls.items(), key=lambda x: -x[1])[:4])
        figures["bad"] += load["bad"]
    return figures
