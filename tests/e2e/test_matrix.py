"""Every fault at every moment in every dialect, whole and streamed. Before the content point a chain { bad, good } answers as good
alone would, byte for byte, and bad alone is an error that says why; after it the client has a prefix of what bad said and its dialect's
error event. Each failed try stands in the access log, in error.weir.tried and in the metrics. See stage.py and speech.py."""

import asyncio
import json
import os
import random
import re

import certs
import wire
from harness import chat_provider, messages_provider, until
from speech import DIALECTS, RICH, line
from stage import Stage, parsed

OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"
SSE, JSON = OK + b"content-type: text/event-stream\r\n", OK + b"content-type: application/json\r\n"
CHUNKED, UNTIL_CLOSE = b"transfer-encoding: chunked\r\n\r\n", b"\r\n"
SPENT = dict.fromkeys(("connection", "tls", "dns", "protocol", "empty", "invalid", "auth", "quota"), 502)
SPENT.update(timeout=504, overloaded=503, rate_limited=429, bad_request=400, context_too_long=400, content_filtered=400, not_found=404)
BIG = "0123456789abcdef" * 20_000  # above hold_answer

# A policy that decides nothing sends every answer and every chunk another way through weir.
WATCH = """
local policy = {}
function policy.on_response(req, response) local _ = response.text end
function policy.on_chunk(req, chunk) local _ = chunk.text end
return policy
"""

# One that holds back a little of each answer: what is held when it breaks is whole, so it is the client's.
HOLD = """
local policy = {}
function policy.on_chunk(req, chunk) return weir.hold { bytes = 9, seconds = 5 } end
return policy
"""
# One that wants to see all of an answer before any of it goes out: nothing is ever visible.
ALL = """
local policy = {}
function policy.on_response(req, response)
  if not response.done then return weir.hold { until_done = true } end
end
return policy
"""


class Cell:
    """sees: what a client of { bad, good } gets.
    hidden     good's answer
    passed     bad's refusal, byte for byte: nothing else is tried for it
    refused    weir's error at once: nothing else is tried for it
    broken     `body`, then weir's error event
    forwarded  `body`, which ends with bad's own error event
    spent      weir's error: there is no time left for good
    done       `body`, whole; with `more`, and perhaps some of that
    cut        a prefix of `body`, and the connection breaks"""

    def __init__(self, name, d, streamed, acts, fault, sees="hidden", body=b"", status=200, via=None, tries=1, early=False, more=b""):
        self.name, self.d, self.streamed, self.acts, self.fault, self.sees = name, d, streamed, acts, fault, sees
        self.body, self.status, self.tries, self.early, self.more = body, status, tries, early, more
        self.via = via or ("still" if "stall" in acts and sees != "done" else "bad")

    def __str__(self):
        return f"{self.d.name} {'stream' if self.streamed else 'whole'}: {self.name}"

    def target(self):
        return f"{self.d.side}{self.via}/x"


# ---- what an answer's bytes can do


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def ended(head, sent, of, how):
    """The first bytes `sent` of an answer `of` bytes long, and how it ends: the acts, and the fault when it is no answer."""
    cut = [head + CHUNKED + chunk(sent)]
    return {
        "clean end": (cut + [b"0\r\n\r\n", "close"], None),
        "closed": ([head + UNTIL_CLOSE + sent, "close"], None),
        "dropped": ([head + UNTIL_CLOSE + sent, "drop"], None),  # TLS could tell; JSON and streams show by themselves whether they are whole
        "chunks cut": (cut + ["close"], "connection"),
        "length cut": ([head + b"content-length: %d\r\n\r\n" % (of + 1) + sent, "close"], "connection"),
        "reset": (cut + ["reset"], "connection"),
        "stall": (cut + ["stall"], "timeout"),
        "bad chunk": (cut + [b"zz\r\n", "stall"], "protocol"),
        "bad chunk end": ([head + CHUNKED + chunk(sent)[:-2] + b"XX", "stall"] if sent else cut + [b"-1\r\n", "stall"], "protocol"),
    }[how]


ENDS = ("clean end", "closed", "chunks cut", "length cut", "reset", "stall", "bad chunk", "bad chunk end")


def whole_events(events, first, sent, line_end=1):
    """Of the first `sent` bytes of a stream: how many are of whole events, whether content is among them, and whether all is said."""
    at, said = 0, -1
    for i, e in enumerate(events):
        if at + len(e) + 1 - line_end > sent:
            break
        at, said = at + len(e), i
    return min(at, sent), said >= first, said + 1 == len(events)


