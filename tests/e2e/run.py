#!/usr/bin/env python3
"""Meets weir as its users do: runs the test_* functions of tests/e2e/test_*.py against a built weir and weir-mock.

    tests/e2e/run.py [--build build] [--only PATTERN,…] [--leave PATTERN,…] [--jobs 3] [--verbose]

Each module runs in a process of its own, three at a time, since they mostly wait; each test starts the weirs it needs and they are ended with
it. The last line is "N passed, N failed, N skipped"; the exit code is 0 only when none failed. See doc/testing.md."""

import argparse
import fnmatch
import glob
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TEST_LIMIT, MODULE_LIMIT = 60, 420  # seconds; a sanitizer build has three times as long

AGAIN_MOST = 8  # failed tests that are run once more
FOUND = re.compile(r"==\d+==ERROR|runtime error:|check failed|cannot go on|Sanitizer")


def matches(module, name, pattern):
    text = f"{module}.{name}"
    return pattern in text or fnmatch.fnmatch(text, pattern) or fnmatch.fnmatch(name, pattern)


def wanted(module, name, args):
    left = any(matches(module, name, p) for p in args.leave.split(",") if p)
    return not left and (not args.only or any(matches(module, name, p) for p in args.only.split(",") if p))


# ---- one module, in a process of its own


class OutOfTime(BaseException):
    pass


