"""What weir knows of providers and models by name, and what follows from it."""

import json

import wire
from harness import SECRET, chat_provider, messages_provider
from test_money import shipped
from upstream import DONE, ROLE, chat_answer, chunk, word


def azure(h, more):
    u = h.upstream()
    return u, h.weir(f'provider "azure" {{ url = "{u.url[:-3]}", key = env "OPENAI_KEY", {more} }}\ndefault_provider "azure"\n')


def test_azure_deployments(h):
    u, w = azure(h, 'api_version = "2024-10-21"')
    a = w.chat("azure/my gpt")
    assert a.status == 200, a
    wire.post(w.port, "/v1/chat/completions?api-version=1999-01-01&x=1", json.dumps({"model": "gpt", "messages": []}).encode())
    wire.post(w.port, "/v1/responses", json.dumps({"model": "gpt", "input": "Hi"}).encode())
    wire.get(w.port, "/v1/files")
    targets = [r.target for r in u.requests]
    assert targets == [
        "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
        "/openai/deployments/gpt/chat/completions?api-version=2024-10-21&x=1",
        "/openai/responses?api-version=2024-10-21",
        "/openai/files?api-version=2024-10-21",
    ], targets
    r = u.requests[0]
    assert r.header("api-key") == SECRET and r.header("authorization") is None, r.head


def test_azure_v1(h):
    u, w = azure(h, "")
    assert w.chat("gpt").status == 200
    assert u.requests[0].target == "/openai/v1/chat/completions" and u.requests[0].json()["model"] == "gpt", u.requests[0].head


def test_keys_go_as_the_provider_takes_them(h):
    u = h.upstream()
    w = h.weir(chat_provider("lab", u.url, 'auth = "cf-aig-authorization: Bearer"'))
    a = w.chat("lab/x", headers=[("cf-aig-authorization", "Bearer clients-own"), ("authorization", "Bearer clients-own")])
    r = u.requests[0]
    assert a.status == 200 and r.header("cf-aig-authorization") == f"Bearer {SECRET}", r.head
    assert b"clients-own" not in r.head.encode() if isinstance(r.head, str) else b"clients-own" not in r.head, r.head


def test_check_lists_the_catalogue(h):
    u = h.upstream()
    config = f"{h.tmp}/weir.lua"
    with open(config, "w") as f:
        f.write(f'provider "mistral" {{ url = "{u.url}", key = env "OPENAI_KEY" }}\n' + messages_provider("own", u.url))
    r = h.run("check", "--providers", "--config", config, env={"OPENAI_KEY": SECRET, "GROQ_API_KEY": SECRET})
    lines = r.stdout.splitlines()
    assert r.returncode == 0 and SECRET not in r.stdout + r.stderr, r.stdout + r.stderr
    assert "mistral speaks chat, proven in the catalogue" in lines and "own speaks messages, not in the catalogue" in lines, r.stdout
    at = lines.index("mistral speaks chat, proven in the catalogue")
    assert "/v1/chat/completions" in lines[at + 1] and "/v1/responses" in lines[at + 1] and "as it is" in lines[at + 1], r.stdout
    assert "/v1/messages" in lines[at + 2] and "translated" in lines[at + 2], r.stdout
    assert "tells usage in streams unasked" in lines[at + 3] and "max_tokens alone" in lines[at + 3] and "key in authorization" in lines[at + 3], r.stdout
    table = {line.split()[0]: line for line in lines[lines.index([x for x in lines if x.startswith("catalogue (")][0]) + 1 :] if line.startswith("  ")}
    assert len(table) >= 26, table
    assert "GROQ_API_KEY" in table["groq"] and " set " in table["groq"] and "not set" in table["xai"] and "(configured)" in table["mistral"], table
    assert "needs a url: https://NAME.openai.azure.com" in table["azure"] and "(only when named)" in table["ollama"], table
    assert "declared" in table["tokenmix"] and "proven" in table["anthropic"], table


WORDS = "The quick brown fox jumps over the lazy dog near the old bridge. "
IMAGE = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]


