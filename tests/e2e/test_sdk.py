"""Official SDKs cannot tell weir from the provider; what fails after content raises in them."""

import sdk
from test_bytes import both
from harness import chat_provider, messages_provider

USER = [{"role": "user", "content": "Say something."}]
TOOLS = [{"type": "function", "function": {"name": "tool_0", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}}]
ARGS = {
    "chat": {"model": "mock", "messages": USER},
    "completions": {"model": "mock", "prompt": "Say"},
    "embeddings": {"model": "mock", "input": ["a", "b"]},
    "responses": {"model": "mock", "input": "Say"},
    "messages": {"model": "mock", "messages": USER, "max_tokens": 100},
    "count_tokens": {"model": "mock", "messages": USER},
}
LIMIT = 250  # the first test may have to fetch them
STORY = "A weir stands in a stream: it regulates the flow and it measures the flow."


def kinds(language):
    return [k for k in ARGS if language == "python" or k not in ("messages", "count_tokens")]


def base(port):
    return f"http://127.0.0.1:{port}"


def compare(h, language, calls):
    """Each call direct to the mock and through weir: the same result, whatever it is."""
    w, m = both(h)
    direct = sdk.call(h, language, [dict(c, base=base(m.port)) for c in calls])
    through = sdk.call(h, language, [dict(c, base=base(w.port)) for c in calls])
    for c, d, t in zip(calls, direct, through):
        assert (
            d == t
        ), f"{language} {c['kind']} {c.get('mock', '')} {'stream' if c['args'].get('stream') else 'whole'}: {str(t)[:700]}, direct {str(d)[:700]}"
    return direct


def good_calls(language):
    calls = []
    for kind in kinds(language):
        for spec in (
            "",
            "split=1",
            "split=9;gap=1",
            "size=30000;events=40",
            "input=100;cached=7;output=50;reasoning=9",
            "finish=length" if kind in ("chat", "completions") else "delay=30",
        ):
            calls.append({"kind": kind, "mock": spec, "args": ARGS[kind]})
            if kind in ("chat", "completions", "responses", "messages"):
                calls.append({"kind": kind, "mock": spec, "args": dict(ARGS[kind], stream=True)})
    calls.append({"kind": "embeddings", "args": dict(ARGS["embeddings"], encoding_format="float")})
    calls.append({"kind": "chat", "args": dict(ARGS["chat"], stream=True, stream_options={"include_usage": True})})
    for streamed in (False, True):
        calls.append({"kind": "chat", "mock": "tools=2", "args": dict(ARGS["chat"], tools=TOOLS, stream=streamed)})
        calls.append({"kind": "chat", "mock": "events=1;no-length", "args": dict(ARGS["chat"], n=1, temperature=0.5, stream=streamed)})
    calls.append({"kind": "chat", "mock": "refuse", "args": ARGS["chat"]})
    return calls


def test_python_results_as_direct(h):
    compare(h, "python", good_calls("python"))


def test_node_results_as_direct(h):
    compare(h, "node", good_calls("node"))


def refused_calls(language):
    specs = [
        "status=400;type=invalid_request_error;code=invalid_value",
        "status=404;type=invalid_request_error;code=model_not_found",
        "status=422",
        "status=429;type=requests;code=rate_limit_exceeded",
        "status=413",
    ]
    return [
        {"kind": k, "mock": s, "args": dict(ARGS[k], stream=True) if streamed else ARGS[k]}
        for k in kinds(language)
        for s in specs
        for streamed in (False, True)
        if not streamed or k in ("chat", "messages", "responses")
    ]


def test_python_refusals_as_direct(h):
    for d in compare(h, "python", refused_calls("python")):
        assert d["status"], d


def test_node_refusals_as_direct(h):
    for d in compare(h, "node", refused_calls("node")):
        assert d["status"], d


def broken(h, language):
    m = h.mock()
    w = h.weir(
        chat_provider("oai", m.url) + messages_provider("ant", m.url) + 'default_provider "oai"\ndefaults { between_events = 0.5 }\n'
    )
    streams = [k for k in ("chat", "completions", "responses", "messages") if k in kinds(language)]
    calls = [
        {"kind": k, "base": base(w.port), "mock": s, "args": dict(ARGS[k], stream=True)}
        for k in streams
        for s in ("cut=4", "reset=4", "stall=4", "end=4", "bad=4", "no-done", "error=4")
        if (k, s) != ("responses", "error=4")
    ]
    for c, r in zip(calls, sdk.call(h, language, calls)):
        what = f"{language} {c['kind']} {c['mock']}"
        assert "error" in r, f"{what}: the SDK saw no failure: {str(r)[:300]}"
        assert r["api"], f"{what}: the failure is no error of the API: {r}"
        assert r["text"] and STORY.startswith(r["text"]), f"{what}: {r['text']!r}"
        if "no-done" not in c["mock"]:
            assert len(r["text"].split()) >= 4, f"{what}: {r['text']!r}"
    calls = [
        {"kind": k, "base": base(w.port), "mock": s, "args": ARGS[k]}
        for k in kinds(language)
        for s in ("cut=1", "garbage", "html", "empty", "drop", "status=500", "status=401")
    ]
    for c, r in zip(calls, sdk.call(h, language, calls)):
        what = f"{language} {c['kind']} {c['mock']}"
        assert r.get("api") and r["status"] in (500, 502, 503, 529), f"{what}: {r}"


def test_python_broken_answers_raise(h):
    broken(h, "python")


def test_node_broken_answers_raise(h):
    broken(h, "node")


def retries(h, language):
    """The SDK does not try again what weir has tried already; a rate limit with its time it does."""
    u = h.upstream(lambda r, p: p.answer(b'{"error":{"message":"x","type":"server_error"}}', 500) or True)
    w = h.weir(chat_provider("p", u.url))
    r = sdk.call(h, language, [{"kind": "chat", "base": base(w.port), "retries": 2, "args": ARGS["chat"]}])[0]
    assert r["status"] == 503 and len(u.requests) == 1, f"{language}: asked {len(u.requests)} times: {r}"


def test_python_retries(h):
    retries(h, "python")


def test_node_retries(h):
    retries(h, "node")


def models(h, language):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + 'model "smart" { "p/x" }\n')
    r = sdk.call(
        h,
        language,
        [
            {"kind": "models", "base": base(w.port), "args": {}},
            {"kind": "chat", "base": base(w.port), "args": ARGS["chat"] | {"model": "smart"}},
            {"kind": "chat", "base": base(w.port), "args": ARGS["chat"] | {"model": "a/x"}},
        ],
    )
    assert "smart" in [m["id"] for m in r[0]["ok"]], r[0]
    assert r[1]["ok"]["choices"][0]["message"]["content"] == "Hello.", r[1]
    assert r[2]["error"] == "BadRequestError" and r[2]["status"] == 400 and r[2]["body"]["weir"]["fault"] == "bad_request", r[2]


def test_python_models(h):
    models(h, "python")


def test_node_models(h):
    models(h, "node")
