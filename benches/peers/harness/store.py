"""What a server costs that keeps its messages in a file (`--store`): rates, processor time, bytes, and the start.

On a file in memory every sync is made a millisecond long by `src/slowsync.c`, which also counts what is written.
So the rates do not depend on the disk. The time of an `ack` is measured on the disk that is there, beside a probe
that appends and syncs a page.
"""

import http.client
import json
import os
import pathlib
import secrets
import struct
import subprocess
import tempfile
import time
from statistics import median

from harness import load
from harness.crowd import raise_descriptor_limit, rss
from harness.rows import OURS
from harness.servers import ROOT, TARGET, Server, free_port

MEMORY = "/dev/shm"
SYNC_US = 1_000
SIZE = 200
# Pairs, and messages in flight on each of them.
LOADS = {"1": (1, 1), "64": (8, 8), "1000": (50, 20)}
SECONDS, QUICK_SECONDS = 5, 1
# A load that takes long enough for many checkpoints, at a rate that the server bears easily.
STEADY_RATE, STEADY_SECONDS = 5_000, 15
WAITING, QUICK_WAITING, EACH, BATCH = 1_000_000, 20_000, 20, 1_000
PROBES, PAGE = 200, 4_096
LIMIT_SECONDS = 60
NEVER = 10**12
THREAD = "store"


def measure(row, quick, _rounds):
    """The figures of the row."""
    raise_descriptor_limit()
    seconds = QUICK_SECONDS if quick else SECONDS
    with tempfile.TemporaryDirectory(prefix="longlink-store-") as build:
        shim = compile_shim(build)
        figures = {}
        for name in ("64", "1000"):
            kept = slow(shim, name, seconds)
            queued = with_server(name, seconds, [])
            figures |= {
                f"rate_{name}": round(kept["rate"]),
                f"store_us_{name}": round(kept["store_us"], 2),
                f"loop_us_{name}": round(kept["loop_us"], 2),
                f"loop_ratio_{name}": round(kept["loop_us"] / queued["loop_us"], 2),
                f"bytes_{name}": round(kept["bytes"]),
                f"syncs_{name}": kept["syncs"],
                f"sync_ms_{name}": round(kept["longest"] / 1e6, 2),
            }
        steady = slow(shim, "64", QUICK_SECONDS if quick else STEADY_SECONDS, STEADY_RATE)
        # The longest sync is measured in the same process, so what the machine did to it does not count.
        figures["checkpoint_ms"] = round(steady["max_ms"] - steady["longest"] / 1e6, 2)
    figures |= on_disk(seconds)
    figures |= start(QUICK_WAITING if quick else WAITING)
    return figures


def compile_shim(folder):
    library = pathlib.Path(folder) / "slowsync.so"
    source = ROOT / "benches" / "peers" / "src" / "slowsync.c"
    subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def slow(shim, name, seconds, rate=None):
    """A load on a server whose file is in memory, with slow syncs."""
    with tempfile.TemporaryDirectory(prefix="longlink-store-", dir=MEMORY) as folder:
        counts = pathlib.Path(folder) / "counts"
        under = ["env", f"LD_PRELOAD={shim}", f"SLOWSYNC_US={SYNC_US}", f"SLOWSYNC_FILE={counts}"]
        return with_server(name, seconds, stored(folder), under, counts, rate)


def stored(folder):
    return ["--store", f"{folder}/messages.db"]


def with_server(name, seconds, options, under=(), counts=None, rate=None):
    """Puts a load on a server, and returns the figures of the load, of the threads and of the writes."""
    pairs, in_flight = LOADS[name]
    told = ["--v2", "--connections", 2 * pairs, "--in-flight", in_flight, "--size", SIZE,
            "--duration", seconds, "--warmup", 0]
    told += ["--rate", rate] if rate else []
    with Server(OURS, under, options) as server:
        before, threads = read(counts), cpu(server.pid)
        done = load.bench("p2p", load.url(server), [server.pid], [str(word) for word in told]).result()
        after, spent = read(counts), cpu(server.pid)
    if done["errors"] or not done["operations"]:
        raise RuntimeError(f"{done['errors']} errors: {done['error']}")
    each = {thread: (spent[thread] - threads.get(thread, 0)) / 1e3 / done["operations"] for thread in spent}
    syncs, bytes_, _, _ = (a - b for a, b in zip(after, before))
    if counts and not syncs:
        raise RuntimeError("nothing was synced: the shim was not used")
    return {
        "rate": done["rate"], "p50_us": done["latency_us"]["p50"],
        "max_ms": done["latency_us"]["max"] / 1e3,
        "store_us": each.get(THREAD, 0), "loop_us": sum(each.values()) - each.get(THREAD, 0),
        "syncs": syncs, "bytes": bytes_ / done["operations"], "longest": after[3],
    }


