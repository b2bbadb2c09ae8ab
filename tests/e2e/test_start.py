"""Starting: with no file at all, with bad ones, and what each command says and exits with."""

import os
import shutil
import stat
import subprocess
import time

import wire
from harness import SECRET, Skip, chat_body, chat_provider, until


def started(h, env, *arguments, cwd=None):
    """weir run outside of the harness' own configuration, on its default ports."""
    for port in (8080, 9090):
        if listening(port):
            raise Skip(f"port {port} is taken here")
    out = open(os.path.join(h.tmp, "plain.err"), "w+")
    p = subprocess.Popen(
        [h.binary("weir"), "run", *arguments], cwd=cwd or h.tmp, env=dict(h.env, **env), stdout=subprocess.DEVNULL, stderr=out
    )

    class Plain:
        name, ended = "weir", False

        def text(self):
            with open(out.name) as f:
                return f.read()

        def end(self):
            if p.poll() is None:
                p.terminate()
            return "" if p.wait(10) == 0 else f"weir ended with {p.returncode}: {self.text()[-400:]}"

    plain = Plain()
    h.things.append(plain)
    until(lambda: p.poll() is not None or "listens on" in plain.text(), 10, "weir starts")
    assert p.poll() is None, plain.text()
    return plain


def listening(port):
    try:
        wire.Connection(port, 1).close()
        return True
    except OSError:
        return False


def test_no_file(h):
    folder = os.path.join(h.tmp, "empty")
    os.mkdir(folder)
    p = started(h, {"OPENAI_API_KEY": SECRET, "HOME": folder}, cwd=folder)
    assert "127.0.0.1:8080" in p.text() and "no weir.lua: providers from the environment" in p.text(), p.text()
    assert wire.get(8080, "/v1/models").status == 200 and wire.get(9090, "/readyz", host="127.0.0.1").status == 200
    a = wire.post(8080, "/v1/messages", chat_body("claude-x", max_tokens=5))  # only openai has its key here
    assert a.status == 404 and a.json()["type"] == "error", a


def test_no_file_and_no_key(h):
    folder = os.path.join(h.tmp, "empty")
    os.mkdir(folder)
    p = started(h, {"HOME": folder}, cwd=folder)
    assert "there is no provider" in p.text() and "OPENAI_API_KEY" in p.text(), p.text()
    assert wire.post(8080, "/v1/chat/completions", chat_body()).status == 404


def test_search_order(h):
    for place in ("option", "variable", "folder"):
        folder = os.path.join(h.tmp, place)
        os.mkdir(folder)
        path, port, admin = os.path.join(folder, "weir.lua"), h.port(), h.port()
        with open(path, "w") as f:
            f.write(
                f'listen "127.0.0.1:{port}"\nadmin "127.0.0.1:{admin}"\nruntime "{folder}/run"\nlog {{ access = "off" }}\nmodel "found-{place}" {{ "p/x" }}\n'
                + chat_provider("p", "http://127.0.0.1:9/v1")
            )
        env = {"OPENAI_KEY": SECRET, "WEIR_CONFIG": path if place == "variable" else ""}
        if not env["WEIR_CONFIG"]:
            del env["WEIR_CONFIG"]
        r = subprocess.Popen(
            [h.binary("weir"), "run"] + (["--config", path] if place == "option" else []),
            cwd=folder if place == "folder" else h.tmp,
            env=dict(h.env, **env),
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: listening(port), 5, f"the file by {place} is found")
            assert f"found-{place}" in wire.get(port, "/v1/models").body.decode()
        finally:
            r.terminate()
            assert r.wait(10) == 0


BAD = [
    ('provider "p" { dialect = "chat", url = "ftp://x/v1" }', "url"),
    ('provider "p" { dialect = "chat" }', "url"),
    ('provider "v1" { dialect = "chat", url = "http://x/v1" }', "taken by weir's own paths"),
    ('provider "p" { dialect = "chta", url = "http://x/v1" }', "did you mean 'chat'"),
    ('provider "p" { dialect = "chat", url = "http://x/v1", key = "sk-in-the-clear" }', "key"),
    ('provider "p" { dialect = "chat", url = "http://x/v1", key = env "NOT_SET_ANYWHERE" }', "'NOT_SET_ANYWHERE' is not set"),
    ('provider "p" { dialect = "chat", url = "http://x/v1", key = file "world.key" }', "chmod"),
    ('provider "p" { dialect = "chat", url = "http://x/v1", headers = { ["x-api-key"] = "x" } }', "carries a secret"),
    ('model "m" { "nobody/x" }', "nobody"),
    ('model "m" { }', "m"),
    ('model "m" { "openai/x", next_on = { "timeot" } }', "did you mean 'timeout'"),
    ("defaults { conect = 3 }", "did you mean 'connect'"),
    ("defaults { connect = -1 }", "connect"),
    ('defaults { connect = "3" }', "connect"),
    ('listen "0.0.0.0:8080"', "open = true"),
    ('listen "nonsense"', "listen"),
    ("workers(0)", "workers"),
    ('include "nothing.lua"', "nothing.lua"),
    ('use "no_such_policy"', "no_such_policy"),
    ('default_provider "opnai"', "default_provider"),
    ("os.exit(1)", "os"),
    ('budget "x"', "budget"),
    ("x = = 1", "weir.lua:1:"),
]


