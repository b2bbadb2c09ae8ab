local test = {}

local function ask(t, options, words, content, stream)
  options.needles = { "Nightjar", "Wren" }
  t.use("redact", options)
  t.upstream("one/a", { stream = words })
  return t.request { model = "one/a", stream = stream ~= false, messages = { { role = "user", content = content or "hello" } } }
end

function test.streams(t)
  t.equal(ask(t, {}, { "It is ", "Nightjar", " and Wren, not wren." }).text, "It is [redacted] and [redacted], not wren.")
end

function test.needles_in_pieces(t)
  local words = {}
  for c in ("Wren. A Night, a Nightjar, NightjarWren Wre"):gmatch "." do words[#words + 1] = c end
  t.equal(ask(t, { with = "" }, words).text, ". A Night, a ,  Wre")
end

function test.one_that_begins_behind_another(t)
  t.equal(ask(t, { with = "x" }, { "NightjarNight", "jar", "WrenWr", "enWr", "e" }).text, "xxxxWre")
end

function test.whole_answers(t)
  t.equal(ask(t, {}, { "It is ", "Nightjar", "." }, nil, false).text, "It is [redacted].")
end

function test.untouched_answers_stay(t)
  t.equal(ask(t, {}, { "It ", "is." }).text, "It is.")
end

function test.answers_may_be_left_alone(t)
  t.equal(ask(t, { answers = false }, { "Wren" }).text, "Wren")
end

function test.requests(t)
  t.use("redact", { needles = { "Nightjar" } })
  t.upstream("one/a", { text = "hi" })
  local r = t.request { model = "one/a", messages = { { role = "user", content = { { type = "text", text = "about Nightjar" } } } } }
  t.equal(r.text, "hi")
end

return test
