"""When no other target can answer: what is told, what passes as it came, what is waited for, and the clocks. INTERFACE 3, DESIGN 6."""

import json
import time

import wire
from faults import FAST, error, says
from harness import chat_body, chat_provider, messages_provider, until
from test_failover import WHOLE, WHOLE_ONLY, chain
from upstream import DONE, FINISH, ROLE, START, STOP, chat_answer, chat_events


def spent(h, first, second, streamed=False, **headers):
    one, two = h.upstream(first), h.upstream(second)
    w = h.weir(chat_provider("one", one.url) + chat_provider("two", two.url) + 'model "chain" { "one/x", "two/y" }\n' + FAST)
    return w.chat("chain", streamed), one, two


def test_the_first_fault_is_told(h):
    kinds = [
        (says(500), "overloaded", 503),
        (lambda r, p: p.close(), "connection", 502),
        (lambda r, p: p.gone(3) and False, "timeout", 504),
        (says(401), "auth", 502),
        (says(402), "quota", 502),
        (says(200, b""), "empty", 502),
        (says(200, b"<p>"), "invalid", 502),
        (says(429, retry_after=60), "rate_limited", 429),
    ]
    for streamed in (False, True):
        for (first, fault, status), (second, other, _) in zip(kinds, kinds[1:] + kinds[:1]):
            a, one, two = spent(h, first, second, streamed)
            assert a.status == status and a.weir["fault"] == fault, f"{fault} then {other}: {a}"
            assert [t["fault"] for t in a.weir["tried"]][0] == fault and [t["target"] for t in a.weir["tried"]][:2] == [
                "one/x",
                "two/y",
            ], a.weir
            assert len(one.requests) == 1 and len(two.requests) == 1, f"{fault}: asked {len(one.requests)} and {len(two.requests)} times"
            assert a.header("content-type") == "application/json" and a.whole, a
            if fault == "rate_limited":
                assert a.header("retry-after") == "60", a
            else:
                assert a.header("x-should-retry") == "false" and not a.header("retry-after"), a


def test_refusals_pass_byte_for_byte(h):
    body = b'{ "error":{"message":"no \\u00e9","type":"invalid_request_error","param":"x","code":null} }\n'
    for status in (400, 404, 405, 409, 413, 415, 418, 422, 429, 451):
        for streamed in (False, True):
            u = h.upstream(says(status, body, x_extra="yes", retry_after=90))
            w = h.weir(chat_provider("p", u.url) + FAST)
            a = w.chat(stream=streamed)
            assert (
                a.status == status and a.body == body and a.header("x-extra") == "yes" and a.header("retry-after") == "90"
            ), f"{status}: {a}"
            assert len(u.requests) == 1, f"{status} was tried {len(u.requests)} times"


def test_a_bad_request_never_falls_back(h):
    for status, kind in (
        (400, "invalid_request_error"),
        (422, "invalid_request_error"),
        (413, "request_too_large"),
        (404, "not_found_error"),
    ):
        w, bad, good = chain(h, says(status, error(kind)))
        a = w.chat("chain")
        assert a.status == status and a.body == error(kind) and not good.requests, f"{status}: {a}"


def test_a_refusal_is_an_answer(h):
    """What a model refused or a filter took is the provider's own word and passes, unless the chain says to go on for it."""
    refusal = START + STOP.replace(b"end_turn", b"refusal")
    filtered = [ROLE, FINISH.replace(b'"stop"', b'"content_filter"'), DONE]
    bad = h.upstream(
        lambda r, p: (
            p.stream(*([refusal] if "messages" in r.target else filtered)) or True
            if r.json().get("stream")
            else p.answer(chat_answer("", finish="content_filter")) or True
        )
    )
    good = h.upstream()
    for next_on in ("", 'next_on = { "refused", "content_filtered" }'):
        w = h.weir(
            chat_provider("bad", bad.url)
            + messages_provider("worse", bad.url)
            + chat_provider("good", good.url)
            + messages_provider("better", good.url)
            + f'model "chat" {{ "bad/x", "good/y", {next_on} }}\nmodel "messages" {{ "worse/x", "better/y", {next_on} }}\n'
        )
        for a, own in (
            (w.chat("chat", True), b"".join(filtered)),
            (w.chat("chat"), chat_answer("", finish="content_filter")),
            (w.post("/v1/messages", chat_body("messages", True, max_tokens=5)), refusal),
        ):
            assert a.status == 200 and a.whole, a
            assert a.text() == "Hello." if next_on else a.body == own, a


def test_the_accounts_troubles_are_not_the_callers(h):
    for status in (401, 402, 403):
        u = h.upstream(says(status, error("invalid_request_error", "invalid_api_key" if status == 401 else None)))
        w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + FAST)
        a = w.chat("p/x")
        assert (
            a.status == 502 and a.weir["fault"] == ("quota" if status == 402 else "auth") and a.header("x-should-retry") == "false"
        ), f"{status}: {a}"
        assert a.error["type"] == "api_error" and a.error["code"] != "invalid_api_key", a
        a = w.post("/v1/messages", chat_body("a/x", max_tokens=5))
        assert a.status in (500, 502) and a.error["type"] == "api_error", a


