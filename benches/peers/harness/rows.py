"""What is measured, and the targets for the results.

A row is one load or one other measurement. Its targets are judged from its figures alone, so
that a table can be made again from the results that were kept.
"""

from dataclasses import dataclass, field
from statistics import median
from typing import Callable

from harness import tls

OURS = "longlink"
RAW = "raw"
UWS = "uwebsockets"
# In the rows of `KEPT` `longlink` speaks v2, and this peer is longlink with v1.
V1 = "v1"
# And this one keeps its messages in a file.
STORED = "longlink-store"


@dataclass(frozen=True)
class Target:
    """A target for a row's figures. A target that is not judged is only shown in the table."""

    what: str
    value: Callable[[dict], float | None]
    sense: str
    limit: float
    unit: str = ""
    judged: bool = True

    def verdict(self, row):
        try:
            value = self.value(row)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            value = None
        met = None
        if value is not None:
            met = value >= self.limit if self.sense == "≥" else value <= self.limit
        return {
            "what": self.what,
            "target": f"{self.sense} {self.limit:,}{self.unit}",
            "value": value,
            "unit": self.unit,
            "met": met,
            "judged": self.judged,
        }


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    targets: tuple[Target, ...]
    # How the row is measured: `load` for a load that every peer gets, else the name of a function
    # in `harness/single.py`, or `kept` for what `harness/kept.py` measures.
    kind: str = "load"
    mode: str = ""
    load: dict = field(default_factory=dict)
    # What is counted as one operation.
    operation: str = ""
    # The two numbers of operations of the short and the long run.
    counted: tuple[int, int] = (0, 0)
    # The peers whose instructions and system calls are counted.
    instructions: tuple[str, ...] = ()
    system_calls: bool = False


def peer(row, name=OURS):
    return row["peers"][name]


def figure(row, name, key):
    """Returns the median of a figure over the rounds."""
    return median(one[key] for one in peer(row, name)["rounds"])


def paired(row, other, ratio):
    """Returns the median of the rounds' ratios, because what slows a round slows both servers."""
    pairs = zip(peer(row)["rounds"], peer(row, other)["rounds"], strict=True)
    return round(median(ratio(ours, theirs) for ours, theirs in pairs), 3)


def cpu_ratio(other, limit):
    """A target for the processor time of `other` divided by longlink's. This target is judged."""
    return Target(
        f"CPU time of {other} / ours",
        lambda row: paired(row, other, lambda a, b: b["cpu_us_per_op"] / a["cpu_us_per_op"]),
        "≥", limit,
    )


def rate_ratio(other, limit):
    return Target(
        f"our rate / that of {other}",
        lambda row: paired(row, other, lambda a, b: a["rate"] / b["rate"]),
        "≥", limit, judged=False,
    )


def against(other, limit):
    return cpu_ratio(other, limit), rate_ratio(other, limit)


def instructions(limit):
    return Target(
        "instructions", lambda row: round(peer(row)["instructions"], 1), "≤", limit
    )


def system_calls(limit, which="all", what="system calls"):
    return Target(what, lambda row: peer(row)["system_calls"][which], "≤", limit)


def at_most(what, key, limit, unit=""):
    return Target(what, lambda row: figures(row)[key], "≤", limit, unit)


def figures(row):
    return peer(row)["figures"]


BOTH = (OURS, RAW, UWS)
TAIL = Target(
    "p99 / p50",
    lambda row: round(
        figure(row, OURS, "p99_us") / figure(row, OURS, "p50_us"), 2
    ),
    "≤", 2.0,
)


def fan_out(name, connections, size, told, *, counted):
    return Row(
        name, f"To everyone, {connections:,} online, {told}, 1 in flight",
        (*against(RAW, 0.97), instructions(60)),
        mode="fanout", load={"connections": connections, "in-flight": 1, "size": size},
        operation="delivery", counted=counted, instructions=BOTH,
    )