def told(prompt_tokens, **more):
    """An answer that reports so much input."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 2, "total_tokens": prompt_tokens + 2}

    def handler(request, peer):
        if request.json().get("stream"):
            return peer.stream(ROLE, word("Hello."), chunk({}, "stop", usage=usage), DONE) or True
        return peer.answer(chat_answer(usage=usage), **more) or True

    return handler


def ask(w, model, content, path="/v1/chat/completions", **more):
    return wire.post(w.port, path, json.dumps({"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": content}], **more}).encode())


def test_beyond_the_window(h):
    """Refused before it is sent, in the caller's dialect; or it goes to a larger model of its chain."""
    small, large = h.upstream(), h.upstream()
    w = h.weir(
        chat_provider("small", small.url, "models = { m = { window = 1000 } }")
        + chat_provider("large", large.url, "models = { m = { window = 100000 } }")
        + 'model "chain" { "small/m", "large/m" }\nmodel "fallback" { "small/unheard-of" }\n'
    )
    a = ask(w, "small/m", WORDS * 300)
    e = a.json()["error"]
    assert a.status == 400 and e["code"] == "context_length_exceeded" and e["type"] == "invalid_request_error" and e["weir"]["fault"] == "context_too_long", e
    n, most = [int(x) for x in e["message"].split() if x.isdigit()]
    assert 3000 < n < 5500 and most == 1000 and "small/m" in e["message"], e
    a = ask(w, "small/m", WORDS * 300, "/v1/messages")
    e = a.json()
    assert a.status == 400 and e["type"] == "error" and e["error"]["type"] == "invalid_request_error" and e["error"]["message"].startswith("prompt is too long: "), e
    assert w.record(a.header("x-request-id"))["end"] == "context_too_long"
    assert not small.requests, "it was sent"
    a = ask(w, "chain", WORDS * 300)
    assert a.status == 200 and a.header("x-weir-target") == "large/m" and not small.requests, a
    assert ask(w, "chain", WORDS * 20).header("x-weir-target") == "small/m"
    assert ask(w, "fallback", WORDS * 300).status == 200, "an unknown model passes"
    assert "small/unheard-of: its window is not known" in w.err
    # bytes alone say nothing: a run of one character has few tokens, and a picture is no text
    assert ask(w, "small/m", "x" * 8000).status == 200
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A1b2" * 5000}}]
    assert ask(w, "small/m", picture).status == 200


def test_what_a_model_cannot_do(h):
    blind, seeing = h.upstream(), h.upstream()
    w = h.weir(
        chat_provider("blind", blind.url, "models = { m = { images = false, tools = false, json_schema = false } }")
        + chat_provider("seeing", seeing.url)
        + 'model "chain" { "blind/m", "seeing/m" }\n'
    )
    tools = [{"type": "function", "function": {"name": "f"}}]
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    assert ask(w, "chain", "Hi").header("x-weir-target") == "blind/m"
    for content, more in ((IMAGE, {}), ("Hi", {"tools": tools}), ("Hi", {"response_format": schema})):
        a = ask(w, "chain", content, **more)
        assert a.status == 200 and a.header("x-weir-target") == "seeing/m" and a.header("x-weir-attempts") == "1", a
    assert len(blind.requests) == 1 and "blind/m does not fit: no images" in w.err
    assert ask(w, "blind/m", IMAGE).header("x-weir-target") == "blind/m", "alone, its provider decides"


def test_models_that_are_gone_or_ending(h):
    gone = {"error": {"message": "The model `m` does not exist", "type": "invalid_request_error", "param": None, "code": "model_not_found"}}
    old = h.upstream(lambda request, peer: peer.answer(json.dumps(gone).encode(), 404) or True)
    new = h.upstream()
    w = h.weir(
        chat_provider("old", old.url)
        + chat_provider("new", new.url, 'models = { m = { deprecated = "2026-02-03" } }')
        + 'model "chain" { "old/m", "new/m" }\n'
    )
    for _ in range(2):
        a = ask(w, "chain", "Hi")
        assert a.status == 404 and a.json()["error"]["code"] == "model_not_found", a
        assert ask(w, "new/m", "Hi").status == 200
    assert len(old.requests) == 2
    assert w.err.count("old/m: its provider says that it does not know this model") == 1, w.err
    assert w.err.count("new/m: its provider ends this model on 2026-02-03") == 1, w.err
    assert w.metric("weir_model_state", model="old/m", state="gone") == 1 and w.metric("weir_model_state", model="new/m", state="deprecated") == 1
    r = h.run("check", "--explain", "new/m", "--config", w.file, env=w.env)
    assert "its provider ends it on 2026-02-03" in r.stdout, r.stdout + r.stderr
    r = h.run("check", "--config", w.file, env=w.env)
    assert r.returncode == 0 and 'model "chain": the provider of new/m ends it on 2026-02-03' in r.stdout, r.stdout + r.stderr