def cut_cell(d, events, first, sent, how, line_end=1):
    """A stream that ends so after that many bytes. A line that ends with CR LF has ended at the CR."""
    stream = b"".join(events)
    acts, fault = ended(SSE, stream[:sent], len(stream), how)
    at, content, all_of = whole_events(events, first, sent, line_end)
    name = f"{how} after {sent} of {len(stream)} bytes"
    if all_of:
        return Cell(name, d, True, acts, None, "done", stream[:sent])
    fault = fault or ("protocol" if sent else "empty")
    if content:
        return Cell(name, d, True, acts, fault, "broken", stream[:at])
    return Cell(name, d, True, acts, fault)


# ---- the lists


def head_cells(d, streamed):
    head = (SSE if streamed else JSON) + b"content-length: 500\r\n\r\n"
    for n in (0, 1, 9, 12, 15, 16, 40, len(head) - 2, len(head) - 1):
        for how, fault in (("close", "connection"), ("reset", "connection"), ("stall", "timeout")):
            acts = ([head[:n]] if n else []) + [how]
            yield Cell(f"{how} after {n} bytes of the head", d, streamed, acts, fault, status=None)
    garbage = {
        "another protocol": b"SSH-2.0-x\r\n\r\n",
        "no status": b"HTTP/1.1 abc X\r\n\r\n",
        "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        "two framings": head[:-2] + b"transfer-encoding: chunked\r\n\r\n",
        "two lengths": head[:-2] + b"content-length: 7\r\n\r\n",
        "negative length": OK + b"content-length: -1\r\n\r\n",
        "unknown coding": OK + b"transfer-encoding: gzip\r\n\r\n",
        "101": b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "endless head": OK + b"x: " + b"y" * 300_000,
    }
    for name, data in garbage.items():
        yield Cell(name, d, streamed, [data, "stall"], "protocol", status=None, via="bad")
    for via, fault in (("refused", "connection"), ("name", "connection"), ("tls", "tls")):
        yield Cell(via, d, streamed, [], fault, status=None, via=via, tries=0)


def refusal(d, status, body, headers="", length=None):
    return (
        f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}"
        f"content-length: {len(body) if length is None else length}\r\n\r\n"
    ).encode() + body


STATUSES = [  # status, type, code, header lines, fault, sees
    (400, "invalid_request_error", None, "", "bad_request", "passed"),
    (400, "invalid_request_error", "context_length_exceeded", "", "context_too_long", "passed"),
    (401, "authentication_error", "invalid_api_key", "", "auth", "hidden"),
    (402, "billing_error", None, "", "quota", "hidden"),
    (403, "permission_error", None, "", "auth", "hidden"),
    (404, "not_found_error", "model_not_found", "", "not_found", "passed"),
    (408, "timeout_error", None, "", "timeout", "hidden"),
    (409, "conflict_error", None, "", "overloaded", "hidden"),
    (413, "request_too_large", None, "", "bad_request", "passed"),
    (422, "invalid_request_error", None, "", "bad_request", "passed"),
    (429, "rate_limit_error", None, "", "rate_limited", "hidden"),
    (429, "rate_limit_error", "rate_limit_exceeded", "retry-after: 30\r\n", "rate_limited", "hidden"),
    (429, "insufficient_quota", "insufficient_quota", "", "quota", "hidden"),
    (500, "api_error", None, "", "overloaded", "hidden"),
    (502, "api_error", None, "", "overloaded", "hidden"),
    (503, "api_error", None, "", "overloaded", "hidden"),
    (504, "api_error", None, "", "timeout", "hidden"),
    (529, "overloaded_error", None, "", "overloaded", "hidden"),
    (301, "x", None, "location: /elsewhere\r\n", "protocol", "hidden"),
]


def status_cells(d, streamed):
    for status, kind, code, lines, fault, sees in STATUSES:
        if d.name == "messages" and code == "context_length_exceeded":
            body = d.error(kind, message="prompt is too long: 300000 tokens > 200000 maximum")
        else:
            body = d.error(kind, code)
        name = f"{status} {code or ''} {lines.strip()}"
        yield Cell(name, d, streamed, [refusal(d, status, body, lines), "close"], fault, sees, body, status)
        if status in (400, 500, 503):
            late = "passed" if status == 400 else "hidden"
            fault = "bad_request" if status == 400 else "overloaded"
            if code is None:
                html = b"<html>no</html>"
                yield Cell(f"{status} in HTML", d, streamed, [refusal(d, status, html), "close"], fault, late, html, status)
                yield Cell(f"{status} of nothing", d, streamed, [refusal(d, status, b""), "close"], fault, late, b"", status)
                cut = "refused" if status == 400 else "hidden"
                for how in ("close", "reset", "stall"):
                    acts = [refusal(d, status, body, length=900), how]
                    yield Cell(f"{status} cut, {how}", d, streamed, acts, None, cut, b"", status)
    acts = [refusal(d, 429, d.error("rate_limit_error"), "retry-after: 0\r\n"), "close"]
    yield Cell("429 once more at once", d, streamed, acts, "rate_limited", "hidden", d.error("rate_limit_error"), 429, tries=2)


