"""Clients of chat and messages at a provider of responses: requests, answers, streams, errors, usage, thinking that goes home; models
that are served there alone; with the official SDKs as clients."""

import json
import os

import sdk
import wire
from harness import SECRET, chat_provider, messages_provider
from speech import line, responses_events
from test_money import shipped
from upstream import DONE, FINISH, ROLE, chat_answer, chunk, event, messages_answer, word

LIMIT = 250  # the first test may have to fetch the SDKs
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
PRICES = "models = { small = { price = { input = usd(1), output = usd(10), cache_read = usd(0.1) }, max_output = 9000 } }"
USAGE = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120}
REASONING = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": [{"type": "summary_text", "text": "hm"}]}


def message(text, **more):
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": [], **more}]}


def call(id, name, arguments, **more):
    return {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": name, "arguments": arguments, "status": "completed", **more}


def answer(*output, **more):
    return json.dumps({"id": "resp_1", "object": "response", "status": "completed", "model": "mock", "output": output, "usage": USAGE, **more}).encode()


def said(*output, ends="completed", **more):
    """The stream of these items, each told piece by piece, and all of them open before the first one ends."""
    out = [("response.created", {"response": {"id": "resp_1", "status": "in_progress", "model": "mock", "output": []}})]
    for i, item in enumerate(output):
        empty = {**item, **({"content": []} if "content" in item else {"summary": [], "encrypted_content": ""} if "summary" in item else {"input": ""} if "input" in item else {"arguments": ""})}
        out.append(("response.output_item.added", {"output_index": i, "item": empty}))
    for i, item in enumerate(output):
        at = {"output_index": i, "item_id": item["id"]}
        if "content" in item:
            text = item["content"][0]["text"]
            out += [("response.output_text.delta", {**at, "content_index": 0, "delta": piece}) for piece in (text[:3], text[3:])]
        elif "summary" in item:
            out.append(("response.reasoning_summary_text.delta", {**at, "summary_index": 0, "delta": item["summary"][0]["text"]}))
        else:
            kind, text = ("custom_tool_call_input", item["input"]) if "input" in item else ("function_call_arguments", item["arguments"])
            out += [(f"response.{kind}.delta", {**at, "delta": piece}) for piece in (text[:4], text[4:])]
    out += [("response.output_item.done", {"output_index": i, "item": item}) for i, item in enumerate(output)]
    out.append((f"response.{ends}", {"response": {"id": "resp_1", "status": ends, "model": "mock", "output": output, "usage": USAGE, **more}}))
    return [line(name, type=name, sequence_number=i, **d) for i, (name, d) in enumerate(out)]


def says(body, **kw):
    return lambda request, peer: peer.answer(body, **kw) or True


def streams(*pieces, **kw):
    return lambda request, peer: peer.stream(*pieces, **kw) or True


def either(whole, stream):
    return lambda request, peer: (peer.stream(*stream) if request.json().get("stream") else peer.answer(whole)) or True


def oai(h, handler, more="", config="", **kw):
    u = h.upstream(handler)
    return u, h.weir(f'provider "oai" {{ dialect = "responses", url = "{u.url}", key = env "OPENAI_KEY", {more} }}\n' + config, **kw)


def chat(w, headers=(), **body):
    return wire.post(w.port, "/v1/chat/completions", json.dumps({"model": "oai/small", "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def messages(w, headers=(), **body):
    return wire.post(w.port, "/v1/messages", json.dumps({"model": "oai/small", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def chunks_of(a):
    return [json.loads(x[6:]) for x in a.body.decode().split("\n") if x.startswith("data: {")]


def test_whole(h):
    u, w = oai(h, says(answer(REASONING, message("Yes.")), headers=[("x-request-id", "req_up")]), PRICES)
    a = chat(w, seed=1, reasoning_effort="low", max_tokens=77, tools=[{"type": "function", "function": {"name": "f", "parameters": TOOL}}])
    d = a.json()
    assert a.status == 200 and a.text() == "Yes." and d["choices"][0]["finish_reason"] == "stop" and d["choices"][0]["message"]["reasoning_content"] == "hm", a
    assert d["usage"]["prompt_tokens"] == 100 and d["usage"]["prompt_tokens_details"]["cached_tokens"] == 40 and d["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5, d
    assert a.header("x-weir-loss") == "seed" and a.header("x-weir-cost-usd") == "0.000264" and a.header("x-weir-upstream-id") == "req_up", a.headers
    r = u.requests[0]
    assert r.target == "/v1/responses" and r.header("authorization") == f"Bearer {SECRET}", r.head
    assert r.json() == {
        "model": "small", "input": [{"type": "message", "role": "user", "content": "Hi"}], "max_output_tokens": 77, "reasoning": {"effort": "low"},
        "tools": [{"type": "function", "name": "f", "parameters": TOOL, "strict": False}], "include": ["reasoning.encrypted_content"], "store": False,
    }, r.body
    a = messages(w, system="Be brief.", headers=[("anthropic-version", "2023-06-01")])
    d = a.json()
    assert [b["type"] for b in d["content"]] == ["thinking", "text"] and d["stop_reason"] == "end_turn" and d["usage"]["input_tokens"] == 60, d
    assert u.requests[1].target == "/v1/responses" and u.requests[1].json()["instructions"] == "Be brief." and u.requests[1].header("anthropic-version") is None, u.requests[1].head
    a = wire.post(w.port, "/v1/responses", b'{"model":"oai/small","input":"Hi", "odd":1}')
    assert u.requests[2].body == b'{"model":"small","input":"Hi", "odd":1}' and a.body == answer(REASONING, message("Yes.")), a


def test_streams(h):
    u, w = oai(h, streams(*said(REASONING, call("a", "weather", '{"city": "Rome"}'), message("So it is."), call("b", "now", "{}"))), PRICES)
    a = chat(w, stream=True, stream_options={"include_usage": True}, headers=[("x-weir-include", "trace")])
    all_of = chunks_of(a)
    calls = [t for c in all_of if c["choices"] for t in c["choices"][0]["delta"].get("tool_calls", [])]
    pieces = lambda i: "".join(t["function"]["arguments"] for t in calls if t["index"] == i)
    assert pieces(0) == '{"city": "Rome"}' and pieces(1) == "{}" and [t["id"] for t in calls if "id" in t] == ["a", "b"], calls
    assert a.text() == "So it is." and all_of[-1]["usage"]["completion_tokens"] == 20 and all_of[-2]["choices"][0]["finish_reason"] == "tool_calls", a
    assert a.body.endswith(b"data: [DONE]\n\n") and a.body.count(b"[DONE]") == 1 and w.record(a.header("x-request-id"))["output"] == 20, a
    a = messages(w, stream=True)
    events = [json.loads(x[6:]) for x in a.body.decode().split("\n") if x.startswith("data: {")]
    starts = [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"]
    assert starts == ["thinking", "tool_use", "text", "tool_use"] and events[-1]["type"] == "message_stop" and events[-2]["delta"]["stop_reason"] == "tool_use", events
    u.handler = streams(*said(message("Cut off"), ends="incomplete", incomplete_details={"reason": "max_output_tokens"}))
    assert chunks_of(chat(w, stream=True))[-1]["choices"][0]["finish_reason"] == "length"
    assert b'"stop_reason":"max_tokens"' in messages(w, stream=True).body


def test_errors(h):
    u, w = oai(h, says(b'{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}', status=404))
    a = chat(w)
    assert a.status == 404 and a.error["message"] == "no such model", a
    assert messages(w).json()["error"]["type"] == "not_found_error"
    u.handler = says(answer(status="failed", error={"code": "rate_limit_exceeded", "message": "slow"}))
    a = chat(w)
    assert a.status == 429 and a.weir["fault"] == "rate_limited", a
    u.handler = streams(*responses_events("x", ["He", "llo"])[:4], line("error", type="error", code="server_error", message="busy", sequence_number=9))
    a = chat(w, stream=True)
    assert a.text() == "He" and b'"message":"busy"' in a.body and b"[DONE]" not in a.body, a
    failed = line("response.failed", type="response.failed", response={"status": "failed", "error": {"code": "server_error", "message": "busy"}})
    u.handler = streams(*responses_events("x", ["He", "llo"])[:4], failed)
    a = messages(w, stream=True)
    assert b"event: error" in a.body and b"busy" in a.body and b"message_stop" not in a.body, a
    u.handler = streams(*responses_events("x", ["He", "llo"])[:4])
    assert b"[DONE]" not in chat(w, stream=True).body
    u.handler = streams(*responses_events("x", [], finish="content_filter"))
    a = chat(w, stream=True)
    assert b'"finish_reason":"content_filter"' in a.body, a
    assert chat(w, stop=["END"]).error["param"] == "stop" and chat(w, logit_bias={"5": 1}).status == 400


def test_thinking_goes_home(h):
    u, w = oai(h, says(answer(REASONING, call("a", "f", "{}"))))
    first = chat(w, reasoning_effort="low").json()["choices"][0]["message"]
    talk = [{"role": "user", "content": "Hi"}, first, {"role": "tool", "tool_call_id": "a", "content": "1"}]
    a = chat(w, messages=talk)
    assert u.requests[1].json()["input"][1:3] == [REASONING, {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}] or u.requests[1].json()["input"][1] == {
        k: REASONING[k] for k in ("type", "id", "summary", "encrypted_content")}, u.requests[1].body
    assert a.header("x-weir-loss") is None, a.headers
    a = chat(w, messages=[talk[0], {**first, "reasoning_content": "ha"}, talk[2]])
    assert a.header("x-weir-loss") == "thinking" and b"reasoning" not in u.requests[2].body, u.requests[2].body
    blocks = messages(w, thinking={"type": "enabled", "budget_tokens": 1024}).json()["content"]
    back = [talk[0], {"role": "assistant", "content": blocks}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]}]
    a = messages(w, messages=back)
    assert u.requests[4].json()["input"][1]["encrypted_content"] == "gAAA" and a.header("x-weir-loss") is None, u.requests[4].body
    c = h.upstream(says(messages_answer()))
    w = h.weir(messages_provider("claude", c.url))
    a = messages(w, model="claude/x", messages=back)      # its own dialect: not what another provider signed
    assert a.header("x-weir-loss") == "thinking" and b"weir1" not in c.requests[0].body and c.requests[0].json()["messages"][2] == back[2], c.requests[0].body
    c.requests.clear()
    a = chat(w, model="claude/x", max_tokens=9, messages=talk)
    assert a.header("x-weir-loss") == "thinking" and b"gAAA" not in c.requests[0].body, c.requests[0].body


def test_models_served_there_alone(h):
    both = lambda request, peer: peer.answer(answer(message("R")) if request.target.endswith("/responses") else chat_answer("C")) or True
    u = h.upstream(both)
    prices = json.dumps({"gpt-9-codex": {"litellm_provider": "openai", "mode": "responses", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}})
    path = os.path.join(h.tmp, "p.json")
    with open(path, "w") as f:
        f.write(prices)
    w = h.weir(f'provider "openai" {{ key = env "OPENAI_KEY", url = "{u.url}", models = {{ own = {{ dialect = "responses" }} }} }}\nprices "{path}"\n'
               'model "smart" { "openai/own", "openai/usual" }\n')
    for model, text in (("openai/own", "R"), ("openai/gpt-9-codex", "R"), ("gpt-5-codex", "R"), ("openai/usual", "C"), ("smart", "R")):
        assert chat(w, model=model).text() == text, model
    assert messages(w, model="openai/own").json()["content"][0]["text"] == "R" and messages(w, model="openai/usual").json()["content"][0]["text"] == "C"
    u.handler = lambda request, peer: (peer.answer(b"{}", status=503) if request.target.endswith("/responses") else peer.answer(chat_answer("C"))) or True
    a = chat(w, model="smart")
    assert a.text() == "C" and a.header("x-weir-attempts") == "2", a


def test_free_text_tools(h):
    sql = {"type": "custom", "custom": {"name": "sql", "description": "runs it"}}
    query = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c", "name": "sql", "input": 'SELECT "a"\n'}
    u, w = oai(h, either(answer(query), said(query)))
    a = chat(w, tools=[sql])
    assert a.json()["choices"][0]["message"]["tool_calls"] == [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": 'SELECT "a"\n'}}] and a.header("x-weir-loss") is None, a
    assert u.requests[0].json()["tools"] == [{"type": "custom", "name": "sql", "description": "runs it"}]
    deltas = [t["custom"]["input"] for c in chunks_of(chat(w, tools=[sql], stream=True)) for t in c["choices"][0]["delta"].get("tool_calls", [])]
    assert "".join(deltas) == 'SELECT "a"\n', deltas
    called = {"type": "tool_use", "id": "toolu_1", "name": "sql", "input": {}}
    start = event(type="message_start", message={"id": "m", "type": "message", "role": "assistant", "model": "mock", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}})
    stream = [start, event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
              event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "So:"}), event(type="content_block_stop", index=0),
              event(type="content_block_start", index=1, content_block=called),
              *(event(type="content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": p}) for p in ('{"inp', 'ut": "SELECT ', '1"}')),
              event(type="content_block_stop", index=1), event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 3}), event(type="message_stop")]
    whole = json.dumps({**json.loads(messages_answer()), "content": [{**called, "input": {"input": "SELECT 1"}}], "stop_reason": "tool_use"}).encode()
    # the tool's call comes when the stream runs already, and weir has let go of the request
    c = h.upstream(lambda r, p: (p.stream(*stream, gap=0.04) if r.json().get("stream") else p.answer(whole)) or True)
    w = h.weir(messages_provider("claude", c.url))
    a = chat(w, model="claude/x", max_tokens=9, tools=[sql])
    assert a.header("x-weir-loss") == "custom" and a.json()["choices"][0]["message"]["tool_calls"][0]["custom"] == {"name": "sql", "input": "SELECT 1"}, a
    assert c.requests[0].json()["tools"][0]["input_schema"]["properties"] == {"input": {"type": "string"}}
    deltas = [t["custom"].get("input", "") for c in chunks_of(chat(w, model="claude/x", max_tokens=9, tools=[sql], stream=True)) for t in c["choices"][0]["delta"].get("tool_calls", [])]
    assert "".join(deltas) == "SELECT 1", deltas
    grammar = {"type": "custom", "custom": {"name": "sql", "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a"}}}}
    a = chat(w, model="claude/x", max_tokens=9, tools=[grammar])
    assert a.status == 400 and a.error["param"] == "tools[0].custom.format", a


