"""What other gateways get wrong with traffic that they only have to pass on, and where it is shown that weir does not.

| seen elsewhere | shown by |
|---|---|
| failover ends with the 2xx head: empty, cut, reset, error event first, JSON for a stream, no text, stall reach the caller | matrix, failover, messages_streams_fail_over |
| a stream that simply ends is passed on as if it were whole, or gets a made-up end | matrix.every_byte, streams.faults_after_content, streams.open_blocks_at_the_cut |
| a stall hangs to the total limit | matrix (stall), streams.faults_after_content |
| words that came in one burst with the cut are lost | here: words_in_one_burst_with_the_cut |
| 2xx with an empty, cut or HTML body relayed as 200 | matrix (whole), streams.large_whole_answers_are_cut_not_ended |
| retry-after neither passed on nor waited for; 429 shown as 503 | matrix (429), spent.short_retry_after_is_waited_for, spent.retry_after_is_waited_for_once |
| the provider's 401 shown as the caller's own | matrix (401, 402, 403), spent.the_accounts_troubles_are_not_the_callers, review_contract.what_a_provider_says_about_its_key_stays_here |
| errors that list what the caller may not use | here: an_unknown_model_names_only_what_the_caller_may_use; keys.models_of_a_key |
| a 400 tried again on the fallback | matrix (passed, refused), spent.a_bad_request_never_falls_back |
| thoughts counted outside the output vanish | here: thoughts_outside_the_output_are_counted |
| tool arguments that come only at the end are lost | here: tool_arguments_told_only_at_the_end |
| a refusal becomes a stop | matrix (only a finish, a filter), spent.a_refusal_is_an_answer |
| a tool result "3" becomes 3, empty arguments {}, schemas are rewritten, 1E400 is refused, large integers are rounded | here: what_callers_wrote_stays; bytes.request_bodies_reach_the_provider_unchanged |
| headers a provider needs are not sent | headers.everything_else_passes |
| bodies of another provider are written anew, ?alt=sse is lost | here: a_providers_own_path_is_passed_as_it_is; headers.queries |
| a stream with lone CR is answered empty | matrix.every_byte (all three line ends), bytes.recorded_streams_in_other_clothes |
| a key in another dialect's header is refused | keys.every_way_on_every_route |
| no request id, no traceparent | here: every_answer_can_be_found_again; headers.request_ids, headers.traceparent |
| a mid-stream error in a shape the dialect does not have | matrix (broken), sdk.*_broken_answers_raise, sdk.*_raises_where_it_must |
| no Host, two Hosts, `chunked, chunked`, length and chunked are accepted | http.header_lines, http.body_framing, http.smuggled_request_is_not_served |
| a body that is no object is a 500 in plain text; NaN opens a request upstream | bytes.what_is_no_json_object_is_refused |
| 200 dribbling heads stand open for long | here: two_hundred_dribbling_heads |
| memory grows with one slow reader | clients.slow_reader_of_a_stream, clients.slow_reader_of_a_whole_answer |
| a client that leaves before the head is not noticed | clients.leaving_before_the_head |
| well done there: byte-exact under every delivery; SDKs cannot tell; large integers; cancel; starts at once; checks its file | bytes, sdk, here, clients, start.starts_quickly, start.check |
"""

import time

import wire
from harness import chat_provider, messages_provider
from speech import DIALECTS, line, response
from test_keys import GOOD, key
from upstream import usual


def sides(u, more=""):
    """A provider of each kind at one upstream."""
    return chat_provider("p", u.url, more) + messages_provider("m", u.url, more) + 'default_provider "p"\n'


def test_words_in_one_burst_with_the_cut(h):
    """Head, words and a reset arrive together: all whole events are delivered, then the error event."""
    asked = {"d": None}

    def handler(r, p):
        data = b"".join(asked["d"].events()[: asked["d"].first + 2])
        p.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(data), data))
        p.reset()

    u = h.upstream(handler)
    w = h.weir(sides(u))
    for d in DIALECTS:
        asked["d"] = d
        sent = b"".join(d.events()[: d.first + 2])
        for _ in range(20):
            a = w.post(d.path, d.request(d.side.replace("m", "m/") + "x", True), d.headers)
            assert a.status == 200 and a.whole and a.body.startswith(sent), f"{d.name}: {a}"
            assert b'"connection"' in a.body[len(sent) :] and b'"error"' in a.body[len(sent) :], f"{d.name}: {a}"