LOADS = [
    Row(
        "ping1", "Heartbeat, 100 connections, 1 in flight",
        (*against(UWS, 1.0), system_calls(2.1), instructions(450)),
        mode="pingpong", load={"connections": 100, "in-flight": 1},
        operation="ping", counted=(10_000, 40_000), instructions=BOTH, system_calls=True,
    ),
    Row(
        "ping16", "Heartbeat, 100 connections, 16 in flight",
        (*against(UWS, 1.0), system_calls(0.125), instructions(250), TAIL),
        mode="pingpong", load={"connections": 100, "in-flight": 16},
        operation="ping", counted=(64_000, 256_000), instructions=BOTH, system_calls=True,
    ),
    Row(
        "one1", "To one user, 50 pairs, 1 in flight",
        (*against(UWS, 1.0), instructions(1_000)),
        mode="p2p", load={"connections": 100, "in-flight": 1, "size": 64},
        operation="message", counted=(10_000, 40_000), instructions=BOTH, system_calls=True,
    ),
    Row(
        "one16", "To one user, 50 pairs, 16 in flight",
        (*against(UWS, 1.1), system_calls(0.5, "send", "sends")),
        mode="p2p", load={"connections": 100, "in-flight": 16, "size": 64},
        operation="message", counted=(32_000, 128_000), system_calls=True,
    ),
    fan_out("all1k64", 1_000, 64, "64 B", counted=(20_000, 100_000)),
    fan_out("all1k1k", 1_000, 1024, "1 KiB", counted=(20_000, 100_000)),
    fan_out("all10k64", 10_000, 64, "64 B", counted=(50_000, 150_000)),
    fan_out("all10k1k", 10_000, 1024, "1 KiB", counted=(50_000, 150_000)),
    Row(
        "all8", "To everyone, 1,000 online, 64 B, 8 in flight",
        (*against(UWS, 2.1), system_calls(0.13, "send", "sends")),
        mode="fanout", load={"connections": 1_000, "in-flight": 8, "size": 64},
        operation="delivery", counted=(80_000, 400_000), system_calls=True,
    ),
    Row(
        "churn", "Connect, handshake, heartbeat, close",
        (
            *against(UWS, 1.1),
            system_calls(11),
            Target("user time", lambda row: figure(row, OURS, "user_us_per_op"), "≤", 4, " µs"),
        ),
        mode="churn", load={"in-flight": 16},
        operation="cycle", counted=(1_000, 4_000), system_calls=True,
    ),
]


def beside_nginx(what, load):
    return Target(
        f"CPU time of nginx and longlink / ours, {what}",
        lambda row: tls.times(figures(row), load), "≥", 1.0,
    )


SINGLES = [
    Row(
        "memory", "An idle connection, 15,000 of them", kind="memory",
        targets=(
            at_most("bytes each", "idle", 160, " B"),
            at_most("after 16 KiB to and from each", "after_16k", 160, " B"),
            at_most("growth from the first to the third time all have gone", "growth", 65_536, " B"),
        ),
    ),
    Row(
        "latency", "A heartbeat while 10,000 get a broadcast a second", kind="latency",
        mode="fanout", load={"connections": 10_000, "rate": 1, "size": 64},
        targets=(at_most("p99", "p99_ms", 5, " ms"),),
    ),
    Row(
        "stalled", "1,000 receivers, of whom 100 read nothing", kind="stalled",
        mode="slow",
        load={"connections": 1_000, "in-flight": 2, "size": 4096, "stalled": 0.1},
        targets=(
            Target("rate of each of the others / when all read",
                   lambda row: figures(row)["rate_ratio"], "≥", 0.95),
            Target("CPU time for a delivery when all read / with the stalled",
                   lambda row: figures(row)["cpu_ratio"], "≥", 0.95, judged=False),
            at_most("messages the others missed, and other errors", "errors", 0),
            at_most("growth of the server's memory at its peak", "backlog", 4 << 20, " B"),
            at_most("kernel memory for each", "kernel", 256 << 10, " B"),
            at_most("of 100 still connected at the end", "left", 0),
        ),
    ),
    Row(
        "tls", "TLS, longlink's own beside nginx before longlink", kind="tls",
        targets=(
            beside_nginx("a full handshake", "full13"),
            beside_nginx("a resumed handshake", "resumed13"),
            beside_nginx("a heartbeat", "ping1"),
            Target("bytes of an idle connection, the kernel's included",
                   lambda row: round(sum(tls.resting(figures(row), tls.OURS))), "≤", 8_192, " B"),
            Target("the same of nginx and longlink / ours",
                   lambda row: round(sum(tls.resting(figures(row), tls.NGINX))
                                     / sum(tls.resting(figures(row), tls.OURS)), 2), "≥", 1.0),
        ),
    ),
    Row(
        "million", "1,000,000 connections, fake sockets", kind="capacity",
        targets=(
            at_most("bytes each", "bytes", 256, " B"),
            at_most("longest pause", "pause_us", 5_000, " µs"),
            at_most("cost of an operation among them / among few", "ratio", 1.5),
        ),
    ),
    Row(
        "wheel", "Timers, 1,000,000 armed", kind="wheel",
        targets=(
            at_most("a heartbeat", "rearm_ns", 60, " ns"),
            at_most("a tick over 1,000 that are due", "due_1000_us", 100, " µs"),
        ),
    ),
    Row(
        "binary", "The program", kind="binary",
        targets=(
            at_most("stripped", "bytes", 6_000_000, " B"),
            at_most("examples/echo without features, stripped", "echo_bytes", 1_500_000, " B"),
            at_most("from start to listening", "start_ms", 10, " ms"),
        ),
    ),
]


