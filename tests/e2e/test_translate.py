"""A client of one dialect at a provider of the other: requests, answers, streams, errors, usage; with the official SDKs as clients."""

import json

import sdk
import wire
from harness import chat_provider, messages_provider
from upstream import DONE, ROLE, STOP, START, chat_answer, chat_events, chunk, event, messages_answer, messages_word, word

TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
PRICES = 'models = { small = { price = { input = usd(1), output = usd(10), cache_read = usd(0.1), cache_write = usd(2) }, max_output = 9000 } }'


def claude(h, handler, more="", config="", **kw):
    u = h.upstream(handler)
    return u, h.weir(messages_provider("claude", u.url, more) + config, **kw)


def lab(h, handler, more="", config="", **kw):
    u = h.upstream(handler)
    return u, h.weir(chat_provider("lab", u.url, more) + config, **kw)


def chat(w, more=None, headers=(), **body):
    return wire.post(w.port, "/v1/chat/completions", json.dumps({"model": "claude/small", "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def messages(w, headers=(), **body):
    return wire.post(w.port, "/v1/messages", json.dumps({"model": "lab/small", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def whole(content, **more):
    return json.dumps({**json.loads(messages_answer()), "content": content, **more}).encode()


def says(body, **kw):
    return lambda request, peer: peer.answer(body, **kw) or True


def streams(*pieces, **kw):
    return lambda request, peer: peer.stream(*pieces, **kw) or True


def test_chat_client_whole(h):
    usage = {"input_tokens": 100, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 10, "output_tokens": 20}
    u, w = claude(h, says(whole([{"type": "text", "text": "Yes."}], usage=usage), headers=[("request-id", "req_up")]), PRICES)
    a = chat(w, seed=1, stop="END", headers=[("openai-organization", "o"), ("anthropic-version", "1999-01-01")])
    assert a.status == 200 and a.text() == "Yes.", a
    d = a.json()
    assert d["object"] == "chat.completion" and d["choices"][0]["finish_reason"] == "stop" and d["model"] == "mock", d
    assert d["usage"] == {"prompt_tokens": 1110, "completion_tokens": 20, "total_tokens": 1130, "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 10}}, d
    assert a.header("x-weir-loss") == "max_tokens, seed" and a.header("x-weir-output-limit") == "9000", a.headers
    assert a.header("x-weir-cost-usd") == "0.00042" and a.header("x-weir-upstream-id") == "req_up", a.headers
    r = u.requests[0]
    assert r.target == "/v1/messages" and r.header("anthropic-version") == "2023-06-01" and r.header("openai-organization") is None, r.head
    assert r.json() == {"model": "small", "max_tokens": 9000, "messages": [{"role": "user", "content": "Hi"}], "stop_sequences": ["END"]}, r.body
    assert w.record(a.header("x-request-id"))["loss"] == "max_tokens, seed"


def test_messages_client_whole(h):
    u, w = lab(h, says(chat_answer("Yes.", usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}})))
    a = messages(w, system="Be brief.", top_k=5, headers=[("anthropic-version", "2023-06-01"), ("anthropic-beta", "x")])
    d = a.json()
    assert a.status == 200 and d["type"] == "message" and d["content"] == [{"type": "text", "text": "Yes.", "citations": None}], a
    assert d["stop_reason"] == "end_turn" and d["usage"]["input_tokens"] == 5 and d["usage"]["cache_read_input_tokens"] == 4 and d["usage"]["output_tokens"] == 2, d
    assert a.header("x-weir-loss") == "top_k", a.headers
    r = u.requests[0]
    assert r.target == "/v1/chat/completions" and not [n for n in r.names() if n.startswith("anthropic")], r.head
    assert r.json() == {"model": "small", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "max_tokens": 50}, r.body


def test_refusals_and_losses(h):
    rules = """local p = {}
function p.on_request(req) if req.tags.loose then return weir.allow_loss { "logprobs", "n" } end end
return p
"""
    u, w = claude(h, says(messages_answer()), config='model "strict" { "claude/small", loss = "strict" }\nuse "rules"\n', policies={"rules": rules})
    a = chat(w, max_tokens=5, logprobs=True)
    assert a.status == 400 and a.error["param"] == "logprobs" and a.error["code"] == "unsupported_parameter" and a.weir["fault"] == "bad_request", a
    a = chat(w, max_tokens=5, logprobs=True, n=2, headers=[("x-weir-tags", "loose=1")])
    assert a.status == 200 and a.header("x-weir-loss") == "n, logprobs", a
    a = chat(w, max_tokens=5, model="strict", seed=1)
    assert a.status == 400 and a.error["param"] == "seed" and "strict" in a.error["message"], a
    assert chat(w, max_tokens=5, model="strict").status == 200 and len(u.requests) == 2
    l, w = lab(h, says(chat_answer()))
    a = messages(w, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert a.status == 400 and a.json()["error"]["type"] == "invalid_request_error" and "tools[0].type" in a.json()["error"]["message"], a
    assert not l.requests


def test_what_one_target_cannot_say_goes_to_the_next(h):
    c, l = h.upstream(says(messages_answer("claude"))), h.upstream(says(chat_answer("lab")))
    w = h.weir(messages_provider("claude", c.url) + chat_provider("lab", l.url) + 'model "smart" { "claude/a", "lab/b" }\n')
    a = chat(w, model="smart", logprobs=True)
    assert a.text() == "lab" and a.header("x-weir-target") == "lab/b" and a.header("x-weir-loss") is None, a
    c.handler = says(b"{}", status=503)
    a = chat(w, model="smart")
    assert a.text() == "lab" and a.header("x-weir-attempts") == "2" and a.header("x-weir-loss") is None, a
    a = messages(w, model="smart")
    assert a.json()["content"][0]["text"] == "lab" and a.header("x-weir-target") == "lab/b", a


def test_errors_in_the_callers_words(h):
    error = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: \"x\" is too large"}}).encode()
    u, w = claude(h, says(error, status=400))
    a = chat(w)
    assert a.status == 400 and a.error["message"] == 'max_tokens: "x" is too large' and a.error["type"] == "invalid_request_error", a
    u.handler = says(json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}).encode(), status=429, headers=[("retry-after", "77")])
    a = chat(w)
    assert a.status == 429 and a.error["code"] == "rate_limit_exceeded" and a.header("retry-after") == "77" and a.weir["fault"] == "rate_limited", a
    u.handler = says(b'{"type":"error","error":{"type":"authentication_error","message":"bad key"}}', status=401)
    a = chat(w)
    assert a.status == 502 and a.weir["fault"] == "auth", a
    l, w = lab(h, says(b'{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}', status=404))
    a = messages(w)
    assert a.status == 404 and a.json()["error"]["type"] == "not_found_error" and a.json()["error"]["message"] == "no such model", a
    l.handler = says(b'{"error":{"message":"full","type":"server_error","code":"overloaded"}}', status=503)
    assert messages(w).status == 529
    l.handler = says(chat_answer(None, choices=[{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{broken"}}]}}]))
    a = messages(w)
    assert a.status == 502 and a.weir["fault"] == "invalid" and "arguments" in a.json()["error"]["message"], a


def block(i, kind, *deltas, **more):
    return event(type="content_block_start", index=i, content_block={"type": kind, **more}) + b"".join(
        event(type="content_block_delta", index=i, delta=d) for d in deltas) + event(type="content_block_stop", index=i)


BEGIN = START.split(b"event: content_block_start")[0]
END = event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 30}) + event(type="message_stop")
THOUGHT = block(0, "thinking", {"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "c2ln"}, thinking="", signature="")
CALL = block(1, "tool_use", {"type": "input_json_delta", "partial_json": '{"city": '}, {"type": "input_json_delta", "partial_json": '"Rome"}'}, id="toolu_1", name="weather", input={})


def test_streams_to_chat(h):
    u, w = claude(h, streams(BEGIN, THOUGHT, CALL, END), PRICES)
    a = chat(w, stream=True, stream_options={"include_usage": True}, max_tokens=50)
    assert a.status == 200 and a.body.endswith(b"data: [DONE]\n\n") and a.body.count(b"[DONE]") == 1, a
    chunks = [json.loads(e["data"]) for e in wire.events(a.body) if e["data"] != "[DONE]"] if isinstance(wire.events(a.body)[0], dict) else [json.loads(l[6:]) for l in a.body.decode().split("\n") if l.startswith("data: {")]
    calls = [t for c in chunks if c["choices"] for t in c["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["id"] == "toolu_1" and "".join(t["function"]["arguments"] for t in calls) == '{"city": "Rome"}' and {t["index"] for t in calls} == {0}, calls
    thinking = [c["choices"][0]["delta"]["weir"]["thinking"] for c in chunks if c["choices"] and "weir" in c["choices"][0]["delta"]]
    (own,) = thinking[0]
    assert own["signature"].startswith("weir1:claude:") and own["signature"].endswith(":c2ln") and own["bytes"] == 2, thinking
    assert chunks[-1]["usage"]["completion_tokens"] == 30 and chunks[-2]["choices"][0]["finish_reason"] == "tool_calls", chunks[-2:]
    assert u.requests[0].json()["stream"] is True and "stream_options" not in u.requests[0].json()
    record = w.record(a.header("x-request-id"))
    assert record["input"] == 3 and record["output"] == 30 and record["end"] == "done", record


def test_streams_that_break(h):
    u, w = claude(h, streams(START, messages_word("Hel"), event(type="error", error={"type": "overloaded_error", "message": "busy"})))
    a = chat(w, stream=True, max_tokens=5)
    last = a.body.decode().strip().split("\n")[-1]
    assert a.text() == "Hel" and json.loads(last[6:])["error"]["message"] == "busy" and b"[DONE]" not in a.body, a
    u.handler = streams(START, messages_word("Hel"))
    a = chat(w, stream=True, max_tokens=5)
    assert a.text() == "Hel" and b'"error"' in a.body and b"[DONE]" not in a.body, a
    l, w = lab(h, streams(ROLE, word("Hel")))
    a = messages(w, stream=True)
    assert b'"text":"Hel"' in a.body and a.body.rstrip().split(b"event: ")[-1].startswith(b"error") and b"message_stop" not in a.body, a
    l.handler = streams(ROLE, word("Hel"), DONE)          # no finish: nothing is made up
    a = messages(w, stream=True)
    assert b"event: error" in a.body and b"message_stop" not in a.body, a
    c = h.upstream(streams(event(type="error", error={"type": "overloaded_error", "message": "busy"})))
    w = h.weir(messages_provider("claude", c.url) + chat_provider("lab", l.url) + 'model "smart" { "claude/a", "lab/b" }\n')
    l.handler = streams(*chat_events("fine"))
    a = chat(w, model="smart", stream=True, max_tokens=5)
    assert a.text() == "fine" and a.header("x-weir-attempts") == "2", a


def test_policies_see_the_clients_dialect(h):
    rules = """local p = {}
function p.on_request(req) req.max_tokens = 77 end
function p.on_response(req, response) req:note("said", response.text or "?") end
function p.on_chunk(req, chunk) if chunk.kind == "text" then return weir.replace((chunk.text:gsub("secret", "xxx"))) end end
return p
"""
    u, w = claude(h, streams(START, messages_word("a secret"), messages_word(" here"), STOP), config='use "rules"\n', policies={"rules": rules})
    a = chat(w, stream=True)
    assert a.text() == "a xxx here" and u.requests[0].json()["max_tokens"] == 77, a
    u.handler = says(messages_answer("whole"))
    a = chat(w)
    assert a.text() == "whole" and w.record(a.header("x-request-id"))["notes"]["said"] == "whole", a


def test_official_sdks(h):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}
    u = h.upstream(None)
    u.handler = lambda request, peer: (
        peer.stream(BEGIN, THOUGHT, CALL, END) if request.json().get("stream") else peer.answer(whole([{"type": "text", "text": "A cat."}]))) or True
    args = [{"index": i, "function": {"arguments": p}} for i, p in ((0, '{"city"'), (1, '{}'), (0, ':"Rome"}'))]
    pieces = [ROLE, chunk({"reasoning_content": "hm"}), word("So:"), chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "weather", "arguments": ""}}]}),
              chunk({"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "now", "arguments": ""}}]}), *(chunk({"tool_calls": [x]}) for x in args),
              chunk({}, "tool_calls"), chunk({}, usage={"prompt_tokens": 8, "completion_tokens": 6, "total_tokens": 14}).replace(b'[{"index": 0, "delta": {}, "finish_reason": null}]', b"[]"), DONE]
    l = h.upstream(lambda request, peer: (peer.stream(*pieces) if request.json().get("stream") else peer.answer(b'{"error":{"message":"no","type":"x"}}', status=400)) or True)
    w = h.weir(messages_provider("claude", u.url) + chat_provider("lab", l.url, "usage_option = true"))
    base = f"http://127.0.0.1:{w.port}"
    ask = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
    theirs = [{"name": "weather", "input_schema": TOOL}, {"name": "now", "input_schema": {"type": "object"}}]
    calls = [
        {"kind": "chat", "base": base, "args": {"model": "claude/small", "messages": ask}},
        {"kind": "chat", "base": base, "args": {"model": "claude/small", "messages": ask, "tools": tools, "stream": True}},
        {"kind": "messages", "base": base, "args": {"model": "lab/small", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], "tools": theirs, "stream": True}},
        {"kind": "messages", "base": base, "args": {"model": "lab/small", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}},
    ]
    one, two, three, four = sdk.call(h, "python", calls)
    assert one["ok"]["choices"][0]["message"]["content"] == "A cat.", one
    assert u.requests[0].json()["messages"][0]["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}
    pieces = [t["function"]["arguments"] for c in two["ok"] if c["choices"] for t in c["choices"][0]["delta"].get("tool_calls") or []]
    assert "".join(pieces) == '{"city": "Rome"}', two
    kinds = [e["type"] for e in three["ok"]]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"], kinds
    starts = [e["content_block"] for e in three["ok"] if e["type"] == "content_block_start"]
    assert [b["type"] for b in starts] == ["thinking", "text", "tool_use", "tool_use"] and [b.get("name") for b in starts[2:]] == ["weather", "now"], starts
    json_of = lambda i: "".join(e["delta"]["partial_json"] for e in three["ok"] if e["type"] == "content_block_delta" and e["index"] == i)
    assert json_of(2) == '{"city":"Rome"}' and json_of(3) == "{}", three
    assert three["ok"][-2]["delta"]["stop_reason"] == "tool_use" and three["ok"][-2]["usage"]["output_tokens"] == 6, three["ok"][-2]
    assert four["error"] == "BadRequestError" and four["status"] == 400, four
