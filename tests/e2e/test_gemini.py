"""Providers of the gemini dialect, asked by clients of chat and of messages: requests, answers, streams, errors, usage and what it costs."""

import json

import wire
from harness import chat_provider
from upstream import chat_answer

LIMIT = 60
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
        l.handler = lambda request, peer: peer.stream(*__import__("upstream").chat_events("fine")) or True
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
