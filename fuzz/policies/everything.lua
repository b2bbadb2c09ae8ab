-- All six hooks, each doing a little, for the fuzz target of the whole request path.
local words = weir.matcher { "secret", "weir" }
local policy = { on_error = "deny" }

local function ask(req, model)
  if not req.headers["x-ask"] then return end
  local r, fault = weir.ask { model = model, messages = { { role = "user", content = "?" } }, timeout = 2 }
  req:note("asked", r and r.text .. #r.thinking .. #r.tools .. (r.finish or "") or fault.kind .. (fault.code or ""))
end

function policy.on_request(req)
  if words:find(req:text("user")) then req:note("word", "seen") end
  if req.headers["x-answer"] then return weir.answer("from the policy") end
  if req.headers["x-wait"] then weir.sleep(0.5) end
  if req.headers["x-fetch"] then
    local r, why = weir.fetch { url = "http://judge.internal/score", json = { text = req.model }, timeout = 1 }
    req:note("judge", r and tostring(r.status) or why)
  end
  ask(req, "m/j")
  if req.headers["x-cap"] then req.max_tokens = 7 end
end

function policy.on_attempt(req, attempt)
  attempt.headers["x-attempt"] = tostring(attempt.number)
end

function policy.on_response(req, response)
  ask(req, "chain")
  if response.text == "bad" then return weir.reject("bad text") end
  if req.headers["x-start"] and not response.done then
    return weir.hold { tokens = 2, bytes = 20, seconds = 1, until_done = req.headers["x-start"] == "done" }
  end
  req:note("tools", #response.tools)
end

function policy.on_chunk(req, chunk)
  if chunk.text == "drop" then return weir.drop() end
  if chunk.text and words:feed(req, chunk.text) then return weir.stop("a word", "filter") end
  if chunk.text == "a" then return weir.replace("b\"\n") end
  if req.headers["x-hold"] then
    if chunk.text == "c" then return weir.replace("d", { back = 3, bytes = 5 }) end
    return weir.hold { bytes = 12, seconds = req.headers["x-hold"] == "time" and 0.5 or nil }
  end
end

function policy.on_failure(req, attempt, fault)
  if fault.kind == "timeout" and attempt.number < 2 then return weir.retry { after = 0.1 } end
end

function policy.on_done(req, usage)
  req:note("done", tostring(usage.output))
end

return policy
