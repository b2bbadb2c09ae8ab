local test = {}

-- 10 USD a million in, 100 out: an answer of 1000 tokens in and 500 out costs 0.06 USD, and 500 out is the most there can be.
local price = { input = usd(10), output = usd(100) }
local facts = { window = 8000, max_output = 500, price = price }
local usage = { prompt_tokens = 1000, completion_tokens = 500, total_tokens = 1500 }

local function begin(t, options, more)
  t.use("cost_caps", options)
  for _, target in ipairs(more or { "one/a" }) do
    t.model(target, facts)
    t.upstream(target, { text = "hi", usage = usage })
  end
end

local function ask(t, more)
  local request = { model = "one/a", messages = { { role = "user", content = "hello" } } }
  for k, v in pairs(more or {}) do request[k] = v end
  return t.request(request)
end

function test.all_share_a_day(t)
  begin(t, { per = "all", day = usd(0.15) })
  local first = ask(t)
  t.equal(first.headers["x-weir-cost-usd"], "0.06")
  t.equal(ask(t).status, 200)
  t.equal(ask(t, { max_tokens = 400 }).status, 429, "0.03 are left")
  local last = ask(t)
  t.ok(tonumber(last.headers["x-weir-output-limit"]) < 300, "what is left makes a shorter answer")
  local refused = ask(t)
  t.equal(refused.status, 429)
  t.equal(refused.decision, "capped")
  t.equal(refused.json.error.type, "insufficient_quota")
  t.equal(refused.headers["x-should-retry"], "false")
  t.equal(#refused.sent, 0)
  t.ok(refused.json.error.message:find("0.15 USD a day", 1, true), refused.json.error.message)
  t.advance(86400)
  t.equal(ask(t).status, 200, "a day later it begins anew")
end

function test.an_hour_rolls(t)
  begin(t, { per = "all", hour = usd(0.06) })
  t.equal(ask(t).status, 200)
  t.equal(ask(t).status, 429)
  t.advance(3700)
  t.equal(ask(t).status, 200)
end

function test.each_user_has_its_own(t)
  begin(t, { per = "user", total = usd(0.06) })
  t.equal(ask(t, { user = "ann" }).status, 200)
  t.equal(ask(t, { user = "ann" }).status, 429)
  t.equal(ask(t, { user = "bob" }).status, 200)
  t.equal(ask(t).status, 200, "those without a name share one")
  t.equal(ask(t).status, 429)
end

function test.tags_and_sessions(t)
  begin(t, { per = "tag:team", month = usd(0.12), session = usd(0.06) })
  local function of(team, session) return ask(t, { headers = { ["x-weir-tags"] = "team=" .. team, ["x-weir-session"] = session } }) end
  t.equal(of("red", "s1").status, 200)
  t.ok(of("red", "s1").json.error.message:find("a session", 1, true))
  t.equal(of("red", "s2").status, 200)
  t.ok(of("red", "s3").json.error.message:find("a month", 1, true))
  t.equal(of("blue", "s1").status, 200)
end

function test.one_request(t)
  begin(t, { per = "all", request = usd(0.02) })
  local r = ask(t)
  t.equal(r.status, 200)
  t.ok(tonumber(r.headers["x-weir-output-limit"]) < 200)
  t.equal(ask(t, { max_tokens = 400 }).status, 429, "the caller's own limit is not changed")
  t.equal(ask(t, { max_tokens = 100 }).status, 200)
end

function test.what_serves_counts_alone(t)
  begin(t, { per = "model", total = usd(0.06) }, { "one/a", "two/b" })
  t.config('model "both" { "one/a", "two/b" }')
  t.equal(ask(t, { model = "both" }).target, "one/a")
  t.equal(ask(t, { model = "both" }).target, "two/b", "the first has nothing left")
  local r = ask(t, { model = "both" })
  t.equal(r.status, 429)
  t.equal(r.decision, "capped")
end

function test.providers_have_caps(t)
  begin(t, { per = "provider", total = usd(0.06) }, { "one/a", "one/b", "two/c" })
  t.config('model "all" { "one/a", "one/b", "two/c" }')
  t.equal(ask(t, { model = "all" }).target, "one/a")
  t.equal(ask(t, { model = "all" }).target, "two/c")
end

function test.a_failed_attempt_leaves_its_target_uncharged(t)
  begin(t, { per = "model", total = usd(0.06) }, { "two/b" })
  t.model("one/a", facts)
  t.upstream("one/a", { status = 500 }, { text = "hi", usage = usage })
  t.config('model "both" { "one/a", "two/b" }')
  t.equal(ask(t, { model = "both" }).target, "two/b")
  t.equal(ask(t, { model = "both" }).target, "one/a")
end

function test.soft_marks_are_told_once(t)
  begin(t, { per = "all", day = usd(1), soft = { 0.05, 0.5 }, webhook = "http://hooks.test/money" })
  t.reply_to("http://hooks.test/money", { status = 204 })
  t.equal(#ask(t).fetched, 0)
  local r = ask(t)
  t.equal(#r.fetched, 1)
  t.equal(r.fetched[1].json.mark, 0.05)
  t.equal(r.fetched[1].json.window, "day")
  t.equal(r.notes.cost_caps, "0.05 of the day's cap")
  t.equal(#ask(t).fetched, 0)
end

function test.a_webhook_that_fails_stops_nobody(t)
  begin(t, { per = "all", day = usd(1), soft = { 0.05 }, webhook = "http://hooks.test/money" })
  t.reply_to("http://hooks.test/money", { fault = "connection" })
  ask(t)
  t.equal(ask(t).status, 200)
end

function test.downgrade(t)
  begin(t, { per = "all", day = usd(0.5), soft = { 0.1 }, downgrade = "small" }, { "one/a", "two/b" })
  t.config('model "small" { "two/b" }')
  t.equal(ask(t).target, "one/a")
  t.equal(ask(t).target, "two/b")
  t.equal(ask(t, { model = "small" }).target, "two/b")
end

function test.retries_add_up(t)
  begin(t, { per = "all", total = usd(1) }, { "two/b" })
  t.model("one/a", facts)
  t.upstream("one/a", { body = '{"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":0,"total_tokens":1000}}' })
  t.config('model "both" { "one/a", "two/b" }')
  local r = ask(t, { model = "both" })
  t.equal(r.target, "two/b")
  t.equal(r.headers["x-weir-cost-usd"], "0.07", "an empty answer is paid for as well")
end

return test
