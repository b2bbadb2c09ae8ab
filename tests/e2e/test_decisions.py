"""What hooks see of an answer in each dialect, whole and streamed, and what on_failure may decide. INTERFACE 4."""

import json
import time

from harness import chat_provider, messages_provider
from speech import line
from upstream import ROLE, chat_answer, chat_events, word

# ---- the fields of response: the same in every dialect, whole and streamed

LOOK = """
function p.on_response(req, r)
  if not r.done then return weir.hold { until_done = true } end
  local usage = r.usage
  req:note("saw", { r.status, r.text, r.thinking, r.finish, r.model, r.done, r.headers["X-Told"], usage.input, usage.output, usage.cache_read, usage.reasoning or -1 })
  req:note("tools", r.tools)
  req:note("json", r.json and (r.json.id or "no id") or "none")
  local known, why = pcall(function() return r.texts end)
  req:note("unknown", why)
end"""

CALL = {"id": "t1", "name": "add", "arguments": '{"a":1}'}


def chat():
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 3}}
    call = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    message = {"role": "assistant", "content": "Yes, 水.", "reasoning_content": "Hm. ", "tool_calls": [call]}
    whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": "served-1", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": usage}

    def chunk(delta, finish=None, **more):
        return line("", id="c1", object="chat.completion.chunk", created=1, model="served-1", choices=[{"index": 0, "delta": delta, "finish_reason": finish}], **more)

    first = {"index": 0, "id": "t1", "type": "function", "function": {"name": "add", "arguments": ""}}
    stream = [
        chunk({"role": "assistant", "content": ""}), chunk({"reasoning_content": "Hm. "}), chunk({"content": "Yes, "}), chunk({"content": "水."}), chunk({"tool_calls": [first]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}), chunk({}, "tool_calls"),
        line("", id="c1", object="chat.completion.chunk", created=1, model="served-1", choices=[], usage=usage), b"data: [DONE]\n\n",
    ]
    return whole, stream, "tool_calls", 3


