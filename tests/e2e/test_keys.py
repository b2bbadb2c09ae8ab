"""Client keys: who gets in, what for, who it was; and weir key on a running weir. INTERFACE 1, 3, 4."""
import hashlib
import json
import os
import stat
import subprocess
import threading

import sdk
import wire
from harness import chat_body, chat_provider, leaks, messages_provider, until
from upstream import pausing, usual

GOOD, OLD = "weir_e2e-client-key-0123456789-abcdefghijk-ABCD", "weir_e2e-expired-key-0123456789-abcdefghijk-AB"


def hash_of(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def key(name, text, more=""):
    return f'key "{name}" {{ hash = "{hash_of(text)}", {more} }}\n'


def answers(r, peer):
    if r.target.split("?")[0].endswith("/embeddings"):
        peer.answer(b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,2]}],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}}')
        return True
    return usual(r, peer)


def keyed(h, more="", handler=answers, keys=None, policies=None):
    """A weir with two providers at one upstream, and the keys good and old."""
    u = h.upstream(handler)
    if keys is None:
        keys = key("good", GOOD, 'team = "search", user = "ann", tags = { zone = "eu", ["n"] = "7" }') + key("old", OLD, 'expires = "2026-01-01"')
    w = h.weir(chat_provider("p", u.url) + messages_provider("a", u.url) + 'default_provider "p"\n' + keys + more, policies=policies)
    return w, u


def carriers(text):
    """(headers, query) of each way to bring a key."""
    return [([("Authorization", f"Bearer {text}")], ""), ([("authorization", f"bearer  {text}")], ""), ([("X-Api-Key", text)], ""),
            ([("x-goog-api-key", text)], ""), ([("api-key", text)], ""), ([], f"?key={text}&keep=1"), ([], "?k%65y=" + text.replace("-", "%2D"))]


ROUTES = [("POST", "/v1/chat/completions"), ("POST", "/v1/messages"), ("POST", "/v1/embeddings"), ("POST", "/p/v1/files"), ("POST", "/a/v1/messages/batches"),
          ("POST", "/v1/audio/speech"), ("GET", "/v1/models"), ("GET", "/p/v1/models"), ("GET", "/v1/files/f-1")]


def ask(w, method, path, headers=(), query="", **more):
    return wire.ask(w.port, method, path + query, chat_body(max_tokens=5) if method == "POST" else None, list(headers), **more)


def check_401(a, messages, said):
    assert a.status == 401 and a.header("www-authenticate") == "Bearer", a
    assert a.error["type"] == ("authentication_error" if messages else "invalid_request_error"), a
    assert messages or a.error["code"] == "invalid_api_key", a
    assert not messages or a.json()["type"] == "error", a
    assert a.weir["fault"] == "auth" and a.weir["tried"] == [] and a.weir["id"] == a.header("x-request-id"), a
    assert said in a.error["message"] and "good" not in a.error["message"] and "old" not in a.error["message"].replace("too old", ""), a


def no_trace(h, u, *texts):
    """The keys are in nothing that the provider got, and in no file below the test's folder: no log, no configuration."""
    for text in texts:
        for r in u.requests:
            assert text.encode() not in r.head + r.body, f"a client's key went upstream: {r.head!r}"
            assert hash_of(text)[7:].encode() not in r.head + r.body, r.head
        assert not list(leaks(h.tmp, text)), f"{text[:9]}… stands in {list(leaks(h.tmp, text))}"


