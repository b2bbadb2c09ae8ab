"""A provider refuses a key that a file or a program gave: it is read again, once, and the same target is asked again."""

import os
import threading
import time

import wire
from harness import SECRET, chat_body
from upstream import usual

OLD, NEW, NEWER = "sk-renew-old-0123456789", "sk-renew-new-0123456789", "sk-renew-newer-0123456789"


class Provider:
    """Knows one key at a time."""

    def __init__(self, h):
        self.good = OLD
        self.u = h.upstream(self.answer)

    def answer(self, r, peer):
        if r.header("authorization") == f"Bearer {self.good}":
            return usual(r, peer)
        peer.answer(b'{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}', 401)
        return True

    def asked(self):
        keys = {f"Bearer {OLD}": "old", f"Bearer {NEW}": "new", f"Bearer {NEWER}": "newer"}
        seen = [keys[r.header("authorization")] for r in self.u.requests]
        self.u.requests.clear()
        return seen


def write(path, key):
    """As a rotation does: another file in its place."""
    with open(path + ".new", "w") as f:
        f.write(key + "\n")
    os.chmod(path + ".new", 0o600)
    os.rename(path + ".new", path)


def provider(p, key, more=""):
    return f'provider "p" {{ dialect = "chat", url = "{p.u.url}", key = {key}, {more} }}\n'


def clean(w):
    said = w.err + w.out + w.metrics() + (w.text(w.access_path) if os.path.exists(w.access_path) else "")
    assert not any(k in said for k in (OLD, NEW, NEWER)), "a key stands in what weir says"


def test_a_file(h):
    p, path = Provider(h), os.path.join(h.tmp, "provider.key")
    write(path, OLD)
    w = h.weir(provider(p, f'file "{path}"'))
    assert w.chat().text() == "Hello." and p.asked() == ["old"]
    p.good = NEW
    write(path, NEW)
    for stream in (True, False):
        a = w.chat(stream=stream)
        assert a.status == 200 and a.text() == "Hello." and a.header("x-weir-attempts") == ("2" if stream else "1"), a
    assert p.asked() == ["old", "new", "new"]
    assert "read again and is another one" in w.err and w.metric("weir_attempts_total", target="p/mock", fault="auth") == 1
    p.good = NEWER
    write(path, NEWER)  # within the minute: as any refusal
    a = w.chat()
    assert a.status == 502 and a.weir["fault"] == "auth" and [t["fault"] for t in a.weir["tried"]] == ["auth"], a
    assert p.asked() == ["new"]
    assert w.reload()[0] == 0 and w.chat().status == 200 and p.asked() == ["newer"]  # a reload always does
    clean(w)


def test_a_program_is_run_once_for_all(h):
    """Many requests meet the old key at the same time; all wait for the one reading, and other requests for nobody."""
    p, path, runs = Provider(h), os.path.join(h.tmp, "key"), os.path.join(h.tmp, "runs")
    write(path, OLD)
    script = os.path.join(h.tmp, "tool")
    with open(script, "w") as f:
        f.write(f"#!/bin/sh\necho run >> {runs}\n[ -e {path}.slow ] && sleep 0.5\ncat {path}\n")
    os.chmod(script, 0o700)
    other = h.upstream()
    w = h.weir(provider(p, f'command {{ "{script}" }}') + f'provider "other" {{ dialect = "chat", url = "{other.url}" }}\n')
    write(path, NEW)
    open(path + ".slow", "w").close()
    p.good = NEW
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(w.chat("p/mock"))) for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(0.2)
    begun = time.monotonic()
    assert w.chat("other/x").status == 200 and time.monotonic() - begun < 0.4 * h.slow  # no worker stands still meanwhile
    for t in threads:
        t.join()
    assert len(answers) == 8 and all(a.status == 200 for a in answers), answers
    with open(runs) as f:
        assert len(f.readlines()) == 2  # at the start, and now
    seen = p.asked()
    assert seen.count("new") == 8 and seen.count("old") <= 8, seen
    clean(w)


def test_what_does_not_help(h):
    """The same key, one that cannot be read, one of the environment: the chain goes on, and nothing is asked a third time."""
    p, path, good = Provider(h), os.path.join(h.tmp, "provider.key"), h.upstream()
    chain = f'provider "good" {{ dialect = "chat", url = "{good.url}" }}\nmodel "chain" {{ "p/x", "good/y" }}\n'
    write(path, OLD)
    w = h.weir(provider(p, f'file "{path}"') + chain)
    p.good = NEW
    assert w.chat("chain").text() == "Hello." and p.asked() == ["old", "old"] and "and is the same" in w.err
    os.remove(path)
    w = h.weir(provider(p, 'env "KEY"') + chain, env={"KEY": OLD})
    assert w.chat("chain").text() == "Hello." and p.asked() == ["old"] and "read again" not in w.err
    write(path, OLD)
    w = h.weir(provider(p, f'file "{path}"') + chain)
    os.remove(path)
    assert w.chat("chain").text() == "Hello." and "cannot be read again" in w.err
    clean(w)
    assert SECRET not in w.err


def test_the_client_leaves_meanwhile(h):
    p, path = Provider(h), os.path.join(h.tmp, "key")
    write(path, OLD)
    script = os.path.join(h.tmp, "tool")
    with open(script, "w") as f:
        f.write(f"#!/bin/sh\n[ -e {path}.slow ] && sleep 0.4\ncat {path}\n")
    os.chmod(script, 0o700)
    w = h.weir(provider(p, f'command {{ "{script}" }}'))
    write(path, NEW)
    open(path + ".slow", "w").close()
    p.good = NEW
    c = wire.raw(w.port, wire.request("POST", "/v1/chat/completions", chat_body()))
    time.sleep(0.15)
    c.close()
    assert w.reload()[0] == 0  # the old configuration is let go while its key is read
    assert w.chat().status == 200 and p.asked() == ["old", "new"]
    clean(w)
