"""Certificates for tests and benchmarks, made by OpenSSL."""

from __future__ import annotations

import subprocess
from pathlib import Path

SECONDS = 30
ECDSA = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("rsa:2048",)


def make_certificate(
        folder: Path, name: str, key_type: tuple[str, ...] = ECDSA) -> tuple[Path, Path]:
    """Makes a self-signed certificate for `name` (`DNS:…` or `IP:…`), and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *key_type, "-nodes", "-days", "2",
         "-subj", f"/CN={name.partition(':')[2]}", "-addext", f"subjectAltName={name}",
         # The certificate is marked as a server's and not as an authority's, because some clients
         # refuse one that is both.
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=SECONDS)
    return cert, key
