local test = {}

-- The policy validate asks it; one/a answers, two/b is there for what does not fit.
local function fits(t, answer, schema, format)
  t.use("validate")
  t.use("fallback", { targets = { "two/b" } })
  t.upstream("one/a", { text = answer })
  t.upstream("two/b", { text = "spare" })
  local r = t.request {
    model = "one/a", messages = { { role = "user", content = "hello" } },
    response_format = format or { type = "json_schema", json_schema = { name = "x", schema = schema } },
  }
  return r.target == "one/a"
end

-- Each way a scene of its own.
local cases = {
  type_object = { { type = "object" }, { "{}", "{\"a\": 1}" }, { "[]", "[1]", "1", "\"a\"", "null", "true" } },
  type_array = { { type = "array" }, { "[]", "[1, null]" }, { "{}", "\"\"" } },
  type_integer = { { type = "integer" }, { "1", "-3", "2.0", "1e3" }, { "1.5", "\"1\"", "true" } },
  type_number = { { type = "number" }, { "1.5", "0" }, { "\"1\"", "null" } },
  type_boolean = { { type = "boolean" }, { "true", "false" }, { "0", "null" } },
  type_list = { { type = { "string", "null" } }, { "\"a\"", "null" }, { "1", "false" } },
  required = { { type = "object", required = { "a", "b" } }, { "{\"a\": null, \"b\": 0}" }, { "{\"a\": 1}", "{}" } },
  properties = {
    { type = "object", properties = { a = { type = "string" }, b = { type = "object", properties = { c = { type = "integer" } } } } },
    { "{\"a\": \"x\", \"b\": {\"c\": 1}, \"d\": []}", "{}" }, { "{\"a\": 1}", "{\"b\": {\"c\": \"1\"}}" },
  },
  additional = { { type = "object", properties = { a = {} }, additionalProperties = false }, { "{}", "{\"a\": 1}" }, { "{\"b\": 1}" } },
  additional_of_a_type = { { additionalProperties = { type = "integer" } }, { "{\"a\": 1}" }, { "{\"a\": \"1\"}" } },
  enum = { { enum = { "red", 3, { a = { 1 } } } }, { "\"red\"", "3", "3.0", "{\"a\": [1]}" }, { "\"blue\"", "{\"a\": [2]}", "{\"a\": [1], \"b\": 1}", "[]" } },
  const = { { const = { 1, "x" } }, { "[1, \"x\"]" }, { "[1]", "[\"x\", 1]", "{}" } },
  items = { { type = "array", items = { type = "integer" } }, { "[]", "[1, 2]" }, { "[1, \"2\"]", "[null]" } },
  item_count = { { minItems = 1, maxItems = 2 }, { "[1]", "[1, 2]", "\"no array\"" }, { "[]", "[1, 2, 3]" } },
  length = { { minLength = 2, maxLength = 3 }, { "\"éé\"", "\"abc\"", "7" }, { "\"é\"", "\"\"", "\"abcd\"" } },
  range = { { minimum = 0, maximum = 1 }, { "0", "1", "0.5", "\"x\"" }, { "-0.1", "1.01" } },
  any_of = { { anyOf = { { type = "string" }, { type = "integer", minimum = 5 } } }, { "\"a\"", "5" }, { "4", "[]" } },
  reference = {
    { properties = { list = { ["$ref"] = "#/$defs/node" } },
      ["$defs"] = { node = { type = "object", required = { "v" }, properties = { next = { anyOf = { { ["$ref"] = "#/$defs/node" }, { type = "null" } } } } } } },
    { "{\"list\": {\"v\": 1, \"next\": {\"v\": 2, \"next\": null}}}" }, { "{\"list\": {\"v\": 1, \"next\": {}}}", "{\"list\": []}" },
  },
  reference_to_itself = { { ["$ref"] = "#" }, {}, { "1" } },
  unknown_words_pass = { { format = "date", pattern = "^a", ["$ref"] = "https://x.example/y" }, { "\"b\"" }, {} },
}

for name, case in pairs(cases) do
  for word, list in pairs { fits = case[2], fails = case[3] } do
    for i, answer in ipairs(list) do
      test[name .. "_" .. word .. "_" .. i] = function(t) t.equal(fits(t, answer, case[1]), word == "fits", answer) end
    end
  end
end

function test.deep_values_end(t)
  local deep = { anyOf = { { type = "integer" }, { type = "array", items = { ["$ref"] = "#" } } } }
  t.equal(fits(t, ("["):rep(20) .. "1" .. ("]"):rep(20), deep), true)
end

function test.too_deep_values(t)
  local deep = { anyOf = { { type = "integer" }, { type = "array", items = { ["$ref"] = "#" } } } }
  t.equal(fits(t, ("["):rep(60) .. "1" .. ("]"):rep(60), deep), false)
end

function test.a_schema_only_of_its_type(t)
  t.equal(fits(t, "{}", nil, { type = "json_object", json_schema = { schema = { required = { "a" } } } }), true)
end

return test
