"""What weir knows of providers and models by name, and what follows from it."""

import json

import wire
from harness import SECRET, chat_provider, messages_provider
from upstream import chat_answer


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
