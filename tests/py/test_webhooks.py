"""Checks webhooks as a backend does, with the samples of docs/webhooks.md.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import http.server
import json
import queue
import re
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import websockets

from launch import longlink
from test_interop import PATIENCE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
SECRET = b"a secret of the two"


def sample(language: str) -> str:
    """The sample of the document in that language."""
    return re.search(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)[1]


def verified_by_node(timestamp: str, signature: str, body: bytes) -> bool:
    """Whether the sample for Node accepts the signature."""
    call = "console.log(verified(...JSON.parse(process.argv[1]), require('fs').readFileSync(0)))"
    ran = subprocess.run(
        ["node", "-e", sample("js") + call, json.dumps([SECRET.decode(), timestamp, signature])],
        input=body, check=True, capture_output=True, timeout=PATIENCE)
    return {"true\n": True, "false\n": False}[ran.stdout.decode()]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.put((self.headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Webhooks(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.backend = self.enterContext(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        self.backend.daemon_threads = True
        self.backend.requests = queue.Queue()
        threading.Thread(target=self.backend.serve_forever, args=(0.05,)).start()
        self.addCleanup(self.backend.shutdown)
        secret = Path(self.enterContext(tempfile.TemporaryDirectory()), "secret")
        # The file ends with a line feed, as editors write it.
        secret.write_bytes(SECRET + b"\n")
        self.address = self.enterContext(longlink(
            "--webhook", f"http://127.0.0.1:{self.backend.server_port}/hook",
            "--webhook-secret-file", str(secret), "--webhook-events", "online,offline,message"))

    async def test_the_samples_accept_requests_of_longlink_and_refuse_changed_ones(self) -> None:
        async with websockets.connect(f"ws://{self.address}/websocket/alice") as alice:
            await alice.send("早上好")
        events = []
        samples: dict = {}
        exec(sample("python"), samples)
        verified = samples["verified"]
        while [event["type"] for event in events] != ["online", "message", "offline"]:
            headers, body = self.backend.requests.get(timeout=PATIENCE)
            signed = headers["Longlink-Timestamp"], headers["Longlink-Signature"]
            self.assertTrue(verified(SECRET, *signed, body))
            self.assertTrue(verified_by_node(*signed, body))
            for bad in [
                (signed[0], signed[1], body + b" "),
                (signed[0], signed[1][:-1], body),
                (str(int(signed[0]) + 1), signed[1], body),
                (signed[0], "", body),
            ]:
                self.assertFalse(verified(SECRET, *bad))
                self.assertFalse(verified_by_node(*bad))
            self.assertFalse(verified(b"another secret", *signed, body))
            events += json.loads(body)["events"]
        self.assertEqual([event["seq"] for event in events], [1, 2, 3])
        self.assertEqual(
            json.loads(events[1]["frame"]),
            {"type": "broadcast", "formUserId": "alice", "message": "早上好"})


if __name__ == "__main__":
    unittest.main()
