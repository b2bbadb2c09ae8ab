"""weir as a service: what its manager is told, what it leaves behind, and the one line when the machine does not let it start."""

import ctypes
import errno
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import wire
from harness import LOOP, Skip, chat_body, chat_provider, until

NOBODY = 65534


class Manager:
    """Stands for systemd: the socket that services report to."""

    def __init__(self, h):
        self.path, self.heard = os.path.join(h.tmp, "notify"), []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    def lines(self):
        try:
            while True:
                self.heard.append(self.socket.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return self.heard

    def said(self, word):
        return next((m for m in self.lines() if word in m), None)

    def forget(self):
        self.lines()
        self.heard = []


def value(message, name):
    return next(line.split("=", 1)[1] for line in message if line.startswith(name + "="))


def test_what_the_manager_hears(h):
    m, u = Manager(h), h.upstream()
    w = h.weir(chat_provider("p", u.url), env={"NOTIFY_SOCKET": m.path, "WATCHDOG_USEC": "400000"})
    ready = until(lambda: m.said("READY=1"), 5, "READY")
    assert value(ready, "MAINPID") == str(w.pid) and f"127.0.0.1:{w.port}" in value(ready, "STATUS"), ready
    assert w.chat().status == 200  # ready is no promise

    until(lambda: sum("WATCHDOG=1" in x for x in m.lines()) >= 3, 5 * h.slow, "signs of life")
    w.signal(signal.SIGSTOP)  # a process that does not run gives none
    time.sleep(0.1)
    m.forget()
    time.sleep(0.6)
    assert not m.said("WATCHDOG=1")
    w.signal(signal.SIGCONT)
    until(lambda: m.said("WATCHDOG=1"), 5 * h.slow, "a sign of life")

    m.forget()
    assert w.reload()[0] == 0
    at = value(m.said("RELOADING=1"), "MONOTONIC_USEC")
    assert abs(int(at) / 1e6 - time.monotonic()) < 30 * h.slow, at
    assert "generation 2" in value(m.said("READY=1"), "STATUS")  # said before `weir reload` has ended
    w.write("nonsense(\n")
    m.forget()
    assert w.reload()[0] == 1
    status = value(m.said("READY=1"), "STATUS")
    assert "generation 2" in status and "refused" in status and "weir.lua:" in status, status

    w.signal(signal.SIGTERM)
    stopping = until(lambda: m.said("STOPPING=1"), 5 * h.slow, "STOPPING")
    assert value(stopping, "EXTEND_TIMEOUT_USEC") == "630000000", stopping
    assert w.wait() == 0


def test_no_manager_there(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url), env={"NOTIFY_SOCKET": os.path.join(h.tmp, "nobody")})
    until(lambda: "service manager could not be told" in w.err, 5)
    assert w.chat().status == 200


