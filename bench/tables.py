"""From samples to markdown. Ratios are taken per round and then their median; disturbed rounds are left out where enough others are."""
import statistics
from measures import ALONE, TESTS
from peers import TOLD

DISTURBED = 0.10                     # of a core, by programs that have no part in this


def median(values):
    values = list(values)
    return statistics.median(values) if values else None


class Samples:
    """All figures: {test: {peer: {round: figures}}}."""

    def __init__(self):
        self.all, self.once, self.alone = {}, {}, {}

    def add(self, test, peer, round_, figures):
        self.all.setdefault(test, {}).setdefault(peer, {})[round_] = figures

    def rounds(self, test, *peers):
        """The rounds that count for these peers, and whether they were quiet."""
        each = [self.all.get(test, {}).get(p, {}) for p in peers]
        common = [r for r in each[0] if all(r in e for e in each)]
        quiet = [r for r in common if all(e[r]["foreign"] <= DISTURBED for e in each)]
        return (quiet, True) if quiet and len(quiet) * 2 >= len(common) else (common, not common)

    def value(self, test, peer, key):
        return median(self.all[test][peer][r][key] for r in self.rounds(test, peer)[0])

    def ratio(self, test, peer, key, other):
        a, b = self.all.get(test, {}).get(peer), self.all.get(test, {}).get(other)
        rounds = self.rounds(test, peer, other)[0] if a and b else []
        return median(a[r][key] / b[r][key] for r in rounds if b[r][key])

    def added(self, test, peer, key, other="direct"):
        a, b = self.all.get(test, {}).get(peer), self.all.get(test, {}).get(other)
        rounds = self.rounds(test, peer, other)[0] if a and b else []
        return median(a[r][key] - b[r][key] for r in rounds)

    def bad(self):
        loads = [f for peers in self.all.values() for rounds in peers.values() for f in rounds.values()]
        return sum(f["bad"] for f in loads) + sum(f.get("bad", 0) for peers in self.once.values() for f in peers.values())


def show(value, form="{:.2f}"):
    return "-" if value is None or value != value else form.format(value)