# ---- the official SDKs as clients of each upstream dialect


IMAGE = "iVBORw0K"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
ERROR = {"oai": {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}},
         "claude": {"type": "error", "error": {"type": "not_found_error", "message": "no such model"}}}
ERROR["lab"] = ERROR["oai"]
WHOLE = {
    "oai": answer(REASONING, message('{"a":1}')),
    "claude": json.dumps({**json.loads(messages_answer()), "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": '{"a":1}'}],
                          "usage": {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 20}}).encode(),
    "lab": chat_answer('{"a":1}', choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"a":1}', "reasoning_content": "hm"}}],
                       usage={"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 40}}),
}


def tool_block(i, id, name, *pieces):
    return [event(type="content_block_start", index=i, content_block={"type": "tool_use", "id": id, "name": name, "input": {}}),
            *(event(type="content_block_delta", index=i, delta={"type": "input_json_delta", "partial_json": p}) for p in pieces), event(type="content_block_stop", index=i)]


def tool_chunk(i, **more):
    return chunk({"tool_calls": [{"index": i, **more}]})


STREAM = {
    "oai": said(REASONING, call("a", "weather", '{"city": "Rome"}'), message("So it is."), call("b", "now", "{}")),
    "claude": [event(type="message_start", message={"id": "m", "type": "message", "role": "assistant", "model": "mock", "content": [], "stop_reason": None, "usage": {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 1}}),
               event(type="content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
               event(type="content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
               event(type="content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}), event(type="content_block_stop", index=0),
               event(type="content_block_start", index=1, content_block={"type": "text", "text": ""}),
               event(type="content_block_delta", index=1, delta={"type": "text_delta", "text": "So it is."}), event(type="content_block_stop", index=1),
               *tool_block(2, "a", "weather", '{"city"', ': "Rome"}'), *tool_block(3, "b", "now"),
               event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 20}), event(type="message_stop")],
    "lab": [ROLE, chunk({"reasoning_content": "hm"}), word("So it is."), tool_chunk(0, id="a", type="function", function={"name": "weather", "arguments": ""}),
            tool_chunk(1, id="b", type="function", function={"name": "now", "arguments": ""}), tool_chunk(0, function={"arguments": '{"city"'}), tool_chunk(1, function={"arguments": "{}"}),
            tool_chunk(0, function={"arguments": ': "Rome"}'}), chunk({}, "tool_calls"),
            chunk({}, usage={"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 40}}).replace(b'[{"index": 0, "delta": {}, "finish_reason": null}]', b"[]"), DONE],
}


def serve(name):
    def handler(request, peer):
        asked = request.json()
        if asked["model"] == "gone":
            return peer.answer(json.dumps(ERROR[name]).encode(), status=404) or True
        return (peer.stream(*STREAM[name]) if asked.get("stream") else peer.answer(WHOLE[name])) or True

    return handler


def chat_calls(base, target):
    user = [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}]}]
    tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL, "strict": False}}, {"type": "function", "function": {"name": "now"}}]
    schema = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
    ask = {"model": f"{target}/small", "messages": user, "max_completion_tokens": 4000}
    return [{"kind": "chat", "base": base, "args": a} for a in (
        {**ask, "response_format": schema}, {**ask, "tools": tools, "stream": True, "stream_options": {"include_usage": True}, "reasoning_effort": "low"}, {**ask, "model": f"{target}/gone"})]


