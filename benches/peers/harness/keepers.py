"""Servers that keep and acknowledge messages: how each is installed, set up, started and killed.

Each of them is set up to keep what it can: sessions outlive connections, and no bound is lower than
the messages of the tests.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

from harness import servers
from harness.servers import LONGLINK, ROOT, SECONDS, TARGET, UNLIMITED, Server

HERE = ROOT / "benches" / "peers"
PROGRAMS = TARGET / "peers" / "go"
SOCKETIO = TARGET / "peers" / "socketio"
LOAD = TARGET / "peers" / "release" / "acknowledged"
# Tools that a peer needs, and their packages in Debian.
TOOLS = {
    "mosquitto": {"mosquitto": "mosquitto"},
    "mosquitto-disk": {"mosquitto": "mosquitto"},
    "socketio": {"node": "nodejs", "npm": "npm"},
    "springboot": servers.TOOLS["springboot"],
    "centrifugo": {"go": "golang-go"},
    "nats": {"go": "golang-go"},
    "nats-sync": {"go": "golang-go"},
}
# The modules of Go's servers, with their versions.
MODULES = {
    "centrifugo": "github.com/centrifugal/centrifugo/v6@v6.9.1",
    "nats": "github.com/nats-io/nats-server/v2@v2.15.2",
    "nats-sync": "github.com/nats-io/nats-server/v2@v2.15.2",
}
# More than the messages of a test.
PLENTY = 8_192
HALF_AN_HOUR = 1_800
RETRY_SECONDS = 0.02
# The rows in which the same can be done with every server.
EXCHANGES = ("v2-open", "v2-1", "v2-16")
LOSSES = ("v2-cuts", "v2-restart", "v2-absent")
SHARED = (*EXCHANGES, "v2-ping", "v2-crowd", "v2-group", *LOSSES)


@dataclass(frozen=True)
class Keeper:
    """A server, or a way to use it."""

    name: str
    title: str
    # The protocol in which the load speaks to it.
    protocol: str
    # The rows in which it is compared.
    rows: tuple[str, ...] = SHARED
    # How many clients the crowd has: as many as the server holds and brings back in some seconds.
    crowd: int = 15_000


KEEPERS = [
    Keeper("v1", "longlink v1", "v1"),
    Keeper("floor", "floor", "floor", rows=EXCHANGES),
    Keeper("longlink", "longlink v2", "v2"),
    Keeper("longlink-store", "longlink v2, store", "v2"),
    Keeper("mosquitto", "mosquitto", "mqtt"),
    Keeper("mosquitto-disk", "mosquitto, disk", "mqtt", rows=(*EXCHANGES, *LOSSES)),
    # As the articles have it: nothing is kept or acknowledged.
    Keeper("springboot", "Spring Boot", "v1"),
    Keeper("socketio", "Socket.IO", "socketio", crowd=2_000),
    Keeper("centrifugo", "Centrifugo", "centrifugo", crowd=2_000),
    # A stream of NATS has 1,000 consumers at most.
    Keeper("nats", "NATS", "nats", crowd=900),
    Keeper("nats-sync", "NATS, sync", "nats", rows=(*EXCHANGES, *LOSSES)),
]
NAMES = [keeper.name for keeper in KEEPERS]


def named(name):
    return next(keeper for keeper in KEEPERS if keeper.name == name)


def is_in(name, row):
    """Whether a peer is compared in a row."""
    return row.name in named(name).rows


def is_ours(name):
    return name in ("v1", "floor", "longlink", "longlink-store")


def tools(names):
    """The tools that these peers need, with their packages."""
    return {tool: package for name in names for tool, package in TOOLS.get(name, {}).items()}


def build(names):
    """Builds the load, and installs the peers that are asked for."""
    servers.cargo("build", "--release", "--locked", cwd=ROOT)
    servers.cargo("build", "--release", "--locked", "--bin", "acknowledged",
                  cwd=HERE, target=TARGET / "peers")
    if "springboot" in names:
        servers.build_spring_boot()
    if "socketio" in names:
        SOCKETIO.mkdir(parents=True, exist_ok=True)
        for file in ("package.json", ".npmrc", "server.mjs"):
            shutil.copy(HERE / "socketio" / file, SOCKETIO)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=SOCKETIO, check=True)
    for name in names:
        if name in MODULES:
            environment = dict(os.environ, GOBIN=str(PROGRAMS), CGO_ENABLED="0")
            subprocess.run(["go", "install", MODULES[name]], env=environment, check=True)


def version(name):
    """Returns what the server says of its version, for the document."""
    if is_ours(name):
        return "of this commit"
    if name == "socketio":
        package = SOCKETIO / "node_modules" / "socket.io" / "package.json"
        return f"{json.loads(package.read_text())['version']}, node {first('node', '--version')}"
    if name == "springboot":
        parent = servers.SPRING_BOOT / "pom.xml"
        return f"{parent.read_text().split('<version>')[1].split('<')[0]}, Java {java()}"
    if name in MODULES:
        return MODULES[name].rsplit("@", 1)[1]
    return first(mosquitto(), "-h").removeprefix("mosquitto version ")


def java():
    told = subprocess.run(["java", "-version"], stderr=subprocess.PIPE, text=True, check=True).stderr
    return told.split('"')[1]


def first(*command):
    """The first line that a program prints; mosquitto prints it and fails."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.splitlines()[0].strip() if done.stdout else "unknown"


