#!/usr/bin/env python3
"""Taste that can be checked: which folder may include which, allocation and assertion through one door, dead files, long lines,
long functions, words that do not belong in the project. Prints each offence; the last line sums up."""
import os, re, subprocess, sys

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True).stdout.split()
FILES = [f for f in FILES if os.path.isfile(f)]

# Headers of include/weir and the folder they belong to; a folder may include those named for it and those below (doc/architecture.md).
HOME = {
    "base": "span mem table match wheel log secret step sha256 money",
    "cells": "cells zone", "wire": "http json sse frame url peer", "lua": "vm", "dialect": "dialect measure translate view", "price": "price", "auth": "keys sigv4", "conf": "conf", "route": "models route estimate", "io": "io", "tls": "tls",
    "store": "ledger record", "watch": "metrics", "policy": "policy tape",
}
MAY = {
    "base": [], "cells": ["base"], "wire": ["base"], "lua": ["base"], "dialect": ["base", "wire"],
    "price": ["base", "wire", "dialect"],
    "auth": ["base", "wire"], "conf": ["base", "wire", "lua", "dialect", "price", "auth"],
    "route": ["base", "wire", "dialect", "price", "conf"], "io": ["base"], "tls": ["base"], "watch": ["base", "wire", "dialect"],
    "store": ["base", "cells", "wire", "dialect", "price"],
    "policy": ["base", "cells", "wire", "lua", "dialect", "price", "conf", "route"],
    "gateway": ["base", "cells", "wire", "lua", "dialect", "price", "auth", "conf", "route", "io", "tls", "store", "watch", "policy"],
    "mock": ["base", "wire", "io"],
}
MAY["cmd"] = MAY["gateway"] + ["gateway"]
SYSTEM = {"liburing.h": ["io"], "bearssl.h": ["tls", "mock"], "lua.h": ["lua", "conf", "policy", "cmd"], "ares.h": ["io", "cmd"], "sqlite3.h": ["store"], "zlib.h": ["gateway"]}
OWNER = {h: folder for folder, hs in HOME.items() for h in hs.split()}
ABI = re.compile(r"(?<![>.\w])(malloc|calloc|realloc|free|assert|strdup)\s*\(")
BANNED = re.compile(r"(^|[^A-Za-z0-9_.])/(work|root|farm)/|\bTODO\b|\bFIXME\b|\bXXX\b|\bHACK\b")
offences, checks = [], 0


def offend(file, line, what):
    offences.append(f"{file}:{line}: {what}")


def include_rules(file, folder, lines):
    for n, line in enumerate(lines, 1):
        m = re.match(r'#include [<"]([^>"]+)[>"]', line)
        if not m:
            continue
        name = m.group(1)
        if name.startswith("weir/"):
            owner = OWNER.get(name[5:-2])
            if owner is None:
                offend(file, n, f"{name} has no home in tests/tidy.py")
            elif owner != folder and owner not in MAY[folder]:
                offend(file, n, f"src/{folder} may not include {name} (src/{owner})")
        elif "/" in name and '"' in line:
            m = re.match(r"\.\./(\w+)/", name)
            if m and m.group(1) not in MAY[folder]:
                offend(file, n, f"src/{folder} reaches into {name}")
        elif name in SYSTEM and folder not in SYSTEM[name]:
            offend(file, n, f"src/{folder} may not include {name}")


def without_text(line):
    return re.sub(r'"(\\.|[^"\\])*"', '""', re.sub(r"/\*.*?\*/|//.*", "", line))


def c_rules(file, lines):
    start = None
    for n, line in enumerate(lines, 1):
        if len(line) > 200:
            offend(file, n, f"{len(line)} columns")
        if line.rstrip() != line:
            offend(file, n, "space at the end of the line")
        if "\t" in line:
            offend(file, n, "tab")
        if file not in ("src/base/mem.c",) and ABI.search(without_text(line)) and not line.lstrip().startswith(("*", "/*")):
            offend(file, n, "use weir/mem.h and check()/require(): " + line.strip()[:60])
        if re.match(r"^[A-Za-z_].*\)\s*\{$", line):
            start = n
        if line == "}" and start:
            if n - start > 90:
                offend(file, start, f"a function of {n - start} lines")
            start = None


def dead_files():
    text = "\n".join(open(f, errors="replace").read() for f in FILES if f.endswith((".c", ".h")))
    for f in FILES:
        if f.endswith(".h") and text.count("/" + os.path.basename(f) + '"') + text.count('"' + os.path.basename(f) + '"') == 0:
            offend(f, 1, "nobody includes this header")


for f in FILES:
    if f.startswith(("fuzz/corpus/", "fuzz/regression/")) or f.endswith((".png",)):
        continue
    checks += 1
    lines = open(f, errors="replace").read().split("\n")
    for n, line in enumerate(lines, 1):
        if BANNED.search(line) and f != "tests/tidy.py":
            offend(f, n, "a word that does not belong here: " + line.strip()[:60])
    m = re.match(r"src/(\w+)/[^/]+\.[ch]$", f)
    if m:
        include_rules(f, m.group(1), lines)
    if f.startswith(("src/", "include/")):
        c_rules(f, lines)
        if len(lines) > 750:
            offend(f, 1, f"{len(lines)} lines: is it still one room?")
dead_files()
print("\n".join(offences))
print(f"tidy: {checks - len(set(o.split(':')[0] for o in offences))} passed, {len(set(o.split(':')[0] for o in offences))} failed")
sys.exit(bool(offences))
