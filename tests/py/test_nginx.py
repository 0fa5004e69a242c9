"""Behind nginx, with the configuration that docs/operations.md gives.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

import test_interop
from launch import free_port, longlink
from test_interop import PATIENCE
from test_wss import NAME, make_certificate
from tickets import mint, secret_file

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
FLAGS = ("--allow-host", NAME, "--trust-proxy", "127.0.0.1")
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
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
                break
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError("nginx does not listen: " + (folder / "error.log").read_text())
            time.sleep(0.01)
        yield port
    finally:
        server.terminate()
        server.wait(PATIENCE)


class Nginx(test_interop.Interop):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.log = self.enterContext((self.folder / "longlink.log").open("w"))
        self.server = contextlib.ExitStack()
        self.addCleanup(self.server.close)
        upstream = self.server.enter_context(longlink(*FLAGS, level="debug", log=self.log))
        self.port = self.enterContext(nginx(self.folder, upstream))
        self.trust = ssl.create_default_context(cafile=self.folder / "cert.pem")

    def url(self, user: str) -> str:
        return f"wss://{NAME}:{self.port}/websocket/{user}"

    def way(self, source: str = "127.0.0.1") -> dict:
        return {"ssl": self.trust, "host": "127.0.0.1", "port": self.port,
                "local_addr": (source, 0)}

    async def open(self, user: str, source: str = "127.0.0.1", **options) -> ClientConnection:
        return await super().open(user, **self.way(source), **options)

    def logged(self) -> str:
        return (self.folder / "longlink.log").read_text()

    async def test_users_chat_through_it(self) -> None:
        a, b = await self.open("A"), await self.open("B%2D")
        await self.beat(a)
        await self.say(a, "B-", "x" * 60_000)
        self.assertEqual(json.loads(await self.receive(b))["message"], "x" * 60_000)
        await self.say(b, "A", "hello")
        self.assertEqual(json.loads(await self.receive(a))["message"], "hello")
        await a.close()
        self.assertEqual(a.close_code, 1000)

    async def test_the_client_is_who_connected_to_nginx_whatever_it_says(self) -> None:
        forged = {"X-Forwarded-For": "198.51.100.1, 127.0.0.1"}
        for user, source in (("near", "127.0.0.5"), ("far", "127.0.0.6")):
            await self.beat(await self.open(user, source, additional_headers=forged))
            self.assertIn(f"open user {user} from {source}\n", self.logged())

    async def test_no_query_reaches_a_log(self) -> None:
        client = await self.open("A?device=phone&secret=s3cr3t")
        await self.beat(client)
        await client.close()
        self.assertIn("open user A device phone", self.logged())
        # What nginx logs of failures, too.
        self.server.close()
        with self.assertRaises(InvalidStatus) as failed:
            async with connect(self.url("A?secret=s3cr3t"), **self.way()):
                pass
        self.assertEqual(failed.exception.response.status_code, 502)
        until = time.monotonic() + PATIENCE
        while "/websocket/A\" 502" not in (site := (self.folder / "site.log").read_text()):
            self.assertLess(time.monotonic(), until, site)
        self.assertIn("GET /websocket/A\" 101", site)
        for log in self.folder.glob("*.log"):
            self.assertNotIn("s3cr3t", log.read_text(), log.name)

    async def test_a_ticket_lets_in_and_reaches_no_log(self) -> None:
        ticket = mint("A")
        flags = (*FLAGS, "--secret-file", secret_file(self.folder), "--reject-delay", "0")
        self.server.close()
        upstream = self.server.enter_context(longlink(*flags, level="trace", log=self.log))
        site = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.port = self.enterContext(nginx(site, upstream))
        self.trust = ssl.create_default_context(cafile=site / "cert.pem")
        url = self.url("A?ticket=" + ticket)
        async with connect(url, **self.way("127.0.0.5")) as client:
            await self.beat(client)
        with self.assertRaises(InvalidStatus) as failed:
            async with connect(url.replace("/A?", "/B?"), **self.way("127.0.0.5")):
                pass
        self.assertEqual(failed.exception.response.status_code, 401)
        self.assertIn("refused user B from 127.0.0.5: the ticket is for another user", self.logged())
        until = time.monotonic() + PATIENCE
        while "/websocket/B\" 401" not in (access := (site / "site.log").read_text()):
            self.assertLess(time.monotonic(), until, access)
        self.assertIn("GET /websocket/A\" 101", access)
        for log in (self.folder / "longlink.log", *site.glob("*.log")):
            for part in ticket.split("."):
                self.assertNotIn(part, log.read_text(), log.name)
