"""The ledger: one record of each exchange, whatever happened to it, to weir, to the disk; and budgets that outlive the machine."""

import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import threading
import time

import wire
from harness import chat_body, chat_provider, until
from test_money import CALL, IN, MODEL, OUT, PRICE, Till, capped, shipped, storm
from test_upgrade import alive, end, upgrade
from upstream import chat_answer, chat_events

PICO = 10**12
COST = round(CALL * PICO)  # of a full answer of the Till


def spent(rows):
    return sum(r["cost"] or 0 for r in rows)


def one(w):
    return w.rows(1)[0]


# ---- kill -9
def kill_storms(h, budget, kills):
    """Storms, killed at random points: each request that the provider served has exactly one row, and none has two."""
    till = Till(h, seconds=0.005)
    provider = chat_provider("a", till.url, MODEL)
    w = capped(h, 'per = "all", day = usd(1000)', provider) if budget else h.weir(provider)
    for _ in range(kills):
        t = threading.Thread(target=storm, args=(w.port, 60))
        t.start()
        time.sleep(0.01 + random.random() * 0.12)
        w.signal(signal.SIGKILL)
        w.wait()
        t.join()
        w = h.again(w)
    storm(w.port, 5)
    w.signal(signal.SIGTERM)
    assert w.wait() == 0
    rows = w.ledger()
    done, orphans = [r for r in rows if r["end"] == "done"], [r for r in rows if r["orphan"]]
    assert all(r["end"] in ("done", "internal", "client_gone") for r in rows), {r["end"] for r in rows}
    assert len({r["id"] for r in rows}) == len(rows), "a record stands twice"
    assert len(rows) >= till.served >= len(done), (len(rows), till.served, len(done))
    assert len(rows) - till.served <= sum(1 for r in orphans), "rows of requests that nobody made"
    assert all(r["cost"] == COST for r in done), {r["cost"] for r in done}
    assert all(r["target"] == "a/x" and r["model"] == "a/x" for r in orphans), orphans
    assert "internal" not in {r["end"] for r in rows if not r["orphan"]}, rows
    if budget:  # one in between its reservations and its record has none any more: at most one of each worker's at each kill
        assert sum(r["cost"] is None for r in orphans) <= 2 * kills and all((r["cost"] or COST) >= COST for r in orphans), orphans
    return rows


def test_kill_and_restart_loses_no_record(h):
    kill_storms(h, False, 8)


def test_kill_and_restart_under_a_budget(h):
    rows = kill_storms(h, True, 6)
    assert rows


def test_killed_before_the_store_had_it(h):
    """Records wait in the mapped ring: a weir that is killed at once has lost none of those whose answer was given."""
    till = Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL))
    ids = [w.chat("a/x").header("x-request-id") for _ in range(20)]
    w.signal(signal.SIGKILL)
    w.wait()
    w = h.again(w)
    assert sorted(r["id"] for r in w.rows(20)) == sorted(ids)


# ---- the machine loses its power
def test_budgets_outlive_the_cells_file(h):
    till = Till(h, 0)
    cap = 40 * CALL
    for zone in ("", ', zone = "Asia/Tokyo"', ', zone = "America/Los_Angeles"'):
        policy = f"""local p = {{}}
local b = weir.budget {{ name = "b", window = "day", cap = usd({cap:.6f}){zone} }}
function p.on_request(req) b:charge(req, "all") end
return p"""
        w = h.weir(chat_provider("a", till.url, MODEL) + 'defaults { queue = 0.3 }\nuse "b"\n', policies={"b": policy})
        before = till.charged
        for _ in range(10):
            assert w.chat("a/x").status == 200
        for _ in range(2):
            w.signal(signal.SIGKILL)
            w.wait()
            os.unlink(os.path.join(w.runtime, "cells"))
            w = h.again(w)
            assert w.chat("a/x").status == 200
        served = 12
        while w.chat("a/x").status == 200:
            served += 1
        assert till.charged - before <= cap, (till.charged - before, cap)
        assert served >= 40 - 3 * (40 / 16 + 5), served  # a reboot costs a grant at most: a sixteenth of what was left, or four requests


