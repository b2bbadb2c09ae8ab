"""Small rules that are easily broken: framing of answers without a body, slow readers, drains, what an error may say."""
import signal
import time

import wire
from harness import chat_body, chat_provider
from upstream import chat_answer, chat_events


def test_answers_without_a_body(h):
    """204 has no length; HEAD tells the length that GET would have."""
    def answers(request, peer):
        if request.method == "DELETE":
            peer.send(b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n")
        elif request.target.endswith("chunked"):
            peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        elif request.target.endswith("304"):
            peer.send(b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n")
        else:
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n")
        return True
    w = h.weir(chat_provider("p", h.upstream(answers).url))
    with wire.Connection(w.port) as c:                   # one connection: each must end where the next begins
        for method, path, status, length, coding in (("DELETE", "/p/files/1", 204, None, None), ("HEAD", "/p/files/1", 200, "1234", None),
                                                     ("HEAD", "/p/chunked", 200, None, "chunked"), ("GET", "/p/304", 304, None, None)):
            c.send(wire.request(method, path))
            a = c.answer(method)
            assert (a.status, a.header("content-length"), a.header("transfer-encoding")) == (status, length, coding), f"{method} {path}: {a}"


def test_slow_reader_of_a_whole_answer_gets_all_of_it(h):
    """What waits to be read is no idle connection; one that is not read at all goes in the end."""
    text = "t" * 6_000_000
    w = h.weir(chat_provider("p", h.upstream(lambda r, p: p.answer(chat_answer(text)) or True).url) + 'default_provider "p"\ndefaults { client_idle = 0.5, hold_answer = mb(12) }\n')
    for close in ((), [("connection", "close")]):
        c = wire.Connection(w.port, receive_buffer=65536)
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(), close))
        time.sleep(1.2)
        a = c.answer()
        assert a.whole and len(a.body) > len(text), a
        c.close()


def test_drain_lets_an_answer_under_way_be_read(h):
    text = "t" * 6_000_000
    w = h.weir(chat_provider("p", h.upstream(lambda r, p: p.answer(chat_answer(text)) or True).url) + 'default_provider "p"\ndefaults { hold_answer = mb(12) }\n')
    c = wire.Connection(w.port, receive_buffer=65536)
    c.send(wire.request("POST", "/v1/chat/completions", chat_body()))
    c.head()
    time.sleep(0.3)                                      # the answer is given, the client still reads it
    w.signal(signal.SIGTERM)
    time.sleep(0.3)
    got = len(c.rest)
    while data := c.more():
        got += len(data)
    assert got > len(text), f"{got} bytes of {len(text)}"
    assert w.wait(5) == 0


def test_drain_ends_when_the_last_stream_does(h):
    def answers(request, peer):
        peer.stream(*chat_events("Hel", "lo."), gap=0.15)
        return True
    w = h.weir(chat_provider("p", h.upstream(answers).url))
    c = wire.Connection(w.port)
    c.send(wire.request("POST", "/v1/chat/completions", chat_body("p/m", True)))
    assert c.head().status == 200
    w.signal(signal.SIGTERM)
    begun = time.monotonic()
    assert w.wait(10) == 0 and time.monotonic() - begun < 5, "a stream that has ended is not waited for as an idle client"
    rest = b""
    while data := c.more():
        rest += data
    assert rest.endswith(b"0\r\n\r\n")


def test_refusals_before_the_body_are_in_the_callers_dialect(h):
    w = h.weir(chat_provider("p", h.upstream().url) + "defaults { max_body = kb(1) }\n")
    for headers in (b"content-length: 5000", b"transfer-encoding: chunked\r\nupgrade: h2c\r\nconnection: upgrade"):
        with wire.raw(w.port, b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n%s\r\n\r\n" % headers) as c:
            a = c.answer()
            assert a.status in (413, 501) and a.json()["type"] == "error", a


def test_what_a_provider_says_about_its_key_stays_here(h):
    """A stream that begins with an error about weir's account: neither the caller nor the log is told the provider's words."""
    def answers(request, peer):
        peer.stream(b'data: {"error":{"message":"Incorrect API key provided: sk-very-secret","type":"invalid_request_error","code":"invalid_api_key"}}\n\n')
        return True
    w = h.weir(chat_provider("p", h.upstream(answers).url))
    a = w.chat("p/m", True)
    assert a.status == 502 and a.weir["fault"] == "auth" and b"sk-very-secret" not in a.body, a
    assert "sk-very-secret" not in w.err, w.err


def test_cut_refusal_is_not_passed_as_whole(h):
    def answers(request, peer):
        peer.send(b'HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"error":{"message":"the mes')
    w = h.weir(chat_provider("p", h.upstream(answers).url))
    a = w.chat("p/m")
    assert a.status in (400, 502) and a.json()["error"]["weir"]["id"], a


def test_time_that_is_over_before_the_body_is_here(h):
    """req.remaining counts down to nothing, not to an eternity."""
    policy = 'local policy = {}\nfunction policy.on_request(req) return weir.deny(418, tostring(req.remaining < 1)) end\nreturn policy\n'
    w = h.weir(chat_provider("p", h.upstream().url) + 'use "told"\n', policies={"told": policy})
    body = chat_body("p/m")
    with wire.raw(w.port, wire.request("POST", "/v1/chat/completions", body, [("x-weir-timeout", "0.2")])[:-5]) as c:
        time.sleep(0.5)
        c.send(body[-5:])
        a = c.answer()
        assert a.status == 504 or "true" in a.error["message"], a


def test_admin_requests_in_one_go(h):
    w = h.weir(chat_provider("p", h.upstream().url))
    one = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with wire.raw(w.admin, one * 3 + one[:20], timeout=5) as c:
        for _ in range(3):
            assert c.answer("GET").status == 200
        c.send(one[20:])
        assert c.answer("GET").status == 200


def test_bound_request_waits_at_its_account(h):
    """State that lives at one account goes there again after a short retry-after, not to the next key."""
    said = []

    def answers(request, peer):
        said.append(request.header("authorization"))
        if len(said) == 1:
            peer.answer(b'{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}', 429, [("retry-after", "0.1")])
        else:
            peer.answer(b'{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}]}')
        return True
    for _ in range(6):
        said.clear()
        u = h.upstream(answers)
        w = h.weir(f'provider "p" {{ dialect = "responses", url = "{u.url}", key = {{ env "KEY_A", env "KEY_B" }} }}\n', env={"KEY_A": "a", "KEY_B": "b"})
        a = w.post("/v1/responses", b'{"model":"p/m","input":"hi","previous_response_id":"resp_1"}')
        assert a.status == 200 and len(said) == 2 and said[0] == said[1], (a, said)


HOLDS = """
local policy = {}
function policy.on_response(req, response) if not response.done then return weir.hold { seconds = 0.4 } end end
function policy.on_failure(req, attempt, fault) weir.sleep(0.8) return weir.next() end
return policy
"""


def test_hold_of_an_attempt_that_failed_is_over(h):
    """Its clock does not bring the dead start back while on_failure waits."""
    def cut(request, peer):
        peer.stream(*chat_events("dead ", "words")[:2], end=False)
        time.sleep(0.1)
    first, second = h.upstream(cut), h.upstream()
    w = h.weir(chat_provider("a", first.url) + chat_provider("b", second.url) + 'model "chain" { "a/x", "b/y" }\nuse "holds"\n', policies={"holds": HOLDS})
    a = w.chat("chain", True)
    assert a.status == 200 and a.text() == "Hello." and a.header("x-weir-target") == "b/y", a
