"""What a provider says in each dialect: the same short answer whole and as a stream, and its errors. Each event is apart, so that a
test can cut anywhere and knows what a client must have got."""

import json

WORDS = ["Über ", "dem Wehr ", "steht 水 \U0001f30a."]


def line(name, **data):
    start = f"event: {name}\n" if name else ""
    return (start + "data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n\n").encode()


def plain(**data):
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


class Dialect:
    """first: place of the first event that is content."""

    def __init__(self, name, path, asked, first, headers=()):
        self.name, self.path, self.asked, self.first, self.headers = name, path, asked, first, list(headers)
        self.side = "m" if name == "messages" else ""  # providers of messages have names of their own

    def request(self, model, streamed, **more):
        return plain(model=model, **self.asked, **({"stream": True} if streamed else {}), **more)

    def events(self, who="x", words=WORDS):
        return EVENTS[self.name](who, words)

    def stream(self, who="x"):
        return b"".join(self.events(who))

    def whole(self, who="x", text=None, finish=None):
        return WHOLES[self.name](who, "".join(WORDS) if text is None else text, finish)

    def error(self, kind="server_error", code=None, message="told to fail"):
        if self.name == "messages":
            return plain(type="error", error={"type": kind, "message": message})
        return plain(error={"message": message, "type": kind, "param": None, "code": code})

    def error_event(self, kind="server_error", code=None):
        if self.name == "messages":
            return line("error", type="error", error={"type": kind, "message": "told to fail"})
        if self.name == "responses":
            return line("error", type="error", code=code or kind, message="told to fail", param=None, sequence_number=99)
        return line("", error={"message": "told to fail", "type": kind, "param": None, "code": code})

    def finished(self, finish, who="x"):
        """A stream that says nothing and why."""
        e = EVENTS[self.name](who, [], finish)
        return b"".join(e)