def points(d, events):
    """Places in a stream that have a name, and all between an event's bytes that matter: its start, middle, a character, its line ends."""
    ends = [sum(map(len, events[:i])) for i in range(len(events) + 1)]
    first, stream = ends[d.first], b"".join(events)
    word = stream.index("水".encode())
    sent = {0, 1, ends[1] // 2, ends[1] - 1, ends[1], first - 1, first, first + 9, ends[d.first + 1] - 2, ends[d.first + 1] - 1}
    sent |= {ends[d.first + 1], ends[d.first + 1] + 1, word, word + 1, word + 2, ends[d.first + 3], ends[-2] - 1, ends[-2], ends[-2] + 9, ends[-1] - 2, ends[-1] - 1}
    return sorted(sent), ends


def stream_cells(d):
    events = d.events("bad")
    stream = b"".join(events)
    sent, ends = points(d, events)
    for n in sent:
        for how in ENDS:
            yield cut_cell(d, events, d.first, n, how)
    for n in range(len(events)):
        yield from event_cells(d, events, n, b"".join(events[:n]))
    yield from instead_cells(d)
    yield from silent_cells(d)
    behind = {
        "its terminator again": events[-1],
        "a comment": b": bye\n\n",
        "a word again": events[d.first],
        "half an event": events[d.first][:20],
        "an error": d.error_event(),
        "no event": b"data: {oops\n\n",
        "blank lines": b"\n\n\n",
    }
    for name, more in behind.items():
        for how in ("clean end", "chunks cut", "reset", "stall"):
            acts, _ = ended(SSE, stream + more, len(stream + more), how)
            yield Cell(f"{name} behind the end, {how}", d, True, acts, None, "done", stream, more=more)
    for how in ENDS:
        acts, _ = ended(SSE, stream, len(stream), how)
        if how not in ("bad chunk end",):
            yield Cell(f"all is said, then {how}", d, True, acts, None, "done", stream)


OUT_OF_ORDER = {
    "messages": [
        line("content_block_delta", type="content_block_delta", index=7, delta={"type": "text_delta", "text": "!"}),
        line("content_block_stop", type="content_block_stop", index=7),
    ],
    "responses": [line("response.output_text.delta", type="response.output_text.delta", output_index=7, content_index=0, item_id="x", delta="!", sequence_number=50)],
}


def event_cells(d, events, n, before):
    """An event that breaks the stream where event n would stand."""
    content = n > d.first
    broken = {"no JSON": b"data: {oops\n\n", "a number": b"data: 5\n\n", "an array": b"data: []\n\n", "a key twice": b'data: {"type":"x","type":"y"}\n\n'}
    for i, e in enumerate(OUT_OF_ORDER.get(d.name, ())):
        broken[f"out of order {i}"] = e
    if d.name == "messages" and n:
        broken["the message begins again"] = events[0] if n > 1 else None
        broken["a block begins again"] = events[1] if 1 < n < len(events) - 3 else None
    for name, e in broken.items():
        if e:
            acts = [SSE + CHUNKED + chunk(before) + chunk(e) + chunk(b"".join(events[n:])) + b"0\r\n\r\n", "close"]
            yield Cell(f"{name} as event {n}", d, True, acts, "protocol", "broken" if content else "hidden", before)
    errors = {"server_error": "overloaded", "rate_limit_error": "rate_limited"}
    if d.name == "messages":
        errors = {"overloaded_error": "overloaded", "rate_limit_error": "rate_limited"}
    for kind, fault in errors.items():
        e = d.error_event(kind, "rate_limit_exceeded" if fault == "rate_limited" else None)
        for end in (["stall"], [b"0\r\n\r\n", "close"], ["reset"]):
            acts = [SSE + CHUNKED + chunk(before + e), *end]
            yield Cell(f"{kind} as event {n}, {end[-1]}", d, True, acts, fault, "forwarded" if content else "hidden", before + e, via="bad")


def instead_cells(d):
    """What is no stream at all, with a head that says 2xx."""
    whole, html = d.whole("bad"), b"<!doctype html><html><body>Welcome</body></html>"
    for name, body, fault in (
        ("nothing", b"", "empty"),
        ("blanks", b" \n\t ", "invalid"),
        ("HTML", html, "invalid"),
        ("a whole answer", whole, "invalid"),
        ("no JSON", b"{oops", "invalid"),
        ("an error", d.error("api_error" if d.name == "messages" else "server_error"), "overloaded"),
        ("a rate limit", d.error("rate_limit_error", "rate_limit_exceeded"), "rate_limited"),
        ("a large body", b"x" * 400_000, "invalid"),
    ):
        yield Cell(f"{name} in place of a stream", d, True, [JSON + b"content-length: %d\r\n\r\n" % len(body) + body, "close"], fault)
        if body and fault == "invalid" and len(body) < 1000:
            yield Cell(f"{name} called a stream", d, True, [SSE + b"content-length: %d\r\n\r\n" % len(body) + body, "close"], "protocol")
    for how in ("chunks cut", "length cut", "reset", "stall", "bad chunk"):
        acts, fault = ended(JSON, whole[:20], len(whole), how)
        yield Cell(f"a whole answer in place of a stream, {how}", d, True, acts, fault)
    yield Cell("204", d, True, [b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", "close"], "empty", status=204)


def silent_cells(d):
    """Streams that end as they should and say nothing, and beginnings that never come to a word."""
    one = [SSE + CHUNKED]

    def said(*pieces):
        return one + [chunk(b"".join(pieces)) + b"0\r\n\r\n", "close"]

    events = d.events("bad")
    reasons = {
        "chat": {"stop": "empty", "length": "empty", "tool_calls": "empty", "content_filter": None, "error": "overloaded"},
        "completions": {"stop": "empty", "length": "empty", "content_filter": None},
        "responses": {None: "empty", "max_output_tokens": "empty", "content_filter": None},
        "messages": {"end_turn": "empty", "max_tokens": "empty", "refusal": None, "model_context_window_exceeded": "context_too_long"},
    }[d.name]
    for reason, fault in reasons.items():
        body = d.finished(reason, "bad")
        sees = "done" if fault is None else "refused" if fault == "context_too_long" else "hidden"
        yield Cell(f"only a finish: {reason}", d, True, said(body), fault, sees, body)
    yield Cell("only the terminator", d, True, said(events[-1]), {"messages": "protocol", "responses": None}.get(d.name, "empty"), "done" if d.name == "responses" else "hidden", events[-1])
    beats = b": ping\n\n" * 5 if d.name != "messages" else events[2] * 5
    yield Cell("only heartbeats", d, True, one + [chunk(beats), "stall"], "timeout")
    yield Cell("heartbeats without end", d, True, one + [x for _ in range(12) for x in (chunk(beats), 0.1)] + ["stall"], "timeout")
    yield Cell("too much before any word", d, True, one + [chunk(b": " + b"x" * 1000 + b"\n\n") * 70, "stall"], "protocol", via="bad")
    if d.name == "responses":
        failed = line("response.failed", type="response.failed", sequence_number=4, response={"id": "r", "status": "failed", "output": [], "error": {"code": "server_error", "message": "no"}})
        yield Cell("response.failed first", d, True, said(events[0], failed), "overloaded")
        before = b"".join(events[: d.first + 1])
        yield Cell("response.failed after a word", d, True, said(before, failed), "overloaded", "forwarded", before + failed)


def whole_cells(d):
    body = d.whole("bad")
    for n in (0, 1, len(body) // 2, body.index("水".encode()) + 1, len(body) - 1):
        for how in ENDS:
            acts, fault = ended(JSON, body[:n], len(body), how)
            yield Cell(f"{how} after {n} of {len(body)} bytes", d, False, acts, fault or ("invalid" if n else "empty"))
    quiet = {"chat": "content_filter", "completions": "content_filter", "responses": "content_filter", "messages": "refusal"}[d.name]
    for name, text, fault, sees in (
        ("nothing", b"", "empty", "hidden"),
        ("blanks", b" \r\n\t ", "invalid", "hidden"),
        ("HTML", b"<html>Welcome</html>", "invalid", "hidden"),
        ("null", b"null", "invalid", "hidden"),
        ("an array", b"[]", "invalid", "hidden"),
        ("a string", b'"x"', "invalid", "hidden"),
        ("another shape", b'{"hello":1}', "invalid", "hidden"),
        ("a number that is none", body.replace(b'"created":1', b'"created":NaN') if b'"created":1' in body else b'{"x":NaN}', "invalid", "hidden"),
        ("more behind it", body + b"x", "invalid", "hidden"),
        ("a stream", d.stream("bad"), "invalid", "hidden"),
        ("an error", d.error("api_error" if d.name == "messages" else "server_error"), "overloaded", "hidden"),
        ("a rate limit", d.error("rate_limit_error", "rate_limit_exceeded"), "rate_limited", "hidden"),
        ("no text", d.whole("bad", ""), "empty", "hidden"),
        ("a filter", d.whole("bad", "", quiet), None, "done"),
        ("blanks around it", b"\r\n " + body + b"\n", None, "done"),
    ):
        for framing in (b"content-length: %d\r\n\r\n%s" % (len(text), text), CHUNKED + chunk(text) + b"0\r\n\r\n"):
            yield Cell(f"{name} for an answer", d, False, [JSON + framing, "close"], fault, sees, text)
    yield Cell("a stream's head and bytes for an answer", d, False, [SSE + UNTIL_CLOSE + d.stream("bad"), "close"], "invalid")
    yield Cell("204", d, False, [b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", "close"], "empty", status=204)
    big = d.whole("bad", BIG)
    for n in (270_000, len(big) - 1):
        for how in ("chunks cut", "length cut", "reset", "stall", "bad chunk"):
            acts, fault = ended(JSON, big[:n], len(big), how)
            yield Cell(f"{how} after {n} bytes", d, False, acts, fault, "cut", big[:n])


def behind_cells(d):
    """Bytes that come behind an answer, in one piece with it: who gets the connection next must not take them for its own."""
    body, more = d.whole("bad"), b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    framed = JSON + b"content-length: %d\r\n\r\n" % len(body) + body
    for i in range(4):
        for name, junk in (("another answer", more), ("zeros", b"\0" * 50), ("one byte", b"x")):
            yield Cell(f"{name} behind an answer, {i}", d, False, [framed + junk, "keep"], None, "done", body)
            yield Cell(f"{name} behind a refusal, {i}", d, False, [refusal(d, 500, d.error("api_error")) + junk, "keep"], "overloaded", status=500)
            stream = SSE + CHUNKED + chunk(d.stream("bad")) + b"0\r\n\r\n"
            yield Cell(f"{name} behind a stream, {i}", d, True, [stream + junk, "keep"], None, "done", d.stream("bad"))


def early_cells(d):
    """The head is out before the fault: the target can still change, the status cannot."""
    error = d.error_event("overloaded_error" if d.name == "messages" else "server_error")
    for name, acts, fault, status in (
        ("closed", [0.4, "close"], "connection", None),
        ("500", [0.4, refusal(d, 500, d.error("api_error")), "close"], "overloaded", 500),
        ("401", [0.4, refusal(d, 401, d.error("authentication_error")), "close"], "auth", 401),
        ("an error event", [SSE + CHUNKED, 0.4, chunk(error), "stall"], "overloaded", 200),
        ("no event", [SSE + CHUNKED, 0.4, chunk(b"data: {\n\n"), "stall"], "protocol", 200),
        ("a clean end", [SSE + CHUNKED, 0.4, b"0\r\n\r\n", "close"], "empty", 200),
        ("a start, then reset", [SSE + CHUNKED + chunk(d.events("bad")[0]), 0.4, "reset"], "connection", 200),
    ):
        yield Cell(f"{name} behind an early head", d, True, acts, fault, status=status, via="bad", early=True)


def all_cells(d):
    for streamed in (False, True):
        yield from head_cells(d, streamed)
        yield from status_cells(d, streamed)
    yield from stream_cells(d)
    yield from whole_cells(d)
    yield from early_cells(d)


# ---- playing them


def kept(acts):
    """The same on a connection that the provider does not close when its answer is whole."""
    acts = [x.replace(b"connection: close\r\n", b"") if isinstance(x, bytes) else x for x in acts]
    data = b"".join(x for x in acts if isinstance(x, bytes))
    if acts[-1] != "close" or b"\r\n\r\n" not in data:
        return acts
    a, _ = parsed(data)
    framed = a.header("content-length") or a.header("transfer-encoding")
    return acts[:-1] + ["keep"] if framed and a.whole else acts


class Table:
    """Plays cells against one weir, each with { bad, good } and with bad alone, and looks at every answer, then at the books."""

    def __init__(self, h, policy, cells, alone=True, kept=False, tls=None, headers=()):
        self.h, self.policy, self.wrong, self.cells, self.asked = h, policy, [], {}, {}
        self.under = {WATCH: ", watched", HOLD: ", held back", ALL: ", held to its end"}.get(policy, "")
        self.headers = list(headers)
        self.followed = {}  # by side: requests that came behind another on its connection
        self.kept = kept  # connections on both sides go on after what left them in order
        self.ways = (True, False) if alone else (True,)
        self.stage = Stage(h, self.script, at_once=24 if tls else 96, tls=tls and tls[:2])
        talker = h.upstream(greeting=b"220 smtp.test ESMTP\r\n")
        urls = {k: self.stage.url("bad") for k in ("bad", "still")}
        urls.update(good=self.stage.url("good"), refused=f"http://127.0.0.1:{h.port()}/v1", name="http://no-such-host.invalid/v1", tls=f"https://127.0.0.1:{talker.port}/v1")
        config = "defaults { connect = 10, head = 20, first_event = 20, between_events = 20, hold_head = 0 }\n"
        quick = "head = 0.6, first_event = 0.6, between_events = 0.6"
        for side, provider in (("", chat_provider), ("m", messages_provider)):
            trust = f'ca = "{tls[2]}", ' if tls else ""
            config += "".join(provider(side + name, url, trust + (quick if name == "still" else "")) for name, url in urls.items())
            for name in urls:
                config += f'model "{side}chain-{name}" {{ "{side}{name}/x", "{side}good/y" }}\n'
            config += f'model "{side}early" {{ "{side}bad/x", "{side}good/y", hold_head = 0.15 }}\n'
            config += f'model "{side}early-alone" {{ "{side}bad/x", hold_head = 0.15 }}\n'
        self.w = h.weir(config + ('use "looks"\n' if policy else ""), policies={"looks": policy} if policy else None)
        self.todo = list(cells)

    def script(self, provider, cell, head, body):
        d, streamed = self.cells[cell].d, self.cells[cell].streamed
        if provider == "bad":
            return kept(self.cells[cell].acts) if self.kept else self.cells[cell].acts
        if streamed:
            return [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + CHUNKED + b"".join(map(chunk, d.events("good"))) + b"0\r\n\r\n", "keep"]
        return [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(d.whole("good")), d.whole("good")), "keep"]

    def model(self, cell, chain):
        side = cell.d.side
        if cell.early:
            return f"{side}early" if chain else f"{side}early-alone"
        return f"{side}chain-{cell.via}" if chain else cell.target()

    async def one(self, cell, chain):
        number = str(len(self.cells) + 1)
        self.cells[number], self.asked[number] = cell, (cell, chain)
        headers = cell.d.headers + self.headers + [("x-request-id", number), ("x-cell", number)]
        body, path = cell.d.request(self.model(cell, chain), cell.streamed), cell.d.path
        try:
            second = cell.d.request(f"{cell.d.side}good/y", cell.streamed) if self.kept else None
            a, behind, took = await self.stage.ask(self.w.port, path, body, headers, second)
            if self.kept and a.whole:
                b, nothing = parsed(behind)
                self.followed[cell.d.side] = self.followed.get(cell.d.side, 0) + 1
                assert b.status == 200 and b.whole and b.body == self.good(cell) and not nothing, f"on the same connection then: {b}"
            elif self.kept:
                assert not behind, behind
            self.judge(cell, chain, number, a)
            assert took < 3.5 * self.h.slow, f"took {took:.1f} s"
        except (AssertionError, KeyError, ValueError, IndexError, asyncio.TimeoutError, OSError) as e:
            self.wrong.append(f"{cell} ({'chain' if chain else 'alone'}{self.under}): {type(e).__name__} {str(e)[:400]}")

    def good(self, cell):
        return cell.d.stream("good") if cell.streamed else cell.d.whole("good")

    async def all(self):
        await asyncio.gather(*(self.one(c, chain) for c in self.todo for chain in self.ways))

    def sees(self, cell):
        if self.policy == ALL and cell.sees in ("broken", "forwarded") or self.policy in (ALL, WATCH) and cell.sees == "cut":
            return "hidden"  # what is judged is held to the end
        return cell.sees

    def judge(self, cell, chain, number, a):
        sees, d = self.sees(cell), cell.d
        assert a.header("x-request-id") == number, a
        bad, good = (self.stage.hits.get((name, number), 0) for name in ("bad", "good"))
        shown_good = sees == "hidden" and chain
        tries = min(cell.tries, 1) if chain else cell.tries
        stale = self.kept and bad == 2 and cell.fault == "connection" and cell.status is None  # at once on a kept connection: asked on a fresh one
        assert (bad - stale, good - (self.kept and a.whole)) == (tries, int(shown_good)), f"bad was asked {bad} times, good {good}: {a}"
        body = a.body
        if cell.early:
            beat = b'event: ping\ndata: {"type":"ping"}\n\n' if d.name == "messages" else b": ping\n\n"
            assert a.status == 200 and a.header("x-weir-early") == "1" and body.startswith(beat), a
            body = body[len(beat) :]
        if shown_good:
            assert a.status == 200 and a.whole and body == self.good(cell), a
            assert cell.early or (a.header("x-weir-target"), a.header("x-weir-attempts")) == (f"{d.side}good/y", "2"), a
        elif cell.early:
            assert a.whole
            self.error_event(cell, body, number)
        elif sees == "broken":
            assert a.status == 200 and a.whole and body.startswith(cell.body), f"{a}, not {cell.body!r}"
            self.error_event(cell, body[len(cell.body) :], number)
        elif sees == "cut":
            assert a.status == 200 and not a.whole and cell.body.startswith(body) and len(body) > 256 << 10, f"{len(body)} bytes, {'whole' if a.whole else 'cut'}"
        elif sees == "done":
            assert a.status == 200 and a.whole and body.startswith(cell.body) and (cell.body + cell.more).startswith(body), a
        elif sees == "forwarded":
            assert a.status == 200 and a.whole and body == cell.body, f"{a}, not {cell.body!r}"
        else:
            self.refusal(cell, a, number)

    def fault(self, cell):
        if cell.fault is None and "cut, " in cell.name:
            return "bad_request" if cell.status == 400 else "overloaded"
        return cell.fault

    def refusal(self, cell, a, number):
        """The chain has nothing left, before anything was sent."""
        fault = self.fault(cell)
        assert a.whole
        if cell.status and 400 <= cell.status < 500 and fault not in ("auth", "quota") and "cut, " not in cell.name:
            assert a.status == cell.status and a.body == cell.body and a.header("content-type") == "application/json", a
            assert a.header("retry-after") == next((x for x in ("30", "0") if b"retry-after: %s\r\n" % x.encode() in cell.acts[0]), None), a
            return
        status = SPENT[fault]
        assert a.status == (529 if status == 503 and cell.d.name == "messages" else status), a
        self.error_shape(cell, a.json())
        self.tried(cell, a.weir, number)
        assert a.header("x-should-retry") == "false" and not a.header("retry-after"), a

    def error_shape(self, cell, d):
        e = d["error"]
        assert e["message"] and e["type"], d
        if cell.d.name == "messages":
            assert d["type"] == "error" and e["type"].endswith("_error") or e["type"] == "request_too_large", d

    def tried(self, cell, said, number):
        fault = self.fault(cell)
        assert said["id"] == number and said["fault"] == fault, said
        tried = [(t["target"], t["fault"], t["status"]) for t in said["tried"]]
        assert tried == [(cell.target(), fault, cell.status)] * max(cell.tries, 1), tried

    def error_event(self, cell, rest, number):
        found = wire.events(rest)
        assert len(found) == 1 and rest.endswith(b"\n\n"), f"no error event alone: {rest!r}"
        name, data = found[0]
        d = json.loads(data)
        self.error_shape(cell, d)
        self.tried(cell, d["error"]["weir"], number)
        if cell.d.name == "responses":
            numbers = re.findall(rb'"sequence_number":(\d+)', cell.body if cell.sees == "broken" else b"")
            assert d["type"] == "error" and d["message"] and d["sequence_number"] == (int(numbers[-1]) + 1 if numbers else 0), d
        assert name == ("error" if cell.d.name in ("responses", "messages") else None), name

    def play(self):
        self.stage.run(self.all)
        self.books()
        assert not self.wrong, f"{len(self.wrong)} of {len(self.asked)} cells: " + "\n  ".join(self.wrong[:60])
        return len(self.asked)

    def books(self):
        """Access log and metrics say what happened, no more and no less."""
        records, second = {}, sum(self.followed.values())

        def written():
            lines = self.w.records()
            records.update((r["id"], r) for r in reversed(lines))
            return len(lines) == len(self.asked) + second

        until(written, 5, "an access line of each exchange", 0.1)
        counts = {}
        for number, (cell, chain) in self.asked.items():
            r, sees, fault = records.get(number), self.sees(cell), self.fault(cell)
            what = f"{cell} ({'chain' if chain else 'alone'}{self.under})"
            tries = 0 if sees == "done" else 1 if chain else max(cell.tries, 1)
            failed = [(t["target"], t["fault"], t.get("status")) for t in (r or {}).get("failed", ())]
            end = "done" if sees == "done" or (sees == "hidden" and chain) else fault
            if not r or r["end"] != end or failed != [(cell.target(), fault, cell.status)] * tries:
                self.wrong.append(f"{what}: the access log says {r}, not end {end}, {tries} of {fault}, {cell.status}")
            for target, kind, n in ((cell.target(), fault, tries), (cell.target(), "none", int(sees == "done")), (f"{cell.d.side}good/y", "none", int(end == "done" and sees == "hidden"))):
                counts[target, kind] = counts.get((target, kind), 0) + n
        lines = dict(x.rsplit(" ", 1) for x in self.w.metrics().splitlines() if x.startswith("weir_attempts_total{"))
        told = {tuple(re.findall(r'(?:target|fault)="([^"]*)"', k)): int(float(v)) for k, v in lines.items()}
        for side, n in self.followed.items():
            counts[f"{side}good/y", "none"] = counts.get((f"{side}good/y", "none"), 0) + n
        counts = {k: n for k, n in counts.items() if n}
        if told != counts:
            wrong = {k: (told.get(k, 0), counts.get(k, 0)) for k in {*told, *counts} if told.get(k, 0) != counts.get(k, 0)}
            self.wrong.append(f"weir_attempts_total (told, counted): {wrong}")


def test_every_fault_at_every_moment(h):
    n = Table(h, None, [c for d in DIALECTS for c in all_cells(d)]).play()
    assert n > 2000, n


def test_every_fault_under_policies(h):
    cells = [c for d in DIALECTS for c in all_cells(d)]
    for i, policy in enumerate((WATCH, HOLD, ALL)):
        Table(h, policy, cells[i::8]).play()


def test_every_fault_on_kept_connections(h):
    """What broke on a connection, or stood behind an answer, is nobody else's on either side."""
    cells = [c for d in DIALECTS for c in all_cells(d)]
    cells = cells[::6] + [c for d in DIALECTS for c in behind_cells(d)]
    random.Random(1).shuffle(cells)
    Table(h, None, cells, kept=True).play()


def test_the_budget_ends_at_every_moment(h):
    """A provider that is silent for longer than the whole request may take: told like every fault, and nothing more is tried."""
    cells = []
    for d in DIALECTS:
        for c in all_cells(d):
            if c.acts and c.acts[-1] == "stall" and (c.fault == "timeout" or "cut, stall" in c.name) and c.sees in ("hidden", "refused", "broken", "cut"):
                sees = c.sees if c.sees in ("broken", "cut") else "spent"
                cells.append(Cell(f"{c.name} until the budget is spent", d, c.streamed, c.acts, "timeout", sees, c.body, c.status, via="bad"))
    Table(h, None, cells[::4], headers=[("x-weir-timeout", "0.6")]).play()


PRESETS = ("401", "429", "quota", "500", "503", "529", "empty", "garbage", "html", "drop", "error-first")


def test_the_mocks_presets(h):
    """What weir-mock does on request in place of a good answer is not seen with a good one behind it."""
    m = h.mock()
    w = h.weir(
        "".join(
            provider(side + "p", m.url) + "".join(f'model "{side}chain-{x}" {{ "{side}p/mock-{x}", "{side}p/mock" }}\n' for x in PRESETS)
            for side, provider in (("", chat_provider), ("m", messages_provider))
        )
    )
    for d in DIALECTS:
        for streamed in (False, True):
            true = wire.post(m.port, d.path, d.request("mock", streamed), d.headers).body
            for x in PRESETS:
                a = w.post(d.path, d.request(f"{d.side}chain-{x}", streamed), d.headers)
                what = f"{d.name} {'stream' if streamed else 'whole'} {x}"
                if streamed or x != "error-first":  # which a whole answer has none of
                    assert a.status == 200 and a.body == true and a.header("x-weir-attempts") == "2", f"{what}: {a}"


# ---- every byte


def sweep(seed, *more):
    """Streams of each dialect and a whole answer, cut after each of their bytes, by an end of the connection or a reset."""
    rng = random.Random(seed)
    ends = ("chunks cut", "reset", "closed", "clean end", "length cut", *more)
    for d in DIALECTS:
        for events, first in ((d.events("bad"), d.first), RICH[d.name]("bad")):
            line_end = rng.choice((b"\n", b"\r", b"\r\n"))
            events = [e.replace(b"\n", line_end) for e in events]
            apart = 1 if first == d.first and len(events) == len(d.events()) else 3
            for n in range(rng.randrange(apart), sum(map(len, events)) + 1, apart):
                yield cut_cell(d, events, first, n, rng.choice(ends), len(line_end))
        body = d.whole("bad")
        for n in range(len(body)):
            how = rng.choice(ends)
            acts, fault = ended(JSON, body[:n], len(body), how)
            yield Cell(f"{how} after {n} of {len(body)} bytes", d, False, acts, fault or ("invalid" if n else "empty"))


def test_every_byte(h):
    seed = random.randrange(1 << 30)
    try:
        Table(h, None, sweep(seed), alone=False).play()
        for i, policy in enumerate((WATCH, HOLD, ALL)):
            Table(h, policy, list(sweep(seed + 1))[i::16], alone=False).play()
    except AssertionError as e:
        raise AssertionError(f"seed {seed}: {e}") from None


def test_bytes_over_tls(h):
    """The same through TLS, which has an end of its own: without it what lasts until the end of the connection is not whole."""
    certs.authority(h.tmp, "root")
    tls = (*certs.leaf(h.tmp, "good", "root", ["DNS:localhost"]), os.path.join(h.tmp, "root.pem"))
    cells = list(sweep(7, "dropped", "dropped"))[::24]
    for d in DIALECTS:
        body, big = d.whole("bad"), d.whole("bad", BIG)
        for end in ("close", "drop"):
            cells.append(Cell(f"{end} after all its bytes", d, False, [JSON + UNTIL_CLOSE + body, end], None, "done", body))
        cells.append(Cell("dropped above hold_answer", d, False, [JSON + UNTIL_CLOSE + big, "drop"], "connection", "cut", big))
        cells.append(Cell("closed above hold_answer", d, False, [JSON + UNTIL_CLOSE + big, "close"], None, "done", big))
        cells += list(stream_cells(d))[::16]
    Table(h, None, cells, tls=tls).play()
