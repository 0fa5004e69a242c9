"""Measures a webhook endpoint that is dead for a minute while users connect, talk and leave.

    tests/run                                   # once, for the Python environment
    target/tests/venv/bin/python tests/py/dead_minute.py [SECONDS]

There are two servers: the events fit into the queue of the first, and not into that of the second.
Afterwards every event must have arrived in the order of the numbers, or its number must be in the
range of a `lost` event. This script is not one of the tests; tests/webhooks/under_load.rs tests the
same within a second.
"""

from __future__ import annotations

import http.client
import http.server
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from launch import binary, free_port, longlink

KEY = "0123456789abcdef" * 2
# Messages a second. Each is an event of about 250 bytes.
MESSAGES = 300
PATIENCE = 60


class Backend:
    """A backend that takes events as soon as it is started, and checks their numbers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.last = self.events = self.lost = self.requests = 0
        self.epoch = None
        self.wrong: list[str] = []

    def start(self, stack: ExitStack) -> None:
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                backend.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = stack.enter_context(
            http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        stack.callback(server.shutdown)

    def take(self, told: dict) -> None:
        self.requests += 1
        if self.epoch not in (None, told["epoch"]):
            self.wrong.append(f"epoch {told['epoch']} after {self.epoch}")
        self.epoch = told["epoch"]
        for event in told["events"]:
            if event["seq"] <= self.last:
                continue  # The event was sent before: each is sent at least once.
            first = event["from"] if event["type"] == "lost" else event["seq"]
            if first != self.last + 1:
                self.wrong.append(f"{first} after {self.last}")
            if event["type"] == "lost":
                self.lost += event["to"] - event["from"] + 1
                if event["seq"] != event["to"] + 1:
                    self.wrong.append(f"the range of {event}")
            self.last = event["seq"]
            self.events += 1


def position(address: str) -> tuple[str, int]:
    """The epoch, and the number of the latest event."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request("GET", "/api/online?limit=1", headers={"Authorization": f"Bearer {KEY}"})
    page = json.loads(connection.getresponse().read())
    connection.close()
    return page["epoch"], page["seq"]


def bench(mode: str, address: str, *args: object) -> subprocess.Popen:
    command = [binary(), "bench", mode, f"ws://{address}/websocket/{{user}}", "--json", *args]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)


def main(seconds: float) -> int:
    failed = False
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("key", "secret"):
            (folder / name).write_text(KEY)
        runs = []
        for queue, overflows in (("16m", False), ("64k", True)):
            backend = Backend()
            address = stack.enter_context(longlink(
                "--api-key-file", str(folder / "key"), "--webhook-queue", queue,
                "--webhook", f"http://127.0.0.1:{backend.port}/",
                "--webhook-secret-file", str(folder / "secret"),
                "--webhook-events", "online,offline,undelivered,message", level="error"))
            load = [
                bench("p2p", address, "--connections", 20, "--rate", MESSAGES, "--warmup", 0,
                      "--duration", seconds),
                bench("churn", address, "--first-user", 1_000, "--in-flight", 5, "--rate", 50,
                      "--warmup", 0, "--duration", seconds),
                bench("heartbeat", address, "--first-user", 2_000, "--connections", 20,
                      "--ping-interval", 0.1, "--warmup", 0, "--duration", seconds),
            ]
            runs.append((queue, overflows, backend, address, load))
        print(f"the backend is dead for {seconds:g} s", flush=True)
        for queue, overflows, backend, address, load in runs:
            figures = [json.loads(process.communicate()[0]) for process in load]
            _, waiting = position(address)
            started = time.monotonic()
            backend.start(stack)
            # Users who have gone are reported as offline 5 s later.
            until = started + PATIENCE
            while time.monotonic() < until:
                epoch, last = position(address)
                if backend.last >= max(last, waiting) and time.monotonic() > started + 7:
                    break
                time.sleep(0.1)
            good = (not backend.wrong and (backend.epoch, backend.last) == (epoch, last)
                    and (backend.lost > 0) == overflows and not any(it["errors"] for it in figures))
            failed |= not good
            pings = figures[2]["latency_us"]
            print(f"queue {queue}: {'ok' if good else 'FAILED'}: {waiting} events while dead; "
                  f"{backend.events} came in {backend.requests} requests, {backend.lost} were "
                  f"reported as lost, the last is {backend.last} of {last}; pings meanwhile p50 "
                  f"{pings['p50']} us, p99 {pings['p99']} us", *backend.wrong[:5], sep="\n  ",
                  flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60))