def mosquitto():
    """Debian puts the program where only root looks for it."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    return shutil.which("mosquitto", path=path)


def command(name, folder, port):
    """The command line that starts a server on this port, with its data in this folder."""
    address = f"127.0.0.1:{port}"
    if is_ours(name):
        # The bounds for a user who is away are raised, as are those of the other servers.
        keeps = ["--store", folder / "messages.db"] if name == "longlink-store" else []
        return [LONGLINK, "--listen", address, "--log", "error", *UNLIMITED,
                "--mailbox-messages", str(PLENTY), "--mailbox-bytes", f"{PLENTY}k", *keeps]
    if name == "springboot":
        return ["java", "-jar", servers.SPRING_BOOT_JAR, address]
    if name == "socketio":
        return ["node", SOCKETIO / "server.mjs", address]
    file = folder / "configuration"
    if name in ("nats", "nats-sync"):
        sync = "sync_interval: always" if name == "nats-sync" else ""
        file.write_text(
            f'listen: "127.0.0.1:-1"\nlog_file: "{folder}/log"\n'
            f'websocket {{ listen: "{address}", no_tls: true }}\n'
            f'jetstream {{ store_dir: "{folder}/data"\n{sync} }}\n'
        )
        return [PROGRAMS / "nats-server", "--config", file]
    if name == "centrifugo":
        file = file.with_suffix(".json")
        file.write_text(json.dumps(centrifugo(port)))
        return [PROGRAMS / "centrifugo", "--config", file]
    keeps = name == "mosquitto-disk"
    file.write_text(
        # A mosquitto that listens for WebSocket alone does not start.
        f"listener 0 {folder}/socket\n"
        f"listener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\nuser root\n"
        f"max_queued_messages 0\nset_tcp_nodelay true\nlog_type none\n"
        + (f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
           if keeps else "persistence false\n")
    )
    return [mosquitto(), "-c", file]


def centrifugo(port):
    namespace = {
        "name": "to", "history_size": PLENTY, "history_ttl": f"{HALF_AN_HOUR}s",
        "force_recovery": True,
        "allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True,
        "allow_publish_for_client": True, "allow_publish_for_anonymous": True,
    }
    return {
        "http_server": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
        "client": {
            "insecure": True, "allowed_origins": ["*"],
            "recovery_max_publication_limit": PLENTY,
        },
        "channel": {"namespaces": [namespace]},
    }


class Running(Server):
    """A running server, pinned to its core, with its data in a folder."""

    def __init__(self, name, folder, under=()):
        self.name = name
        self.folder = folder
        self.wanted = servers.free_port()
        super().__init__(name, under)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def kill(self):
        """Ends the server as a crash does."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(SECONDS)

    def _command(self, peer):
        return [str(word) for word in command(peer, pathlib.Path(self.folder), self.wanted)]

    def _port(self):
        """Waits until the server accepts connections."""
        limit = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.wanted), SECONDS).close()
                return self.wanted
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > limit:
                    self.process.kill()
                    raise RuntimeError(f"{self.process.args} does not listen") from error
                time.sleep(RETRY_SECONDS)
