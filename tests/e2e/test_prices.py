"""Prices as an operator meets them: which one holds, a file that changes, one that is broken, one that is old."""

import json
import os
import time

from harness import chat_provider, until


def entry(i, o, **more):
    return {"litellm_provider": "lab", "mode": "chat", "input_cost_per_token": i, "output_cost_per_token": o, **more}


def listed(w, text):
    path = os.path.join(os.path.dirname(w.file), "list.json")
    with open(path + ".new", "w") as f:
        f.write(text if isinstance(text, str) else json.dumps(text))
    os.rename(path + ".new", path)
    return path


def explained(h, w, model="lab/small"):
    r = h.run("check", "--config", w.file, "--explain", model, env=w.env)
    assert r.returncode == 0, r
    return r.stdout


def with_list(h, first, words='prices "list.json"', **more):
    w = h.weir(chat_provider("lab", h.mock().url), **more)
    listed(w, first)
    w.write(w.config + words + "\n")
    code, text = w.reload()
    assert code == 0, text
    return w


def test_a_file_that_changes(h):
    """A reload takes the new list; a broken one changes nothing, and says where it is broken."""
    w = with_list(h, {"lab/small": entry(1e-06, 2e-06)})
    assert "input 1 " in explained(h, w) and "list.json, 0.0 days old, as 'lab/small'" in explained(h, w)
    listed(w, {"lab/small": entry(3.5e-06, 2e-06), "odd": 7})
    code, text = w.reload()
    assert code == 0 and "is live" in text, text
    r = h.run("check", "--config", w.file, env=w.env)
    assert "1 models, 1 with a price" in r.stdout and "odd: it is no object" in r.stdout, r.stdout
    assert "input 3.5 " in explained(h, w)
    listed(w, '{ "lab/small":\n { "input_cost_per_token": }')
    code, text = w.reload()
    assert code != 0 and "is no price file" in text and "line 2" in text, text
    assert w.chat().status == 200


def test_a_watched_file(h):
    w = with_list(h, {"lab/small": entry(1e-06, 2e-06)}, arguments=["--watch"])
    listed(w, "no list")
    until(lambda: "list.json' is no price file" in w.err, 10, "a refused reload after the list changed")
    before = w.err.count("is live")
    listed(w, {"lab/small": entry(2e-06, 2e-06)})
    until(lambda: w.err.count("is live") > before, 10, "a reload after the list was mended")


def test_an_old_file(h):
    w = with_list(h, {"lab/small": entry(1e-06, 2e-06)}, 'prices { "list.json", max_age = days(30) }')
    assert "older than max_age" not in w.err
    path = listed(w, {"lab/small": entry(1e-06, 2e-06)})
    os.utime(path, (time.time() - 40 * 86400,) * 2)
    code, text = w.reload()
    assert code == 0, text
    until(lambda: "is 40 days old, older than max_age (30 days)" in w.err, 5, "a warning about the old list")


def test_what_is_known(h):
    """Of a model nobody prices, one of the shipped table, one of weir.lua, with discount."""
    w = h.weir(
        chat_provider("lab", "http://127.0.0.1:1/v1", 'discount = 0.5, models = { big = { window = 9000, price = { input = usd(4), output = usd("0.000001") } } }')
        + 'provider "anthropic" { key = env "OPENAI_KEY" }\n'
    )
    assert "price: unknown" in explained(h, w)
    big = explained(h, w, "lab/big")
    assert "window 9000" in big and "times 0.5 (discount)" in big and "input 4 " in big and "output 0.000001" in big, big
    claude = explained(h, w, "anthropic/claude-sonnet-4-5-20250929")
    assert "as 'anthropic/claude-sonnet-4-5'" in claude and "cache_write_1h 6 " in claude and "above 200000 tokens of input, input 6 " in claude, claude