def test_short_retry_after_is_waited_for(h):
    for value, header in (("0.3", "retry-after"), ("300", "retry-after-ms")):
        count = {"n": 0}

        def handler(r, p):
            count["n"] += 1
            if count["n"] % 2:
                p.answer(error("requests"), 429, [(header, value)])
            else:
                p.answer(chat_answer())
            return True

        u = h.upstream(handler)
        w = h.weir(chat_provider("p", u.url))
        begun = time.monotonic()
        a = w.chat()
        assert a.status == 200 and a.header("x-weir-attempts") == "2", a
        assert 0.28 < time.monotonic() - begun < 1.5 * h.slow, time.monotonic() - begun
        first, second = u.requests
        assert first.body == second.body


def test_retry_after_is_waited_for_once(h):
    u = h.upstream(says(429, retry_after="0.1"))
    w = h.weir(chat_provider("p", u.url))
    a = w.chat()
    assert a.status == 429 and a.header("retry-after") and len(u.requests) == 2, (a, len(u.requests))


def test_accounts_and_endpoints(h):
    """Two keys, two endpoints: the one that refuses is left for the other, within one candidate."""
    seen = []

    def picky(r, p):
        seen.append(r.header("authorization"))
        p.answer(*((chat_answer(),) if r.header("authorization") == "Bearer second" else (error("requests"), 429, [("retry-after", "20")])))
        return True

    u = h.upstream(picky)
    w = h.weir(
        f'provider "p" {{ dialect = "chat", url = "{u.url}", key = {{ env "FIRST", env "SECOND" }} }}\n',
        env={"FIRST": "first", "SECOND": "second"},
    )
    for _ in range(8):
        assert w.chat().status == 200
    assert seen.count("Bearer first") <= 2 and seen.count("Bearer second") == 8, seen  # one worker may not know what the other has learnt
    dead, alive = h.port(), h.upstream()
    w = h.weir(
        f'provider "p" {{ dialect = "chat", endpoint {{ url = "http://127.0.0.1:{dead}/v1", weight = 50 }}, endpoint {{ url = "{alive.url}" }} }}\n'
    )
    for _ in range(8):
        assert w.chat().status == 200
    for name in ("html 200", "500", "cut length"):
        broken, good = h.upstream(WHOLE_ONLY.get(name, WHOLE.get(name))[0]), h.upstream()
        w = h.weir(
            f'provider "p" {{ dialect = "chat", endpoint {{ url = "{broken.url}", weight = 3 }}, endpoint {{ url = "{good.url}" }} }}\n'
        )
        for i in range(12):
            a = w.chat()
            assert a.status == 200, f"{name}, request {i}: {a}"
            assert a.header("x-weir-attempts") in ("1", "2"), f"{name}: {a}"


# ---- clocks


def test_latency_budget(h):
    u = h.upstream(lambda r, p: p.gone(5) and False)
    w = h.weir(
        chat_provider("p", u.url) + 'model "slow" { "p/x", "p/y", latency_budget = 0.5 }\ndefaults { head = 0.4, first_event = 0.4 }\n'
    )
    for model, headers in (("p/x", [("x-weir-timeout", "0.5")]), ("slow", [])):
        for streamed in (False, True):
            begun = time.monotonic()
            a = w.chat(model, streamed, headers)
            assert a.status == 504 and a.weir["fault"] == "timeout", a
            assert 0.35 < time.monotonic() - begun < 0.9 * h.slow, f"{model}: {time.monotonic() - begun:.2f} s"


def test_early_head_and_heartbeats(h):
    def late(r, p):
        time.sleep(0.7)
        if r.json()["model"] == "fails":
            p.answer(error("bad", "x"), 400)
        else:
            p.stream(*chat_events("Hel", "lo."))
        return True

    u = h.upstream(late)
    w = h.weir(chat_provider("p", u.url) + "defaults { hold_head = 0.2 }\n")
    with wire.Connection(w.port) as c:
        begun = time.monotonic()
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=True)))
        a = c.answer()
        assert (
            a.header("x-weir-early") == "1"
            and a.header("x-request-id")
            and not a.header("x-weir-target")
            and a.header("content-type").startswith("text/event-stream")
        ), a
        assert a.pieces[0][0] - begun < 0.6, "the head was not early"
        assert a.body.startswith(b":") and a.body.endswith(b"".join(chat_events("Hel", "lo."))) and a.whole, a
    a = w.chat("fails", True)  # too late for a status: the dialect's error event
    last = json.loads(wire.events(a.body)[-1][1])
    assert a.status == 200 and last["error"]["weir"]["fault"] == "bad_request" and b"[DONE]" not in a.body, a
    a = w.chat(stream=False)  # whole answers have no early head
    assert not a.header("x-weir-early"), a


def test_early_head_then_failover(h):
    w, bad, good = chain(h, lambda r, p: time.sleep(0.4) or p.answer(error(), 500) or True, "")
    w.write(w.config.replace("hold_head = 0", "hold_head = 0.1"))
    assert w.reload()[0] == 0
    a = w.chat("chain", True)
    assert a.header("x-weir-early") == "1" and a.text() == "Hello." and a.whole, a


def test_stale_connections_are_not_faults(h):
    """A kept connection that the provider closed in the meantime is replaced without a word, and without a second attempt."""
    u = h.upstream(lambda r, p: p.answer(chat_answer()) or False)  # says keep-alive, and closes
    w = h.weir(chat_provider("p", u.url) + "defaults { warm = 0 }\n")
    for _ in range(30):
        a = w.chat()
        assert a.status == 200 and a.header("x-weir-attempts") == "1", a
    assert w.metric("weir_attempts_total", fault="connection") == 0
    assert until(lambda: w.metric("weir_attempts_total", target="p/mock"), 2) == 30
