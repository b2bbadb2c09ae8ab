"""What the documentation shows is what the program takes, and what the program has the documentation names."""
import glob
import json
import os
import re
import shutil
import subprocess

from harness import Skip, until
from test_bytes import both

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
WORD = r'\b{}\s*\(?\s*"([^"]+)"'


def pages():
    return [os.path.join(ROOT, "README.md")] + sorted(glob.glob(os.path.join(ROOT, "doc", "*.md")))


def text_of(name):
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


def blocks(path):
    """The Lua files that a page shows, as (line, name, text): the first line of each says which file it is."""
    with open(path) as f:
        text = f.read()
    for m in BLOCK.finditer(text):
        named = re.match(r"-- ((?:policies/)?[\w/]+(?:\.test)?\.lua)\b", m[2])
        if m[1] == "lua" and named:
            yield text.count("\n", 0, m.start()) + 2, named[1], m[2]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o640)


def surroundings(folder, text):
    """What a weir.lua takes for granted: variables, credentials, secret files, programs, certificates. Gives the environment."""
    env = {name: "value-of-" + name for name in re.findall(WORD.format("env"), text)}
    env["CREDENTIALS_DIRECTORY"] = os.path.join(folder, "credentials")
    env["WEIR_POLICIES"] = os.path.join(ROOT, "policies")
    for name in re.findall(WORD.format("credential"), text):
        write(os.path.join(folder, "credentials", name), "a-credential\n")
    for name in re.findall(WORD.format("file"), text):
        write(os.path.join(folder, name), "a-key\n")
    for name in re.findall(r'\bcommand\s*\{\s*"([^"]+)"', text):
        write(os.path.join(folder, "bin", name), "#!/bin/sh\necho a-key\n")
        os.chmod(os.path.join(folder, "bin", name), 0o755)
    for name in re.findall(r'\bprices\s*\{?\s*"([^"]+)"', text):
        write(os.path.join(folder, name), '{ "gpt-5": { "litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-05 } }\n')
    env["PATH"] = os.path.join(folder, "bin") + ":" + os.environ["PATH"]
    for name in re.findall(r'\bca\s*=\s*"([^"]+)"', text):
        roots = "/etc/ssl/certs/ca-certificates.crt"
        if not os.path.exists(roots):
            raise Skip("no certificates of the system (ca-certificates)")
        shutil.copy(roots, os.path.join(folder, name))
    return env


def laid_out(h, path=os.path.join(ROOT, "README.md")):
    """A folder with the policies that the page shows."""
    folder = os.path.join(h.tmp, h.called(os.path.basename(path)))
    os.makedirs(folder)
    for _, name, text in blocks(path):
        if name.startswith("policies/"):
            write(os.path.join(folder, name), text)
    return folder


def check(h, folder, text, *arguments):
    write(os.path.join(folder, "weir.lua"), text)
    env = surroundings(folder, text)
    return h.run("check", "--config", os.path.join(folder, "weir.lua"), *arguments, env=env)


def test_every_weir_lua_is_good(h):
    seen = 0
    for path in pages():
        for line, name, text in blocks(path):
            if name != "weir.lua":
                continue
            r = check(h, laid_out(h, path), text)
            assert r.returncode == 0, f"{os.path.basename(path)}:{line}: {r.stderr}"
            seen += 1
    assert seen >= 15, f"only {seen} configurations were found in the pages"


def test_policy_tests_pass(h):
    """Those that a page shows beside its policies; weir test says so itself when it finds none."""
    seen = 0
    for path in pages():
        if any(name.endswith(".test.lua") for _, name, _ in blocks(path)):
            folder = laid_out(h, path)
            r = h.run("test", os.path.join(folder, "policies"))
            passed = re.search(r"^(\d+) passed, 0 failed", r.stdout, re.M)
            assert r.returncode == 0 and passed and int(passed[1]) > 0, f"{os.path.basename(path)}: {r.stdout}{r.stderr}"
            seen += 1
    assert seen, "no page shows a policy test"


def test_mistakes_are_told_as_shown(h):
    """Each line of the form weir.lua:N: … that a page shows stands so in the program's words."""
    shown = {re.sub(r"^weir\.lua:\d+: ", "", line) for page in pages() for m in BLOCK.finditer(text_of(page))
             if not m[1] for line in m[2].splitlines() if line.startswith("weir.lua:")}
    assert shown
    r = check(h, laid_out(h), 'modle "x" { "y" }\ndefaults { connect = "3" }\nprovider "lab" { dialect = "chat", url = "http://127.0.0.1:1/v1", heders = {} }\n')
    said = {re.sub(r"^.*weir\.lua:\d+: ", "", line) for line in r.stderr.splitlines()}
    assert r.returncode == 1 and shown <= said, f"{shown - said} is not among {said}"


# ---- the other way round: what there is stands in the pages

def refused_words(h, text):
    """What weir names when it is given a word that it does not know and that is near to none."""
    r = check(h, laid_out(h), text)
    found = re.search(r"zzqqzzqq'; known: (.*)", r.stderr)
    assert found, f"no known words are listed: {r.stderr}"
    return re.findall(r"\w+", found[1])