def test_the_disk_is_waited_for_without_a_queue(h):
    """A budget's first request needs the database, which somebody else has locked for a moment."""
    till = Till(h, 0)
    w = capped(h, 'per = "all", day = usd(50)', chat_provider("a", till.url, MODEL), more="defaults { queue = 0 }\n")
    with contextlib.closing(sqlite3.connect(f"{w.state}/ledger.db", timeout=5, isolation_level=None, check_same_thread=False)) as db:
        db.execute("BEGIN IMMEDIATE")
        later = threading.Timer(0.3, lambda: db.execute("ROLLBACK"))
        later.start()
        a = w.chat("a/x")
        later.join()
    assert a.status == 200, a


def test_no_ledger_no_promise(h):
    """The same without a ledger forgets: so the test above can fail."""
    till = Till(h, 0)
    w = capped(h, f'per = "all", day = usd({5 * CALL:.6f})', chat_provider("a", till.url, MODEL), more='ledger "off"\ndefaults { queue = 0.1 }\n')
    for _ in range(2):
        while w.chat("a/x").status == 200:
            pass
        w.signal(signal.SIGKILL)
        w.wait()
        os.unlink(os.path.join(w.runtime, "cells"))
        w = h.again(w)
    assert till.charged > 6 * CALL
    assert not os.path.exists(w.state), os.listdir(w.state)


# ---- what cannot be written
def limit_files(w, size):
    resource.prlimit(w.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_disk_full_refuse_and_pass(h):
    till = Till(h, 0)
    for on_loss in ("refuse", "pass"):
        w = capped(h, 'per = "all", day = usd(50)', chat_provider("a", till.url, MODEL), more=f'defaults {{ on_store_loss = "{on_loss}", queue = 0.2 }}\nlog {{ access = "off" }}\n')
        assert w.chat("a/x").status == 200
        w.rows(1)
        limit_files(w, 1)
        w.chat("a/x")
        until(lambda: w.metric("weir_ledger_lost") == 1, 5 * h.slow, "it is noticed")
        a = w.chat("a/x")
        if on_loss == "refuse":
            error = json.loads(a.body)["error"]
            assert a.status == 503 and error["code"] == "store_lost" and "ledger cannot be written" in error["message"], a
        else:
            assert a.status == 200, a
        limit_files(w, resource.RLIM_INFINITY)
        until(lambda: w.metric("weir_ledger_lost") == 0, 5 * h.slow, "it is found again")
        assert w.chat("a/x").status == 200
        assert w.rows(4)
        assert w.metric("weir_ledger_errors_total") >= 1 and w.metric("weir_records_lost_total") == 0


def test_no_budget_needs_no_ledger(h):
    till = Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL) + 'log { access = "off" }\nledger { keep = days(7), max_size = mb(10) }\n')
    w.rows(0)
    limit_files(w, 1)
    assert w.chat("a/x").status == 200
    until(lambda: w.metric("weir_ledger_lost") == 1, 5 * h.slow, "it is noticed")
    assert w.chat("a/x").status == 200
    limit_files(w, resource.RLIM_INFINITY)
    w.rows(2)


def test_a_prompt_has_one_name(h):
    """Streamed or not: the name is of the instructions, which an open stream has let go of."""
    w = h.weir(chat_provider("p", h.upstream().url))
    for stream in (False, True):
        for word in ("weir", "dam"):
            messages = [{"role": "system", "content": f"You are a {word}."}, {"role": "user", "content": "x"}]
            assert w.post("/v1/chat/completions", chat_body("p/x", stream, messages=messages)).status == 200
    rows = w.rows(4)
    whole, streamed = (sorted(r["prompt"] for r in rows if bool(r["stream"]) == stream) for stream in (False, True))
    assert whole == streamed and whole[0] != whole[1] and all(n.startswith("#") and len(n) == 17 for n in whole), rows