def chat_chunk(who, delta, finish=None):
    return line("", id=f"c-{who}", object="chat.completion.chunk", created=1, model=who, choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


def chat_events(who, words, finish="stop"):
    return (
        [chat_chunk(who, {"role": "assistant", "content": ""})]
        + [chat_chunk(who, {"content": w}) for w in words]
        + [chat_chunk(who, {}, finish), b"data: [DONE]\n\n"]
    )


def chat_whole(who, text, finish):
    message = {"role": "assistant", "content": text}
    return plain(id=f"c-{who}", object="chat.completion", created=1, model=who, choices=[{"index": 0, "message": message, "finish_reason": finish or "stop"}])


def old_chunk(who, text, finish=None):
    return line("", id=f"t-{who}", object="text_completion", created=1, model=who, choices=[{"index": 0, "text": text, "finish_reason": finish}])


def old_events(who, words, finish="stop"):
    return [old_chunk(who, "")] + [old_chunk(who, w) for w in words] + [old_chunk(who, "", finish), b"data: [DONE]\n\n"]


def old_whole(who, text, finish):
    return plain(id=f"t-{who}", object="text_completion", created=1, model=who, choices=[{"index": 0, "text": text, "finish_reason": finish or "stop"}])


def response(who, status, output, **more):
    return {"id": f"resp-{who}", "object": "response", "created_at": 1, "status": status, "model": who, "output": output, **more}


def responses_events(who, words, finish=None):
    at = {"item_id": "m1", "output_index": 0, "content_index": 0}
    text = "".join(words)
    part, item = {"type": "output_text", "text": text, "annotations": []}, {"type": "message", "id": "m1", "role": "assistant"}
    said = [
        ("response.output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}),
        ("response.content_part.added", {**at, "part": {**part, "text": ""}}),
        *[("response.output_text.delta", {**at, "delta": w}) for w in words],
        ("response.output_text.done", {**at, "text": text}),
        ("response.content_part.done", {**at, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": {**item, "status": "completed", "content": [part]}}),
    ]
    output = [{**item, "status": "completed", "content": [part]}] if words else []
    end = "incomplete" if finish else "completed"
    last = response(who, end, output, incomplete_details={"reason": finish} if finish else None)
    all_of = [("response.created", {"response": response(who, "in_progress", [])}), *(said if words else []), (f"response.{end}", {"response": last})]
    return [line(name, type=name, sequence_number=i, **d) for i, (name, d) in enumerate(all_of)]


def responses_whole(who, text, finish):
    output = [{"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]}]
    if finish:
        return plain(**response(who, "incomplete", [], incomplete_details={"reason": finish}))
    return plain(**response(who, "completed", output))


def messages_events(who, words, finish="end_turn"):
    start = {"id": f"msg-{who}", "type": "message", "role": "assistant", "model": who, "content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
    return (
        [
            line("message_start", type="message_start", message=start),
            line("content_block_start", type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
            line("ping", type="ping"),
        ]
        + [line("content_block_delta", type="content_block_delta", index=0, delta={"type": "text_delta", "text": w}) for w in words]
        + [
            line("content_block_stop", type="content_block_stop", index=0),
            line("message_delta", type="message_delta", delta={"stop_reason": finish, "stop_sequence": None}, usage={"output_tokens": 2}),
            line("message_stop", type="message_stop"),
        ]
    )


def messages_whole(who, text, finish):
    content = [{"type": "text", "text": text}] if text else []
    return plain(
        id=f"msg-{who}", type="message", role="assistant", model=who, content=content, stop_reason=finish or "end_turn", usage={"input_tokens": 3, "output_tokens": 2}
    )


# ---- streams of models that think and call tools: (events, place of the first content)


def rich_chat(who):
    def tool(i, **more):
        return chat_chunk(who, {"tool_calls": [{"index": i, **more}]})

    return [
        chat_chunk(who, {"role": "assistant", "content": None}),
        chat_chunk(who, {"reasoning_content": "Héllo"}),
        chat_chunk(who, {"content": "Ja 水"}),
        tool(0, id="t0", type="function", function={"name": "weir", "arguments": ""}),
        tool(0, function={"arguments": '{"a":"'}),
        tool(1, id="t1", type="function", function={"name": "dam", "arguments": "{}"}),
        tool(0, function={"arguments": 'é"}'}),
        chat_chunk(who, {}, "tool_calls"),
        line("", id=f"c-{who}", object="chat.completion.chunk", created=1, model=who, choices=[], usage={"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}),
        b": done soon\n\n",
        b"data: [DONE]\n\n",
    ], 1


def rich_old(who):
    return [old_chunk(who, ""), old_chunk(who, "Ja 水"), b": wait\n\n", old_chunk(who, "", "length"), b"data:[DONE]\n\n"], 1


def rich_responses(who):
    thought = {"type": "reasoning", "id": "r1", "summary": []}
    call = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "weir", "status": "in_progress"}
    all_of = [
        ("response.created", {"response": response(who, "in_progress", [])}),
        ("response.output_item.added", {"output_index": 0, "item": thought}),
        ("response.reasoning_summary_text.delta", {"output_index": 0, "item_id": "r1", "summary_index": 0, "delta": "Hé"}),
        ("response.output_item.done", {"output_index": 0, "item": {**thought, "summary": [{"type": "summary_text", "text": "Hé"}]}}),
        ("response.output_item.added", {"output_index": 1, "item": {**call, "arguments": ""}}),
        ("response.function_call_arguments.delta", {"output_index": 1, "item_id": "f1", "delta": '{"水":1}'}),
        ("response.function_call_arguments.done", {"output_index": 1, "item_id": "f1", "arguments": '{"水":1}'}),
        ("response.output_item.done", {"output_index": 1, "item": {**call, "status": "completed", "arguments": '{"水":1}'}}),
        ("response.completed", {"response": response(who, "completed", [], usage={"input_tokens": 3, "output_tokens": 9, "total_tokens": 12})}),
    ]
    return [line(name, type=name, sequence_number=i, **d) for i, (name, d) in enumerate(all_of)], 2


def rich_messages(who):
    def delta(i, **d):
        return line("content_block_delta", type="content_block_delta", index=i, delta=d)

    def block(i, **b):
        return line("content_block_start", type="content_block_start", index=i, content_block=b)

    def stop(i):
        return line("content_block_stop", type="content_block_stop", index=i)

    simple = messages_events(who, [], "tool_use")
    return [
        simple[0],
        block(0, type="thinking", thinking="", signature=""),
        line("ping", type="ping"),
        delta(0, type="thinking_delta", thinking="Hé"),
        delta(0, type="signature_delta", signature="c2ln"),
        stop(0),
        block(1, type="tool_use", id="t1", name="weir", input={}),
        delta(1, type="input_json_delta", partial_json=""),
        delta(1, type="input_json_delta", partial_json='{"水":1}'),
        stop(1),
        *simple[-2:],
    ], 3


RICH = {"chat": rich_chat, "completions": rich_old, "responses": rich_responses, "messages": rich_messages}
EVENTS = {"chat": chat_events, "completions": old_events, "responses": responses_events, "messages": messages_events}
WHOLES = {"chat": chat_whole, "completions": old_whole, "responses": responses_whole, "messages": messages_whole}
USER = [{"role": "user", "content": "Say something."}]
DIALECTS = [
    Dialect("chat", "/v1/chat/completions", {"messages": USER}, 1),
    Dialect("completions", "/v1/completions", {"prompt": "Say"}, 1),
    Dialect("responses", "/v1/responses", {"input": "Say"}, 3),
    Dialect("messages", "/v1/messages", {"max_tokens": 9, "messages": USER}, 3, [("anthropic-version", "2023-06-01")]),
]
