"""weir test: what a policy test can script, say and see; how a failing one is told; and that it leaves a running weir alone."""

import os

from harness import chat_provider

POLICY = """
local options = weir.options { judge = "http://judge.test:9000/score" }
local asked, seen = weir.counter "probe_asked", weir.shared("probe_seen")
local policy = { on_error = "deny" }
function policy.on_request(req)
  asked:add(1)
  req:note("nth", seen:add(req.user or "nobody", 1))
  local r, why = weir.fetch { url = options.judge, json = { text = req:text("user") }, timeout = 3 }
  weir.log.info("judged", r and r.json and r.json.risk or why)
  if r and r.json and r.json.risk > 0.5 then return weir.deny(451, "too risky") end
  req:note("at", weir.now())
end
function policy.on_attempt(req, attempt) attempt.headers["x-team"] = "search" end
function policy.on_chunk(req, chunk)
  if chunk.text == "stop" then return weir.stop("enough", "length") end
end
return policy
"""

TESTS = """
local test = {}
local function ask(t, more)
  local q = { model = "smart", user = "u", messages = { { role = "user", content = "hello" } } }
  for k, v in pairs(more or {}) do q[k] = v end
  return t.request(q)
end
local function use(t)
  t.config 'model "smart" { "one/a", "two/b" }'
  t.use("probe")
  t.upstream("one/a", { text = "first" })
  t.upstream("two/b", { text = "second" })
  t.reply_to("http://judge.test:9000/score", { json = { risk = 0.1 } }, { json = { risk = 0.9 } }, { fault = "timeout" })
end
function test.several_requests_and_what_was_sent(t)
  use(t)
  t.upstream("one/a", { status = 429, headers = { ["x-kind"] = "busy" } }, { text = "hi", finish = "length", usage = { prompt_tokens = 1, completion_tokens = 2 } })
  local r = ask(t)
  t.equal(r.text, "second")
  t.equal({ r.sent[1].target, r.sent[2].target, #r.sent }, { "one/a", "two/b", 2 })
  t.equal(r.sent[2].json, { model = "b", user = "u", messages = { { role = "user", content = "hello" } } })
  t.equal({ r.sent[2].headers["x-team"], r.sent[2].path, r.sent[2].method }, { "search", "/v1/chat/completions", "POST" })
  t.equal({ r.fetched[1].url, r.fetched[1].json.text, #r.fetched }, { "http://judge.test:9000/score", "hello", 1 })
  t.ok(r.log[1]:find("judged 0.1"), r.log[1])
  t.equal(r.headers["x-weir-target"], "two/b")
  t.equal({ t.counter "probe_asked", t.counter "no_such" }, { 1, 0 })
  r = ask(t)
  t.equal({ r.status, r.decision, r.notes.nth, #r.sent }, { 451, "denied", "2", 0 })
  local begun = ask(t)                        -- the judge is silent for its three seconds
  t.ok(begun.log[1]:find("judged time"), begun.log[1])
  t.equal(begun.notes.nth, "3")
  t.advance(100)
  local later = ask(t)
  t.ok(tonumber(later.notes.at) - tonumber(begun.notes.at) >= 100, later.notes.at)
end
function test.nothing_of_one_test_reaches_the_next(t)
  use(t)
  t.equal({ ask(t).notes.nth, t.counter "probe_asked" }, { "1", 1 })
end
function test.streams_piece_by_piece(t)
  use(t)
  local r = t.stream({ "a", 2, { thinking = "hm" }, { tool = { name = "f", arguments = "{}" } }, "b", 0.5, "c" }, { user = "v", temperature = 0 })
  t.equal(r.text, "abc")
  t.equal(r.sent[1].json.temperature, 0)
  local last = r.pieces[#r.pieces]
  t.ok(r.pieces[1].at < 1 and last.at >= 2.5 and last.at < 3, last.at)
  t.equal(r.pieces[1].text, "a")
  t.ok(r.body:find('"reasoning_content":"hm"', 1, true) and r.body:find('"name":"f"', 1, true))
end
function test.a_policy_stops_one(t)
  use(t)
  local r = t.stream { "a", 1, "stop", "never" }
  t.equal({ r.text, r.finish, r.decision }, { "a", "length", "stopped" })
end
function test.streams_that_end_badly(t)
  use(t)
  local cut = t.stream({ "a", 1, "b" }, { ends = "cut" })
  t.equal(cut.text, "ab")
  t.ok(cut.error, "weir tells that it was cut")
end
function test.a_stream_that_never_ends(t)
  use(t)
  local open = t.stream({ "a" }, { ends = "open" })
  t.equal(open.decision, "timeout")
end
function test.a_provider_error_in_the_stream(t)
  use(t)
  t.equal(t.stream({ "a" }, { ends = "error" }).error, "scripted")
end
function test.raw_events_usage_and_finish(t)
  use(t)
  local raw = 'data: {"choices":[{"index":0,"delta":{"content":"raw"},"finish_reason":null}]}\\n\\n'
  local r = t.stream { { raw = raw }, { finish = "length" }, { usage = { prompt_tokens = 7, completion_tokens = 9, total_tokens = 16 } } }
  t.equal({ r.text, r.finish }, { "raw", "length" })
end
return test
"""