def test_every_word_is_described(h):
    spans = " ".join(re.findall(r"`([^`\n]+)`", re.sub(BLOCK, "", text_of("doc/configuration.md"))))
    lab = 'dialect = "chat", url = "http://127.0.0.1:1/v1"'
    cases = {"": "zzqqzzqq(1)", "defaults": "defaults { zzqqzzqq = 1 }", "provider": f'provider "lab" {{ {lab}, zzqqzzqq = 1 }}',
             "endpoint": 'provider "lab" { dialect = "chat", endpoint { url = "http://127.0.0.1:1/v1", zzqqzzqq = 1 } }',
             "model": f'provider "lab" {{ {lab} }}\nmodel "m" {{ "lab/x", zzqqzzqq = 1 }}', "log": "log { zzqqzzqq = 1 }"}
    for where, text in cases.items():
        words = refused_words(h, text)
        assert words, where
        for word in words:
            assert re.search(rf"\b{word}\b", spans), f"{word} ({where or 'a word of weir.lua'}) is not in doc/configuration.md"


def test_defaults_are_the_programs(h):
    """The table of clocks against what --explain prints for a configuration that says nothing."""
    page = text_of("doc/configuration.md")
    r = check(h, laid_out(h), 'provider "lab" { dialect = "chat", url = "http://127.0.0.1:1/v1" }\n', "--explain", "lab/x")
    clocks = re.findall(r"(\w+) ([\d.]+)", re.search(r"clocks:(.*)", r.stdout)[1])
    assert len(clocks) >= 7, r.stdout
    for word, value in clocks:
        assert re.search(rf"^\| `{word}` \| {value} s \|", page, re.M), f"{word} is {value} s"


def test_the_catalogue_is_the_programs(h):
    """Each row of the table resolves as it says; each with the address and the dialect of the program."""
    rows = re.findall(r"^\| `(\w+)` \| `(http[^`]+)` \| (\w+) \| (?:`(\w+)`|none) \|", text_of("doc/configuration.md"), re.M)
    assert len(rows) >= 17
    for name, url, dialect, variable in rows:
        r = check(h, laid_out(h), f'provider "{name}" {{ {"key = env " + json.dumps(variable) if variable else ""} }}\nlisten "127.0.0.1:1"\n', "--explain", f"{name}/x")
        assert r.returncode == 0 and f"{url}  " in r.stdout and f"({dialect})" in r.stdout, f"{name}: {r.stdout}{r.stderr}"


def test_metrics_and_log_fields_are_described(h):
    page = text_of("doc/operations.md")
    w, m = both(h)
    w.chat("mock")
    w.chat("mock-503")
    w.chat(stream=True)
    until(lambda: "weir_memory_bytes" in w.metrics(), 5, "the first beat")
    for family in sorted(set(re.findall(r"^# TYPE (weir_\w+)", w.metrics(), re.M))):
        assert f"`{family}" in page, f"{family} is not in doc/operations.md"
    fields = {k for r in w.records() for k in r}
    assert len(fields) > 10
    for field in sorted(fields):
        assert re.search(rf"^\|[^|]*`{field}`", page, re.M), f"{field} of the access log is not in doc/operations.md"


def test_faults_are_described(h):
    page = text_of("doc/operations.md")
    for word in refused_words(h, 'provider "lab" { dialect = "chat", url = "http://127.0.0.1:1/v1" }\nmodel "m" { "lab/x", next_on = { "zzqqzzqq" } }'):
        assert re.search(rf"^\| `{word}`", page, re.M), f"the fault {word} has no row in doc/operations.md"


def test_the_helps_commands_are_described(h):
    """Every command of weir help stands in some page, and every `weir …` of the pages that is said to be there exists."""
    text = "".join(text_of(p) for p in pages())
    r = h.run("help")
    known = re.findall(r"^  weir (\w+) ", r.stdout, re.M)
    assert known
    for command in known:
        assert f"weir {command}" in text, f"weir {command} is in no page"
    for m in re.finditer(r"^build/weir (\w+)", text, re.M):
        assert m[1] in known, f"a page shows build/weir {m[1]}"