def test_counts_learn(h):
    """count_tokens for a model of another dialect: weir's estimate, which comes to agree with what the provider reports."""
    u = h.upstream(told(700))
    w = h.weir(chat_provider("lab", u.url, "models = { m = { window = 100000 } }"))
    text = WORDS * 20

    def counted():
        a = wire.post(w.port, "/v1/messages/count_tokens", json.dumps({"model": "lab/m", "messages": [{"role": "user", "content": text}]}).encode())
        assert a.status == 200 and a.header("x-weir-estimated") == "input_tokens" and list(a.json()) == ["input_tokens"], a
        return a.json()["input_tokens"]

    first = counted()
    assert 230 < first < 340 and not u.requests, first
    for i in range(12):
        assert ask(w, "lab/m", text, stream=i % 2 == 0).status == 200
    assert abs(counted() - 700) < 21, counted()
    ratio = w.metric("weir_estimate_error_ratio", model="lab/m")
    assert 0 < ratio < 0.3, ratio


def test_reservations_hold_what_a_provider_adds(h):
    """A provider that reports more input than the body has bytes: the next reservation holds it."""
    u = h.upstream(told(5000))
    w = h.weir(
        chat_provider("lab", u.url, "models = { m = { window = 100000, price = { input = usd(100), output = usd(100) } } }") + 'use "cost_caps" { per = "all", day = usd(1000) }\n',
        policies={"cost_caps": shipped("cost_caps")},
    )
    body = json.dumps({"model": "lab/m", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    first, second = (float(wire.post(w.port, "/v1/chat/completions", body, [("x-weir-include", "estimate")]).header("x-weir-estimate-usd")) for _ in range(2))
    assert first < 0.03 and second >= 0.502, (first, second)


def test_count_tokens_passes_through(h):
    u = h.upstream(lambda request, peer: peer.answer(b'{"input_tokens": 14}') or True)
    w = h.weir(messages_provider("claude", u.url))
    a = wire.post(w.port, "/v1/messages/count_tokens", json.dumps({"model": "claude/m", "messages": [{"role": "user", "content": "Hi"}]}).encode())
    assert a.status == 200 and a.body == b'{"input_tokens": 14}' and a.header("x-weir-estimated") is None, a
    assert u.requests[0].target == "/v1/messages/count_tokens"


def test_input_tokens(h):
    """The same of a responses request: asked of a provider that speaks it, else counted."""
    u = h.upstream(lambda request, peer: peer.answer(b'{"object": "response.input_tokens", "input_tokens": 14}') or True)
    w = h.weir(chat_provider("lab", u.url) + messages_provider("claude", u.url) + 'model "alias" { "claude/m" }\n')
    body = {"model": "lab/m", "input": [{"role": "user", "content": [{"type": "input_text", "text": WORDS * 4}]}], "instructions": "Be brief."}
    a = wire.post(w.port, "/v1/responses/input_tokens", json.dumps(body).encode())
    assert a.status == 200 and a.json()["input_tokens"] == 14 and a.header("x-weir-estimated") is None, a
    assert u.requests[0].target == "/v1/responses/input_tokens" and u.requests[0].json() == {**body, "model": "m"}, u.requests[0].head
    a = wire.post(w.port, "/v1/responses/input_tokens", json.dumps({**body, "model": "alias"}).encode())
    assert a.status == 200 and a.header("x-weir-estimated") == "input_tokens" and len(u.requests) == 1, a
    assert a.json()["object"] == "response.input_tokens" and 45 < a.json()["input_tokens"] < 90, a
    for told in ({"contents": [{"role": "user", "parts": [{"text": WORDS * 4}]}]}, {"generateContentRequest": {"model": "x", "contents": [{"parts": [{"text": WORDS * 4}]}]}}):
        a = wire.post(w.port, "/v1beta/models/claude/m:countTokens", json.dumps(told).encode())
        assert a.status == 200 and a.header("x-weir-estimated") and 45 < a.json()["totalTokens"] < 90, a
