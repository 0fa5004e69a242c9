"""Runs the backend of examples/flask against the real server, with clients that have its tickets.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import asyncio
import hmac
import importlib.util
import json
import logging
import os
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

from websockets.asyncio.client import ClientConnection, connect
from werkzeug.serving import make_server

from launch import free_port, longlink
from test_interop import PATIENCE

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flask" / "app.py"
SECRETS = {name: f"{name}-".ljust(32, "x") for name in ("tickets", "api", "webhooks")}


def load():
    """Loads the example as a new process with this environment would."""
    spec = importlib.util.spec_from_file_location("flask_example", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


class Backend(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, secret in SECRETS.items():
            (folder / name).write_text(secret + "\n")
        port = free_port()
        self.address = self.enterContext(longlink(
            "--secret-file", str(folder / "tickets"), "--api-key-file", str(folder / "api"),
            "--webhook", f"http://127.0.0.1:{port}/longlink",
            "--webhook-secret-file", str(folder / "webhooks")))
        self.enterContext(mock.patch.dict(
            os.environ, LONGLINK_API=f"http://{self.address}",
            LONGLINK_KEY=SECRETS["api"], LONGLINK_SECRET=SECRETS["webhooks"]))
        self.start(port)

    def start(self, port: int) -> None:
        """Resets the example to the state of a new process, which knows no user."""
        self.example = load()
        self.addCleanup(self.example.longlink.close)
        self.server = make_server("127.0.0.1", port, self.example.app, threaded=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,)).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.app = self.example.app.test_client()

    def enter(self, user: str, password: str):
        """Connects with a ticket that the backend gives out."""
        ticket = self.app.post("/ticket", auth=(user, password)).json["ticket"]
        url = f"ws://{self.address}/websocket/{user}?ticket={ticket}"
        return connect(url, subprotocols=["longlink.v2"])

    async def until_online(self, *users: str) -> None:
        until = time.monotonic() + PATIENCE
        while self.app.get("/online").json != list(users):
            self.assertLess(time.monotonic(), until, self.app.get("/online").json)
            await asyncio.sleep(0.02)

    def tell(self, body: bytes, sent: int | None = None, secret: str = SECRETS["webhooks"]) -> int:
        """Makes a request as longlink makes it, signed at the time `sent`."""
        timestamp = str(int(time.time()) if sent is None else sent)
        signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, "sha256").hexdigest()
        return self.app.post("/longlink", data=body, content_type="application/json", headers={
            "Longlink-Timestamp": timestamp, "Longlink-Signature": f"v1={signed}"}).status_code

    async def frame(self, client: ClientConnection) -> dict:
        return json.loads(await asyncio.wait_for(client.recv(), PATIENCE))

    async def test_a_user_who_has_logged_in_is_told_once_that_an_order_was_paid(self) -> None:
        self.assertEqual(self.app.post("/ticket").status_code, 401)
        self.assertEqual(self.app.post("/ticket", auth=("alice", "x")).status_code, 401)
        async with self.enter("alice", "wonderland") as alice:
            self.assertEqual((await self.frame(alice))["type"], "welcome")
            self.assertEqual((await self.frame(alice))["type"], "live")
            for _ in range(2):
                answer = self.app.post("/orders/17/paid").json
                self.assertEqual(answer, {"results": [{"user": "alice", "state": "queued", "online": True}]})
            frame = await self.frame(alice)
            self.assertEqual(frame["formUserId"], "system")
            self.assertEqual(frame["message"], {"order": 17, "state": "paid"})
            await alice.send('{"type":"ping"}')
            self.assertEqual(await self.frame(alice), {"type": "pong"}, "two requests, but one push")
        self.assertEqual(self.app.post("/orders/18/paid").status_code, 404)

    async def test_a_user_who_was_away_at_both_calls_is_told_once_on_coming_back(self) -> None:
        for _ in range(2):
            answer = self.app.post("/orders/17/paid").json
            self.assertEqual(answer, {"results": [{"user": "alice", "state": "queued", "online": False}]})
        async with self.enter("alice", "wonderland") as alice:
            welcome, frame, live = [await self.frame(alice) for _ in range(3)]
            self.assertEqual((welcome["type"], live["type"]), ("welcome", "live"))
            self.assertEqual(frame["message"], {"order": 17, "state": "paid"})

    async def test_the_backend_knows_who_is_online_also_after_it_was_restarted(self) -> None:
        async with self.enter("alice", "wonderland"):
            async with self.enter("bob", "builder"):
                await self.until_online("alice", "bob")
            await self.until_online("alice")
            self.server.shutdown()
            self.server.server_close()
            self.start(self.server.port)
            self.assertEqual(self.app.get("/online").json, [])
            async with self.enter("bob", "builder"):
                await self.until_online("alice", "bob")

    async def test_a_webhook_that_is_forged_old_or_repeated_changes_nothing(self) -> None:
        async with self.enter("alice", "wonderland"):
            await self.until_online("alice")
            epoch, last = self.example.known["last"]

            def event(seq: int, kind: str, user: str, run: str = epoch) -> bytes:
                it = {"seq": seq, "type": kind, "user": user, "device": "", "at": 0}
                return json.dumps({"epoch": run, "events": [it]}).encode()

            forged = event(last + 1, "offline", "alice")
            self.assertEqual(self.tell(forged, secret="another"), 401)
            self.assertEqual(self.tell(forged, sent=int(time.time()) - 301), 401)
            self.assertEqual(self.app.post("/longlink", data=forged).status_code, 401)
            self.assertEqual(self.tell(event(last, "offline", "alice")), 204, "a repetition")
            former = event(last + 1, "offline", "alice", run="00000000")
            self.assertEqual(self.tell(former), 204)
            self.assertEqual(self.app.get("/online").json, ["alice"])
            self.assertEqual(self.example.known["last"], (epoch, last))
            self.example.known["online"].add("ghost")
            lost = {"seq": last + 5, "type": "lost", "from": last + 1, "to": last + 4, "at": 0}
            lost = json.dumps({"epoch": epoch, "events": [lost]}).encode()
            self.assertEqual(self.tell(lost), 204)
            self.assertEqual(
                self.app.get("/online").json, ["alice"], "the backend asked after the loss")
            self.assertEqual(self.tell(event(last + 6, "online", "bob")), 204)
            self.assertEqual(self.app.get("/online").json, ["alice", "bob"])


if __name__ == "__main__":
    unittest.main()
