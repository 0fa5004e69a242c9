"""The load: `longlink bench` against a running server, on the other core."""

import json
import subprocess

from harness.servers import LOAD_CORE, LONGLINK

# An id of sixteen bytes, of which seven are the digits of the user's number.
USER = "benchuser{user}"


def url(server):
    return f"ws://127.0.0.1:{server.port}/websocket/{USER}"


def run(server, row, *, operations=None, seconds=None, warmup=None):
    """Puts the load of `row` on a server and returns the report of `longlink bench --json`. The load
    ends after `operations`, or `seconds` after a warm-up."""
    return start(server, row, operations=operations, seconds=seconds, warmup=warmup).result()


def start(server, row, *, operations=None, seconds=None, warmup=None, more=()):
    """Starts the load of `row` on a server and does not wait for its end."""
    options = dict(row.load)
    if operations is not None:
        options["operations"] = operations
        options["warmup"] = 0
        # Under callgrind or strace an answer takes longer.
        options["timeout"] = 120
    else:
        options["duration"] = seconds
        if warmup is not None:
            options["warmup"] = warmup
    for name, value in options.items():
        more = [f"--{name}", str(value), *more]
    return bench(row.mode, url(server), [server.pid], more)


def bench(mode, where, pids, more):
    """Starts a load on the server at the URL `where`; the server's processes are `pids`."""
    told = ["--json", "--pid", ",".join(map(str, pids))]
    return Load([str(LONGLINK), "bench", mode, where, *told, *more])


class Load:
    """A running load generator."""

    def __init__(self, command):
        self.command = command
        self.process = subprocess.Popen(
            ["taskset", "-c", LOAD_CORE, *command], stdout=subprocess.PIPE
        )

    def is_running(self):
        return self.process.poll() is None

    def result(self, limit=600):
        """Waits for the end; raises RuntimeError if nothing was measured."""
        try:
            output, _ = self.process.communicate(timeout=limit)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise
        try:
            return json.loads(output)
        except ValueError as error:
            raise RuntimeError(f"{' '.join(self.command)}: no figures") from error
