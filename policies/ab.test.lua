local test = {}

local function split(t, options)
  options.targets = options.targets or { ["one/a"] = 1, ["two/b"] = 1 }
  t.use("ab", options)
  local many = {}
  for i = 1, 200 do many[i] = { text = "hi" } end
  t.upstream("one/a", table.unpack(many))
  t.upstream("two/b", table.unpack(many))
end

local function ask(t, session, model)
  return t.request {
    model = model or "one/a", messages = { { role = "user", content = "hello" } },
    headers = { ["x-weir-session"] = session },
  }
end

function test.a_session_keeps_its_arm(t)
  split(t, {})
  for i = 1, 10 do
    local first = ask(t, "s" .. i)
    t.equal(ask(t, "s" .. i).target, first.target)
    t.equal(first.notes.arm, first.target)
  end
end

function test.sessions_are_spread(t)
  split(t, {})
  local count = { ["one/a"] = 0, ["two/b"] = 0 }
  for i = 1, 100 do
    local target = ask(t, "session " .. i).target
    count[target] = count[target] + 1
  end
  t.ok(count["one/a"] > 25 and count["two/b"] > 25, "both arms get their part")
end

function test.requests_without_a_session_are_spread(t)
  split(t, {})
  local count = { ["one/a"] = 0, ["two/b"] = 0 }
  for _ = 1, 100 do
    local target = ask(t).target
    count[target] = count[target] + 1
  end
  t.ok(count["one/a"] > 25 and count["two/b"] > 25, "both arms get their part")
end

function test.a_weight_of_nothing_gets_nothing(t)
  split(t, { targets = { ["one/a"] = 0, ["two/b"] = 5 }, by = "random" })
  for _ = 1, 30 do t.equal(ask(t).target, "two/b") end
end

function test.other_models_are_left_alone(t)
  split(t, { targets = { ["two/b"] = 1 }, model = "two/b" })
  local r = ask(t, "s", "one/a")
  t.equal(r.target, "one/a")
  t.equal(r.notes.arm, nil)
end

return test
