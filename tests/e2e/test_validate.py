"""The shipped policy validate over the wire: the schema that a request brings, in each dialect, and a stream that stays short."""

import json
import os
import time

from harness import chat_provider, messages_provider
from upstream import DONE, FINISH, ROLE, chat_answer, messages_answer, messages_word, word, START, STOP

SHIPPED = {"WEIR_POLICIES": os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "policies")}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
BAD, GOOD = '{"a": "1"}', '{"a": 1}'


def responses_answer(text):
    message = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]}
    return json.dumps({"id": "r1", "object": "response", "status": "completed", "model": "mock", "output": [message]}).encode()


def two(h, provider, bad, good, more="use \"validate\" {}\n"):
    b, g = h.upstream(bad), h.upstream(good)
    return h.weir(provider("bad", b.url) + provider("good", g.url) + 'model "chain" { "bad/x", "good/y" }\n' + more, env=SHIPPED), b, g


def answers(body):
    return lambda request, peer: peer.answer(body) or True


def test_schema_of_the_request(h):
    prompt = {"model": "chain", "messages": [{"role": "user", "content": "?"}]}
    asked = {
        "/v1/chat/completions": (chat_provider, chat_answer, dict(prompt, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}})),
        "/v1/responses": (chat_provider, responses_answer, {"model": "chain", "input": "?", "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}),
        "/v1/messages": (messages_provider, messages_answer, dict(prompt, max_tokens=9, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})),
    }
    for path, (provider, answer, body) in asked.items():
        w, b, g = two(h, provider, answers(answer(BAD)), answers(answer(GOOD)))
        a = w.post(path, json.dumps(body).encode())
        assert a.status == 200 and a.header("x-weir-target") == "good/y" and a.text() == GOOD, (path, a)
        b.handler = answers(answer(GOOD))
        assert w.post(path, json.dumps(body).encode()).header("x-weir-target") == "bad/x", path


def test_schema_of_a_stream(h):
    def messages(text):
        return lambda request, peer: peer.stream(START, messages_word(text[:4]), messages_word(text[4:]), STOP) or True

    w, b, g = two(h, messages_provider, messages(BAD), messages(GOOD))
    body = {"model": "chain", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "?"}]}
    body["output_format"] = {"type": "json_schema", "schema": SCHEMA}
    a = w.post("/v1/messages", json.dumps(body).encode())
    assert a.whole and a.text() == GOOD and a.header("x-weir-target") == "good/y", a


def test_a_stream_that_stays_short_is_let_go(h):
    """`wait` bounds how long the first words are waited for, once: then what is there goes on."""
    def slow(request, peer):
        peer.stream(ROLE, word("Hi"), end=False)
        time.sleep(1.2)
        peer.chunk(word(" there.") + FINISH + DONE)
        peer.send(b"0\r\n\r\n")
        return True

    w, b, g = two(h, chat_provider, slow, slow, 'use "validate" { min_chars = 5, wait = 0.3 }\n')
    begun = time.monotonic()
    a = w.chat("chain", stream=True)
    first = next(t for t, p in a.pieces if b"Hi" in p) - begun
    assert a.whole and a.text() == "Hi there." and a.header("x-weir-target") == "bad/x", a
    assert 0.25 < first < 1, f"the first word came after {first:.2f} s"
