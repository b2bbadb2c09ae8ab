#!/usr/bin/env python3
"""Mixed load for a long time, with faults, reloads, slow readers and clients that leave: memory and descriptors must stay
flat after the first minute, and no answer may differ from the provider's own.

    tests/soak.py [--build build] [--seconds 600] [--clients 8]

Prints a line every ten seconds; the last one is "N passed, N failed". See doc/testing.md."""

import argparse
import collections
import json
import os
import random
import signal
import socket
import statistics
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "e2e"))
import certs  # noqa: E402
import harness  # noqa: E402
import wire  # noqa: E402
from harness import Weir, chat_provider, messages_provider, until  # noqa: E402

ROUTES = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Say something."}]}),
    "responses": ("/v1/responses", {"input": "Say something."}),
    "messages": ("/v1/messages", {"max_tokens": 99, "messages": [{"role": "user", "content": "Say something."}]}),
}
GOOD = ["", "events=30", "events=60;gap=5", "tools=2", "split=7", "size=20000;events=40", "size=400000;events=200"]
BAD = ["status=503", "status=400", "status=429", "reset=2", "cut=2", "end=2", "stall=2", "error=2", "bad=2", "drop", "empty", "garbage", "html"]
POLICY = """-- %d
local m = weir.shared("soak", { entries = 1000, ttl = 60 })
local words = weir.matcher { "nowhere", "never" }
local p = { on_error = "deny" }
function p.on_request(req)
  m:add("n" .. weir.random(1, 2000), 1)
  if weir.random(1, 50) == 1 then weir.sleep(0.02) end
end
function p.on_chunk(req, chunk) if chunk.text and words:feed(req, chunk.text) then return weir.stop("a word", "filter") end end
function p.on_done(req, usage) weir.counter("soaked"):add(1) end
return p
"""


