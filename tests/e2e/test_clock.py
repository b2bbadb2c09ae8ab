"""The wall clock is set forward and back under a running weir: budgets are not refunded, and the ledger forgets nothing."""
import os
import shutil
import struct
import subprocess

from harness import Skip, chat_provider, until
from test_money import CALL, MODEL, Till, capped

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static volatile long long *by;
__attribute__((constructor)) static void begin(void) {
  int fd = open(getenv("CLOCK_FILE"), O_RDONLY);
  by = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
}
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int r = real(id, t);
  if (by && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += *by;
  return r;
}
"""
DAY = 86400


class Clock:
    def __init__(self, h):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise Skip("no C compiler for the library that sets the clock")
        if h.slow > 1:
            raise Skip("a sanitizer wants to be loaded first")
        self.file, library = os.path.join(h.tmp, "clock"), os.path.join(h.tmp, "clock.so")
        with open(library + ".c", "w") as f:
            f.write(SHIM)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, library + ".c", "-ldl"], check=True)
        self.by(0)
        self.env = {"LD_PRELOAD": library, "CLOCK_FILE": self.file}

    def by(self, seconds):
        with open(self.file, "r+b" if os.path.exists(self.file) else "wb") as f:
            f.write(struct.pack("q", int(seconds)).ljust(4096, b"\0"))


def test_budgets_do_not_come_back(h):
    clock, till = Clock(h), Till(h, 0)
    w = capped(h, f'per = "all", day = usd({3.1 * CALL:.6f})', chat_provider("a", till.url, MODEL), more="defaults { queue = 0.3 }\nlog { access = \"off\" }\n", env=clock.env)

    def spend():
        before = till.served
        while w.chat("a/x").status == 200:
            assert till.served - before < 20
        return till.served - before

    first = spend()
    assert 3 <= first <= 5, first  # the last ones with a shorter answer
    for seconds in (-3600, -2 * DAY, -40 * DAY):
        clock.by(seconds)
        assert spend() == 0, seconds
    clock.by(2 * DAY)  # another day
    assert 3 <= spend() <= 5
    clock.by(0)  # and back: its day is still the later one, which has nothing left
    assert spend() == 0


def test_the_ledger_forgets_nothing(h):
    clock, till = Clock(h), Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL) + "ledger { keep = days(7) }\n", env=clock.env)
    jumps = (0, 30 * DAY, 0, -30 * DAY, -DAY, 400 * DAY, 0)
    for i, seconds in enumerate(jumps):
        clock.by(seconds)
        for k in range(3):
            assert w.chat("a/x", headers=[("x-request-id", f"{i}-{k}")]).status == 200
        rows = w.rows(3 * (i + 1))
        if i >= 5:
            until(lambda: f"the clock was set {('forward', 'back')[i - 5]} by" in w.err, 5, "it is told")
    begun = {r["id"]: (r["seq"] >> 22) / 1000 for r in rows}
    for i, seconds in enumerate(jumps):
        off = begun[f"{i}-0"] - begun["0-0"] - seconds
        assert -5 < off < 60 * h.slow, (i, seconds, off)
    assert len({r["seq"] for r in rows}) == len(rows), "a sequence stands twice"
    assert len(w.ledger()) == 3 * len(jumps)
