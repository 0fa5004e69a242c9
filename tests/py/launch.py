"""Runs a server of this project for a test and says where it listens."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

TARGET = Path(__file__).resolve().parents[2] / "target"
START_SECONDS = 10


@contextlib.contextmanager
def launch(*command: str | Path, log: IO[str] | None = None) -> Iterator[str]:
    """Starts `command`, which prints `listening on http[s]://HOST:PORT`, and yields HOST:PORT.

    The server must still run when the block ends; then it is killed. Its log goes to `log`.
    """
    # The binary warns of variables of its own prefix that it does not know.
    environment = {k: v for k, v in os.environ.items() if k != "LONGLINK_BIN"}
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
        text=True, env=environment)
    # A read of the line cannot be interrupted, but it ends when the server is killed.
    watchdog = threading.Timer(START_SECONDS, server.kill)
    watchdog.start()
    try:
        line = server.stdout.readline()
        watchdog.cancel()
        match = re.fullmatch(r"listening on https?://(\S+)\n", line)
        if not match:
            sys.exit(f"{command[0]} did not say where it listens: {line!r}")
        yield match[1]
        if server.poll() is not None:
            sys.exit(f"{command[0]} ended during the test, with {server.returncode}")
    finally:
        watchdog.cancel()
        server.kill()
        server.wait()
        server.stdout.close()


def binary() -> Path:
    """The binary that `LONGLINK_BIN` names, or else the release or debug build."""
    given = os.environ.get("LONGLINK_BIN")
    places = [Path(given)] if given else [TARGET / p / "longlink" for p in ("release", "debug")]
    found = next((place for place in places if place.exists()), None)
    if not found:
        sys.exit(f"no longlink binary (cargo build --release first): {places}")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def longlink(
        *args: str, level: str = "warn", log: IO[str] | None = None,
) -> contextlib.AbstractContextManager[str]:
    """Runs `longlink serve` on a free port."""
    serve = ("serve", "--listen", "127.0.0.1:0", "--log", level)
    return launch(binary(), *serve, *args, log=log)
