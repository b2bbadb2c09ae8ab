-- cheapest: of the targets that would be tried, those that are not being kept off, the cheapest for this request first, all taken to
-- answer at the same length, at their usual prices. The others stay behind them, in their order, so that something is tried in any case.
--
--   use "cheapest"
--   use "cheapest" { models = { "smart" } }             -- only where one of these was asked for
local options = weir.options { models = {} }

local chosen
for _, model in ipairs(options.models) do
  chosen = chosen or {}
  chosen[model] = true
end

local policy = { on_error = "pass" }

function policy.on_request(req)
  if chosen and not chosen[req.model] then return end
  local ranked, behind, length = {}, {}, math.huge
  for place, target in ipairs(req.targets) do
    local estimate = req:estimate_of(target)
    if estimate and estimate.likely and not estimate.avoided then
      ranked[#ranked + 1] = { target = target, output = estimate.output, cost = estimate.likely, place = place }
      length = math.min(length, estimate.output)
    else
      behind[#behind + 1] = target
    end
  end
  if #ranked == 0 or #ranked + #behind < 2 then return end
  for _, one in ipairs(ranked) do
    if one.output > length then one.cost = req:estimate_of(one.target, length).likely end
  end
  table.sort(ranked, function(a, b)
    if a.cost == b.cost then return a.place < b.place end
    return a.cost < b.cost
  end)
  local targets = {}
  for _, one in ipairs(ranked) do targets[#targets + 1] = one.target end
  for _, target in ipairs(behind) do targets[#targets + 1] = target end
  req:note("cheapest", targets[1])
  req.targets = targets
end

return policy
