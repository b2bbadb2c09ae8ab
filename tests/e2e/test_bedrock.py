"""Clients of chat and of messages at Bedrock's Converse: requests and their signatures, whole answers, streams in AWS's frames, what breaks
them, money."""

import datetime
import hashlib
import hmac
import json
import os
import re
import struct
import urllib.parse
import zlib

import wire
from harness import messages_provider, until

ID, SECRET, TOKEN = "AKIDEXAMPLE0000WEIR", "wEiRsEcReTkEyExAmPlE/0000000000000000000", "session-token-of-the-test"
ENV = {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PRICES = 'models = { ["acme.small"] = { price = { input = usd(1), output = usd(10), cache_read = usd(0.1), cache_write = usd(2), cache_write_1h = usd(4) }, max_output = 9000 } }'
USAGE = {"inputTokens": 100, "outputTokens": 20, "totalTokens": 1130, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 10}


# ---- what Bedrock says
def text_header(name, value):
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def frame(payload, **headers):
    head = b"".join(text_header(":" + k.replace("_", "-"), v) for k, v in headers.items())
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(body), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + body
    return message + struct.pack(">I", zlib.crc32(message))


def event(kind, **payload):
    return frame({**payload, "p": "abcdefgh"}, event_type=kind, content_type="application/json", message_type="event")


def exception(kind, **payload):
    return frame(payload, exception_type=kind, content_type="application/json", message_type="exception")


def delta(index=0, **d):
    return event("contentBlockDelta", contentBlockIndex=index, delta=d)


def word(text, index=0):
    return delta(index, text=text)


def stop(reason="end_turn", **more):
    return event("messageStop", stopReason=reason, **more)


START, BLOCK_STOP = event("messageStart", role="assistant"), event("contentBlockStop", contentBlockIndex=0)
METADATA = event("metadata", usage=USAGE, metrics={"latencyMs": 9})
HELLO = [START, word("Hel"), word("lo."), BLOCK_STOP, stop(), METADATA]


def answer(*content, reason="end_turn", **more):
    return json.dumps({"output": {"message": {"role": "assistant", "content": list(content)}}, "stopReason": reason, "usage": USAGE, "metrics": {"latencyMs": 9}, **more}).encode()


def send_frames(peer, *pieces, end=True, split=0):
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nx-amzn-requestid: up-1\r\ntransfer-encoding: chunked\r\n\r\n")
    data = b"".join(pieces)
    for at in range(0, len(data), split) if split else []:
        peer.chunk(data[at : at + split])
    if not split:
        for p in pieces:
            peer.chunk(p)
    if end:
        peer.send(b"0\r\n\r\n")


def says(body, **kw):
    return lambda request, peer: peer.answer(body, **kw) or True


def streams(*pieces, **kw):
    return lambda request, peer: send_frames(peer, *pieces, **kw) or kw.get("end", True)


def usual(request, peer):
    if request.target.endswith("/converse-stream"):
        send_frames(peer, *HELLO)
    else:
        peer.answer(answer({"text": "Hello."}), headers=[("x-amzn-requestid", "up-1")])
    return True


# ---- signatures, as AWS checks them
def hmac_of(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(request, secret, names, date, region):
    path, _, query = request.target.partition("?")
    lines = "".join(f"{n}:{' '.join(request.header(n).split())}\n" for n in names)
    canonical = "\n".join([request.method, urllib.parse.quote(path, safe="/~"), query, lines, ";".join(names), hashlib.sha256(request.body).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (date[:8], region, "bedrock", "aws4_request"):
        key = hmac_of(key, part)
    text = f"AWS4-HMAC-SHA256\n{date}\n{date[:8]}/{region}/bedrock/aws4_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac_of(key, text).hex()


def check_signature(r, secret=SECRET, key_id=ID, region="us-east-1", token=None):
    assert r.names().count("authorization") == 1, r.head
    m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\S+?)/(\d{8})/(\S+?)/bedrock/aws4_request, SignedHeaders=(\S+), Signature=([0-9a-f]{64})", r.header("authorization"))
    assert m, r.head
    names, date = m[4].split(";"), r.header("x-amz-date")
    assert m[1] == key_id and m[3] == region and date[:8] == m[2], r.head
    assert names == sorted(names) and {"host", "x-amz-date", "content-type"} <= set(names), r.head
    assert all(n in names for n in r.names() if n.startswith("x-amz-")), r.head
    assert r.header("x-amz-security-token") == token and (token is None or "x-amz-security-token" in names), r.head
    at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) < 100, date
    assert m[5] == signature(r, secret, names, date, region), r.head


# ---- weir before it
def bedrock(h, handler=usual, more="", config="", env=ENV, **kw):
    u = h.upstream(handler)
    return u, h.weir(f'provider "bedrock" {{ url = "{u.url[:-3]}", {more} }}\n' + config, env=env, **kw)


def chat(w, headers=(), **body):
    return wire.post(w.port, "/v1/chat/completions", json.dumps({"model": "bedrock/acme.small", "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def messages(w, headers=(), **body):
    return wire.post(w.port, "/v1/messages", json.dumps({"model": "bedrock/acme.small", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **body}).encode(), headers)


def shipped(name):
    with open(f"{os.path.dirname(__file__)}/../../policies/{name}.lua") as f:
        return f.read()


def chunks(a):
    return [json.loads(line[6:]) for line in a.body.decode().split("\n") if line.startswith("data: {")]


def events(a):
    return [json.loads(line[6:]) for line in a.body.decode().split("\n") if line.startswith("data: ")]


def test_whole(h):
    u, w = bedrock(h, more=PRICES)
    a = chat(w, max_tokens=7, temperature=0.5, stop="END", seed=1, headers=[("x-amz-date", "19990101T000000Z"), ("authorization", "Bearer mine"), ("openai-organization", "o")])
    d = a.json()
    assert a.status == 200 and a.text() == "Hello." and d["object"] == "chat.completion" and d["choices"][0]["finish_reason"] == "stop" and d["model"] == "bedrock/acme.small", a
    assert d["usage"] == {"prompt_tokens": 1110, "completion_tokens": 20, "total_tokens": 1130, "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 10}}, d
    assert a.header("x-weir-loss") == "seed" and a.header("x-weir-cost-usd") == "0.00042" and a.header("x-weir-upstream-id") == "up-1", a.headers
    r = u.requests[0]
    assert r.method == "POST" and r.target == "/model/acme.small/converse" and r.header("openai-organization") is None and r.names().count("content-type") == 1, r.head
    assert r.json() == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 7, "temperature": 0.5, "stopSequences": ["END"]}}, r.body
    check_signature(r)
    a = messages(w, system="Be brief.", headers=[("anthropic-version", "2023-06-01")])
    d = a.json()
    assert d["type"] == "message" and d["content"] == [{"type": "text", "text": "Hello.", "citations": None}] and d["stop_reason"] == "end_turn", a
    assert d["usage"]["input_tokens"] == 100 and d["usage"]["cache_read_input_tokens"] == 1000 and d["usage"]["output_tokens"] == 20, d
    assert a.header("x-weir-loss") is None and u.requests[1].json()["system"] == [{"text": "Be brief."}], u.requests[1].body
    check_signature(u.requests[1])
    assert w.record(a.header("x-request-id"))["input"] == 100


def test_whole_streams(h):
    u, w = bedrock(h, more=PRICES)
    for split in (0, 1, 37):
        u.handler = streams(*HELLO, split=split)
        a = chat(w, stream=True, stream_options={"include_usage": True})
        assert a.status == 200 and a.header("content-type").startswith("text/event-stream") and a.text() == "Hello.", a
        assert a.body.endswith(b"data: [DONE]\n\n") and chunks(a)[-1]["usage"]["prompt_tokens"] == 1110 and chunks(a)[-2]["choices"][0]["finish_reason"] == "stop", a
        assert u.requests[0].target == "/model/acme.small/converse-stream" and "stream" not in u.requests[0].json(), u.requests[0].head
        check_signature(u.requests[0])
        record = w.record(a.header("x-request-id"))
        assert (record["input"], record["output"], record["end"]) == (100, 20, "done"), record
        a = messages(w, stream=True)
        kinds = [e["type"] for e in events(a) if e["type"] != "ping"]
        assert kinds == ["message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop", "message_delta", "message_stop"], kinds
        assert events(a)[-2]["usage"]["input_tokens"] == 100 and a.header("x-weir-upstream-id") == "up-1", a


def test_metadata_first_and_no_start(h):
    call = event("contentBlockStart", contentBlockIndex=0, start={"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}})
    pieces = [call, delta(toolUse={"input": '{"city": '}), delta(toolUse={"input": '"Rome"}'}), BLOCK_STOP, METADATA, stop("tool_use")]
    u, w = bedrock(h, streams(*pieces))
    a = chat(w, stream=True, tools=[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])
    calls = [t for c in chunks(a) if c["choices"] for t in c["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["id"] == "tooluse_1" and "".join(t["function"]["arguments"] for t in calls) == '{"city": "Rome"}' and a.body.endswith(b"[DONE]\n\n"), a
    assert chunks(a)[-1]["choices"][0]["finish_reason"] == "tool_calls", a
    assert u.requests[0].json()["toolConfig"] == {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]}
    a = messages(w, stream=True, tools=[{"name": "weather", "input_schema": {"type": "object"}}], tool_choice={"type": "any"})
    assert [e["content_block"] for e in events(a) if e["type"] == "content_block_start"] == [{"type": "tool_use", "id": "tooluse_1", "name": "weather", "input": {}}], a
    assert events(a)[-2]["delta"]["stop_reason"] == "tool_use" and u.requests[1].json()["toolConfig"]["toolChoice"] == {"any": {}}, a


def test_no_metadata(h):
    u, w = bedrock(h, streams(*HELLO[:-1]), more=PRICES)
    for a, end in ((chat(w, stream=True), b"[DONE]"), (messages(w, stream=True), b"message_stop")):
        assert a.status == 200 and end in a.body and b'"error"' not in a.body, a
        record = w.record(a.header("x-request-id"))
        assert record["end"] == "done" and record.get("output", 0) < 20, record


def test_the_mock(h):
    m = h.mock("--aws", f"{ID}:{SECRET}")
    w = h.weir("".join(f'provider "{n}" {{ dialect = "converse", url = "{m.url[:-3]}", key = env "{k}", key_id = env "AWS_ACCESS_KEY_ID" }}\n' for n, k in (("right", "AWS_SECRET_ACCESS_KEY"), ("wrong", "W"))),
               env={**ENV, "W": "no"})
    a = chat(w, model="right/arn:x/y")
    assert a.status == 200 and a.text().startswith("A weir") and a.header("x-weir-upstream-id").startswith("mock-"), a
    assert messages(w, model="right/mock-tools", stream=True).body.count(b'"tool_use","id"') == 2
    for model, fault in (("wrong/m", "auth"), ("right/mock-429", "rate_limited"), ("right/mock;error=0x", "overloaded"), ("right/mock;cut=0x", "connection"), ("right/mock-garbage", "invalid")):
        a = chat(w, model=model, stream=True)
        assert a.status != 200 and a.weir["fault"] == fault, (model, a)
    for model in ("right/mock-bad", "right/mock-cut", "right/mock-end", "right/mock-error", "right/mock-reset"):
        a = chat(w, model=model, stream=True)
        assert a.status == 200 and b'"error"' in a.body and b"[DONE]" not in a.body, (model, a)


def test_thinking_comes_home(h):
    thought = [delta(reasoningContent={"text": "h"}), delta(reasoningContent={"text": "m"}), delta(reasoningContent={"signature": "c2ln"}), BLOCK_STOP]
    hidden = [delta(1, reasoningContent={"redactedContent": "cmVk"}), event("contentBlockStop", contentBlockIndex=1)]
    u, w = bedrock(h, streams(START, *thought, *hidden, word("So.", 2), event("contentBlockStop", contentBlockIndex=2), stop(), METADATA))
    ask = {"model": f"bedrock/{CLAUDE}", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    a = messages(w, stream=True, **ask)
    blocks = [e["content_block"]["type"] for e in events(a) if e["type"] == "content_block_start"]
    deltas = [e["delta"] for e in events(a) if e["type"] == "content_block_delta"]
    assert blocks == ["thinking", "redacted_thinking", "text"] and [d["signature"][-5:] for d in deltas if d["type"] == "signature_delta"] == [":c2ln"], a
    sent = u.requests[0].json()
    assert sent["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2000}} and a.header("x-weir-loss") is None, sent
    assert u.requests[0].target == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream", u.requests[0].target
    check_signature(u.requests[0])
    whole = answer({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}, {"reasoningContent": {"redactedContent": "cmVk"}}, {"text": "So."})
    u.handler = says(whole)
    d = messages(w, **ask).json()
    assert d["content"][0]["signature"].startswith("weir1:bedrock:") and d["content"][0]["signature"].endswith(":c2ln") and d["content"][1]["data"].endswith(":cmVk"), d
    back = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": d["content"]}, {"role": "user", "content": "And?"}]
    messages(w, **{**ask, "messages": back})
    want = [{"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}, {"reasoningContent": {"redactedContent": "cmVk"}}, {"text": "So."}]
    assert u.requests[-1].json()["messages"][1]["content"] == want, u.requests[-1].body
    told = chat(w, model=f"bedrock/{CLAUDE}", reasoning_effort="low").json()["choices"][0]["message"]
    assert told["reasoning_content"] == "hm" and u.requests[-1].json()["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2048, told
    chat(w, model=f"bedrock/{CLAUDE}", messages=[{"role": "user", "content": "Hi"}, told, {"role": "user", "content": "And?"}])
    assert u.requests[-1].json()["messages"][1]["content"] == want, u.requests[-1].body


def test_tools_images_documents(h):
    u, w = bedrock(h, says(answer({"text": "On it."}, {"toolUse": {"toolUseId": "tooluse_9", "name": "add", "input": {"a": 12345678901234567890}}}, reason="tool_use")))
    png = "iVBORw0KGgoAAAAN"
    content = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{png}"}},
               {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}]
    a = chat(w, messages=[{"role": "user", "content": content}])
    assert u.requests[-1].json()["messages"][0]["content"] == [
        {"text": "See"}, {"image": {"format": "png", "source": {"bytes": png}}}, {"document": {"format": "pdf", "name": "a-pdf", "source": {"bytes": "JVBERg=="}}}]
    assert a.header("x-weir-loss") == "title" and '12345678901234567890' in a.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], a
    history = [{"role": "user", "content": "add"}, a.json()["choices"][0]["message"], {"role": "tool", "tool_call_id": "tooluse_9", "content": "3"}, {"role": "tool", "tool_call_id": "x" * 70, "content": "4"}]
    history[1]["tool_calls"].append({"id": "x" * 70, "type": "function", "function": {"name": "add", "arguments": "{}"}})
    a = chat(w, messages=history, tools=[{"type": "function", "function": {"name": "add"}}], tool_choice={"type": "function", "function": {"name": "add"}})
    sent = u.requests[-1].json()
    assert [m["role"] for m in sent["messages"]] == ["user", "assistant", "user"] and b"12345678901234567890" in u.requests[-1].body, sent
    ids = [b["toolUse"]["toolUseId"] for b in sent["messages"][1]["content"] if "toolUse" in b]
    assert ids == [b["toolResult"]["toolUseId"] for b in sent["messages"][2]["content"]] and ids[0] == "tooluse_9" and len(ids[1]) <= 64, sent
    assert sent["toolConfig"]["toolChoice"] == {"tool": {"name": "add"}} and a.status == 200, sent
    a = chat(w, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}])
    assert a.status == 400 and a.error["param"] == "messages[0].content[0]" and "bytes" in a.error["message"], a


def test_who_signs(h):
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc"
    u = h.upstream(usual)
    env = {**ENV, "AWS_SESSION_TOKEN": TOKEN, "AWS_BEARER_TOKEN_BEDROCK": "ABSK1", "K": "other", "I": "AKOTHER", "S": "tok"}
    fields = {"bedrock": 'region = "eu-west-1"', "named": 'key = env "K", key_id = env "I", session = env "S", region = "ap-south-1"',
              "secret": 'key = env "AWS_SECRET_ACCESS_KEY"', "bearer": 'key = env "AWS_BEARER_TOKEN_BEDROCK"'}
    w = h.weir("".join(f'provider "{n}" {{ dialect = "converse", url = "{u.url[:-3]}", {f} }}\n' for n, f in fields.items()), env=env)
    assert chat(w, model=f"bedrock/{arn}").status == 200
    assert u.requests[0].target == "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fabc/converse", u.requests[0].target
    check_signature(u.requests[0], region="eu-west-1", token=TOKEN)
    assert chat(w, model="named/m").status == 200
    check_signature(u.requests[1], "other", "AKOTHER", "ap-south-1", "tok")
    assert chat(w, model="secret/m").status == 200
    check_signature(u.requests[2], token=TOKEN)
    assert messages(w, model="bearer/m").status == 200
    assert u.requests[3].header("authorization") == "Bearer ABSK1" and u.requests[3].header("x-amz-date") is None, u.requests[3].head
    a = wire.post(w.port, "/bedrock/model/x/converse", b"{}")
    assert a.status == 404 and "not in this version" in a.error["message"] and len(u.requests) == 4, a
    assert wire.post(w.port, "/model/x/converse", b"{}").status == 404


def test_temporary_keys_change(h):
    def write(name, text):
        path = os.path.join(h.tmp, name)
        with open(path + ".new", "w") as f:
            f.write(text + "\n")
        os.chmod(path + ".new", 0o600)
        os.rename(path + ".new", path)
        return path

    def answers(request, peer):
        good = f"Credential={now[0]}/" in request.header("authorization") and request.header("x-amz-security-token") == now[2]
        return usual(request, peer) if good else error("ExpiredTokenException", "The security token included in the request is expired", 403)(request, peer)

    now = ["AKONE", "one", "token-one"]
    fields = {n: write(n, v) for n, v in zip(("key_id", "key", "session"), now)}
    u, w = bedrock(h, answers, ", ".join(f'{n} = file "{p}"' for n, p in fields.items()) + ', region = "us-east-1"')
    assert chat(w).status == 200
    now[:] = ["AKTWO", "two", "token-two"]
    for n, v in zip(("key_id", "key", "session"), now):
        write(n, v)
    a = chat(w, stream=True)
    assert a.status == 200 and a.text() == "Hello." and a.header("x-weir-attempts") == "2", a
    check_signature(u.requests[-1], "two", "AKTWO", token="token-two")
    now[:] = ["AKTHREE", "three", "token-three"]  # and nobody has written that
    a = chat(w)
    assert a.status == 502 and a.weir["fault"] == "auth" and "two" not in w.err + w.out, a


def test_large_bodies_are_signed_whole(h):
    u, w = bedrock(h)
    a = chat(w, messages=[{"role": "user", "content": "x" * 100000}])
    assert a.status == 200, a
    check_signature(u.requests[0])


def error(kind, message="no", status=400, **more):
    return says(json.dumps({"message": message, **more}).encode(), status=status, headers=[("x-amzn-errortype", kind)] if kind else [])


def test_counting_and_what_is_not_served(h):
    u, w = bedrock(h, config='default_provider "bedrock"\nprices { unpriced = "refuse" }\nuse "cost_caps" { per = "all", day = usd(5) }\n', policies={"cost_caps": shipped("cost_caps")})
    a = wire.post(w.port, "/v1/messages/count_tokens", json.dumps({"model": f"bedrock/{CLAUDE}", "messages": [{"role": "user", "content": "Hi"}]}).encode())
    assert a.status == 200 and a.json()["input_tokens"] > 0 and not u.requests, a
    for path in ("/v1/embeddings", "/v1/completions"):
        a = wire.post(w.port, path, b'{"model":"bedrock/x","input":"a","prompt":"a"}')
        assert a.status == 400 and "not in this version" in a.error["message"], (path, a)
    form = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nbedrock/x\r\n--b--\r\n'
    for a in (wire.get(w.port, "/v1/files"), wire.post(w.port, "/v1/audio/transcriptions", form, [("content-type", "multipart/form-data; boundary=b")])):
        assert a.status == 404 and "not in this version" in a.error["message"] and not u.requests, a
    a = chat(w, model=f"bedrock/{CLAUDE}")  # the shipped table: 100 input, 1000 read, 10 written, 20 output
    assert a.header("x-weir-cost-usd") == "0.00103125", a.headers
    assert u.requests[0].json()["inferenceConfig"]["maxTokens"] == 64000, u.requests[0].body
    assert chat(w).status == 400 and len(u.requests) == 1


def test_errors(h):
    u, w = bedrock(h, error("ValidationException:http://internal.amazon.com/coral/", 'bad "field"'))
    a = chat(w)
    assert a.status == 400 and a.error["message"] == 'bad "field"' and a.error["type"] == "invalid_request_error" and a.weir["fault"] == "bad_request", a
    for kind, message, status, fault, seen in (
        ("ValidationException", "Input is too long for requested model.", 400, "context_too_long", 400),
        ("ThrottlingException", "slow down", 429, "rate_limited", 429),
        ("AccessDeniedException", "secret account", 403, "auth", 502),
        ("ExpiredTokenException", "secret account", 403, "auth", 502),
        ("ServiceQuotaExceededException", "secret account", 400, "quota", 502),
        ("ResourceNotFoundException", "none", 404, "not_found", 404),
        ("ModelTimeoutException", "late", 408, "timeout", 408),
        ("ModelErrorException", "broke", 424, "overloaded", 424),
        ("ServiceUnavailableException", "busy", 503, "overloaded", 503),
    ):
        u.handler = error(kind, message, status)
        a = chat(w)
        assert (a.status, a.weir["fault"]) == (seen, fault), (kind, a)
        assert ("secret account" in a.body.decode()) == False and (fault in ("auth", "quota") or status > 499 or message in a.error["message"]), (kind, a)
    u.handler = says(json.dumps({"__type": "com.amazon.coral.service#ThrottlingException", "Message": "slow"}).encode(), status=400)
    a = messages(w)
    assert a.status in (400, 429) and a.json()["error"]["weir"]["fault"] == "rate_limited", a
    u.handler = says(answer(reason="guardrail_intervened"))
    a = chat(w)
    assert a.status == 200 and a.json()["choices"][0]["finish_reason"] == "content_filter" and a.json()["choices"][0]["message"]["weir"]["stop_reason"] == "guardrail_intervened", a
    u.handler = says(answer({"text": "no"}, reason="malformed_tool_use"))
    assert chat(w).weir["fault"] == "invalid"


def test_streams_that_break(h):
    u, w = bedrock(h)
    for name, pieces, more in (
        ("exception", [START, word("Hel"), exception("throttlingException", message="slow down")], {}),
        ("model error", [START, word("Hel"), exception("modelStreamErrorException", message="slow down", originalStatusCode=500)], {}),
        ("error message", [START, word("Hel"), frame(b"", message_type="error", error_code="InternalFailure", error_message="slow down")], {}),
        ("end", [START, word("Hel")], {}),
        ("finished, and no more", [START, word("Hel"), BLOCK_STOP], {}),
        ("finished, and half a frame", [START, word("Hel"), BLOCK_STOP, stop(), METADATA[:30]], {}),
        ("finished, and cut", [START, word("Hel"), BLOCK_STOP, stop()], {"end": False}),
        ("half a frame", [START, word("Hel"), word("lo.")[:-9]], {}),
        ("a byte of one", [START, word("Hel"), METADATA[:1]], {}),
        ("cut at a frame", [START, word("Hel")], {"end": False}),
        ("cut in a frame", [START, word("Hel"), METADATA[:40]], {"end": False}),
        ("checksum", [START, word("Hel"), word("lo.")[:-1] + b"\0", *HELLO[3:]], {}),
        ("prelude", [START, word("Hel"), b"\0\0\1" + word("lo.")[3:], *HELLO[3:]], {}),
        ("no JSON", [START, word("Hel"), frame(b"{oops", event_type="contentBlockDelta", message_type="event"), *HELLO[3:]], {}),
        ("behind the end", [START, word("Hel"), BLOCK_STOP, stop(), word("lo."), METADATA], {}),
    ):
        u.handler = streams(*pieces, **more)
        a = chat(w, stream=True)
        assert a.status == 200 and a.text() == "Hel" and b"[DONE]" not in a.body and a.body.count(b'"error"') == 1, (name, a)
        a = messages(w, stream=True)
        assert b"message_stop" not in a.body and a.body.rstrip().split(b"event: ")[-1].startswith(b"error"), (name, a)
        if "exception" in name or "error" in name:
            assert b"slow down" in a.body, (name, a)


def test_every_cut(h):
    """A stream that stops anywhere, its bytes well ended or not, has no end unless it had said why it ended."""
    u, w = bedrock(h)
    whole, at, places = b"".join(HELLO), 0, []
    for f in HELLO:
        places += [(at + n, n == 0) for n in (0, 1, 11, 13, len(f) // 2, len(f) - 1)]
        at += len(f)
    finished = len(b"".join(HELLO[:-1]))
    for place, boundary in places:
        for end in (True, False):
            good = end and place == finished
            u.handler = streams(whole[:place], end=end)
            for a, last in ((chat(w, stream=True), b"[DONE]"), (messages(w, stream=True), b"message_stop")):
                said = "Hello." if place >= len(b"".join(HELLO[:3])) else "Hel" if place >= len(b"".join(HELLO[:2])) else None
                assert a.status == (200 if said else 502), (place, end, a)
                assert (last in a.body) == good and (a.body.count(b'"error"') > 0) == (not good), (place, end, a)
                assert not said or b"".join(re.findall(rb'"(?:content|text)": ?"(Hel|lo\.)"', a.body)).decode() == said, (place, end, a)
                assert said or a.json()["error"]["weir"]["fault"] in ("protocol", "connection", "empty"), (place, end, a)


def test_filters(h):
    u, w = bedrock(h, streams(START, stop("guardrail_intervened"), METADATA))
    a = chat(w, stream=True)
    assert a.status == 200 and chunks(a)[-1]["choices"][0]["finish_reason"] == "content_filter" and a.body.endswith(b"[DONE]\n\n"), a
    a = messages(w, stream=True)
    assert events(a)[-2]["delta"]["stop_reason"] == "refusal" and events(a)[-1]["type"] == "message_stop", a
    u.handler = streams(START, word("a"), BLOCK_STOP, stop("stop_sequence", additionalModelResponseFields={"delta": {"stop_sequence": "END"}}), METADATA)
    a = messages(w, stream=True, model=f"bedrock/{CLAUDE}", stop_sequences=["END"])
    assert events(a)[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}, a
    assert u.requests[-1].json()["additionalModelResponseFieldPaths"] == ["/delta/stop_sequence"]
    u.handler = streams(START, stop("max_tokens"), METADATA)
    a = chat(w, stream=True)
    assert a.status == 502 and a.weir["fault"] == "empty", a


def test_unseen_failures_go_to_the_next(h):
    b, c = h.upstream(streams(START, exception("throttlingException", message="slow down"))), h.upstream()
    w = h.weir(f'provider "bedrock" {{ url = "{b.url[:-3]}" }}\n' + messages_provider("claude", c.url) + 'model "smart" { "bedrock/a.b", "claude/c" }\n', env=ENV)
    for handler in (b.handler, streams(START), streams(START, METADATA[:30]), streams(START, b"\0" * 40), streams(START, stop("malformed_model_output"), METADATA), error("ThrottlingException", status=429)):
        b.handler = handler
        a = chat(w, model="smart", stream=True)
        assert a.text() == "Hello." and a.header("x-weir-attempts") == "2" and a.header("x-weir-target") == "claude/c", a
    b.handler = usual
    assert messages(w, model="smart").header("x-weir-target") == "bedrock/a.b"


def test_caps_and_limits_hold(h):
    u, w = bedrock(h, more=PRICES, config='use "cost_caps" { per = "all", day = usd(0.05) }\n', policies={"cost_caps": shipped("cost_caps")})
    a = chat(w, max_tokens=100)
    assert a.status == 200 and u.requests[0].json()["inferenceConfig"]["maxTokens"] == 100, a
    u.handler = streams(*HELLO[:3], end=False)
    a = chat(w, stream=True)
    assert a.text() == "Hello." and b"[DONE]" not in a.body, a
    limits = [r.json().get("inferenceConfig", {}).get("maxTokens") for r in u.requests]
    assert all(n is None or n <= 9000 for n in limits), limits
    u.handler = usual
    for _ in range(400):
        a = chat(w, max_tokens=2000)
        if a.status != 200:
            break
    assert a.status == 429 and a.weir["fault"] == "capped", a
    until(lambda: float(w.metric("weir_spend_usd_total", model="bedrock/acme.small") or 0) > 0, what="spend in the metrics")
    assert float(w.metric("weir_spend_usd_total", model="bedrock/acme.small")) <= 0.05


def test_policies_and_questions(h):
    rules = """local p = {}
function p.on_request(req)
  local r = weir.ask { model = "bedrock/acme.small", messages = { { role = "user", content = "q" } } }
  req:note("asked", r and r.text or "?")
end
function p.on_chunk(req, chunk) if chunk.kind == "text" then return weir.replace((chunk.text:gsub("lo", "p"))) end end
return p
"""
    u, w = bedrock(h, config='use "rules"\n', policies={"rules": rules})
    a = chat(w, stream=True)
    assert a.text() == "Help." and w.record(a.header("x-request-id"))["notes"]["asked"] == "Hello.", a
    check_signature(u.requests[0])