def test_folder_that_is_none(h):
    till = Till(h, 0)
    with open(os.path.join(h.tmp, "file"), "w") as f:
        f.write("x")
    plain = h.weir(chat_provider("a", till.url, MODEL) + f'state "{h.tmp}/file"\n')
    assert plain.chat("a/x").status == 200
    assert "no ledger is kept: " in plain.err and "Not a directory" in plain.err, plain.err
    asked = capped(h, 'per = "all", day = usd(1)', chat_provider("a", till.url, MODEL), more=f'state "{h.tmp}/file"\nledger {{ keep = days(9) }}\n')
    assert asked.chat("a/x").status == 503
    assert "error ledger: " in asked.err, asked.err
    os.unlink(os.path.join(h.tmp, "file"))
    until(lambda: asked.chat("a/x").status == 200, 5 * h.slow, "it is tried again")


def test_kept_where_nothing_is_said(h):
    till = Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL) + "-- nothing about state here\n", env={"HOME": os.path.join(h.tmp, "home")})
    w.state = os.path.join(h.tmp, "home/.local/state/weir")
    assert w.chat("a/x").status == 200
    w.rows(1)
    assert os.stat(w.state).st_mode & 0o777 == 0o700 and os.stat(os.path.join(w.state, "ledger.db")).st_mode & 0o777 == 0o600
    with open(os.path.join(h.tmp, "none"), "w") as f:
        f.write("no folder")
    none = h.weir(w.config, env={"HOME": os.path.join(h.tmp, "none")})
    assert none.chat("a/x").status == 200 and "no ledger is kept: " in none.err, none.err


def test_broken_file(h):
    till = Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL))
    w.chat("a/x")
    w.rows(1)
    w.signal(signal.SIGTERM)
    w.wait()
    path = os.path.join(w.state, "ledger.db")
    with open(path, "wb") as f:
        f.write(b"no database at all " * 500)
    w.write(w.config + "ledger {}\n")
    w = h.again(w)
    assert w.chat("a/x").status == 200
    assert "file is not a database" in w.err and "move ledger.db" in w.err, w.err
    os.rename(path, path + ".broken")
    w.rows(1)
    assert w.err.count("file is not a database") == 1, w.err


def test_two_weirs_on_one_folder(h):
    till = Till(h, 0)
    first = h.weir(chat_provider("a", till.url, MODEL))
    first.rows(0)
    second = h.weir(chat_provider("a", till.url, MODEL) + f'state "{first.state}"\n')
    assert "another weir writes the ledger there" in second.err, second.err
    assert second.chat("a/x").status == 200 and first.chat("a/x").status == 200
    first.rows(1)


def test_old_records_go(h):
    till = Till(h, 0)
    w = h.weir(chat_provider("a", till.url, MODEL) + "ledger { keep = days(30) }\n")
    w.chat("a/x")
    w.rows(1)
    w.signal(signal.SIGTERM)
    w.wait()
    with sqlite3.connect(os.path.join(w.state, "ledger.db")) as db:
        now = int(time.time() * 1000)
        def batch(days, count, name):
            begun = [(now - int(days * 86400 * 1000) + i) << 22 for i in range(count)]
            records = json.dumps([{"seq": seq, "id": name} for seq in begun])
            db.execute("INSERT INTO batches(n, first, records) VALUES(?, ?, ?)", (begun[-1] + 1, begun[0], records))

        for i in range(12):
            batch(31 - i / 1000, 100, "old")
        batch(29, 1, "kept")
    db.close()
    w = h.again(w)
    until(lambda: len(w.ledger()) == 2, 5 * h.slow, "old ones are gone")
    assert {"kept"} < {r["id"] for r in w.ledger()}