def test_every_way_on_every_route(h):
    w, u = keyed(h)
    for method, path in ROUTES:
        for headers, query in carriers(GOOD):
            a = ask(w, method, path, headers, query)
            assert a.status == 200 and a.keep_alive, f"{method} {path} {headers} {query}: {a}"
            assert GOOD not in str(a.headers) and GOOD.encode() not in a.body, a
            r = w.record(a.header("x-request-id"))
            assert (r["key"], r["team"], r["user"], r["key_tags"]) == ("good", "search", "ann", {"n": "7", "zone": "eu"}), r
    a = ask(w, "POST", "/v1/chat/completions", [("x-api-key", "nobody"), ("api-key", OLD), ("authorization", f"Bearer {GOOD}")])
    assert a.status == 200, a                            # the first good one counts
    a = w.chat(stream=True, headers=[("x-api-key", GOOD)])
    assert a.status == 200 and a.whole and a.text() == "Hello.", a
    no_trace(h, u, GOOD, OLD)


def test_strangers_stay_outside(h):
    policy = 'local p = {}\nfunction p.on_request(req) weir.log.error("RAN") end\nfunction p.on_done(req) weir.log.error("RAN") end\nreturn p\n'
    w, u = keyed(h, 'use "told"\n', policies={"told": policy})
    tries = [([], "", "is needed")] + [(hs, q, "is not known") for hs, q in carriers("weir_nobody-0123")] + [(hs, q, "has expired") for hs, q in carriers(OLD)]
    tries += [([("authorization", f"Basic {GOOD}")], "", "is needed"), ([("authorization", GOOD)], "", "is needed"), ([("cookie", f"key={GOOD}")], "", "is needed"),
              ([("x-api-key", GOOD[:-1])], "", "is not known"), ([("x-api-key", GOOD + "A")], "", "is not known"), ([("x-api-key", hash_of(GOOD))], "", "is not known"),
              ([("x-api-key", hash_of(GOOD)[7:])], "", "is not known"), ([("x-api-key", "x" * 5000)], "", "is not known"), ([], f"?key={OLD}&key={GOOD}", "has expired")]
    for method, path in ROUTES:
        for headers, query, said in tries:
            check_401(ask(w, method, path, headers, query), path == "/v1/messages", said)
    check_401(ask(w, "GET", "/v1/models", [("anthropic-version", "2023-06-01")]), True, "is needed")
    check_401(ask(w, "POST", "/nowhere"), False, "is needed")          # not told what there is
    a = ask(w, "GET", "/v1/models", [("x-request-id", "mine-1")])
    r = w.record("mine-1")
    assert r["status"] == 401 and r["end"] == "auth" and r["path"] == "/v1/models" and "key" not in r, r
    assert not u.requests and not u.connections, "something was opened upstream"
    assert "RAN" not in w.err, "a policy ran for a stranger"
    no_trace(h, u, GOOD, OLD, "weir_nobody-0123")


