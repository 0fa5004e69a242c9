"""The server behind nginx, with the configuration that docs/operations.md gives.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import contextlib
import json
import ssl
import tempfile
import time
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

import test_interop
from launch import longlink
from nginx import NAME, nginx
from test_interop import PATIENCE
from tickets import mint, secret_file

FLAGS = ("--allow-host", NAME, "--trust-proxy", "127.0.0.1")


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

    def assert_logged(self, line: str) -> None:
        """Waits for the line, because another thread prints the log."""
        until = time.monotonic() + PATIENCE
        while line not in (log := self.logged()):
            self.assertLess(time.monotonic(), until, log)
            time.sleep(0.01)

    async def test_users_chat_through_nginx(self) -> None:
        a, b = await self.open("A"), await self.open("B%2D")
        await self.beat(a)
        await self.say(a, "B-", "x" * 60_000)
        self.assertEqual(json.loads(await self.receive(b))["message"], "x" * 60_000)
        await self.say(b, "A", "hello")
        self.assertEqual(json.loads(await self.receive(a))["message"], "hello")
        await a.close()
        self.assertEqual(a.close_code, 1000)

    async def test_the_logged_address_is_the_one_that_connected_to_nginx_not_a_forged_one(
            self) -> None:
        forged = {"X-Forwarded-For": "198.51.100.1, 127.0.0.1"}
        for user, source in (("near", "127.0.0.5"), ("far", "127.0.0.6")):
            await self.beat(await self.open(user, source, additional_headers=forged))
            self.assert_logged(f"open user {user} from {source}\n")

    async def test_no_query_reaches_a_log(self) -> None:
        client = await self.open("A?device=phone&secret=s3cr3t")
        await self.beat(client)
        await client.close()
        self.assert_logged("open user A device phone")
        # The log of errors of nginx must not have it, either.
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
        self.assert_logged("refused user B from 127.0.0.5: the ticket is for another user")
        until = time.monotonic() + PATIENCE
        while "/websocket/B\" 401" not in (access := (site / "site.log").read_text()):
            self.assertLess(time.monotonic(), until, access)
        self.assertIn("GET /websocket/A\" 101", access)
        for log in (self.folder / "longlink.log", *site.glob("*.log")):
            for part in ticket.split("."):
                self.assertNotIn(part, log.read_text(), log.name)
