"""Run by the SDKs' own python: calls from stdin as JSON, results to stdout. See sdk.py."""

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


async def run(call):
    kind, seen = call["kind"], []
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
    print(json.dumps(await asyncio.gather(*map(run, json.load(sys.stdin)))))
    for client in CLIENTS.values():
        await client.close()


asyncio.run(main())
