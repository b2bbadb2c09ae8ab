-- redact: puts another text in the place of these, in requests and in answers.
--
--   use "redact" { needles = { "Project Nightjar", "10.2.3.4" }, with = "[redacted]" }
--
-- Texts are compared byte for byte. In requests the messages are changed, the system's too; where that is not enough the
-- request is refused. Streams are held back by the length of the longest needle. Tool calls are left as they
-- are: use "guard" to stop them.
local options = weir.options {
  needles = weir.required "table",
  with = "[redacted]",
  requests = true,
  answers = true,
}

if #options.needles == 0 then error("needles: the list is empty", 0) end
local longest = 0
for _, needle in ipairs(options.needles) do longest = math.max(longest, #needle) end
local matcher = weir.matcher(options.needles)

-- All needles of a text; `at` is where the first one begins, when it is known already.
local function clean(text, needle, at)
  local parts, from = {}, 1
  if not needle then needle, at = matcher:find(text) end
  while needle do
    parts[#parts + 1] = text:sub(from, math.max(from, at) - 1)
    parts[#parts + 1] = options.with
    from = at + #needle
    needle, at = matcher:find(text:sub(from))
    if needle then at = at + from - 1 end
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

-- Every text in the messages, but not the words of their form.
local form = { type = true, role = true, id = true, name = true, call_id = true, tool_call_id = true, tool_use_id = true }
local function clean_all(value, key)
  if type(value) == "string" then return form[key] and value or clean(value) end
  if type(value) ~= "table" then return value end
  for k, v in pairs(value) do value[k] = clean_all(v, k) end
  return value
end

local policy = { on_error = "deny" }

if options.requests then
  function policy.on_request(req)
    if not matcher:find(req:text()) then return end
    req.messages = clean_all(req.messages)
    if matcher:find(req:text()) then
      return weir.deny(400, "the request holds a text that may not be sent, and not in its messages", { code = "redact" })
    end
  end
end

if options.answers then
  function policy.on_response(req, response)
    if req.stream or not matcher:find(response.text) then return end
    if #response.tools > 0 then return weir.reject("a text that may not be sent, beside tool calls") end
    return weir.replace(clean(response.text))
  end

  function policy.on_chunk(req, chunk)
    local text = chunk.text
    if not text then return end
    local needle, at = matcher:feed(req, text)
    if needle then
      return weir.replace(clean(text, needle, at), { back = math.max(0, 1 - at), bytes = longest - 1 })
    end
    if longest > 1 and not req.state.held then
      req.state.held = true
      return weir.hold { bytes = longest - 1 }
    end
  end
end

return policy
