local test = {}

local function ask(t, options, first, more)
  t.use("validate", options)
  t.use("fallback", { targets = { "two/b" } })
  t.upstream("one/a", first)
  t.upstream("two/b", { stream = { "{\"a\"", ": 1}" } })
  local request = { model = "one/a", stream = true, messages = { { role = "user", content = "hello" } } }
  for k, v in pairs(more or {}) do request[k] = v end
  return t.request(request)
end

function test.a_good_answer_arrives(t)
  local r = ask(t, {}, { stream = { "All ", "is ", "well." } })
  t.equal(r.text, "All is well.")
  t.equal(r.target, "one/a")
end

function test.space_is_no_answer(t)
  t.equal(ask(t, {}, { stream = { " ", "\n", " " } }).target, "two/b")
end

function test.space_is_no_whole_answer(t)
  t.equal(ask(t, {}, { stream = { " ", "\n", " " } }, { stream = false }).target, "two/b")
end

function test.too_short(t)
  t.equal(ask(t, { min_chars = 6 }, { stream = { "Yes", "." } }).target, "two/b")
end

function test.short_enough(t)
  local r = ask(t, { min_chars = 4 }, { stream = { "éé", "é." } })
  t.equal(r.target, "one/a")
  t.equal(r.text, "ééé.")
end

function test.a_refusal_goes_elsewhere(t)
  t.equal(ask(t, { refusals = true }, { stream = { "I'm sorry, ", "but I ", "can't do that." } }).target, "two/b")
end

function test.an_apology_is_no_refusal(t)
  t.equal(ask(t, { refusals = true }, { stream = { "I'm sorry ", "to hear that. ", "Let us see what can be done." } }).target, "one/a")
end

function test.refusals_pass_unless_told(t)
  t.equal(ask(t, {}, { stream = { "I can't help with ", "that." } }).target, "one/a")
end

function test.json_when_asked(t)
  local asked = { response_format = { type = "json_object" } }
  local r = ask(t, {}, { stream = { "Here you are: ", "{}" } }, asked)
  t.equal(r.target, "two/b")
  t.equal(r.text, "{\"a\": 1}")
end

function test.json_when_not_asked(t)
  t.equal(ask(t, {}, { stream = { "Here you are: ", "{}" } }).target, "one/a")
end

function test.json_of_a_whole_answer(t)
  t.equal(ask(t, { json = "always" }, { text = "no" }, { stream = false }).target, "two/b")
end

local wish = { type = "json_schema", json_schema = { name = "x", schema = { type = "object", required = { "a" } } } }

function test.the_schema_of_the_request(t)
  local r = ask(t, {}, { stream = { "{\"b\"", ": 2}" } }, { response_format = wish })
  t.equal(r.target, "two/b")
  t.equal(r.tried[1].fault, "invalid")
end

function test.what_fits_it_arrives(t)
  t.equal(ask(t, {}, { stream = { " {\"a\"", ": 2}\n" } }, { response_format = wish }).target, "one/a")
end

function test.the_schema_of_a_whole_answer(t)
  t.equal(ask(t, {}, { text = "[]" }, { response_format = wish, stream = false }).target, "two/b")
end

function test.a_schema_of_the_option(t)
  t.equal(ask(t, { schema = { type = "object", required = { "a" } } }, { text = "{}" }, { stream = false }).target, "two/b")
end

function test.never_json(t)
  t.equal(ask(t, { json = "never" }, { text = "Words." }, { stream = false, response_format = wish }).target, "one/a")
end

function test.a_pattern(t)
  t.equal(ask(t, { patterns = { "as an? AI" } }, { stream = { "Well, as ", "an AI I ", "must say" } }).target, "two/b")
end

function test.no_pattern(t)
  t.equal(ask(t, { patterns = { "as an? AI" } }, { stream = { "Well, as ", "a judge I ", "must say" } }).target, "one/a")
end

return test
