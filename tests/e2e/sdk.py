"""The official SDKs, in a venv and a node_modules of their own below the build folder; fetched from the registries once."""

import fcntl
import json
import os
import shutil
import subprocess
import sys

from harness import Skip

HERE = os.path.dirname(os.path.abspath(__file__))


def fetched(build, name, make):
    """Makes build/sdk/NAME once; a failure is remembered for this run's other tests by its text."""
    base = os.path.join(build, "sdk")
    folder = os.path.join(base, name)
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, f"{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = os.path.join(folder, "complete")
        if not os.path.exists(done):
            shutil.rmtree(folder, ignore_errors=True)
            for command in make(folder):
                r = subprocess.run(command, capture_output=True, text=True, timeout=240)
                if r.returncode:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise Skip(f"the {name} SDKs could not be fetched ({(r.stderr or r.stdout).strip().splitlines()[-1][:160]})")
            open(done, "w").close()
    return folder


def python(build):
    def make(folder):
        yield [sys.executable, "-m", "venv", folder]
        yield [os.path.join(folder, "bin", "pip"), "install", "--quiet", "openai", "anthropic"]

    return os.path.join(fetched(build, "python", make), "bin", "python")


def node(build):
    if not shutil.which("npm") or not shutil.which("node"):
        raise Skip("node and npm are not installed")

    def make(folder):
        os.makedirs(folder)
        yield ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "openai"]

    return fetched(build, "node", make)


def call(h, language, calls):
    """Runs the calls, all at once, in one process of that language; gives their results in order."""
    if language == "python":
        command, env = [python(h.build), os.path.join(HERE, "sdk_calls.py")], {}
    else:
        command, env = ["node", os.path.join(HERE, "sdk_calls.mjs")], {"WEIR_NODE_MODULES": os.path.join(node(h.build), "node_modules")}
    r = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, timeout=50 * h.slow, env=dict(h.env, **env))
    if r.returncode:
        raise AssertionError(f"the {language} calls ended with {r.returncode}: {r.stderr[-800:]}")
    return json.loads(r.stdout)
