local test = {}

local function request(t, options, judge, more)
  options.model = "judge/small"
  t.use("judge", options)
  t.use("fallback", { targets = { "two/b" } })
  t.upstream("one/a", more and more.first or { text = "Forty two, perhaps." })
  t.upstream("two/b", { text = "Forty two." })
  t.upstream("judge/small", table.unpack(judge))
  return t.request {
    model = "one/a", stream = more and more.stream or false, messages = { { role = "user", content = "What is six times seven?" } },
  }
end

function test.a_good_answer_arrives(t)
  local r = request(t, {}, { { text = "9" } })
  t.equal(r.target, "one/a")
  t.equal(r.notes.judge, "9")
end

function test.a_low_score_goes_to_the_next(t)
  local r = request(t, {}, { { text = "2" }, { text = "Score: 8" } })
  t.equal(r.target, "two/b")
  t.equal(r.text, "Forty two.")
  t.equal(r.tried[1].fault, "invalid")
end

function test.all_rejected(t)
  local r = request(t, { least = 9.5 }, { { text = "9.4" } })
  t.equal(r.status, 502)
  t.equal(#r.tried, 2)
end

function test.a_late_judge_is_not_waited_for(t)
  local r = request(t, { seconds = 1 }, { { text = "0", delay = 5 } })
  t.equal(r.target, "one/a")
  t.equal(r.notes.judge, "timeout")
end

function test.unless_told_to_reject(t)
  local r = request(t, { seconds = 1, on_timeout = "reject" }, { { text = "9", delay = 5 }, { text = "9" } })
  t.equal(r.target, "two/b")
end

function test.a_judge_that_is_down(t)
  t.equal(request(t, {}, { { fault = "overloaded" } }).notes.judge, "overloaded")
end

function test.a_judge_that_chats(t)
  local r = request(t, {}, { { text = "I like it." } })
  t.equal(r.target, "one/a")
  t.equal(r.notes.judge, "no score")
end

function test.a_sample_of_none(t)
  local r = request(t, { sample = 0 }, { { text = "0" } })
  t.equal(r.target, "one/a")
  t.equal(r.notes.judge, nil)
end

local pieces = { stream = { "Forty ", "two, ", "I ", "would ", "say." } }

function test.the_start_of_a_stream(t)
  local r = request(t, { start = 8 }, { { text = "1" }, { text = "7" } }, { stream = true, first = pieces })
  t.equal(r.target, "two/b")
  t.equal(r.text, "Forty two.")
end

function test.all_of_a_stream(t)
  local r = request(t, { start = 0 }, { { text = "7" } }, { stream = true, first = pieces })
  t.equal(r.text, "Forty two, I would say.")
  t.equal(r.notes.judge, "7")
end

return test
