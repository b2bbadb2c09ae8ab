-- Every hook, none of which changes a byte of an answer, so that what came through can be compared with what was sent.
local words = weir.matcher { "nowhere" }
local policy = { on_error = "deny" }

-- The question names the request, so that what a provider says to it is known to be about that.
local function ask(req, model)
  if not req.headers["x-ask"] or not req.dialect then return end
  local r, fault = weir.ask { model = model, messages = { { role = "user", content = req:text("user"):sub(1, 100) } }, max_tokens = 9, timeout = 1 }
  req:note("asked", r and #r.text or fault.kind)
end

function policy.on_request(req)
  if req.headers["x-answer"] then return weir.answer("from the policy") end
  if req.headers["x-fail"] then error("as asked") end
  if req.headers["x-wait"] then weir.sleep(0.3) end
  if req.headers["x-fetch"] then
    local r, why = weir.fetch { url = "http://127.0.0.1:20003/score", json = { text = req:text("user") }, timeout = 1 }
    req:note("judge", r and tostring(r.status) or why)
  end
  ask(req, "chain")
end

function policy.on_attempt(req, attempt)
  attempt.headers["x-attempt"] = tostring(attempt.number)
  if req.headers["x-slow"] then weir.sleep(0.05) end
end

function policy.on_response(req, response)
  ask(req, "m/c")
  if req.headers["x-slow"] then weir.sleep(0.05) end
  if req.headers["x-start"] and not response.done then
    return weir.hold { tokens = 2, bytes = 20, seconds = 1, until_done = req.headers["x-start"] == "done" }
  end
end

function policy.on_chunk(req, chunk)
  if chunk.text and words:feed(req, chunk.text) then return weir.stop("a word", "filter") end
  if req.headers["x-hold"] then return weir.hold { bytes = 300, seconds = req.headers["x-hold"] == "time" and 0.5 or nil } end
end

function policy.on_failure(req, attempt, fault)
  ask(req, "a/x")
  if req.headers["x-slow"] then weir.sleep(0.05) end
  if fault.kind == "timeout" and attempt.number < 2 then return weir.retry { after = 0.1 } end
end

function policy.on_done(req, usage)
  req.state.ended = (req.state.ended or 0) + 1
  req:note("ended", tostring(req.state.ended))
end

return policy
