"""Balance over workers, and bounds: connections lent and kept warm, descriptors that run out, memory, waiting requests, quiet."""

import os
import resource
import select
import socket
import ssl
import threading
import time
import urllib.request

import certs
import wire
from harness import chat_body, chat_provider, messages_provider, until
from upstream import Upstream, chat_answer, chat_events, pausing, word

COUNTER = """
local n = 0
local policy = {}
function policy.on_request(req) n = n + 1 return weir.answer(tostring(n)) end
return policy
"""


class TlsUpstream(Upstream):
    """Counts handshakes that were carried to their end."""

    def __init__(self, h, folder, name="leaf", **more):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key"))
        self.shakes = 0
        super().__init__(h.port(), **more)
        self.url = f"https://localhost:{self.port}/v1"
        h.things.append(self)

    def serve(self, s):
        plain = s
        try:
            s = self.context.wrap_socket(s, server_side=True)
        except OSError:
            return
        finally:
            with self.lock:
                self.open.discard(plain)
        with self.lock:
            self.shakes += 1
            self.open.add(s)
        super().serve(s)

    def down(self):
        with self.lock:
            self.listener.shutdown(socket.SHUT_RDWR)
            for s in self.open:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has just left


def certificates(h):
    certs.authority(h.tmp, "root")
    certs.leaf(h.tmp, "leaf", "root", ["DNS:localhost", "IP:127.0.0.1"])
    return os.path.join(h.tmp, "root.pem")


def two_workers(w):
    """Two kept connections, one at each worker: whoever connects next goes to the one with fewer."""
    two = [wire.Connection(w.port), wire.Connection(w.port)]
    until(lambda: w.metric("weir_worker_clients", worker="0") == 1 and w.metric("weir_worker_clients", worker="1") == 1, 5, "one client each")
    return two


def ask(connection, path="/v1/chat/completions", **more):
    connection.send(wire.request("POST", path, chat_body("p/m", **more)))
    return connection.answer()


# ---- balance


def test_a_burst_of_clients_is_spread(h):
    """All are accepted in one turn, before the other worker has seen any of them."""
    w = h.weir(chat_provider("p", "http://127.0.0.1:1/v1"), policies={"counter": COUNTER})
    clients = [wire.Connection(w.port) for _ in range(60)]
    share = until(
        lambda: (s := [w.metric("weir_worker_clients", worker=str(i)) for i in range(2)]) and sum(s) == 60 and s, 5, "60 clients are open"
    )
    assert abs(share[0] - share[1]) <= 2, share
    for c in clients:
        c.close()
    until(lambda: not w.metric("weir_worker_clients", worker="0") + w.metric("weir_worker_clients", worker="1"), 5, "all are gone")


def test_idle_connections_are_lent(h):
    """200 requests at two workers in turn go over one connection, plain and over TLS."""
    root = certificates(h)
    for u in (h.upstream(), TlsUpstream(h, h.tmp)):
        w = h.weir(chat_provider("p", u.url, f'ca = "{root}", warm = 0' if "https" in u.url else ""))
        two = two_workers(w)
        for i in range(200):
            assert ask(two[i % 2]).status == 200
        assert u.connections == 1, f"{u.connections} connections for 200 requests"
        assert w.metric("weir_upstream_connections", state="idle") == 1 and w.metric("weir_upstream_connections", state="busy") == 0


def test_lent_connections_under_load(h):
    """Many at once, with connections that end now and then: each answer is its own request's, and the counts end right."""

    def answers(request, peer):
        peer.answer(request.header("x-mark").encode(), headers=[("connection", "close")] if request.header("x-mark").endswith("7") else ())
        return not request.header("x-mark").endswith("7")

    root = certificates(h)
    u = TlsUpstream(h, h.tmp, handler=answers)
    w = h.weir(chat_provider("p", u.url, f'ca = "{root}"'))
    wrong = []

    def client(number):
        try:
            c = wire.Connection(w.port)
            for i in range(40):
                mark = f"m{number}-{i}"
                c.send(wire.request("POST", "/p/echo", b"{}", [("x-mark", mark)]))
                a = c.answer()
                if a.status != 200 or a.body != mark.encode():
                    wrong.append((mark, a))
        except (OSError, AssertionError) as e:
            wrong.append(e)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]
    until(lambda: w.metric("weir_upstream_connections", state="busy") == 0, 5, "none is busy")
    until(lambda: w.metric("weir_upstream_connections", state="idle") == len(u.open), 5, "idle ones are those that are open")


