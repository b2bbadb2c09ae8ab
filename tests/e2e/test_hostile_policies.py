"""Policies that mean harm, met over the wire: each call ends soon, in an answer that says so, and nobody else notices.

What a call costs is told by the CPU time of weir's threads, which does not depend on who else uses the machine."""

import os
import threading
import time

import wire
from harness import chat_body, chat_provider, until

FILL = "local t = {} for i = 1, 100000 do t[i] = i end "
HOSTILE = {  # name: what the hook runs
    "loop": "while true do end",
    "goto": "::a:: goto a",
    "pcall": "while true do pcall(function() while true do end end) end",
    "pcall storm": "local function f() pcall(f) pcall(f) end while true do f() end",
    "xpcall": "local function f() while true do end end while true do xpcall(f, f) end",
    "error in a handler": "local function h(e) error(e) end while true do xpcall(h, h, 1) end",
    "handler of a handler": "local function h() while true do xpcall(error, h) end end xpcall(error, h)",
    "error objects": "error(setmetatable({}, { __tostring = function() while true do end end }))",
    "pattern": 'while true do (("a"):rep(200) .. "b"):find(("a*"):rep(30) .. "c") end',
    "gsub": 'local s = ("ab"):rep(50000) while true do s = s:gsub("a(b*)", "%1%1aa") end',
    "gmatch": 'for w in ("a"):rep(100000):gmatch("(a*)*b") do end while true do end',
    "rep": 'local s = "x" while true do s = s .. s:rep(2) end',
    "concat": FILL + 'while true do table.concat(t, ("y"):rep(100)) end',
    "sort": FILL + "while true do table.sort(t, function(a, b) return a > b end) end",
    "bad order": FILL + "while true do pcall(table.sort, t, function() return true end) end",
    "insert": FILL + "while true do table.insert(t, 1, 0) end",
    "remove": FILL + "while true do table.remove(t, 1) end",
    "move": FILL + "while true do table.move(t, 1, 100000, 2) end",
    "unpack": FILL + "while true do select('#', table.unpack(t, 1, 90000)) end",
    "memory": "local t = {} while true do t[#t + 1] = {} end",
    "strings": "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
    "closures": "local t = {} while true do t[#t + 1] = function() return t end end",
    "keys that meet": "local t = {} for i = 1, 70000 do t[i * 131071] = 1 end",
    "index": "return setmetatable({}, { __index = function(t, k) return t[k] end }).x",
    "close": "local c <close> = setmetatable({}, { __close = function() while true do end end }) while true do end",
    "for close": "for a in print, nil, nil, setmetatable({}, { __close = function() while true do end end }) do break end",
    "recursion": "local function f() return 1 + f() end while true do pcall(f) end",
    "json": "local t = {} for i = 1, 120 do t = { t } end while true do weir.json.decode(weir.json.encode(t)) end",
    "long json": 'local s = "[" .. ("1,"):rep(100000) .. "1]" while true do weir.json.decode(s) end',
    "notes": 'for i = 1, 10000 do req:note("k" .. i, ("v"):rep(100)) end while true do end',
    "one note": 'while true do req:note("k", ("v"):rep(1000)) end',
    "tags": 'for i = 1, 10000 do req:tag("k" .. i, "v") end while true do end',
    "log": 'while true do weir.log.error(("x"):rep(1000)) end',
    "shared": 'local m = weir.shared("m", { entries = 10 }) while true do m:set(weir.random(1, 1000), ("x"):rep(1000)) end',
    "matcher": 'local s = ("xb"):rep(1000) while true do words:find(s) end',
    "text": 'while true do req:text("user") end',
    "messages": "while true do req.messages = req.messages end",
    "sorted": FILL + "while true do weir.sorted(t) end",
    "tostring": "while true do tostring(1.5) end",
    "format": 'while true do ("%99.99f"):format(1e308) end',
    "utf8": 'local s = ("é"):rep(50000) while true do utf8.len(s) end',
}
# Of these the end is an answer: what they try is not there, and nothing is harmed.
HARMLESS = {
    "coroutines": 'return weir.deny(418, type(coroutine) .. type(load) .. type(debug) .. type(collectgarbage))',
    "the string metatable": 'local ok = pcall(function() getmetatable("").__index = {} end) return weir.deny(418, tostring(ok))',
    "globals": 'local ok = pcall(function() string.find = nil end) return weir.deny(418, tostring(ok))',
    "yield by metamethod": 'local t = setmetatable({}, { __index = function() weir.sleep(0.001) return 1 end }) return weir.deny(418, "" .. t.x)',
    "sleep in a sort": 'local ok = pcall(table.sort, { 2, 1 }, function(a, b) weir.sleep(0.001) return a < b end) return weir.deny(418, "no")',
    "10000 notes": 'for i = 1, 2000 do req:note("k" .. i % 50, "v") end return weir.deny(418, "noted")',
}
CPU_MS = 12  # 5 of the call, 4 until the clock looks, and what was under way


