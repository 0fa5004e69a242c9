"""Measurements of longlink alone, which are not repeated for every peer."""

import dataclasses
import re
import shutil
import subprocess
import tempfile
import time
from statistics import median

from harness import load, memory, store, tls
from harness.crowd import raise_descriptor_limit, wait_until
from harness.kernel import send_queues
from harness.rows import OURS
from harness.servers import LONGLINK, ROOT, TARGET, Server, cargo

IDLE_CONNECTIONS, QUICK_CONNECTIONS = 15_000, 1_000
STARTS = 20
# The run is short, so that the time until the stalled receivers have been dropped is a good part of
# it.
STALLED_SECONDS = 3
# The time between two readings of the kernel's queues.
WATCH_SECONDS = 0.05
# Ten connections, each with a heartbeat in 10 ms, make a thousand samples a second. More heartbeats
# would be a load of their own.
PINGERS, PING_SECONDS = 10, 0.01


def measure(peer, row, quick, rounds):
    """The figures of a row."""
    if row.kind == "memory":
        return memory.measure(peer, QUICK_CONNECTIONS if quick else IDLE_CONNECTIONS)
    return {
        "latency": latency, "stalled": stalled, "capacity": criterion, "wheel": criterion,
        "mailboxes": criterion,
        "binary": binary, "store": stored, "tls": tls.measure,
    }[row.kind](row, quick, rounds)


def latency(row, quick, _):
    """Heartbeats of a few connections, timed while a broadcast a second goes to many others."""
    raise_descriptor_limit()
    seconds = 3 if quick else 20
    pings = dataclasses.replace(
        row, mode="heartbeat", load={"connections": PINGERS, "ping-interval": PING_SECONDS}
    )
    with Server(OURS) as server:
        crowd = load.start(server, row, seconds=3 * seconds, warmup=0)
        try:
            online = row.load["connections"]
            wait_until(lambda: len(send_queues(server.port)) > online, "not all have connected")
            # These numbers are beyond those of the receivers, so that nobody is connected twice.
            heard = load.start(
                server, pings, seconds=seconds, warmup=1, more=["--first-user", str(online + 10)]
            ).result()
            if not crowd.is_running():
                raise RuntimeError("the broadcasts ended before the heartbeats")
        finally:
            crowd.process.terminate()
            sent = crowd.result()
    if heard["operations"] == 0 or sent["operations"] < online * (seconds - 1):
        raise RuntimeError(f"too little was heard: {heard['operations']}, {sent['operations']}")
    return {
        **{f"{name}_ms": value / 1000 for name, value in heard["latency_us"].items()},
        "heartbeats": heard["operations"], "deliveries": sent["operations"],
        "errors": heard["errors"] + sent["errors"],
    }


def stalled(row, quick, rounds):
    """Broadcasts to receivers of whom some read nothing, beside the same when all read."""
    seconds = 2 if quick else STALLED_SECONDS
    everyone = row.load["connections"]
    reading = everyone - round(everyone * row.load["stalled"])
    healthy = {name: value for name, value in row.load.items() if name != "stalled"}
    without = dataclasses.replace(row, mode="fanout", load=healthy)
    rates, times, errors, backlog, kernel, left = [], [], 0, 0, 0, 0
    for _ in range(1 if quick else rounds):
        unhindered, _, _ = watched(without, seconds)
        together, most, connected = watched(row, seconds)
        kernel = max(kernel, most)
        # The messages that each receiver that reads gets in a second.
        rates.append((together["rate"] / reading) / (unhindered["rate"] / everyone))
        times.append(unhindered["cpu_us_per_op"] / together["cpu_us_per_op"])
        errors += unhindered["errors"] + together["errors"]
        memory_of = together["rss_bytes"]
        backlog = max(backlog, memory_of["peak"] - memory_of["before"])
        left = max(left, connected - reading - 1)
    return {
        "rate_ratio": round(median(rates), 3), "cpu_ratio": round(median(times), 3),
        "errors": errors, "backlog": backlog, "kernel": kernel, "left": left,
    }


def watched(row, seconds):
    """A load's figures, the longest send queue in the kernel while it ran, and the connections at
    its end. Watching costs the server something, so both loads are watched."""
    longest, connected = 0, 0
    with Server(OURS) as server:
        # There is no warm-up, because what would happen in it is what this row measures.
        running = load.start(server, row, seconds=seconds, warmup=0)
        while running.is_running():
            queues = send_queues(server.port)
            connected = len(queues) or connected
            longest = max([longest, *queues])
            time.sleep(WATCH_SECONDS)
        return running.result(), longest, connected


def criterion(row, quick, _):
    """The line of figures that a benchmark of longlink's own prints: `capacity: bytes=…`."""
    if not (ROOT / "benches" / f"{row.kind}.rs").exists():
        raise RuntimeError(f"there is no benchmark benches/{row.kind}.rs")
    command = ["cargo", "bench", "--locked", "--bench", row.kind]
    # A benchmark that fails above its own limits has printed its figures before.
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = re.findall(rf"^{row.kind}: (.+)$", done.stdout, re.MULTILINE)
    if not lines:
        raise RuntimeError(f"{' '.join(command)} printed no figures")
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", lines[-1])}


def binary(_row, quick, _rounds):
    """Sizes of the files, and the time from starting the program to its `listening on`."""
    cargo(
        "build", "--release", "--locked", "--no-default-features", "--example", "echo",
        cwd=ROOT, target=TARGET / "library",
    )
    starts = []
    for _ in range(3 if quick else STARTS):
        with Server(OURS) as server:
            starts.append(server.seconds_to_listen * 1000)
    return {
        "bytes": stripped(LONGLINK),
        "echo_bytes": stripped(TARGET / "library" / "release" / "examples" / "echo"),
        "start_ms": round(median(starts), 2),
    }


def stored(row, quick, rounds):
    """What a store costs, and by how much it makes the program larger."""
    smaller = TARGET / "without-store"
    cargo(
        "build", "--release", "--locked", "--no-default-features", "--features", "cli,cluster,tls",
        cwd=ROOT, target=smaller,
    )
    more = stripped(LONGLINK) - stripped(smaller / "release" / LONGLINK.name)
    return {**store.measure(row, quick, rounds), "program_bytes": more}


def stripped(program):
    """The size of a program without its symbols."""
    with tempfile.TemporaryDirectory(prefix="longlink-peers-") as folder:
        copy = shutil.copy(program, folder)
        subprocess.run(["strip", copy], check=True)
        with open(copy, "rb") as file:
            return file.seek(0, 2)
