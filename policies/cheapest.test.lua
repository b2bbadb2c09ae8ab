local test = {}

local function begin(t, options)
  t.use("cheapest", options)
  t.model("one/a", { price = { input = usd(3), output = usd(15) }, max_output = 1000 })
  t.model("two/b", { price = { input = usd(1), output = usd(5) }, max_output = 1000 })
  t.model("three/c", { price = { input = usd(0.1), output = usd(30) }, max_output = 1000 })
  t.upstream("one/a", { text = "a" })
  t.upstream("two/b", { text = "b" })
  t.upstream("three/c", { text = "c" })
  t.upstream("four/d", { text = "d" })
  t.config('model "any" { "one/a", "four/d", "three/c", "two/b" }')
end

local function ask(t, more)
  local request = { model = "any", messages = { { role = "user", content = "hello" } } }
  for k, v in pairs(more or {}) do request[k] = v end
  return t.request(request)
end

function test.the_cheapest_for_this_request(t)
  begin(t)
  t.equal(ask(t).target, "two/b")
  local long = { { role = "user", content = ("word "):rep(300) } }
  t.equal(ask(t, { max_tokens = 1, messages = long }).target, "three/c", "much in, little out")
end

function test.a_longer_limit_is_no_dearer(t)
  t.use("cheapest")
  t.model("one/a", { price = { input = usd(3), output = usd(15) }, max_output = 1000 })
  t.model("two/b", { price = { input = usd(1), output = usd(5) }, max_output = 100000 })
  t.upstream("one/a", { text = "a" })
  t.upstream("two/b", { text = "b" })
  t.config('model "any" { "one/a", "two/b" }')
  t.equal(ask(t).target, "two/b")
  t.equal(ask(t, { stream = true }).target, "two/b")
end

function test.a_tier_that_nobody_asked_for_is_no_dearer(t)
  t.use("cheapest")
  t.model("one/a", { price = { input = usd(3), output = usd(15) }, max_output = 1000 })
  t.model("two/b", { price = { input = usd(2), output = usd(10), priority = { input = usd(4), output = usd(20) } }, max_output = 1000 })
  t.upstream("one/a", { text = "a" })
  t.upstream("two/b", { text = "b" })
  t.config('model "any" { "one/a", "two/b" }')
  t.equal(ask(t).target, "two/b")
end

function test.the_next_cheapest_is_next(t)
  begin(t)
  t.upstream("two/b", { status = 500 })
  local r = ask(t)
  t.equal(r.target, "one/a")
  t.equal(r.notes.cheapest, "two/b")
end

function test.one_that_is_kept_off_is_left_for_last(t)
  begin(t)
  t.upstream("two/b", { status = 429, retry_after = 60 }, { text = "b" })
  t.equal(ask(t).target, "one/a")
  local r = ask(t)
  t.equal(r.target, "one/a")
  t.equal(#r.tried, 0, "it is not even tried")
  t.advance(61)
  t.equal(ask(t).target, "two/b")
end

function test.without_a_price_it_comes_last(t)
  begin(t)
  t.upstream("one/a", { status = 500 })
  t.upstream("two/b", { status = 500 })
  t.upstream("three/c", { status = 500 })
  t.equal(ask(t).target, "four/d")
end

function test.only_where_it_is_wanted(t)
  begin(t, { models = { "other" } })
  t.equal(ask(t).target, "one/a")
end

return test