def table(title, note, head, rows):
    print(f"\n### {title}\n\n{note + chr(10) * 2 if note else ''}| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def quietness(s, test, peer):
    rounds = s.all[test][peer]
    quiet = sum(f["foreign"] <= DISTURBED for f in rounds.values())
    worst = max(f["foreign"] for f in rounds.values())
    if quiet == len(rounds):
        return f"{quiet}"
    return f"{quiet} of {len(rounds)}{'' if s.rounds(test, peer)[1] else ' (!)'}, others up to {worst:.0%}"


def load_table(s, test):
    title, kind, peers, _ = TESTS[test]
    peers = [p for p in peers if p in s.all.get(test, {})]
    unit = "request" if kind == "unary" else "chunk"
    slow = test in ("unary-slow", "stream-20", "stream-200")
    head = ["peer", f"CPU µs/{unit}", "× nginx", "× nginx-lua", f"{unit}s/s", "× nginx", "core busy", "p50 µs", "p50 added", "p99 µs",
            *(["first chunk µs", "longest µs"] if kind == "stream" else []), "new provider connections", "bad", "quiet rounds"]
    rows = []
    for p in peers:
        own = p != "direct"
        v = lambda key, form="{:.0f}": show(s.value(test, p, key), form)
        rows.append([p, v("cpu", "{:.2f}") if own else "-", show(s.ratio(test, p, "cpu", "nginx")) if own else "-",
                     show(s.ratio(test, p, "cpu", "nginx-lua")) if own else "-", v("rate"), show(s.ratio(test, p, "rate", "nginx")),
                     v("busy", "{:.0%}") if own else "-", v("p50"), show(s.added(test, p, "p50"), "{:.0f}") if own and slow else "-", v("p99"),
                     *([v("first"), v("most")] if kind == "stream" else []), v("connections"),
                     str(sum(f["bad"] for f in s.all[test][p].values())), quietness(s, test, p)])
    table(f"{test}: {title}", "", head, rows)


def once_tables(s, held):
    o = s.once
    if o.get("start"):
        table("start: from the start to the first good answer, and what lies on disk", "Program without debug symbols; with the libraries it maps besides the C library.",
              ["peer", "start ms", "program MB", "with libraries MB", "files"],
              [[p, show(f["start"], "{:.1f}"), show(f["size"] / 1e6), show(f["mapped"] / 1e6), str(f["files"])] for p, f in o["start"].items()])
    if o.get("hold"):
        table(f"hold: memory, idle and with {held} streams open", "Proportional set size of all its processes; the kernel's share of a connection is not in it.",
              ["peer", "idle MiB", "KiB per open stream", "streams left at the provider", "bad"],
              [[p, show(f["idle"] / 1024), show(f.get("each")), str(f.get("left", "-")), str(f["bad"])] for p, f in o["hold"].items()])
    if o.get("cancel"):
        table("cancel: from a client's leaving to the end of its stream at the provider", "", ["peer", "ms"],
              [[p, show(f["cancel"], "{:.1f}")] for p, f in o["cancel"].items()])
    if o.get("syscalls"):
        table("syscalls: counted by strace, in a run of their own that it slows down", "Whole answers over 64 connections; 50 streams, a chunk each 20 ms.",
              ["peer", "per request", "most of them", "per chunk", "most of them"],
              [[p, show(f.get("request")), f.get("requests", "-"), show(f.get("chunk")), f.get("chunks", "-")] for p, f in o["syscalls"].items()])


def bar_rows(s):
    """Of each figure: its name, the test it is of, the peers it compares, where weir stands, the bound and the aim."""
    def ratio(name, test, bound, aim=None, key="cpu", peer="weir", other="nginx"):
        return name, test, (peer, other), s.ratio(test, peer, key, other), bound, aim

    def more(name, test, bound, peer="weir", other="weir-plain"):
        return name, test, (peer, other), s.added(test, peer, "cpu", other), bound, None

    def once(name, test, key, bound, aim=None, other=None, unit=1):
        peers = s.once.get(test, {})
        now, beside = peers.get("weir", {}).get(key), peers.get(other, {}).get(key) if other else unit
        return name, test, (), now / beside if now is not None and beside else None, bound, aim

    added, beside = (s.added("stream-200", p, "p50") for p in ("weir", "nginx"))
    return [
        ratio("CPU/request 1 KB, × nginx", "unary-1k", 1.0, 0.9),
        ratio("CPU/request 1 KB, × nginx-lua", "unary-1k", 0.68, other="nginx-lua"),
        ratio("requests/s of one core, × nginx (more is better)", "unary-1k", -1.0, -1.14, key="rate"),
        ratio("CPU/request at low load, × nginx", "unary-slow", 1.0, 0.9),
        ratio("CPU/request 20 KB, × nginx", "unary-20k", 1.4, 1.2),
        ratio("CPU/request 200 KB, × nginx", "unary-200k", 1.8, 1.4),
        ratio("CPU/request 1 MB, × nginx", "unary-1m", 2.0, 1.5),
        ratio("CPU/chunk, 20 streams, × nginx", "stream-20", 1.0, 0.85),
        ratio("CPU/chunk, 200 streams, × nginx", "stream-200", 1.0, 0.85),
        ratio("CPU/chunk, 200 streams, × nginx-lua", "stream-200", 0.63, other="nginx-lua"),
        ratio("CPU/chunk flat out, × nginx", "stream-flat", 1.0),
        ratio("chunks/s flat out, × direct (more is better)", "stream-flat", -0.9, key="rate", other="direct"),
        ("p50 added to a chunk, 200 streams, × nginx", "stream-200", ("weir", "nginx", "direct"), added / beside if added is not None and beside else None, 1.0, 0.8),
        more("the policy, µs/request", "unary-1k", 2.0),
        more("the ledger, µs/request", "unary-1k", 1.5, "weir-ledger", "weir"),
        more("the ledger and a budget, µs/request", "unary-1k", 1.5, "weir-money", "weir"),
        more("an empty on_chunk, µs/chunk", "stream-200", 0.3, "weir-chunk", "weir"),
        more("TLS to the provider, added µs/request", "unary-1k", 2.0, "weir-tls", "weir"),
        more("TLS to the provider, added µs/chunk", "stream-200", 0.5, "weir-tls", "weir"),
        ratio("TLS to the provider, CPU/request, × nginx-tls", "unary-1k", 0.65, peer="weir-tls", other="nginx-tls"),
        ratio("TLS to the provider, CPU/chunk, × nginx-tls", "stream-200", 0.65, peer="weir-tls", other="nginx-tls"),
        once("system calls/request", "syscalls", "request", 1.0, 0.3),
        once("system calls/chunk", "syscalls", "chunk", 1.5, 1.0),
        once("memory per open stream, × haproxy", "hold", "each", 1.0, 0.55, other="haproxy"),
        once("idle memory, × nginx", "hold", "idle", 1.0, 0.6, other="nginx"),
        once("start, × nginx", "start", "start", 1.15, 0.7, other="nginx"),
        once("program MB", "start", "size", 1.6, unit=1e6),
        once("cancel ms", "cancel", "cancel", 20.0),
    ]


def bar_table(s):
    """What weir must reach (doc/performance.md), beside where it stands."""
    reached = lambda now, goal: goal is not None and (now >= -goal if goal < 0 else now <= goal)
    rows = []
    for name, test, peers, now, bound, aim in bar_rows(s):
        if now is None:
            continue
        quiet = "-" if not peers else "yes" if s.rounds(test, *peers)[1] else "no"
        rows.append([name, show(now), show(abs(bound)), show(aim and abs(aim)), "aim" if reached(now, aim) else "yes" if reached(now, bound) else "**no**", quiet])
    table("weir and its bar", "A figure that is not from quiet rounds says little.", ["figure", "now", "bound", "aim", "reached", "quiet"], rows)


def report(s, held):
    told = {p for peers in s.all.values() for p in peers} | {p for peers in s.once.values() for p in peers}
    print("\n" + "\n".join(f"- {p}: {TOLD[p]}" for p in TOLD if p in told))
    for test in TESTS:
        if test in s.all:
            load_table(s, test)
    once_tables(s, held)
    for name, lines in s.alone.items():
        start = "" if lines and lines[0].startswith("|") else "    "
        print(f"\n### {name}: {ALONE[name]}\n\n" + "\n".join(start + line for line in lines))
    bar_table(s)
    foreign = [f["foreign"] for peers in s.all.values() for rounds in peers.values() for f in rounds.values()]
    if foreign:
        print(f"\nOther programs used {median(foreign):.1%} of a core in the median sample, {max(foreign):.0%} at most; "
              f"{sum(f > DISTURBED for f in foreign)} of {len(foreign)} samples are disturbed (over {DISTURBED:.0%}) and left out where enough others "
              "are; (!) where they had to be used.")
