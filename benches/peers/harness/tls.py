"""What TLS costs: longlink's own TLS, and nginx's TLS in front of a longlink without TLS.

To a client both are the same service, and both run on the same core. A service is called a front
here. A figure is the sum over all processes of a front: longlink, and nginx's workers if there are any.
"""

import contextlib
import pathlib
import sys
import tempfile
import time
from dataclasses import dataclass
from statistics import median

from harness.crowd import raise_descriptor_limit
from harness.kernel import socket_memory
from harness.load import USER, bench
from harness.servers import PINNED, ROOT, Server, children

# The tests' certificates and nginx, with the configuration that the guide documents.
sys.path.append(str(ROOT / "tests" / "py"))

import certificate  # noqa: E402
import nginx  # noqa: E402

FRONTS = PLAIN, OURS, NGINX = "plain", "longlink", "nginx"
ENCRYPTED = OURS, NGINX
HOST = "127.0.0.1"
KEYS = {"ecdsa": certificate.ECDSA, "rsa": certificate.RSA}
SECONDS, WARMUP = 3, 0.5
QUICK_SECONDS, QUICK_WARMUP = 1, 0.3
# As many connections as nginx can hold with two descriptors for each, in two workers of 20,000
# descriptors.
IDLE_CONNECTIONS, QUICK_CONNECTIONS = 10_000, 500
IDLE_WORKERS, WORKER_DESCRIPTORS = 2, 20_000
# How long connections are held while their memory is read, and the time between two readings.
HOLD_SECONDS, LOOK_SECONDS = 3, 0.2
SOURCES = "127.0.0.2,127.0.0.3,127.0.0.4"
# Which share of a load's handshakes may be of the other kind; these happen at the start.
STRAY = 0.01


@dataclass(frozen=True)
class Load:
    title: str
    mode: str
    options: tuple[str, ...]
    fronts: tuple[str, ...] = ENCRYPTED
    key: str = "ecdsa"


def cycles(title, *options, **more):
    return Load(title, "churn", ("--in-flight", "16", *options), **more)


def pings(title, in_flight):
    options = ("--connections", "100", "--in-flight", str(in_flight))
    return Load(title, "pingpong", options, fronts=FRONTS)


# The loads in the order of the table.
LOADS = {
    "connect": cycles("Connect, handshake, heartbeat, close", fronts=(PLAIN,)),
    "full13": cycles("with a full handshake, TLS 1.3", "--tls=1.3", "--no-resume"),
    "resumed13": cycles("with a resumed one, TLS 1.3", "--tls=1.3"),
    "full12": cycles("with a full handshake, TLS 1.2", "--tls=1.2", "--no-resume"),
    "resumed12": cycles("with a resumed one, TLS 1.2", "--tls=1.2"),
    "rsa13": cycles("with a full handshake, TLS 1.3, RSA-2048", "--tls=1.3", "--no-resume",
                    key="rsa"),
    "ping1": pings("Heartbeat, 100 connections, 1 in flight", 1),
    "ping16": pings("Heartbeat, 100 connections, 16 in flight", 16),
}


@dataclass(frozen=True)
class Front:
    """A running service: the URL to which clients connect, and its processes."""

    url: str
    pids: list[int]
    options: tuple[str, ...] = ()


def measure(_row, quick, rounds):
    """Puts every load on every front in turn, in each round."""
    raise_descriptor_limit()
    loads, idle = {name: {} for name in LOADS}, {front: [] for front in FRONTS}
    rounds = 1 if quick else rounds
    with tempfile.TemporaryDirectory(prefix="longlink-peers-") as folder:
        pairs = {}
        for key, kind in KEYS.items():
            place = pathlib.Path(folder, key)
            place.mkdir()
            pairs[key] = certificate.make_certificate(place, f"IP:{HOST}", kind)
        for _ in range(rounds):
            for front in FRONTS:
                idle[front].append(at_rest(front, pairs["ecdsa"], quick))
            for name, load in LOADS.items():
                for front in load.fronts:
                    done = loaded(front, load, pairs[load.key], quick)
                    loads[name].setdefault(front, []).append(done)
    return {
        "rounds": rounds,
        "connections": QUICK_CONNECTIONS if quick else IDLE_CONNECTIONS,
        "loads": loads,
        "idle": idle,
    }


