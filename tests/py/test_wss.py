"""Clients over wss with OpenSSL's TLS: Python's `websockets`.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import json
import socket
import ssl
import tempfile
from pathlib import Path
from urllib.parse import quote

from certificate import make_certificate
from launch import longlink
from nginx import NAME
import test_interop
from test_interop import PATIENCE


class Wss(test_interop.Interop):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        cert, key = make_certificate(folder, f"DNS:{NAME}")
        self.trust = ssl.create_default_context(cafile=cert)
        self.old = ssl.create_default_context(cafile=cert)
        self.old.maximum_version = ssl.TLSVersion.TLSv1_2
        self.address = self.enterContext(longlink("--tls-cert", str(cert), "--tls-key", str(key)))

    def url(self, user: str) -> str:
        return f"wss://{self.address}/websocket/{quote(user, safe='')}"

    def open(self, user: str, trust: ssl.SSLContext | None = None):
        return super().open(user, ssl=trust or self.trust, server_hostname=NAME)

    async def test_two_clients_chat_over_tls_1_3_and_tls_1_2(self) -> None:
        a, b = await self.open("A"), await self.open("B", self.old)
        versions = [it.transport.get_extra_info("ssl_object").version() for it in (a, b)]
        self.assertEqual(versions, ["TLSv1.3", "TLSv1.2"])
        await self.beat(a)
        await self.say(a, "B", "x" * 60_000)
        self.assertEqual(json.loads(await self.receive(b))["message"], "x" * 60_000)
        await self.say(b, "A", "早上好")
        self.assertEqual(json.loads(await self.receive(a))["message"], "早上好")
        await self.beat(b)

    async def test_a_client_that_closes_gets_a_close_frame_over_tls(self) -> None:
        client = await self.open("A")
        await client.close()
        self.assertEqual((client.close_code, client.close_reason), (1000, ""))

    def test_an_answer_over_tls_ends_with_close_notify(self) -> None:
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as tcp:
            with self.trust.wrap_socket(
                    tcp, server_hostname=NAME, suppress_ragged_eofs=False) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                page = b""
                # Without close_notify the last read would fail.
                while part := tls.recv(65536):
                    page += part
        self.assertTrue(page.startswith(b"HTTP/1.1 200 OK\r\n"), page[:100])
        self.assertTrue(page.rstrip().endswith(b"</html>"), page[-100:])

