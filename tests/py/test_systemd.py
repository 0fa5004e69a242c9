"""The units of docs/systemd: systemd itself finds no fault in them, and the server does nothing
that they do not allow.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

from certificate import make_certificate
from launch import START_SECONDS, binary, free_port
from nginx import NAME
from tickets import secret_file

UNITS = Path(__file__).resolve().parents[2] / "docs" / "systemd"
SERVICE, SOCKET = "longlink.service", "longlink.socket"
TEMPLATE, INSTANCE = "longlink@.service", "longlink@8081.service"
# The highest exposure that is accepted, in tenths, as `systemd-analyze` takes it: with a network, and
# without one.
MOST_EXPOSED, WITHOUT_NETWORK = 15, 5


def analyze(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *args],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60)


def setting(name: str) -> list[str]:
    """All values of a setting in the unit of the service."""
    return re.findall(rf"^{name}=(.*)$", (UNITS / SERVICE).read_text(), re.MULTILINE)


def get(family: int, address: str | tuple[str, int]) -> bytes:
    """Waits until a server listens there, and returns the first line of its answer."""
    until = time.monotonic() + START_SECONDS
    while True:
        with socket.socket(family) as client:
            client.settimeout(START_SECONDS)
            try:
                client.connect(address)
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
                continue
            client.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return client.makefile("rb").readline()


@contextlib.contextmanager
def ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Units(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copy(UNITS / SOCKET, self.folder)
        shutil.copy(UNITS / SERVICE, self.folder)
        self.change("/usr/local/bin/longlink", str(binary()), times=2)

    def change(self, old: str, new: str, times: int = 1) -> None:
        service = self.folder / SERVICE
        text = service.read_text()
        self.assertEqual(text.count(old), times)
        service.write_text(text.replace(old, new))

    def verify(self) -> str:
        units = (self.folder / SERVICE, self.folder / SOCKET)
        done = analyze("verify", "--man=no", *units)
        return done.stdout or f"status {done.returncode}\n" * (done.returncode != 0)

    def test_systemd_finds_no_fault_in_the_units(self) -> None:
        self.assertEqual(self.verify(), "")
        self.change("WatchdogSec=10", "WatchdogSek=10")
        self.assertIn("WatchdogSek", self.verify())

    def test_the_service_may_write_where_the_commented_configuration_has_its_store(self) -> None:
        text = (UNITS.parents[1] / "packaging" / "longlink.toml").read_text()
        (store,) = re.findall(r'^#store = "(.*)"$', text, re.MULTILINE)
        self.assertEqual([str(Path(store).parent)], [f"/var/lib/{name}" for name in setting("StateDirectory")])

    def test_without_a_network_of_its_own_the_service_is_exposed_even_less(self) -> None:
        guide = (UNITS.parent / "operations.md").read_text()
        blocks = [part.split("```")[0] for part in guide.split("```ini\n")[1:]]
        (change,) = [block for block in blocks if "PrivateNetwork=yes" in block]
        folder = self.folder / f"{SERVICE}.d"
        folder.mkdir()
        (folder / "override.conf").write_text(change)
        self.assertEqual(self.verify(), "")
        done = analyze(
            "security", "--offline=true", f"--threshold={WITHOUT_NETWORK}", self.folder / SERVICE)
        self.assertEqual(done.returncode, 0, done.stdout)
        (folder / "override.conf").write_text(change.replace("PrivateNetwork=", "PrivateNet="))
        self.assertIn("PrivateNet", self.verify())

    def test_systemd_rates_the_exposure_of_the_service_as_low(self) -> None:
        done = analyze(
            "security", "--offline=true", f"--threshold={MOST_EXPOSED}", self.folder / SERVICE)
        print(done.stdout.splitlines()[-1])
        self.assertEqual(done.returncode, 0, done.stdout)


class Template(unittest.TestCase):
    """The unit for one of several nodes."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        text = (UNITS / TEMPLATE).read_text()
        self.instance = self.folder / INSTANCE
        (self.folder / TEMPLATE).write_text(text.replace("/usr/local/bin/longlink", str(binary())))

    def test_systemd_finds_no_fault_in_an_instance_of_the_template(self) -> None:
        done = analyze("verify", "--man=no", self.instance)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_systemd_rates_the_exposure_of_a_node_as_low(self) -> None:
        done = analyze(
            "security", "--offline=true", f"--threshold={MOST_EXPOSED}", self.instance)
        print(done.stdout.splitlines()[-1])
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_template_differs_from_the_service_only_in_what_a_node_needs(self) -> None:
        def lines(name: str) -> set[str]:
            text = (UNITS / name).read_text()
            return {line for line in text.splitlines() if "=" in line and line[0] != "#"}

        missing = lines(SERVICE) - lines(TEMPLATE)
        names = {line.split("=")[0] for line in missing}
        self.assertEqual(names, {
            "After", "Description", "Documentation", "ExecReload", "ExecStart", "RestartPreventExitStatus",
            "RestartSec", "StateDirectory", "StateDirectoryMode", "TimeoutStopSec"})