def messages_calls(base, target):
    user = [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}]}]
    tools = [{"name": "weather", "input_schema": TOOL}, {"name": "now", "input_schema": {"type": "object"}}]
    ask = {"model": f"{target}/small", "messages": user, "max_tokens": 4000}
    schema = {"format": {"type": "json_schema", "schema": SCHEMA}}
    return [{"kind": "messages", "base": base, "args": a} for a in (
        {**ask, "output_config": schema}, {**ask, "tools": tools, "stream": True, "thinking": {"type": "enabled", "budget_tokens": 2048}}, {**ask, "model": f"{target}/gone"})]


def check_chat(language, target, whole, stream, error):
    m, u = whole["ok"]["choices"][0]["message"], whole["ok"]["usage"]
    assert m["content"] == '{"a":1}' and m["reasoning_content"] == "hm" and u["prompt_tokens"] == 100 and u["prompt_tokens_details"]["cached_tokens"] == 40 and u["completion_tokens"] == 20, (language, target, whole)
    deltas = [c["choices"][0]["delta"] for c in stream["ok"] if c["choices"]]
    calls = [t for d in deltas for t in d.get("tool_calls") or []]
    told = {i: "".join(t["function"].get("arguments") or "" for t in calls if t["index"] == i) for i in (0, 1)}
    assert told == {0: '{"city": "Rome"}', 1: "{}"} and [t["function"]["name"] for t in calls if t["function"].get("name")] == ["weather", "now"], (language, target, calls)
    assert stream["text"] == "So it is." and "".join(d.get("reasoning_content") or "" for d in deltas) == "hm", (language, target, stream)
    assert [c["choices"][0]["finish_reason"] for c in stream["ok"] if c["choices"] and c["choices"][0]["finish_reason"]] == ["tool_calls"] and stream["ok"][-1]["usage"]["completion_tokens"] == 20, (language, target)
    assert error["status"] == 404 and error["api"] and "no such model" in error["message"], (language, target, error)


