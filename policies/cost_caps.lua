-- cost_caps: what may be spent, by whom, in which time. A request is let through only when the most it can cost is still there; what it
-- did cost is counted when it ends, whatever way it ends.
--
--   use "cost_caps" { per = "key", day = usd(20), session = usd(2) }
--   use "cost_caps" { per = "team", month = usd(500), soft = { 0.8 }, downgrade = "small", as = "teams" }
--
-- per: "key", "team", "user", "session", "all", or "tag:NAME". Requests that carry no such thing share one budget. "model" and
-- "provider" are those that serve: each attempt counts there alone, and where nothing is left the next target is tried.
-- Use it several times, with `as`, for several kinds of scope at once.
local none = usd(0)
local options = weir.options {
  per = "key",
  request = none, session = none, hour = none, day = none, month = none, total = none,
  zone = "UTC",                                        -- whose midnight ends a day and a month
  soft = {},                                           -- shares of a cap at which something is done: { 0.5, 0.8 }
  downgrade = "",                                      -- from the first mark on: this model or alias instead of the one asked for
  webhook = "",                                        -- an address that gets a JSON POST at each mark, once an hour
}

local budgets, windows = {}, {}
for _, window in ipairs { "request", "session", "hour", "day", "month", "total" } do
  if options[window] > none then
    budgets[#budgets + 1] = weir.budget { window = window, cap = options[window], soft = options.soft, zone = options.zone }
    windows[#budgets] = window
  end
end
if #budgets == 0 then error("no cap is given: request, session, hour, day, month or total", 0) end

local per = options.per
local tag = per:match("^tag:(.+)$")
local served = per == "model" or per == "provider"
local known = { key = true, team = true, user = true, session = true, all = true }
if not tag and not served and not known[per] then
  error('per is "key", "team", "user", "session", "model", "provider", "all" or "tag:NAME"', 0)
end
if served and options.downgrade ~= "" then error("downgrade chooses before targets are tried: not with per = \"" .. per .. "\"", 0) end

local told = weir.shared("cost_caps told", { entries = 10000 })

local function scope_of(req)
  if per == "all" then return "" end
  if tag then return req.tags[tag] or "" end
  if per == "key" then return req.key and req.key.name or "" end
  if per == "team" then return req.key and req.key.team or "" end
  return req[per] or ""
end

-- Once an hour for each scope, window and mark.
local function tell(scope, window, mark)
  if told:add(scope .. "\0" .. window .. "\0" .. mark, 1, hours(1)) > 1 then return end
  weir.log.warn("a budget of '" .. scope .. "' has passed " .. mark .. " of its cap for a " .. window)
  if options.webhook ~= "" then
    weir.fetch { url = options.webhook, method = "POST", json = { per = per, scope = scope, window = window, mark = mark }, timeout = 2 }
  end
end

local function passed(req, scope, window, mark)
  tell(scope, window, mark)
  req:note("cost_caps", mark .. " of the " .. window .. "'s cap")
  if options.downgrade ~= "" and req.model ~= options.downgrade then req.targets = { options.downgrade } end
end

local function charge(req, scope)
  for i = 1, #budgets do
    local window, of = windows[i], scope
    if window == "session" and per ~= "session" then of = req.session and scope .. "/" .. req.session end
    if of then
      local refusal, mark = budgets[i]:charge(req, of)
      if refusal then return refusal end
      if mark then passed(req, of, window, mark) end
    end
  end
end

local policy = { on_error = "deny" }

if served then
  function policy.on_attempt(req, attempt) return charge(req, per == "model" and attempt.target or attempt.provider) end
else
  function policy.on_request(req) return charge(req, scope_of(req)) end
end

return policy
