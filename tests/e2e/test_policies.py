"""Policies as an operator writes them, met over the wire. INTERFACE 4."""

import json
import threading
import time

import wire
from harness import SECRET, chat_body, chat_provider
from upstream import ROLE, chat_answer, chat_events, word


def weir(h, hooks, handler=None, more="", head="", uses='use "rule"\n'):
    """A weir with one policy of those hooks before two providers; `u` is the first one's upstream, `o` the other's."""
    u, o = h.upstream(handler), h.upstream()
    w = h.weir(
        chat_provider("p", u.url) + chat_provider("other", o.url) + 'default_provider "p"\n' + more + uses,
        policies={"rule": f"{head}\nlocal p = {{}}\n{hooks}\nreturn p\n"},
    )
    return w, u, o


def test_deny(h):
    hooks = """
        function p.on_request(req)
          if req:text("user"):find("forbidden", 1, true) then return weir.deny(403, "not that", { code = "no_go", retry_after = 7 }) end
        end"""
    w, u, o = weir(h, hooks)
    body = chat_body(messages=[{"role": "user", "content": "some forbidden words"}])
    for streamed in (False, True):
        a = w.post("/v1/chat/completions", body.replace(b'{"model"', b'{"stream": true, "model"') if streamed else body)
        assert a.status == 403 and a.error["message"] == "not that" and a.error["code"] == "no_go" and a.weir["fault"] == "denied", a
        assert a.header("retry-after") == "7", a
        assert w.record(a.header("x-request-id"))["end"] == "denied"
    assert not u.requests and w.chat().status == 200
    w, u, o = weir(h, 'function p.on_request(req) return weir.deny(429, "enough") end')
    a = w.chat()
    assert a.status == 429 and a.header("x-should-retry") == "false", a
    a = w.post("/v1/messages", chat_body())
    assert a.status in (400, 404, 429), a


def test_answer(h):
    hooks = r"""
        function p.on_request(req)
          if req.model == "table" then return weir.answer { hello = { 1, 2 } } end
          return weir.answer("From the policy: é\n")
        end"""
    w, u, o = weir(h, hooks)
    a = w.chat()
    assert a.status == 200 and a.text() == "From the policy: é\n" and a.json()["object"] == "chat.completion", a
    a = w.chat(stream=True)
    assert (
        a.header("content-type").startswith("text/event-stream")
        and a.text() == "From the policy: é\n"
        and a.body.endswith(b"data: [DONE]\n\n")
    ), a
    assert w.chat("table").json() == {"hello": [1, 2]}
    assert not u.requests


def test_route(h):
    hooks = """
        function p.on_request(req)
          if req.stream then return weir.route { "other/fast" } end
          return weir.route { "p/first", "other/second" }
        end"""
    w, u, o = weir(h, hooks)
    assert w.chat(stream=True).header("x-weir-target") == "other/fast" and o.one().json()["model"] == "fast"
    assert w.chat().header("x-weir-target") == "p/first" and u.one().json()["model"] == "first"


def test_request_edits(h):
    hooks = """
        function p.on_request(req)
          req.max_tokens, req.temperature, req.stop = 64, 0.5, { "END" }
          local messages = req.messages
          table.insert(messages, 1, { role = "system", content = "Be brief." })
          req.messages = messages
        end"""
    w, u, o = weir(h, hooks)
    body = b'{ "seed" : 123456789012345678901234567890 , "model":"mock","messages":[ {"role":"user","content":"hi"} ],"max_tokens":9999}'
    assert w.post("/v1/chat/completions", body).status == 200
    sent = u.one()
    assert sent.json() == {
        "seed": 123456789012345678901234567890,
        "model": "mock",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "max_tokens": 64,
        "temperature": 0.5,
        "stop": ["END"],
    }, sent.body
    assert b"123456789012345678901234567890" in sent.body and sent.header("content-length") == str(len(sent.body))


def test_attempt_headers_fields_and_skip(h):
    hooks = """
        function p.on_attempt(req, attempt)
          attempt.headers["x-try"] = attempt.number .. ":" .. attempt.target
          attempt:set("seed", attempt.number)
          if attempt.provider == "p" and req.model == "skip" then return weir.skip("not today") end
        end"""
    w, u, o = weir(h, hooks, more='model "skip" { "p/a", "other/b" }\n')
    assert w.chat().status == 200
    assert u.one().header("x-try") == "1:p/mock" and u.one().json()["seed"] == 1, u.one().headers
    a = w.chat("skip")
    assert a.header("x-weir-target") == "other/b" and len(u.requests) == 1, a
    w, u, o = weir(h, 'function p.on_attempt() return weir.skip("never") end')
    a = w.chat()
    assert a.status == 503 and a.weir["fault"] == "denied" and not u.requests, a