FAILS = """
local test = {}
function test.a_wrong_text(t)
  t.equal({ 1, "two", { three = true } }, { 1, "zwei" }, "the list")
end
function test.b_late_words(t)
  t.upstream("one/a", { text = "x" })
  t.request { model = "one/a", messages = {} }
  t.use("probe")
end
function test.c_no_tls(t) t.reply_to("https://judge/x", {}) end
function test.d_broken(t) local x = nil; return x.y end
function test.e_no_policy(t) t.use("no_such"); t.request { model = "one/a", messages = {} } end
function test.f_never_ends(t) while true do end end
return test
"""


def folder(h, **files):
    path = os.path.join(h.tmp, "policies")
    os.makedirs(path, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(path, name.replace("_test", ".test") + ".lua"), "w") as f:
            f.write(text)
    return path


def test_what_a_test_can_do(h):
    path = folder(h, probe=POLICY, probe_test=TESTS)
    r = h.run("test", path)
    assert r.returncode == 0 and r.stdout == "8 passed, 0 failed\n", r.stdout + r.stderr
    broken = POLICY.replace('"search"', '"sales"').replace('"too risky"', '"far too risky"')
    folder(h, probe=broken)
    r = h.run("test", path)
    assert r.returncode == 1 and "several_requests_and_what_was_sent" in r.stdout and "7 passed, 1 failed" in r.stdout, r.stdout
    assert "probe.test.lua:" in r.stdout and 'expected ["search","/v1/chat/completions","POST"], got ["sales",' in r.stdout, r.stdout


def test_failures_are_told(h):
    path = folder(h, probe=POLICY, wrong_test=FAILS)
    r = h.run("test", os.path.join(path, "wrong.test.lua"))
    lines = r.stdout.splitlines()
    assert r.returncode == 1 and lines[-1] == "0 passed, 6 failed", r.stdout
    told = {line.split(": ")[1]: lines[i + 1].strip() for i, line in enumerate(lines) if line.startswith("FAILED")}
    for name, line, says in (
        ("a_wrong_text", 4, 'expected [1,"zwei"], got [1,"two",{"three":true}]: the list'),
        ("b_late_words", 9, "t.use comes before the first request"),
        ("c_no_tls", 11, "a test has no TLS"),
        ("d_broken", 12, "attempt to index"),
        ("f_never_ends", 14, ""),
    ):
        assert f"wrong.test.lua:{line}:" in told[name] and says in told[name], f"{name}: {told[name]}"
    assert "no_such" in told["e_no_policy"], told["e_no_policy"]
    r = h.run("test", os.path.join(path, "missing.test.lua"))
    assert r.returncode == 1 and "cannot be read" in r.stdout, r.stdout


def test_a_reload_tests_beside_the_running_ones(h):
    """The tests of a reload neither count in the metrics nor write into the maps of the process."""
    policy = """
local seen, n = weir.shared("shared_seen"), weir.counter "shared_asked"
local policy = { on_error = "deny" }
function policy.on_request(req) n:add(1); req:note("nth", seen:add("k", 1)) end
return policy
"""
    tests = "local test = {}\nfunction test.one(t)\n  t.use('shared')\n  t.upstream('one/a', { text = 'x' })\n  for i = 1, 5 do t.equal(t.request { model = 'one/a', messages = {} }.notes.nth, tostring(i)) end\nend\nreturn test\n"
    w = h.weir(chat_provider("p", h.upstream().url) + 'use "shared"\n', policies={"shared": policy, "shared.test": tests})
    nth = lambda: w.record(w.chat("p/x").header("x-request-id"))["notes"]["nth"]
    assert nth() == "1"
    code, said = w.reload()
    assert code == 0, said
    assert nth() == "2" and w.metric("weir_policy_shared_asked_total") == 2, w.metrics()
    w.policy("shared.test", tests.replace("1, 5", "2, 5"))
    code, said = w.reload()
    assert code == 1 and "the test one fails: " in said and 'expected "2", got "1"' in said, said
    assert nth() == "3"
