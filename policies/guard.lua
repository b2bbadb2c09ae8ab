-- guard: refuses requests, and stops answers, that hold one of these texts.
--
--   use "guard" { needles = { "BEGIN PRIVATE KEY", "AKIA", "xoxb-" } }
--
-- Texts are compared byte for byte. A streamed answer is held back by the length of the longest needle, so that none
-- of one has gone out when it is known. A whole answer that holds one counts as failed: the next target is tried.
local options = weir.options {
  needles = weir.required "table",
  requests = true,                                     -- look at what is asked
  answers = true,                                      -- look at what is answered, tool calls included
  status = 403,                                        -- of a refused request
  ends = "filter",                                     -- how a stopped stream ends: "filter", "length" or "error"
}

if #options.needles == 0 then error("needles: the list is empty", 0) end
if options.ends ~= "filter" and options.ends ~= "length" and options.ends ~= "error" then
  error("ends is \"filter\", \"length\" or \"error\"", 0)
end
local longest = 0
for _, needle in ipairs(options.needles) do longest = math.max(longest, #needle) end
local matcher = weir.matcher(options.needles)
local found = weir.counter "guard_found"

local policy = { on_error = "deny" }

if options.requests then
  function policy.on_request(req)
    if not matcher:find(req:text()) then return end
    found:add(1)
    return weir.deny(options.status, "the request holds a text that may not be sent", { code = "guard" })
  end
end

if options.answers then
  local function holds(response)
    if matcher:find(response.text) or matcher:find(response.thinking) then return true end
    for _, tool in ipairs(response.tools) do
      if matcher:find(tool.arguments or "") then return true end
    end
  end

  function policy.on_response(req, response)
    if req.stream or not holds(response) then return end
    found:add(1)
    return weir.reject("the answer holds a text that may not be sent")
  end

  function policy.on_chunk(req, chunk)
    local text = chunk.text or chunk.tool and chunk.tool.arguments
    if text and matcher:feed(req, text) then
      found:add(1)
      return weir.stop("the answer holds a text that may not be sent", options.ends)
    end
    if longest > 1 and not req.state.held then
      req.state.held = true
      return weir.hold { bytes = longest - 1 }
    end
  end
end

return policy