def check_messages(language, target, whole, stream, error):
    d = whole["ok"]
    assert [b["type"] for b in d["content"]] == ["thinking", "text"] and d["content"][1]["text"] == '{"a":1}' and d["usage"]["input_tokens"] == 60 and d["usage"]["cache_read_input_tokens"] == 40, (language, target, d)
    starts = [e["content_block"] for e in stream["ok"] if e["type"] == "content_block_start"]
    pieces = lambda i: "".join(e["delta"]["partial_json"] for e in stream["ok"] if e["type"] == "content_block_delta" and e["index"] == i and e["delta"]["type"] == "input_json_delta")
    tools = {b["name"]: json.loads(pieces(i)) for i, b in enumerate(starts) if b["type"] == "tool_use"}
    assert tools == {"weather": {"city": "Rome"}, "now": {}} and starts[0]["type"] == "thinking" and stream["text"] == "So it is.", (language, target, starts)
    assert stream["ok"][-2]["delta"]["stop_reason"] == "tool_use" and stream["ok"][-2]["usage"]["output_tokens"] == 20 and stream["ok"][-1]["type"] == "message_stop", (language, target)
    assert error["status"] == 404 and error["error"] == "NotFoundError" and "no such model" in error["message"], (language, target, error)


def official_sdks(h, language):
    ups = {name: h.upstream(serve(name)) for name in ("oai", "claude", "lab")}
    w = h.weir(f'provider "oai" {{ dialect = "responses", url = "{ups["oai"].url}", key = env "OPENAI_KEY" }}\n' + messages_provider("claude", ups["claude"].url) + chat_provider("lab", ups["lab"].url))
    base = f"http://127.0.0.1:{w.port}"
    jobs = [(check_chat, "oai", chat_calls), (check_chat, "claude", chat_calls), (check_messages, "oai", messages_calls), (check_messages, "lab", messages_calls)]
    results = sdk.call(h, language, [c for _, target, calls in jobs for c in calls(base, target)])
    for i, (check, target, _) in enumerate(jobs):
        check(language, target, *results[3 * i : 3 * i + 3])
    for name, image in (("oai", f'"image_url":"data:image/png;base64,{IMAGE}"'), ("claude", f'"data":"{IMAGE}"'), ("lab", f'"url":"data:image/png;base64,{IMAGE}"')):
        assert all(image.encode() in r.body for r in ups[name].requests), name
        form = [r.json() for r in ups[name].requests if b"json_schema" in r.body]
        found = [(f.get("text") or f.get("output_config") or {}).get("format") or f.get("response_format") for f in form]
        assert found and all(f["type"] == "json_schema" and SCHEMA in (f.get("schema"), f.get("json_schema", {}).get("schema")) for f in found), (name, form)