# ---- each way to end, each route: one record, the right cost
def test_each_ending(h):
    def provider(request, peer):
        model = json.loads(request.body)["model"] if request.body.startswith(b"{") else ""
        usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
        if model == "busy":
            peer.answer(b'{"error":{"message":"busy"}}', 503)
        elif model == "slow":
            peer.stream(*chat_events("one ")[:2], end=False)
            peer.gone(5)
        elif b'"stream":true' in request.body.replace(b" ", b""):
            events = chat_events("Hel", "lo.")
            events.insert(-1, b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}).encode() + b"\n\n")
            peer.stream(*events)
        else:
            peer.answer(chat_answer(model="x", usage=usage))
        return True

    up = h.upstream(provider)
    models = f'models = {{ x = {{ hidden = false, {PRICE} }}, busy = {{ {PRICE} }}, slow = {{ hidden = false, {PRICE} }}, y = {{ {PRICE} }} }}'
    policy = """local p = {}
function p.on_request(req)
  req:note("seen", "yes")
  if req.model == "denied" then return weir.deny(403, "no") end
  if req.model == "answered" then return weir.answer("here") end
  if req.model == "asks" then
    local r = weir.ask { model = "a/y", messages = { { role = "user", content = "?" } } }
    req.model = "a/x"
  end
end
function p.on_chunk(req, chunk) if req.tags.stop and chunk.text and chunk.text:find("lo") then return weir.stop("enough", "length") end end
return p"""
    config = chat_provider("a", up.url, models) + 'model "chain" { "a/busy", "a/x" }\nmodel "spent" { "a/busy" }\nmodel "denied" { "a/x" }\nmodel "answered" { "a/x" }\nmodel "asks" { "a/x" }\n'
    w = h.weir(config + 'use "p"\ndefaults { drain = 0.2 }\n', policies={"p": policy})
    asked = {}

    def call(name, *args, **more):
        asked[name] = w.chat(*args, headers=[("x-request-id", name), *more.pop("headers", [])], **more)
        return asked[name]

    call("whole", "a/x")
    call("stream", "a/x", True)
    call("failover", "chain")
    call("failed", "spent")
    call("denied", "denied")
    call("answered", "answered")
    w.post("/v1/chat/completions", b"{}", [("x-request-id", "nothing")])
    call("stopped", "a/x", True, headers=[("x-weir-tags", "stop=1")])
    call("parent", "asks")
    w.post("/a/v1/chat/completions", chat_body("x"), [("x-request-id", "raw")])
    w.post("/v1/embeddings", b'{"model":"a/x","input":"hi"}', [("x-request-id", "embedding")])
    rows = {r["id"]: r for r in w.rows(12)}
    child = next(r for r in rows.values() if r["parent"])
    full = {"whole": 1, "stream": 1, "failover": 1, "parent": 1, "raw": 1}
    for name in full:
        assert rows[name]["cost"] == COST and rows[name]["end"] == "done" and rows[name]["output"] == OUT, rows[name]
    assert child["parent"] == "parent" and child["cost"] == COST and child["target"] == "a/y" and child["policy"] == "p", child
    assert rows["failed"]["end"] == "overloaded" and rows["failed"]["status"] == 503 and not rows["failed"]["cost"], rows["failed"]
    tried = json.loads(rows["failover"]["failed"])
    assert tried[0]["target"] == "a/busy" and tried[0]["fault"] == "overloaded" and rows["failover"]["attempts"] == 2, rows["failover"]
    assert rows["denied"]["end"] == "denied" and rows["denied"]["cost"] is None, rows["denied"]
    assert rows["answered"]["end"] == "done" and not rows["answered"]["cost"], rows["answered"]
    assert rows["nothing"]["status"] == 400, rows["nothing"]
    stopped = rows["stopped"]  # a provider that is not known to stop charging may have gone on, and nothing was reserved
    assert stopped["end"] == "stopped" and stopped["cost"] is None and stopped["unpriced"] == 1, stopped
    assert rows["raw"]["raw"] == 1 and rows["whole"]["raw"] is None, rows["raw"]
    assert json.loads(rows["whole"]["notes"]) == {"seen": "yes"}, rows["whole"]
    assert rows["whole"]["dialect"] == "chat" and rows["whole"]["generation"] == 1 and len(rows["whole"]["conf"]) == 64, rows["whole"]
    assert rows["whole"]["bytes"] == len(asked["whole"].body)
    now = time.time() * 1000
    assert all(now - 60000 < r["seq"] >> 22 <= r["ended"] <= now + 1000 for r in rows.values()), rows
    assert w.metric("weir_ledger_records_total") == 12