def test_a_lender_that_is_busy_is_not_waited_for(h):
    """The worker with the idle connection computes for long: the other one makes a connection of its own."""
    spin = """
    local policy = { on_error = "pass" }
    function policy.on_request(req) if req.headers["x-spin"] then for i = 1, 1e9 do end end end
    return policy
    """
    u = h.upstream()
    several = "".join(f'use "spin" {{ as = "spin{i}" }}\n' for i in range(12))  # 5 ms each
    w = h.weir(chat_provider("p", u.url) + several, policies={"spin": spin})
    two = two_workers(w)
    assert ask(two[0]).status == 200
    for _ in range(5):
        two[0].send(wire.request("POST", "/v1/chat/completions", chat_body("p/m"), [("x-spin", "1")]))
        time.sleep(0.02)
        assert ask(two[1]).status == 200
        assert two[0].answer().status == 200
    assert 2 <= u.connections <= 3, u.connections
    assert w.metric("weir_upstream_connections", state="idle") == u.connections


# ---- warm


def test_warm_is_counted_over_all_workers(h):
    root = certificates(h)
    u = TlsUpstream(h, h.tmp)
    w = h.weir(chat_provider("p", u.url, f'ca = "{root}", warm = 3, idle_pool = 1'))
    time.sleep(0.2)
    assert not u.connections, "an endpoint that was never used is not kept warm"
    two = two_workers(w)
    assert ask(two[0]).status == 200
    until(lambda: w.metric("weir_upstream_connections", state="idle") >= 3, 5, "three are idle")  # and the one that was used
    assert ask(two[1]).status == 200
    time.sleep(0.3)
    assert u.shakes <= 4 and w.metric("weir_upstream_connections", state="idle") <= 4, (u.shakes, w.metrics())
    seen = u.shakes
    until(lambda: u.shakes >= seen + 3, 5, "those that were idle for too long are made anew")
    until(lambda: w.metric("weir_upstream_connections", state="idle") >= 3, 5, "three are idle again")


def test_warming_pauses_while_the_endpoint_is_down(h):
    root = certificates(h)
    u = TlsUpstream(h, h.tmp)
    w = h.weir(chat_provider("p", u.url, f'ca = "{root}", warm = 2') + 'log { level = "info", access = "off" }\n')
    two = two_workers(w)
    assert ask(two[0]).status == 200
    until(lambda: w.metric("weir_upstream_connections", state="idle") >= 2 and u.shakes == len(u.open) >= 2, 5, "two are idle, on both sides")
    u.down()
    until(lambda: w.metric("weir_upstream_connections", state="idle") == 0, 5, "none is")
    time.sleep(1.5)
    tries = w.err.count("warming a connection")
    assert 1 <= tries <= 6, f"{tries} tries in 1.5 s"


# ---- quiet


def wakes(w):
    """Context switches of all threads so far."""
    n = 0
    for task in os.listdir(f"/proc/{w.pid}/task"):
        with open(f"/proc/{w.pid}/task/{task}/status") as f:
            n += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    return n


def test_an_idle_weir_sleeps(h):
    """After its work no thread of it wakes up, and it still counts as alive."""
    policy = "local policy = {} function policy.on_request(req) req:note('n', 'x') end return policy"
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'use "notes"\n', policies={"notes": policy})
    two = two_workers(w)
    for i in range(100):
        assert ask(two[i % 2]).status == 200

    def quiet():
        before = wakes(w)
        time.sleep(1)
        return wakes(w) - before <= 4

    until(quiet, 15, "a second with hardly a wake-up")
    with urllib.request.urlopen(f"http://127.0.0.1:{w.admin}/livez", timeout=5) as r:
        assert r.status == 200, r.read()


# ---- descriptors