def test_official_python_sdks(h):
    official_sdks(h, "python")


def test_official_node_sdks(h):
    official_sdks(h, "node")


# ---- what only answers show, and the table of efforts


def test_small_limits_are_reserved_as_they_are_sent(h):
    caps = 'use "cost_caps" { per = "model", total = usd(0.0003) }\n'
    o, w = oai(h, says(answer(message("So."), usage={"input_tokens": 5, "output_tokens": 16})), 'models = { small = { price = { input = usd(0.01), output = usd(10) } } }', caps, policies={"cost_caps": shipped("cost_caps")})
    a = chat(w, max_tokens=5)
    assert a.status == 200 and o.requests[0].json()["max_output_tokens"] == 16 and a.header("x-weir-loss") == "max_tokens", a
    a = chat(w, max_tokens=5)                              # 16 tokens cost 0.00016: the second time they do not fit, though 5 would
    assert a.status == 429 and len(o.requests) == 1, a


def test_losses_of_answers(h):
    cited = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2}}
    two = chunk({"content": "other"}).replace(b'"index": 0', b'"index": 1')
    u = h.upstream(streams(ROLE, word("So."), two, chunk({"annotations": [cited]}), FINISH, DONE))
    w = h.weir(chat_provider("lab", u.url))
    a = messages(w, model="lab/x", stream=True, headers=[("x-weir-include", "trace")])
    (trace,) = [json.loads(x[7:]) for x in a.body.decode().split("\n") if x.startswith(": weir ")]
    assert trace["loss"] == "n, annotations" and w.record(a.header("x-request-id"))["loss"] == "n, annotations" and b"other" not in a.body, a
    (last,) = [json.loads(x[6:]) for x in a.body.decode().split("\n") if x.startswith('data: {"type":"message_delta"')]
    assert last["weir"]["annotations"] == [cited], last
    u.handler = says(chat_answer("So.", choices=[{"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": t, "annotations": [cited]}} for i, t in enumerate(("So.", "other"))]))
    a = messages(w, model="lab/x")
    assert a.header("x-weir-loss") == "n, annotations" and a.json()["content"][0]["text"] == "So.", a
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    start = STREAM["claude"][0]
    c = h.upstream(streams(start, event(type="content_block_start", index=0, content_block=search),
                           *(event(type="content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": p}) for p in ("", '{"query"', ': "weir"}')), event(type="content_block_stop", index=0),
                           *STREAM["claude"][5:8], event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}), event(type="message_stop")))
    w = h.weir(messages_provider("claude", c.url))
    a = chat(w, model="claude/x", max_tokens=9, stream=True)
    blocks = [b["block"] for x in chunks_of(a) for b in x["choices"][0]["delta"].get("weir", {}).get("blocks", []) if x["choices"]]
    assert blocks == [{**search, "input": {"query": "weir"}}], a


def test_efforts(h):
    u = h.upstream(says(messages_answer()))
    w = h.weir("defaults { budgets = { low = 3000 } }\n" + messages_provider("claude", u.url, "budgets = { medium = 5000, high = 20000 }") + 'model "deep" { "claude/x", budgets = { high = 40000 } }\n')
    budget = lambda **more: chat(w, **{"model": "claude/x", "max_tokens": 60000, **more}) and u.requests[-1].json()["thinking"]["budget_tokens"]
    assert [budget(reasoning_effort=e) for e in ("minimal", "low", "medium", "high")] == [1024, 3000, 5000, 20000]
    assert budget(model="deep", reasoning_effort="high") == 40000
    o, w = oai(h, says(answer(message("So."))), "budgets = { low = 5000 }")
    effort = lambda n: messages(w, thinking={"type": "enabled", "budget_tokens": n}) and o.requests[-1].json()["reasoning"]["effort"]
    assert [effort(n) for n in (4999, 5000, 8192)] == ["minimal", "low", "medium"]
