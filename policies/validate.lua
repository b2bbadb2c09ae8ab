-- validate: an answer that is no good counts as failed, and the next target is tried.
--
--   use "validate" { min_chars = 1, json = "when asked", refusals = true }
--
-- A streamed answer is held until it is known to be good: a few words for its length and for a refusal, all of it for
-- JSON. Heartbeats keep the client there meanwhile.
local options = weir.options {
  min_chars = 1,                                       -- fewer characters, white space around them left out, are too few
  json = "when asked",                                 -- "when asked", "always" or "never": the text must be JSON
  refusals = false,                                    -- an answer that begins with one of `phrases` is none
  phrases = {
    "I can't assist", "I cannot assist", "I can't help with", "I cannot help with", "I'm unable to", "I am unable to",
    "I won't be able to", "I'm sorry, but I can", "I’m sorry, but I can", "I apologize, but I can", "Sorry, but I can",
    "Sorry, I can", "I can’t assist", "I can’t help with",
  },
  wait = 20,                                           -- seconds that a stream's first words are waited for
}

if options.json ~= "when asked" and options.json ~= "always" and options.json ~= "never" then
  error("json is \"when asked\", \"always\" or \"never\"", 0)
end
local head = math.max(options.min_chars * 4, 1)        -- bytes that say whether the beginning is good
if options.refusals then
  for _, phrase in ipairs(options.phrases) do head = math.max(head, #phrase + 8) end
end

local function refusal(text)
  if not options.refusals then return end
  text = text:lower()
  for _, phrase in ipairs(options.phrases) do
    if text:sub(1, #phrase) == phrase:lower() then return phrase end
  end
end

local policy = { on_error = "pass" }

function policy.on_response(req, response)
  if #response.tools > 0 then return end               -- a call is an answer
  local text = response.text:match("^%s*(.*)$")
  local phrase = refusal(text)
  if phrase then return weir.reject("a refusal: " .. phrase) end
  local json = options.json == "always" or options.json == "when asked" and req.wants_json
  if not response.done then
    if json then return weir.hold { until_done = true } end
    if #text < head then return weir.hold { bytes = #response.text + #response.thinking + head - #text, seconds = options.wait } end
    return
  end
  text = text:match("^(.-)%s*$")
  if (utf8.len(text) or #text) < options.min_chars then return weir.reject("too short") end
  if json then
    local value, why = weir.json.decode(text)
    if value == nil then return weir.reject("no JSON: " .. why) end
  end
end

return policy