def test_a_strangers_body_is_not_waited_for(h):
    w, u = keyed(h)
    for path in ("/v1/chat/completions", "/p/v1/files"):
        with wire.raw(w.port, f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n".encode()) as c:
            a = c.answer()
            assert a.status == 401 and not a.interim and not a.keep_alive, a
            assert c.ended(), "the connection stays open"
        with wire.raw(w.port, f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n".encode()) as c:
            assert c.answer().status == 401
    with wire.Connection(w.port) as c:                   # without a body the connection is good for another try
        for headers, status in (([], 401), ([("x-api-key", GOOD)], 200), ([], 401), ([("x-api-key", GOOD)], 200)):
            c.send(wire.request("GET", "/v1/models", None, headers))
            assert c.answer("GET").status == status
    a = w.post("/v1/chat/completions", b"x" * 300000)    # sent all the same: the answer arrives
    assert a.status == 401 and a.whole, a
    assert not u.connections


def check_403(a, named, messages=False):
    assert a.status == 403 and a.error["type"] == "permission_error" and named in a.error["message"], a
    assert a.weir["fault"] == "auth" and (messages or a.error["code"] == "permission_denied"), a


def test_models_of_a_key(h):
    models = 'models = { ["m1"] = {}, ["m2"] = {} }'
    u = h.upstream()
    two = "weir_second-key-0123456789"
    w = h.weir(chat_provider("p", u.url, models) + messages_provider("a", u.url, models) + 'default_provider "p"\nmodel "smart" { "p/m1", "a/m2" }\nmodel "secret" { "p/m2" }\n'
               + key("few", GOOD, 'models = { "smart", "p/m1*", "a/*", "bare" }') + key("whole", two, 'models = { "p/*" }') + 'use "moves"\n',
               policies={"moves": 'local p = {}\nfunction p.on_request(req)\n  if req.headers["x-move"] then return weir.route { "p/m2" } end\nend\nreturn p\n'})
    few, whole = [("x-api-key", GOOD)], [("x-api-key", two)]
    for model in ("smart", "p/m1", "p/m1-mini", "m1", "m1-mini", "bare"):             # "m1" is p/m1 by its own name at the default provider
        assert w.chat(model, headers=few).status == 200, model
    for model in ("secret", "p/m2", "m2", "p/m", "bare2", "smarter", "Smart", "nope/x", "other", "p/", "*", "p/*"):
        seen = len(u.requests)
        check_403(w.chat(model, headers=few), f"'{model}'")
        check_403(w.chat(model, stream=True, headers=few), f"'{model}'")
        assert len(u.requests) == seen, model
    assert w.post("/v1/messages", chat_body("a/m2", max_tokens=5), few).status == 200
    assert w.post("/v1/messages", chat_body("a/anything", max_tokens=5), few).status == 200
    check_403(w.post("/v1/messages", chat_body("claude", max_tokens=5), [("x-api-key", two)]), "'claude'", True)
    check_403(w.post("/v1/embeddings", chat_body("p/m2"), few), "'p/m2'")
    assert w.chat("smart", headers=few + [("x-move", "1")]).status == 200             # the asked name counts; where it goes is the policy's matter
    long = w.chat("é" * 500, headers=few)
    check_403(long, "é" * 60)
    assert len(long.error["message"]) < 250, long
    a = w.post("/v1/chat/completions", b'{"messages":[]}', few)
    assert a.status == 400 and a.error["code"] == "missing_required_parameter", a
    twice = w.post("/v1/chat/completions", b'{"model":"smart","\\u006dodel":"secret","messages":[]}', few)
    assert twice.status == 400, twice

    names = lambda headers, **more: [m["id"] for m in wire.get(w.port, "/v1/models", headers, **more).json()["data"]]
    assert names(few) == ["smart", "p/m1", "a/m1", "a/m2"], names(few)
    assert names(whole) == ["p/m1", "p/m2"], names(whole)
    assert names(few + [("anthropic-version", "2023-06-01")]) == ["smart", "p/m1", "a/m1", "a/m2"]

    # Passed through unread: any model of the provider could stand in there.
    part = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\n%s\r\n--x--\r\n'
    form = lambda model, headers: w.post("/v1/audio/transcriptions", part % model, headers + [("content-type", "multipart/form-data; boundary=x")])
    for method, path, headers, status in (("POST", "/p/v1/chat/completions", few, 403), ("POST", "/a/v1/messages", few, 200), ("GET", "/p/v1/models", few, 403),
                                          ("POST", "/v1/files", few, 403), ("GET", "/v1/models/m1", few, 403), ("POST", "/p/v1/chat/completions", whole, 200),
                                          ("POST", "/a/v1/messages", whole, 403), ("POST", "/v1/files", whole, 200), ("GET", "/v1/models/m1", whole, 200)):
        a = ask(w, method, path, headers)
        assert a.status == status, f"{method} {path}: {a}"
        if status == 403:
            check_403(a, path, "/a/" in path)
            assert "'p/*'" in a.error["message"] or "'a/*'" in a.error["message"], a
    assert form(b"p/m1", few).status == 403 and form(b"p/m1", whole).status == 200
    assert form(b"a/m1", few).status in (200, 400, 404) and form(b"a/m1", whole).status != 200
    assert u.requests and all(GOOD.encode() not in r.head + r.body for r in u.requests)
    no_trace(h, u, GOOD, two)


def test_policies_see_the_key(h):
    policy = ('local p = {}\nfunction p.on_request(req)\n  req:note("who", req.key)\n  req:note("none", tostring(req.key == nil))\n'
              '  for name, value in pairs(req.headers) do req:note("h_" .. name, value) end\n  req:note("path", req.path)\nend\n'
              'function p.on_done(req) weir.log.info("done", req.key and req.key.name) end\nreturn p\n')
    port = h.port()
    w, u = keyed(h, f'listen {{ "127.0.0.1:{port}", open = true }}\nuse "who"\n', policies={"who": policy.replace('req:note("who", req.key)', 'if req.key then req:note("who", req.key) end')})
    a = w.post("/v1/chat/completions?key=" + GOOD, chat_body(), [("x-api-key", GOOD), ("authorization", f"Bearer {GOOD}")])
    assert a.status == 200, a
    notes = w.record(a.header("x-request-id"))["notes"]
    assert json.loads(notes["who"]) == {"name": "good", "team": "search", "user": "ann", "tags": {"n": "7", "zone": "eu"}}, notes
    assert notes["none"] == "false" and notes["path"] == "/v1/chat/completions" and GOOD not in str(notes), notes
    a = wire.post(port, "/v1/chat/completions", chat_body())
    r = w.record(a.header("x-request-id"))
    assert a.status == 200 and r["notes"]["none"] == "true" and "who" not in r["notes"] and "key" not in r, r
    no_trace(h, u, GOOD)


def test_which_listeners_ask(h):
    port, path = h.port(), os.path.join(h.tmp, "w.sock")
    w, u = keyed(h, f'listen {{ "127.0.0.1:{port}", open = true }}\nlisten "unix:{path}"\n')
    asked = lambda address, *headers: wire.post(address, "/v1/chat/completions", chat_body(), list(headers))
    assert asked(w.port).status == 401 and asked(path).status == 401, "keys are there: loopback and paths ask"
    assert asked(w.port, ("api-key", GOOD)).status == 200 and asked(path, ("api-key", GOOD)).status == 200
    for headers, name in (([], None), ([("api-key", "sk-whatever")], None), ([("api-key", OLD)], None), ([("api-key", GOOD)], "good")):
        a = asked(port, *headers)
        assert a.status == 200 and w.record(a.header("x-request-id")).get("key") == name, f"{headers}: {a}"
    w.write(w.config.replace("open = true", "open = false"))           # read anew, on connections that stand too
    with wire.Connection(port) as c:
        c.send(wire.request("GET", "/v1/models"))
        assert c.answer("GET").status == 200
        assert w.reload()[0] == 0
        c.send(wire.request("GET", "/v1/models"))
        assert c.answer("GET").status == 401
    assert asked(port, ("api-key", GOOD)).status == 200
    w.write("\n".join(line for line in w.config.split("\n") if not line.startswith("key")))
    assert w.reload()[0] == 0
    assert asked(w.port).status == 200 and asked(path).status == 200 and asked(port).status == 200, "without a key nobody is asked on loopback"
    no_trace(h, u, GOOD, OLD)


def test_off_loopback_needs_keys(h):
    port = h.port()
    u = h.upstream()
    config = chat_provider("p", u.url) + f'listen "0.0.0.0:{port}"\n'
    w = h.weir(config, start=False)
    assert w.wait() == 1
    assert f'"0.0.0.0:{port}" is not loopback and there is no key: make one with weir key mint NAME' in w.err and "open = true" in w.err, w.err
    r = h.run("check", "--config", w.file)
    assert r.returncode == 1 and "weir key mint" in r.stderr, r
    code, out, err = weir_key(h, w, "mint", "one")
    text = out.strip()
    assert code == 0 and "no weir runs" in err, err
    restart(h, w)
    ask_it = lambda *headers: wire.post(port, "/v1/chat/completions", chat_body(), list(headers)).status
    assert ask_it() == 401 and ask_it(("x-api-key", text)) == 200
    no_trace(h, u, text)


def restart(h, w):
    """The same files, a new process."""
    with open(w.out_path, "ab") as out, open(w.err_path, "wb") as err:
        w.p = subprocess.Popen(w.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=w.env, cwd=h.tmp)
    w.pid, w.ended = w.p.pid, False
    w.ready()


# ---- weir key

def weir_key(h, w, *words):
    r = h.run("key", *words, "--config", w.file)
    return r.returncode, r.stdout, r.stderr


def test_mint_use_rotate_revoke(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + 'default_provider "p"\nmodel "smart" { "p/m" }\n')
    status = lambda text, model="smart": w.chat(model, headers=[("x-api-key", text)] if text else []).status
    assert status(None) == 200
    code, out, err = weir_key(h, w, "mint", "search", "--team", "search", "--user", 'a"b\\', "--models", "smart, p/m*", "--tag", "zone=eu", "--tag=n=1=2", "--expires", "2099-12-31")
    first = out.strip()
    assert code == 0 and out == first + "\n" and len(first) == 48 and first.startswith("weir_"), (code, out, err)
    assert "first key" in err and "running weir knows" in err and first not in err, err
    file = os.path.join(os.path.dirname(w.file), "keys", "search.lua")
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o640 and stat.S_IMODE(os.stat(os.path.dirname(file)).st_mode) == 0o750
    assert os.listdir(os.path.dirname(file)) == ["search.lua"]
    assert hash_of(first) in open(file).read() and first not in open(file).read()
    assert status(None) == 401 and status(first) == 200 and status(first, "p/m2") == 200 and status(first, "p/x") == 403
    a = w.chat("smart", headers=[("api-key", first)])
    r = w.record(a.header("x-request-id"))
    assert (r["key"], r["team"], r["user"], r["key_tags"]) == ("search", "search", 'a"b\\', {"n": "1=2", "zone": "eu"}), r

    code, out, err = weir_key(h, w, "mint", "search")
    assert code == 1 and not out and "there already" in err and "rotate" in err, (code, out, err)
    code, out, err = weir_key(h, w, "mint", "other")
    other = out.strip()
    assert code == 0 and "first key" not in err, err
    code, out, err = weir_key(h, w, "list")
    assert code == 0 and [line.split() for line in out.splitlines()] == [["name", "team", "models", "expires"], ["other", "-", "all", "never"],
                                                                         ["search", "search", "smart,p/m*", "2099-12-31"]], out
    assert "sha256" not in out and hash_of(first)[7:15] not in out

    code, out, err = weir_key(h, w, "rotate", "search", "--grace", "1")
    second = out.strip()
    assert code == 0 and second != first and len(second) == 48, (code, out, err)
    assert status(first) == 200 and status(second) == 200 and status(second, "p/x") == 403, "both are good in the grace, for the same models"
    text = open(file).read()
    with open(file, "w") as f:                           # the hour is over
        f.write(text.replace(text.split('expires = "')[1].split('"')[0], "2020-01-01T00:00:00Z", 1))
    assert w.reload()[0] == 0
    assert status(first) == 401 and "has expired" in w.chat(headers=[("api-key", first)]).error["message"] and status(second) == 200
    code, out, err = weir_key(h, w, "rotate", "search")
    third = out.strip()
    assert code == 0 and status(second) == 401 and status(third) == 200
    assert open(file).read().count("sha256:") == 1 and 'user = "a\\"b\\\\"' in open(file).read() and "2099-12-31" in open(file).read(), open(file).read()

    code, out, err = weir_key(h, w, "revoke", "search")
    assert code == 0 and not out and "running weir knows" in err and "last key" not in err, (code, out, err)
    assert status(third) == 401 and status(other) == 200 and not os.path.exists(file)
    code, out, err = weir_key(h, w, "revoke", "search")
    assert code == 1 and "unknown key 'search'" in err, err
    code, out, err = weir_key(h, w, "revoke", "other")
    assert code == 0 and "last key" in err and "asks for none now" in err, err
    assert status(None) == 200 and status(other) == 200
    no_trace(h, u, first, second, third, other)


def test_revoking_cuts_no_stream_and_waits_for_none(h):
    go = threading.Event()
    w, u = keyed(h, handler=pausing(go), keys="")
    text = weir_key(h, w, "mint", "one")[1].strip()
    keep = weir_key(h, w, "mint", "two")[1].strip()
    got = []
    t = threading.Thread(target=lambda: got.append(w.chat(stream=True, headers=[("x-api-key", text)])))
    t.start()
    u.one()
    with wire.Connection(w.port) as c:                   # a connection that was let in before
        c.send(wire.request("GET", "/v1/models", None, [("x-api-key", text)]))
        assert c.answer("GET").status == 200
        assert weir_key(h, w, "revoke", "one")[0] == 0
        c.send(wire.request("GET", "/v1/models", None, [("x-api-key", text)]))
        assert c.answer("GET").status == 401
    go.set()
    t.join()
    assert got[0].status == 200 and got[0].whole and got[0].text() == "Hello.", got[0]
    assert w.record(got[0].header("x-request-id"))["key"] == "one"
    no_trace(h, u, text, keep)


def test_the_last_key_off_loopback(h):
    """Revoking it must take effect, although a start without a key is refused."""
    port = h.port()
    u = h.upstream()
    config = chat_provider("p", u.url) + f'listen "0.0.0.0:{port}"\n'
    w = h.weir(config + key("boot", OLD))
    text = weir_key(h, w, "mint", "one")[1].strip()
    w.write(config)
    assert w.reload()[0] == 0
    ask_it = lambda: wire.post(port, "/v1/chat/completions", chat_body(), [("x-api-key", text)]).status
    assert ask_it() == 200
    code, out, err = weir_key(h, w, "revoke", "one")
    assert code == 0 and "lets nobody in" in err, err
    assert ask_it() == 401 and w.chat().status == 200    # loopback asks for none, as there is none
    assert "asks for keys and there is none any more" in w.err, w.err
    w.write(config + "-- changed\n")
    code, text_of_reload = w.reload()                    # from none to none is no revocation
    assert code == 1 and "there is no key" in text_of_reload, text_of_reload
    no_trace(h, u, text)


def test_commands_refuse(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url) + key("inline", GOOD) + 'include "teams/*.lua"\n')
    folder = os.path.dirname(w.file)
    os.makedirs(os.path.join(folder, "teams"))
    with open(os.path.join(folder, "teams", "t.lua"), "w") as f:
        f.write("\n\n" + key("team", OLD))
    for words, code, said in ((("mint",), 2, "a name is missing"), (("mint", "a/b"), 2, "letters, digits"), (("mint", "x" * 65), 2, "longer than 64"), (("mint", ".a"), 2, "'.'"),
                              (("mint", "a", "b"), 2, "'b' is not understood"), (("mint", "a", "--grace", "1"), 2, "not understood"), (("mint", "a", "--expires", "soon"), 2, "2027-01-31"),
                              (("mint", "a", "--expires", "2001-01-01"), 2, "is over already"), (("mint", "a", "--tag", "x"), 2, "--tag name=value"),
                              (("mint", "a", "--tag", "x=1", "--tag", "x=2"), 2, "given twice"), (("mint", "a", "--models", "a*b"), 2, "only at its end"),
                              (("mint", "a", "--models", "a,,b"), 2, "is empty"), (("mint", "a", "--team", "x\ny"), 2, "control"), (("mint", "a", "--team", ""), 2, "is empty"),
                              (("mint", "inline"), 1, "weir.lua:"), (("mint", "team"), 1, "teams/t.lua:3"), (("revoke", "inline"), 1, "weir.lua:"), (("revoke", "team"), 1, "teams/t.lua:3"),
                              (("rotate", "team"), 1, "teams/t.lua:3"), (("revoke", "inlin"), 1, "did you mean 'inline'"), (("rotate", "a", "--grace", "x"), 2, "number of hours"),
                              (("rotate", "a", "--grace", "-1"), 2, "number of hours"), (("list", "x"), 2, "not understood"), (("revoke",), 2, "missing"), (("grow",), 2, "unknown command"),
                              ((), 2, "weir key mint NAME")):
        got, out, err = weir_key(h, w, *words)
        assert got == code and said in err and not out, f"{words}: {got} {out} {err}"
        assert not os.path.exists(os.path.join(folder, "keys")), words
    r = h.run("key", "mint", "a", "--config", os.path.join(folder, "none.lua"))
    assert r.returncode == 1 and "none.lua: No such file" in r.stderr and not r.stdout, r
    r = h.run("key", "list", env={"HOME": h.tmp})        # a folder without a weir.lua
    assert r.returncode == 1 and "there is no weir.lua" in r.stderr or os.path.exists("/etc/weir/weir.lua"), r
    os.makedirs(os.path.join(folder, "keys"))
    with open(os.path.join(folder, "keys", "two.lua"), "w") as f:
        f.write(key("two", "a1") + key("three", "a2"))
    for name in ("two", "three"):
        got, out, err = weir_key(h, w, "revoke", name)
        assert got == 1 and "two.lua:" in err and os.path.exists(os.path.join(folder, "keys", "two.lua")), err
    with open(os.path.join(folder, "keys", "notes.lua"), "w") as f:
        f.write("-- mine\n")
    got, out, err = weir_key(h, w, "mint", "notes")
    assert got == 1 and "notes.lua: File exists" in err and open(os.path.join(folder, "keys", "notes.lua")).read() == "-- mine\n", err
    with open(os.path.join(folder, "keys", "bad.lua"), "w") as f:
        f.write('key "bad" {')
    got, out, err = weir_key(h, w, "mint", "fine")
    assert got == 1 and "bad.lua:1:" in err and not out and not os.path.exists(os.path.join(folder, "keys", "fine.lua")), err
    os.unlink(os.path.join(folder, "keys", "bad.lua"))
    os.unlink(os.path.join(folder, "keys", "two.lua"))
    os.unlink(os.path.join(folder, "keys", "notes.lua"))
    os.rmdir(os.path.join(folder, "keys"))
    with open(os.path.join(folder, "keys"), "w") as f:
        f.write("")
    got, out, err = weir_key(h, w, "mint", "fine")
    assert got == 1 and "keys: Not a directory" in err and not out, err
    assert h.run("key", "help").returncode == 0


def test_a_weir_that_does_not_hear(h):
    """None runs: fine. One runs and refuses its files: not fine, and said which key is good."""
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url))
    text = weir_key(h, w, "mint", "one")[1].strip()
    config = w.config
    w.write(config + 'use "missing"\n')                  # wrong for weir, no matter for keys
    code, out, err = weir_key(h, w, "mint", "two")
    assert code == 1 and out.startswith("weir_") and "not good yet" in err and "missing" in err, (code, out, err)
    assert w.chat(headers=[("api-key", out.strip())]).status == 401
    code, out, err = weir_key(h, w, "revoke", "one")
    assert code == 1 and "STILL GOOD" in err, (code, err)
    assert w.chat(headers=[("api-key", text)]).status == 200
    w.write(config)
    assert w.reload()[0] == 0 and w.chat(headers=[("api-key", text)]).status == 401
    w.signal(15)
    w.wait()
    code, out, err = weir_key(h, w, "mint", "three")
    assert code == 0 and "no weir runs" in err, err
    assert weir_key(h, w, "revoke", "three")[0] == 0
    no_trace(h, u, text)


