"""Run by the SDKs' own python: a line of calls from stdin as JSON, a line of results to stdout. See sdk.py."""

import asyncio
import json
import sys

import anthropic
import openai

RESOURCES = {
    "chat": lambda c: c.chat.completions.create,
    "completions": lambda c: c.completions.create,
    "embeddings": lambda c: c.embeddings.create,
    "responses": lambda c: c.responses.create,
    "models": lambda c: c.models.list,
    "messages": lambda c: c.messages.create,
    "count_tokens": lambda c: c.messages.count_tokens,
}


def text_of(event):
    d = event if isinstance(event, dict) else event.model_dump(mode="json")
    if d.get("type") == "content_block_delta":
        return d["delta"].get("text") or ""
    if d.get("type") == "response.output_text.delta":
        return d["delta"]
    return "".join(c.get("text") or (c.get("delta") or {}).get("content") or "" for c in d.get("choices") or ())


CLIENTS = {}


def client_of(library, base, retries, api_key):
    key = library, base, retries, api_key
    if key not in CLIENTS:
        more = {"api_key": api_key, "max_retries": retries, "timeout": 15}
        CLIENTS[key] = (
            anthropic.AsyncAnthropic(base_url=base, **more) if library is anthropic else openai.AsyncOpenAI(base_url=base + "/v1", **more)
        )
    return CLIENTS[key]


def google(base, api_key):
    from google import genai  # here, since it takes long and few calls want it
    from google.genai import types

    key = genai, base, api_key
    if key not in CLIENTS:
        CLIENTS[key] = genai.Client(api_key=api_key, http_options=types.HttpOptions(base_url=base, timeout=15000, retry_options=types.HttpRetryOptions(attempts=1))).aio
    return CLIENTS[key]


async def generate(call):
    from google.genai import errors, types

    client, seen, args = google(call["base"], call.get("key", "client-key")), [], dict(call["args"])
    config = types.GenerateContentConfig(http_options=types.HttpOptions(headers={"x-mock": call["mock"]})) if call.get("mock") else None
    dump = lambda r: {k: v for k, v in r.model_dump(mode="json", exclude_none=True).items() if k != "sdk_http_response"}
    try:
        if call["kind"] == "generate":
            r = await client.models.generate_content(config=config, **args)
            return {"ok": dump(r), "text": r.text}
        async for e in await client.models.generate_content_stream(config=config, **args):
            seen.append(e)
        return {"ok": [dump(e) for e in seen], "text": "".join(e.text or "" for e in seen)}
    except errors.APIError as e:
        return {"error": type(e).__name__, "status": e.code, "message": e.message, "text": "".join(e.text or "" for e in seen), "api": True}


async def run(call):
    kind, seen = call["kind"], []
    if kind.startswith("talk-"):
        from sdk_talk import talk

        library, key = {"talk-chat": openai, "talk-messages": anthropic}.get(kind), call.get("key", "client-key")
        return await talk(client_of(library, call["base"], 0, key) if library else google(call["base"], key), call)
    if kind.startswith("generate"):
        return await generate(call)
    library = anthropic if kind in ("messages", "count_tokens") else openai
    client = client_of(library, call["base"], call.get("retries", 0), call.get("key", "client-key"))
    try:
        if kind == "models":
            return {"ok": [m.model_dump(mode="json") async for m in client.models.list()]}
        r = await RESOURCES[kind](client)(extra_headers={"x-mock": call["mock"]} if call.get("mock") else {}, **call["args"])
        if not call["args"].get("stream"):
            return {"ok": r.model_dump(mode="json")}
        async for e in r:
            seen.append(e.model_dump(mode="json"))
        return {"ok": seen, "text": "".join(map(text_of, seen))}
    except Exception as e:
        return {
            "error": type(e).__name__,
            "status": getattr(e, "status_code", None),
            "message": getattr(e, "message", str(e)),
            "body": getattr(e, "body", None),
            "text": "".join(map(text_of, seen)),
            "events": len(seen),
            "api": isinstance(e, library.APIError),
        }


async def main():
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await asyncio.gather(*map(run, json.loads(line)))), flush=True)
        for client in CLIENTS.values():
            await (client.aclose() if hasattr(client, "aclose") else client.close())
        CLIENTS.clear()


asyncio.run(main())
