"""SIGUSR2 and weir upgrade: the program starts again and takes over, and nobody notices."""

import os
import re
import shutil
import signal
import socket
import threading
import time

import wire
from harness import Weir, chat_body, chat_provider, until

EVENTS = 'mock;events=12;gap=25'


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def latest(w):
    """The process that serves now: the first one, or the last that took over."""
    found = re.findall(r"process (\d+) serves now", w.err)
    return int(found[-1]) if found else w.pid


def upgrade(w, seconds=15):
    """SIGUSR2 to whoever serves; gives the successor's number."""
    before = latest(w)
    os.kill(before, signal.SIGUSR2)
    until(lambda: latest(w) != before, seconds * w.h.slow, f"a successor of {before}: {w.err[-1500:]}")
    return latest(w)


def end(w):
    """Ends the last process, and sees that all before it have ended by themselves."""
    pids = [w.pid, *(int(p) for p in re.findall(r"process (\d+) serves now", w.err))]
    w.ended = True
    if alive(pids[-1]):
        os.kill(pids[-1], signal.SIGTERM)
    try:
        until(lambda: w.p.poll() is not None and not any(alive(p) for p in pids), 10 * w.h.slow, f"all of {pids} end")
    finally:
        for p in pids[1:]:
            if alive(p):
                os.kill(p, signal.SIGKILL)
    assert w.p.returncode == 0, w.err[-1500:]


class Load:
    """Clients that stream, ask whole answers on kept connections, and connect anew, until told to stop."""

    def __init__(self, w, streams=6, kept=2, fresh=2):
        self.w, self.over, self.bad, self.count = w, threading.Event(), [], {"stream": 0, "kept": 0, "fresh": 0}
        jobs = [self.stream] * streams + [self.kept] * kept + [self.fresh] * fresh
        self.threads = [threading.Thread(target=self.run, args=(job,)) for job in jobs]
        for t in self.threads:
            t.start()

    def run(self, job):
        while not self.over.is_set():
            try:
                job()
            except Exception as e:
                self.bad.append(f"{job.__name__}: {type(e).__name__} {e}")

    def stream(self):
        a = self.w.chat(EVENTS, stream=True)
        assert a.status == 200 and a.body.count(b"data: ") >= 12 and a.body.endswith(b"data: [DONE]\n\n"), a
        self.count["stream"] += 1

    def fresh(self):
        a = self.w.chat()
        assert a.status == 200, a
        self.count["fresh"] += 1

    def kept(self):
        body = b'{"model":"mock","messages":[{"role":"user","content":"hi"}]}'
        c = wire.Connection(self.w.port)
        try:
            while not self.over.is_set():
                c.send(wire.request("POST", "/v1/chat/completions", body))
                a = c.answer()
                assert a.status == 200, a
                self.count["kept"] += 1
                if (a.header("connection") or "").lower() == "close":
                    return
                time.sleep(0.002)
        finally:
            c.close()

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(30)
        assert not self.bad, self.bad[:5]
        return self.count


def test_under_load(h):
    """Three times in a row while streams run: none fails, no connection is refused, each process ends when it is drained."""
    w, _ = h.pair()
    w.chat()
    load = Load(w)
    try:
        pids = [w.pid]
        for _ in range(3):
            time.sleep(0.4)
            pids.append(upgrade(w))
            assert w.metric("weir_streams_open") >= 0  # the admin listener answers, all the time
            assert wire.get(w.admin, "/readyz", host="127.0.0.1").status == 200
        time.sleep(0.4)
    finally:
        count = load.stop()
    assert len(set(pids)) == 4 and count["stream"] >= 12 and count["kept"] > 20 and count["fresh"] > 20, count
    until(lambda: not any(alive(p) for p in pids[:-1]), 10 * h.slow, "those before end")
    assert alive(pids[-1]) and w.chat().status == 200
    assert w.reload()[0] == 0, "control.sock is the last one's"
    with open(w.file) as f:
        other = f.read().replace(f":{w.port}", f":{h.port()}").replace(f":{w.admin}", f":{h.port()}")
    with open(os.path.join(h.tmp, "other.lua"), "w") as f:
        f.write(other)
    r = h.run("run", "--config", os.path.join(h.tmp, "other.lua"), env=w.env)
    assert r.returncode == 2 and "another weir runs" in r.stderr, r.stderr
    end(w)
    assert not os.path.exists(os.path.join(w.runtime, "control.sock"))


def test_a_long_stream_outlives_its_successor(h):
    """A stream of the first process goes on through two upgrades, and its connection that was idle is let go politely."""
    w, m = h.pair()
    idle, early = wire.Connection(w.port), socket.create_connection(("127.0.0.1", w.port))
    idle.send(wire.request("GET", "/v1/models", b""))
    assert idle.answer().status == 200
    got = []
    t = threading.Thread(target=lambda: got.append(w.chat("mock;events=40;gap=50", stream=True)))
    t.start()
    until(lambda: w.metric("weir_streams_open") == 1, 5 * h.slow, "the stream runs")
    upgrade(w)
    for _ in range(20):  # on a connection of the process that drains, or is about to
        idle.send(wire.request("GET", "/v1/models", b""))
        a = idle.answer()
        assert a.status == 200, a
        if a.header("connection") == "close":
            break
        time.sleep(0.05)
    assert a.header("connection") == "close", a
    early.sendall(wire.request("GET", "/v1/models", b""))  # connected before, says something only now
    assert early.recv(65536).startswith(b"HTTP/1.1 200")
    early.close()
    upgrade(w)
    assert alive(w.pid), "it still has a stream"
    t.join(30)
    assert got[0].body == wire.post(m.port, "/v1/chat/completions", chat_body("mock;events=40;gap=0", stream=True)).body.replace(b"gap=0", b"gap=50"), got
    assert w.wait(10) == 0
    end(w)