def place(error):
    """The innermost line of the test file itself, which is where a reader wants to look first."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if os.path.basename(f.filename).startswith("test_")]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""


def run_test(harness, function, build, slot):
    h = harness.Harness(build, slot, function.__name__)
    result, why = "passed", ""

    def too_long(number, frame):
        raise OutOfTime(f"took longer than {limit} s, at {frame.f_code.co_name} line {frame.f_lineno}")

    limit = getattr(function, "limit", function.__globals__.get("LIMIT", TEST_LIMIT)) * h.slow
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(limit))
    try:
        function(h)
    except harness.Skip as e:
        result, why = "skipped", str(e)
    except (Exception, OutOfTime) as e:
        result, why = "failed", place(e) + (str(e) or type(e).__name__)
        if not isinstance(e, AssertionError):
            why += f" ({type(e).__name__})"
    signal.alarm(0)
    try:
        after = h.end()  # what the processes have to say about it, whatever the test saw
    except Exception as e:
        after = f"the test could not be ended: {e}"
    if after and result != "failed":
        result, why = "failed", after
    elif after:
        why += f"; and {after}"
    return result, why


def run_module(args):
    results, sys.stdout = sys.stdout, sys.stderr  # what a test prints is no result
    sys.path.insert(0, HERE)
    harness = importlib.import_module("harness")
    module = importlib.import_module(args.module)
    for name, function in list(vars(module).items()):
        if not name.startswith("test_") or not callable(function) or not wanted(args.module, name, args):
            continue
        begun = time.monotonic()
        result, why = run_test(harness, function, args.build, args.slot)
        line = {"name": f"{args.module[5:]}.{name[5:]}", "result": result, "why": why, "seconds": time.monotonic() - begun}
        print(json.dumps(line), file=results, flush=True)
    return 0


# ---- all of them


class Suite:
    def __init__(self, args):
        self.args, self.lock = args, threading.Lock()
        self.count = {"passed": 0, "failed": 0, "skipped": 0}
        self.failed = {}
        self.reasons, self.seconds = {}, {}

    def note(self, line):
        with self.lock:
            self.count[line["result"]] += 1
            module = line["name"].split(".")[0]
            self.seconds[module] = self.seconds.get(module, 0) + line["seconds"]
            text = f"{line['name']}: {line['why']}".replace("\n", " ")
            if line["result"] == "failed":
                self.failed[line["name"]] = text
                print(f"FAILED {text[:1500]}", flush=True)
            elif line["result"] == "skipped":
                self.reasons.setdefault(line["why"], []).append(line["name"])
            if self.args.verbose:
                print(f"{line['result']:8}{line['seconds']:7.2f} s  {line['name']}", flush=True)

    def module(self, name, slot, only=None):
        command = [sys.executable, os.path.abspath(__file__), "--module", name, "--slot", str(slot), "--build", self.args.build]
        if only or self.args.only:
            command += ["--only", only or self.args.only]
        if self.args.leave:
            command += ["--leave", self.args.leave]
        limit = MODULE_LIMIT * (3 if self.args.sanitized else 1)
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        watch = threading.Timer(limit, lambda: os.killpg(p.pid, signal.SIGKILL))
        watch.start()
        err = []
        reader = threading.Thread(target=lambda: err.extend(p.stderr.readlines()))
        reader.start()
        for line in p.stdout:
            self.note(json.loads(line))
        code = p.wait()
        watch.cancel()
        reader.join(5)
        try:
            os.killpg(p.pid, signal.SIGKILL)  # whatever the module has left behind
        except ProcessLookupError:
            pass
        if code:
            self.note({"name": name[5:], "result": "failed", "seconds": 0, "why": f"the module ended with {code}: " + "".join(err)[-800:]})

    def once_more(self):
        """A few tests that failed run again, alone: on a busy machine a clock may have run out. What a sanitizer or a check of
        weir's own has found stands."""
        again = [name for name, text in self.failed.items() if not FOUND.search(text)]
        if len(self.failed) > AGAIN_MOST:
            return
        for name in again:
            module, test = name.split(".")[0], name.split(".")[-1]
            if module == test:
                continue  # the module itself has ended
            self.count["failed"] -= 1
            before = dict(self.count)
            self.module("test_" + module, 0, f"test_{module}.test_{test}")
            good = self.count["failed"] == before["failed"]
            self.count = {**before, "passed": before["passed"] + good, "failed": before["failed"] + (not good)}
            print(f"once more, alone: {name} {'passed' if good else 'failed again'}", flush=True)

    def run(self, modules):
        todo, lock = list(modules), threading.Lock()

        def worker(slot):
            while True:
                with lock:
                    if not todo:
                        return
                    name = todo.pop(0)
                self.module(name, slot)

        threads = [threading.Thread(target=worker, args=(i,)) for i in range(self.args.jobs)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.once_more()
        for why, names in self.reasons.items():
            print(f"skipped, {why}: {', '.join(names)}")
        slowest = sorted(self.seconds.items(), key=lambda m: -m[1])[:8]
        print("longest: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in slowest))
        print(f"{self.count['passed']} passed, {self.count['failed']} failed, {self.count['skipped']} skipped")
        return 1 if self.count["failed"] or not self.count["passed"] else 0


def names_in(path):
    with open(path) as f:
        return [line[4 : line.index("(")] for line in f if line.startswith("def test_")]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default="build", help="the folder of weir and weir-mock (default: build)")
    p.add_argument("--only", help="parts of, or patterns for, test_module.test_name, with commas between them")
    p.add_argument("--leave", default="", help="patterns of tests that are not run, with commas between them")
    p.add_argument("--jobs", type=int, default=3, choices=range(1, 5))
    p.add_argument("--verbose", action="store_true", help="a line for every test, with its time")
    p.add_argument("--module", help=argparse.SUPPRESS)
    p.add_argument("--slot", type=int, default=0, help=argparse.SUPPRESS)
    args = p.parse_args()
    args.build = os.path.abspath(args.build)
    if args.module:
        return run_module(args)
    for name in ("weir", "weir-mock"):
        if not os.access(os.path.join(args.build, name), os.X_OK):
            print(f"{args.build} holds no {name}: build it first (make), or name its folder with --build", file=sys.stderr)
            return 2
    with open(os.path.join(args.build, "weir"), "rb") as f:
        text = f.read()
        args.sanitized = b"__asan_init" in text or b"__tsan_init" in text
    modules = []
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py")), key=lambda x: -os.path.getsize(x)):
        module = os.path.basename(path)[:-3]
        if any(wanted(module, n, args) for n in names_in(path)):
            modules.append(module)
    begun = time.monotonic()
    suite = Suite(args)
    code = suite.run(modules)
    if args.verbose:
        print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