def test_response(h):
    hooks = """
        function p.on_response(req, response)
          req:note("saw", response.text)
          if response.text:find("bad", 1, true) then return weir.reject("it is bad") end
          if response.text:find("odd", 1, true) then return weir.replace("mended") end
        end"""
    said = {"text": "bad words"}

    def handler(r, peer):
        if r.json().get("stream"):
            peer.stream(*chat_events(said["text"]))
        else:
            peer.answer(chat_answer(said["text"]))
        return True

    w, u, o = weir(h, hooks, handler, 'model "chain" { "p/a", "other/b" }\n')
    for streamed in (False, True):
        said["text"] = "bad words"
        a = w.chat("chain", streamed)
        assert a.status == 200 and a.text() == "Hello." and a.header("x-weir-target") == "other/b", a
        r = w.record(a.header("x-request-id"))
        assert r["failed"][0]["fault"] == "invalid" and r["notes"]["saw"] == ("Hel" if streamed else "Hello."), r
        a = w.chat("p/x", streamed)
        assert a.status == 502 and a.weir["fault"] == "invalid" and "it is bad" in a.error["message"], a
        said["text"] = "odd words"
        a = w.chat("p/x", streamed)
        assert a.status == 200 and a.text() == "mended", a


def test_chunks(h):
    hooks = r"""
        function p.on_chunk(req, chunk)
          if chunk.text == "secret" then return weir.replace("\"***\" é") end
          if chunk.text == "drop" then return weir.drop() end
          if chunk.text == "stop" then return weir.stop("told to", req.model) end
        end"""

    def handler(r, peer):
        more = ["stop", "never"] if r.json()["model"] != "mock" else []
        peer.stream(*chat_events("a ", "secret", " b", "drop", "c", *more))
        return True

    w, u, o = weir(h, hooks, handler)
    a = w.chat(stream=True)
    kept = b"".join(chat_events("a ", "secret", " b", "drop", "c")).replace(b'"secret"', b'"\\"***\\" \xc3\xa9"').replace(b'"drop"', b'""')
    assert a.whole and a.body == kept, a.body
    for how, finish in (("length", "length"), ("filter", "content_filter")):
        a = w.chat(how, True)
        assert a.whole and a.text() == 'a "***" é bc' and a.body.endswith(b"data: [DONE]\n\n"), a
        ends = [json.loads(d)["choices"][0]["finish_reason"] for _, d in wire.events(a.body)[:-1]]
        assert ends[-1] == finish and not any(ends[:-1]), ends
        assert w.record(a.header("x-request-id"))["end"] == "stopped"
    a = w.chat("error", True)
    assert json.loads(wire.events(a.body)[-1][1])["error"]["message"] == "told to" and b"[DONE]" not in a.body, a


def test_failure(h):
    hooks = """
        function p.on_failure(req, attempt, fault)
          req:note("fault", fault.kind .. " " .. tostring(fault.status) .. " " .. fault.phase .. " " .. attempt.target)
          if req.model == "again" and req.attempts < 3 then return weir.retry { after = 0.02 } end
          if req.model == "fail" then return weir.fail("no more") end
          if req.model == "next" then return weir.next() end
        end"""
    tries = {"n": 0}

    def handler(r, p):
        tries["n"] += 1
        if r.json()["model"] == "again" and tries["n"] == 3:
            p.answer(chat_answer("third time"))
        else:
            p.answer(b'{"error":{"message":"no","type":"invalid_request_error","code":null}}', 400)
        return True

    w, u, o = weir(h, hooks, handler, 'model "next" { "p/a", "other/b" }\n')
    a = w.chat("again")
    assert a.status == 200 and a.text() == "third time" and a.header("x-weir-attempts") == "3", a
    r = w.record(a.header("x-request-id"))
    assert r["notes"]["fault"] == "bad_request 400 head p/again" and len(r["failed"]) == 2, r
    a = w.chat("next")
    assert a.header("x-weir-target") == "other/b", a
    a = w.chat("fail")
    assert a.status == 400 and a.error["message"] == "no more" and len(a.weir["tried"]) == 1, a
    a = w.chat("plain")
    assert a.status == 400 and a.error["message"] == "no", a


def test_fetch_and_sleep(h):
    def judged(r, peer):
        time.sleep(r.json()["wait"])
        peer.answer(json.dumps({"ok": r.json()["text"] != "bad"}).encode(), headers=[("x-j", "1")])
        return True

    judge = h.upstream(judged)
    hooks = """
        function p.on_request(req)
          local begun = weir.now()
          weir.sleep(0.1)
          req:note("slept", weir.now() - begun >= 0.09 and "yes" or "no")
          local ask = { text = req:text("user"), wait = req.max_tokens == 7 and 2 or 0 }
          local r, why = weir.fetch { url = "http://127.0.0.1:PORT/judge?x=1", json = ask, timeout = 0.5, auth = "judge", headers = { ["x-a"] = "b" } }
          if not r then return weir.deny(503, "judge: " .. why) end
          req:note("judge", r.status .. " " .. r.headers["x-j"])
          if not r.json.ok then return weir.deny(403, "judged") end
        end""".replace("PORT", str(judge.port))
    w, u, o = weir(h, hooks, more='secret "judge" { env "OPENAI_KEY", host = "127.0.0.1" }\n')
    a = w.chat()
    notes = w.record(a.header("x-request-id"))["notes"]
    assert a.status == 200 and notes == {"slept": "yes", "judge": "200 1"}, (a, notes)
    r = judge.one()
    assert (
        r.method == "POST"
        and r.target == "/judge?x=1"
        and r.header("authorization") == f"Bearer {SECRET}"
        and r.header("x-a") == "b"
        and r.json()["text"] == "Say something."
    ), r.headers
    assert w.post("/v1/chat/completions", chat_body(messages=[{"role": "user", "content": "bad"}])).status == 403
    begun = time.monotonic()
    a = w.post("/v1/chat/completions", chat_body(max_tokens=7))
    assert a.status == 503 and "judge: " in a.error["message"] and 0.4 < time.monotonic() - begun < 1.5 * h.slow, a
    many = []
    threads = [threading.Thread(target=lambda: many.append(w.chat().status)) for _ in range(20)]
    begun = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert many == [200] * 20 and time.monotonic() - begun < 1.5 * h.slow, "sleeping policies wait one behind the other"