def messages():
    usage = {"input_tokens": 7, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 0, "output_tokens": 5}
    blocks = [{"type": "thinking", "thinking": "Hm. ", "signature": "c2ln"}, {"type": "text", "text": "Yes, 水."}, {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}]
    whole = {"id": "c1", "type": "message", "role": "assistant", "model": "served-1", "content": blocks, "stop_reason": "tool_use", "stop_sequence": None, "usage": usage}

    def event(**d):
        return line(d["type"], **d)

    def delta(i, **d):
        return event(type="content_block_delta", index=i, delta=d)

    starts = [{"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": ""}, {"type": "tool_use", "id": "t1", "name": "add", "input": {}}]
    inside = [[delta(0, type="thinking_delta", thinking="Hm. "), delta(0, type="signature_delta", signature="c2ln")], [delta(1, type="text_delta", text="Yes, "), delta(1, type="text_delta", text="水.")],
              [delta(2, type="input_json_delta", partial_json='{"a"'), delta(2, type="input_json_delta", partial_json=":1}")]]
    stream = [event(type="message_start", message={**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}})]
    for i in range(3):
        stream += [event(type="content_block_start", index=i, content_block=starts[i]), *inside[i], event(type="content_block_stop", index=i)]
    stream += [event(type="message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 5}), event(type="message_stop")]
    return whole, stream, "tool_use", -1


def responses():
    usage = {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14, "input_tokens_details": {"cached_tokens": 2}, "output_tokens_details": {"reasoning_tokens": 3}}
    part = {"type": "output_text", "text": "Yes, 水.", "annotations": []}
    items = [
        {"type": "reasoning", "id": "r1", "summary": [{"type": "summary_text", "text": "Hm. "}]},
        {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [part]},
        {"type": "function_call", "id": "f1", "call_id": "t1", "name": "add", "arguments": '{"a":1}', "status": "completed"},
    ]
    whole = {"id": "c1", "object": "response", "created_at": 1, "status": "completed", "error": None, "incomplete_details": None, "model": "served-1", "output": items, "usage": usage}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    opened = [{**items[0], "summary": []}, {**items[1], "status": "in_progress", "content": []}, {**items[2], "status": "in_progress", "arguments": ""}]
    at = {"output_index": 1, "item_id": "m1", "content_index": 0}
    told = [
        [("response.reasoning_summary_text.delta", {"output_index": 0, "item_id": "r1", "summary_index": 0, "delta": "Hm. "})],
        [("response.content_part.added", {**at, "part": {**part, "text": ""}}), ("response.output_text.delta", {**at, "delta": "Yes, "}), ("response.output_text.delta", {**at, "delta": "水."}),
         ("response.output_text.done", {**at, "text": "Yes, 水."}), ("response.content_part.done", {**at, "part": part})],
        [("response.function_call_arguments.delta", {"output_index": 2, "item_id": "f1", "delta": '{"a":1}'}),
         ("response.function_call_arguments.done", {"output_index": 2, "item_id": "f1", "arguments": '{"a":1}'})],
    ]
    events = [("response.created", {"response": begun})]
    for i in range(3):
        events += [("response.output_item.added", {"output_index": i, "item": opened[i]}), *told[i], ("response.output_item.done", {"output_index": i, "item": items[i]})]
    events.append(("response.completed", {"response": whole}))
    return whole, [line(name, type=name, sequence_number=i, **d) for i, (name, d) in enumerate(events)], "completed", 3


def test_fields_of_response(h):
    prompt = {"messages": [{"role": "user", "content": "?"}]}
    for said, provider, path, body in (
        (chat, chat_provider, "/v1/chat/completions", prompt),
        (messages, messages_provider, "/v1/messages", {**prompt, "max_tokens": 9}),
        (responses, chat_provider, "/v1/responses", {"input": "?"}),
    ):
        whole, stream, finish, reasoning = said()
        u = h.upstream()
        w = h.weir(provider("p", u.url) + 'use "rule"\n', policies={"rule": "local p = {}\n" + LOOK + "\nreturn p\n"})
        for streamed in (False, True):
            u.handler = (
                (lambda r, peer: peer.stream(*stream, headers=[("x-told", "yes")]) or True) if streamed
                else (lambda r, peer: peer.answer(json.dumps(whole).encode(), headers=[("x-told", "yes")]) or True)
            )
            a = w.post(path, json.dumps({**body, "model": "p/m", "stream": streamed}).encode())
            assert a.status == 200 and a.whole, (path, streamed, a)
            notes = w.record(a.header("x-request-id"))["notes"]
            saw = json.loads(notes["saw"])
            want = [200, "Yes, 水.", "Hm. ", finish, "served-1", True, "yes", 7, 5, 2, reasoning]
            assert saw == want, f"{path} {'streamed' if streamed else 'whole'}:\n{saw} is not\n{want}"
            tools = json.loads(notes["tools"])
            assert [{**t, "arguments": json.loads(t["arguments"])} for t in tools] == [{**CALL, "arguments": {"a": 1}}], (path, streamed, tools)
            assert notes["json"] == ("none" if streamed else "c1") and "did you mean 'text'" in notes["unknown"], notes


# ---- on_failure


def failing(h, hooks, config="", handler=None, second=None):
    p, o = h.upstream(handler or (lambda r, peer: peer.answer(b'{"error":{"message":"their word"}}', 503) or True)), h.upstream(second)
    rule = "local p = {}\n" + hooks + "\nreturn p\n"
    policies = {"rule": rule} if isinstance(hooks, str) else {}
    w = h.weir(chat_provider("p", p.url) + chat_provider("o", o.url) + 'model "chain" { "p/a", "o/b" }\n' + (config or 'use "rule"\n'), policies=policies)
    return w, p, o


def test_retry_waits_as_told(h):
    hooks = """function p.on_failure(req, attempt, fault)
      if req.attempts < 3 then return weir.retry { after = 0.15 } end
      return weir.fail("tried " .. req.attempts .. " times, " .. fault.kind)
    end"""
    w, p, o = failing(h, hooks)
    a = w.chat("chain")
    assert a.status == 503 and a.error["message"] == "tried 3 times, overloaded" and len(a.weir["tried"]) == 3 and not o.requests, a
    at = [r.at for r in p.requests]
    assert len(at) == 3 and all(0.14 < b - a < 1 * h.slow for a, b in zip(at, at[1:])), at


def test_retry_without_a_time_heeds_retry_after(h):
    hooks = "function p.on_failure(req) if req.attempts == 1 then return weir.retry() end end"
    answers = iter([b"HTTP/1.1 429 X\r\nretry-after-ms: 400\r\ncontent-length: 2\r\n\r\n{}", None])

    def handler(r, peer):
        told = next(answers, None)
        peer.send(told) if told else peer.answer(chat_answer("again"))
        return True

    w, p, o = failing(h, hooks, handler=handler)
    a = w.chat("chain")
    assert a.text() == "again" and 0.39 < p.requests[1].at - p.requests[0].at < 2 * h.slow, (a, [r.at for r in p.requests])


def test_retry_beyond_the_budget_ends_at_once(h):
    w, p, o = failing(h, "function p.on_failure() return weir.retry { after = 30 } end")
    begun = time.monotonic()
    a = w.chat("chain", headers=[("x-weir-timeout", "5")])
    assert a.status == 503 and a.weir["fault"] == "overloaded" and time.monotonic() - begun < 3 and len(p.requests) == 1, a


def test_retry_for_ever_ends(h):
    w, p, o = failing(h, "function p.on_failure() return weir.retry { after = 0 } end")
    a = w.chat("chain")
    assert a.status == 503 and len(p.requests) == 24 and a.header("x-weir-attempts") == "24", a


def test_next_goes_on_whatever_next_on_says(h):
    def refuses(r, peer):
        peer.answer(b'{"error":{"message":"their word","type":"invalid_request_error","code":null}}', 400)
        return True

    w, p, o = failing(h, "function p.on_failure(req, attempt, fault) req:note('f', fault.kind) return weir.next() end", handler=refuses)
    a = w.chat("chain")
    assert a.status == 200 and a.header("x-weir-target") == "o/b" and w.record(a.header("x-request-id"))["notes"]["f"] == "bad_request", a
    o.handler = refuses
    a = w.chat("chain")
    assert a.status == 400 and a.body == b'{"error":{"message":"their word","type":"invalid_request_error","code":null}}', a
    assert a.header("x-weir-target") == "o/b" and a.header("x-weir-attempts") == "2", a


def test_fail_ends_the_chain(h):
    for why, said in (('"not today"', "not today"), ("", None)):
        w, p, o = failing(h, f"function p.on_failure() return weir.fail({why}) end")
        for stream in (False, True):
            a = w.chat("chain", stream=stream)
            assert a.status == 503 and a.weir["fault"] == "overloaded" and (said is None or a.error["message"] == said), a
            assert a.header("x-should-retry") == "false" and not o.requests, a
            assert w.record(a.header("x-request-id"))["end"] == "overloaded"


def test_the_first_answer_wins(h):
    p, o = h.upstream(lambda r, peer: peer.answer(b"{}", 503) or True), h.upstream()
    one = "return { on_failure = function(req, attempt, fault) req:note('one', fault.target) if req.model == 'nothing' then return end if fault.target == 'p/a' then return weir.next() end end }"
    two = "return { on_failure = function(req, attempt, fault) req:note('two', fault.target) return weir.fail('two says') end }"
    config = chat_provider("p", p.url) + chat_provider("o", o.url) + 'model "chain" { "p/a", "o/b" }\nmodel "nothing" { "p/a", "o/b" }\nuse "one"\nuse "two"\n'
    w = h.weir(config, policies={"one": one, "two": two})
    a = w.chat("chain")
    assert a.header("x-weir-target") == "o/b" and w.record(a.header("x-request-id"))["notes"] == {"one": "p/a"}, a
    a = w.chat("nothing")
    assert a.status == 503 and a.error["message"] == "two says" and w.record(a.header("x-request-id"))["notes"] == {"one": "p/a", "two": "p/a"}, a


def test_nothing_said_is_next_on(h):
    hooks = "function p.on_failure(req, attempt, fault) req:note('n', attempt.number) end"
    config = 'model "narrow" { "p/a", "o/b", next_on = { "timeout" } }\nmodel "wide" { "p/a", "o/b", next_on = { "overloaded" } }\nuse "rule"\n'
    w, p, o = failing(h, hooks, config)
    a = w.chat("narrow")
    assert a.status == 503 and not o.requests and w.record(a.header("x-request-id"))["notes"] == {"n": "1"}, a
    a = w.chat("wide")
    assert a.status == 200 and a.header("x-weir-target") == "o/b", a


def test_on_failure_hears_of_a_rejection(h):
    hooks = """
      function p.on_response(req, r) if r.text:find("Hello", 1, true) then return weir.reject("a greeting") end end
      function p.on_failure(req, attempt, fault)
        req:note("heard", { fault.kind, fault.phase, fault.status or 0, fault.target, attempt.target })
        return weir.next()
      end"""
    for stream, phase in ((False, "head"), (True, "first_event")):
        w, p, o = failing(
            h, hooks,
            handler=lambda r, peer: (peer.stream(*chat_events("Hello.")) if b'"stream": true' in r.body else peer.answer(chat_answer("Hello."))) or True,
            second=lambda r, peer: (peer.stream(*chat_events("Good day.")) if b'"stream": true' in r.body else peer.answer(chat_answer("Good day."))) or True,
        )
        a = w.chat("chain", stream=stream)
        assert a.text() == "Good day.", a
        assert json.loads(w.record(a.header("x-request-id"))["notes"]["heard"]) == ["invalid", phase, 200, "p/a", "p/a"]


def test_no_failure_hook_past_the_content(h):
    """What the client has seen cannot be tried again: nobody is asked."""
    def breaks(r, peer):
        peer.stream(ROLE, word("one"), end=False)
        time.sleep(0.1)
        peer.reset()

    w, p, o = failing(h, "function p.on_failure(req) req:note('asked', 1) return weir.next() end", handler=breaks)
    a = w.chat("chain", stream=True)
    assert b"one" in a.body and b'"error"' in a.body and b"[DONE]" not in a.body and not o.requests, a
    assert "notes" not in w.record(a.header("x-request-id"))


# ---- state that is valid only where it was made

SIGNED = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, {"type": "text", "text": "Ja \u6c34 \\ 1e2"}]},
    {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "eA=="}]},
    {"role": "user", "content": [{"type": "text", "text": "And?"}]},
]
ALLOW = 'function p.on_request(req) return weir.allow_loss { "thinking", "previous_response_id" } end'


