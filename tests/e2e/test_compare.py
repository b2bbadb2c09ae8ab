"""weir compare: the same calls direct and through weir; its times, its bytes, its words."""

import itertools
import json
import os

import certs
import upstream
import wire
from harness import SECRET, Weir, chat_body, chat_provider, messages_provider, until
from test_keys import GOOD, key


def compare(h, w, *words, key=None):
    env = {"OPENAI_KEY": SECRET, **({"WEIR_KEY": key} if key else {})}
    r = h.run("compare", "--config", w.file, *words, env=env)
    assert SECRET not in r.stdout + r.stderr and (not key or key not in r.stdout + r.stderr), "a key was printed"
    return r


def found(h, w, *words, **more):
    r = compare(h, w, "--json", *words, **more)
    assert r.returncode == 0, r.stderr + r.stdout
    return json.loads(r.stdout)


def test_equal_bytes_added_time_and_processor(h):
    m = h.mock()
    w = h.weir(chat_provider("mock", m.url) + messages_provider("ant", m.url) + 'model "fast" { "mock/mock" }\n')
    f = found(h, w, "--model", "mock/mock", "--count", "30")
    assert f["pairs"] == 30 and not f["failed"] and f["bytes"] == {"equal": 30, "different": 0, "first_difference": None, "direct_answers_differ": False}, f
    assert f["headers"] == [] and set(f["ms"]) == {"head", "total"}, f
    for kind in f["ms"].values():
        for who in kind.values():
            assert who["p50"] <= who["p90"] <= who["p99"], f
    assert f["ms"]["total"]["direct"]["p50"] > 0 and f["cpu_us_per_request"] > 1, f
    for model in ("fast", "ant/claude"):
        f = found(h, w, "--model", model, "--stream", "--count", "12", "--concurrency", "3")
        assert f["pairs"] == 12 and f["bytes"]["equal"] == 12 and set(f["ms"]) == {"head", "first_event", "total"}, f
    r = compare(h, w, "--model", "fast", "--count", "2")
    assert r.returncode == 0 and "bytes: equal in all 2 pairs" in r.stdout and f"(pid {w.pid})" in r.stdout, r.stdout
    served = lambda: len([x for x in w.records() if x["status"] == 200])  # noqa: E731
    until(lambda: served() >= 31 + 2 * 15 + 3, 5, "all lines of the access log")
    assert served() == 31 + 2 * 15 + 3, "no more calls than were told"


def test_added_time_is_weirs(h):
    """A policy that waits 60 ms is seen in the difference, in the direct time it is not."""
    slow = "local p = { on_error = 'pass' }\nfunction p.on_request() weir.sleep(0.06) end\nreturn p\n"
    w, _ = h.pair('use "slow"\n', policies={"slow": slow})
    f = found(h, w, "--model", "mock/mock", "--count", "5")
    for kind in f["ms"].values():
        assert kind["added"]["p50"] > 55 and kind["direct"]["p50"] < 50, f


def test_what_differs_is_told(h):
    numbers = itertools.count()

    def answers(r, peer):
        text = "the secret word" if "changes" not in r.json()["model"] else f"number {next(numbers)}"
        peer.answer(
            json.dumps({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}).encode(),
            headers=[("x-kept", "same"), ("x-random", str(next(numbers))), ("x-request-id", "theirs"), ("proxy-authenticate", "dropped")],
        )
        return True

    u = h.upstream(answers)
    other = "local p = { on_error = 'pass' }\nfunction p.on_response(req) if req.model == 'lab/still' then return weir.replace('another word') end end\nreturn p\n"
    w = h.weir(chat_provider("lab", u.url) + 'use "other"\n', policies={"other": other})
    f = found(h, w, "--model", "lab/still", "--count", "4")
    assert f["bytes"]["different"] == 4 and not f["bytes"]["direct_answers_differ"], f
    bodies = w.chat("lab/still").body, wire.post(u.port, "/v1/chat/completions", chat_body("still")).body
    assert f["bytes"]["first_difference"] == len(os.path.commonprefix(bodies)), f
    assert "x-kept: only direct" in f["headers"], f
    f = found(h, w, "--model", "lab/changes", "--count", "2")
    assert f["bytes"]["different"] == 2 and f["bytes"]["direct_answers_differ"], f
    assert f["headers"] == ["proxy-authenticate: only direct"], f
    r = compare(h, w, "--model", "lab/changes", "--count", "2")
    assert "does not say the same twice" in r.stdout, r.stdout