def test_order_and_state(h):
    hooks = """
        function p.on_request(req)
          req.state.n = (req.state.n or 0) + 1
          req:note(o.name, (req.tags.seen or "") .. o.name)
          req:tag("seen", (req.tags.seen or "") .. o.name)
        end
        function p.on_done(req, usage)
          weir.log.info("done " .. o.name .. " " .. req.state.n .. " " .. tostring(usage.output))
          weir.counter("ended"):add(1)
        end"""
    w, u, o = weir(
        h,
        hooks,
        head='local o = weir.options { name = weir.required "string" }',
        uses='use "rule" { name = "A" }\nuse "rule" { name = "B", as = "second" }\n',
    )
    a = w.chat()
    assert w.record(a.header("x-request-id"))["notes"] == {"A": "A", "B": "AB"}
    done = [line.split("done ")[1] for line in w.err.splitlines() if "done " in line]
    assert done == ["B 1 2", "A 1 2"], done  # reverse
    assert w.metric("weir_policy_ended_total") == 2, [x for x in w.metrics().splitlines() if "ended" in x]


def test_shared_counts_over_workers(h):
    w, u, o = weir(
        h, 'local s = weir.shared("calls", { entries = 100 })\nfunction p.on_request(req) req:note("n", tostring(s:add("k", 1))) end'
    )
    ids = [w.chat().header("x-request-id") for _ in range(12)]
    assert sorted(int(w.record(i)["notes"]["n"]) for i in ids) == list(range(1, 13))


def test_errors_take_their_road(h):
    for road, status in (("deny", 500), ("pass", 200)):
        w, u, o = weir(h, f'p.on_error = "{road}"\nfunction p.on_request(req)\n  local x = nil\n  return x.field\nend')
        a = w.chat()
        assert a.status == status, f"{road}: {a}"
        assert (
            "rule.lua:6: attempt to index a nil value (local 'x')" in w.err and "in on_request" in w.err and "in function" in w.err
        ), w.err[-600:]
        assert w.metric("weir_policy_errors_total", policy="rule", hook="on_request") == 1
        if road == "deny":
            assert a.weir["fault"] == "internal" and "rule.lua" not in str(a.body), a


def test_secrets_and_sandbox(h):
    hooks = """
        function p.on_request(req)
          for _, name in ipairs { "io", "os", "debug", "load", "dofile", "coroutine", "collectgarbage" } do
            if _ENV[name] ~= nil then req:note(name, "there") end
          end
        end"""
    w, u, o = weir(h, hooks)
    a = w.chat(headers=[("authorization", "Bearer client-secret-88"), ("cookie", "a=client-secret-88")])
    assert a.status == 200
    notes = w.record(a.header("x-request-id")).get("notes", {})
    assert not set(notes) & {"io", "os", "debug", "load", "dofile", "coroutine", "collectgarbage"}, notes
    assert "client-secret-88" not in w.err + w.text(w.access_path) + w.metrics()


def test_stalled_policy_and_a_leaving_client(h):
    """A client that leaves while a policy waits: nothing is sent in its name."""
    w, u, o = weir(h, 'function p.on_request(req) weir.sleep(0.5) end\nfunction p.on_done(req) weir.log.info("done was told") end')
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body(), [("x-request-id", "leaver")]))
        time.sleep(0.1)
    assert w.record("leaver")["end"] == "client_gone"
    time.sleep(0.6)
    assert not u.requests and "done was told" in w.err


def test_held_start_is_judged_before_anything_is_sent(h):
    """on_response may wait while the stream's start is held; what comes meanwhile is neither lost nor sent."""
    w, u, o = weir(
        h,
        "function p.on_response(req, response) weir.sleep(0.3) end",
        lambda r, p: p.stream(ROLE, *[word(f"{i} ") for i in range(50)], *chat_events("end")[1:], gap=0.002) or True,
    )
    begun = time.monotonic()
    a = w.chat(stream=True)
    assert a.pieces[0][0] - begun > 0.28 and a.text() == "".join(f"{i} " for i in range(50)) + "end" and a.whole, a
