"""The backend of examples/flask against the real server, with a client that it lets in.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from websockets.asyncio.client import connect

from launch import longlink

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flask" / "app.py"
KEY = "0123456789abcdef" * 2


def load():
    """The example, as a process would have it that was started with this environment."""
    spec = importlib.util.spec_from_file_location("flask_example", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


class Backend(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ["key", "secret"]:
            (folder / name).write_text(KEY)
        self.address = self.enterContext(longlink(
            "--api-key-file", str(folder / "key"), "--secret-file", str(folder / "secret")))
        self.enterContext(mock.patch.dict(
            os.environ, LONGLINK_API=f"http://{self.address}", LONGLINK_KEY=KEY))
        example = load()
        self.addCleanup(example.longlink.close)
        self.app = example.app.test_client()

    async def test_a_user_who_has_logged_in_is_told_once_that_an_order_was_paid(self) -> None:
        self.assertEqual(self.app.post("/ticket").status_code, 401)
        self.assertEqual(self.app.post("/ticket", auth=("alice", "x")).status_code, 401)
        ticket = self.app.post("/ticket", auth=("alice", "wonderland")).json["ticket"]
        url = f"ws://{self.address}/websocket/alice?ticket={ticket}"
        async with connect(url) as alice:
            for _ in range(2):
                answer = self.app.post("/orders/17/paid").json
                self.assertEqual(answer, {"results": [{"user": "alice", "state": "delivered"}]})
            frame = json.loads(await asyncio.wait_for(alice.recv(), 10))
            self.assertEqual(frame["formUserId"], "system")
            self.assertEqual(frame["message"], {"order": 17, "state": "paid"})
            await alice.send("ping")
            pong = await asyncio.wait_for(alice.recv(), 10)
            self.assertEqual(pong, '{"type":"pong"}', "once, though it was asked for twice")
        self.assertEqual(self.app.post("/orders/18/paid").status_code, 404)


if __name__ == "__main__":
    unittest.main()
