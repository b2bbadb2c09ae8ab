-- ab: splits requests between targets by weight and notes which one each got.
--
--   use "ab" { model = "smart", targets = { ["openai/gpt-5"] = 90, ["lab/small"] = 10 }, by = "session" }
--
-- by = "session" or "user": one session, or user, always gets the same target; requests that carry none are
-- split at random. by = "random": every request anew. The note lands in the log and in traces.
local options = weir.options {
  targets = weir.required "table",                     -- ["provider/model"] = weight
  model = "",                                          -- only requests for this model; "" is every one
  by = "session",
  note = "arm",                                        -- name of the note; splits with other names are independent
}

local total = 0
for target, weight in pairs(options.targets) do
  if type(target) ~= "string" or type(weight) ~= "number" or weight < 0 then
    error("targets: each is [\"provider/model\"] = weight", 0)
  end
  total = total + weight
end
if total <= 0 then error("targets: all weights are 0", 0) end
if options.by ~= "session" and options.by ~= "user" and options.by ~= "random" then
  error("by is \"session\", \"user\" or \"random\"", 0)
end

-- From 0 to 1, the same for the same text (FNV-1a).
local function place(text)
  local h = 0x811c9dc5
  for i = 1, #text do h = ((h ~ text:byte(i)) * 0x01000193) & 0xffffffff end
  h = ((h ~ h >> 16) * 0x45d9f3b) & 0xffffffff         -- the last bytes alone would not reach the high bits
  return (h ~ h >> 16) / 0x100000000
end

local policy = { on_error = "pass" }

function policy.on_request(req)
  if options.model ~= "" and req.model ~= options.model then return end
  local who = options.by ~= "random" and req[options.by]
  local left = (who and place(options.note .. "\0" .. who) or weir.random()) * total
  local arm
  for target, weight in pairs(options.targets) do
    if weight > 0 then arm = target end
    left = left - weight
    if left < 0 then break end
  end
  req:note(options.note, arm)
  return weir.route { arm }
end

return policy
