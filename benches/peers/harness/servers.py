"""The servers under test: how they are built, started and stopped."""

import os
import pathlib
import select
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
LONGLINK = TARGET / "release" / "longlink"
SERVER_CORE, LOAD_CORE = "0", "1"
PINNED = ["taskset", "-c", SERVER_CORE]
SECONDS = 30
# longlink's rates are switched off, because the other servers have none.
UNLIMITED = ["--message-rate", "0", "--broadcast-rate", "0", "--accept-rate", "0"]

# The peers in the order of the tables.
PEERS = [
    "longlink", "raw", "uwebsockets", "tungstenite", "fastwebsockets", "tokio-tungstenite", "springboot",
]
SPRING_BOOT = ROOT / "benches" / "peers" / "springboot"
SPRING_BOOT_JAR = TARGET / "peers" / "springboot" / "peer.jar"
# Tools that a peer needs, and their packages in Debian.
TOOLS = {"springboot": {"java": "default-jdk-headless", "mvn": "maven"}}


def build(peers):
    """Builds longlink, which is the load generator as well, and the peers that are asked for."""
    cargo("build", "--release", "--locked", cwd=ROOT)
    if "springboot" in peers:
        build_spring_boot()
    others = [peer for peer in peers if peer not in ("longlink", "springboot")]
    if others:
        bins = [argument for peer in others for argument in ("--bin", peer)]
        here = ROOT / "benches" / "peers"
        cargo("build", "--release", "--locked", *bins, cwd=here, target=TARGET / "peers")


def build_spring_boot():
    command = ["mvn", "-q", "-B", "-DskipTests", f"-Dfolder={SPRING_BOOT_JAR.parent}", "package"]
    subprocess.run(command, cwd=SPRING_BOOT, check=True)


def cargo(*arguments, cwd, target=TARGET):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target))
    subprocess.run(["cargo", *arguments], cwd=cwd, env=environment, check=True)


def command(peer):
    """The command line that starts a server on a free port."""
    if peer == "longlink":
        return [str(LONGLINK), "--listen", "127.0.0.1:0", "--log", "error", *UNLIMITED]
    if peer == "springboot":
        return ["java", "-jar", str(SPRING_BOOT_JAR), "127.0.0.1:0"]
    return [str(TARGET / "peers" / "release" / peer), "127.0.0.1:0"]


class Server:
    """A running server, pinned to its core; ends with the `with` block."""

    def __init__(self, peer, under=(), more=()):
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*PINNED, *under, *self._command(peer), *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.port = self._port()
        self.seconds_to_listen = time.monotonic() - self.started
        self.pid = self._pid()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Asks the server to end, as a service manager would, and waits until it has ended."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()

    def _command(self, peer):
        return command(peer)

    def is_running(self):
        return self.process.poll() is None

    def _port(self):
        """Reads `listening on …:PORT`, the first line of every server."""
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line.startswith("listening on "):
            self.process.kill()
            raise RuntimeError(f"{self.process.args}: no 'listening on', but {line!r}")
        return int(line.split()[2].rsplit(":", 1)[1].strip("/"))

    def _pid(self):
        """Returns the process id of the server itself. strace is its parent; taskset and valgrind become the server."""
        return next(iter(children(self.process.pid)), self.process.pid)


def children(pid):
    """The processes that a process has started."""
    return [int(one) for one in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_port():
    """A TCP port that nobody uses now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
