"""What one more operation costs, counted and not timed: instructions in user space, and system
calls. Each count is the difference of two runs, so that the cost of start, connects and end cancels out."""

import pathlib
import re
import tempfile

from harness import load
from harness.servers import Server

SENDS = ("sendto", "sendmsg", "write", "writev")


def instructions(peer, row):
    """Counts with callgrind the instructions that the server executes in user space for one operation."""

    def total(operations, folder):
        log = folder / "callgrind"
        under = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                 f"--log-file={log}"]
        done = run(peer, row, operations, under)
        collected = re.search(r"Collected : (\d+)", log.read_text())
        if not collected:
            raise RuntimeError(f"callgrind reports no count for {peer}: {log.read_text()[-300:]}")
        return done, {"instructions": int(collected[1])}

    return slope(total, row)["instructions"]


def system_calls(peer, row):
    """Counts with strace the server's system calls for one operation: `all` calls, and `send`, the
    calls that write to a socket."""

    def total(operations, folder):
        log = folder / "strace"
        under = ["strace", "-f", "-c", "-U", "name,calls", "-o", str(log)]
        done = run(peer, row, operations, under)
        calls = dict(re.findall(r"^(\w+) +(\d+)$", log.read_text(), re.MULTILINE))
        calls.pop("total", None)
        counted = {name: int(count) for name, count in calls.items()}
        sends = sum(counted.get(name, 0) for name in SENDS)
        return done, {"all": sum(counted.values()), "send": sends, **counted}

    found = slope(total, row)
    # A system call that is rarer than once in a thousand operations is noise.
    return {name: value for name, value in found.items() if abs(value) >= 0.001}


def run(peer, row, operations, under):
    with Server(peer, under) as server:
        return load.run(server, row, operations=operations)["operations"]


def slope(total, row):
    few, many = row.counted
    with tempfile.TemporaryDirectory(prefix="longlink-peers-") as folder:
        folder = pathlib.Path(folder)
        (done_few, least), (done_many, most) = total(few, folder), total(many, folder)
    more = done_many - done_few
    if more <= 0:
        raise RuntimeError(f"{row.name}: {done_few} and {done_many} operations make no slope")
    names = least.keys() | most.keys()
    return {name: round((most.get(name, 0) - least.get(name, 0)) / more, 4) for name in names}
