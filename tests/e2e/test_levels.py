"""Clocks and bounds at each level: defaults, provider, model, request. The nearest wins; each is seen to ring by its own words."""

import json
import socket
import threading
import time

from harness import at_once, chat_body, chat_provider

CLOCKS = "head = 0.3, first_event = 0.35, first_event_reasoning = 0.6, between_events = 0.4, total = 0.9, tls = 0.2, hold_head = 0.1"
SLOW = "head = 30, first_event = 30, first_event_reasoning = 30, between_events = 30, total = 30, tls = 30, hold_head = 0"
# model, stream, more of the body: seconds, the error's words
RINGS = {
    "hang": (False, {}, 0.3, "no answer in time"),
    "mute": (True, {}, 0.35, "no first event in time"),
    "mute-thinking": (True, {"reasoning_effort": "high"}, 0.6, "no first event in time"),
    "stall": (True, {}, 0.4, "no further event in time"),
    "dribble": (True, {}, 0.9, "the latency budget is spent"),
    "shake": (False, {}, 0.2, "the TLS handshake took too long"),
}


def slow_provider(h):
    """Fails to answer in the way that the model's name says."""
    piece = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'

    def answers(r, peer):
        how = r.json()["model"]
        if how == "hang":
            peer.gone(9)
        elif how.startswith("mute"):
            peer.stream(end=False)
            peer.gone(9)
        elif how == "stall":
            peer.stream(piece, end=False)
            peer.gone(9)
        elif how == "dribble":
            peer.stream(*[piece] * 150, gap=0.06)
        return False

    return h.upstream(answers)


def config(h, level):
    """All targets with their clocks at one level, and slower ones at the levels further out."""
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))
    dead.listen(16)
    h.dead = getattr(h, "dead", []) + [dead]
    u = slow_provider(h)
    words = {"defaults": CLOCKS, "provider": "", "model": ""}
    if level == "provider":
        words = {"defaults": SLOW, "provider": CLOCKS, "model": ""}
    if level == "model":
        words = {"defaults": SLOW, "provider": SLOW, "model": CLOCKS}
    text = f"defaults {{ {words['defaults']} }}\n"
    text += chat_provider("lab", u.url, words["provider"])
    text += chat_provider("deaf", f"https://localhost:{dead.getsockname()[1]}/v1", words["provider"])
    for name in RINGS:
        target = "deaf/x" if name == "shake" else f"lab/{name}"
        text += f'model "{name}" {{ "{target}", {words["model"]} }}\n'
    return text


def ring(w, name, into, headers=()):
    stream, more, _, _ = RINGS[name]
    begun = time.monotonic()
    a = w.post("/v1/chat/completions", chat_body(name, stream, **more), headers)
    into[name] = (time.monotonic() - begun, a)


def all_at_once(w):
    got = {}
    threads = [threading.Thread(target=ring, args=(w, name, got)) for name in RINGS]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


def rings_at(h, level):
    w = h.weir(config(h, level))
    for name, (took, a) in all_at_once(w).items():
        _, _, seconds, words = RINGS[name]
        assert words in a.body.decode(), f"{level} {name}: {a}"
        assert seconds - 0.05 < took < seconds + 1.5 * h.slow, f"{level} {name}: {took}"
        early = name.startswith("mute")  # nothing came, so hold_head sent the head
        assert (a.header("x-weir-early") == "1") == early, f"{level} {name}: {a}"


def test_defaults(h):
    rings_at(h, "defaults")


def test_provider(h):
    rings_at(h, "provider")


def test_model(h):
    rings_at(h, "model")


def test_request_and_the_nearer_longer_one(h):
    u = slow_provider(h)
    w = h.weir(
        "defaults { head = 0.2, total = 5 }\n"
        + chat_provider("lab", u.url, "head = 0.3")
        + 'model "long" { "lab/hang", head = 0.8 }\nmodel "longer" { "lab/hang", head = 5, total = 0.8 }\n'
    )
    cases = (
        ("lab/hang", (), 0.3, "no answer in time"),
        ("long", (), 0.8, "no answer in time"),
        ("longer", (), 0.8, "the latency budget is spent"),
        ("longer", [("x-weir-timeout", "0.4")], 0.4, "the latency budget is spent"),
        ("longer", [("x-litellm-timeout", "0.4")], 0.4, "the latency budget is spent"),
        ("longer", [("x-portkey-request-timeout", "400")], 0.4, "the latency budget is spent"),
        ("longer", [("x-weir-timeout", "60")], 0.8, "the latency budget is spent"),
    )

    def ends(model, header, seconds, words):
        begun = time.monotonic()
        a = w.chat(model, headers=header)
        took = time.monotonic() - begun
        assert a.status == 504 and words in a.body.decode(), f"{model} {header}: {a}"
        assert seconds - 0.05 < took < seconds + 0.5 * h.slow, f"{model} {header}: {took}"

    at_once(ends, cases)
    for bad in ("soon", "0", "-1", ""):
        a = w.chat("long", headers=[("x-weir-timeout", bad)])
        assert a.status == 400 and "x-weir-timeout must be a number" in a.body.decode(), f"{bad}: {a}"


def test_a_policy_bounds_one_attempt(h):
    u, good = slow_provider(h), h.upstream()
    hurry = "local p = { on_error = 'deny' }\nfunction p.on_attempt(req, attempt)\n  if attempt.number == 1 then attempt.deadline = 0.3 end\nend\nreturn p\n"
    w = h.weir(chat_provider("lab", u.url) + chat_provider("good", good.url) + 'model "m" { "lab/hang", "good/x" }\nuse "hurry"\n', policies={"hurry": hurry})
    begun = time.monotonic()
    a = w.chat("m")
    assert a.status == 200 and a.header("x-weir-target") == "good/x" and 0.25 < time.monotonic() - begun < 2 * h.slow, a
    assert [f["fault"] for f in w.record(a.header("x-request-id"))["failed"]] == ["timeout"], a


def test_bounds_and_connections(h):
    """hold_answer: whether a broken whole answer can still go elsewhere. idle_pool: whether a connection is used again."""
    big = json.dumps({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "z" * 50000}}]}).encode()

    def broken(r, peer):
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(big) + big[:40000])
        time.sleep(0.05)
        return False

    u, good = h.upstream(broken), h.upstream()
    w = h.weir(
        "defaults { hold_answer = kb(1), idle_pool = 30 }\n"
        + chat_provider("flows", u.url)
        + chat_provider("held", u.url, "hold_answer = mb(1)")
        + chat_provider("good", good.url, "idle_pool = 0.1")
        + 'model "a" { "flows/x", "good/x" }\nmodel "b" { "held/x", "good/x" }\nmodel "c" { "flows/x", "good/x", hold_answer = mb(1) }\n'
        + 'model "d" { "held/x", "good/x", hold_answer = 0 }\n'
    )
    for model, whole in (("a", False), ("b", True), ("c", True), ("d", False)):
        a = w.chat(model)
        assert a.whole == whole and (a.header("x-weir-target") == "good/x") == whole, f"{model}: {a}"
    before = good.connections
    w.chat("good/x")
    time.sleep(0.5)
    w.chat("good/x")
    assert good.connections >= before + 1, "idle_pool of the provider is over"