def test_unix_sockets_go(h):
    """Those that weir made; one that it was handed stays."""
    made, handed, ready = (os.path.join(h.tmp, name) for name in ("made.sock", "handed.sock", "ready.sock"))
    with open(os.path.join(h.tmp, "weir.lua"), "w") as f:
        f.write(f'listen "unix:{made}"\nlisten "unix:{handed}"\nadmin "unix:{ready}"\nruntime "{h.tmp}/run"\nworkers(1)\n')
    with socket.socket(socket.AF_UNIX) as given, open(os.path.join(h.tmp, "err"), "w+") as err:
        given.bind(handed)
        given.listen()
        command = ["bash", "-c", f'exec 3<&{given.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "weir", h.binary("weir"), "run"]
        p = subprocess.Popen(command, stderr=err, env=h.env, cwd=h.tmp, pass_fds=[given.fileno()])
        try:
            until(lambda: os.path.exists(ready) and os.path.exists(made) or p.poll() is not None, 10 * h.slow, "weir listens")
            time.sleep(0.2)
            assert p.poll() is None, open(err.name).read()
        finally:
            p.terminate()
            code = p.wait(10 * h.slow)
    assert code == 0, open(err.name).read()
    assert [os.path.exists(x) for x in (made, handed, ready)] == [False, True, False], os.listdir(h.tmp)
    left = os.listdir(os.path.join(h.tmp, "run"))
    assert not [x for x in left if x.endswith(".sock")], left  # no control.sock either


# ---- what the machine refuses: exit code 2 and one line that says what to do


def refusing(calls, error):
    """A seccomp filter for a child: these system calls fail with that errno."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    filters = struct.pack("HBBI", 0x20, 0, 0, 0)  # load the number
    for i, number in enumerate(calls):
        filters += struct.pack("HBBI", 0x15, len(calls) - i, 0, number)
    filters += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000) + struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | error)
    memory = ctypes.create_string_buffer(filters)
    program = struct.pack("HxxxxxxP", len(filters) // 8, ctypes.addressof(memory))

    def install():
        if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.c_char_p(program), 0, 0):
            os._exit(99)

    install.kept = memory
    return install


def start(h, text, before=None, arguments=(), **more):
    folder = os.path.join(h.tmp, "start")
    os.makedirs(folder, exist_ok=True)
    os.chmod(h.tmp, 0o755)
    path = os.path.join(folder, "weir.lua")
    head = f'admin "127.0.0.1:{h.port()}"\n' + ("" if "runtime" in text else f'runtime "{folder}/run"\n')
    with open(path, "w") as f:
        f.write(head + ("" if "listen" in text else f'listen "127.0.0.1:{h.port()}"\n') + text)
    r = subprocess.run(
        [h.binary("weir"), "run", "--config", path, *arguments],
        capture_output=True,
        text=True,
        env=h.env,
        timeout=20 * h.slow,
        preexec_fn=before,
        **more,
    )
    return r.returncode, [line for line in r.stderr.splitlines() if " error " in line]


def test_io_uring_refused(h):
    """Whoever insists on it is told why not; else epoll serves, and the first line and weir version say why."""
    if os.uname().machine not in ("x86_64", "aarch64"):
        raise Skip("the numbers of system calls are of x86_64 and aarch64")
    setup = (425,)
    for error, says in ((errno.EPERM, "weir-seccomp.json"), (errno.ENOSYS, "weir needs Linux >= 6.1")):
        code, lines = start(h, "", refusing(setup, error), arguments=["--loop", "uring"])
        assert code == 2 and len(lines) == 1 and says in lines[0] and "io_uring" in lines[0], (code, lines)
        told = subprocess.run([h.binary("weir"), "version"], capture_output=True, text=True, env=h.env, preexec_fn=refusing(setup, error))
        assert told.returncode == 0 and "loop   epoll, since io_uring" in told.stdout and says in told.stdout, told
        m = h.mock()
        w = h.weir(chat_provider("mock", m.url))
        w.signal(signal.SIGTERM)
        w.wait()
        w = h.again(w, ready=False, before=refusing(setup, error), command=[x for x in w.command if x not in LOOP])
        w.ready()
        assert "(epoll, since io_uring" in w.err and says in w.err, w.err
        assert w.chat("mock/x").status == 200 and b"[DONE]" in w.chat("mock/x", stream=True).body
    r = h.run("run", "--loop", "poll")
    assert r.returncode == 2 and "--loop is auto, uring or epoll, not 'poll'" in r.stderr, r
    assert os.path.exists(os.path.join(PACKAGING, "container/weir-seccomp.json")), "the message names a file that is not shipped"


def test_permissions(h):
    if os.geteuid() != 0 or not os.access("/proc/self/root", os.X_OK):
        raise Skip("only root can become nobody")
    reachable = subprocess.run([h.binary("weir"), "version"], user=NOBODY, capture_output=True, env=h.env)
    if reachable.returncode:
        raise Skip("nobody cannot reach the build folder")
    folder = os.path.join(h.tmp, "start")
    os.makedirs(folder)
    os.mkdir(os.path.join(folder, "closed"), 0o755)
    for text, says in (
        ('listen "127.0.0.1:81"\n', "CAP_NET_BIND_SERVICE"),
        (f'listen "unix:{folder}/closed/s"\n', "user may not write in that folder"),
        (f'runtime "{folder}/closed/deep/run"\n', "runtime folder"),
        (f'log {{ access = "{folder}/closed/log" }}\n', "access log"),
    ):
        code, lines = start(h, text, user=NOBODY, group=NOBODY, extra_groups=[])
        assert code in (1, 2) and len(lines) == 1 and says in lines[0], (text, code, lines)
        assert (code == 1) == ("access" in text), (text, code)
    os.chmod(os.path.join(folder, "weir.lua"), 0o600)
    r = subprocess.run(
        [h.binary("weir"), "run", "--config", f"{folder}/weir.lua"], user=NOBODY, group=NOBODY, capture_output=True, text=True, env=h.env
    )
    assert r.returncode == 1 and "weir.lua: Permission denied" in r.stderr, r


def test_port_in_use(h):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, lines = start(h, f'listen "127.0.0.1:{port}"\n')
        assert code == 2 and len(lines) == 1 and f"127.0.0.1:{port}: Address already in use" in lines[0], (code, lines)
        path = os.path.join(h.tmp, "left.sock")  # one that could be opened is not left behind
        code, lines = start(h, f'listen "unix:{path}"\nlisten "127.0.0.1:{port}"\n')
        assert code == 2 and len(lines) == 1 and not os.path.exists(path), (code, lines)


# ---- under the filters of system calls that are shipped

PACKAGING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging")
ALLOW, SCMP_ERRNO = 0x7FFF0000, 0x00050000


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def seccomp():
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise Skip("libseccomp.so.2 is not installed")
    library.seccomp_init.restype = ctypes.c_void_p
    return library


def filtered(rules):
    """For a child: the system calls named pass, others fail with EPERM. rules: (names, errno or 0, [Compare])."""
    library = seccomp()
    context = ctypes.c_void_p(library.seccomp_init(SCMP_ERRNO | errno.EPERM))
    for names, error, compared in rules:
        for name in names:
            number = library.seccomp_syscall_resolve_name(name.encode())
            array = (Compare * max(len(compared), 1))(*compared)
            if number >= 0:  # negative: not of this architecture, or not known to this library
                assert library.seccomp_rule_add_array(context, SCMP_ERRNO | error if error else ALLOW, number, len(compared), array) == 0, name

    def install():
        if library.seccomp_load(context):
            os._exit(99)

    return install


def serves_under(h, rules):
    """A request, a stream, a reload and a clean end of a weir, and of a key's command, under that filter."""
    u = h.mock()
    folder = os.path.join(h.tmp, "filtered")
    os.makedirs(folder)
    port, admin = h.port(), h.port()
    with open(os.path.join(folder, "weir.lua"), "w") as f:
        f.write(
            f'listen "127.0.0.1:{port}"\nlisten "unix:{folder}/s"\nadmin "127.0.0.1:{admin}"\nruntime "{folder}/run"\nworkers(2)\n'
            f'provider "p" {{ dialect = "chat", url = "http://localhost:{u.port}/v1", key = command {{ "sh", "-c", "echo a-$(id -u)-key" }} }}\n'
        )
    with open(os.path.join(folder, "err"), "w+") as err:
        command = [h.binary("weir"), "run", "--config", f"{folder}/weir.lua"]
        env = dict(h.env, ASAN_OPTIONS="detect_leaks=0:exitcode=99")  # looking for leaks takes ptrace, which no filter lets through
        p = subprocess.Popen(command, stdout=err, stderr=err, env=env, preexec_fn=filtered(rules))
        said = lambda: open(err.name).read()  # noqa: E731
        try:
            until(lambda: p.poll() is not None or "listens on" in said(), 10 * h.slow, "weir starts")
            assert p.poll() is None, said()
            with open(f"/proc/{p.pid}/status") as f:
                assert re.search(r"^Seccomp:\s*2", f.read(), re.M)
            for stream in (False, True):
                a = wire.post(port, "/v1/chat/completions", chat_body(stream=stream))
                assert a.status == 200 and (not stream or b"[DONE]" in a.body), (a, said())
            r = h.run("reload", "--config", f"{folder}/weir.lua")
            assert r.returncode == 0, r
            assert wire.post(port, "/v1/chat/completions", chat_body()).status == 200
        finally:
            p.terminate()
            code = p.wait(10 * h.slow)
        assert code == 0 and " error " not in said() and "not permitted" not in said(), (code, said())


def test_container_profile(h):
    with open(os.path.join(PACKAGING, "container/weir-seccomp.json")) as f:
        profile = json.load(f)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules = []
    for r in profile["syscalls"]:
        compared = [Compare(c["index"], 7, c["value"], c["valueTwo"]) for c in r.get("args", [])]  # 7: masked equal
        rules.append((r["names"], r.get("errnoRet", 0), compared))
    serves_under(h, rules)


def test_unit_filter(h):
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed")

    def group(name):
        said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True).stdout
        for word in said.split("\n")[1:]:
            word = word.strip()
            if word and not word.startswith("#"):
                yield from group(word) if word.startswith("@") else [word]

    with open(os.path.join(PACKAGING, "systemd/weir.service")) as f:
        lines = re.findall(r"^SystemCallFilter=(~?)(.*)$", f.read(), re.M)
    allowed = set()
    for negated, words in lines:
        names = {n for w in words.split() for n in (group(w) if w.startswith("@") else [w])}
        allowed = allowed - names if negated else allowed | names
    assert {"io_uring_setup", "io_uring_enter", "io_uring_register"} <= allowed and "setuid" not in allowed
    serves_under(h, [(sorted(allowed), 0, [])])
