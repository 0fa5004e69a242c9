"""The .deb on a machine whose first process is systemd: the service starts, reloads and ends as its units say.

    python -m unittest discover -s packaging/tests
"""

from __future__ import annotations

import unittest

import built
from built import CONFIG, DEB
from machine import REPOSITORY, Machine

SERVICE, SOCKET = "longlink.service", "longlink.socket"
HEALTHY = "curl -fsS http://127.0.0.1:8080/healthz"


def setUpModule() -> None:
    built.build()


class Service(unittest.TestCase):
    machine: Machine

    @classmethod
    def setUpClass(cls) -> None:
        cls.machine = Machine(boots=True)
        cls.addClassCleanup(cls.machine.close)
        # This machine may have longlink itself.
        cls.machine.run("dpkg --purge longlink || true; userdel longlink || true; rm -rf /etc/longlink /var/lib/longlink")
        cls.machine.run(f"dpkg -i {DEB}")

    def setUp(self) -> None:
        """Each test begins with the service as the installation has left it."""
        self.machine.run(f"""
            systemctl stop {SERVICE} {SOCKET}
            rm -rf /etc/systemd/system/longlink.* /var/lib/longlink
            cat {REPOSITORY}/packaging/longlink.toml >{CONFIG}
            systemctl daemon-reload
            systemctl reset-failed {SERVICE} {SOCKET} || true
            systemctl start {SERVICE}""")
        self.cursor = self.machine.run("journalctl -n 1 --show-cursor").rpartition("-- cursor: ")[2].strip()

    def show(self, name: str, unit: str = SERVICE) -> str:
        return self.machine.run(f"systemctl show --value -p {name} {unit}").strip()

    def journal(self) -> str:
        """What the service has logged since the test began."""
        return self.machine.run(f"journalctl --sync; journalctl -o cat -u {SERVICE} --after-cursor='{self.cursor}'")

    def override(self, unit: str, text: str) -> None:
        self.machine.write(f"/etc/systemd/system/{unit}.d/override.conf", text)
        self.machine.run("systemctl daemon-reload")

    def test_the_service_runs_as_its_own_user_without_any_rights_and_tells_how_many_are_connected(self) -> None:
        self.assertEqual(self.machine.run(HEALTHY), "ok\n")
        self.assertEqual([self.show("ActiveState"), self.show("NRestarts")], ["active", "0"])
        self.assertEqual(self.show("StatusText"), "0 connections")
        status = self.machine.run(f"cat /proc/{self.show('MainPID')}/status")
        user = self.machine.run("id -u longlink").strip()
        self.assertIn(f"\nUid:\t{user}\t{user}\t{user}\t{user}\n", status)
        for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
            self.assertIn(f"\n{line}\n", status)
        self.assertEqual(self.machine.run("systemctl is-enabled longlink.service longlink.socket || true").split(),
                         ["enabled", "disabled"])

    def test_a_reload_takes_up_a_setting_and_one_with_an_error_changes_nothing(self) -> None:
        first = self.show("MainPID")
        self.machine.run(f"""sed -i 's/^#max-message = .*/max-message = "32kb"/' {CONFIG}; systemctl reload {SERVICE}""")
        self.machine.until(f"journalctl -u {SERVICE} --after-cursor='{self.cursor}' | grep -q 'reload: done'")
        self.assertIn("reload: max-message: 65536 -> 32768", self.journal())
        self.machine.run(f"echo 'max-mesage = 5' >>{CONFIG}; systemctl reload {SERVICE}", status=1)
        self.assertIn('unknown key "max-mesage", did you mean "max-message"?', self.journal())
        self.assertEqual(self.machine.run(HEALTHY), "ok\n")
        self.assertEqual(self.show("MainPID"), first)

    def test_a_wrong_setting_ends_the_start_with_a_line_in_the_journal_and_systemd_does_not_try_again(self) -> None:
        self.machine.run(f"echo 'max-mesage = 5' >>{CONFIG}; systemctl restart {SERVICE}", status=1)
        self.assertEqual([self.show("ActiveState"), self.show("ExecMainStatus"), self.show("NRestarts")],
                         ["failed", "2", "0"])
        self.assertIn('did you mean "max-message"?', self.journal())

    def test_an_upgrade_restarts_the_service_unless_the_new_version_refuses_its_settings(self) -> None:
        first = self.show("MainPID")
        self.machine.run(f"echo 'max-conections = 5' >>{CONFIG}")
        told = self.machine.run(f"dpkg -i {DEB}")
        self.assertIn("the service was not restarted", told)
        self.assertIn('unknown key "max-conections", did you mean "max-connections"?', told)
        self.assertEqual(self.machine.run(HEALTHY), "ok\n")
        self.assertEqual(self.show("MainPID"), first)
        self.machine.run(f"sed -i '/max-conections/d' {CONFIG}; dpkg -i {DEB}")
        self.machine.until(HEALTHY)
        self.assertNotEqual(self.show("MainPID"), first)
        # With a drop-in the service may have other settings than those that can be tried.
        second = self.show("MainPID")
        self.override(SERVICE, "[Service]\nExecStart=\nExecStart=/usr/bin/longlink --listen 127.0.0.1:8080\n")
        self.machine.run(f"echo 'max-conections = 5' >>{CONFIG}; dpkg -i {DEB}")
        self.machine.until(HEALTHY)
        self.assertNotEqual(self.show("MainPID"), second)

    def test_with_the_sockets_of_systemd_a_restart_refuses_nobody(self) -> None:
        self.override(SOCKET, "[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n")
        self.machine.run(f"systemctl stop {SERVICE}; systemctl enable --now {SOCKET}; systemctl start {SERVICE}")
        self.addCleanup(self.machine.run, f"systemctl disable {SOCKET}")
        first = self.show("MainPID")
        # A connection that the old process has accepted may end without an answer. None is refused, which is curl's 7.
        told = self.machine.run(f"""
            systemctl restart {SERVICE} &
            for n in 1 2 3 4 5 6 7 8 9 10; do curl -sS http://127.0.0.1/healthz || test $? != 7; done
            wait""")
        self.assertNotIn("refused", told)
        self.assertIn("ok", told)
        self.assertNotEqual(self.show("MainPID"), first)

    def test_the_store_is_in_the_one_directory_that_the_service_may_write_to(self) -> None:
        self.machine.run(f"sed -i 's/^#store/store/' {CONFIG}; systemctl restart {SERVICE}")
        self.assertEqual(self.machine.run("stat -c '%U %a' /var/lib/longlink /var/lib/longlink/messages.db").splitlines(),
                         ["longlink 700", "longlink 600"])
        self.machine.run(f"sed -i 's|^store.*|store = \"/srv/messages.db\"|' {CONFIG}; systemctl restart {SERVICE}", status=1)
        self.assertIn("/srv", self.journal())
        self.assertEqual(self.machine.run("ls /srv"), "")

    def test_a_loop_that_is_stuck_is_killed_and_started_again(self) -> None:
        self.override(SERVICE, "[Service]\nWatchdogSec=200ms\nRestartSec=0\nTimeoutAbortSec=100ms\n")
        self.machine.run(f"systemctl restart {SERVICE}")
        first = self.show("MainPID")
        self.machine.run(f"kill -STOP {first}")
        self.machine.until(f"test $(systemctl show --value -p NRestarts {SERVICE}) = 1")
        self.machine.until(HEALTHY)
        self.assertNotEqual(self.show("MainPID"), first)


if __name__ == "__main__":
    unittest.main()
