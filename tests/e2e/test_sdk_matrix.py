"""The official SDKs as clients of every dialect that a provider may speak: each of them at each, the same talk with tools, an image, thinking,
a JSON schema, usage and errors. What it says goes back as the SDK gave it, so the second question proves the first answer."""

import json
import re

import sdk
import test_bedrock as aws
import test_gemini as goog
from harness import chat_provider, messages_provider, until
from test_responses_upstream import REASONING, SCHEMA, STREAM, WHOLE, answer, call, message, said
from upstream import DONE, ROLE, chat_answer, chunk, event, messages_answer, word

LIMIT = 250  # the first test may have to fetch the SDKs
IMAGE = "iVBORw0KGgo="
USED = [100, 40, 20]  # input, of it from a cache, output; what STREAM and WHOLE tell
SAID = {"text": "So it is.", "thinking": "hm", "calls": [["weather", {"city": "Rome"}], ["now", {}]], "usage": USED}
RESULTS = {"weather": "sunny, \u00fcber 20\n\"warm\"", "now": "noon"}
CLAUDE_USAGE = {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 20}
CHAT_USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 40}}
GEMINI_USAGE = {"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 15, "thoughtsTokenCount": 5, "totalTokenCount": 120}
AWS_USAGE = {"inputTokens": 60, "cacheReadInputTokens": 40, "cacheWriteInputTokens": 0, "outputTokens": 20, "totalTokens": 120}

# ---- what the providers say: text, thinking and two calls at once; a JSON text; "Done." behind the tools' results
USAGE_CHUNK = STREAM["lab"][-2]
GEMINI_PARTS = [{"text": "hm", "thought": True}, {"text": "So it "}, {"text": "is."}, {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "QUI="},
                {"functionCall": {"name": "now", "args": {}}}]
AWS_THOUGHT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
AWS_CALLS = [{"toolUse": {"toolUseId": "a", "name": "weather", "input": {"city": "Rome"}}}, {"toolUse": {"toolUseId": "b", "name": "now", "input": {}}}]


def claude_whole(*content, stop="end_turn"):
    return json.dumps({**json.loads(messages_answer()), "content": content, "stop_reason": stop, "usage": CLAUDE_USAGE}).encode()


def lab_whole(message, finish="stop"):
    return chat_answer(choices=[{"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}], usage=CHAT_USAGE)


def aws_stream(*blocks, reason):
    stop = lambda i: aws.event("contentBlockStop", contentBlockIndex=i)
    return [aws.START, *(x for i, deltas in enumerate(blocks) for x in (*deltas(i), stop(i))), aws.stop(reason), aws.event("metadata", usage=AWS_USAGE, metrics={"latencyMs": 9})]


def aws_call(id, name, *pieces):
    return lambda i: [aws.event("contentBlockStart", contentBlockIndex=i, start={"toolUse": {"toolUseId": id, "name": name}}), *(aws.delta(i, toolUse={"input": p}) for p in pieces)]


def lab_call(id, name, arguments):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS_WHOLE = {
    "oai": answer(REASONING, call("a", "weather", '{"city": "Rome"}'), message("So it is."), call("b", "now", "{}")),
    "claude": claude_whole({"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": "So it is."},
                           {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Rome"}}, {"type": "tool_use", "id": "b", "name": "now", "input": {}}, stop="tool_use"),
    "lab": lab_whole({"content": "So it is.", "reasoning_content": "hm", "tool_calls": [lab_call("a", "weather", '{"city": "Rome"}'), lab_call("b", "now", "{}")]}, "tool_calls"),
    "gemini": goog.answer(*GEMINI_PARTS, usageMetadata=GEMINI_USAGE),
    "bedrock": aws.answer(AWS_THOUGHT, {"text": "So it is."}, *AWS_CALLS, reason="tool_use", usage=AWS_USAGE),
}
TOOLS_STREAM = {
    **STREAM,
    "gemini": [*map(goog.frame, GEMINI_PARTS), goog.frame({"text": ""}, finish="STOP", usageMetadata=GEMINI_USAGE)],
    "bedrock": aws_stream(lambda i: [aws.delta(i, reasoningContent={"text": "hm"}), aws.delta(i, reasoningContent={"signature": "c2ln"})], lambda i: [aws.word("So it ", i), aws.word("is.", i)],
                          aws_call("a", "weather", '{"city"', ': "Rome"}'), aws_call("b", "now"), reason="tool_use"),
}
LAB_IN_TURN = [*STREAM["lab"][:4], *(STREAM["lab"][i] for i in (5, 7, 4, 6)), *STREAM["lab"][8:]]  # the SDK's own helper reads no calls that take turns
JSON_WHOLE = {**WHOLE, "gemini": goog.answer({"text": "hm", "thought": True}, {"text": '{"a":1}'}, usageMetadata=GEMINI_USAGE),
              "bedrock": aws.answer(AWS_THOUGHT, {"text": '{"a":1}'}, usage=AWS_USAGE)}
DONE_WHOLE = {"oai": answer(message("Done.")), "claude": claude_whole({"type": "text", "text": "Done."}), "lab": lab_whole({"content": "Done."}),
              "gemini": goog.answer({"text": "Done."}, usageMetadata=GEMINI_USAGE), "bedrock": aws.answer({"text": "Done."}, usage=AWS_USAGE)}
DONE_STREAM = {
    "oai": said(message("Done.")),
    "claude": [STREAM["claude"][0], event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}), event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Done."}),
               event(type="content_block_stop", index=0), event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 20}), event(type="message_stop")],
    "lab": [ROLE, word("Done."), chunk({}, "stop"), USAGE_CHUNK, DONE],
    "gemini": [goog.frame({"text": "Done."}, finish="STOP", usageMetadata=GEMINI_USAGE)],
    "bedrock": aws_stream(lambda i: [aws.word("Done.", i)], reason="end_turn"),
}
TOO_LONG = {"lab": "This model's maximum context length is 8192 tokens.", "oai": "Your input exceeds the context window of this model.", "claude": "prompt is too long: 300000 tokens > 200000 maximum",
            "gemini": "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).", "bedrock": "Input is too long for requested model."}


def refusal(name, what):
    """Status, body, headers."""
    status, text = {"busy": (429, "slow down"), "bad": (400, "no such field"), "long": (400, TOO_LONG[name])}[what]
    if name == "claude":
        return status, {"type": "error", "error": {"type": "rate_limit_error" if status == 429 else "invalid_request_error", "message": text}}, []
    if name == "gemini":
        return status, {"error": {"code": status, "message": text, "status": "RESOURCE_EXHAUSTED" if status == 429 else "INVALID_ARGUMENT"}}, []
    if name == "bedrock":
        return status, {"message": text}, [("x-amzn-errortype", "ThrottlingException" if status == 429 else "ValidationException")]
    code = {"busy": "rate_limit_exceeded", "bad": "invalid_value", "long": "context_length_exceeded"}[what]
    return status, {"error": {"message": text, "type": "requests" if status == 429 else "invalid_request_error", "param": None, "code": code}}, []


# In the names of models the last word says what the provider does; what stands before it is what its dialect goes by.
NAMES = {"lab": "", "oai": "", "claude": "", "gemini": "gemini-2.5-", "bedrock": "us.anthropic.claude-"}


def serve(name):
    def handler(request, peer):
        body = request.json()
        model = body.get("model") or request.target.split("/")[-1 if name == "gemini" else -2].split(":")[0]
        streamed = body.get("stream") or "stream" in request.target
        what = model.removeprefix(NAMES[name]).split("-")[0]
        if what in ("busy", "bad", "long"):
            status, error, headers = refusal(name, what)
            return peer.answer(json.dumps(error).encode(), status=status, headers=headers) or True
        if what == "json":
            return peer.answer(JSON_WHOLE[name]) or True
        whole, stream = (DONE_WHOLE, DONE_STREAM) if b"noon" in request.body else (TOOLS_WHOLE, TOOLS_STREAM)
        if streamed and name == "bedrock":
            aws.send_frames(peer, *stream[name])
        elif streamed and stream is TOOLS_STREAM and name == "lab" and "talk-chat" in model:
            peer.stream(*LAB_IN_TURN)
        elif streamed:
            peer.stream(*stream[name])
        else:
            peer.answer(whole[name])
        return True

    return handler


# ---- what the clients ask
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
NOTHING = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
DECLARED = [("weather", "of a city", CITY), ("now", "the time", NOTHING)]


def chat_args(model, what):
    url = f"data:image/png;base64,{IMAGE}"
    args = {"model": model, "max_completion_tokens": 4000, "messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]}]}
    if what == "json":
        args["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
    if what == "tools":
        args["tools"] = [{"type": "function", "function": {"name": n, "description": d, "parameters": s, "strict": True}} for n, d, s in DECLARED]
        args["reasoning_effort"] = "low"
    return args


def messages_args(model, what):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}
    args = {"model": model, "max_tokens": 4000, "messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]}
    if what == "json":
        args["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
    if what == "tools":
        args["tools"] = [{"name": n, "description": d, "input_schema": s} for n, d, s in DECLARED]
        args["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    return args


def generate_args(model, what):
    config = {"max_output_tokens": 4000}
    if what == "json":
        config.update(response_mime_type="application/json", response_json_schema=SCHEMA)
    if what == "tools":
        config["tools"] = [{"function_declarations": [{"name": n, "description": d, "parameters_json_schema": s} for n, d, s in DECLARED]}]
        config["thinking_config"] = {"include_thoughts": True, "thinking_budget": 2048}
    return {"model": model, "contents": ["What?", {"image": IMAGE}], "config": config}


CLIENTS = {"talk-chat": chat_args, "talk-messages": messages_args, "talk-generate": generate_args}
FINISHES = {"talk-chat": ("tool_calls", "stop"), "talk-messages": ("tool_use", "end_turn"), "talk-generate": ("STOP", "STOP")}
ERRORS = {"talk-chat": ("RateLimitError", "BadRequestError"), "talk-messages": ("RateLimitError", "BadRequestError"), "talk-generate": ("ClientError", "ClientError")}


HELPED = {  # what the SDKs do by themselves
    ("python", "talk-chat"): [("json", "parse", False)],
    ("python", "talk-messages"): [("json", "parse", False), ("runner", "runner", False), ("runner", "runner", True)],
    ("python", "talk-generate"): [("json", "parse", False), ("runner", "runner", False)],
    ("node", "talk-chat"): [("runner", "runner", False), ("runner", "runner", True)],
    ("node", "talk-messages"): [],
}


def questions(base, language, kind, name):
    """(what, call): each provider and client have models of their own, so that requests can be found again."""
    for what, streamed in (("tools", False), ("tools", True), ("json", False), ("busy", False), ("busy", True), ("bad", False), ("long", False), ("long", True)):
        model = f"{name}/{NAMES[name]}{what}-{kind}-{int(streamed)}"
        more = {"results": RESULTS} if what == "tools" else {}
        yield what, {"kind": kind, "base": base, "stream": streamed, "args": CLIENTS[kind](model, what), **more}
    for what, helper, streamed in HELPED[language, kind]:
        args = CLIENTS[kind](f"{name}/{NAMES[name]}{what}-{kind}-{helper}", "tools" if language == "node" else "")
        yield helper, {"kind": kind, "base": base, "stream": streamed, "helper": helper, "args": args, "results": RESULTS}


# ---- what must have come of it
def check(kind, name, what, result):
    finish, over = FINISHES[kind]
    if what in ("parse", "runner"):
        expected = 1 if what == "parse" else {"text": "Done.", "thinking": "", "calls": [], "finish": over, "usage": USED}
        assert result.get("said") == expected, f"{result}, not {expected}"
        return
    if what in ("tools", "json"):
        expected = {**SAID, "finish": finish} if what == "tools" else {"text": '{"a":1}', "thinking": "hm", "calls": [], "finish": over, "usage": USED}
        assert result.get("said") == expected, f"{result}, not {expected}"
        assert what == "json" or result["then"] == {"text": "Done.", "thinking": "", "calls": [], "finish": over, "usage": USED}, result.get("then")
        return
    limited, bad = ERRORS[kind]
    assert (result.get("error"), result.get("status")) == ((limited, 429) if what == "busy" else (bad, 400)), result
    assert {"busy": "slow down", "bad": "no such field", "long": TOO_LONG[name]}[what] in result["message"], result
    if kind == "talk-chat":
        assert result["body"]["code"] in {"busy": ["rate_limit_exceeded"], "bad": ["invalid_value", None], "long": ["context_length_exceeded"]}[what], result


def inside(value, wanted):
    """Whether that stands anywhere in a body, also as the text of a string."""
    if value == wanted:
        return True
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value) == wanted
        except ValueError:
            return False
    return any(inside(v, wanted) for v in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()))


def results_of(name, body):
    """The tools' results by their tools' names, in the provider's dialect."""
    calls, found = {}, {}
    def walk(v):
        if isinstance(v, list):
            for x in v:
                walk(x)
        elif isinstance(v, dict):
            if v.get("type") in ("function", "function_call", "tool_use") and ("id" in v or "call_id" in v):
                calls[v.get("call_id") or v["id"]] = v.get("name") or v["function"]["name"]
            if "toolUse" in v:
                calls[v["toolUse"]["toolUseId"]] = v["toolUse"]["name"]
            if v.get("role") == "tool" or v.get("type") in ("tool_result", "function_call_output"):
                text = v["output"] if "output" in v else v["content"]
                found[calls.get(v.get("tool_call_id") or v.get("tool_use_id") or v["call_id"])] = text if isinstance(text, str) else text[0]["text"]
            if "toolResult" in v:
                found[calls.get(v["toolResult"]["toolUseId"])] = v["toolResult"]["content"][0]["text"]
            if "functionResponse" in v:
                told = v["functionResponse"]["response"]
                found[v["functionResponse"]["name"]] = told.get("output", told.get("result"))
            for x in v.values():
                walk(x)

    walk(body)
    return {k: json.loads(v)["result"] if v.startswith('{"result') else v for k, v in found.items()}  # so Google's SDK says what a function returned


SIGNED = {"oai": '"gAAA"', "claude": '"c2ln"', "gemini": '"QUI="', "bedrock": '"c2ln"', "lab": ""}
THINKS = {"oai": '"reasoning":', "claude": '"thinking":', "gemini": '"thinkingConfig":', "bedrock": '"thinking":', "lab": '"reasoning_effort":'}


def check_asked(name, requests):
    """What the provider was asked: the image, the schema, thinking; behind its calls their results, and its signatures."""
    wrong = []
    for r in requests:
        body, text = r.json(), r.body.decode()
        if name == "claude" and "previous_message_id" in text:
            continue  # a conversation that it keeps: passed on as it came, with what is new alone
        where = (text if "model" in body else r.target)
        what = f"{name} {where[where.find('talk-'):][:18]} {text[:1500]}"
        if IMAGE not in text:
            wrong.append(f"no image: {what}")
        if "json-talk" in where and (not re.search(r'properties\\*": ?\{\\*"a\\*":', text) if "-parse" in where else not inside(body, SCHEMA)):
            wrong.append(f"no schema: {what}")
        if "tools-talk" in where and THINKS[name] not in text.replace('": ', '":'):
            wrong.append(f"no thinking: {what}")
        if b"noon" in r.body and results_of(name, body) != RESULTS:
            wrong.append(f"other results, {results_of(name, body)}: {what}")
        if b"noon" in r.body and SIGNED[name] not in text and "talk-chat-runner" not in where:  # OpenAI's runner leaves out what it does not know
            wrong.append(f"no signature: {what}")
    return wrong


def matrix(h, language, kinds):
    ups = {name: h.upstream(serve(name)) for name in NAMES}
    u = {n: x.url for n, x in ups.items()}
    w = h.weir(chat_provider("lab", u["lab"]) + messages_provider("claude", u["claude"])
               + f'provider "oai" {{ dialect = "responses", url = "{u["oai"]}", key = env "OPENAI_KEY" }}\n'
               + f'provider "gemini" {{ url = "{u["gemini"][:-3]}", key = env "OPENAI_KEY" }}\n' + f'provider "bedrock" {{ url = "{u["bedrock"][:-3]}" }}\n', env=aws.ENV)
    jobs = [(kind, name, what, c) for kind in kinds for name in NAMES for what, c in questions(f"http://127.0.0.1:{w.port}", language, kind, name)]
    wrong = []
    for (kind, name, what, c), result in zip(jobs, sdk.call(h, language, [j[3] for j in jobs])):
        try:
            check(kind, name, what, result)
        except (AssertionError, KeyError, TypeError) as e:
            wrong.append(f"{kind} at {name}, {what} {'stream' if c['stream'] else 'whole'}: {type(e).__name__} {str(e)[:900]}")
    for name in NAMES:
        wrong += check_asked(name, ups[name].requests)
    assert not wrong, f"{len(wrong)} of {len(jobs)}:\n" + "\n".join(x[:1600] for x in wrong[:12])
    check_records(w, sum(1 + (j[2] in ("tools", "runner")) for j in jobs))


def check_records(w, count):
    """The access log says of each answer what its provider told."""
    records = until(lambda: len(w.records()) >= count and w.records(), 5, "the access lines")
    good = [r for r in records if r["status"] == 200]
    assert good and all((r["input"], r["cache_read"], r["output"]) == (60, 40, 20) for r in good), [r for r in good if r.get("output") != 20 or r.get("input") != 60][:2] or good[0]


def test_python(h):
    matrix(h, "python", list(CLIENTS))


def test_node(h):
    matrix(h, "node", ["talk-chat", "talk-messages"])
