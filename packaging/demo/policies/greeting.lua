-- A policy in a few lines: it refuses some prompts and leaves a note in the access log for the others.
local options = weir.options { needles = { "secret password" } }
local forbidden = weir.matcher(options.needles)
local policy = { on_error = "deny" }

function policy.on_request(req)
  local needle = forbidden:find(req:text("user"))
  if needle then
    return weir.deny(403, "this prompt asks for what it may not have: " .. needle)
  end
  req:note("greeting", "hello from a policy")
end

return policy