def test_watch_sees_the_folder(h):
    u = h.upstream()
    w = h.weir(chat_provider("p", u.url), arguments=("--watch",))
    os.makedirs(os.path.join(os.path.dirname(w.file), "keys"))
    with open(os.path.join(os.path.dirname(w.file), "keys", "x.lua"), "w") as f:
        f.write(key("x", GOOD))
    until(lambda: w.chat().status == 401, 5, "the key is seen")
    assert w.chat(headers=[("api-key", GOOD)]).status == 200


def test_mint_beside_a_weir_under_load(h):
    """Keys come and go while requests run: nobody with a good key is ever refused."""
    w, u = keyed(h)
    wrong, done, stop = [], [], threading.Event()

    def run():
        while not stop.is_set():
            a = w.chat(headers=[("authorization", f"Bearer {GOOD}")])
            (done if a.status == 200 else wrong).append(str(a)[:300])
    threads = [threading.Thread(target=run) for _ in range(3)]
    for t in threads:
        t.start()
    for i in range(8):
        code, out, err = weir_key(h, w, "mint", f"k{i}")
        assert code == 0 and w.chat(headers=[("api-key", out.strip())]).status == 200, err
        if i % 2:
            assert weir_key(h, w, "revoke", f"k{i}")[0] == 0
            assert w.chat(headers=[("api-key", out.strip())]).status == 401
    stop.set()
    for t in threads:
        t.join()
    assert not wrong and len(done) > 20, (wrong[:1], len(done))


