-- What a hook on every chunk costs by itself.
local policy = { on_error = "deny" }

function policy.on_chunk(req, chunk)
end

return policy