def test_an_unknown_model_names_only_what_the_caller_may_use(h):
    """By the nearest name, by the list of all, and of a form's model part."""
    u = h.upstream()
    models = 'models = { ["gane"] = {}, ["plan-b"] = {} }'
    w = h.weir(
        messages_provider("m", u.url, models)
        + 'model "gane" { "m/secret-plan" }\nmodel "zebra" { "m/secret-plan" }\nmodel "mine" { "m/x" }\n'
        + key("few", GOOD, 'models = { "gone", "wholly-other", "mine", "m/x" }')
        + key("all", GOOD + "2")
    )
    few, every = [("x-api-key", GOOD)], [("x-api-key", GOOD + "2")]

    chat = h.weir(chat_provider("p", u.url, models) + 'model "mine" { "p/x" }\n' + key("few", GOOD, 'models = { "mine" }'))
    form = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\n\r\n--x--\r\n'
    empty = chat.post("/v1/audio/transcriptions", form, few + [("content-type", "multipart/form-data; boundary=x")])
    for a in (w.chat("gone", headers=few), w.chat("wholly-other", headers=few), empty):
        assert a.status == 404 and a.error["code"] == "model_not_found", a
        for name in (b"gane", b"zebra", b"secret", b"plan-b"):
            assert name not in a.body, a
    assert b"'mine'" in w.chat("wholly-other", headers=few).body
    assert b"did you mean 'gane'" in w.chat("gone", headers=every).body
    assert not u.requests


XAI = b'"usage":{"prompt_tokens":291,"completion_tokens":12,"total_tokens":499,"prompt_tokens_details":{"cached_tokens":290},"completion_tokens_details":{"reasoning_tokens":196}}'


def test_thoughts_outside_the_output_are_counted(h):
    """The total says that the thoughts stand beside completion_tokens: they are counted, and the client's bytes are the provider's."""
    chat = DIALECTS[0]
    whole = chat.whole()[:-1] + b"," + XAI + b"}"
    events = chat.events()
    stream = b"".join(events[:-1]) + b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"x","choices":[],' + XAI + b"}\n\n" + events[-1]
    u = h.upstream(lambda r, p: (p.stream(stream) if b'"stream":true' in r.body else p.answer(whole)) or True)
    w = h.weir(sides(u, 'models = { ["x"] = {} }'))
    for streamed, said in ((False, whole), (True, stream)):
        a = w.post(chat.path, chat.request("p/x", streamed))
        assert a.body == said, a
        r = w.record(a.header("x-request-id"))
        assert (r["input"], r["cache_read"], r["output"], r["reasoning"]) == (1, 290, 208, 196), r
    assert w.metric("weir_tokens_total", **{"model": "p/x", "class": "output"}) == 416, w.metrics()


SEES = """
local policy = {}
function policy.on_chunk(req, chunk)
  if chunk.tool then req:note("chunks", (req.state.t or "") .. (chunk.tool.arguments or "")) req.state.t = (req.state.t or "") .. (chunk.tool.arguments or "") end
  if chunk.text then req.state.s = (req.state.s or "") .. chunk.text req:note("text", req.state.s) end
end
function policy.on_response(req, response)
  if not response.done then return weir.hold { until_done = true } end
  req:note("held", response.tools[1] and response.tools[1].arguments or "")
  req:note("held text", response.text or "")
end
return policy
"""


