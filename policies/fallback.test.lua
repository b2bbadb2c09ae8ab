local test = {}

local function ask(t) return t.request { model = "one/a", messages = { { role = "user", content = "hello" } } } end

function test.the_next_target_answers(t)
  t.use("fallback", { targets = { "two/b" } })
  t.upstream("one/a", { status = 503 })
  t.upstream("two/b", { text = "hi" })
  local r = ask(t)
  t.equal(r.status, 200)
  t.equal(r.text, "hi")
  t.equal(r.target, "two/b")
  t.equal(r.attempts, 2)
end

function test.what_was_asked_for_comes_first(t)
  t.use("fallback", { targets = { "two/b", "one/a" } })
  t.upstream("one/a", { text = "first" })
  t.upstream("two/b", { text = "second" })
  local r = ask(t)
  t.equal(r.target, "one/a")
  t.equal(r.attempts, 1)
end

function test.a_bad_request_goes_to_the_client(t)
  t.use("fallback", { targets = { "two/b" } })
  t.upstream("one/a", { status = 400, body = '{"error":{"message":"bad","type":"invalid_request_error"}}' })
  t.upstream("two/b", { text = "hi" })
  local r = ask(t)
  t.equal(r.status, 400)
  t.equal(r.attempts, 1)
end

function test.an_empty_answer_is_a_failure(t)
  t.use("fallback", { targets = { "two/b" } })
  t.upstream("one/a", { text = "" })
  t.upstream("two/b", { text = "hi" })
  t.equal(ask(t).target, "two/b")
end

function test.a_target_is_tried_again(t)
  t.use("fallback", { targets = { "two/b" }, retries = 2 })
  t.upstream("one/a", { status = 503 }, { fault = "timeout" }, { text = "at last" })
  t.upstream("two/b", { text = "not needed" })
  local r = ask(t)
  t.equal(r.text, "at last")
  t.equal(r.target, "one/a")
  t.equal(r.attempts, 3)
end

function test.a_long_pause_is_not_waited_for(t)
  t.use("fallback", { targets = { "two/b" }, retries = 3 })
  t.upstream("one/a", { status = 429, retry_after = 60 })
  t.upstream("two/b", { text = "hi" })
  local r = ask(t)
  t.equal(r.target, "two/b")
  t.equal(r.attempts, 2)
end

function test.only_the_reasons_in_on(t)
  t.use("fallback", { targets = { "two/b" }, on = { "timeout", 500 } })
  t.upstream("one/a", { status = 429 }, { status = 500 })
  t.upstream("two/b", { text = "hi" })
  t.equal(ask(t).status, 429)
  t.equal(ask(t).target, "two/b")
end

function test.a_spent_chain_tells_the_first_fault(t)
  t.use("fallback", { targets = { "two/b" } })
  t.upstream("one/a", { status = 429 })
  t.upstream("two/b", { fault = "connection" })
  local r = ask(t)
  t.equal(r.status, 429)
  t.equal(#r.tried, 2)
end

return test
