"""The official SDKs, in a venv and a node_modules of their own below the build folder (or $WEIR_SDK); fetched from the registries once."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from harness import Skip

HERE = os.path.dirname(os.path.abspath(__file__))


def fetched(build, name, packages, make):
    """Makes build/sdk/NAME once, and again when other packages are wanted. A failure counts for ten minutes, so that a run without a
    network asks once, not for each test. The time it takes is not the test's."""
    left = signal.alarm(0)
    try:
        return fetch(build, name, packages, make)
    finally:
        signal.alarm(left)


def fetch(build, name, packages, make):
    base = os.environ.get("WEIR_SDK") or os.path.join(build, "sdk")
    folder, failed = os.path.join(base, name), os.path.join(base, f"{name}.failed")
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, f"{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete, wanted = os.path.join(folder, "complete"), " ".join(packages)
        if os.path.exists(complete) and open(complete).read() == wanted:
            return folder
        if os.path.exists(failed) and time.time() - os.path.getmtime(failed) < 600:
            with open(failed) as f:
                raise Skip(f.read())
        shutil.rmtree(folder, ignore_errors=True)
        for command in make(folder):
            why = refused(command)
            if why:
                shutil.rmtree(folder, ignore_errors=True)
                with open(failed, "w") as f:
                    f.write(f"the {name} SDKs could not be fetched ({why})")
                raise Skip(f"the {name} SDKs could not be fetched ({why})")
        with open(complete, "w") as f:
            f.write(wanted)
    return folder


def refused(command):
    try:
        r = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return f"{os.path.basename(command[0])} took too long"
    return (r.stderr or r.stdout or "no word").strip().splitlines()[-1][:160] if r.returncode else ""


def python(build):
    def make(folder):
        yield [sys.executable, "-m", "venv", folder]
        yield [os.path.join(folder, "bin", "pip"), "install", "--quiet", "--timeout", "15", "--retries", "1", *packages]

    packages = ["openai", "anthropic", "google-genai"]
    return os.path.join(fetched(build, "python", packages, make), "bin", "python")


def node(build):
    if not shutil.which("npm") or not shutil.which("node"):
        raise Skip("node and npm are not installed")

    def make(folder):
        os.makedirs(folder)
        yield ["npm", "install", "--loglevel=error", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", folder, *packages]

    packages = ["openai", "@anthropic-ai/sdk"]
    return fetched(build, "node", packages, make)


class Caller:
    """A process of one language for all tests of a module: loading the SDKs takes longer than most calls. A line of JSON goes in with
    calls, which are made all at once, and one comes out with their results, in order. It ends with its standard input."""

    def __init__(self, h, language):
        if language == "python":
            command, env = [python(h.build), os.path.join(HERE, "sdk_calls.py")], {}
        else:
            command, env = ["node", os.path.join(HERE, "sdk_calls.mjs")], {"WEIR_NODE_MODULES": os.path.join(node(h.build), "node_modules")}
        self.err = tempfile.TemporaryFile()
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err, env=dict(h.env, **env))

    def ask(self, calls, seconds):
        late = threading.Timer(seconds, self.p.kill)
        late.start()
        try:
            self.p.stdin.write(json.dumps(calls).encode() + b"\n")
            self.p.stdin.flush()
            return self.p.stdout.readline()
        except BrokenPipeError:
            return b""
        finally:
            late.cancel()

    def end(self):
        self.p.kill()
        code = self.p.wait()
        self.err.seek(0)
        return f"{code}: {self.err.read().decode(errors='replace')[-800:]}"


CALLERS = {}


def call(h, language, calls):
    """Makes the calls; gives their results in order."""
    if language not in CALLERS:
        CALLERS[language] = Caller(h, language)
    answer = b""
    try:
        answer = CALLERS[language].ask(calls, 50 * h.slow)
    finally:
        if not answer:  # it died, or took too long, or the test did: the next test gets another one
            how = CALLERS.pop(language).end()
    if not answer:
        raise AssertionError(f"the {language} calls ended with {how}")
    return json.loads(answer)
