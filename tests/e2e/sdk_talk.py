"""A talk with tools as users of the SDKs write it: what was said goes back as the SDK gave it, with the results of the tools. What is
told of it has one shape for all. See sdk_calls.py."""

import base64
import json

import pydantic
from anthropic import beta_async_tool
from google.genai import types


# ---- openai
async def chat_ask(client, args, streamed):
    if not streamed:
        return await client.chat.completions.create(**args)
    async with client.chat.completions.stream(**args, stream_options={"include_usage": True}) as s:
        return await s.get_final_completion()


def chat_told(c):
    m, u = c.choices[0].message, c.usage
    thinking = (m.model_extra or {}).get("reasoning_content") or ""
    calls = [[t.function.name, json.loads(t.function.arguments)] for t in m.tool_calls or ()]
    cached = (u.prompt_tokens_details and u.prompt_tokens_details.cached_tokens) or 0
    return {"text": m.content or "", "thinking": thinking, "calls": calls, "finish": c.choices[0].finish_reason, "usage": [u.prompt_tokens, cached, u.completion_tokens]}


def chat_next(args, c, results):
    m = c.choices[0].message
    said = [{"role": "tool", "tool_call_id": t.id, "content": results[t.function.name]} for t in m.tool_calls]
    return {**args, "messages": [*args["messages"], m, *said]}


# ---- anthropic
async def messages_ask(client, args, streamed):
    if not streamed:
        return await client.messages.create(**args)
    async with client.messages.stream(**args) as s:
        return await s.get_final_message()


def messages_told(m):
    of = lambda kind: [b for b in m.content if b.type == kind]
    cached = m.usage.cache_read_input_tokens or 0
    return {
        "text": "".join(b.text for b in of("text")),
        "thinking": "".join(b.thinking for b in of("thinking")),
        "calls": [[b.name, b.input] for b in of("tool_use")],
        "finish": m.stop_reason,
        "usage": [m.usage.input_tokens + cached + (m.usage.cache_creation_input_tokens or 0), cached, m.usage.output_tokens],
    }


def messages_next(args, m, results):
    said = [{"type": "tool_result", "tool_use_id": b.id, "content": results[b.name]} for b in m.content if b.type == "tool_use"]
    return {**args, "messages": [*args["messages"], {"role": "assistant", "content": m.content}, {"role": "user", "content": said}]}


# ---- google-genai
def part(p):
    return types.Part.from_bytes(data=base64.b64decode(p["image"]), mime_type="image/png") if isinstance(p, dict) and "image" in p else p


async def generate_ask(client, args, streamed):
    """The parts of the answer in their order, and its last piece."""
    args = {**args, "contents": [part(p) for p in args["contents"]], "config": types.GenerateContentConfig(**args.get("config", {}))}
    if not streamed:
        r = await client.models.generate_content(**args)
        return r.candidates[0].content.parts, r
    parts = []
    async for r in await client.models.generate_content_stream(**args):
        parts += (r.candidates[0].content and r.candidates[0].content.parts) or []
    return parts, r


def generate_told(answer):
    parts, r = answer
    u = r.usage_metadata
    text = lambda thought: "".join(p.text for p in parts if p.text and bool(p.thought) == thought)
    calls = [[p.function_call.name, p.function_call.args or {}] for p in parts if p.function_call]
    usage = [u.prompt_token_count, u.cached_content_token_count or 0, u.candidates_token_count + (u.thoughts_token_count or 0)]
    return {"text": text(False), "thinking": text(True), "calls": calls, "finish": r.candidates[0].finish_reason.value, "usage": usage}


def generate_next(args, answer, results):
    calls = [p.function_call for p in answer[0] if p.function_call]
    said = [types.Part(function_response=types.FunctionResponse(id=c.id, name=c.name, response={"output": results[c.name]})) for c in calls]
    asked = types.Content(role="user", parts=[p if isinstance(p, types.Part) else types.Part(text=p) for p in map(part, args["contents"])])
    return {**args, "contents": [asked, types.Content(role="model", parts=answer[0]), types.Content(role="user", parts=said)]}


KINDS = {
    "talk-chat": (chat_ask, chat_told, chat_next),
    "talk-messages": (messages_ask, messages_told, messages_next),
    "talk-generate": (generate_ask, generate_told, generate_next),
}


# ---- what the SDKs do by themselves: a schema made of a class, and tools that they call
class Answer(pydantic.BaseModel):
    a: int


async def chat_parse(client, call):
    c = await client.chat.completions.parse(**call["args"], response_format=Answer)
    return c.choices[0].message.parsed.a


async def messages_parse(client, call):
    return (await client.messages.parse(**call["args"], output_format=Answer)).parsed_output.a


def generate_with(call, **config):
    return {**call["args"], "contents": [part(p) for p in call["args"]["contents"]], "config": types.GenerateContentConfig(**{**call["args"]["config"], **config})}


async def generate_parse(client, call):
    return (await client.models.generate_content(**generate_with(call, response_mime_type="application/json", response_schema=Answer))).parsed.a


def tools_of(call):
    async def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: its name
        """
        return call["results"]["weather"]

    async def now() -> str:
        """What time it is."""
        return call["results"]["now"]

    return weather, now


async def messages_tools(client, call):
    runner = client.beta.messages.tool_runner(**call["args"], tools=[beta_async_tool(t) for t in tools_of(call)], stream=call["stream"])
    return messages_told(await runner.until_done())


async def generate_tools(client, call):
    return generate_told((lambda r: (r.candidates[0].content.parts, r))(await client.models.generate_content(**generate_with(call, tools=list(tools_of(call))))))


HELPERS = {
    ("talk-chat", "parse"): chat_parse,
    ("talk-messages", "parse"): messages_parse,
    ("talk-generate", "parse"): generate_parse,
    ("talk-messages", "runner"): messages_tools,
    ("talk-generate", "runner"): generate_tools,
}


async def talk(client, call):
    """One question, and with results in the call a second one behind them."""
    ask, told, next_args = KINDS[call["kind"]]
    try:
        if call.get("helper"):
            return {"said": await HELPERS[call["kind"], call["helper"]](client, call)}
        answer = await ask(client, call["args"], call.get("stream"))
        out = {"said": told(answer)}
        if call.get("results"):
            out["then"] = told(await ask(client, next_args(call["args"], answer, call["results"]), call.get("stream")))
        return out
    except Exception as e:
        return {"error": type(e).__name__, "status": getattr(e, "status_code", None) or getattr(e, "code", None), "message": str(e), "body": getattr(e, "body", None)}
