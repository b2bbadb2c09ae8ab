"""The gateways that are compared: how each is configured, started, asked and stopped."""
import glob, hashlib, json, os, shutil, socket, subprocess, time, zlib
import machine

HERE = os.path.dirname(os.path.abspath(__file__))
NGINX = ["nginx", "-p", "@TMP@", "-c", "@CONF@", "-e", "@TMP@/error.log"]
NGINX_TLS = ("proxy_ssl_server_name on; proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.2; proxy_ssl_verify on; "
             "proxy_ssl_trusted_certificate @CERTS@/ca.pem;")
WEIR = ["@BUILD@/weir", "run", "--config", "@CONF@"]

# name: its configuration's template, its command, what the template's @USE@ says, whether it speaks TLS to the provider
PEERS = {
    "direct": (None, None, "", False),
    "nginx": ("nginx.conf", NGINX, "", False),
    "nginx-lua": ("nginx-lua.conf", NGINX, "", False),
    "haproxy": ("haproxy.cfg", ["haproxy", "-db", "-f", "@CONF@"], "", False),
    "weir-plain": ("weir.lua", WEIR, "", False),
    "weir": ("weir.lua", WEIR, 'use "bench"', False),
    "weir-ledger": ("weir.lua", WEIR, 'ledger {}\nuse "bench"', False),
    "weir-caps": ("weir.lua", WEIR, 'use "cost_caps" { per = "all", day = usd(1000000) }\nuse "bench"', False),
    "weir-money": ("weir.lua", WEIR, 'ledger {}\nuse "cost_caps" { per = "all", day = usd(1000000) }\nuse "bench"', False),
    "weir-keys": ("weir.lua", WEIR, 'key "bench" { hash = "@HASH@", team = "bench" }\nuse "bench"', False),
    "weir-hold": ("weir.lua", WEIR, 'use "bench"\nuse "guard" { needles = { "a text of sixty-four bytes, which nobody who keeps a weir would write" }, requests = false }', False),
    "weir-chunk": ("weir.lua", WEIR, 'use "bench"\nuse "empty"', False),
    "weir-epoll": ("weir.lua", [*WEIR, "--loop", "epoll"], 'use "bench"', False),
    "nginx-tls": ("nginx.conf", NGINX, "", True),
    "weir-tls": ("weir.lua", WEIR, 'use "bench"', True),
    "front": ("tlsfront.conf", NGINX, "", False),
}
TOLD = {
    "direct": "the load straight to the mock provider",
    "nginx": "plain reverse proxy, keep-alive upstream, no buffering",
    "nginx-lua": "nginx that decodes the JSON, routes and counts tokens in Lua",
    "haproxy": "plain reverse proxy",
    "weir-plain": "weir without a policy",
    "weir": "weir with a policy: routes and counts tokens in Lua",
    "weir-ledger": "the same and the ledger",
    "weir-caps": "the same as weir and a budget",
    "weir-money": "the same as weir, the ledger and a budget",
    "weir-keys": "the same as weir, asking for a client key",
    "weir-hold": "the same as weir and a guard that holds back 64 bytes of each stream",
    "weir-chunk": "the same as weir and an empty on_chunk",
    "weir-epoll": "weir with the policy, on epoll",
    "nginx-tls": "nginx, TLS 1.2 to the provider",
    "weir-tls": "weir with the policy, TLS 1.2 to the provider",
}


