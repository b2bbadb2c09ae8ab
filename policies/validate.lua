-- validate: an answer that is no good counts as failed, and the next target is tried.
--
--   use "validate" { min_chars = 1, json = "when asked", refusals = true }
--
-- A streamed answer is held until it is known to be good: a few words for its length and for a refusal, all of it for
-- JSON and for patterns. Heartbeats keep the client there meanwhile.
local fits = require "json_schema"

local options = weir.options {
  min_chars = 1,                                       -- fewer characters, white space around them left out, are too few
  json = "when asked",                                 -- "when asked", "always" or "never": the text must be JSON, and fit
                                                       -- the schema that the request brings
  schema = {},                                         -- a schema that each answer must fit, whatever the request says
  refusals = false,                                    -- an answer that begins with one of `phrases` is none
  phrases = {
    "I can't assist", "I cannot assist", "I can't help with", "I cannot help with", "I'm unable to", "I am unable to",
    "I won't be able to", "I'm sorry, but I can", "I’m sorry, but I can", "I apologize, but I can", "Sorry, but I can",
    "Sorry, I can", "I can’t assist", "I can’t help with",
  },
  patterns = {},                                       -- Lua patterns: an answer in which one is found is none
  wait = 20,                                           -- seconds that a stream's first words are waited for
}

if options.json ~= "when asked" and options.json ~= "always" and options.json ~= "never" then
  error("json is \"when asked\", \"always\" or \"never\"", 0)
end
for _, pattern in ipairs(options.patterns) do (""):find(pattern) end     -- a mistake in one is told now
local own_schema = false
for _ in pairs(options.schema) do own_schema = true end
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

-- `wait` is for each try: when it is over, what is there goes on.
local function hold(req, response, text, all)
  local state = req.state
  if state.held ~= req.attempts then state.held, state.due = req.attempts, weir.now() + options.wait end
  if all then return weir.hold { until_done = true } end
  local left = state.due - weir.now()
  if #text < head and left > 0 then
    return weir.hold { bytes = #response.text + #response.thinking + head - #text, seconds = left }
  end
end

local function wrong_json(req, text)
  local value, why = weir.json.decode(text)
  if value == nil then return "no JSON: " .. why end
  local schema = options.json ~= "never" and req.json_schema
  why = own_schema and fits(value, options.schema) or schema and fits(value, schema)
  return why and "not of the schema: " .. why
end

local policy = { on_error = "pass" }

function policy.on_response(req, response)
  if #response.tools > 0 then return end               -- a call is an answer
  local text = response.text:match("^%s*(.*)$")
  local phrase = refusal(text)
  if phrase then return weir.reject("a refusal: " .. phrase) end
  local json = own_schema or options.json == "always" or options.json == "when asked" and req.wants_json
  if not response.done then return hold(req, response, text, json or #options.patterns > 0) end
  text = text:match("^(.-)%s*$")
  if (utf8.len(text) or #text) < options.min_chars then return weir.reject("too short") end
  for _, pattern in ipairs(options.patterns) do
    if text:find(pattern) then return weir.reject("it matches " .. pattern) end
  end
  local why = json and wrong_json(req, text)
  if why then return weir.reject(why) end
end

return policy
