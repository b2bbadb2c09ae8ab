"""`weir why` over answers: on_response runs again where the answer was kept, and says what it cannot know where not."""

import json

from harness import chat_provider, messages_provider, until
from test_money import shipped
from upstream import chat_answer, chat_events, messages_answer

JUDGE = """local p, seen = {}, weir.shared "seen"
function p.on_response(req, r)
  local n = seen:add("n", 1)
  req:note("saw" .. n, r.text:sub(1, 100) .. "|" .. tostring(r.done) .. "|" .. tostring(r.finish))
  if r.text:find("bad", 1, true) then return weir.reject("it says bad, as number " .. n) end
  if r.text:find("swap", 1, true) then return weir.replace("other words") end
  if r.text:find("wait", 1, true) then return weir.hold { seconds = 0.05 } end
  if not r.done and #r.text < 8 then return weir.hold { bytes = 8 } end
end
return p"""
KEEP = 'ledger { contents = { model = "*" } }\n'


def provider(request, peer):
    asked = json.loads(request.body)
    if request.target.endswith("/messages"):
        peer.answer(messages_answer("A good one."))
    elif asked.get("stream"):
        peer.stream(*chat_events(*asked["messages"][0]["content"].split("_")))
    else:
        peer.answer(chat_answer("It is bad." if asked["model"] == "bad" else asked["messages"][0]["content"], model="m-1", usage={"prompt_tokens": 3, "completion_tokens": 4}))
    return True


def told(h, w, name):
    r = h.run("why", name, "--config", w.file, env={"OPENAI_KEY": ""})
    assert r.returncode == 0 and not r.stderr, r
    return [" ".join(line.split()) for line in r.stdout.splitlines()]


def start(h, more=KEEP):
    up = h.upstream(provider)
    base = chat_provider("a", up.url) + chat_provider("b", up.url) + 'model "m" { "a/bad", "b/good" }\nuse "judge"\n'
    return h.weir(base + more, policies={"judge": JUDGE}), base


def ask(w, name, text, model="a/good", stream=False):
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    return w.post("/v1/chat/completions", json.dumps(body).encode(), [("x-request-id", name)])


def kept(h, w, count):
    w.rows(count)
    until(lambda: len(w.ledger("SELECT * FROM contents")) == count, 5 * h.slow, "contents")
    return {r["id"]: r for r in w.ledger()}


def noted(lines):
    again = lines[: next((i for i, x in enumerate(lines) if x.startswith("now ")), None)]
    return {k: v for k, v in (x.split("notes ", 1)[1].split(" = ", 1) for x in again if "notes " in x and " = " in x)}


def test_answers_are_judged_again(h):
    w, base = start(h)
    assert ask(w, "whole", "All is well.").status == 200
    assert ask(w, "second", "Second is well.", "m").status == 200
    assert b"other words" in ask(w, "swapped", "swap this").body
    assert ask(w, "stream", "Hel_lo. _How are_ you?", stream=True).status == 200
    assert ask(w, "short", "Hi", stream=True).status == 200
    assert ask(w, "timed", "wait a_ moment", stream=True).status == 200
    assert ask(w, "refused", "this is bad").status == 502
    rows = kept(h, w, 7)
    for name, row in rows.items():
        lines = told(h, w, name)
        assert not any(x.startswith("differs") for x in lines), (name, lines)
        rejudged = {k: v for k, v in json.loads(row["notes"]).items() if k in noted(lines)}
        assert rejudged == noted(lines), (name, row["notes"], lines)  # the policy saw what it saw then
        if name in ("whole", "stream", "short"):
            assert f"as it was: {row['target']}" in lines and not any(x.startswith("not known") for x in lines) and noted(lines), (name, lines)
    lines = told(h, w, "second")
    assert "again a/bad answered, and judge refused that: it says bad, as number 2" in lines and "a/bad: invalid, as it was; the next one" in lines, lines
    assert "the answer of b/good is judged, as it was kept" in lines and noted(lines) == {"saw3": "Second is well.|true|stop"}, lines
    assert len(noted(told(h, w, "stream"))) == 2 and "Hello. How are|false|nil" in noted(told(h, w, "stream")).values(), told(h, w, "stream")
    assert "Hi|true|stop" in noted(told(h, w, "short")).values()
    lines = told(h, w, "swapped")
    assert "judge put its own words in the place of the answer" in lines and "not known what on_response decides: an answer that was replaced is not kept" in lines, lines
    assert "not known what on_response decides: how much of the stream had come when it was judged, which was a matter of time" in told(h, w, "timed")
    assert "not known what on_response decides: an answer that was refused is not kept" in told(h, w, "refused")

    w.policy("judge", JUDGE.replace('"bad"', '"well"').replace("return p", "function p.on_chunk() end\nreturn p"))  # now another one decides
    assert w.reload()[0] == 0
    lines = told(h, w, "whole")
    assert "as it was: a/good" in lines and "judge refuses the answer of a/good: it says bad, as number 1" in lines, lines
    assert "differs it was a/good, and would be invalid" in lines, lines
    lines = told(h, w, "stream")
    assert "not run on_chunk, which sees each piece of a stream" in lines and not any(x.startswith("differs") for x in lines), lines


