"""Certificates for one run, made by openssl: an authority, and leaves that are good or wrong in one way each."""

import os
import subprocess


def run(folder, *arguments):
    r = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    if r.returncode:
        raise AssertionError(f"openssl {arguments[0]}: {r.stderr[-400:]}")


def authority(folder, name):
    run(
        folder,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        f"{name}.key",
        "-out",
        f"{name}.pem",
        "-days",
        "30",
        "-subj",
        f"/CN=weir test {name}",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )


def leaf(folder, name, ca, names, rsa=False, dates=()):
    """dates: openssl's -not_before and -not_after, through `openssl ca`, which alone can set them."""
    key = ["-newkey", "rsa:2048"] if rsa else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    run(folder, "req", *key, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    with open(os.path.join(folder, f"{name}.ext"), "w") as f:
        f.write(f"subjectAltName={','.join(names)}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    if not dates:
        run(
            folder,
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            f"{ca}.pem",
            "-CAkey",
            f"{ca}.key",
            "-CAcreateserial",
            "-out",
            f"{name}.pem",
            "-days",
            "30",
            "-extfile",
            f"{name}.ext",
        )
    else:
        base = os.path.join(folder, f"{name}.ca")
        os.mkdir(base)
        open(os.path.join(base, "index.txt"), "w").close()
        with open(os.path.join(base, "ca.conf"), "w") as f:
            f.write(
                f"[ca]\ndefault_ca=x\n[x]\ndatabase={base}/index.txt\nnew_certs_dir={base}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
            )
        run(
            folder,
            "ca",
            "-batch",
            "-config",
            f"{base}/ca.conf",
            "-cert",
            f"{ca}.pem",
            "-keyfile",
            f"{ca}.key",
            "-in",
            f"{name}.csr",
            "-out",
            f"{name}.pem",
            "-notext",
            "-extfile",
            f"{name}.ext",
            "-startdate",
            dates[0],
            "-enddate",
            dates[1],
        )
    return os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
