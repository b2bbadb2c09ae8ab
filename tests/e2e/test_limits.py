"""Limits: requests, tokens and how many at once, by key, over all workers and a reload."""
import json
import os
import threading
import time

from harness import chat_body, chat_provider
from upstream import chat_answer

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../policies")

def limited(h, options, upstream=None, extra=""):
    up = upstream or h.upstream()
    with open(os.path.join(SHIPPED, "token_limits.lua")) as f:
        policy = f.read()
    return h.weir(f'{chat_provider("a", up.url)}use "token_limits" {{ {options} }}\n{extra}', policies={"token_limits": policy})


def test_requests_a_minute(h):
    w = limited(h, 'per = "all", requests_per_minute = 3')
    for _ in range(3):
        assert w.chat("a/x").status == 200
    a = w.chat("a/x")
    error = json.loads(a.body)["error"]
    assert a.status == 429 and error["type"] == "rate_limit_error" and error["weir"]["fault"] == "limited", a
    assert "3 requests a minute" in error["message"], error
    assert 1 <= int(a.header("retry-after")) <= 61, a
    assert a.header("x-should-retry") is None, a
    assert (a.header("x-ratelimit-limit-requests"), a.header("x-ratelimit-remaining-requests")) == ("3", "0") and a.header("x-ratelimit-reset-requests"), a
    assert w.metric("weir_requests_total", dialect="chat", model="other", status="429") == 1  # a/x is no name of weir.lua's here
    assert w.record(error["weir"]["id"])["end"] == "limited"


def test_a_day_is_whole_again_at_its_end(h):
    """What callers are told of a limit for each day: until its midnight, not a day from now."""
    w = limited(h, 'per = "all", requests_per_day = 2')
    for _ in range(3):
        left = 86400 - time.time() % 86400
        reset = int(w.chat("a/x").header("x-ratelimit-reset-requests").rstrip("s"))
        assert abs(reset - left) < 30 or left < 30 or left > 86370, (reset, left)


def test_counts_survive_reload_and_restart(h):
    w = limited(h, 'per = "all", requests_per_day = 2')
    assert w.chat("a/x").status == 200
    w.reload()
    assert w.chat("a/x").status == 200
    assert w.chat("a/x").status == 429


def test_at_once(h):
    go = threading.Event()

    def slow(request, peer):
        go.wait(10)
        peer.answer(chat_answer())
    up = h.upstream(slow)
    w = limited(h, 'per = "all", concurrent = 2', up, "defaults { queue = 0.1 }\n")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(w.chat("a/x"))) for _ in range(2)]
    for t in threads:
        t.start()
    deadline = time.time() + 5
    while len(up.requests) < 2 and time.time() < deadline:
        time.sleep(0.01)
    third = w.chat("a/x")
    go.set()
    for t in threads:
        t.join()
    assert third.status == 429 and "2 requests at once" in json.loads(third.body)["error"]["message"], third
    assert [a.status for a in answers] == [200, 200]
    assert w.chat("a/x").status == 200


def test_tokens_are_put_right(h):
    """A request reserves the most it can need, and counts what it was: so a small cap serves many small ones."""
    w = limited(h, 'per = "all", tokens_per_minute = 6000')
    for _ in range(4):
        assert w.post("/v1/chat/completions", chat_body("a/x", max_tokens=4000)).status == 200
    a = w.post("/v1/chat/completions", chat_body("a/x", max_tokens=7000))
    assert a.status == 429 and "6000 tokens a minute" in json.loads(a.body)["error"]["message"], a