def test_a_judge_has_said_what_it_said(h):
    """on_response asks a model: what that said of an answer that was refused is not taken for what it said of the next one."""
    policy = """local p = {}
function p.on_response(req, r)
  if not r.done then return weir.hold { until_done = true } end
  local a = weir.ask { model = "j/x", messages = { { role = "user", content = r.text } } }
  req:note("verdict", a.text)
  if a.text:find("no", 1, true) then return weir.reject(a.text) end
end
return p"""
    said = iter(["no, never", "yes, fine"] * 2)
    judge = h.upstream(lambda request, peer: peer.answer(chat_answer(next(said))) or True)
    up = h.upstream(provider)
    w = h.weir(chat_provider("a", up.url) + chat_provider("b", up.url) + chat_provider("j", judge.url) + 'model "m" { "a/x", "b/x" }\nuse "ask"\n' + KEEP, policies={"ask": policy})
    assert ask(w, "whole", "Hello", "m").status == 200 and ask(w, "stream", "Hel_lo", "m", stream=True).status == 200
    kept(h, w, 6)
    for name in ("whole", "stream"):
        lines = told(h, w, name)
        again = lines[: lines.index("parent " + name)]
        assert "again a/x answered, and ask refused that: no, never" in again and noted(again) == {"verdict": "yes, fine"} and "as it was: b/x" in again, lines
        assert not any(x.startswith(("differs", "not seen")) for x in lines[len(again):]), lines  # no policy runs for a policy's question


def test_answers_that_were_not_kept(h):
    w, _ = start(h, 'ledger { contents = { model = "b/*" } }\n')
    assert ask(w, "unkept", "All is well.").status == 200
    a = ask(w, "long", "well " * 5000, "b/good")
    assert a.status == 200, a
    w.rows(2)
    until(lambda: len(w.ledger("SELECT * FROM contents")) == 1, 5 * h.slow, "contents")
    for name in ("unkept", "long"):
        lines = told(h, w, name)
        assert "not known what on_response decides: the answer was not kept" + (" whole" if name == "long" else "") in lines, lines
        assert not noted(lines) and any(x.startswith("as it was") for x in lines), lines
    assert any(x.startswith("not seen by the policies judge: the messages and headers of the request and of the answer") for x in told(h, w, "unkept"))


def test_answers_of_other_dialects_are_judged_as_the_client_had_them(h):
    up = h.upstream(provider)
    w = h.weir(chat_provider("c", up.url, 'dialect = "messages"') + 'use "judge"\n' + KEEP, policies={"judge": JUDGE})
    assert ask(w, "other", "Hello?", "c/x").status == 200
    rows = kept(h, w, 1)
    assert noted(told(h, w, "other")) == json.loads(rows["other"]["notes"]) == {"saw1": "A good one.|true|stop"}, told(h, w, "other")


def test_no_client_is_too_long_for_its_record(h):
    """Names that a client makes up stand in its record, and are scopes of budgets: long ones are cut, and lose nothing else."""
    caps = 'use "cost_caps" { per = "user", day = usd(5), session = usd(5) }\n'
    w = h.weir(chat_provider("a", h.upstream(provider).url, "price = { input = usd(1), output = usd(2) }") + caps, policies={"cost_caps": shipped("cost_caps")})
    long = "ü" * 15000

    def one(name, headers=(), model="a/x", **more):
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
        assert w.post("/v1/chat/completions", json.dumps(body).encode(), [("x-request-id", name), *headers]).status == 200, name

    one("session", [("x-weir-session", "s" * 30000)])
    one("user", user=long)
    one("head", [("x-litellm-customer-id", "c" * 30000), ("x-weir-prompt", "p" * 30000)])
    one("body", metadata={"session_id": long, "_user": "m" * 20000})
    one("model", model="a/" + "x" * 20000)
    rows = {r["id"]: r for r in w.rows(5)}
    assert w.metric("weir_records_lost_total") in (0, None), w.metric("weir_records_lost_total")
    assert all(r["cost"] > 0 and r["end"] == "done" for r in rows.values()), [(i, r["cost"], r["end"]) for i, r in rows.items()]
    assert rows["session"]["session"] == "s" * 255 and rows["user"]["user"] == "ü" * 127 and rows["head"]["prompt"] == "p" * 255, [(r["id"], r["session"], r["user"], r["prompt"]) for r in rows.values()]
    assert rows["model"]["target"] == "a/" + "x" * 254, rows["model"]