def test_saved_requests_tls_key_and_socket(h):
    certs.authority(h.tmp, "root")
    pem, private = certs.leaf(h.tmp, "good", "root", ["DNS:localhost"])
    tls = h.port()
    h.mock("--tls", f"127.0.0.1:{tls}", "--cert", pem, "--key", private)
    until(lambda: Weir.listening(tls), 5, "the mock's TLS listens")
    socket = os.path.join(h.tmp, "weir.sock")
    w = h.weir(
        f'listen "unix:{socket}"\n' + chat_provider("safe", f"https://localhost:{tls}/v1", f'ca = "{h.tmp}/root.pem"') + key("me", GOOD)
    )
    for i in range(2):
        with open(os.path.join(h.tmp, f"r{i}.json"), "wb") as f:
            f.write(chat_body("another", pad="z" * 40000 * i))
    files = ["--request", os.path.join(h.tmp, "r0.json"), f"--request={h.tmp}/r1.json"]
    for through in (f"http://127.0.0.1:{w.port}", f"unix:{socket}"):
        f = found(h, w, "--model", "safe/mock", "--count", "4", "--through", through, *files, key=GOOD)
        assert f["bytes"]["equal"] == 4, f
    r = compare(h, w, "--model", "safe/mock", "--count", "4", *files)
    assert r.returncode == 1 and "through weir: status 401, auth" in r.stderr, r.stderr


def test_refusals(h):
    u = h.upstream(lambda r, peer: peer.answer(f"no {r.header('authorization')}".encode(), 401))
    w = h.weir(chat_provider("lab", u.url) + chat_provider("gone", f"http://127.0.0.1:{h.port()}/v1") + messages_provider("ant", u.url))
    bad = os.path.join(h.tmp, "bad.json")
    with open(bad, "w") as f:
        f.write("[1")
    for words, code, what in (
        ([], 2, "--model MODEL is missing"),
        (["--model", "lab/x", "--count", "0"], 2, "--count takes a number"),
        (["--model", "lab/x", "--bogus"], 2, "'--bogus' is not understood"),
        (["--model", "ant/x", "--path", "/v1/chat/completions"], 1, "dialect"),
        (["--model", "lab/x", "--path", "/v1/files"], 1, "not a path that weir reads"),
        (["--model", "lab/x", "--path", "/v1/embeddings", "--stream"], 1, "has no streams"),
        (["--model", "lab/x", "--request", bad], 1, "bad.json: "),
        (["--model", "lab/x", "--request", bad + "x"], 1, "cannot be read"),
        (["--model", "lab/x", "--through", "ftp://x"], 1, "--through ftp://x: "),
        (["--model", "lab/x"], 1, "direct: status 401, auth"),
        (["--model", "gone/x"], 1, "direct: connect to 127.0.0.1:"),
    ):
        r = compare(h, w, *words)
        assert r.returncode == code and what in r.stderr, f"{words}: {r.returncode} {r.stderr}"


def test_pairs_that_fail_are_told_and_not_counted(h):
    served = itertools.count()

    def answers(r, peer):
        if next(served) == 6:
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            return False
        return upstream.usual(r, peer)

    u = h.upstream(answers)
    w = h.weir(chat_provider("lab", u.url))
    r = compare(h, w, "--model", "lab/x", "--count", "4", "--json")
    f = json.loads(r.stdout)
    assert f["pairs"] + f["failed"] == 4 and f["failed"] <= 1 and (r.returncode == 1) == bool(f["failed"]), f
    assert not f["failed"] or "direct: the connection ended early" in f["why"], f