def test_endings_under_a_budget(h):
    """Who leaves, what a budget refuses, what a drain cuts: the cost is what was reserved, or nothing."""

    def slow(request, peer):
        peer.stream(*chat_events("one ")[:2], end=False)
        peer.gone(5)

    till, up = Till(h, 0), h.upstream(slow)
    w = capped(h, f'per = "all", day = usd({1.5 * CALL:.6f})', chat_provider("a", till.url, MODEL), chat_provider("b", up.url, f'models = {{ x = {{ window = 8000, max_output = 100, {PRICE} }} }}'),
               more="defaults { drain = 0.2, queue = 0.1 }\n")
    assert w.chat("a/x", headers=[("x-request-id", "done")]).status == 200
    assert w.chat("a/x", headers=[("x-request-id", "less")]).status == 200  # what is left makes a shorter answer
    assert w.post("/v1/chat/completions", chat_body("a/x", max_tokens=500), [("x-request-id", "capped")]).status == 429
    w.signal(signal.SIGTERM)
    w.wait()
    w.write(w.config.replace(f"usd({1.5 * CALL:.6f})", "usd(100)"))
    w = h.again(w)
    with wire.Connection(w.port) as c:
        c.send(wire.request("POST", "/v1/chat/completions", chat_body("b/x", True), [("x-request-id", "gone")]))
        c.more(100)
    until(lambda: len(w.ledger()) == 4, 5 * h.slow, "the one who left")
    t = threading.Thread(target=w.chat, args=("b/x", True), kwargs={"headers": [("x-request-id", "drained")]})
    t.start()
    until(lambda: len(up.requests) == 2, 5 * h.slow, "it is under way")
    w.signal(signal.SIGTERM)
    w.wait()
    t.join()
    rows = {r["id"]: r for r in w.ledger()}
    ends = {i: r["end"] for i, r in rows.items()}
    assert ends == {"done": "done", "less": "done", "capped": "capped", "gone": "client_gone", "drained": "drained"}, ends
    assert rows["done"]["cost"] == COST and 0 < rows["less"]["cost"] < COST / 1.5, rows
    assert not rows["capped"]["cost"] and rows["capped"]["status"] == 429, rows["capped"]
    for name in ("gone", "drained"):
        assert rows[name]["cost"] == rows[name]["estimate"] > 0, rows[name]


