"""The packages that packaging/build makes: what is in them, that the program runs where there is nothing
but an old C library, and what the .deb does to a machine.

    python -m unittest discover -s packaging/tests

The packages are built first, which takes long if the program has not been built yet. With PACKAGES_BUILT=yes
those of target/packages are taken as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
from collections.abc import Iterator
from pathlib import Path

import built
from built import CONFIG, DEB, NPM, PACKAGES, PROGRAM, TARBALL, VERSION
from machine import AS_ROOT, REPOSITORY, Machine, bare
from websockets.sync.client import connect

SECONDS = 20
MANUALS = ["longlink", *(f"longlink-{name}" for name in ("bench", "check", "doctor", "store", "tail", "ticket"))]


def setUpModule() -> None:
    built.build()


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def chat(port: int) -> str:
    """Alice writes to bob, who tells what he has got."""
    url = f"ws://127.0.0.1:{port}/websocket"
    with connect(f"{url}/alice") as alice, connect(f"{url}/bob") as bob:
        alice.send(json.dumps({"toUserId": "bob", "message": "hello"}))
        return json.loads(bob.recv(timeout=SECONDS))["message"]


def read_to(server: subprocess.Popen, text: str) -> str:
    """Reads what a server prints, up to a line with this text, which must come."""
    for line in iter(server.stdout.readline, ""):
        if text in line:
            return line
    raise AssertionError(f"the server has ended without {text!r}")


def end(machine: Machine, server: subprocess.Popen) -> None:
    """Ends the one longlink of a machine, which has processes of its own, and no other one."""
    if server.poll() is None:
        machine.run('test "$(pidof longlink | wc -w)" = 1 && kill $(pidof longlink)')
    status = server.wait(SECONDS)
    server.stdout.close()
    assert status == 0, f"the server has ended with {status}"


class Program(unittest.TestCase):
    def test_the_program_needs_no_symbol_that_is_newer_than_glibc_2_17(self) -> None:
        versions = {tuple(map(int, found.split(".")))
                    for found in re.findall(r"GLIBC_([0-9.]+)", output("objdump", "-T", PROGRAM))}
        self.assertEqual(max(versions), (2, 17))

    def test_the_program_needs_no_library_but_the_c_library(self) -> None:
        needed = set(re.findall(r"NEEDED\s+(\S+)", output("objdump", "-p", PROGRAM)))
        parts = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2"}
        self.assertEqual(needed - parts, set())

    def test_where_nothing_but_the_c_library_is_an_unprivileged_user_serves_the_demo_and_a_chat(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        with tarfile.open(TARBALL) as archive:
            archive.extractall(folder, filter="data")
        (program,) = folder.glob("*/longlink")
        root = bare(folder, program)
        command = [*AS_ROOT, "chroot", "--userspec=65534:65534", root, "/longlink", "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            line = server.stdout.readline()
            port = int(re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)[1])
            status = Path(f"/proc/{server.pid}/status").read_text()
            self.assertTrue(AS_ROOT or "Uid:\t65534\t65534" in status, status)
            page = output("curl", "-fsS", f"http://127.0.0.1:{port}/")
            self.assertIn("<!doctype html>", page.lower())
            self.assertEqual(chat(port), "hello")
        finally:
            subprocess.run([*AS_ROOT, "kill", str(server.pid)], check=True)
            self.assertEqual(server.wait(SECONDS), 0)
            server.stdout.close()


class Tarball(unittest.TestCase):
    def test_the_tarball_has_the_program_and_everything_that_belongs_to_it(self) -> None:
        with tarfile.open(TARBALL) as archive:
            members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
        expected = {
            "longlink", "longlink.toml", "LICENSE-MIT", "LICENSE-APACHE", "README.md", "CHANGELOG.md",
            "docs/README.zh-CN.md", "docs/install.md", "docs/install.zh-CN.md",
            "docs/systemd/longlink.service", "docs/systemd/longlink.socket", "docs/systemd/longlink@.service",
            "completions/longlink", "completions/_longlink", "completions/longlink.fish",
            *(f"man/{name}.1.gz" for name in MANUALS)}
        self.assertEqual(expected - members.keys(), set())
        for name, member in members.items():
            self.assertEqual((member.uid, member.gid, member.uname), (0, 0, ""), name)
            is_program = member.isdir() or name == "longlink"
            self.assertEqual(oct(member.mode), "0o755" if is_program else "0o644", name)
        self.assertEqual(members["longlink"].size, PROGRAM.stat().st_size)

    def test_one_commit_gives_one_tarball_and_the_sums_are_right(self) -> None:
        sums = dict(reversed(line.split("  ")) for line in (PACKAGES / "SHA256SUMS").read_text().splitlines())
        self.assertEqual(set(sums), {TARBALL.name, DEB.name, NPM.name})
        subprocess.run([REPOSITORY / "packaging" / "build", "tarball", "npm"], check=True, stdout=subprocess.DEVNULL)
        for name, expected in sums.items():
            self.assertEqual(hashlib.sha256((PACKAGES / name).read_bytes()).hexdigest(), expected, name)


class Registries(unittest.TestCase):
    def test_the_crate_and_the_npm_package_could_be_published(self) -> None:
        # Whatever of the clone is not committed is not part of this test.
        for command in (
                ["cargo", "publish", "--dry-run", "--no-verify", "--allow-dirty", "--locked"],
                ["npm", "pack", "--dry-run", "--offline", REPOSITORY / "target" / "npm" / "longlink-client"]):
            done = subprocess.run(
                command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_crate_has_what_its_sources_include_and_nothing_that_only_a_clone_needs(self) -> None:
        files = output("cargo", "package", "--list", "--allow-dirty", "--manifest-path", REPOSITORY / "Cargo.toml").split()
        included = set()
        for source in (REPOSITORY / "src").rglob("*.rs"):
            for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
                included.add(str((source.parent / path).resolve().relative_to(REPOSITORY)))
        self.assertGreater(len(included), 15)
        self.assertEqual(included - set(files), set())
        unneeded = [file for file in files if re.match(r"packaging/|tests/(js|py|fuzz|disk)/|\.ci/|benches/peers/", file)]
        self.assertEqual(unneeded, [])


class Configuration(unittest.TestCase):
    def setUp(self) -> None:
        self.text = (REPOSITORY / "packaging" / "longlink.toml").read_text()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_the_commented_configuration_sets_nothing_and_each_of_its_lines_is_a_setting(self) -> None:
        self.assertEqual(tomllib.loads(self.text), {})
        lines = re.findall(r"^#([a-z-]+ = .*)$", self.text, re.MULTILINE)
        self.assertGreater(len(lines), 15)
        flags = set(re.findall(r"--([a-z-]+)", output(PROGRAM, "--help")))
        for line in lines:
            (key,) = tomllib.loads(line)
            self.assertIn(key, flags)

    def test_the_server_accepts_each_line_of_the_commented_configuration(self) -> None:
        # What a line names has to exist, and some settings need another one.
        secret = self.folder / "secret"
        secret.write_text("s" * 32 + "\n")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
             "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"],
            check=True, stderr=subprocess.DEVNULL)
        text = re.sub(r"^#([a-z-]+ = )", r"\1", self.text, flags=re.MULTILINE)
        for old, new in (("/etc/longlink/secret", secret), ("/etc/longlink/api.key", secret),
                         ("/etc/longlink/webhook.secret", secret),
                         ("/etc/longlink/tls/fullchain.pem", self.folder / "cert.pem"),
                         ("/etc/longlink/tls/privkey.pem", self.folder / "key.pem"),
                         ("/var/lib/longlink/messages.db", self.folder / "messages.db")):
            self.assertIn(old, text)
            text = text.replace(old, str(new))
        # A store and Redis exclude each other, and a history needs a store.
        file = self.folder / "longlink.toml"
        for others in ("redis", "store|history"):
            some = re.sub(rf"^({others}) = .*$", "", text, flags=re.MULTILINE)
            file.write_text(some)
            done = subprocess.run(
                [PROGRAM, "check", "--config", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.returncode, 0, f"without {others}: {done.stdout}")


class Image(unittest.TestCase):
    """The image of Docker, without Docker."""

    FOLDER = REPOSITORY / "packaging" / "docker"

    def test_hadolint_finds_no_fault_in_the_dockerfile(self) -> None:
        done = subprocess.run(
            [Path(sys.executable).with_name("hadolint"), self.FOLDER / "Dockerfile"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_the_compose_file_has_the_form_of_its_specification_and_names_files_that_exist(self) -> None:
        compose = self.FOLDER / "compose.yaml"
        check = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
        done = subprocess.run([*check, compose], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        text = compose.read_text()
        (context,) = re.findall(r"context: (\S+)", text)
        (dockerfile,) = re.findall(r"dockerfile: (\S+)", text)
        self.assertTrue((self.FOLDER / context / dockerfile).samefile(self.FOLDER / "Dockerfile"))
        for file in re.findall(r"- \./(\S+):/", text):
            self.assertTrue((self.FOLDER / file).is_file(), file)
        flags = set(re.findall(r"--([a-z-]+)", output(PROGRAM, "--help")))
        self.assertEqual(set(re.findall(r"- --([a-z-]+)=", text)) - flags, set())

    def test_what_the_image_has_serves_and_is_healthy_with_a_read_only_root_and_no_rights(self) -> None:
        dockerfile = (self.FOLDER / "Dockerfile").read_text()
        health = json.loads(re.search(r"^    CMD (\[.*\])$", dockerfile, re.MULTILINE)[1])
        (entry,) = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.MULTILINE)[1])
        user = re.search(r"^USER (\S+)$", dockerfile, re.MULTILINE)[1]
        folder = PACKAGES / "image"
        shutil.rmtree(folder, ignore_errors=True)
        self.addCleanup(shutil.rmtree, folder)
        subprocess.run([self.FOLDER / "image", PROGRAM, folder], check=True)
        machine = Machine()
        self.addCleanup(machine.close)
        (folder / "dev").mkdir()
        machine.run(f"mount --bind {folder} /mnt && mount -o remount,bind,ro /mnt && mount --rbind /dev /mnt/dev")
        inside = f"chroot --userspec={user} /mnt"
        with self.assertRaises(AssertionError):
            machine.run(f"{inside} {' '.join(health)}")
        server = machine.start(f"{inside} {entry} --listen 0.0.0.0:8080 --open")
        try:
            self.assertEqual(server.stdout.readline(), "listening on http://0.0.0.0:8080\n")
            machine.run(f"{inside} {' '.join(health)}")
        finally:
            end(machine, server)


class Deb(unittest.TestCase):
    def test_the_deb_says_what_it_is_and_what_it_needs(self) -> None:
        told = {name: output("dpkg-deb", "-f", DEB, name).strip()
                for name in ("Package", "Version", "Architecture", "Section")}
        self.assertEqual(told, {
            "Package": "longlink", "Version": f"{VERSION}-1", "Architecture": "amd64", "Section": "net"})
        needs = output("dpkg-deb", "-f", DEB, "Depends").strip()
        self.assertEqual(needs, "libc6 (>= 2.17), passwd")
        self.assertEqual(output("dpkg-deb", "--info", DEB, "conffiles"), f"{CONFIG}\n")

    def test_nothing_in_the_deb_depends_on_when_it_was_made(self) -> None:
        sums = [line.split("  ", 1)[1] for line in output("dpkg-deb", "--info", DEB, "md5sums").splitlines()]
        self.assertEqual(sums, sorted(sums))
        times = set()
        for part in ("--ctrl-tarfile", "--fsys-tarfile"):
            made = subprocess.run(["dpkg-deb", part, DEB], check=True, stdout=subprocess.PIPE).stdout
            with tarfile.open(fileobj=io.BytesIO(made)) as files:
                times |= {file.mtime for file in files}
        self.assertEqual(len(times), 1, "all files have the time of the commit")

    def test_the_deb_has_each_file_in_its_place_for_everyone_to_read(self) -> None:
        files = {}
        for line in output("dpkg-deb", "--contents", DEB).splitlines():
            mode, owner, _, _, _, path = line.split(maxsplit=5)
            files[path.removeprefix("./").split(" -> ")[0]] = (mode, owner)
        expected = [
            "usr/bin/longlink", "etc/longlink/longlink.toml", "usr/share/doc/longlink/copyright",
            "usr/share/bash-completion/completions/longlink", "usr/share/zsh/vendor-completions/_longlink",
            "usr/share/fish/vendor_completions.d/longlink.fish",
            *(f"usr/share/man/man1/{name}.1.gz" for name in MANUALS),
            *(f"lib/systemd/system/{name}" for name in
              ("longlink.service", "longlink.socket", "longlink@.service"))]
        self.assertEqual([path for path in expected if path not in files], [])
        for path, (mode, owner) in files.items():
            self.assertIn(owner, ("root/root", "0/0"), path)
            rights = "rwxr-xr-x" if mode[0] == "d" or path == "usr/bin/longlink" else "rw-r--r--"
            self.assertEqual(mode[1:], rights, path)


@contextlib.contextmanager
def installed(version: str | None = None) -> Iterator[Machine]:
    """A machine on which the .deb, or one that says an older version, has just been installed."""
    machine = Machine()
    try:
        machine.with_systemctl_recorded()
        machine.run(f"dpkg --purge longlink >/dev/null 2>&1 || true; userdel longlink 2>/dev/null || true;"
                    "rm -rf /etc/longlink /var/lib/longlink; rm -f /var/log/systemctl")
        machine.run(f"dpkg -i {DEB if version is None else older(machine, version)}")
        yield machine
    finally:
        machine.close()


def older(machine: Machine, version: str) -> str:
    """Makes a .deb of an older version, whose configuration file has another text, in the machine."""
    machine.run(f"""
        dpkg-deb -R {DEB} /tmp/older
        sed -i 's/^Version: .*/Version: {version}/' /tmp/older/DEBIAN/control
        echo '# of an older version' >>/tmp/older{CONFIG}
        (cd /tmp/older && find * -path DEBIAN -prune -o -type f -print0 | xargs -0 md5sum >DEBIAN/md5sums)
        dpkg-deb -Znone -b /tmp/older /tmp/older.deb
    """)
    return "/tmp/older.deb"


@contextlib.contextmanager
def service(machine: Machine) -> Iterator[subprocess.Popen]:
    """The service as its unit runs it, until it is asked to stop."""
    unit = machine.run("cat /lib/systemd/system/longlink.service")
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]
    server = machine.start(f"setpriv --reuid longlink --regid longlink --clear-groups {command}")
    try:
        read_to(server, "listening on http://127.0.0.1:8080")
        yield server
    finally:
        end(machine, server)


class Lifecycle(unittest.TestCase):
    """What the .deb does to a machine, from its installation to its end."""

    def test_after_the_installation_the_service_runs_as_its_unit_says_and_the_demo_opens(self) -> None:
        with installed() as machine:
            asked = machine.asked_of_systemctl()
            self.assertIn("--system daemon-reload", asked)
            self.assertTrue([line for line in asked if "start longlink.service" in line], asked)
            self.assertFalse([line for line in asked if "longlink.socket" in line], asked)
            self.assertTrue(machine.run("ls /etc/systemd/system/multi-user.target.wants/longlink.service"))
            passwd = machine.run("getent passwd longlink").strip().split(":")
            self.assertEqual(passwd[5:], ["/var/lib/longlink", "/usr/sbin/nologin"])
            self.assertLess(int(passwd[2]), 1000)
            self.assertEqual(machine.run(f"stat -c '%U:%G %a' /etc/longlink {CONFIG}").splitlines(),
                             ["root:longlink 750", "root:longlink 640"])
            machine.run("systemd-analyze verify --man=no /lib/systemd/system/longlink.service"
                        " /lib/systemd/system/longlink.socket")
            unit = machine.run("cat /lib/systemd/system/longlink.service")
            self.assertIn(f"\nExecStart=/usr/bin/longlink --config {CONFIG}\n", unit)
            with service(machine):
                self.assertIn("<title>", machine.run("curl -fsS http://127.0.0.1:8080/"))

    def test_an_upgrade_keeps_the_edited_configuration_and_restarts_what_runs(self) -> None:
        with installed("0.1.9-1") as machine:
            edited = 'listen = ["127.0.0.1:8081"]\n'
            machine.run(f"echo '{edited.strip()}' >{CONFIG}; chmod 600 {CONFIG}; chown longlink {CONFIG}")
            machine.run("mkdir -p /var/lib/longlink && echo kept >/var/lib/longlink/messages.db")
            machine.asked_of_systemctl()
            # The default answer to dpkg's question, which is to keep the own file.
            machine.run(f"dpkg --force-confdef -i {DEB}")
            self.assertEqual(machine.run("dpkg-query -W -f '${Status} ${Version}' longlink"),
                             f"install ok installed {VERSION}-1")
            self.assertEqual(machine.run(f"cat {CONFIG}"), edited)
            self.assertEqual(machine.run(f"stat -c '%U %a' {CONFIG}"), "longlink 600\n")
            self.assertEqual(machine.run("cat /var/lib/longlink/messages.db"), "kept\n")
            asked = machine.asked_of_systemctl()
            self.assertTrue([line for line in asked if "try-restart longlink.service" in line], asked)
            self.assertFalse([line for line in asked if " start longlink" in line or "stop" in line], asked)

    def test_an_upgrade_brings_the_new_text_of_a_configuration_that_nobody_has_edited(self) -> None:
        with installed("0.1.9-1") as machine:
            self.assertIn("of an older version", machine.run(f"cat {CONFIG}"))
            machine.run(f"dpkg -i {DEB}")
            self.assertEqual(machine.run(f"cat {CONFIG}"), (REPOSITORY / "packaging" / "longlink.toml").read_text())
            self.assertEqual(machine.run(f"stat -c '%G %a' {CONFIG}"), "longlink 640\n")

    def test_an_upgrade_leaves_a_service_disabled_that_an_administrator_has_disabled(self) -> None:
        with installed("0.1.9-1") as machine:
            machine.run("rm /etc/systemd/system/multi-user.target.wants/longlink.service")
            machine.run(f"dpkg -i {DEB}")
            machine.run("test ! -e /etc/systemd/system/multi-user.target.wants/longlink.service")

    def test_a_removal_keeps_configuration_and_messages_and_a_purge_what_is_not_the_packages(self) -> None:
        with installed() as machine:
            machine.run(f"mkdir -p /var/lib/longlink && echo kept >/var/lib/longlink/messages.db; echo >>{CONFIG}")
            machine.asked_of_systemctl()
            machine.run("dpkg --remove longlink")
            asked = machine.asked_of_systemctl()
            self.assertTrue([line for line in asked if "stop" in line and "longlink.service" in line], asked)
            machine.run(f"test ! -e /usr/bin/longlink && test -e {CONFIG} && test -e /var/lib/longlink/messages.db")
            told = machine.run("dpkg --purge longlink")
            self.assertIn("/var/lib/longlink is kept", told)
            machine.run("test ! -e /etc/longlink && test -e /var/lib/longlink/messages.db")
            self.assertEqual(machine.run("ls -d /etc/systemd/system/*/longlink* 2>/dev/null || true"), "")
            # Whoever has removed the messages is left with nothing.
            machine.run(f"rm -r /var/lib/longlink; dpkg -i {DEB}; dpkg --purge longlink")
            self.assertEqual(machine.run(
                "find / -xdev -name '*longlink*' ! -path '/tmp/*' ! -path '/root/*' ! -path '/home/*'"
                " ! -path '/work/*' 2>/dev/null | grep -E '^/(etc|usr|lib|var/lib/(longlink|systemd))' || true"), "")


if __name__ == "__main__":
    unittest.main()
