"""make bench: the runs, in order. bench/run installs what this needs and starts it."""
import os, platform, signal, subprocess, sys, tempfile, time
import machine, measures, tables
from peers import PEERS, Lost, Peer, bodies, certificates

LIMIT = 14 * 60                      # seconds; rounds that would not fit are left out
WAIT_MOST = 4                        # seconds for other programs to become quiet, before a sample is taken again


class Bench:
    """What all tests share: the folder, the mock provider, the peers, how much of everything."""

    def __init__(self, build, folder):
        quick = os.environ.get("QUICK", "0") not in ("", "0")
        number = lambda name, usual: type(usual)(os.environ.get(name) or usual)
        self.build, self.folder = os.path.abspath(build), folder
        self.files = machine.raise_file_limit()
        self.rounds, self.seconds, self.starts = number("ROUNDS", 1 if quick else 5), number("SECONDS_EACH", 0.5 if quick else 2.0), 3 if quick else 5
        self.patience = 8 if quick else 150                  # seconds that may go into samples taken again
        self.held = min(1000 if quick else 5000, (self.files - 500) // 2)
        self.only = [t for t in os.environ.get("ONLY", "").split(",") if t]
        if quick and not self.only:
            self.only = [t for t in [*measures.TESTS, *measures.ONCE, *measures.ALONE] if t not in ("unary-20k", "stream-20")]
        self.bodies = bodies(folder)
        ports = machine.free_ports(2 * len(PEERS) + 1)
        self.upstream_port = ports[-1]
        self.upstream, self.front = None, Peer("front", self, ports[-2], ports[-3])
        self.peers = {n: Peer(n, self, ports[2 * i], ports[2 * i + 1]) for i, n in enumerate(PEERS) if n != "front"}
        self.peers["direct"].port = self.upstream_port
        self.samples = tables.Samples()

    def wants(self, test):
        return not self.only or test in self.only

    def own_pids(self):
        """Processes of this run other than the one that is measured: the rest of the load."""
        return [self.upstream.pid, *self.front.pids]

    def start_upstream(self):
        known = [*measures.TESTS, *measures.ONCE, *measures.ALONE]
        if any(w not in known for w in self.only):
            sys.exit(f"ONLY takes {', '.join(known)}")
        self.upstream = machine.start([f"{self.build}/bench/upstream", str(self.upstream_port)], machine.LOAD_CORE, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 5
        while not self.peers["direct"].answers(self.bodies["1k"]):
            if time.monotonic() > until:
                sys.exit("the mock provider does not start")
            time.sleep(0.01)
        missing = [n for n, p in [*self.peers.items(), ("front", self.front)] if not p.there()]
        if not self.front.there():
            missing += [n for n, p in self.peers.items() if p.tls]
        for name in missing:
            self.peers.pop(name, None)
        if missing:
            say("not there, left out: " + ", ".join(sorted(set(missing))))
        if any(p.tls for p in self.peers.values()):
            certificates(self.folder)
            self.front.start()

    def stop(self):
        for peer in [*self.peers.values(), self.front]:
            peer.stop()
        if self.upstream:
            machine.stop(self.upstream)


def say(text):
    print(text, file=sys.stderr, flush=True)


def bad_told(test, peer, figures):
    if figures.get("bad"):
        say(f"BAD: {test}, {peer}: {figures['bad']} {figures.get('faults', '')}")


def once(bench, test, peers):
    """A test that starts its peer afresh (or takes the running one) and is done once."""
    for name in peers:
        if name not in bench.peers:
            continue
        say(f"{test} {name}")
        try:
            figures = getattr(measures, test)(bench, bench.peers[name])
        except (Lost, subprocess.TimeoutExpired, ValueError, IndexError, OSError) as e:
            say(f"BAD: {test}, {name}: {e}")
            if test in ("start", "hold"):
                bench.peers[name].stop()
            continue
        bad_told(test, name, figures)
        bench.samples.once.setdefault(test, {})[name] = figures


def ready(bench, names):
    """Starts the peers and sees that every body comes through unchanged. One that fails is left out, which is bad if it is weir."""
    for name in names:
        peer = bench.peers[name]
        try:
            peer.start()
            wrong = [size for size, body in bench.bodies.items() if not size.endswith("stream") and not peer.answers(body)]
            if wrong:
                raise Lost(f"{name}: a wrong answer, or another body at the provider: {', '.join(wrong)}\n{peer.last_words()}")
        except Lost as e:
            say(f"{'BAD: ' if name.startswith('weir') else ''}{e}")
            bench.lost += name.startswith("weir")
            bench.peers.pop(name).stop()


def sample(bench, test, peer):
    """A sample that other programs disturbed is taken again once, when they are quiet, as long as there is patience."""
    figures = measures.run(bench, test, peer)
    if figures["foreign"] <= tables.DISTURBED or bench.patience <= 0 or figures["bad"]:
        return figures
    began = time.monotonic()
    machine.quiet([*bench.own_pids(), *peer.pids], tables.DISTURBED, min(WAIT_MOST, bench.patience))
    again = measures.run(bench, test, peer)
    bench.patience -= time.monotonic() - began
    return again if again["foreign"] < figures["foreign"] or again["bad"] else figures


def one_round(bench, number, tests):
    for test in tests:
        names = [n for n in measures.TESTS[test][2] if n in bench.peers]
        for name in names[::-1] if number % 2 else names:
            peer = bench.peers[name]
            if peer.died():
                say(f"{name} has died:\n{peer.last_words()}")
                peer.start()
            try:
                figures = sample(bench, test, peer)
            except (subprocess.TimeoutExpired, ValueError) as e:
                say(f"BAD: {test}, {name}: {e!r}")
                figures = {"bad": 1}
            if len(figures) > 1:
                bench.samples.add(test, name, number, figures)
            bench.lost += len(figures) == 1
            bad_told(test, name, figures)


def run(bench):
    began = time.monotonic()
    bench.lost = 0
    bench.start_upstream()
    for test in ("start", "hold"):
        if bench.wants(test):
            once(bench, test, measures.ONCE[test])
    tests = [t for t in measures.TESTS if bench.wants(t)]
    later = [t for t in ("cancel", "syscalls") if bench.wants(t)]
    needed = {n for t in tests for n in measures.TESTS[t][2]} | {n for t in later for n in measures.ONCE[t]}
    ready(bench, [n for n in bench.peers if n in needed])
    for number in range(bench.rounds):
        before = time.monotonic()
        if number and before - began + (before - last) > LIMIT - 60:
            say(f"no time for more than {number} of {bench.rounds} rounds")
            break
        say(f"round {number + 1} of {bench.rounds}: {', '.join(tests)}")
        one_round(bench, number, tests)
        last = before
    for test in later:
        once(bench, test, measures.ONCE[test])
    for test in measures.ALONE:
        if bench.wants(test):
            bench.samples.alone[test] = measures.alone(bench, test)


def versions(bench):
    def first_line(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10)
            return ((done.stdout or done.stderr).splitlines() or ["?"])[0]
        except OSError:
            return f"no {command[0]}"
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    print(f"# make bench\n\n{cpu}, {os.cpu_count()} cores, Linux {platform.release()}; gateway on core {machine.GATEWAY_CORE}, load and mock provider on core "
          f"{machine.LOAD_CORE}; {bench.rounds} rounds of {bench.seconds:g} s, interleaved.\n")
    for command in ((f"{bench.build}/weir", "version"), ("nginx", "-v"), ("haproxy", "-v")):
        print(f"- {first_line(*command)}")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not os.path.exists(f"{sys.argv[1]}/bench/load"):
        sys.exit(f"{sys.argv[1]}/bench/load is missing: make bench builds it")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-bench.", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        os.sched_setaffinity(0, {machine.LOAD_CORE})
        bench = Bench(sys.argv[1], folder)
        try:
            run(bench)
        except (Lost, KeyboardInterrupt) as e:
            say(f"stopped: {e}")
            bench.lost += 1
        finally:
            bench.stop()
    versions(bench)
    tables.report(bench.samples, bench.held)
    bad = bench.samples.bad() + bench.lost
    print(f"\n{time.monotonic() - began:.0f} s; bad: {bad}")
    sys.exit(bad != 0)


main()