def start(h, hook="on_request"):
    arms = "\n".join(f"arms[{name!r}] = function(req) {code} end" for name, code in {**HOSTILE, **HARMLESS}.items())
    u = h.upstream()
    w = h.weir(
        chat_provider("p", u.url) + 'default_provider "p"\nuse "rule"\n',
        policies={"rule": f'local arms, words = {{}}, weir.matcher {{ "a", "ab" }}\n{arms}\nlocal p = {{ on_error = "deny" }}\nfunction p.{hook}(req) local f = arms[req.model] if f then return f(req) end end\nreturn p\n'},
    )
    return w, u


def cpu_ms(w):
    """CPU time of all of weir's threads so far."""
    total = 0
    for task in os.listdir(f"/proc/{w.pid}/task"):
        try:
            with open(f"/proc/{w.pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        except OSError:
            pass
    return total / 1e6


def test_each_call_ends_soon(h):
    w, u = start(h)
    w.chat()
    late = {}
    with wire.Connection(w.port) as c:
        for name in HOSTILE:
            least = 1e9
            for _ in range(4):
                before = cpu_ms(w)
                c.send(wire.request("POST", "/v1/chat/completions", chat_body(name)))
                a = c.answer()
                least = min(least, cpu_ms(w) - before)
                assert a.status == 500 and a.weir["fault"] == "internal", f"{name}: {a}"
                if least < CPU_MS:
                    break
            if least >= CPU_MS * h.slow * (4 if h.slow > 1 else 1):
                late[name] = round(least, 1)
    assert not late, f"ms of CPU time: {late}"
    assert w.chat().status == 200 and w.metric("weir_policy_errors_total", policy="rule", hook="on_request") >= len(HOSTILE)


def test_what_is_not_there_harms_nobody(h):
    w, u = start(h)
    for name in HARMLESS:
        a = w.chat(name)
        assert a.status in (418, 500), f"{name}: {a}"
        assert name not in ("coroutines", "globals", "the string metatable") or a.status == 418, f"{name}: {a}"
        if name == "coroutines":
            assert a.error["message"] == "nil" * 4, a
        if name in ("globals", "the string metatable"):
            assert a.error["message"] == "false", a
    assert w.chat().status == 200


def test_other_exchanges_go_on(h):
    """One client asks for all the harm there is, in turn; four others are answered all the while, and a stream flows."""
    w, u = start(h)
    done, stop, wrong = [0] * 4, threading.Event(), []

    def other(i):
        try:
            with wire.Connection(w.port) as c:
                while not stop.is_set():
                    c.send(wire.request("POST", "/v1/chat/completions", chat_body(stream=i % 2 == 1)))
                    a = c.answer()
                    assert a.status == 200 and a.whole, a
                    done[i] += 1
        except Exception as e:
            wrong.append(str(e))

    threads = [threading.Thread(target=other, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    until(lambda: wrong or all(done), 10 * h.slow, "all clients are answered")
    starved = []
    with wire.Connection(w.port) as c:
        for name in HOSTILE:
            before = list(done)
            for _ in range(3):
                c.send(wire.request("POST", "/v1/chat/completions", chat_body(name)))
                assert c.answer().status == 500, name
            try:
                until(lambda: wrong or all(n > b for n, b in zip(done, before)), 5 * h.slow, name)
            except AssertionError:
                starved.append(name)
    stop.set()
    for t in threads:
        t.join()
    assert not wrong and not starved, (wrong[:3], starved)
    assert w.memory() < (120 << 20) * h.slow, w.memory()


def test_harm_in_every_hook(h):
    """The same where no request can be refused any more: the exchange ends as its hook's failure does, and weir goes on."""
    for hook in ("on_attempt", "on_response", "on_chunk", "on_failure", "on_done"):
        failing = hook == "on_failure"
        u = h.upstream(lambda r, p: p.answer(b"{}", 500) or True) if failing else h.upstream()
        w = h.weir(
            chat_provider("p", u.url) + 'default_provider "p"\nuse "rule"\n',
            policies={
                "rule": 'local p = { on_error = "deny" }\nfunction p.%s(req)\n  if req.model == "loop" then while true do end end\n'
                '  if req.model == "memory" then local t = {} while true do t[#t + 1] = {} end end\nend\nreturn p\n' % hook
            },
        )
        for model in ("loop", "memory", "plain"):
            for streamed in (False, True):
                begun = time.monotonic()
                a = w.chat(model, streamed)
                assert a.whole and time.monotonic() - begun < 2 * h.slow, f"{hook} {model}: {a}"
                if hook != "on_failure" and (model == "plain" or hook == "on_done"):
                    assert a.status == 200 and a.text(), f"{hook} {model}: {a}"
        count = until(lambda: w.metric("weir_policy_errors_total", policy="rule", hook=hook) >= (2 if hook == "on_chunk" else 4), 3, hook)
        assert count
