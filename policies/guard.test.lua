local test = {}

local function ask(t, options, words, content, stream)
  options.needles = { "the secret", "AKIA" }
  t.use("guard", options)
  t.upstream("one/a", { stream = words })
  t.upstream("two/b", { text = "hi" })
  return t.request { model = "one/a", stream = stream ~= false, messages = { { role = "user", content = content or "hello" } } }
end

function test.a_request_is_refused(t)
  local r = ask(t, {}, { "hi" }, "my key is AKIA1234")
  t.equal(r.status, 403)
  t.equal(r.attempts, 0)
end

function test.other_requests_pass(t)
  t.equal(ask(t, {}, { "hi ", "there" }).text, "hi there")
end

function test.requests_may_be_left_alone(t)
  t.equal(ask(t, { requests = false }, { "hi" }, "AKIA").text, "hi")
end

function test.no_piece_of_a_needle_goes_out(t)
  local r = ask(t, {}, { "this is ", "t", "he s", "ecr", "et", " is it" })
  t.equal(r.finish, "content_filter")
  t.ok(not r.text:find("the", 1, true), r.text)
  t.ok(("this is "):find(r.text, 1, true) == 1, r.text)
end

function test.a_stop_may_be_an_error(t)
  t.ok(ask(t, { ends = "error" }, { "AKIA" }).error)
end

function test.what_only_begins_like_one_arrives(t)
  t.equal(ask(t, {}, { "th", "e sec", "ond", " the", " s" }).text, "the second the s")
end

function test.a_whole_answer_is_rejected(t)
  local r = ask(t, {}, { "it is the ", "secret" }, nil, false)
  t.equal(r.status, 502)
  t.equal(r.tried[1].fault, "invalid")
end

function test.answers_may_be_left_alone(t)
  t.equal(ask(t, { answers = false }, { "the ", "secret" }).text, "the secret")
end

return test
