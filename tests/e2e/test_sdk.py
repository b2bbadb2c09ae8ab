"""Official SDKs cannot tell weir from the provider; what fails after content raises in them."""

import sdk
from test_bytes import both
from harness import chat_provider, messages_provider, until

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
STORY = "A weir stands in a stream: it regulates the flow and it measures the flow."


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


def good_calls():
    calls = []
    for kind in ARGS:
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
    compare(h, "python", good_calls())


def test_node_results_as_direct(h):
    compare(h, "node", good_calls())


def refused_calls():
    specs = [
        "status=400;type=invalid_request_error;code=invalid_value",
        "status=404;type=invalid_request_error;code=model_not_found",
        "status=422",
        "status=429;type=requests;code=rate_limit_exceeded",
        "status=413",
    ]
    return [
        {"kind": k, "mock": s, "args": dict(ARGS[k], stream=True) if streamed else ARGS[k]}
        for k in ARGS
        for s in specs
        for streamed in (False, True)
        if not streamed or k in ("chat", "messages", "responses")
    ]


def test_python_refusals_as_direct(h):
    for d in compare(h, "python", refused_calls()):
        assert d["status"], d


def test_node_refusals_as_direct(h):
    for d in compare(h, "node", refused_calls()):
        assert d["status"], d


def broken(h, language):
    m = h.mock()
    w = h.weir(
        chat_provider("oai", m.url) + messages_provider("ant", m.url) + 'default_provider "oai"\ndefaults { between_events = 0.5 }\n'
    )
    streams = ("chat", "completions", "responses", "messages")
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
        for k in ARGS
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
    assert r[2]["ok"]["choices"][0]["message"]["content"] == "Hello.", r[2]  # a provider of messages, translated


def test_python_models(h):
    models(h, "python")


def test_node_models(h):
    models(h, "node")


JUDGE = """
local policy = {}
function policy.on_request(req)
  local text = req:text("user")
  if text:find("deny", 1, true) then return weir.deny(403, "not for you") end
  req.state.as = text:match("stop as (%a+)")
end
function policy.on_chunk(req, chunk)
  if req.state.as and chunk.text then
    req.state.seen = (req.state.seen or 0) + 1
    if req.state.seen == 5 then return weir.stop("enough", req.state.as) end
  end
end
return policy
"""
STREAMS = ("chat", "completions", "responses", "messages")


def asked(kind, text, **more):
    """The call's arguments with that text of the user's."""
    name = "prompt" if kind == "completions" else "input" if kind == "responses" else "messages"
    return dict(ARGS[kind], **{name: [{"role": "user", "content": text}] if name == "messages" else text}, **more)


def finish_of(events):
    for e in events:
        for c in e.get("choices") or ():
            if c.get("finish_reason"):
                return c["finish_reason"]
        if e.get("type") == "message_delta":
            return e["delta"]["stop_reason"]
        if e.get("type") == "response.incomplete":
            return e["response"]["incomplete_details"]["reason"]
    return None


def judged(h, language):
    """Raised where the caller has to know, and only there. SDKs are left their two tries more: what weir has tried they do not."""
    m = h.mock()
    sides = (("", "oai", chat_provider), ("m", "ant", messages_provider))
    config = 'default_provider "oai"\ndefaults { between_events = 0.5, first_event = 2 }\n'
    for side, name, provider in sides:
        config = provider(name, m.url) + config
        for alias, models in (
            ("chain", ("mock-500", "mock-garbage", "mock-error-first", "mock-drop", "mock-empty", "mock-401", "mock")),
            ("spent", ("mock-500", "mock-html", "mock-drop")),
            ("account", ("mock-401",)),
            ("limited", ("mock;status=429;retry-after=30;type=requests;code=rate_limit_exceeded",)),
            ("large", ("mock;cut=1;size=600000",)),
            ("early", ("mock;delay=500;status=500", "mock;delay=500;status=500")),
        ):
            names = ", ".join(f'"{name}/{x}"' for x in models)
            config += f'model "{side}{alias}" {{ {names}{", hold_head = 0.2" if alias == "early" else ""} }}\n'
    w = h.weir(config + 'use "judge"\n', policies={"judge": JUDGE})
    calls, checks = [], []

    def call(kind, streamed, check, model=None, text="Say something."):
        args = asked(kind, text, **({"stream": True} if streamed else {}))
        if model:
            args["model"] = ("m" if kind == "messages" else "") + model
        calls.append({"kind": kind, "base": base(w.port), "retries": 2, "args": args})
        checks.append((f"{language} {kind} {'stream' if streamed else 'whole'} {model or text}", check))

    def raised(name, status, fault, tried):
        def check(r):
            assert r.get("error") == name and r["status"] == status and r["api"], r
            said = r["body"]["weir"] if "weir" in r["body"] else r["body"]["error"]["weir"]
            assert said["fault"] == fault and len(said["tried"]) == tried and not r["text"], r

        return check

    def limited(r):
        assert r.get("error") == "RateLimitError" and r["status"] == 429, r

    def told(r):
        assert "error" not in r and STORY in r.get("text", str(r["ok"])), r

    def broken_stream(words):
        def check(r):
            assert "error" in r and r["api"] and bool(r["text"]) == words and STORY.startswith(r["text"].strip()), r

        return check

    def cut(r):  # of a body that breaks the node SDKs say what their fetch says
        assert "error" in r and (r["api"] or r["message"] == "terminated"), r

    def stopped(reason):
        def check(r):
            assert "error" not in r and r["text"] and r["text"] != STORY and STORY.startswith(r["text"].strip()), r
            assert finish_of(r["ok"]) == reason, (finish_of(r["ok"]), reason)

        return check

    for kind in STREAMS:
        ant = kind == "messages"
        overloaded = ("OverloadedError", 529) if ant else ("InternalServerError", 503)
        for streamed in (False, True):
            call(kind, streamed, told, "chain")
            call(kind, streamed, raised(*overloaded, "overloaded", 3), "spent")
            call(kind, streamed, raised("InternalServerError", 502, "auth", 1), "account")
            call(kind, streamed, raised("PermissionDeniedError", 403, "denied", 0), text="please deny")
        call(kind, False, cut, "large")
        call(kind, True, broken_stream(False), "early")
        call(kind, True, broken_stream(True), text="stop as error")
        for kind_of_stop, reasons in (("length", ("length", "max_output_tokens", "max_tokens")), ("filter", ("content_filter", "content_filter", "refusal"))):
            reason = reasons[2] if ant else reasons[1] if kind == "responses" else reasons[0]
            call(kind, True, stopped(reason), text=f"stop as {kind_of_stop}")
    results = sdk.call(h, language, calls)
    for (what, check), r in zip(checks, results):
        try:
            check(r)
        except (AssertionError, KeyError, TypeError) as e:
            raise AssertionError(f"{what}: {str(e)[:900]}") from None
    asked_once = len(until(lambda: len(w.records()) >= len(calls) and w.records(), 5, "the access lines"))
    assert asked_once <= len(calls) + 2 * len(STREAMS), f"{asked_once} requests for {len(calls)} calls: the SDK tried again"
    r = sdk.call(h, language, [{"kind": k, "base": base(w.port), "args": dict(ARGS[k], model=("m" if k == "messages" else "") + "limited")} for k in STREAMS])
    for a in r:
        limited(a)


def test_python_raises_where_it_must(h):
    judged(h, "python")


def test_node_raises_where_it_must(h):
    judged(h, "node")