# ---- report, why
def test_report_and_why(h):
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}

    def provider(request, peer):
        if json.loads(request.body)["model"] == "busy":
            peer.answer(b'{"error":{"message":"busy"}}', 503)
        else:
            peer.answer(chat_answer(model="x-2026", usage=usage))
        return True

    up = h.upstream(provider)
    models = f"models = {{ x = {{ {PRICE} }}, busy = {{ {PRICE} }}, small = {{ price = {{ input = usd(1), output = usd(2) }} }} }}"
    w = h.weir(chat_provider("a", up.url, models) + 'model "chain" { "a/busy", "a/x", "a/small" }\n')
    for team in ("red", "red", "blue"):
        w.chat("chain", headers=[("x-weir-tags", f"team={team}"), ("x-request-id", f"r-{team}")])
    w.post("/v1/chat/completions", b"{}")
    w.rows(4)
    env = {"OPENAI_KEY": ""}  # a report needs no secret

    def report(*more):
        r = h.run("report", "--config", w.file, *more, env=env)
        assert r.returncode == 0, r
        return r.stdout

    rows = {r["tag:team"]: r for r in json.loads(report("--by", "tag:team,alias", "--json"))}
    red = rows["red"]
    assert (red["requests"], red["answered"], red["input"], red["output"]) == (2, 2, 2 * IN, 2 * OUT), red
    assert red["cost_usd"] == "0.1004" and red["cost_per_answer_usd"] == "0.0502" and red["fault_rate"] == 1.0, red
    assert red["cheapest_other_usd"] == "0.00204" and red["compared_with_usd"] == "0.1004", red  # 2 * (20 * 1 + 500 * 2) / 1e6
    assert rows["blue"]["requests"] == 1 and rows[""]["requests"] == 1 and rows[""]["answered"] == 0, rows
    assert [r["served"] for r in json.loads(report("--by", "served", "--json"))] == ["x-2026", ""]
    csv = report("--by", "provider,end", "--csv").splitlines()
    assert csv[0].startswith("provider,end,requests,answered,cost_usd") and csv[1].startswith("a,done,3,3,0.1506,0.0502"), csv
    assert "cost_usd             0.1506" in report("--by", "model"), report("--by", "model")
    assert "no requests" in report("--since", "2020-01-01", "--until", "2020-01-02")
    assert h.run("report", "--config", w.file, "--by", "nonsense").returncode == 2
    assert h.run("report", "--config", w.file, "--since", "tomorrow").returncode == 2
    none = h.run("report", "--state", h.tmp)
    assert none.returncode == 1 and "no ledger was kept there" in none.stderr, none

    w.write(w.config.replace('"a/busy", "a/x", "a/small"', '"a/small"'))
    assert w.reload()[0] == 0
    why = h.run("why", "r-blue", "--config", w.file, env=env)
    lines = [" ".join(line.split()) for line in why.stdout.splitlines()]
    assert why.returncode == 0, why
    assert any(x.startswith("tried 1. a/busy: overloaded, status 503 after ") for x in lines), lines
    assert "answer from a/x, which says it is x-2026" in lines and "cost USD 0.0502" in lines and "end done" in lines, lines
    assert "tokens input 20, output 500 (as the provider reported)" in lines and 'tags {"team":"blue"}' in lines, lines
    assert "route 1. a/busy" in lines and "2. a/x" in lines and "3. a/small" in lines, lines  # as it was, not as it is
    assert h.run("why", "r-none", "--config", w.file, env=env).returncode == 1
    assert h.run("why").returncode == 2


def why(h, w, name):
    r = h.run("why", name, "--config", w.file, env={"OPENAI_KEY": ""})
    assert r.returncode == 0, r
    return [" ".join(line.split()) for line in r.stdout.splitlines()]


