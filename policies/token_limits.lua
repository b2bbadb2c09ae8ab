-- token_limits: how much may be asked in a minute, in a day and at once, by whom. Tokens are counted before a request is sent by the
-- most it can need, and put right when its usage is known.
--
--   use "token_limits" { per = "key", requests_per_minute = 60, tokens_per_minute = 100000, concurrent = 8 }
--
-- per: "key", "team", "user", "session", "ip", "all", or "tag:NAME". "model" and "provider" are those that serve: each attempt counts
-- there alone, and where nothing is left the next target is tried. 0 is no limit.
local options = weir.options {
  per = "key",
  requests_per_minute = 0, tokens_per_minute = 0,
  requests_per_day = 0, tokens_per_day = 0,
  concurrent = 0,
  zone = "UTC",
}

local limits = {}
local function add(window, requests, tokens, concurrent)
  local limit = { per = window, zone = options.zone }
  if requests > 0 then limit.requests = requests end
  if tokens > 0 then limit.tokens = tokens end
  if concurrent > 0 then limit.concurrent = concurrent end
  if requests > 0 or tokens > 0 or concurrent > 0 then limits[#limits + 1] = weir.limit(limit) end
end
add("minute", options.requests_per_minute, options.tokens_per_minute, options.concurrent)
add("day", options.requests_per_day, options.tokens_per_day, 0)
if #limits == 0 then error("no limit is given: requests_per_minute, tokens_per_minute, requests_per_day, tokens_per_day or concurrent", 0) end

local per = options.per
local tag = per:match("^tag:(.+)$")
local served = per == "model" or per == "provider"
local known = { key = true, team = true, user = true, session = true, ip = true, all = true }
if not tag and not served and not known[per] then
  error('per is "key", "team", "user", "session", "model", "provider", "ip", "all" or "tag:NAME"', 0)
end

local function scope_of(req)
  if per == "all" then return "" end
  if tag then return req.tags[tag] or "" end
  if per == "key" then return req.key and req.key.name or "" end
  if per == "team" then return req.key and req.key.team or "" end
  return req[per] or ""
end

local function take(req, scope)
  for i = 1, #limits do
    local refusal = limits[i]:take(req, scope)
    if refusal then return refusal end
  end
end

local policy = { on_error = "deny" }

if served then
  function policy.on_attempt(req, attempt) return take(req, per == "model" and attempt.target or attempt.provider) end
else
  function policy.on_request(req) return take(req, scope_of(req)) end
end

return policy
