"""A reload is never felt: running streams end as they began, the next request sees the new files, a broken file changes nothing."""

import os
import signal
import threading
import time

from harness import chat_body, chat_provider, until
import wire

POLICY = 'local p = {}\nfunction p.on_request(req) req:note("version", "%s") end\n%sreturn p\n'
CHUNKS = "function p.on_chunk(req, chunk) if chunk.text then return weir.replace((chunk.text:upper())) end end\n"


def noted(h, mock=""):
    m = h.mock()
    return h.weir(chat_provider("p", m.url) + 'use "rule"\n' + mock, policies={"rule": POLICY % ("1", "")}), m


def version(w):
    return w.record(w.chat().header("x-request-id"))["notes"]["version"]


def test_fifty_reloads_under_streams(h):
    """Twenty streams of two seconds at a time, with and without on_chunk in the generation they began in; fifty reloads meanwhile."""
    w, m = noted(h)
    plain = wire.post(m.port, "/v1/chat/completions", chat_body(stream=True), [("x-mock", "events=40")])
    upper = plain.text().upper()
    wrong, done, stop = [], [], threading.Event()

    def streams(n):
        while not stop.is_set():
            a = w.chat(stream=True, headers=[("x-mock", "events=40;gap=50")])
            good = a.whole and (a.body == plain.body or (a.text() == upper and a.body.endswith(b"data: [DONE]\n\n")))
            (done if good else wrong).append(str(a)[:600])

    def requests():
        while not stop.is_set():
            a = w.chat()
            (done if a.status == 200 and a.whole else wrong).append(str(a)[:600])
            time.sleep(0.002)

    threads = [threading.Thread(target=streams, args=(i,)) for i in range(20)] + [threading.Thread(target=requests) for _ in range(2)]
    for t in threads:
        t.start()
    for i in range(50):
        w.policy("rule", POLICY % (i, CHUNKS if i % 2 else ""))
        code, text = w.reload()
        assert code == 0 and "is live" in text, text
        assert version(w) == str(i), f"after reload {i}"
        time.sleep(0.03)
    stop.set()
    for t in threads:
        t.join()
    assert not wrong, f"{len(wrong)} of {len(wrong) + len(done)} answers were altered or failed: {wrong[0]}"
    assert len(done) > 100, len(done)
    assert w.metric("weir_reloads_total", result="accepted") + w.metric("weir_reloads_total", result="ok") == 50, [
        x for x in w.metrics().splitlines() if "reload" in x
    ]
    assert w.metric("weir_streams_open") == 0


def test_a_broken_file_changes_nothing(h):
    w, m = noted(h)
    good = w.config
    broken = [
        ("provider 'p' {{", "weir.lua:"),
        (good + 'provider "q" { dialect = "chat", urll = "http://x/v1" }\n', "did you mean 'url'"),
        (good + "defaults { connect = 'x' }\n", "connect"),
        (good + 'lisen "127.0.0.1:1"\n', "did you mean 'listen'"),
        (good + 'use "nothing"\n', "nothing"),
        (good + 'default_provider "pp"\n', "did you mean 'p'"),
        (good + "while true do end\n", "weir.lua:"),
        (good + 'prices "x.json"\n', "No such file"),
        (good + 'provider "g" { dialect = "cohere", url = "https://x" }\n', "not in this version"),
    ]
    for config, says in broken:
        w.write(config)
        code, text = w.reload()
        with open(w.file) as f:
            lines = f.read().split("\n")
        line = "weir.lua:" + (f"{lines.index(config.rstrip().split(chr(10))[-1]) + 1}:" if config.startswith(good) else "")
        assert code == 1 and says in text and line in text, f"{config[-60:]!r}: {code} {text}"
    w.write(good)
    for policy, says in (
        ("return {", "rule.lua:1:"),
        ("local p = {}\np.on_requst = function() end\nreturn p\n", "did you mean 'on_request'"),
        ("return 5\n", "rule.lua"),
        ("error('no')\n", "rule.lua:1: no"),
        ("io.open('/etc/passwd')\nreturn {}\n", "rule.lua:1:"),
        ("while true do end\n", "rule.lua:1"),
        ("local t = {} while true do t[#t + 1] = ('x'):rep(100000) end\n", "memory"),
    ):
        w.policy("rule", policy)
        code, text = w.reload()
        assert code == 1 and says in text, f"{policy!r}: {code} {text}"
        assert version(w) == "1", "a refused file took effect"
    until(lambda: w.metric("weir_reloads_total", result="refused") == len(broken) + 7, 2, "the count of refused reloads")
    assert "reload refused" in w.err
    w.policy("rule", POLICY % ("2", ""))
    assert w.reload()[0] == 0 and version(w) == "2"