def loaded(name, load, pair, quick):
    """Measures the processor time of a front for an operation of a load."""
    seconds, warmup = (QUICK_SECONDS, QUICK_WARMUP) if quick else (SECONDS, WARMUP)
    with running(name, pair) as front:
        options = [*load.options] if name != PLAIN else plain(load.options)
        timed = ["--duration", str(seconds), "--warmup", str(warmup)]
        done = bench(load.mode, front.url, front.pids, [*options, *timed, *front.options]).result()
    sound(done)
    if load.mode == "churn" and name != PLAIN:
        full, resumed = done["tls"]["full"], done["tls"]["resumed"]
        stray, meant = (resumed, full) if "--no-resume" in load.options else (full, resumed)
        if stray > STRAY * meant:
            raise RuntimeError(f"{load.title}, {name}: {full} full handshakes, {resumed} resumed")
    return {key: done[key] for key in ("operations", "cpu_us_per_op", "user_us_per_op", "rate")}


def plain(options):
    """Returns the options without those that exist only for TLS."""
    return [one for one in options if one != "--no-resume" and not one.startswith("--tls=")]


def at_rest(name, pair, quick):
    """Measures the bytes for each of many idle connections: of a front, and of the kernel for all sockets."""
    connections = QUICK_CONNECTIONS if quick else IDLE_CONNECTIONS
    with running(name, pair, workers=IDLE_WORKERS) as front:
        before = socket_memory()
        load = bench("connect", front.url, front.pids, [
            "--connections", str(connections), "--duration", str(HOLD_SECONDS),
            "--source", SOURCES, *front.options,
        ])
        most = before
        while load.is_running():
            most = max(most, socket_memory())
            time.sleep(LOOK_SECONDS)
        done = load.result()
    sound(done)
    return {
        "bytes": done["bytes_per_connection"],
        "kernel": round((most - before) / connections),
    }


def sound(done):
    if done["errors"]:
        raise RuntimeError(f"{done['errors']} errors: {done['error']}")


@contextlib.contextmanager
def running(name, pair, workers=1):
    """A front on its core, with a certificate and its key."""
    trust = ("--ca", str(pair[0]))
    if name == NGINX:
        with (
            Server("longlink", more=["--trust-proxy", HOST]) as server,
            tempfile.TemporaryDirectory(prefix="longlink-peers-") as folder,
            nginx.running(
                pathlib.Path(folder), f"{HOST}:{server.port}", pair,
                # The other servers write no access log either.
                changes={f"access_log {nginx.ACCESS_LOG};": "access_log off;"},
                prefix=PINNED, workers=workers, connections=WORKER_DESCRIPTORS,
                limits=f"worker_rlimit_nofile {WORKER_DESCRIPTORS};",
                # Without this option one worker gets nearly all connections.
                listen="reuseport",
            ) as (port, process),
        ):
            yield Front(f"wss://{HOST}:{port}/websocket/{USER}",
                        [server.pid, *children(process.pid)], trust)
        return
    encrypted = name == OURS
    flags = ["--tls-cert", str(pair[0]), "--tls-key", str(pair[1])] if encrypted else []
    with Server("longlink", more=flags) as server:
        scheme = "wss" if encrypted else "ws"
        yield Front(f"{scheme}://{HOST}:{server.port}/websocket/{USER}", [server.pid],
                    trust if encrypted else ())


def of(record, load, front, key="cpu_us_per_op"):
    """Returns the median over the rounds; raises KeyError if the load was not measured."""
    return median(one[key] for one in record["loads"][load][front])


def times(record, load):
    """Returns the processor time of nginx and longlink together, divided by that of longlink alone."""
    both = zip(record["loads"][load][NGINX], record["loads"][load][OURS], strict=True)
    return round(median(a["cpu_us_per_op"] / b["cpu_us_per_op"] for a, b in both), 2)


def resting(record, front):
    """Returns the bytes for an idle connection: of the processes, and of the kernel without the client's
    end. The client's end is half of what the kernel takes without TLS and without a proxy."""
    own = median(one["bytes"] for one in record["idle"][front])
    kernel = median(one["kernel"] for one in record["idle"][front])
    client = median(one["kernel"] for one in record["idle"][PLAIN]) / 2
    return own, kernel - client