def test_bad_configuration(h):
    world = os.path.join(h.tmp, "world.key")
    with open(world, "w") as f:
        f.write("sk-world\n")
    os.chmod(world, 0o644)
    path = os.path.join(h.tmp, "weir.lua")
    for text, says in BAD:
        with open(path, "w") as f:
            f.write(text + "\n")
        for command in (["run", "--config", path], ["check", "--config", path]):
            r = h.run(*command)
            assert r.returncode == 1, f"{command[0]} {text}: {r.returncode} {r.stderr}"
            assert says in r.stderr and "weir.lua:1:" in r.stderr, f"{command[0]} {text}: {r.stderr}"
            assert "sk-in-the-clear" not in r.stderr and "sk-world" not in r.stderr, r.stderr
    r = h.run("run", "--config", os.path.join(h.tmp, "missing.lua"))
    assert r.returncode == 1 and "missing.lua" in r.stderr, r


def test_all_mistakes_at_once(h):
    path = os.path.join(h.tmp, "weir.lua")
    with open(path, "w") as f:
        f.write('provider "p" { dialect = "chat", url = "http://x/v1", urll = 1 }\n\ndefaults { conect = 3 }\nmodel "m" { "q/x" }\n')
    r = h.run("check", "--config", path)
    assert r.returncode == 1 and all(f"weir.lua:{n}:" in r.stderr for n in (1, 3, 4)), r.stderr


def test_check(h):
    path = os.path.join(h.tmp, "weir.lua")
    with open(path, "w") as f:
        f.write(chat_provider("p", "https://api.provider.test/v1", "connect = 7") + 'model "smart" { "p/x", "p/y", first_event = 9 }\n')
    r = h.run("check", "--config", path, env={"OPENAI_KEY": SECRET})
    assert r.returncode == 0 and "good" in r.stdout, r
    r = h.run("check", "--config", path, "--explain", "smart", env={"OPENAI_KEY": SECRET})
    assert (
        r.returncode == 0 and "p/x" in r.stdout and "p/y" in r.stdout and "connect 7" in r.stdout and "first_event 9" in r.stdout
    ), r.stdout
    assert SECRET not in r.stdout + r.stderr


def test_commands(h):
    assert h.run("version").returncode == 0 and h.run("version").stdout.startswith("weir ")
    assert h.run("--version").returncode == 0 and h.run("help").returncode == 0
    for words, says in (
        (["relaod"], "did you mean 'reload'"),
        (["run", "--cofnig", "x"], "not understood"),
        (["top"], "not in this version"),
        ([], "weir run"),
    ):
        r = h.run(*words)
        assert r.returncode == 2 and says in r.stderr, (words, r)


def test_taken_ports_and_folders(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url))
    folder = os.path.join(h.tmp, "second")
    os.mkdir(folder)
    path = os.path.join(folder, "weir.lua")
    for listen, runtime, says in ((w.port, f"{folder}/run", str(w.port)), (h.port(), w.runtime, "another weir")):
        with open(path, "w") as f:
            f.write(f'listen "127.0.0.1:{listen}"\nadmin "127.0.0.1:{h.port()}"\nruntime "{runtime}"\n')
        r = h.run("run", "--config", path)
        assert r.returncode == 2 and says in r.stderr, r
    assert w.chat().status == 200
    mode = stat.S_IMODE(os.stat(os.path.join(w.runtime, "control.sock")).st_mode)
    assert mode == 0o600, oct(mode)


def test_starts_quickly(h):
    u = h.upstream()
    times = []
    for _ in range(5):
        w = h.weir(chat_provider("p", u.url), start=False)
        begun = time.monotonic()
        until(lambda: listening(w.port), 5, "weir listens", 0.001)
        times.append(time.monotonic() - begun)
        w.ready()
    assert min(times) < 0.1 * h.slow, times


def test_curl(h):
    """What README shows: curl, whole and streamed, over TCP and a unix socket."""
    if not shutil.which("curl"):
        raise Skip("curl is not installed")
    u = h.upstream()
    path = os.path.join(h.tmp, "w.sock")
    w = h.weir(chat_provider("p", u.url) + f'listen "unix:{path}"\n')

    def curl(*arguments):
        r = subprocess.run(["curl", "-sS", "--max-time", "10", *arguments], capture_output=True, text=True, timeout=20)
        assert r.returncode == 0, r.stderr
        return r.stdout

    url, data = f"http://127.0.0.1:{w.port}/v1/chat/completions", ["-H", "content-type: application/json", "-d", chat_body().decode()]
    assert '"Hello."' in curl(url, *data)
    assert curl("-N", url, "-d", chat_body(stream=True).decode()).endswith("data: [DONE]\n\n")
    assert '"Hello."' in curl("--unix-socket", path, "http://weir/v1/chat/completions", *data)
    assert "x-weir-target: p/mock" in curl("-i", url, *data)
    assert curl("--http1.0", url, *data) and curl("-T", w.file, f"http://127.0.0.1:{w.port}/v1/files/x", "-H", "expect: 100-continue")