def bound(h, provider, hooks="", keys=""):
    """Two accounts at the first provider, which fails; another behind it."""
    p, o = h.upstream(lambda r, peer: peer.answer(b'{"error":{"type":"overloaded_error","message":"busy"}}', 503) or True), h.upstream()
    first = provider("p", p.url, 'key = { env "KEY_A", env "KEY_B" }').replace(f'key = env "OPENAI_KEY", ', "")
    config = first + provider("o", o.url) + 'model "chain" { "p/a", "o/b" }\n' + ('use "rule"\n' if hooks else "")
    w = h.weir(config, policies={"rule": "local p = {}\n" + hooks + "\nreturn p\n"}, env={"KEY_A": "key-a-0123456789", "KEY_B": "key-b-0123456789"})
    return w, p, o


def keys_of(u):
    return [r.header("x-api-key") or r.header("authorization") for r in u.requests]


def test_bound_state_stays_at_its_account(h):
    w, p, o = bound(h, messages_provider)
    for messages in (SIGNED, [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]):
        a = w.post("/v1/messages", json.dumps({"model": "chain", "max_tokens": 9, "messages": messages}).encode())
        assert a.status in (503, 529) and not o.requests and len(set(keys_of(p))) == 1 and a.header("x-weir-loss") is None, (a, keys_of(p))
        p.requests.clear()
    w, p, o = bound(h, messages_provider, "function p.on_failure(req) if req.attempts < 6 then return weir.retry { after = 0.01 } end return weir.next() end")
    a = w.post("/v1/messages", json.dumps({"model": "chain", "max_tokens": 9, "messages": SIGNED}).encode())
    assert len(p.requests) == 6 and len(set(keys_of(p))) == 1 and not o.requests, (a, keys_of(p))