def read(counts):
    """Syncs, bytes, writes, and the longest sync in nanoseconds."""
    return struct.unpack("=4Q", counts.read_bytes()) if counts else (0,) * 4


def cpu(pid):
    """The processor time of the threads so far, in nanoseconds, by their names."""
    spent = {}
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (thread / "comm").read_text().strip()
        spent[name] = spent.get(name, 0) + int((thread / "schedstat").read_text().split()[0])
    return spent


def on_disk(seconds):
    """The median time of an `ack` on the disk of the build's folder, and that of a probe before and after."""
    with tempfile.TemporaryDirectory(prefix="longlink-store-", dir=TARGET) as folder:
        before = probe(folder)
        done = with_server("1", seconds, stored(folder))
        probes = median([*before, *probe(folder)])
    return {
        "ack_us": round(done["p50_us"], 1), "probe_us": round(probes, 1),
        "ack_ratio": round(done["p50_us"] / probes, 2),
    }


def probe(folder):
    """Times of an appended page with its `fdatasync`, in microseconds."""
    times = []
    with open(pathlib.Path(folder) / "probe", "wb", buffering=0) as file:
        for _ in range(PROBES):
            begin = time.monotonic()
            file.write(os.urandom(PAGE))
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - begin) * 1e6)
    return times


def start(waiting):
    """How long a server takes to start that has so many messages waiting, and the memory that it takes then."""
    with tempfile.TemporaryDirectory(prefix="longlink-store-", dir=MEMORY) as folder:
        key = pathlib.Path(folder) / "key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o600)
        api = free_port()
        # No mailbox is given up, and no message is dropped.
        options = [*stored(folder), "--api-listen", f"127.0.0.1:{api}", "--api-key-file", str(key),
                   "--mailbox-memory", str(NEVER)]
        with Server(OURS, more=options) as server:
            empty = rss(server.pid)
            fill(api, key.read_text(), waiting)
            expect(api, key.read_text(), waiting)
        begin = time.monotonic()
        with Server(OURS, more=options) as server:
            healthy(server.port)
            seconds, resident = time.monotonic() - begin, rss(server.pid)
            expect(api, key.read_text(), waiting)
    users = waiting // EACH
    return {
        "waiting": waiting, "start_s": round(seconds, 2), "start_bytes": resident - empty,
        "absent_bytes": round((resident - empty) / users),
    }


def fill(port, key, waiting):
    """Sends messages to users who have never connected."""
    backend = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECONDS)
    users = waiting // EACH
    for first in range(0, waiting, BATCH):
        messages = [{"user": f"absent-{number % users:09}", "message": "x" * SIZE, "keep": True}
                    for number in range(first, first + BATCH)]
        status, answer = request(backend, "POST", "/api/batch", key, json.dumps({"messages": messages}))
        if status != 200 or b"busy" in answer:
            raise RuntimeError(f"{status}: {answer[:300]!r}")
    backend.close()


def request(backend, method, path, key, body=None):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    backend.request(method, path, body, headers)
    response = backend.getresponse()
    return response.status, response.read()


def healthy(port):
    """Waits until the server says that it is ready."""
    limit = time.monotonic() + LIMIT_SECONDS
    while True:
        backend = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECONDS)
        backend.request("GET", "/healthz")
        if backend.getresponse().status == 200:
            return backend.close()
        if time.monotonic() > limit:
            raise RuntimeError("the server does not get ready")
        time.sleep(0.01)


def expect(port, key, waiting):
    """Raises an exception unless so many messages wait."""
    found = metric(port, key, "longlink_mailbox_waiting")
    if found != waiting:
        raise RuntimeError(f"{found} of {waiting} messages wait")


def metric(port, key, name):
    backend = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECONDS)
    _, text = request(backend, "GET", "/metrics", key)
    backend.close()
    line = next(line for line in text.decode().splitlines() if line.startswith(f"{name} "))
    return int(float(line.split()[1]))