def test_budgets_go_on(h):
    """What was spent before counts after, also what runs in the process that drains."""
    policies = {"team": 'local b = weir.budget { name = "all", window = "day", cap = usd(0.001) }\nlocal p = {}\n'
                        "function p.on_request(req) return b:charge(req, \"everybody\") end\nreturn p\n"}
    price = 'models = { ["mock"] = { window = 1000, max_output = 40, price = { input = usd(1), output = usd(5) } } }'
    w, _ = h.pair('use "team"\n', policies=policies, provider=price)
    body = chat_body(max_tokens=40)
    spent = 0
    for _ in range(200):
        a = w.post("/v1/chat/completions", body)
        if a.status != 200:
            break
        spent += 1
        if spent == 3:
            upgrade(w)
        if spent > 3:
            assert latest(w) != w.pid
    assert a.status == 429 and a.error["weir"]["fault"] == "capped", a
    upgrade(w)
    assert w.post("/v1/chat/completions", body).status == 429
    records = w.records()
    assert len([r for r in records if r["status"] == 200]) == spent and spent > 3, (spent, records[-1])
    end(w)


def test_a_broken_successor_changes_nothing(h):
    """A configuration that is refused, tests that fail, a program that cannot start or ends at once: one line, and weir serves on."""
    build = os.path.join(h.tmp, "bin")
    os.makedirs(build)
    program = os.path.join(build, "weir")
    shutil.copy(h.binary("weir"), program)
    m = h.mock()
    w = h.weir(chat_provider("mock", m.url) + 'default_provider "mock"\n', start=False)
    w.signal(signal.SIGKILL)
    w.wait()
    w = h.again(w, ready=False, command=[program, *w.command[1:]])
    w.ready()
    good = w.config

    def refused(says):
        before = w.err.count("upgrade refused")
        os.kill(w.pid, signal.SIGUSR2)
        until(lambda: w.err.count("upgrade refused") > before, 15 * h.slow, f"it is refused: {w.err[-800:]}")
        assert says in w.err[w.err.rindex("upgrade refused"):], w.err[-800:]
        assert w.chat().status == 200 and w.reload()[0] == (0 if w.config == good else 1) and latest(w) == w.pid

    w.write(good + "nonsense(1)\n")
    refused("ended with exit code 1")
    r = h.run("upgrade", "--config", w.file, env=w.env)
    assert r.returncode == 1 and "ended with exit code 1" in r.stderr and "this one goes on" in r.stderr, r
    w.write(good)
    os.unlink(program)
    refused("No such file or directory")
    with open(program, "w") as f:
        f.write("#!/bin/sh\nexit 7\n")
    os.chmod(program, 0o755)
    refused("ended with exit code 7")
    os.unlink(program)
    shutil.copy(h.binary("weir"), program)
    r = h.run("upgrade", "--config", w.file, env=w.env)
    assert r.returncode == 0 and f"process {latest(w)} serves now" in r.stdout and latest(w) != w.pid, r
    assert w.chat().status == 200
    assert w.wait(15) == 0
    end(w)


def test_other_listeners(h):
    """The successor's configuration counts: a listener that left closes, a new one opens, a Unix socket's path stays until the end."""
    w, _ = h.pair()
    path, other = os.path.join(h.tmp, "weir.sock"), h.port()
    w.write(w.config + f'listen "unix:{path}"\n')
    upgrade(w)
    assert wire.get(path, "/v1/models").status == 200
    with open(w.file) as f:
        text = f.read()
    with open(w.file, "w") as f:
        f.write(text.replace(f'listen "127.0.0.1:{w.port}"', f'listen "127.0.0.1:{other}"'))
    upgrade(w)
    assert wire.get(path, "/v1/models").status == 200 and wire.get(other, "/v1/models").status == 200
    until(lambda: not Weir.listening(w.port), 10 * h.slow, "nobody listens where nobody serves")
    end(w)
    assert not os.path.exists(path)


def test_the_service_manager_hears(h):
    """Of the successor, as the main process from then on, and nothing more of the one that drains."""
    path, m = os.path.join(h.tmp, "notify"), h.mock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10 * h.slow)
        w = h.weir(chat_provider("mock", m.url), env={"NOTIFY_SOCKET": path})
        assert f"MAINPID={w.pid}\n" in manager.recv(4096).decode()
        upgrade(w)
        said = manager.recv(4096).decode()
        assert said.startswith("READY=1\n") and f"MAINPID={latest(w)}\n" in said, said
        assert w.wait(10) == 0
        manager.setblocking(False)
        try:
            raise AssertionError(manager.recv(4096))
        except BlockingIOError:
            pass
        end(w)