def test_reload_codes(h):
    w, m = noted(h)
    assert w.reload()[0] == 0
    w.policy("rule", "return 5")
    assert w.reload()[0] == 1
    r = h.run("reload", "--config", "/nowhere/weir.lua")
    assert r.returncode == 2 and r.stderr, r
    w.signal(signal.SIGTERM)
    w.wait()
    code, text = w.reload()
    assert code == 2 and text, (code, text)


def test_sighup(h):
    w, m = noted(h)
    w.policy("rule", POLICY % ("hup", ""))
    w.signal(signal.SIGHUP)
    until(lambda: "generation 2 is live" in w.err, 15)
    assert version(w) == "hup"
    w.policy("rule", "return 5")
    w.signal(signal.SIGHUP)
    until(lambda: "reload refused" in w.err, 15)
    assert version(w) == "hup"


def test_watch(h):
    m = h.mock()
    w = h.weir(chat_provider("p", m.url) + 'use "rule"\n', policies={"rule": POLICY % ("1", "")}, arguments=["--watch"])
    for i, text in enumerate(("a", "b")):
        w.policy("rule", POLICY % (text, ""))
        until(lambda: f"generation {i + 2} is live" in w.err, 5, "the change is seen")
        assert version(w) == text
    w.policy("rule", "return 5")
    until(lambda: "reload refused" in w.err, 15)
    assert version(w) == "b"
    w.write(w.config + 'model "new" { "p/x" }\n')
    w.policy("rule", POLICY % ("c", ""))
    until(lambda: version(w) == "c", 5, "the mended file is seen")
    assert w.chat("new").status == 200
    before = w.err.count("is live")
    time.sleep(0.8)
    os.utime(w.file)
    time.sleep(1)
    assert w.err.count("is live") - before <= 1, "an untouched file is loaded again and again"


def test_what_needs_a_restart_is_said(h):
    w, m = noted(h)
    other = h.port()
    w.write(w.config + f'listen "127.0.0.1:{other}"\n')
    code, text = w.reload()
    assert code == 0 and "needs a restart" in text and "listen" in text, text
    assert not w.listening(other) and w.chat().status == 200


def test_new_providers_and_aliases(h):
    """Every part of the file is taken: providers, keys, clocks, aliases; streams that run keep their old provider."""
    w, m = noted(h)
    u = h.upstream()
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body("mock;events=10;gap=60", True)))
        a = c.head()
        w.write(chat_provider("q", u.url) + 'model "smart" { "q/x" }\ndefault_provider "q"\n')
        assert w.reload()[0] == 0
        assert w.chat("smart").text() == "Hello." and u.one().json()["model"] == "x"
        assert w.chat("p/x").text() == "Hello."  # no provider of that name any more: the default's
        rest = b"".join(c.chunks(a))
        assert rest.endswith(b"data: [DONE]\n\n") and rest.count(b"data:") >= 11, rest[-200:]


def test_memory_after_many_reloads(h):
    w, m = noted(h)
    for i in range(10):
        assert w.reload()[0] == 0
    before = w.memory()
    for i in range(40):
        assert w.reload()[0] == 0
    more = w.memory() - before
    assert h.slow > 1 or more < 3 << 20, f"{more} bytes more after 40 reloads"  # a sanitizer keeps what is freed, and tells of leaks itself