def test_loss_that_a_policy_allows(h):
    w, p, o = bound(h, messages_provider, ALLOW)
    body = b'{ "model":"chain", "max_tokens" : 9,"messages":' + json.dumps(SIGNED).encode() + b',"temperature":1.50}'
    a = w.post("/v1/messages", body)
    assert a.status == 200 and a.header("x-weir-target") == "o/b" and a.header("x-weir-loss") == "thinking, previous_response_id", a
    assert w.record(a.header("x-request-id"))["loss"] == "thinking, previous_response_id"
    assert b"c2ln" in p.requests[0].body and b"c2ln" not in o.one().body and len(set(keys_of(p))) == 2, keys_of(p)
    assert o.one().json() == {
        "model": "b", "max_tokens": 9, "temperature": 1.5,
        "messages": [SIGNED[0], {"role": "assistant", "content": [SIGNED[1]["content"][1]]}, SIGNED[3]],
    }, o.one().body
    assert b"1.50" in o.one().body and json.dumps(SIGNED[1]["content"][1]).encode() in o.one().body
    p.handler = lambda r, peer: peer.answer(json.dumps(messages()[0]).encode()) or True
    a = w.post("/v1/messages", body)
    assert a.status == 200 and a.header("x-weir-loss") is None and b"c2ln" in p.requests[-1].body, a