def test_links_lead_somewhere(h):
    for path in pages() + [os.path.join(ROOT, "CHANGELOG.md")]:
        text = open(path).read()
        for m in re.finditer(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", re.sub(BLOCK, "", text)):
            if m[1].startswith("http"):
                continue
            to = os.path.join(os.path.dirname(path), m[1]) if m[1] else path
            assert os.path.exists(to), f"{os.path.basename(path)}: {m[1]} is not there"
            heads = [re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in open(to).read().splitlines() if line.startswith("#")]
            assert not m[2] or m[2][1:] in heads, f"{os.path.basename(path)}: {m[1]}{m[2]} is not there"


def test_no_page_shows_a_program_that_is_missing(h):
    """`make X` of the pages are targets of the Makefile."""
    targets = re.findall(r"^([\w-]+):", text_of("Makefile"), re.M)
    for path in pages():
        for name in re.findall(r"^make ([a-z][\w-]*)\b(?!=)", open(path).read(), re.M):
            assert name in targets, f"{os.path.basename(path)}: make {name}"
    assert subprocess.run(["test", "-x", os.path.join(ROOT, ".ci", "run")]).returncode == 0


def test_the_map_is_the_territory(h):
    """doc/architecture.md names every folder, every state of an exchange, and only files that are there."""
    page = text_of("doc/architecture.md")
    for folder in sorted(os.listdir(os.path.join(ROOT, "src"))):
        if glob.glob(os.path.join(ROOT, "src", folder, "*.c")):
            assert f"`src/{folder}`" in page, f"src/{folder} has no row"
    states = re.search(r"enum exchange_state \{(.*?)\n\};", text_of("src/gateway/exchange.h"), re.S)[1]
    for state in re.findall(r"\bX_[A-Z_]+", states):
        assert re.search(rf"^\| `{state}` \|", page, re.M), f"{state} has no row"
    for state in re.findall(r"\bX_[A-Z_]+", page):
        assert state in states, f"{state} is no state"
    have = {os.path.relpath(p, ROOT) for base in ("src", "include", "doc", "fuzz") for p in glob.glob(os.path.join(ROOT, base, "**", "*.*"), recursive=True)}
    for name in re.findall(r"(?<![\w*…])((?:[\w]+/)*\w+\.[ch])\b(?!\w)", page):
        assert any(("/" + p).endswith("/" + name) for p in have), f"{name} is not there"


# ---- what is said not to be there is refused with these words, and what is said to be there is there

def rows():
    """README's table: row -> (there, not yet)."""
    table = text_of("README.md").split("## What is there")[1].split("\n## ")[0]
    return {r[0]: r[1:] for r in (re.split(r" *\| *", line.strip("| ")) for line in table.splitlines() if line.startswith("| ")) if len(r) == 3}


def later(text):
    return "not in this version" in text


def weir_words(cell):
    """`weir.ask`, `kv`: words of weir in a cell, the first with its prefix."""
    return re.findall(r"`weir\.(\w+)`|(?<=, )`(\w+)`", cell)


def test_helpers_are_there_or_refused(h):
    there, missing = rows()["Policies"]
    words = {a or b: False for a, b in weir_words(there)} | {a or b: True for a, b in weir_words(missing.split(";")[0])}
    words |= {a or b: True for a, b in weir_words(rows()["Between dialects"][1]) if a}
    assert any(words.values()) and sum(not v for v in words.values()) >= 6, words
    for word, is_later in words.items():
        folder = laid_out(h)
        write(os.path.join(folder, "policies", "probe.lua"), f"local probe = weir.{word}\nreturn {{ on_error = 'pass' }}\n")
        r = check(h, folder, 'provider "lab" { dialect = "chat", url = "http://127.0.0.1:1/v1" }\nuse "probe"\n')
        assert (r.returncode != 0 and later(r.stderr)) == is_later, f"weir.{word}: {r.stderr or 'it is there'}"


def test_commands_are_refused(h):
    there, missing = rows()["Commands"]
    names = re.findall(r"`([\w ]+)`", missing)[0].split()
    assert names
    for name in names:
        assert later(h.run(name).stderr), f"weir {name} is not refused"
    for flag in re.findall(r"`check (--\w+)`", missing):
        assert later(h.run("check", flag).stderr), f"weir check {flag} is not refused"
    assert set(re.findall(r"`([\w ]+)`", there)[0].split()) == set(re.findall(r"^  weir (\w+) ", h.run("help").stdout, re.M))


def test_words_are_refused(h):
    """The paragraph of doc/configuration.md that says what is not in this version."""
    said = re.search(r"^Not in this version: (.*?)\n\n", text_of("doc/configuration.md"), re.M | re.S)[1]
    lab = 'dialect = "chat", url = "http://127.0.0.1:1/v1"'
    dialects, names = said.split("; ")
    lines = [f'provider "lab" {{ {lab} }}']
    lines += [f'provider "d{i}" {{ dialect = "{w}", url = "http://127.0.0.1:1/v1" }}' for i, w in enumerate(re.findall(r"`(\w+)`", dialects))]
    lines += [f'provider "{w}" {{}}' for w in re.findall(r"`(\w+)`", names)]
    assert len(lines) >= 2, said
    r = check(h, laid_out(h), "\n".join(lines) + "\n")
    for n, line in enumerate(lines, 1):
        refused = any(f"weir.lua:{n}:" in x and later(x) for x in r.stderr.splitlines())
        assert refused == (line != f'provider "lab" {{ {lab} }}'), f"{line}: {r.stderr}"


def test_default_words_with_one_value(h):
    """Of words such as whole = "buffer" | "assemble" the table says which value is not there."""
    said = re.findall(r'^\| `(\w+)` \| `"(\w+)"` \| `"(\w+)"` is not in this version', text_of("doc/configuration.md"), re.M)
    assert said
    for word, usual, other in said:
        assert check(h, laid_out(h), f'defaults {{ {word} = "{usual}" }}\n').returncode == 0, word
        assert later(check(h, laid_out(h), f'defaults {{ {word} = "{other}" }}\n').stderr), word
