"""weir check --system and --providers: what the machine lacks, and whether each provider can be reached."""

import os
import resource
import socket
import ssl
import subprocess
import threading

import certs
from harness import SECRET, Weir, chat_provider, until


def configured(h, text):
    path = os.path.join(h.tmp, "weir.lua")
    with open(path, "w") as f:
        f.write(text)
    return path


def lines(r, what):
    return [line for line in r.stdout.splitlines() if line[6:].startswith(what)]


def test_system(h):
    path = configured(h, f'runtime "{h.tmp}/run"\nstate "{h.tmp}/deep/state"\nworkers(2)\n')
    r = h.run("check", "--system", "--config", path)
    assert r.returncode == 0, r.stdout + r.stderr
    for what in ("kernel", "sysctl", "io_uring", "memlock", "descriptors", "memory", "processor", "names", "roots", "clock", "runtime", "state"):
        assert lines(r, what), f"{what}: {r.stdout}"
    assert "3 rings for 2 workers" in r.stdout and f"{h.tmp}/run is not there and can be made" in r.stdout, r.stdout
    assert not os.path.exists(f"{h.tmp}/run"), "a check makes nothing"


def test_system_says_what_is_wrong(h):
    path = configured(h, 'runtime "/dev/null/run"\n')
    r = h.run("check", "--system", "--config", path)
    assert r.returncode == 1 and lines(r, "runtime")[0].startswith("BAD"), r.stdout
    path = configured(h, f'runtime "{h.tmp}/run"\nlisten 5\n')
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
    r = subprocess.run(
        [h.binary("weir"), "check", "--system", "--config", path], capture_output=True, text=True, env=h.env, preexec_fn=few, timeout=30
    )
    assert r.returncode == 1 and lines(r, "descriptors")[0].startswith("BAD") and "LimitNOFILE" in r.stdout, r.stdout
    assert lines(r, "weir.lua")[0].startswith("warn") and "weir cannot run here" in r.stdout, r.stdout


def only_13(pem, key):
    """A server that takes TLS 1.3 alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(pem, key)
    s = socket.create_server(("127.0.0.1", 0))

    def serve():
        try:
            context.wrap_socket(s.accept()[0], server_side=True)
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    return s, f"https://localhost:{s.getsockname()[1]}/v1"


def test_providers(h):
    certs.authority(h.tmp, "root")
    pem, key = certs.leaf(h.tmp, "good", "root", ["DNS:localhost"])
    tls, closed = h.port(), h.port()
    m = h.mock("--tls", f"127.0.0.1:{tls}", "--cert", pem, "--key", key)
    until(lambda: Weir.listening(tls), 5, "the mock's TLS listens")
    root, url = f'ca = "{h.tmp}/root.pem"', f"https://localhost:{tls}/v1"
    good = chat_provider("safe", url, root) + 'provider "plain" { dialect = "messages", url = "' + m.url + '" }\n'
    r = h.run("check", "--providers", "--config", configured(h, good), env={"OPENAI_KEY": SECRET})
    assert r.returncode == 0 and "2 of 2 endpoints" in r.stdout and "no TLS 1.3" in r.stdout, r.stdout + r.stderr
    assert "safe speaks chat" in r.stdout and "plain speaks messages" in r.stdout, r.stdout
    assert "TLS 1.2, ECDHE_ECDSA_AES_128_GCM_SHA256, chain good for localhost" in r.stdout, r.stdout
    assert "key: 1 account" in r.stdout and "key: none" in r.stdout and "no TLS: keys" in r.stdout, r.stdout
    listener, new = only_13(pem, key)
    bad = (
        chat_provider("newer", new, root)
        + chat_provider("stranger", url)
        + chat_provider("other", url, root + ', tls_name = "elsewhere.test"')
        + chat_provider("closed", f"http://127.0.0.1:{closed}/v1")
        + chat_provider("none", "http://no.such.name.invalid/v1")
    )
    r = h.run("check", "--providers", "--config", configured(h, bad), env={"OPENAI_KEY": SECRET})
    listener.close()
    failures = [line.strip() for line in r.stdout.splitlines() if "FAILED" in line]
    assert r.returncode == 1 and "0 of 5 endpoints" in r.stdout and len(failures) == 5, r.stdout + r.stderr
    for failure, says in zip(failures, ("weir speaks TLS 1.2", "trusted authority", "another host", "refused", "DNS: ")):
        assert says in failure, failures
    assert SECRET not in r.stdout + r.stderr
