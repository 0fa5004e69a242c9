"""Runs nginx with the configuration that docs/operations.md gives.

    python nginx.py FOLDER UPSTREAM     # as a server of its own, for tests in other languages
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from launch import START_SECONDS, free_port

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
NAME = "chat.example.com"
PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"

# What surrounds the site's own file, in a folder instead of the system's places.
MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of `NAME` and its key, made by OpenSSL."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=START_SECONDS)
    return cert, key


def site_from_docs(replacements: dict[str, str]) -> str:
    """The documented file, with other places and ports."""
    blocks = re.findall(r"```nginx\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (site,) = (block for block in blocks if "longlink.conf" in block)
    for old, new in replacements.items():
        if site.count(old) != 1:
            raise AssertionError(f"{old!r} is there {site.count(old)} times")
        site = site.replace(old, new)
    return site


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, mistakes: dict[str, str] | None = None) -> Iterator[int]:
    """Runs nginx before `upstream` and yields its port; `mistakes` replace what is documented."""
    cert, key = make_certificate(folder)
    port = free_port()
    site = site_from_docs({
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/chat.example.com/fullchain.pem": str(cert),
        "/etc/ssl/chat.example.com/privkey.pem": str(key),
        "/var/log/nginx/longlink.log": f"{folder}/site.log",
        "/var/log/nginx/longlink-error.log": f"{folder}/site-error.log",
        "http://127.0.0.1:8080": f"http://{upstream}",
        **(mistakes or {}),
    })
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, site=site, user=user))
    program = shutil.which("nginx", path=PATH) or "nginx"
    server = subprocess.Popen(
        [program, "-p", folder, "-c", folder / "nginx.conf"], stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS).close()
                break
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError("nginx does not listen: " + (folder / "error.log").read_text())
            time.sleep(0.01)
        yield port
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def main() -> None:
    folder, upstream = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with nginx(Path(folder), upstream) as port:
        print(f"listening on https://127.0.0.1:{port}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
