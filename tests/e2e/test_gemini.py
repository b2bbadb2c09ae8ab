"""Providers of the gemini dialect, asked by clients of chat and of messages: requests, answers, streams, errors, usage and what it costs."""

import json

import sdk
import wire
from harness import chat_provider, messages_provider
from upstream import DONE, ROLE, START, chat_answer, chat_events, chunk, event, messages_answer, word

LIMIT = 250  # the SDK may have to be fetched
PRICES = 'models = { ["gemini-2.5-flash"] = { price = { input = usd(1), output = usd(10), cache_read = usd(0.1) }, max_output = 9000 } }'
USAGE = {"promptTokenCount": 1000, "cachedContentTokenCount": 400, "toolUsePromptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 80, "totalTokenCount": 1200}


def google(h, handler, more="", config="", **kw):
    u = h.upstream(handler)
    base = u.url.removesuffix("/v1")
    return u, h.weir(f'provider "gemini" {{ url = "{base}", key = env "OPENAI_KEY", {more} }}\n' + config, **kw)


def chat(w, headers=(), **body):
    return wire.post(w.port, "/v1/chat/completions", json.dumps({"model": "gemini/gemini-2.5-flash", "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def messages(w, headers=(), **body):
    return wire.post(w.port, "/v1/messages", json.dumps({"model": "gemini/gemini-2.5-flash", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def answer(*parts, finish="STOP", **more):
    return json.dumps({"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}], "modelVersion": "g", "responseId": "r1", **more}).encode()


def frame(*parts, finish=None, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **({"finishReason": finish} if finish else {})}
    return b"data: " + json.dumps({"candidates": [candidate], "modelVersion": "g", "responseId": "r1", **more}).encode() + b"\r\n\r\n"


def says(body, **kw):
    return lambda request, peer: peer.answer(body, **kw) or True


def streams(*pieces, **kw):
    return lambda request, peer: peer.stream(*pieces, **kw) or True


def chunks(a):
    return [json.loads(line[6:]) for line in a.body.decode().split("\n") if line.startswith("data: {")]


def test_whole(h):
    u, w = google(h, says(answer({"text": "hm", "thought": True}, {"text": "Yes."}, usageMetadata=USAGE)), PRICES)
    a = chat(w, stop=["END"], seed=3, headers=[("openai-organization", "o"), ("x-goog-api-client", "c")])
    assert a.status == 200 and a.text() == "Yes." and a.header("x-weir-loss") is None, a
    d = a.json()
    assert d["usage"] == {"prompt_tokens": 1100, "completion_tokens": 100, "total_tokens": 1200, "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 80}}, d
    assert a.header("x-weir-cost-usd") == "0.00174", a.headers          # 700 plain, 400 cached, 100 out
    r = u.requests[0]
    assert r.target == "/v1beta/models/gemini-2.5-flash:generateContent" and r.header("x-goog-api-key") and not r.header("openai-organization") and not r.header("x-goog-api-client"), r.head
    assert r.json() == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"seed": 3, "stopSequences": ["END"]}}, r.body
    a = messages(w)
    d = a.json()
    signature = d["content"][0].pop("signature")
    assert signature.startswith("weir1:gemini:") and signature.endswith(":weir-gemini-thought:"), signature
    assert d["content"] == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes.", "citations": None}], a
    assert d["usage"]["input_tokens"] == 700 and d["usage"]["cache_read_input_tokens"] == 400 and d["usage"]["output_tokens"] == 100, d
    a = chat(w, model="gemini/tunedModels/a?b/../c")
    assert u.requests[-1].target == "/v1beta/tunedModels/a%3Fb%2F..%2Fc:generateContent", u.requests[-1].target


def test_streams(h):
    u, w = google(h, streams(frame({"text": "So "}, usageMetadata={"promptTokenCount": 1000, "totalTokenCount": 1080, "thoughtsTokenCount": 80}), frame({"text": "it is."}),
                             frame({"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "QQ=="}), frame({"text": ""}, finish="STOP", usageMetadata=USAGE)), PRICES)
    a = chat(w, stream=True, stream_options={"include_usage": True})
    assert a.status == 200 and a.text() == "So it is." and a.body.endswith(b"data: [DONE]\n\n") and a.body.count(b"[DONE]") == 1, a
    c = chunks(a)
    assert c[-1]["usage"]["completion_tokens"] == 100 and c[-2]["choices"][0]["finish_reason"] == "tool_calls", c[-2:]
    assert u.requests[0].target == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", u.requests[0].target
    record = w.record(a.header("x-request-id"))
    assert record["input"] == 1100 - 400 and record["output"] == 100 and record["end"] == "done", record
    a = messages(w, stream=True)
    kinds = [line[7:] for line in a.body.decode().split("\n") if line.startswith("event: ")]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and b':weir-gemini-call:QQ=="' in a.body and b'"output_tokens":100' in a.body, a


def test_signatures_go_home(h):
    u, w = google(h, says(answer({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "QUI="})))
    said = chat(w, model="gemini/gemini-3-pro").json()["choices"][0]["message"]
    talk = [{"role": "user", "content": "Hi"}, said, {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "3"}]
    a = chat(w, model="gemini/gemini-3-pro", messages=talk)
    assert a.status == 200 and a.header("x-weir-loss") is None, a
    call = u.requests[-1].json()["contents"][1]["parts"]
    assert call == [{"functionCall": {"id": "call_r1_0", "name": "f", "args": {}}, "thoughtSignature": "QUI="}], call
    assert u.requests[-1].json()["contents"][2]["parts"][0]["functionResponse"]["response"] == {"output": "3"}
    theirs = messages(w, model="gemini/gemini-3-pro").json()["content"]
    a = messages(w, model="gemini/gemini-3-pro", messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": theirs},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": theirs[-1]["id"], "content": "3"}]}])
    assert a.status == 200 and u.requests[-1].json()["contents"][1]["parts"][0]["thoughtSignature"] == "QUI=", u.requests[-1].body


def test_what_is_no_answer(h):
    l = h.upstream(says(chat_answer("lab")))
    u, w = google(h, None, config=chat_provider("lab", l.url) + 'model "smart" { "gemini/g", "lab/b" }\n')
    for body, fault in ((b'{"promptFeedback":{"blockReason":"SAFETY"}}', "content_filtered"), (answer(finish="SAFETY"), "content_filtered")):
        u.handler = says(body)
        a = chat(w)                                      # nobody else is asked: the refusal is the answer
        assert a.status == 200 and a.json()["choices"][0]["finish_reason"] == "content_filter", (fault, a)
        u.handler = streams(b"data: " + body + b"\r\n\r\n")
        a = chat(w, stream=True)
        assert a.status == 200 and b'"finish_reason":"content_filter"' in a.body and a.body.endswith(b"[DONE]\n\n"), a
    for body in (answer(finish="MAX_TOKENS"), answer(finish="MALFORMED_FUNCTION_CALL"), b"{}", answer({"text": ""}), b"[]", b"<html>"):
        u.handler = says(body)
        assert chat(w, model="smart").text() == "lab", body
        assert chat(w).status == 502, body
    for stream in ([frame({"text": "Hel"})], [frame({"text": "Hel"}), b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\r\n\r\n'], [frame({"text": "Hel"}), b'data: {"candidates":[{"cont'],
                   [frame({"text": "Hel"}), frame(finish="MALFORMED_FUNCTION_CALL")]):
        u.handler = streams(*stream)
        a = chat(w, stream=True)
        assert a.text() == "Hel" and b'"error"' in a.body and b"[DONE]" not in a.body and b'"stop"' not in a.body, (stream, a)
        a = messages(w, stream=True)
        assert b"event: error" in a.body and b"message_stop" not in a.body, (stream, a)
    for stream in ([], [b": hello\r\n\r\n"], [b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\r\n\r\n'], [frame(finish="STOP")]):
        u.handler = streams(*stream)
        l.handler = lambda request, peer: peer.stream(*chat_events("fine")) or True
        a = chat(w, model="smart", stream=True)
        assert a.text() == "fine" and a.header("x-weir-attempts") == "2", (stream, a)


def test_errors(h):
    u, w = google(h, None)
    def error(status, word, message="no", **more):
        u.handler = says(json.dumps({"error": {"code": status, "message": message, "status": word, **more}}).encode(), status=status)
        return chat(w)
    a = error(400, "INVALID_ARGUMENT", "bad schema")
    assert a.status == 400 and a.error["message"] == "bad schema" and a.error["type"] == "invalid_request_error", a
    a = error(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (5).")
    assert a.status == 400 and a.error["code"] == "context_length_exceeded", a
    a = error(400, "INVALID_ARGUMENT", "API key not valid.", details=[{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}])
    assert a.status == 502 and a.weir["fault"] == "auth" and "API key" not in a.error["message"], a
    a = error(429, "RESOURCE_EXHAUSTED", details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}])
    assert a.status == 429 and a.header("retry-after") == "35", a
    a = error(404, "NOT_FOUND")
    assert a.status == 404, a
    a = error(503, "UNAVAILABLE")
    assert a.status == 503 and a.weir["fault"] == "overloaded", a


def test_budgets_hold(h):
    cap = """local budget = weir.budget { name = "cap", window = "day", cap = usd(0.1) }
local p = {}
function p.on_request(req) return budget:charge(req, "all") end
return p
"""
    def thinks(request, peer):                           # as much as it may
        most = request.json()["generationConfig"]["maxOutputTokens"]
        peer.answer(answer({"text": "Yes."}, usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 5, "thoughtsTokenCount": min(4000, most) - 5, "totalTokenCount": 5 + min(4000, most)}))
        return True
    u, w = google(h, thinks, PRICES, 'use "cap"\n', policies={"cap": cap})
    spent, limits = [], []
    while len(spent) < 9:                                # hidden thoughts are paid for: the limit is what the budget can still pay
        a = chat(w)
        if a.status != 200:
            break
        spent.append(float(a.header("x-weir-cost-usd")))
        limits.append(int(a.header("x-weir-output-limit")))
    assert a.status == 429 and a.weir["fault"] == "capped" and len(spent) >= 3 and 0.09 < sum(spent) <= 0.1, (spent, limits, a)
    assert [r.json()["generationConfig"]["maxOutputTokens"] for r in u.requests] == limits and limits[0] == 9000 > limits[1] > limits[2], limits


def test_questions_of_policies(h):
    ask = """local p = {}
function p.on_request(req)
  local said = weir.ask { model = "gemini/gemini-2.5-flash", messages = { { role = "user", content = "judge" } }, max_tokens = 9 }
  return weir.answer(said and said.text or "nothing")
end
return p
"""
    u, w = google(h, says(answer({"text": "good"})), config='use "ask"\n', policies={"ask": ask})
    a = chat(w)
    assert a.text() == "good" and u.requests[0].json()["generationConfig"] == {"maxOutputTokens": 9}, (a, u.requests[0].body)


# ---- clients of gemini
def ask(w, method, model="gemini/g", query="", headers=(), **body):
    return wire.post(w.port, f"/v1beta/models/{model}:{method}{query}", json.dumps({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **body}).encode(), headers)


def test_client_bytes(h):
    sent = b'{ "contents":[{"parts":[{"text":"Hi \\u00e9"}]}] , "generation_config":{"max_output_tokens":5,"x":1e400},"odd":[1.0] }'
    said = b'{\n "candidates": [ {"content":{"parts":[{"text":"Yes \\u00e9"}],"role":"model"},"finishReason":"STOP","odd":1e400}],\r\n "usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}\n'
    u, w = google(h, says(said), config='model "smart" { "gemini/gemini-2.5-flash" }\n')
    for path, target in (("/v1beta/models/smart:generateContent?key=stolen&x=%20", "/v1beta/models/gemini-2.5-flash:generateContent?x=%20"),
                         ("/v1beta/models/gemini%2Fabc:generateContent", "/v1beta/models/abc:generateContent"), ("/v1/models/abc:generateContent", "/v1beta/models/abc:generateContent"),
                         ("/v1beta/tunedModels/abc:generateContent", "/v1beta/tunedModels/abc:generateContent")):
        a = wire.post(w.port, path, sent, [("x-goog-api-key", "client"), ("x-goog-api-client", "genai")])
        r = u.requests[-1]
        assert a.status == 200 and a.body == said and r.target == target and r.body == sent, (a, r.target, r.body)
        assert r.header("x-goog-api-key") != "client" and r.header("x-goog-api-client") == "genai" and b"stolen" not in r.head and b"client" not in r.head.replace(b"api-client", b""), r.head
    assert a.header("x-weir-target") == "gemini/tunedModels/abc", a.headers
    stream = [frame({"text": "a"}), b": odd\r\n\r\n", frame({"text": "b"}, finish="STOP", usageMetadata=USAGE), b'data: {"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1,"totalTokenCount":10}}\r\n\r\n']
    u.handler = streams(*stream)
    a = ask(w, "streamGenerateContent", "smart", "?alt=sse")
    assert a.status == 200 and a.body == b"".join(stream) and u.requests[-1].target == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", a
    record = w.record(a.header("x-request-id"))
    assert record["end"] == "done" and record["output"] == 1, record
    listed = b'[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n,\r\n{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11}}]'
    u.handler = says(listed)
    a = ask(w, "streamGenerateContent", "smart")
    assert a.status == 200 and a.body == listed and u.requests[-1].target == "/v1beta/models/gemini-2.5-flash:streamGenerateContent", a
    assert w.record(a.header("x-request-id"))["output"] == 2
    for method, body in (("countTokens", b'{"totalTokens":31}'), ("embedContent", b'{"embedding":{"values":[1.5]}}'), ("batchEmbedContents", b'{"embeddings":[{"values":[1.5]}]}')):
        u.handler = says(body)
        a = ask(w, method)
        assert a.status == 200 and a.body == body and u.requests[-1].target == f"/v1beta/models/g:{method}", (method, a)
    u.handler = says(b'{"files":[]}')
    a = wire.get(w.port, "/v1beta/files?key=stolen&pageSize=5")
    assert a.status == 200 and a.body == b'{"files":[]}' and u.requests[-1].target == "/v1beta/files?pageSize=5", (a, u.requests[-1].target)
    a = wire.get(w.port, "/v1beta/models")
    assert a.json()["models"][0]["name"] == "models/smart", a


def test_client_errors(h):
    l = h.upstream(says(chat_answer("lab")))
    u, w = google(h, None, config=chat_provider("lab", l.url) + 'model "twice" { "gemini/a", "gemini/b" }\n')
    own = b'{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}'
    u.handler = says(own, status=400)
    a = ask(w, "generateContent")
    assert a.status == 400 and a.body == own, a
    u.handler = says(b'{"error":{"code":401,"message":"key","status":"UNAUTHENTICATED"}}', status=401)
    a = ask(w, "generateContent")
    assert a.status == 502 and a.error["status"] == "INTERNAL" and a.error["code"] == 502 and a.weir["fault"] == "auth" and "details" in a.error, a
    u.handler = says(b'{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"33s"}]}}', status=429)
    a = ask(w, "generateContent", "twice")
    assert a.status == 429 and a.error["status"] == "RESOURCE_EXHAUSTED" and a.error["details"][0]["retryDelay"] == "33s" and a.header("retry-after") == "33", a
    a = wire.post(w.port, "/v1beta/models/nothing%20here/x:generateContent", b"[]")
    assert a.status == 400 and a.error["status"] == "INVALID_ARGUMENT", a
    for body in (b'{"generationConfig":3}', b'{"generationConfig":{},"generation_config":{"topP":1}}', b'{"generationConfig":{"topP":1,"top_p":1}}', b'{"generationConfig":{"maxOutputTokens":"x"}}'):
        assert wire.post(w.port, "/v1beta/models/gemini/g:generateContent", body).status == 400, body
    for stream in ([frame({"text": "Hel"})], [frame({"text": "Hel"}), b"data: {broken\r\n\r\n"]):
        u.handler = streams(*stream)
        a = ask(w, "streamGenerateContent", query="?alt=sse")
        last = a.body.strip().split(b"data: ")[-1]
        assert a.body.startswith(stream[0]) and json.loads(last)["error"]["status"] == "INTERNAL" and a.body.endswith(b"\n\n"), (stream, a)
    u.handler = streams(frame({"text": "Hel"}), b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\r\n\r\n')
    a = ask(w, "streamGenerateContent", query="?alt=sse")
    assert a.body.count(b'"error"') == 1 and b"busy" in a.body, a
    u.handler = lambda request, peer: (peer.answer(b"{}") if b"/a:" in request.head else peer.answer(answer({"text": "second"}))) or True
    a = ask(w, "generateContent", "twice")
    assert a.status == 200 and b"second" in a.body and a.header("x-weir-attempts") == "2", a


def test_client_policies(h):
    rules = """local p = {}
function p.on_request(req)
  req:note("said", req:text("user") .. "|" .. req:text("system") .. "|" .. req:text("tool") .. "|" .. req.dialect .. "|" .. tostring(req.max_tokens))
  req.max_tokens, req.temperature, req.model = 77, 0.5, "gemini/other"
end
function p.on_response(req, response) req:note("answer", (response.text or "?") .. "|" .. (response.tools and response.tools[1] and response.tools[1].name or "")) end
function p.on_chunk(req, chunk)
  if chunk.kind == "text" and chunk.text:find("stop") then return weir.stop("enough", "length") end
  if chunk.kind == "text" then return weir.replace((chunk.text:gsub("secret", "xxx"))) end
end
return p
"""
    u, w = google(h, says(answer({"text": "Yes."}, {"functionCall": {"name": "f", "args": {}}})), config='use "rules"\n', policies={"rules": rules})
    talk = [{"role": "user", "parts": [{"text": "one"}]}, {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "two"}}}]}]
    a = ask(w, "generateContent", contents=talk, system_instruction={"parts": [{"text": "be brief"}]}, generation_config={"top_p": 0.9, "max_output_tokens": 5})
    notes = w.record(a.header("x-request-id"))["notes"]
    assert a.status == 200 and notes == {"said": "one|be brief|two|gemini|5", "answer": "Yes.|f"}, (a, notes)
    r = u.requests[0]
    assert r.target == "/v1beta/models/other:generateContent" and r.json() == {"contents": talk, "systemInstruction": {"parts": [{"text": "be brief"}]},
                                                                               "generationConfig": {"topP": 0.9, "maxOutputTokens": 77, "temperature": 0.5}}, r.body
    u.handler = streams(frame({"text": "a secret"}), frame({"text": " here"}), frame(finish="STOP", usageMetadata=USAGE))
    a = ask(w, "streamGenerateContent", query="?alt=sse")
    assert b'"text": "a xxx"' in a.body.replace(b'"text":"', b'"text": "') and b"secret" not in a.body and a.body.endswith(b"\r\n\r\n"), a
    u.handler = streams(frame({"text": "a"}), frame({"text": "stop"}), frame({"text": "never"}, finish="STOP"))
    a = ask(w, "streamGenerateContent", query="?alt=sse")
    last = json.loads(a.body.strip().split(b"data: ")[-1])
    assert last["candidates"][0]["finishReason"] == "MAX_TOKENS" and b"never" not in a.body, a


WEATHER = [{"functionDeclarations": [{"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}}, "required": ["city"]}}]}]


def events_of(a):
    return [json.loads(e[6:]) for e in a.body.decode().split("\r\n\r\n") if e.startswith("data: ")]


def test_clients_elsewhere(h):
    l, c = h.upstream(says(chat_answer("Yes.", usage={"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}))), h.upstream(None)
    w = h.weir(chat_provider("lab", l.url) + messages_provider("claude", c.url) + 'model "strict" { "lab/x", loss = "strict" }\n')
    a = ask(w, "generateContent", "lab/small", generationConfig={"temperature": 0.5, "seed": 3, "maxOutputTokens": 9}, safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            tools=WEATHER, toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}, headers=[("x-goog-api-client", "c")])
    d = a.json()
    assert a.status == 200 and d["candidates"][0]["content"]["parts"] == [{"text": "Yes."}] and d["candidates"][0]["finishReason"] == "STOP" and a.header("x-weir-loss") == "safety_settings", a
    assert d["usageMetadata"] == {"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14}, d
    r = l.requests[0]
    assert r.target == "/v1/chat/completions" and not r.header("x-goog-api-client") and r.json() == {
        "model": "small", "messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function", "function": {"name": "weather", "parameters": {
            "type": "object", "properties": {"city": {"type": ["string", "null"]}}, "required": ["city"]}}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}}, "max_tokens": 9, "temperature": 0.5, "seed": 3}, r.body
    a = ask(w, "generateContent", "strict", safetySettings=[{"category": "x", "threshold": "y"}])
    assert a.status == 400 and "safetySettings" in a.error["message"] and a.error["status"] == "INVALID_ARGUMENT", a
    a = ask(w, "streamGenerateContent", "lab/small")
    assert isinstance(a.json(), list) and a.json()[0]["candidates"][0]["finishReason"] == "STOP", a
    l.handler = says(b'{"error":{"message":"full","type":"server_error","code":"overloaded"}}', status=503)
    a = ask(w, "generateContent", "lab/small")
    assert a.status == 503 and a.error["status"] == "UNAVAILABLE", a
    l.handler = says(chat_answer(None, choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": None, "refusal": "I will not."}}]))
    d = ask(w, "generateContent", "lab/small").json()
    assert d["candidates"][0]["finishReason"] == "SAFETY" and d["candidates"][0]["content"]["parts"] == [{"text": "I will not."}], d


def test_client_streams_elsewhere(h):
    args = [{"index": i, "function": {"arguments": p}} for i, p in ((0, '{"city"'), (1, '{}'), (0, ':"Rome"}'))]
    begin = [ROLE, chunk({"reasoning_content": "hm"}), word("So:"), chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "weather", "arguments": ""}}]}),
             chunk({"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "now", "arguments": ""}}]}), *(chunk({"tool_calls": [x]}) for x in args)]
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":6,"total_tokens":14}}\n\n'
    l = h.upstream(streams(*begin, chunk({}, "tool_calls"), usage, DONE))
    c = h.upstream(None)
    w = h.weir(chat_provider("lab", l.url, "usage_option = true") + messages_provider("claude", c.url))
    a = ask(w, "streamGenerateContent", "lab/x", "?alt=sse")
    parts = [p for e in events_of(a) for p in e["candidates"][0]["content"]["parts"]]
    assert parts == [{"text": "hm", "thought": True}, {"text": "So:"}, {"functionCall": {"id": "a", "name": "weather", "args": {"city": "Rome"}}}, {"functionCall": {"id": "b", "name": "now", "args": {}}}, {"text": ""}], parts
    last = events_of(a)[-1]
    assert last["candidates"][0]["finishReason"] == "STOP" and last["usageMetadata"]["totalTokenCount"] == 14 and a.body.endswith(b"\r\n\r\n"), last
    assert not any("finishReason" in e["candidates"][0] for e in events_of(a)[:-1]), a
    assert w.record(a.header("x-request-id"))["end"] == "done"
    for broken in ([*begin], [*begin, DONE], [*begin, chunk({}, "tool_calls")], [ROLE, word("a"), chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{br"}}]}), chunk({}, "tool_calls"), DONE]):
        l.handler = streams(*broken)
        a = ask(w, "streamGenerateContent", "lab/x", "?alt=sse")
        assert "error" in events_of(a)[-1] and b"finishReason" not in a.body, (broken, a)
    thought = [event(type="content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}), event(type="content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
               event(type="content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}), event(type="content_block_stop", index=0)]
    tool = [event(type="content_block_start", index=1, content_block={"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}), event(type="content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"n":12345678901234567890}'}),
            event(type="content_block_stop", index=1)]
    end = [event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 30}), event(type="message_stop")]
    c.handler = streams(START.split(b"event: content_block_start")[0], *thought, *tool, *end)
    a = ask(w, "streamGenerateContent", "claude/x", "?alt=sse")
    parts = [p for e in events_of(a) for p in e["candidates"][0]["content"]["parts"]]
    assert parts[0] == {"text": "hm", "thought": True} and parts[2]["functionCall"]["args"] == {"n": 12345678901234567890} and events_of(a)[-1]["usageMetadata"]["candidatesTokenCount"] == 30, parts
    c.handler = says(messages_answer("Yes."))
    talk = [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": parts[:3]}, {"role": "user", "parts": [{"functionResponse": {"id": "toolu_1", "name": "weather", "response": {"output": "3"}}}]}]
    a = ask(w, "generateContent", "claude/x", contents=talk, generationConfig={"maxOutputTokens": 50, "topK": 5})
    sent = c.requests[-1].json()
    assert a.status == 200 and a.header("x-weir-loss") is None and sent["top_k"] == 5, a
    assert sent["messages"][1]["content"] == [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"n": 12345678901234567890}}], sent
    assert sent["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}], sent


def test_several_answers(h):
    """n and candidateCount are one: each answer is told by its number, whole and streamed, both ways; one call is kept where one was asked for."""
    two = {"candidates": [{"index": i, "content": {"parts": [{"text": t}]}, "finishReason": "STOP"} for i, t in enumerate(("one", "two"))], "modelVersion": "g", "usageMetadata": USAGE}
    u, w = google(h, says(json.dumps(two).encode()), config=chat_provider("lab", (l := h.upstream(None)).url))
    a = chat(w, n=2, logprobs=True)
    assert a.status == 200 and [(c["index"], c["message"]["content"]) for c in a.json()["choices"]] == [(0, "one"), (1, "two")] and a.header("x-weir-loss") == "logprobs", a
    assert u.requests[0].json()["generationConfig"] == {"candidateCount": 2, "responseLogprobs": True}, u.requests[0].body
    part = lambda i, text, **more: b"data: " + json.dumps({"candidates": [{"index": i, "content": {"parts": [{"text": text}]}, **more}], "usageMetadata": USAGE}).encode() + b"\r\n\r\n"
    u.handler = streams(part(0, "on"), part(1, "tw"), part(0, "e", finishReason="STOP"), part(1, "o", finishReason="MAX_TOKENS"))
    a = chat(w, stream=True, n=2)
    said = lambda i: "".join(c["delta"].get("content") or "" for d in chunks(a) for c in d["choices"] if c["index"] == i)
    ends = {c["index"]: c["finish_reason"] for d in chunks(a) for c in d["choices"] if c["finish_reason"]}
    assert (said(0), said(1)) == ("one", "two") and ends == {0: "stop", 1: "length"} and a.body.endswith(b"[DONE]\n\n"), a
    u.handler = streams(part(0, "on"), part(1, "tw"), part(0, "e", finishReason="STOP"))
    a = chat(w, stream=True, n=2)
    assert b"[DONE]" not in a.body and b'"error"' in a.body, a
    assert messages(w, n=2).header("x-weir-loss") == "n"
    tools = [{"type": "function", "function": {"name": "f"}}]
    u.handler = says(answer({"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "f", "args": {"x": 1}}}))
    a = chat(w, tools=tools, parallel_tool_calls=False)
    assert a.header("x-weir-loss") == "parallel_tool_calls" and [c["function"]["arguments"] for c in a.json()["choices"][0]["message"]["tool_calls"]] == ["{}"], a
    u.handler = streams(frame({"functionCall": {"name": "f", "args": {}}}), frame({"functionCall": {"name": "f", "args": {"x": 1}}}), frame(finish="STOP"))
    a = chat(w, tools=tools, parallel_tool_calls=False, stream=True)
    assert a.body.count(b'"name":"f"') == 1 and b'"finish_reason":"tool_calls"' in a.body, a
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}
    u.handler = says(answer({"text": "Yes."}))
    assert chat(w, messages=[{"role": "user", "content": [file]}]).header("x-weir-loss") == "filename"
    # a client of Gemini
    choice = lambda i, text, **more: {"index": i, "message": {"role": "assistant", "content": text, **more}, "finish_reason": "stop"}
    cited = {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://x.example", "title": "X", "start_index": 1, "end_index": 3}}]}
    l.handler = says(chat_answer(None, choices=[choice(0, "one"), choice(1, "\u00e9\u00e9ab", **cited)]))
    a = ask(w, "generateContent", "lab/x", generationConfig={"candidateCount": 2})
    d = a.json()["candidates"]
    assert l.requests[0].json()["n"] == 2 and a.header("x-weir-loss") is None and [(c["index"], c["content"]["parts"]) for c in d] == [(0, [{"text": "one"}]), (1, [{"text": "\u00e9\u00e9ab"}])], a
    assert d[1]["groundingMetadata"] == {"groundingChunks": [{"web": {"uri": "https://x.example", "title": "X"}}],
                                         "groundingSupports": [{"segment": {"startIndex": 2, "endIndex": 5, "text": "\u00e9a"}, "groundingChunkIndices": [0]}]}, d
    l.handler = says(chat_answer(None, choices=[choice(0, "one", annotations=[{"type": "file_citation"}])]))
    a = ask(w, "generateContent", "lab/x")
    assert a.header("x-weir-loss") == "annotations" and w.record(a.header("x-request-id"))["loss"] == "annotations", a
    of = lambda i, delta, finish=None: b"data: " + json.dumps({"choices": [{"index": i, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"
    l.handler = streams(of(0, {"content": "on"}), of(1, {"content": "two"}), of(0, {"content": "e"}), of(1, {}, "stop"), of(0, {}, "length"), DONE)
    a = ask(w, "streamGenerateContent", "lab/x", "?alt=sse", generationConfig={"candidateCount": 2})
    said = lambda i: "".join(p["text"] for e in events_of(a) for c in e["candidates"] if c["index"] == i for p in c["content"]["parts"])
    ends = {c["index"]: c["finishReason"] for e in events_of(a) for c in e["candidates"] if "finishReason" in c}
    assert (said(0), said(1)) == ("one", "two") and ends == {0: "MAX_TOKENS", 1: "STOP"} and w.record(a.header("x-request-id"))["end"] == "done", a


def test_policies_see_messages(h):
    rules = """local p = {}
function p.on_request(req)
  local said, m = {}, req.messages
  for _, x in ipairs(m) do said[#said + 1] = x.role .. ":" .. (type(x.content) == "string" and x.content or x.content and x.content[1].text or "") .. (x.tool_calls and "/" .. x.tool_calls[1]["function"].name .. x.tool_calls[1]["function"].arguments or "") end
  req:note("messages", table.concat(said, " "))
  req:note("tool", req.tools[1]["function"].name)
  m[#m].content = "changed"
  m[1].content = "be kind"
  req.messages = m
  local t = req.tools
  t[#t + 1] = { type = "function", ["function"] = { name = "mine", parameters = { type = "object" } } }
  req.tools = t
end
return p
"""
    u, w = google(h, says(answer({"text": "Yes."})), config='use "rules"\n', policies={"rules": rules})
    talk = [{"role": "user", "parts": [{"text": "one"}, {"text": "two"}]}, {"role": "model", "parts": [{"text": "so", "thoughtSignature": "QQ=="}, {"functionCall": {"name": "f", "args": {"n": 1.0}}, "thoughtSignature": "Qg=="}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "3"}}}, {"text": "go on"}]}]
    a = ask(w, "generateContent", contents=talk, systemInstruction={"parts": [{"text": "be brief"}]}, tools=[{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}, {"googleSearch": {}}])
    notes = w.record(a.header("x-request-id"))["notes"]
    assert a.status == 200 and notes == {"messages": 'system:be brief user:one assistant:so/f{"n": 1.0} tool:3 user:go on', "tool": "f"}, (a, notes)
    sent = u.requests[0].json()
    assert sent["systemInstruction"] == {"parts": [{"text": "be kind"}]} and sent["contents"][:2] == talk[:2], sent
    assert sent["contents"][2] == {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "3"}}}, {"text": "changed"}]}, sent
    assert sent["tools"] == [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}, {"name": "mine", "parametersJsonSchema": {"type": "object"}}]}, {"googleSearch": {}}], sent


def test_held_at_the_end(h):
    rules = """local p = {}
function p.on_request(req) weir.hold { bytes = 1000 } return weir.hold { bytes = 1000 } end
function p.on_chunk(req, chunk) if chunk.kind == "text" then return weir.hold { bytes = 1000 } end end
return p
"""
    stream = [frame({"text": "a"}), frame({"text": "b"}), frame({"text": ""}, finish="STOP", usageMetadata=USAGE)]
    u, w = google(h, streams(*stream), config='use "rules"\n', policies={"rules": rules.replace("function p.on_request(req) weir.hold { bytes = 1000 } return weir.hold { bytes = 1000 } end\n", "")})
    a = ask(w, "streamGenerateContent", query="?alt=sse", headers=[("x-weir-include", "trace")])
    assert a.body == b"".join(stream), a
    l = h.upstream(None)
    w = h.weir(chat_provider("lab", l.url) + 'defaults { between_events = 30 }\n')
    l.handler = lambda request, peer: peer.stream(ROLE, word("a"), chunk({}, "stop"), DONE, end=False) or True
    a = ask(w, "streamGenerateContent", "lab/x", "?alt=sse")
    assert events_of(a)[-1]["candidates"][0]["finishReason"] == "STOP", a


def test_mock_and_sdk(h):
    m = h.mock()
    w = h.weir(f'provider "gemini" {{ url = "http://127.0.0.1:{m.port}", key = env "OPENAI_KEY" }}\n' + chat_provider("lab", f"http://127.0.0.1:{m.port}/v1") + messages_provider("claude", f"http://127.0.0.1:{m.port}"))
    args = {"contents": "Say something."}
    calls = [{"kind": kind, "base": f"http://127.0.0.1:{port}", "args": {"model": model, **args}, "mock": mock}
             for kind in ("generate", "generate_stream") for mock in ("", "input=100;cached=7;output=50;reasoning=9", "status=429", "error=2") for port, model in ((m.port, "mock"), (w.port, "gemini/mock"))]
    elsewhere = [{"kind": k, "base": f"http://127.0.0.1:{w.port}", "args": {"model": m, **args}} for m in ("lab/mock", "claude/mock") for k in ("generate", "generate_stream")]
    results = sdk.call(h, "python", calls + elsewhere)
    for i in range(0, len(calls), 2):
        d, t = results[i], results[i + 1]
        assert ("ok" in d) == ("ok" in t) and d.get("ok") == t.get("ok") and d.get("status") == t.get("status") and d.get("text") == t.get("text"), (calls[i], d, t)
    for i in (0, 2):
        whole, streamed = results[len(calls) + i : len(calls) + i + 2]
        assert whole["text"] == streamed["text"] and whole["text"].startswith("A weir stands") and streamed["ok"][-1]["candidates"][0]["finish_reason"] == "STOP", (whole, streamed)
        assert streamed["ok"][-1]["usage_metadata"]["total_token_count"] == 21, streamed["ok"][-1]
