"""What a test is given: folders, ports, and weirs and mocks as processes that end with it."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import upstream
import wire

SECRET = "sk-e2e-provider-0123456789abcdef"  # in the environment of every weir; must never be seen anywhere but upstream
LOOP = ["--loop", os.environ["WEIR_LOOP"]] if os.environ.get("WEIR_LOOP") else []  # of every weir and mock
PORTS = 5000  # per slot, of four, below the range the kernel takes its own from


class Skip(Exception):
    pass


def until(condition, seconds=5, what="the condition", step=0.005):
    """Waits for a condition to hold and gives its value."""
    due = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > due:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(step)


def at_once(function, cases):
    """function(*case) for each of the cases, which mostly wait, at the same time. What one raises is raised."""
    with ThreadPoolExecutor(max(len(cases), 1)) as pool:
        for done in [pool.submit(function, *case) for case in cases]:
            done.result()


class Process:
    """One started program. Its output goes to files; `ended` is set by a test that wants it to end."""

    def __init__(self, h, name, command, env, before=None):
        self.h, self.name, self.ended = h, name, False
        self.out_path, self.err_path = (os.path.join(h.tmp, f"{name}.{x}") for x in ("out", "err"))
        with open(self.out_path, "ab") as out, open(self.err_path, "ab") as err:
            self.p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=h.tmp, preexec_fn=before)
        self.pid = self.p.pid

    def text(self, path):
        with open(path, errors="replace") as f:
            return f.read()

    @property
    def err(self):
        return self.text(self.err_path)

    @property
    def out(self):
        return self.text(self.out_path)

    def alive(self):
        return self.p.poll() is None

    def signal(self, number):
        self.p.send_signal(number)

    def wait(self, seconds=10):
        self.ended = True
        return self.p.wait(seconds * self.h.slow)

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self):
        """Ends it as an operator would; gives what was wrong with that, or ''."""
        wrong = ""
        if not self.alive() and not self.ended:
            wrong = f"{self.name} ended by itself with {self.p.returncode}: {self.err[-600:].strip()}"
        elif self.alive():
            self.signal(signal.SIGTERM)
            try:
                self.p.wait(0.5 * self.h.slow)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)
                try:
                    self.p.wait(5 * self.h.slow)
                except subprocess.TimeoutExpired:
                    wrong = f"{self.name} did not end after two SIGTERM"
                    self.p.kill()
                    self.p.wait()
            if not wrong and self.name.startswith("weir") and self.p.returncode != 0:
                wrong = f"{self.name} ended with {self.p.returncode}: {self.err[-600:].strip()}"
        return wrong or self.report()

    def report(self):
        found = re.search(r"(==\d+==ERROR|runtime error:|check failed|cannot go on|LeakSanitizer|ThreadSanitizer)", self.err)
        if not found:
            return ""
        return f"{self.name} reports: {self.err[found.start():found.start() + 1500]}"


class Weir(Process):
    def __init__(self, h, name, config, env, arguments, start):
        self.port, self.admin, self.config = h.port(), h.port(), config
        self.file = os.path.join(h.tmp, name, "weir.lua")
        self.runtime, self.access_path = os.path.join(h.tmp, name, "run"), os.path.join(h.tmp, name, "access.log")
        self.state = os.path.join(h.memory, name)
        os.makedirs(os.path.join(h.tmp, name, "policies"), exist_ok=True)
        self.write(config)
        self.env = dict(h.env, OPENAI_KEY=SECRET, **(env or {}))
        self.command = [h.binary("weir"), "run", "--config", self.file] + LOOP + list(arguments)
        super().__init__(h, name, self.command, self.env)
        if start:
            self.ready()

    def write(self, config):
        """weir.lua: the test's own lines between those that every one needs."""
        self.config = config
        head = f'listen "127.0.0.1:{self.port}"\nadmin "127.0.0.1:{self.admin}"\nruntime "{self.runtime}"\nworkers(2)\n'
        if "state " not in config:
            head += f'state "{self.state}"\n'
        if "log {" not in config:
            head += f'log {{ access = "{self.access_path}" }}\n'
        with open(self.file, "w") as f:
            f.write(head + config)

    def policy(self, name, text):
        with open(os.path.join(os.path.dirname(self.file), "policies", f"{name}.lua"), "w") as f:
            f.write(text)

    def ready(self, seconds=10):
        def stands():
            if not self.alive():
                raise AssertionError(f"{self.name} did not start: {self.err.strip()[-800:]}")
            return "listens on" in self.err and self.listening(self.admin)

        until(stands, seconds * self.h.slow, f"{self.name} listens")

    @staticmethod
    def listening(port):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def reload(self):
        """weir reload: its exit code and all it printed."""
        r = subprocess.run(
            [self.h.binary("weir"), "reload", "--config", self.file], capture_output=True, text=True, env=self.env, timeout=30 * self.h.slow
        )
        return r.returncode, r.stdout + r.stderr

    def records(self):
        if not os.path.exists(self.access_path):
            return []
        return [json.loads(line) for line in self.text(self.access_path).split("\n") if line.endswith("}")]

    def record(self, request_id, seconds=3):
        """The access log's line of one request."""
        return until(lambda: next((r for r in self.records() if r["id"] == request_id), None), seconds, f"an access line of {request_id}")

    def ledger(self, sql="SELECT * FROM exchanges ORDER BY seq"):
        """Rows of the ledger, as dictionaries; read as any program may, also while weir runs."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state}/ledger.db?mode=ro", uri=True, timeout=5)) as db:
            db.row_factory = sqlite3.Row
            return [dict(r) for r in db.execute(sql)]

    def rows(self, count, seconds=5):
        """All rows, once there are so many."""

        def there():
            try:
                rows = self.ledger()
            except sqlite3.OperationalError:  # not made yet
                return None
            assert len(rows) <= count, (len(rows), count, rows)
            return [rows] if len(rows) == count else None

        return until(there, seconds * self.h.slow, f"{count} rows in the ledger")[0]

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as r:
            return r.read().decode()

    def metric(self, name, **labels):
        """One sample; 0 when it does not stand there."""
        for line in self.metrics().splitlines():
            key, _, value = line.rpartition(" ")
            if key.split("{")[0] == name and all(f'{k}="{v}"' in key for k, v in labels.items()):
                return float(value)
        return 0.0

    def post(self, path, body, headers=(), **more):
        return wire.post(self.port, path, body, headers, **more)

    def chat(self, model="mock", stream=False, headers=(), **more):
        return self.post("/v1/chat/completions", chat_body(model, stream), headers, **more)


class Mock(Process):
    def __init__(self, h, name, arguments):
        self.port = h.port()
        super().__init__(h, name, [h.binary("weir-mock"), "--listen", f"127.0.0.1:{self.port}", *LOOP, *arguments], h.env)
        until(lambda: Weir.listening(self.port) or not self.alive(), 10 * h.slow, "the mock listens")
        self.url = f"http://127.0.0.1:{self.port}/v1"


def chat_body(model="mock", stream=False, **more):
    body = {"model": model, "messages": [{"role": "user", "content": "Say something."}], **more}
    if stream:
        body["stream"] = True
    return json.dumps(body).encode()


class Harness:
    def __init__(self, build, slot, name):
        self.build, self.name = build, name
        self.tmp = tempfile.mkdtemp(prefix="weir-e2e-")
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.memory = tempfile.mkdtemp(prefix="weir-e2e-", dir=shm)  # state folders: the ledger need not wait for a disk
        self.things, self.number = [], 0
        first = 11000 + PORTS * slot
        self.ports = iter(random.sample(range(first, first + PORTS), 400))
        with open(self.binary("weir"), "rb") as f:
            self.slow = 3 if re.search(rb"__[at]san_init", f.read()) else 1
        keep = {k: os.environ[k] for k in ("PATH", "LANG", "TMPDIR") if k in os.environ}
        self.env = dict(keep, HOME=self.tmp, ASAN_OPTIONS="detect_leaks=1:exitcode=99", UBSAN_OPTIONS="print_stacktrace=1", XDG_RUNTIME_DIR=self.tmp)

    def binary(self, name):
        return os.path.join(self.build, name)

    def port(self):
        for port in self.ports:
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise AssertionError("no free port is left")

    def called(self, kind):
        self.number += 1
        return f"{kind}{self.number}"

    def weir(self, config, env=None, policies=None, arguments=(), start=True):
        name = self.called("weir")
        for policy, text in (policies or {}).items():
            os.makedirs(os.path.join(self.tmp, name, "policies"), exist_ok=True)
            with open(os.path.join(self.tmp, name, "policies", f"{policy}.lua"), "w") as f:
                f.write(text)
        w = Weir(self, name, config, env, arguments, start)
        self.things.append(w)
        return w

    def again(self, weir, ready=True, before=None, command=None):
        """Another process on the files, ports and folders of one that has ended; `before` runs in it before weir does."""
        w = Process.__new__(Weir)
        w.__dict__.update(
            port=weir.port,
            admin=weir.admin,
            config=weir.config,
            file=weir.file,
            runtime=weir.runtime,
            state=weir.state,
            access_path=weir.access_path,
            env=weir.env,
            command=command or weir.command,
        )
        Process.__init__(w, self, self.called("weir"), w.command, weir.env, before)
        self.things.append(w)
        if ready:
            w.ready()
        return w

    def mock(self, *arguments):
        m = Mock(self, self.called("mock"), arguments)
        self.things.append(m)
        return m

    def pair(self, more="", policies=None, mock=(), provider=""):
        """A weir whose default provider is a mock; the alias of most tests is "mock" itself."""
        m = self.mock(*mock)
        w = self.weir(chat_provider("mock", m.url, provider) + 'default_provider "mock"\n' + more, policies=policies)
        return w, m

    def upstream(self, handler=None, **more):
        u = upstream.Upstream(self.port(), handler, **more)
        self.things.append(u)
        return u

    def run(self, *arguments, env=None, program="weir"):
        return subprocess.run(
            [self.binary(program), *arguments],
            capture_output=True,
            text=True,
            timeout=30 * self.slow,
            cwd=self.tmp,
            env=dict(self.env, **(env or {})),
        )

    def fixtures(self):
        for folder in (
            os.environ.get("WEIR_FIXTURES"),
            os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/fixtures"),
        ):
            if folder and os.path.isdir(folder):
                return os.path.abspath(folder)
        raise Skip("no recordings at $WEIR_FIXTURES or ../shared/fixtures")

    def end(self):
        wrong = [w for w in (t.end() for t in reversed(self.things)) if w]
        wrong += [f"the provider's key stands in {path}" for folder in (self.tmp, self.memory) for path in leaks(folder, SECRET)]
        shutil.rmtree(self.memory, ignore_errors=True)
        if not wrong:
            shutil.rmtree(self.tmp, ignore_errors=True)
        else:
            wrong.append(f"(left in {self.tmp})")
        return "; ".join(wrong)


def leaks(folder, secret):
    """Files below the folder that hold the secret: logs and answers must not."""
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            if not os.path.isfile(path) or name.endswith(".recorded"):
                continue
            if secret.encode() in written(path):
                yield path


def written(path):
    """A file's bytes without its holes: the file of weir's counters is half a gigabyte of them."""
    parts, at = [], 0
    with open(path, "rb") as f:
        size = os.fstat(f.fileno()).st_size
        while at < size:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole follows
                break
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            parts.append(os.pread(f.fileno(), end - at, at))
            at = end
    return b"".join(parts)


def chat_provider(name, url, more=""):
    return f'provider "{name}" {{ dialect = "chat", url = "{url}", key = env "OPENAI_KEY", {more} }}\n'


def messages_provider(name, url, more=""):
    return f'provider "{name}" {{ dialect = "messages", url = "{url}", key = env "OPENAI_KEY", {more} }}\n'
