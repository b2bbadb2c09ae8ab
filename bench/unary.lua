-- What wrk sends: the file $BODY, again and again. Prints one line of JSON at the end.
local file = assert(io.open(os.getenv "BODY", "rb"))
wrk.method, wrk.body = "POST", file:read "*a"
file:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["x-bench"] = os.getenv "WISH"

function done(summary, latency)
  local e = summary.errors
  print(("RESULT {\"requests\":%d,\"seconds\":%f,\"p50\":%d,\"p99\":%d,\"bad\":%d}"):format(summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