def exchange(port, data, timeout=10):
    """One request, one whole answer (with a content-length) on a connection of its own; b"" when it breaks."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as s:
            s.sendall(data)
            while True:
                head, found, body = got.partition(b"\r\n\r\n")
                if found:
                    length = [l.split(b":")[1] for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:")]
                    if not length or len(body) >= int(length[0]):
                        return got
                piece = s.recv(65536)
                if not piece:
                    return b""
                got += piece
    except OSError:
        return b""


def post(body, wish=""):
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk-client\r\nContent-Type: application/json\r\n"
            b"x-bench: %s\r\nContent-Length: %d\r\n\r\n" % (wish.encode(), len(body))) + body


class Lost(Exception):
    """A peer does not answer."""


class Peer:
    def __init__(self, name, bench, port, admin):
        self.name, self.bench, self.port, self.admin, self.process, self.pids = name, bench, port, admin, None, []
        self.template, self.command, self.use, self.tls = PEERS[name]
        self.folder = f"{bench.folder}/{name}"

    def program(self):
        return self.command and self.fill(self.command[0])

    def there(self):
        return not self.command or bool(shutil.which(self.program())) and ("lua" not in self.name or self.lua_there())

    def lua_there(self):
        return bool(glob.glob(self.modules() + "/ngx_http_lua_module.so"))

    def modules(self):
        return "/usr/lib/nginx/modules"

    def fill(self, text):
        weir = self.template == "weir.lua"
        tls = ('ca = "@CERTS@/ca.pem",' if weir else NGINX_TLS) if self.tls else ""
        ledger = "" if "ledger" in self.use else 'ledger "off"'
        words = {"LEDGER": ledger, "HASH": "sha256:" + hashlib.sha256(b"sk-client").hexdigest(), "USE": self.use, "TLS": tls, "PORT": self.port, "ADMIN": self.admin, "TMP": self.folder, "CONF": f"{self.folder}/{self.template}",
                 "UPSTREAM": self.bench.front.port if self.tls else self.bench.upstream_port, "SCHEME": "https" if self.tls else "http",
                 "CERTS": self.bench.folder, "BUILD": self.bench.build, "FILES": self.bench.files, "MODULES": self.modules()}
        for word in ("USE", *words):                         # first what holds others
            text = text.replace(f"@{word}@", str(words[word]))
        return text

    def start(self):
        """Starts it and waits for its first good answer; gives the seconds that took."""
        if not self.command:
            return 0.0
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        shutil.copytree(f"{HERE}/peers/policies", f"{self.folder}/policies")
        for policy in ("cost_caps", "guard"):
            shutil.copy(f"{HERE}/../policies/{policy}.lua", f"{self.folder}/policies")
        with open(f"{self.folder}/{self.template}", "w") as f:
            f.write(self.fill(open(f"{HERE}/peers/{self.template}").read()))
        core = machine.LOAD_CORE if self.name == "front" else machine.GATEWAY_CORE
        log, command = open(f"{self.folder}/log", "w"), [self.fill(word) for word in self.command]
        began = time.monotonic()
        self.process = machine.start(command, core, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                     env={**os.environ, "BENCH_KEY": "sk-upstream"})
        log.close()
        while not self.up():
            if self.process.poll() is not None or time.monotonic() - began > 15:
                raise Lost(f"{self.name} does not answer:\n" + self.last_words())
            time.sleep(0.0005)
        took = time.monotonic() - began
        self.pids = machine.tree(self.process.pid)
        return took

    def last_words(self):
        text = ""
        for name in ("log", "error.log"):
            if os.path.exists(f"{self.folder}/{name}"):
                text += "".join(open(f"{self.folder}/{name}", errors="replace").readlines()[-10:])
        return text

    def up(self):
        if self.name != "front":
            return self.answers(self.bench.bodies["1k"])
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def answers(self, body):
        """Whether the answer is the provider's and the provider got this very body."""
        head, _, text = exchange(self.port, post(body, "digest=1")).partition(b"\r\n\r\n")
        return head.startswith(b"HTTP/1.1 200") and b"The river rose" in text and b'"%08x"' % zlib.adler32(body) in text

    def died(self):
        return self.process and self.process.poll() is not None

    def stop(self):
        if self.process:
            machine.stop(self.process, self.pids)
            self.process, self.pids = None, []


def certificates(folder):
    """An authority of our own and a leaf for localhost, ECDSA P-256."""
    with open(f"{folder}/leaf.ext", "w") as f:
        f.write("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n")
    for line in ("ecparam -name prime256v1 -genkey -noout -out ca.key", "ecparam -name prime256v1 -genkey -noout -out leaf.key",
                 "req -x509 -new -key ca.key -days 2 -subj /CN=bench-authority -out ca.pem -addext basicConstraints=critical,CA:TRUE "
                 "-addext keyUsage=critical,keyCertSign",
                 "req -new -key leaf.key -subj /CN=localhost -out leaf.csr",
                 "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem"):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)


def bodies(folder):
    """Conversations of about 1, 20, 200 and 1000 KB, in messages of about 1 KB, each as one answer and as a stream."""
    text = 'Keeper\'s log, "day %d":\nthe gauge stood at 3,41 m \u2014 caf\u00e9 & mill both dry; see C:\\weir\\log.txt and <b>report</b>. '
    made = {}
    for name, size in {"1k": 1000, "20k": 20000, "200k": 200000, "1m": 1000000}.items():
        for stream in (False, True):
            asked = {"model": "mock", "messages": [{"role": "system", "content": "You keep a weir. Be brief."}], "temperature": 0.7, "max_tokens": 256}
            if stream:
                asked.update(stream=True, stream_options={"include_usage": True})
            day, left = 0, size - len(json.dumps(asked))
            while left > 150:
                content = ""
                while len(content) < min(900, left - 150) or not content:
                    day, content = day + 1, content + text % day
                asked["messages"].append({"role": ("user", "assistant")[len(asked["messages"]) % 2 == 0], "content": content})
                left -= len(content.encode()) + content.count("\n") + content.count('"') + content.count("\\") + 36
            made[name + "-stream" * stream] = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
    for name, body in made.items():
        with open(f"{folder}/{name}.json", "wb") as f:
            f.write(body)
    return made
