"""What policies see and change is one thing in every dialect: messages, tools, chunks, answers. What they leave alone keeps its bytes."""

import json

import wire
from harness import chat_provider, messages_provider
from speech import DIALECTS, RICH

EDITS = """
local policy = { on_error = "deny" }
function policy.on_request(req)
  local messages, tools = req.messages, req.tools
  local roles = {}
  for i, m in ipairs(messages) do
    roles[i] = m.role
    if type(m.content) == "string" then m.content = m.content:gsub("secret", "[gone]")
    else for _, part in ipairs(m.content or {}) do if part.type == "text" then part.text = part.text:gsub("secret", "[gone]") end end end
    for _, call in ipairs(m.tool_calls or {}) do call["function"].arguments = call["function"].arguments:gsub("secret", "[gone]") end
  end
  req:note("roles", table.concat(roles, " "))
  if req.path ~= "/v1/completions" then
    if messages[1].role ~= "system" then table.insert(messages, 1, { role = "system", content = "House rules." })
    else messages[1].content = messages[1].content .. " House rules." end
  end
  req.messages = messages
  if tools then
    req:note("tools", tools[1]["function"].name .. " " .. tools[1]["function"].parameters.type)
    tools[#tools + 1] = { type = "function", ["function"] = { name = "ours", description = "d", parameters = { type = "object" } } }
    req.tools = tools
  end
end
return policy
"""

SEEN = """
local policy = { on_error = "deny" }
local function add(state, key, text) state[key] = (state[key] or "") .. (text or "") end
function policy.on_chunk(req, chunk)
  if chunk.kind == "text" or chunk.kind == "thinking" then add(req.state, chunk.kind, chunk.text) end
  if chunk.tool then add(req.state, "names", chunk.tool.name) add(req.state, "arguments", chunk.tool.arguments) end
  if chunk.kind == "finish" then add(req.state, "finished", "x") end
end
function policy.on_response(req, response)
  if not response.done or req.stream then return end
  local names = {}
  for i, t in ipairs(response.tools) do names[i] = t.name .. t.arguments end
  req:note("answer", response.text .. "|" .. response.thinking .. "|" .. table.concat(names, ","))
end
function policy.on_done(req)
  local s = req.state
  if s.finished then req:note("chunks", (s.text or "") .. "|" .. (s.thinking or "") .. "|" .. (s.names or "") .. "|" .. (s.arguments or "")) end
end
return policy
"""


def both(h, policy, text, handler=None):
    u = h.upstream(handler)
    w = h.weir(chat_provider("lab", u.url) + messages_provider("claude", u.url) + f'use "{policy}" {{}}\n', policies={policy: text})
    return u, w


def asked(w, u, path, body):
    n = len(u.requests)
    a = wire.post(w.port, path, json.dumps(body).encode())
    assert a.status == 200, a
    return u.requests[n], w.record(a.header("x-request-id"))["notes"]


