"""The process as a whole: signals that come together, an end in the middle of a reload or of a question for a name, a start under load."""
import signal
import socket
import subprocess
import sys
import time

import wire
from harness import chat_provider


def test_two_signals_at_once(h):
    """The second one may come before the workers have heard of the first."""
    u = h.upstream()
    for _ in range(3):
        w = h.weir(chat_provider("p", u.url))
        w.signal(signal.SIGSTOP)
        w.signal(signal.SIGTERM)
        w.signal(signal.SIGINT)
        w.signal(signal.SIGCONT)
        assert w.wait(5) == 0, w.err


def test_end_in_the_middle_of_a_reload(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url))
    w.write('provider "slow" { dialect = "chat", url = "http://127.0.0.1:9/v1", key = command { "sh", "-c", "sleep 1; echo key" } }\n')
    reload = subprocess.Popen([h.binary("weir"), "reload", "--config", w.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=w.env)
    time.sleep(0.4)
    w.signal(signal.SIGTERM)
    assert w.wait(10) == 0, w.err
    out, _ = reload.communicate(timeout=10)
    assert reload.returncode != 0 or "generation 2" in out, out


def test_end_while_a_name_is_asked_for(h):
    w = h.weir('provider "far" { dialect = "chat", url = "http://a-name-that-takes-long.invalid/v1" }\n')
    asked = []
    for _ in range(4):
        c = wire.Connection(w.port)
        c.send(wire.request("POST", "/v1/chat/completions", b'{"model":"far/m","messages":[]}'))
        asked.append(c)
    time.sleep(0.01)
    w.signal(signal.SIGTERM)
    w.signal(signal.SIGINT)
    assert w.wait(15) == 0, w.err


def test_connections_that_wait_at_the_start(h):
    """An inherited listener with clients in its queue: none of them goes to a worker that does not stand yet."""
    u = h.upstream()
    for _ in range(3):
        w = h.weir(chat_provider("p", u.url), start=False)
        if w.alive():
            w.ready()
            w.signal(signal.SIGTERM)
            w.wait()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", w.port))
        listener.listen(64)
        clients = [wire.raw(w.port, wire.request("GET", "/v1/models")) for _ in range(30)]
        script = "import os,sys; fd=int(sys.argv[1]); os.dup2(fd,3); os.set_inheritable(3,True); os.environ['LISTEN_PID']=str(os.getpid()); os.environ['LISTEN_FDS']='1'; os.execv(sys.argv[2], sys.argv[2:])"
        p = subprocess.Popen([sys.executable, "-c", script, str(listener.fileno()), *w.command], env=w.env, pass_fds=[listener.fileno()], stderr=subprocess.PIPE, text=True)
        listener.close()
        try:
            for c in clients:
                assert c.answer("GET").status == 200
                c.close()
        finally:
            p.send_signal(signal.SIGTERM)
            _, err = p.communicate(timeout=20)
        assert p.returncode == 0, err[-1500:]
