"""Processes, their CPU time and memory, and what other programs did to the machine meanwhile."""
import ctypes, glob, os, resource, signal, socket, subprocess, time

TICKS = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None)

CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, GATEWAY_CORE = CORES[0], CORES[-1]            # with one core they are the same, and figures of time mean little


PR_SET_PDEATHSIG = 1


def start(command, core, **more):
    """A process on one core, in a session of its own; it does not outlive this one."""
    def prepare():
        os.sched_setaffinity(0, {core})
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=prepare, **more)


def parents():
    """{pid: (parent, seconds of its reaped children)} of every process there is."""
    found = {}
    for name in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = open(name).read()
        except OSError:
            continue
        f = text.rsplit(")", 1)[1].split()
        found[int(text.split(" ", 1)[0])] = int(f[1]), (int(f[13]) + int(f[14])) / TICKS
    return found


def tree(root):
    children = {}
    for pid, (parent, _) in parents().items():
        children.setdefault(parent, []).append(pid)
    pids = [root]
    for pid in pids:
        pids += children.get(pid, [])
    return pids


def cpu_seconds(pid):
    """User and system time of all threads, gone ones too, by the process's CPU clock: nanoseconds, where /proc counts ticks."""
    clock = ctypes.c_int()
    if LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)):
        return 0.0
    try:
        return time.clock_gettime(clock.value)
    except OSError:
        return 0.0


def stolen():
    """Seconds the machine below took from us."""
    return int(open("/proc/stat").readline().split()[8]) / TICKS


def pss_kib(pids):
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def stop(process, pids=()):
    """By pid: politely, then not. What a process left behind in its session goes too."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
    for pid in pids:
        try:
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    process.wait()


class Watch:
    """The CPU time that a gateway, and the programs that have nothing to do with it, spend inside a `with`."""

    def __init__(self, gateway, own):
        self.gateway, self.own = gateway, {os.getpid(), *own}

    def others(self):
        return {pid: (cpu_seconds(pid), reaped) for pid, (_, reaped) in parents().items() if pid not in self.own and pid not in self.gateway}

    def __enter__(self):
        self.before = self.others()
        self.stolen = stolen()
        self.cpu = -sum(map(cpu_seconds, self.gateway))
        self.wall = -time.monotonic()
        return self

    def __exit__(self, *_):
        self.wall += time.monotonic()
        self.cpu += sum(map(cpu_seconds, self.gateway))
        spent = stolen() - self.stolen
        for pid, (cpu, reaped) in self.others().items():
            cpu0, reaped0 = self.before.get(pid, (0, 0))
            spent += max(0, cpu - cpu0) + max(0, reaped - reaped0)
        self.foreign = min(spent / self.wall, os.cpu_count())  # in cores; a reaped child is counted with what it did before


def quiet(own, limit, patience):
    """Waits until other programs use less than `limit` of a core, or for `patience` seconds; gives the seconds waited."""
    began = time.monotonic()
    while time.monotonic() - began < patience:
        with Watch([], own) as watch:
            time.sleep(0.2)
        if watch.foreign <= limit:
            break
    return time.monotonic() - began


def raise_file_limit():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY or most > 65536:
        most = 65536
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return most


def free_ports(count):
    """Ports below those the kernel hands out by itself, so that no outgoing connection takes one."""
    lowest = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
    ports, port = [], max(1024, lowest - 4000) + os.getpid() % 2000
    while len(ports) < count:
        port += 1
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                ports.append(port)
            except OSError:
                pass
    return ports
