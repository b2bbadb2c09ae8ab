local test = {}

local function ask(t, more)
  local request = { model = "one/a", messages = { { role = "user", content = "hello" } } }
  for k, v in pairs(more or {}) do request[k] = v end
  return t.request(request)
end

function test.requests_a_minute(t)
  t.use("token_limits", { per = "all", requests_per_minute = 2 })
  t.upstream("one/a", { text = "1" }, { text = "2" }, { text = "3" })
  t.equal(ask(t).status, 200)
  t.equal(ask(t).status, 200)
  local r = ask(t)
  t.equal(r.status, 429)
  t.ok(r.json.error.message:find("2 requests a minute", 1, true), r.json.error.message)
  t.advance(62)
  t.equal(ask(t).status, 200, "a minute later there is room again")
end

function test.each_has_its_own(t)
  t.use("token_limits", { per = "user", requests_per_minute = 1 })
  t.upstream("one/a", { text = "1" }, { text = "2" })
  t.equal(ask(t, { user = "ann" }).status, 200)
  t.equal(ask(t, { user = "ann" }).status, 429)
  t.equal(ask(t, { user = "bob" }).status, 200)
end

function test.a_request_that_is_too_large(t)
  t.use("token_limits", { per = "all", tokens_per_minute = 1000 })
  t.upstream("one/a", { text = "1" })
  t.equal(ask(t, { max_tokens = 2000 }).status, 429)
  t.equal(ask(t, { max_tokens = 100 }).status, 200)
end

function test.what_was_not_needed_comes_back(t)
  t.use("token_limits", { per = "all", tokens_per_day = 1000 })
  t.upstream("one/a", { text = "1", usage = { prompt_tokens = 10, completion_tokens = 90, total_tokens = 100 } })
  for _ = 1, 4 do t.equal(ask(t, { max_tokens = 500 }).status, 200) end
  local r = ask(t, { max_tokens = 500 })
  t.equal(r.status, 429, "400 of 1000 are used")
  t.equal(r.decision, "limited")
  t.ok(tonumber(r.headers["retry-after"]) > 0, "rates say when")
  t.equal(r.headers["x-should-retry"], nil)
  t.equal(r.headers["x-ratelimit-limit-tokens"], "1000")
  t.equal(r.headers["x-ratelimit-remaining-tokens"], "600", "nothing was reserved")
end

function test.the_caller_sees_its_limits(t)
  t.use("token_limits", { per = "all", requests_per_minute = 5, tokens_per_minute = 10000 })
  t.upstream("one/a", { text = "1", headers = { ["x-ratelimit-remaining-requests"] = "999" } })
  local r = ask(t, { max_tokens = 100 })
  t.equal(r.headers["x-ratelimit-limit-requests"], "5")
  t.equal(r.headers["x-ratelimit-remaining-requests"], "4", "its own, not those of weir's account")
  t.equal(r.headers["x-ratelimit-limit-tokens"], "10000")
end

function test.retries_are_one_request(t)
  t.use("token_limits", { per = "all", requests_per_minute = 2 })
  t.upstream("one/a", { status = 500 })
  t.upstream("two/b", { text = "hi" })
  t.config('model "both" { "one/a", "two/b" }')
  t.equal(ask(t, { model = "both" }).attempts, 2)
  t.equal(ask(t, { model = "both" }).status, 200)
  t.equal(ask(t, { model = "both" }).status, 429)
end

function test.of_what_serves(t)
  t.use("token_limits", { per = "provider", requests_per_minute = 1 })
  t.upstream("one/a", { status = 500 }, { text = "never" })
  t.upstream("two/b", { text = "hi" })
  t.config('model "both" { "one/a", "two/b" }')
  t.equal(ask(t, { model = "both" }).target, "two/b")
  local r = ask(t, { model = "both" })
  t.equal(r.status, 429, "a failed try was one of its requests")
  t.equal(r.decision, "limited")
end

function test.a_day_and_a_minute(t)
  t.use("token_limits", { per = "all", requests_per_minute = 2, requests_per_day = 3 })
  t.upstream("one/a", { text = "1" })
  t.equal(ask(t).status, 200)
  t.equal(ask(t).status, 200)
  t.equal(ask(t).status, 429)
  t.advance(62)
  t.equal(ask(t).status, 200)
  t.advance(62)
  local r = ask(t)
  t.ok(r.json.error.message:find("a day", 1, true), r.json.error.message)
end

return test
