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

return test