def called(where, arguments):
    """A responses stream whose call's arguments come only there."""
    item = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "dam", "arguments": ""}
    full = {**item, "arguments": arguments}
    every = [
        ("response.created", {"response": response("x", "in_progress", [])}),
        ("response.output_item.added", {"output_index": 0, "item": full if where == "added" else item}),
        ("response.function_call_arguments.delta", {"output_index": 0, "item_id": "f1", "delta": arguments}),
        ("response.function_call_arguments.done", {"output_index": 0, "item_id": "f1", "arguments": arguments}),
        ("response.output_item.done", {"output_index": 0, "item": full if where != "end" else item}),
        ("response.completed", {"response": response("x", "completed", [full])}),
    ]
    leave = {"all": "", "done": "delta", "item": "arguments", "added": "arguments", "end": "arguments"}[where]
    return b"".join(line(n, type=n, sequence_number=i, **d) for i, (n, d) in enumerate(every) if not leave or not n.endswith(leave) and (leave == "delta" or "arguments" not in n))


def test_tool_arguments_told_only_at_the_end(h):
    """In .done, in the item or in the response alone, or everywhere: policies see them once, and the client what the provider sent."""
    said = {"now": b""}
    u = h.upstream(lambda r, p: p.stream(said["now"]) or True)
    w = h.weir(sides(u) + 'use "sees"\n', policies={"sees": SEES})
    for where in ("all", "done", "item", "added", "end"):
        said["now"] = called(where, '{"level":3}')
        assert (b"arguments.delta" in said["now"], b"arguments.done" in said["now"]) == (where == "all", where in ("all", "done"))
        a = w.post("/v1/responses", DIALECTS[2].request("p/x", True))
        assert a.status == 200 and a.body == said["now"], f"{where}: {a}"
        notes = w.record(a.header("x-request-id"))["notes"]
        assert notes["chunks"] == notes["held"] == '{"level":3}', f"{where}: {notes}"


def test_a_text_told_only_at_the_end(h):
    message = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": "Hello.", "annotations": []}]}
    body = line("", type="response.created", response=response("x", "in_progress", [])) + line("", type="response.completed", response=response("x", "completed", [message]))
    u = h.upstream(lambda r, p: p.stream(body) or True)
    w = h.weir(sides(u) + 'use "sees"\n', policies={"sees": SEES})
    a = w.post("/v1/responses", DIALECTS[2].request("p/x", True))
    assert a.status == 200 and a.body == body, a
    notes = w.record(a.header("x-request-id"))["notes"]
    assert notes["text"] == notes["held text"] == "Hello.", notes


CALL = '{"id":"t","type":"function","function":{"name":"f","arguments":%s}}'
WROTE = {
    "chat": [
        '{"role":"assistant","content":null,"tool_calls":[' + ",".join(CALL % x for x in ('""', '"{broken"', '"{\\"a\\":1E400}"')) + "]}",
        '{"role":"tool","tool_call_id":"t","content":"3"}',
    ],
    "messages": [
        '{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]}',
        '{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"3"},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}}]}',
    ],
    "responses": [
        '{"type":"function_call","call_id":"t","name":"f","arguments":""}',
        '{"type":"function_call_output","call_id":"t","output":"3"}',
        '{"type":"reasoning","id":"r"}',
    ],
}
SCHEMA = '{"type":"object","properties":{"n":{"type":"integer","maximum":9223372036854775808}},"additionalProperties":false,"$defs":{"x":{"const":1E400}}}'


def test_what_callers_wrote_stays(h):
    """Texts that look like JSON, numbers no double holds, schemas, parts: the request as it was written, and answers with such numbers too."""
    big = '"n":[123456789012345678901234567890,1E400,-0,1.10,9007199254740993]'
    u = h.upstream()
    w = h.weir(sides(u))
    for d in DIALECTS:
        if d.name not in WROTE:
            continue
        list_of = "input" if d.name == "responses" else "messages"
        body = f'{{ "model" : "{d.side.replace("m", "m/")}x", "{list_of}": [{", ".join(WROTE[d.name])}] , "tools":[{{"name":"f","input_schema":{SCHEMA}}}],"max_tokens":9, {big}}}'.encode()
        for streamed in (False, True):
            sent = body[:-1] + b',"stream":true}' if streamed else body
            said = d.stream() + b": bye\n\n" if streamed else d.whole()[:-1] + b"," + big.encode() + b"}"
            u.handler = lambda r, p: (p.stream(said) if streamed else p.answer(said)) or True
            u.requests.clear()
            a = w.post(d.path, sent, d.headers)
            assert a.status == 200 and a.body == said, f"{d.name}: {a}"
            assert u.one().body == sent.replace(b'"m/x"', b'"x"'), f"{d.name}: {u.one().body}"


