"""What storms on the simulated loop have found, met over the wire; and memory that runs out. See doc/testing.md."""

import json
import time

import harness
from faults import FAST, error, sends
from harness import at_once, chat_body, chat_provider

CUT = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n" + error()[:20]


def test_a_refusal_that_stalls_is_not_passed_on_in_part(h):
    """Its status says what it is; the half of a body under a length of its own would be a lie."""
    cases = []
    for status, fault in ((400, "bad_request"), (429, "rate_limited"), (404, "not_found")):
        for how in ("stall", "reset", "close"):
            w = h.weir(chat_provider("p", h.upstream(sends(CUT % status, how)).url) + FAST)
            cases += [(w, status, fault, how, streamed) for streamed in (False, True)]

    def is_told(w, status, fault, how, streamed):
        a = w.chat("p/x", streamed)
        assert a.status == status and a.whole and a.weir["fault"] == fault, f"{status} {how}: {a}"
        json.loads(a.body)

    at_once(is_told, cases)


def test_a_stalled_refusal_is_bounded_by_the_budget(h):
    u = h.upstream(sends(CUT % 400, "stall"))
    w = h.weir(chat_provider("p", u.url))
    begun = time.monotonic()
    a = w.chat("p/x", headers=[("x-weir-timeout", "0.4")])
    assert a.status == 504 and a.weir["fault"] == "timeout" and time.monotonic() - begun < 3 * h.slow, a


def test_memory_that_runs_out_is_refused_politely(h):
    with open(h.binary("weir"), "rb") as f:
        if b"WEIR_TORTURE_ALLOC" not in f.read():
            raise harness.Skip("needs a weir whose allocations fail (make test TORTURE=1)")
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\n', env={"WEIR_TORTURE_ALLOC": "3"})
    bodies = [chat_body(messages=[{"role": "user", "content": "x" * (20000 + 500 * i)}]) for i in range(30)]  # none fits into what the last one left
    statuses = [w.post("/v1/chat/completions", body).status for body in bodies]
    assert set(statuses) == {200, 503} and 5 <= statuses.count(503) <= 15, statuses
    assert w.chat().status == 200
