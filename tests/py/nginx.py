"""nginx with the configuration that docs/operations.md gives, in a folder of its own.

    python nginx.py FOLDER UPSTREAM     # runs until it is ended, for tests in other languages
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
from collections.abc import Iterator, Sequence
from pathlib import Path

from certificate import make_certificate
from launch import free_port

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
NAME = "chat.example.com"
PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
# Where the documented configuration writes its logs.
ACCESS_LOG = "/var/log/nginx/longlink.log longlink"
START_SECONDS = 20

# The main configuration, which includes the documented file of the site. All its paths are in a
# folder of the test instead of the system's folders.
MAIN = """
{user}
daemon off;
worker_processes {workers};
{limits}
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
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


def site_from_docs(changes: dict[str, str], places: dict[str, str]) -> str:
    """The documented file with `changes` and then with `places`, which replace the paths and ports
    that are still in it."""
    blocks = re.findall(r"```nginx\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (site,) = (block for block in blocks if "longlink.conf" in block)
    for old, new in changes.items():
        if site.count(old) != 1:
            raise AssertionError(f"the documented file has {old!r} {site.count(old)} times")
        site = site.replace(old, new)
    for old, new in places.items():
        site = site.replace(old, new)
    return site


@contextlib.contextmanager
def running(
        folder: Path, upstream: str, certificate: tuple[Path, Path], *,
        changes: dict[str, str] | None = None, prefix: Sequence[str] = (),
        workers: int = 1, connections: int = 64, limits: str = "", listen: str = "",
) -> Iterator[tuple[int, subprocess.Popen]]:
    """Runs nginx before `upstream` and yields its port and its main process.

    `changes` replace parts of the documented file, `listen` is added to its `listen`, and `limits`
    are lines beside `worker_processes`. `prefix` is a command that runs nginx, such as `taskset`.
    """
    cert, key = certificate
    port = free_port()
    site = site_from_docs(changes or {}, {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl {listen}",
        "/etc/ssl/chat.example.com/fullchain.pem": str(cert),
        "/etc/ssl/chat.example.com/privkey.pem": str(key),
        ACCESS_LOG: f"{folder}/site.log longlink",
        "/var/log/nginx/longlink-error.log": f"{folder}/site-error.log",
        "http://127.0.0.1:8080": f"http://{upstream}",
    })
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(
        folder=folder, site=site, user=user, workers=workers, connections=connections,
        limits=limits))
    program = shutil.which("nginx", path=PATH) or "nginx"
    server = subprocess.Popen(
        [*prefix, program, "-p", folder, "-c", folder / "nginx.conf"], stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS).close()
                break
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError("nginx does not listen: " + (folder / "error.log").read_text())
            time.sleep(0.01)
        yield port, server
    finally:
        server.terminate()
        server.wait(START_SECONDS)


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, mistakes: dict[str, str] | None = None) -> Iterator[int]:
    """Runs nginx before `upstream` and yields its port; `mistakes` replace parts of the documented
    file."""
    certificate = make_certificate(folder, f"DNS:{NAME}")
    with running(folder, upstream, certificate, changes=mistakes) as (port, _):
        yield port


def main() -> None:
    folder, upstream = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with nginx(Path(folder), upstream) as port:
        print(f"listening on https://127.0.0.1:{port}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
