"""Runs the Flask backend of docs/backend.md unchanged, with a WeChat that knows one code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from flask import Flask, request
from websockets.asyncio.client import connect
from werkzeug.serving import make_server

from launch import longlink
from test_interop import PATIENCE

DOCS = Path(__file__).resolve().parents[2] / "docs" / "backend.md"
SECRETS = {name: f"{name}-".ljust(32, "x") for name in ("tickets", "api")}


def fake_wechat(asked: list[dict[str, str]]) -> Flask:
    """A server that answers as WeChat does, always with status 200 and text/plain."""
    app = Flask("wechat")

    @app.get("/sns/jscode2session")
    def session():
        asked.append(request.args.to_dict())
        known = {"openid": "alice", "session_key": "secret"}
        unknown = {"errcode": 40029, "errmsg": "invalid code"}
        body = json.dumps(known if request.args["js_code"] == "C" else unknown)
        return body, 200, {"Content-Type": "text/plain"}

    return app


class Documented(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, secret in SECRETS.items():
            (folder / name).write_text(secret)
        self.address = self.enterContext(longlink(
            "--secret-file", str(folder / "tickets"), "--api-key-file", str(folder / "api")))
        self.asked: list[dict[str, str]] = []
        wechat = make_server("127.0.0.1", 0, fake_wechat(self.asked), threaded=True)
        threading.Thread(target=wechat.serve_forever, args=(0.05,)).start()
        self.addCleanup(wechat.server_close)
        self.addCleanup(wechat.shutdown)
        self.enterContext(mock.patch.dict(
            os.environ, LONGLINK_API=f"http://{self.address}", LONGLINK_KEY=SECRETS["api"],
            WECHAT=f"http://127.0.0.1:{wechat.server_port}", APPID="wx1", APPSECRET="shh"))
        code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.S)[1]
        backend: dict = {"__name__": "backend"}
        exec(compile(code, DOCS, "exec"), backend)
        self.addCleanup(backend["longlink"].close)
        self.app = backend["app"].test_client()

    async def test_a_user_logs_in_with_a_code_of_wechat_and_gets_a_repeated_push_once(self) -> None:
        answer = self.app.post("/login", json={"code": "C"}).json
        self.assertEqual(set(answer), {"user", "ticket"}, "no session_key")
        self.assertEqual(self.asked, [{
            "appid": "wx1", "secret": "shh", "js_code": "C", "grant_type": "authorization_code"}])
        url = f"ws://{self.address}/websocket/{answer['user']}?ticket={answer['ticket']}"
        found_nobody = self.app.post("/orders/17/paid").json
        self.assertEqual(found_nobody, {"results": [{"user": "alice", "state": "queued", "online": False}]})
        async with connect(url, subprotocols=["longlink.v2"]) as alice, asyncio.timeout(PATIENCE):
            welcome, frame, live = [json.loads(await alice.recv()) for _ in range(3)]
            self.assertEqual((welcome["type"], live["type"]), ("welcome", "live"))
            self.assertEqual(frame["formUserId"], "system")
            self.assertEqual(frame["message"], {"order": 17, "state": "paid"})
            for _ in range(2):
                pushed = self.app.post("/orders/17/paid").json
                self.assertEqual(pushed, {"results": [{"user": "alice", "state": "queued", "online": True}]})
            await alice.send('{"type":"ping"}')
            self.assertEqual(await alice.recv(), '{"type":"pong"}', "the push came once")

    async def test_a_user_whose_code_wechat_does_not_know_gets_no_ticket(self) -> None:
        for body in [{"code": "X"}, {}, {"user": "alice"}]:
            self.assertEqual(self.app.post("/login", json=body).status_code, 401, body)
        self.assertEqual(self.app.post("/orders/18/paid").status_code, 404)


if __name__ == "__main__":
    unittest.main()