def test_edits_of_every_dialect(h):
    u, w = both(h, "edits", EDITS, lambda request, peer: peer.answer(answer_for(request)) or True)
    function = {"name": "f", "parameters": {"type": "object"}}
    ours = {"name": "ours", "description": "d", "parameters": {"type": "object"}}

    chat = [{"role": "user", "content": "a secret"}, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x":"secret"}'}}]}]
    chat.append({"role": "tool", "tool_call_id": "c", "content": "secret"})
    r, notes = asked(w, u, "/v1/chat/completions", {"model": "lab/m", "messages": chat, "tools": [{"type": "function", "function": function}]})
    assert notes == {"roles": "user assistant tool", "tools": "f object"}, notes
    assert [m["role"] for m in r.json()["messages"]] == ["system", "user", "assistant", "tool"] and "secret" not in r.body.decode(), r.body

    messages = [
        {"role": "user", "content": [{"type": "text", "text": "kept", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"x": "secret"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "secret"}, {"type": "text", "text": "And?"}]},
    ]
    server = {"type": "web_search_20250305", "name": "web_search"}
    body = {"model": "claude/m", "max_tokens": 9, "system": "Be brief.", "messages": messages, "tools": [{"name": "f", "input_schema": {"type": "object"}}, server]}
    r, notes = asked(w, u, "/v1/messages", body)
    sent = r.json()
    assert notes == {"roles": "system user assistant tool user", "tools": "f object"}, notes
    assert sent["system"] == "Be brief. House rules." and json.dumps(messages[0]) in r.body.decode(), r.body
    assert sent["messages"][1]["content"] == [messages[1]["content"][0], {"type": "tool_use", "id": "c", "name": "f", "input": {"x": "[gone]"}}], sent
    assert sent["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "c", "content": "[gone]"}, {"type": "text", "text": "And?"}], sent
    assert sent["tools"] == [body["tools"][0], server, {"name": "ours", "description": "d", "input_schema": {"type": "object"}}], sent
    del body["system"]
    body["messages"] = messages[:1]
    r, notes = asked(w, u, "/v1/messages", body)
    assert notes["roles"] == "user" and r.json()["system"] == "House rules." and json.dumps(messages[0]) in r.body.decode(), r.body

    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a secret"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"x":"secret"}'},
        {"type": "function_call_output", "call_id": "c", "output": "secret"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "kept"}]},
    ]
    r, notes = asked(w, u, "/v1/responses", {"model": "lab/m", "input": items, "tools": [{"type": "function", **function}]})
    sent = r.json()
    assert notes == {"roles": "user assistant tool assistant", "tools": "f object"}, notes
    assert sent["instructions"] == "House rules." and sent["input"][3] == items[3] and len(sent["input"]) == 4, sent
    assert sent["input"][0]["content"] == [{"type": "input_text", "text": "a [gone]"}] and sent["input"][1] == {**items[1], "arguments": '{"x":"[gone]"}'}, sent
    assert sent["input"][2] == {**items[2], "output": "[gone]"} and sent["tools"][1] == {"type": "function", **ours}, sent
    r, notes = asked(w, u, "/v1/responses", {"model": "lab/m", "input": "Hi", "instructions": "Be brief."})
    assert notes["roles"] == "system user" and r.json()["input"] == [{"role": "user", "content": "Hi"}] and r.json()["instructions"] == "Be brief. House rules.", r.body

    r, notes = asked(w, u, "/v1/completions", {"model": "lab/m", "prompt": "a secret"})
    assert notes["roles"] == "user" and r.json()["prompt"] == "a [gone]", r.body


def answer_for(request):
    dialect = next(d for d in DIALECTS if request.target.endswith(d.path[3:]))
    return dialect.whole("x", "Well.")


def test_answers_of_every_dialect(h):
    def handler(request, peer):
        name = next(d.name for d in DIALECTS if request.target.endswith(d.path[3:]))
        if request.json().get("stream"):
            return peer.stream(*RICH[name]("x")[0]) or True
        return peer.answer(answer_for(request)) or True

    u, w = both(h, "seen", SEEN, handler)
    told = {
        "chat": "Ja 水|Héllo|weirdam|" + '{"a":"{}é"}',
        "completions": "Ja 水|||",
        "responses": '|Hé|weir|{"水":1}',
        "messages": '|Hé|weir|{"水":1}',
    }
    for d in DIALECTS:
        model = "claude/m" if d.name == "messages" else "lab/m"
        a = wire.post(w.port, d.path, d.request(model, True), d.headers)
        assert a.status == 200, a
        assert w.record(a.header("x-request-id"))["notes"]["chunks"] == told[d.name], (d.name, w.record(a.header("x-request-id")))
        a = wire.post(w.port, d.path, d.request(model, False), d.headers)
        assert w.record(a.header("x-request-id"))["notes"]["answer"] == "Well.||", (d.name, a)