def times(other, limit, what, key="cpu_us_per_op"):
    """A target for longlink's figure divided by that of `other`."""
    return Target(
        what, lambda row: paired(row, other, lambda a, b: a[key] / b[key]), "≤", limit
    )


def most(row, key, name=OURS):
    """Returns the largest figure of all rounds."""
    return max(one[key] for one in peer(row, name)["rounds"])


# Servers that keep messages and acknowledge them, with the peers of `harness/keepers.py`.
KEPT = [
    Row(
        "v2-open", "50 pairs, 5,000 messages a second, open loop", kind="kept",
        mode="exchange", load={"pairs": 50, "rate": 5_000}, operation="message",
        targets=(
            Target("CPU time", lambda row: figure(row, OURS, "cpu_us_per_op"), "≤", 25, " µs"),
            cpu_ratio("mosquitto", 1.0),
        ),
    ),
    Row(
        "v2-1", "50 pairs, 1 in flight", kind="kept",
        mode="exchange", load={"pairs": 50, "in-flight": 1}, operation="message",
        targets=(cpu_ratio("mosquitto", 1.0),),
    ),
    Row(
        "v2-16", "50 pairs, 16 in flight", kind="kept",
        mode="exchange", load={"pairs": 50, "in-flight": 16}, operation="message",
        counted=(16_000, 64_000), instructions=(V1, OURS),
        targets=(
            times(V1, 2.0, "CPU time / that of a v1 message"),
            instructions(3_500),
            cpu_ratio("mosquitto", 1.0),
        ),
    ),
    Row(
        "v2-ping", "Heartbeat, 100 connections, 16 in flight", kind="kept",
        mode="heartbeat", load={"clients": 100, "in-flight": 16}, operation="ping",
        targets=(cpu_ratio("mosquitto", 1.0), times(V1, 1.1, "CPU time / that of v1")),
    ),
    Row(
        "v2-crowd", "A crowd at rest, and all of it cut and back with 3 messages waiting", kind="kept",
        mode="crowd",
        targets=(
            Target("bytes of an idle connection, everything included",
                   lambda row: round(figure(row, OURS, "idle_bytes")), "≤", 300, " B"),
            times(V1, 1.6, "CPU time of a return / that of v1's connect cycle", "return_us"),
            Target("CPU time of a return of mosquitto / ours",
                   lambda row: paired(row, "mosquitto",
                                      lambda a, b: b["return_us"] / a["return_us"]), "≥", 3.0),
        ),
    ),
    Row(
        "v2-group", "A message to a group of 1,000, 1 in flight", kind="kept",
        mode="group", load={"clients": 1_000, "ack-every": 16}, operation="delivery",
        targets=(times(V1, 1.5, "CPU time of a delivery / that of v1's to everyone"),
                 cpu_ratio("mosquitto", 1.0),),
    ),
    Row(
        "v2-cuts", "20 cuts by a proxy, 2,000 acknowledged messages", kind="kept", mode="cuts",
        targets=(
            Target("lost", lambda row: most(row, "lost"), "≤", 0),
            Target("doubled", lambda row: most(row, "doubled"), "≤", 0),
            Target("out of order", lambda row: most(row, "out_of_order"), "≤", 0),
        ),
    ),
    Row(
        "v2-restart", "A restart while the receiver is away, 2,000 acknowledged messages", kind="kept",
        mode="restart",
        targets=(
            Target("doubled", lambda row: most(row, "doubled"), "≤", 0),
            Target("losses that nobody was told of",
                   lambda row: most(row, "lost") if not most(row, "gaps") else 0, "≤", 0),
            Target("lost with a store", lambda row: most(row, "lost", STORED), "≤", 0),
        ),
    ),
    Row(
        "v2-absent", "kill -9 while the receiver is away, 2,000 acknowledged messages", kind="kept",
        mode="absent",
        targets=(
            Target("doubled", lambda row: most(row, "doubled"), "≤", 0),
            Target("losses that nobody was told of",
                   lambda row: most(row, "lost") if not most(row, "gaps") else 0, "≤", 0),
            Target("lost with a store", lambda row: most(row, "lost", STORED), "≤", 0),
            Target("doubled with a store", lambda row: most(row, "doubled", STORED), "≤", 0),
        ),
    ),
    Row(
        "v2-store", "Messages of 200 bytes, kept in a file", kind="store",
        targets=(
            Target("messages a second, 64 in flight, a sync takes 1 ms",
                   lambda row: figures(row)["rate_64"], "≥", 40_000),
            Target("messages a second, 1,000 in flight, a sync takes 1 ms",
                   lambda row: figures(row)["rate_1000"], "≥", 150_000),
            at_most("median time of an `ack` / of a probe that syncs, on the disk", "ack_ratio", 3),
            at_most("CPU time of the store's thread, 64 in flight", "store_us_64", 3, " µs"),
            at_most("CPU time of the store's thread, 1,000 in flight", "store_us_1000", 2, " µs"),
            at_most("CPU time of the loop / the same without a store, 64 in flight", "loop_ratio_64", 1.3),
            at_most("CPU time of the loop / the same without a store, 1,000 in flight", "loop_ratio_1000", 1.3),
            at_most("bytes written for a message, 1,000 in flight", "bytes_1000", 600, " B"),
            at_most("longest delay by a checkpoint, 5,000 a second", "checkpoint_ms", 10, " ms"),
            at_most("start with 1,000,000 messages that wait", "start_s", 1.5, " s"),
            at_most("memory after that", "start_bytes", 50_000_000, " B"),
            at_most("memory for a user who is away, with 20 messages waiting", "absent_bytes", 500, " B"),
            at_most("by how much the program is larger, stripped", "program_bytes", 1_000_000, " B"),
        ),
    ),
    Row(
        "v2-mailboxes", "Mailboxes of 1,000,000 users, fake sockets", kind="mailboxes",
        targets=(
            at_most("bytes of an idle connection with an empty mailbox", "idle_bytes", 300, " B"),
            at_most("bytes of a message that waits, without its own", "waiting_bytes", 48, " B"),
            at_most("longest pause while some are shed or expire", "pause_us", 5_000, " µs"),
            at_most("longest pause while all connect", "connect_pause_us", 5_000, " µs"),
        ),
    ),
]

ROWS = LOADS + SINGLES + KEPT
# The rows that compare every peer.
COMPARED = [row.name for row in LOADS] + ["memory"]


def named(name):
    return next(row for row in ROWS if row.name == name)


def judge(name, record):
    """Writes into a row's record its title, its targets and whether they are met."""
    row = named(name)
    record["title"] = row.title
    record["targets"] = [target.verdict(record) for target in row.targets]
    judged = [verdict["met"] for verdict in record["targets"] if verdict["judged"]]
    record["met"] = None if None in judged else all(judged)