def descriptors(w, more):
    """Lets it open so many more; None: as many as before."""
    if not hasattr(w, "usual"):
        w.usual = resource.prlimit(w.pid, resource.RLIMIT_NOFILE)
    used = {int(x) for x in os.listdir(f"/proc/{w.pid}/fd")}
    free = [n for n in range(len(used) + 20) if n not in used]
    resource.prlimit(w.pid, resource.RLIMIT_NOFILE, w.usual if more is None else (free[more], w.usual[1]))


def limited(h, w, n):
    """The same weir started again with room for n descriptors."""
    w.end()
    w.ended = True
    w.command = ["prlimit", f"--nofile={n}:{n}"] + w.command
    return h.again(w)


def cpu(w):
    with open(f"/proc/{w.pid}/stat") as f:
        return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")


def test_out_of_descriptors_at_accept(h):
    """Who comes then waits; a running stream goes on; weir does not spin, says it once, and serves them when it can."""
    go = threading.Event()
    u = h.upstream(pausing(go))
    w = h.weir(chat_provider("p", u.url))
    assert w.chat("p/m").status == 200
    w = limited(h, w, len(os.listdir(f"/proc/{w.pid}/fd")) + 12)
    assert "each stream needs two" in w.err, "a limit that is too small is told of at the start"
    stream = wire.Connection(w.port)
    stream.send(wire.request("POST", "/v1/chat/completions", chat_body("p/m", True)))
    until(lambda: len(u.requests) == 2, 5, "the stream runs")
    late = [wire.Connection(w.port) for _ in range(30)]
    until(lambda: "out of file descriptors" in w.err, 5, "it is said")
    used = cpu(w)
    time.sleep(1)
    assert cpu(w) - used < 0.3 * h.slow, "it spins"
    go.set()
    a = stream.answer()
    assert a.status == 200 and a.whole and a.text() == "Hello.", a
    stream.close()
    for c in late:  # each that leaves makes room for the next
        assert ask(c).status == 200
        c.close()
    assert w.err.count("out of file descriptors") <= 2, w.err


def test_out_of_descriptors_at_connect(h):
    """A request waits for one within its connect clock; then it is refused as overload, and a later one is served."""
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + "defaults { connect = 0.3 }\n")
    c = wire.Connection(w.port)
    until(lambda: sum(w.metric("weir_worker_clients", worker=str(i)) for i in range(2)) == 1, 5, "it is accepted")
    time.sleep(0.1)
    descriptors(w, 0)
    c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/m")))
    a = c.answer()
    assert a.status == 503 and a.weir["fault"] == "overloaded" and a.header("retry-after") == "1", a
    assert "descriptors" in a.error["message"], a
    c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/m")))
    time.sleep(0.1)
    descriptors(w, None)
    assert c.answer().status == 200, "it waited, and there is one again"


# ---- waiting


def test_waiting_requests_are_bounded(h):
    """Of those that weir has room for, half may sleep in policies; the next ones are refused in their dialect."""
    sleeper = "local policy = {} function policy.on_request(req) weir.sleep(30) end return policy"
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + 'use "sleeper"\n', policies={"sleeper": sleeper})
    w = limited(h, w, 260)  # (260 - 128) / 2 = 66 clients, 33 may wait
    waiting = []
    for _ in range(33):
        c = wire.Connection(w.port)
        c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/m")))
        waiting.append(c)
    until(lambda: sum(w.metric("weir_worker_clients", worker=str(i)) for i in range(2)) == 33, 5, "33 wait")
    time.sleep(0.2)
    a = w.chat("p/m")
    assert a.status == 503 and a.weir["fault"] == "overloaded" and a.header("retry-after") == "1", a
    a = w.post("/v1/messages", chat_body("a/m", max_tokens=1))
    assert a.status == 503 and a.json()["type"] == "error" and a.weir["fault"] == "overloaded", a
    for c in waiting:
        c.close()
    until(lambda: sum(w.metric("weir_worker_clients", worker=str(i)) for i in range(2)) == 0, 5, "they have left")
    c = wire.Connection(w.port)
    c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/m")))
    time.sleep(0.2)
    assert not select.select([c.s], [], [], 0)[0], "it waits, as there is room again"


# ---- memory