def test_loss_of_the_conversation_so_far(h):
    w, p, o = bound(h, chat_provider, ALLOW)
    o.handler = lambda r, peer: peer.answer(json.dumps(responses()[0]).encode()) or True
    asked = {"model": "chain", "input": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "eA=="}, {"role": "user", "content": "?"}], "previous_response_id": "resp_1"}
    a = w.post("/v1/responses", json.dumps(asked).encode())
    assert a.status == 200 and a.header("x-weir-loss"), a
    assert o.one().json() == {"model": "b", "input": [{"role": "user", "content": "?"}]}, o.one().body
    o.requests.clear()
    a = w.post("/v1/responses", json.dumps({**asked, "input": [{"type": "item_reference", "id": "i"}, *asked["input"]]}).encode())
    assert a.status == 503 and not o.requests, "a reference cannot be left out"
    a = w.post("/v1/responses", json.dumps({**asked, "conversation": "conv_1"}).encode())
    assert a.status == 503 and not o.requests, "the policy does not allow that"


def test_loss_of_what_a_policy_wrote(h):
    hooks = """function p.on_request(req)
      weir.allow_loss { "thinking" }
      local messages = req.messages
      messages[4].content = "And now?"
      req.messages = messages
      return weir.route { "p/a", "o/b" }
    end"""
    w, p, o = bound(h, messages_provider, hooks)
    a = w.post("/v1/messages", json.dumps({"model": "chain", "max_tokens": 9, "messages": SIGNED}).encode())
    assert a.header("x-weir-target") == "o/b" and a.header("x-weir-loss") == "thinking", a
    assert o.one().json()["messages"] == [SIGNED[0], {"role": "assistant", "content": [SIGNED[1]["content"][1]]}, {"role": "user", "content": "And now?"}], o.one().body
    assert b"c2ln" in p.requests[0].body and "no effect" not in w.err, w.err