# ---- official SDKs

def test_sdk_errors(h):
    w, u = keyed(h, 'model "smart" { "p/m" }\n', keys=key("few", GOOD, 'models = { "smart", "a/c" }') + key("old", OLD, 'expires = "2026-01-01"'))
    base = f"http://127.0.0.1:{w.port}"
    user = [{"role": "user", "content": "Hi"}]
    chat, messages = {"model": "smart", "messages": user}, {"model": "a/c", "messages": user, "max_tokens": 9}
    good = [("chat", chat), ("chat", dict(chat, stream=True)), ("messages", messages), ("messages", dict(messages, stream=True)), ("models", {})]
    refused = [("chat", dict(chat, model="p/other")), ("chat", dict(chat, model="p/other", stream=True)), ("messages", dict(messages, model="a/d")), ("responses", {"model": "p/other", "input": "x"})]
    calls = [{"kind": k, "base": base, "key": GOOD, "args": a} for k, a in good]
    calls += [{"kind": k, "base": base, "key": GOOD, "args": a} for k, a in refused]
    calls += [{"kind": k, "base": base, "key": text, "args": a, "retries": 2} for text in ("sk-wrong", OLD) for k, a in good]
    results = sdk.call(h, "python", calls)
    for c, r in list(zip(calls, results))[:len(good)]:
        assert "ok" in r, f"{c['kind']}: {r}"
    assert [m["id"] for m in results[len(good) - 1]["ok"]] == ["smart"], results[len(good) - 1]
    for c, r in list(zip(calls, results))[len(good):len(good) + len(refused)]:
        assert r["error"] == "PermissionDeniedError" and r["status"] == 403 and c["args"]["model"] in str(r["body"]), f"{c['kind']}: {r}"
    for c, r in list(zip(calls, results))[len(good) + len(refused):]:
        assert r["error"] == "AuthenticationError" and r["status"] == 401, f"{c['kind']}: {r}"
        assert ("has expired" if c["key"] == OLD else "not known") in str(r["body"]), r
    assert len(u.requests) == len(good) - 1, "a refused call reached the provider"
    no_trace(h, u, GOOD, OLD, "sk-wrong")