class Soak:
    def __init__(self, args):
        self.h = h = harness.Harness(os.path.abspath(args.build), 1, "soak")
        self.stop, self.lock, self.wrong = threading.Event(), threading.Lock(), []
        self.count, self.references = collections.Counter(), {}
        certs.authority(h.tmp, "root")
        pem, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost", "IP:127.0.0.1"])
        port = h.port()
        self.mock = m = h.mock("--tls", f"127.0.0.1:{port}", "--cert", pem, "--key", key)
        until(lambda: Weir.listening(port), 10, "the mock's TLS listens")
        ca = f'ca = "{h.tmp}/root.pem"'
        self.weir = h.weir(
            chat_provider("plain", m.url) + chat_provider("sealed", f"https://localhost:{port}/v1", ca) + messages_provider("ant", m.url)
            + messages_provider("antsealed", f"https://localhost:{port}/v1", ca) + 'default_provider "plain"\nuse "soak"\n'
            + "defaults { between_events = 1, first_event = 2, head = 2, idle_pool = 5, client_idle = 300 }\nlog { access = \"off\" }\n",
            policies={"soak": POLICY % 0},
        )

    # ---- one exchange
    def body(self, route, model, streamed):
        return json.dumps({**ROUTES[route][1], "model": model, "stream": streamed}).encode()

    def reference(self, route, streamed, spec):
        key = route, streamed, spec
        if key not in self.references:
            self.references[key] = wire.post(self.mock.port, ROUTES[route][0], self.body(route, "mock", streamed), [("x-mock", spec)]).body
        return self.references[key]

    def judge(self, name, a, good, reference, streamed):
        if good and (a.status, a.body, a.whole) != (200, reference, True):
            return f"{name}: not what the provider sent: {a.status} {len(a.body)} of {len(reference)} bytes: {a.body[-300:]!r}"
        if good or not (streamed and a.status == 200):
            return "" if a.whole or a.status == 200 else f"{name}: broke off: {a}"
        at = len(os.path.commonprefix([a.body, reference]))
        if at == len(a.body) or b'"error"' in a.body[max(0, at - 80):]:
            return "" if a.whole else f"{name}: a stream without an end"
        return f"{name}: an altered stream: {a.body[at - 50:at + 300]!r}"

    def exchange(self, r, c, seed):
        route, streamed = r.choice(list(ROUTES)), r.random() < 0.7
        good = r.random() < 0.8
        spec = r.choice(GOOD if good else BAD)
        provider = r.choice(["ant", "antsealed"] if route == "messages" else ["plain", "sealed"])
        name = f"{route} {provider} {'stream' if streamed else 'whole'} {spec}"
        reference = self.reference(route, streamed, spec if good else "")
        self.last[seed].append((time.monotonic(), name))
        c.send(wire.request("POST", ROUTES[route][0], self.body(route, f"{provider}/mock", streamed), [("x-mock", spec)]))
        manner = r.random()
        if manner < 0.04:  # leaves at once, or after some bytes
            if manner < 0.02:
                c.more(1 + r.randrange(4000))
            self.count["left"] += 1
            return False
        pause = (lambda a: time.sleep(0.003) or False) if manner < 0.08 else None
        a = c.answer(on_piece=pause)
        wrong = self.judge(name, a, good, reference, streamed)
        with self.lock:
            self.count["answers"] += 1
            self.count["slow"] += pause is not None
            self.count["faults"] += not good
            if wrong:
                self.wrong.append(wrong)
        return a.keep_alive and a.whole and not pause  # who reads slowly is idle to weir before it has read all

    def client(self, seed):
        r = random.Random(seed)
        self.last = getattr(self, "last", {})
        while not self.stop.is_set():
            self.last[seed] = []
            try:
                with wire.Connection(self.weir.port) as c:
                    if r.random() < 0.1:
                        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    for _ in range(r.randrange(1, 60)):
                        if self.stop.is_set() or not self.exchange(r, c, seed):
                            break
            except Exception as e:
                with self.lock:
                    before = "; ".join(f"{time.monotonic() - at:.2f} s ago {name}" for at, name in self.last[seed][-3:])
                    self.wrong.append(f"{type(e).__name__}: {e}: number {len(self.last[seed])} of its connection: {before}")
                time.sleep(0.1)

    # ---- what is watched
    def sample(self):
        with open(f"/proc/{self.weir.pid}/smaps_rollup") as f:
            pss = next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        return pss, len(os.listdir(f"/proc/{self.weir.pid}/fd"))

    def run(self, seconds, clients):
        begun, number, samples, reloads = time.monotonic(), 0, [], 0
        threads = [threading.Thread(target=self.client, args=(i,)) for i in range(clients)]
        for t in threads:
            t.start()
        while (passed := time.monotonic() - begun) < seconds and len(self.wrong) < 10 and self.weir.alive():
            time.sleep(1)
            samples.append((passed, *self.sample()))
            number += 1
            if number % 7 == 0:
                self.weir.policy("soak", POLICY % number)
                code, text = self.weir.reload()
                reloads += 1
                if code:
                    self.wrong.append(f"a reload was refused: {text}")
            if number % 10 == 0:
                pss, files = samples[-1][1:]
                print(f"{passed:6.0f} s  {pss / 1024:7.1f} MB  {files:5} descriptors  {self.count['answers']:8} answers, {self.count['faults']} of faults, "
                      f"{self.count['slow']} slow, {self.count['left']} left, {reloads} reloads", flush=True)
        self.stop.set()
        for t in threads:
            t.join()
        return samples

    def rest(self, samples, seconds):
        """What must hold; gives the sentences that do not."""
        warm, most = min(60, seconds / 3), 0
        early = [s for s in samples if warm <= s[0] < warm + max(20, seconds / 6)]
        late = [s for s in samples if s[0] >= seconds - max(20, seconds / 6)]
        bad = list(self.wrong[:10])
        if early and late:
            for i, what, room, unit in ((1, "memory", 4096, "KB"), (2, "descriptors", 40, "")):
                before, after = statistics.median(s[i] for s in early), statistics.median(s[i] for s in late)
                print(f"{what}: {before:.0f} {unit} after the first {warm:.0f} s, {after:.0f} {unit} at the end")
                if after > before * 1.1 + room:
                    bad.append(f"{what} grew from {before:.0f} to {after:.0f} {unit}")
        else:
            bad.append("it ended too early to be judged")
        if self.weir.alive():
            open_streams = until(lambda: self.weir.metric("weir_streams_open") == 0, 10, "no stream is open")
            time.sleep(7)  # idle_pool and a beat
            most = self.sample()[1]
            print(f"at rest: {self.sample()[0] / 1024:.1f} MB, {most} descriptors, {self.count['answers']} answers")
            if not open_streams or most > 60:
                bad.append(f"{most} descriptors at rest")
        return bad


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default="build")
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--clients", type=int, default=8)
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soak = Soak(args)
    bad = []
    try:
        bad = soak.rest(soak.run(args.seconds, args.clients), args.seconds)
    finally:
        soak.stop.set()
        after = soak.h.end()
    bad += [after] if after else []
    for line in bad:
        print(f"FAILED {line[:1500]}")
    print(f"{int(not bad)} passed, {int(bool(bad))} failed")
    return bool(bad)


sys.exit(main())
