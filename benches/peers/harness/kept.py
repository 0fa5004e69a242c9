"""What servers that keep and acknowledge messages cost and lose. The load is `acknowledged`, which
speaks each server's own protocol and does the same work with all of them."""

import json
import pathlib
import re
import subprocess
import tempfile
import time

from harness import keepers, rows, slopes
from harness.crowd import raise_descriptor_limit
from harness.servers import LOAD_CORE

SECONDS, WARMUP = 3, 1
QUICK_SECONDS, QUICK_WARMUP = 1, 0.3
QUICK_CROWD = 300
LIMIT_SECONDS = 300
# What is measured in the first round alone, because it counts messages and not time.
ONCE = ("cuts", "restart", "absent")
# A part of a core that a starting server may still take before it is measured.
SETTLE_SECONDS = 0.5


def round_of(name, row, quick):
    """Measures a row once with one server, which is started for it."""
    raise_descriptor_limit()
    keeper = keepers.named(name)
    with tempfile.TemporaryDirectory(prefix="longlink-peers-") as folder:
        with keepers.Running(name, folder) as server:
            if row.mode in ("restart", "absent"):
                return away(keeper, server, folder, is_killed=row.mode == "absent")
            time.sleep(SETTLE_SECONDS)
            return load(keeper, server, row.mode, *options(keeper, row, quick))


def options(keeper, row, quick):
    """The options of the load."""
    told = dict(row.load)
    if row.mode in ("exchange", "group", "heartbeat"):
        told["duration"] = QUICK_SECONDS if quick else SECONDS
        told["warmup"] = QUICK_WARMUP if quick else WARMUP
    if row.mode == "crowd":
        told["clients"] = min(QUICK_CROWD, keeper.crowd) if quick else keeper.crowd
    return [word for name, value in told.items() for word in (f"--{name}", str(value))]


def start(keeper, server, mode, *more, **pipes):
    command = [keepers.LOAD, mode, keeper.protocol, server.address, "--pid", server.pid, *more]
    return subprocess.Popen(
        ["taskset", "-c", LOAD_CORE, *(str(word) for word in command)],
        stdout=subprocess.PIPE, text=True, **pipes,
    )


def load(keeper, server, mode, *more):
    """Puts a load on a server, and returns its figures."""
    return finish(start(keeper, server, mode, *more))


def finish(process):
    try:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{process.args[4:]} has failed")
    return json.loads(output.splitlines()[-1])


def away(keeper, server, folder, is_killed):
    """Ends the server while the receiver is away, and starts it again with its data."""
    process = start(keeper, server, "absent", stdin=subprocess.PIPE)
    if process.stdout.readline() != "end\n":
        return finish(process)
    if is_killed:
        server.kill()
    else:
        server.stop()
    with keepers.Running(keeper.name, folder) as successor:
        process.stdin.write(f"{successor.address}\n")
        process.stdin.flush()
        return finish(process)


def instructions(name, row):
    """Counts the instructions that the server executes in user space for one message."""
    keeper = keepers.named(name)

    def total(operations, folder):
        log = pathlib.Path(folder) / "callgrind"
        under = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                 f"--log-file={log}"]
        with keepers.Running(name, folder, under) as server:
            more = [word for key, value in row.load.items() for word in (f"--{key}", value)]
            done = load(keeper, server, row.mode, *more, "--warmup", 0, "--operations", operations)
        collected = re.search(r"Collected : (\d+)", log.read_text())
        if not collected:
            raise RuntimeError(f"callgrind reports no count: {log.read_text()[-300:]}")
        return done["operations"], {"instructions": int(collected[1])}

    return slopes.slope(total, row)["instructions"]


def check(name):
    """Raises an exception unless the server takes, delivers and keeps messages as it should."""
    raise_descriptor_limit()
    keeper = keepers.named(name)
    with tempfile.TemporaryDirectory(prefix="longlink-peers-") as folder:
        with keepers.Running(name, folder) as server:
            # Every message is answered and delivered once, and in order.
            done = load(keeper, server, "exchange", "--pairs", 4, "--in-flight", 4,
                        "--warmup", 0, "--operations", 400)
            assert done["operations"] >= 400, done
            assert server.is_running(), "the server has ended"
    if not keepers.is_in(name, rows.named("v2-crowd")):
        return
    with tempfile.TemporaryDirectory(prefix="longlink-peers-") as folder:
        with keepers.Running(name, folder) as server:
            # Everyone who comes back gets what has waited, once, and in order.
            done = load(keeper, server, "crowd", "--clients", 20)
            assert done["waiting"] == (0 if keeper.protocol == "v1" else 3), done
            assert server.is_running(), "the server has ended"
