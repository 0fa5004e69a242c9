"""Runs `longlink doctor` against nginx with the documented configuration, and with parts missing.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from certificate import make_certificate
from launch import binary, free_port, launch, longlink
from nginx import NAME, nginx
from test_interop import PATIENCE
from test_nginx import FLAGS
from tickets import mint, secret_file

DOCS = Path(__file__).resolve().parents[2] / "docs"
UPGRADE = "        proxy_set_header Upgrade $http_upgrade;\n"
HOST = "        proxy_set_header Host $host;\n"
TIMEOUT = "proxy_read_timeout 75s;"


class Doctor(unittest.TestCase):
    def examine(
            self, *args: str, mistakes: dict[str, str] | None = None, upstream: str | None = None,
            flags: tuple[str, ...] = (),
    ) -> tuple[int, dict[str, dict]]:
        """The exit code of doctor, and the check of each step, for longlink behind nginx."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            upstream = upstream or stack.enter_context(longlink(*FLAGS, *flags, level="error"))
            port = stack.enter_context(nginx(folder, upstream, mistakes))
            url = f"wss://{NAME}:{port}/websocket/doctor"
            done = subprocess.run(
                [binary(), "doctor", url, "--address", "127.0.0.1", "--ca", folder / "cert.pem",
                 "--json", *args],
                capture_output=True, text=True, timeout=PATIENCE, env={})
        checks = json.loads(done.stdout)["checks"]
        return done.returncode, {check["step"]: check for check in checks}

    def failed(self, checks: dict[str, dict]) -> list[str]:
        return [step for step, check in checks.items() if check["verdict"] == "fail"]

    def test_doctor_finds_no_fault_in_the_documented_configuration(self) -> None:
        code, checks = self.examine("--silent", "2")
        self.assertEqual((code, self.failed(checks)), (0, []))
        for step in ("tls", "tls 1.2", "upgrade", "subprotocol", "message", "close", "welcome v2",
                     "resume", "silence"):
            self.assertEqual(checks[step]["verdict"], "ok", checks[step])
        self.assertIn("nginx", checks["upgrade"]["seen"])

    def test_doctor_gets_a_ticket_through_nginx_in_a_header_a_query_and_a_subprotocol(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        flags = ("--secret-file", secret_file(folder), "--reject-delay", "0")
        ticket = mint("doctor")
        code, checks = self.examine("--quick", "--ticket", ticket, flags=flags)
        self.assertEqual((code, self.failed(checks)), (0, []))
        for step in ("upgrade", "ticket query", "ticket offer", "no ticket", "message", "close"):
            self.assertEqual(checks[step]["verdict"], "ok", checks[step])
        for wrong, remedy in (
                (mint("doctor", ttl=-60), "sign a new one"),
                (mint("alice"), "sub"),
                (ticket[:-4], "this server's secret"),
        ):
            code, checks = self.examine("--quick", "--ticket", wrong, flags=flags)
            self.assertEqual((code, self.failed(checks)), (1, ["upgrade"]))
            self.assertIn(remedy, checks["upgrade"]["remedy"])

    def test_doctor_finds_no_fault_in_a_server_that_was_set_up_by_the_guide(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        cert, key = make_certificate(folder, f"DNS:{NAME}")
        secret = secret_file(folder)
        (settings,) = re.findall(
            r"longlink.toml <<'END'\n(.*?)^END$", (DOCS / "deploy.md").read_text(), re.M | re.S)
        for documented, here in (("fullchain.pem", cert), ("privkey.pem", key)):
            settings = settings.replace(f"/etc/longlink/tls/{documented}", str(here))
        settings = settings.replace("/etc/longlink/secret", secret)
        (folder / "longlink.toml").write_text(settings)
        (start,) = re.findall(
            r"^ExecStart=\S+ (.*)$", (DOCS / "systemd" / "longlink.service").read_text(), re.M)
        flags = start.replace("/etc/longlink", str(folder)).replace("%d", str(folder)).split()
        # The name points here, on any address, as the unit's socket listens.
        address = self.enterContext(launch(binary(), *flags, "--listen", "0.0.0.0:0"))
        ticket = subprocess.run(
            [binary(), "ticket", "doctor", "--ttl", "5m", "--secret-file", secret],
            capture_output=True, text=True, check=True, env={}).stdout
        url = f"wss://{NAME}:{address.rpartition(':')[2]}/websocket/doctor"
        done = subprocess.run(
            [binary(), "doctor", url, "--ticket", "-", "--quick", "--address", "127.0.0.1",
             "--ca", cert],
            input=ticket, capture_output=True, text=True, timeout=PATIENCE, env={})
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("ok    no ticket ", done.stdout)
        self.assertIn(" 0 to look at, 0 failed", done.stdout)

    def test_doctor_names_the_missing_line_if_nginx_does_not_pass_on_the_upgrade(self) -> None:
        code, checks = self.examine(mistakes={UPGRADE: ""})
        self.assertEqual((code, self.failed(checks)), (1, ["upgrade"]))
        self.assertIn("426", checks["upgrade"]["seen"])
        self.assertIn("proxy_set_header Upgrade $http_upgrade", checks["upgrade"]["remedy"])

    def test_doctor_reports_the_403_if_nginx_does_not_pass_on_the_host(self) -> None:
        host = "        proxy_set_header Host other.example.com;\n"
        code, checks = self.examine(mistakes={HOST: host})
        self.assertEqual((code, self.failed(checks)), (1, ["upgrade"]))
        self.assertIn("403", checks["upgrade"]["seen"])

    def test_doctor_reports_the_502_of_nginx_if_longlink_does_not_run(self) -> None:
        code, checks = self.examine(upstream=f"127.0.0.1:{free_port()}")
        self.assertEqual((code, self.failed(checks)), (1, ["upgrade"]))
        self.assertIn("502", checks["upgrade"]["seen"])

    def test_doctor_names_the_timeout_of_nginx_that_ends_silent_connections(self) -> None:
        code, checks = self.examine("--silent", "9", mistakes={TIMEOUT: "proxy_read_timeout 1s;"})
        self.assertEqual((code, self.failed(checks)), (1, ["silence"]))
        self.assertLess(checks["silence"]["seconds"], 5)
        self.assertIn("proxy_read_timeout", checks["silence"]["remedy"])


if __name__ == "__main__":
    unittest.main()