def test_decisions_are_run_again(h):
    """Each of these reads something that is another by the time of `weir why`."""
    policies = {
        "turns": """local p, n = {}, weir.shared "turns"
function p.on_request(req)
  local i = n:add("n", 1)
  n:set("last", req.id)
  if i > 1 and n:get("n") ~= i then return weir.deny(500, "another number") end
  return weir.route { i % 2 == 1 and "a/x" or "b/y" }
end
return p""",
        "dice": "local p = {}\nfunction p.on_request(req) return weir.route { weir.random(2) == 1 and 'a/x' or 'b/y' } end\nreturn p",
        "clock": "local p = {}\nfunction p.on_request(req) return weir.route { math.floor(weir.now() * 1000) % 2 == 1 and 'a/x' or 'b/y' } end\nreturn p",
        "money": """local p = {}
local b = weir.budget { name = "b", window = "day", cap = usd(0.16), soft = { 0.5 } }
function p.on_request(req)
  local refused, mark = b:charge(req, "all")
  if refused then return refused end
  return weir.route { mark and "b/y" or "a/x" }
end
return p""",
        "asks": """local p = {}
function p.on_request(req)
  local r = weir.ask { model = "a/x", messages = { { role = "user", content = "which?" } } }
  local f = weir.fetch { url = "URL?secret=abc" }
  weir.fetch { url = "URLtoken?secret=abc" }
  return weir.route { r.text .. "/" .. f.body }
end
return p""",
        "attempts": """local p = {}
function p.on_attempt(req, attempt) if attempt.target == "a/x" and weir.shared("s"):add("n", 1) % 2 == 1 then return weir.skip("its turn is over") end end
function p.on_failure(req, attempt, fault) if fault.kind == "overloaded" and attempt.number < 3 then return weir.retry { after = 0 } end end
return p""",
    }
    answers = {"x": "b", "y": "here"}

    def provider(request, peer):
        if request.method == "GET":
            assert request.target.endswith("?secret=abc"), request.target
            peer.answer(b"sk-0123456789abcdefghijkl" if "token" in request.target else b"y")
        elif json.loads(request.body)["model"] == "busy":
            peer.answer(b'{"error":{"message":"busy"}}', 503)
        else:
            peer.answer(chat_answer(answers[json.loads(request.body)["model"]], model="m", usage={"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}))
        return True

    up = h.upstream(provider)
    policies["asks"] = policies["asks"].replace("URL", up.url + "/")
    models = f"models = {{ x = {{ {PRICE} }}, y = {{ {PRICE} }}, busy = {{ {PRICE} }} }}"
    base = chat_provider("a", up.url, models) + chat_provider("b", up.url, models) + 'model "m" { "a/x", "b/y" }\nmodel "f" { "a/busy", "b/y" }\n'
    w = h.weir(base, policies=policies)
    for name in policies:
        w.write(base + f'use "{name}"\n')
        assert w.reload()[0] == 0, w.reload()
        for i in range(5):
            w.chat("f" if name == "attempts" and i % 2 else "m", headers=[("x-request-id", f"{name}-{i}")])
    until(lambda: sum(r["parent"] is None for r in w.ledger()) == 30, 5 * h.slow, "all rows")
    rows = {r["id"]: r for r in w.ledger()}
    assert {r["end"] for i, r in rows.items() if i.startswith("money")} == {"done", "capped"}, [r["end"] for i, r in rows.items() if i.startswith("money")]
    assert not any("abc" in (r["reads"] or "") for r in rows.values())
    assert "[secret]" in rows["asks-0"]["reads"]
    for name in policies:
        targets = set()
        for i in range(5):
            lines = why(h, w, f"{name}-{i}")
            row = rows[f"{name}-{i}"]
            if row["end"] != "capped":
                assert f"as it was: {row['target']}" in lines, (row["reads"], lines)
                targets.add(row["target"])
            assert not any(x.startswith("differs") for x in lines[: next((k for k, x in enumerate(lines) if x.startswith("now")), None)]), lines
        assert targets == ({"b/y"} if name == "asks" else {"a/x", "b/y"}) or name in ("dice", "clock"), (name, targets)
    assert rows["asks-0"]["reads"].startswith('[["ask","a/x",{'), rows["asks-0"]
    failed = why(h, w, "attempts-1")
    assert sum(x.startswith("again a/busy: overloaded, as it was; is tried again") or x.startswith("a/busy: overloaded, as it was; is tried again") for x in failed) == 2, failed

    w.write(base + 'use "turns"\n')
    w.policy("turns", "local p = {}\nfunction p.on_request(req) return weir.deny(403, 'closed now') end\nreturn p")
    assert w.reload()[0] == 0
    lines = why(h, w, "turns-0")
    assert "as it was: a/x" in lines and "now turns denies with 403: closed now" in lines and "differs it was a/x, and would be denied" in lines, lines


def test_contents_where_they_are_wanted(h):
    def provider(request, peer):
        asked = request.json()
        if asked.get("stream"):
            peer.stream(*chat_events("Hel", "lo."))
        else:
            peer.answer(chat_answer("It is sk-proj-0123456789abcdefghij."))
        return True

    up = h.upstream(provider)
    guard = "local p = {}\nfunction p.on_request(req) if req:text():find('forbidden', 1, true) then return weir.deny(403, 'no') end end\nreturn p"
    base = chat_provider("a", up.url, MODEL) + 'use "redact" { needles = { "Nightjar" }, with = "[bird]" }\nuse "guard2"\n'
    w = h.weir(base + 'ledger { contents = { user = "ann*", model = { "a/wanted" }, size = 2000 } }\n', policies={"redact": shipped("redact"), "guard2": guard})

    def ask(name, text, model="a/x", stream=False, user=None):
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **({"user": user} if user else {})}
        return w.post("/v1/chat/completions", json.dumps(body).encode(), [("x-request-id", name)])

    stream = ask("stream", "Project Nightjar", user="anna", stream=True)
    ask("whole", "hello", "a/wanted")
    ask("long", "x" * 2500, "a/wanted")
    assert ask("denied", "forbidden", "a/wanted").status == 403
    ask("other", "hidden words", user="bob")
    w.rows(5)
    kept = {}
    until(lambda: len(kept) == 4 or kept.update({r["id"]: r for r in w.ledger("SELECT * FROM contents")}), 5 * h.slow, "contents")
    assert set(kept) == {"stream", "whole", "long", "denied"}, kept
    assert "[bird]" in kept["stream"]["request"] and "Nightjar" not in kept["stream"]["request"], kept["stream"]
    assert kept["stream"]["answer"] == stream.body.decode() and not kept["stream"]["cut"], kept["stream"]
    assert json.loads(kept["whole"]["request"])["messages"][0]["content"] == "hello" and "It is [secret]." in kept["whole"]["answer"], kept["whole"]
    assert kept["long"]["cut"] and len(kept["long"]["request"]) == 2000, kept["long"]
    assert "forbidden" in kept["denied"]["request"], kept["denied"]
    lines = why(h, w, "denied")  # what the policy read of the messages is there again
    assert "again guard2 denies with 403: no" in lines and "as it was: denied" in lines and any(x.startswith("request {") for x in lines), lines
    assert any(x.startswith("(cut") for x in why(h, w, "long"))
    for words, said in (("contents = {}", "contents says whose"), ("contents = true", "contents is a table"), ('contents = { team = "x", size = 1 }', "size")):
        w.write(base + f"ledger {{ {words} }}\n")
        code, text = w.reload()
        assert code != 0 and said in text, text


def test_one_takes_over_from_another(h):
    """Both fill one ring while the older one drains; budgets get what is promised by whoever writes."""
    till, slow = Till(h, 0), Till(h, 1.0)
    w = capped(h, 'per = "all", day = usd(9)', chat_provider("a", till.url, MODEL), chat_provider("s", slow.url, MODEL))
    assert w.chat("a/x").status == 200
    t = threading.Thread(target=w.chat, args=("s/x",))
    t.start()
    until(lambda: slow.served == 1, 5 * h.slow, "one is under way")
    upgrade(w)
    for _ in range(30):
        assert w.chat("a/x").status == 200
    w.rows(31 if t.is_alive() else 32)
    t.join()
    rows = w.rows(32)
    assert spent(rows) == 32 * COST and w.ledger("SELECT count(*) AS n FROM grants")[0]["n"] > 0 and {r["end"] for r in rows} == {"done"}
    until(lambda: not alive(w.pid), 10 * h.slow, "the older one has ended")
    assert w.chat("a/x").status == 200
    w.rows(33)
    assert "error ledger" not in w.err and "no ledger is kept" not in w.err, w.err
    end(w)
