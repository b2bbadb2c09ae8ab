-- What the nginx beside it does in Lua: look at the model, choose where it goes, count the tokens of the answer.
local chains = { mock = { "mock/mock" }, other = { "mock/other" } }
local spent = weir.counter "bench_tokens"
local policy = { on_error = "deny" }

function policy.on_request(req)
  local chain = chains[req.model]
  if not chain then return weir.deny(404, "no such model") end
  return weir.route(chain)
end

function policy.on_done(req, usage)
  spent:add(usage.output or 0)
end

return policy