def test_memory_counts_all_that_is_held(h):
    """Small bodies, held answers: over `memory` new work is refused in its dialect; what runs goes on, and its end makes room."""
    go = threading.Event()
    whole = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"' + b"x" * 200_000 + b'"},"finish_reason":"stop"}]}'

    def answers(request, peer):
        if b"held" in request.body:
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(whole) + whole[:-100])
            go.wait(20)
            peer.send(whole[-100:])
        elif b"small" in request.body:
            go.wait(20)
            peer.answer(chat_answer())
        else:
            peer.answer(chat_answer())
        return True

    u = h.upstream(answers)
    w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + "memory(mb(2))\n")

    def kind(name):
        return w.metric("weir_memory_bytes", kind=name)

    def refused(what, count, body, account):
        go.clear()
        clients = []
        for i in range(count):
            c = wire.Connection(w.port)
            c.send(wire.request("POST", "/v1/chat/completions", body))
            clients.append(c)
        until(lambda: kind("buffers") + kind("arenas") > 1_900_000, 5, f"{what} are counted")
        assert kind(account) > 500_000, (what, w.metrics())
        until(lambda: w.chat("p/m").status == 503, 5, f"no room for more, because of {what}")     # the last of them may be on its way still
        a = w.chat("p/m")
        assert a.status == 503 and a.header("retry-after") == "1" and "memory" in a.error["message"], a
        a = w.post("/v1/messages", chat_body("a/m", max_tokens=1))
        assert a.status == 503 and a.json()["type"] == "error", a
        go.set()
        got = [c.answer().status for c in clients]
        assert got.count(200) >= 9 and set(got) <= {200, 503}, got
        for c in clients:
            c.close()
        until(lambda: w.chat("p/m").status == 200, 5, f"room again after {what}")

    refused("held answers", 14, chat_body("p/m", note="held"), "buffers")
    refused("small bodies", 150, chat_body("p/m", note="small", pad="z" * 15_000), "arenas")
    assert w.post("/v1/chat/completions", chat_body("p/m", pad="z" * 3_000_000)).status == 503
    until(lambda: kind("bodies") == 0 and kind("buffers") < 300_000 and kind("arenas") < 400_000 and kind("held") == 0, 5, "all is given back")


def test_what_a_stream_may_hold(h):
    """A policy that holds for ever: the oldest events go out above 256 KB. A reader that does not read: its provider is not read on."""
    hold = """
    local policy = {}
    function policy.on_chunk(req, chunk) if req.model == "p/held" then return weir.hold { seconds = 3600, bytes = 1e9 } end end
    return policy
    """
    sent, go = [0], threading.Event()

    def answers(request, peer):
        peer.stream(chat_events()[0], end=False)
        piece = word("x" * 4000)
        for _ in range(150 if b"held" in request.body else 5000):
            peer.chunk(piece)
            sent[0] += len(piece)
        go.wait(20)
        peer.chunk(chat_events()[-2] + chat_events()[-1])
        peer.send(b"0\r\n\r\n")
        return True

    u = h.upstream(answers)
    w = h.weir(chat_provider("p", u.url) + 'use "hold"\n', policies={"hold": hold})
    c = wire.Connection(w.port)
    c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/held", True)))
    until(lambda: sent[0] > 600_000, 5, "the provider has said it all")
    until(lambda: 200_000 < w.metric("weir_memory_bytes", kind="held") <= 256 * 1024 + 32 * 1024, 5, "256 KB are held")
    a = c.head()
    early = len(c.rest)
    while early < 300_000:
        early += len(c.more())  # what is over the bound went out, in order
    go.set()
    c.close()
    until(lambda: w.metric("weir_memory_bytes", kind="held") < 32 * 1024, 5, "nothing is")
    assert a.status == 200
    before, sent[0] = w.memory(), 0
    c = wire.Connection(w.port, receive_buffer=4096)
    go.clear()
    c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/slow", True)))
    at = until(lambda: (n := sent[0]) > 400_000 and not time.sleep(0.4) and n == sent[0] and n, 8, "the provider has to wait")
    assert at < 5000 * 4000, "all of it was taken"
    assert w.metric("weir_memory_bytes", kind="buffers") < 256 * 1024 + 2 * 32 * 1024, w.metrics()
    assert h.slow > 1 or w.memory() - before < 3 << 20, w.memory() - before  # a sanitizer keeps what is freed
    c.close()
    go.set()