class Started(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_sockets_come_from_systemds_own_launcher(self) -> None:
        port, path = free_port(), f"{self.folder}/s"
        command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-l", path,
                   "--fdname=web:local", binary(), "--log", "warn"]
        with ended(subprocess.Popen(command, stdin=subprocess.DEVNULL)):
            for _ in range(2):
                self.assertIn(b" 200 ", get(socket.AF_INET, ("127.0.0.1", port)))
                self.assertIn(b" 200 ", get(socket.AF_UNIX, path))

    def test_the_server_uses_only_the_system_calls_and_sockets_that_the_unit_allows(self) -> None:
        cert, key = make_certificate(self.folder, f"DNS:{NAME}")
        trace, port = self.folder / "trace", free_port()
        notify = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notify.bind(f"{self.folder}/notify")
        notify.settimeout(START_SECONDS)
        command = [
            "systemd-socket-activate", "-l", f"127.0.0.1:{port}",
            "-E", f"NOTIFY_SOCKET={self.folder}/notify", "-E", "WATCHDOG_USEC=400000",
            "strace", "-f", "-o", trace,
            # LISTEN_PID says which process the sockets are for.
            "sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh",
            binary(), "--tls-cert", cert, "--tls-key", key,
            "--secret-file", secret_file(self.folder), "--log", "debug"]
        with ended(subprocess.Popen(command, stdin=subprocess.DEVNULL)) as launcher:
            # A plain request to a port with TLS is answered with 400.
            self.assertIn(b" 400 ", get(socket.AF_INET, ("127.0.0.1", port)))
            self.assertEqual(notify.recv(100), b"READY=1\n")
            self.assertIn(b"STATUS=", notify.recv(100))
            # The first line of the trace begins with the id of the server's process.
            server = trace.read_text().split(maxsplit=1)[0]
            for number, told in ((signal.SIGHUP, b"RELOADING=1"), (signal.SIGTERM, b"STOPPING=1")):
                subprocess.run(["kill", f"-{number}", server], check=True)
                while told not in notify.recv(100):
                    pass
            self.assertEqual(launcher.wait(START_SECONDS), 0)

        # The part of the trace from the server's own start on is what counts.
        _, _, trace = trace.read_text().partition(f'execve("{binary()}"')
        calls = set(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE))
        self.assertLessEqual({"accept4", "epoll_wait", "sendto"}, calls)
        first, second = setting("SystemCallFilter")
        allowed = expand(first.split()) - expand(second.removeprefix("~").split())
        self.assertEqual(calls - allowed, set())
        # The sign of life comes from the loop, which runs on the first thread of the process.
        self.assertEqual(set(re.findall(r'^(\d+) .* "WATCHDOG=1', trace, re.M)), {server})
        families = set(re.findall(r" socket\((\w+),", trace))
        (allowed,) = setting("RestrictAddressFamilies")
        self.assertEqual(families - set(allowed.split()), set())
        self.assertIn("AF_UNIX", families)


def expand(names: list[str]) -> set[str]:
    """The system calls that these names and groups of names stand for."""
    calls = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        lines = analyze("syscall-filter", name).stdout.splitlines()
        calls |= expand([line.strip() for line in lines[1:] if not line.strip().startswith("#")])
    return calls


if __name__ == "__main__":
    unittest.main()