def test_caps_decide_again(h):
    """Their soft marks read a map by names with zero bytes in them; a refusal comes out as it was."""
    price = "models = { x = { window = 8000, max_output = 500, price = { input = usd(10), output = usd(100) } } }"
    caps = 'use "cost_caps" { per = "all", day = usd(0.004), soft = { 0.05 } }\nuse "token_limits" { per = "all", requests_per_minute = 3 }\n'
    w = h.weir(chat_provider("a", h.upstream(provider).url, price) + caps, policies={"cost_caps": shipped("cost_caps"), "token_limits": shipped("token_limits")})
    said = {}
    for i in range(5):
        body = {"model": "a/x", "max_tokens": 2, "messages": [{"role": "user", "content": "x"}]}
        said[f"r{i}"] = w.post("/v1/chat/completions", json.dumps(body).encode(), [("x-request-id", f"r{i}")]).status
    rows = {r["id"]: r for r in w.rows(5)}
    assert "capped" in {r["end"] for r in rows.values()} or "limited" in {r["end"] for r in rows.values()}, rows
    for name, row in rows.items():
        lines = told(h, w, name)
        assert not any(x.startswith(("differs", "not known what", "not known 1")) or "failed" in x for x in lines), lines
        assert f"as it was: {row['target'] if row['status'] == 200 else row['end']}" in lines or row["end"] == "capped", lines
    assert any("told" in (r["reads"] or "") for r in rows.values()), [r["reads"] for r in rows.values()]


def test_what_is_charged_beside_tokens(h):
    """Searches, calls of the provider's own tools, what a request costs as such: in the record, in why, in the report."""

    def tools(request, peer):
        body = json.loads(messages_answer("Found."))
        body["usage"] = {"input_tokens": 10, "output_tokens": 20, "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2, "code_execution_requests": 1}}
        peer.answer(json.dumps(body).encode())
        return True

    price = "price = { input = usd(1), output = usd(2), per_search = usd(0.02), per_request = usd(0.005) }"
    w = h.weir(messages_provider("c", h.upstream(tools).url, price) + chat_provider("a", h.upstream(provider).url, price))
    body = {"model": "c/x", "max_tokens": 100, "messages": [{"role": "user", "content": "?"}]}
    a = w.post("/v1/messages", json.dumps(body).encode(), [("x-request-id", "found")])
    assert a.status == 200 and a.header("x-weir-cost-usd") == "0.06505", a
    assert ask(w, "plain", "Hello").status == 200
    w.rows(2)
    rows = {r["id"]: r for r in w.ledger()}
    assert (rows["found"]["searches"], rows["found"]["tool_calls"], rows["found"]["fees"], rows["found"]["cost"]) == (3, 3, 65 * 10**9, 65050000000), rows
    assert (rows["plain"]["searches"], rows["plain"]["tool_calls"], rows["plain"]["fees"]) == (None, None, 5 * 10**9), rows
    assert "beside web searches 3, calls of the provider's own tools 3: USD 0.065 of the cost" in told(h, w, "found")
    assert "beside for the request USD 0.005 of the cost" in told(h, w, "plain")
    r = h.run("report", "--config", w.file, "--by", "provider", "--json", env={"OPENAI_KEY": ""})
    report = {g["provider"]: g for g in json.loads(r.stdout)}
    assert [report["c"][k] for k in ("searches", "tool_calls", "fees_usd", "cost_usd")] == [3, 3, "0.065", "0.06505"] and report["a"]["fees_usd"] == "0.005", report
    text = h.run("report", "--config", w.file, env={"OPENAI_KEY": ""}).stdout
    assert "fees_usd             0.065" in text and "searches             3" in text, text
