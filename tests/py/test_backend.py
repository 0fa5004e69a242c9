"""The Flask backend of docs/backend.md, as it stands there, with a WeChat that knows one code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from flask import Flask, request
from websockets.asyncio.client import connect
from werkzeug.serving import make_server

from launch import longlink, serving
from test_interop import PATIENCE

DOCS = Path(__file__).resolve().parents[2] / "docs" / "backend.md"
SECRETS = {name: f"{name}-".ljust(32, "x") for name in ("tickets", "api")}


def fake_wechat(asked: list[dict[str, str]]) -> Flask:
    """Answers as WeChat does: always with 200, and text/plain."""
    app = Flask("wechat")

    @app.get("/sns/jscode2session")
    def session():
        asked.append(request.args.to_dict())
        known = {"openid": "alice", "session_key": "secret"}
        unknown = {"errcode": 40029, "errmsg": "invalid code"}
        body = json.dumps(known if request.args["js_code"] == "C" else unknown)
        return body, 200, {"Content-Type": "text/plain"}

    return app
