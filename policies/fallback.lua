-- fallback: when what was asked for fails, try these instead.
--
--   use "fallback" { targets = { "lab/small", "openai/gpt-5-mini" }, on = { "rate_limited", 503 }, retries = 1 }
--
-- What the request asks for stays first, the targets come after it. A try that failed for a reason in `on`
-- is repeated at the same target up to `retries` times, then the next target is tried; any other failure
-- goes to the client at once.
local options = weir.options {
  targets = {},                                        -- "provider/model", tried after what was asked for
  on = { "rate_limited", "overloaded", "timeout", "connection", "protocol", "tls", "empty", "invalid" },
  retries = 0,                                         -- more tries of one target
  backoff = 0.25,                                      -- seconds before the first of them; doubles each time
}
local LONGEST_WAIT = 10                                -- a provider that wants a longer pause is left for the next one

local faults = {}
for word in ("auth quota rate_limited overloaded context_too_long content_filtered refused bad_request not_found "
    .. "timeout connection protocol tls empty invalid"):gmatch "%S+" do
  faults[word] = true
end
local goes_on = {}
for _, reason in ipairs(options.on) do
  if not faults[reason] and type(reason) ~= "number" then
    error(("on: '%s' is neither a fault word nor a status"):format(tostring(reason)), 0)
  end
  goes_on[reason] = true
end

local policy = { on_error = "pass" }

function policy.on_request(req)
  local chain, seen = {}, {}
  local asked = req.targets
  if #asked == 0 then return end                       -- an unknown model: weir says so itself
  for _, list in ipairs { asked, options.targets } do
    for _, target in ipairs(list) do
      if not seen[target] then chain[#chain + 1] = target end
      seen[target] = true
    end
  end
  return weir.route(chain)
end

function policy.on_failure(req, attempt, fault)
  if not (goes_on[fault.kind] or goes_on[fault.status]) then return weir.fail(fault.kind) end
  local tries = req.state[attempt.target] or 0
  local pause = options.backoff * 2 ^ tries * (0.5 + weir.random() / 2)
  local wait = math.max(pause, fault.retry_after or 0)
  if tries >= options.retries or wait > LONGEST_WAIT or wait >= req.remaining then return weir.next() end
  req.state[attempt.target] = tries + 1
  return weir.retry { after = wait }
end

return policy