def test_a_providers_own_path_is_passed_as_it_is(h):
    """Gemini's stream below the provider's name: path, query, body and answer as they are, the key exchanged."""
    said = b"".join(b'data: {"candidates":[{"content":{"parts":[{"text":"%d"}]}}]}\r\n\r\n' % i for i in range(3))
    u = h.upstream(lambda r, p: p.stream(said) or True)
    w = h.weir(f'provider "goo" {{ dialect = "chat", url = "http://127.0.0.1:{u.port}", key = env "OPENAI_KEY" }}\n' + key("k", GOOD))
    body = b'{ "contents":[{"parts":[{"text":"hi","thoughtSignature":"x"}]}], "tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":' + SCHEMA.encode() + b"}]}]}"
    a = w.post("/goo/v1beta/models/gemini-x:streamGenerateContent?alt=sse&%24x=%2F", body, [("x-goog-api-key", GOOD), ("x-goog-user-project", "one")])
    assert a.status == 200 and a.whole and a.body == said, a
    r = u.one()
    assert r.target == "/v1beta/models/gemini-x:streamGenerateContent?alt=sse&%24x=%2F" and r.body == body, (r.target, r.body)
    assert r.header("x-goog-user-project") == "one" and GOOD.encode() not in r.head, r.head


def test_every_answer_can_be_found_again(h):
    """Answers, streams, refusals and errors of any dialect have weir's id, the caller's trace, and a line in the log."""
    u = h.upstream()
    w = h.weir(sides(u) + 'model "gone" { "p/x", "m/x", connect = 0.5 }\n')
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for d in DIALECTS:
        for streamed in (False, True):
            model = d.side.replace("m", "m/") + "x"
            u.handler = usual if d.name in ("chat", "messages") else lambda r, p: (p.stream(d.stream()) if streamed else p.answer(d.whole())) or True
            tries = [(d.request(model, streamed), 200), (b"{}", 400), (b"nope", 400)]
            for body, status in tries:
                a = w.post(d.path, body, d.headers + [("traceparent", trace)])
                assert a.status == status and a.count("x-request-id") == 1 and a.count("traceparent") == 1, f"{d.name}: {a}"
                assert a.header("traceparent")[3:35] == trace[3:35], a
                assert w.record(a.header("x-request-id"))["status"] == status
            u.handler = lambda r, p: p.answer(d.error("api_error"), 500) or True
            a = w.post(d.path, d.request(model, streamed), d.headers + [("traceparent", trace)])
            assert a.status >= 500 and a.weir["id"] == a.header("x-request-id") and a.header("traceparent")[3:35] == trace[3:35], a


def test_two_hundred_dribbling_heads(h):
    """They are gone after header_time, and nobody waits for them meanwhile."""
    u = h.upstream()
    w = h.weir(sides(u) + "defaults { header_time = 1 }\n")
    slow = [wire.Connection(w.port) for _ in range(200)]
    begun, served = time.monotonic(), 0
    for i in range(40):
        for c in slow:
            try:
                c.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"[i : i + 1])
            except OSError:
                pass
        if i % 8 == 0:
            at = time.monotonic()
            assert w.chat().status == 200 and time.monotonic() - at < 0.5 * h.slow
            served += 1
        time.sleep(0.04)
    assert served == 5
    for c in slow:
        assert c.answer().status == 408
        c.close()
    assert time.monotonic() - begun < 4 * h.slow, time.monotonic() - begun
    assert w.chat().status == 200 and len(u.requests) == 6
