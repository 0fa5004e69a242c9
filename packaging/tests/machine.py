"""Roots that longlink's packages are tried in. What happens in them stays in them: each has mounts, a network and
processes of its own, above a file system in memory, and all of it is gone when its first process ends.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
SECONDS = 60
REPOSITORY = Path(__file__).resolve().parents[2]

# Records what a package asks of the service manager. Only what changes files and asks no service manager is done.
SYSTEMCTL = """#!/bin/sh
case "$*" in *--root=*) exec /usr/bin/systemctl.real "$@" ;; esac
echo "$@" >>/var/log/systemctl
case "$*" in *is-enabled*) echo enabled ;; *is-active*) exit 3 ;; esac
"""


# What a machine does when its files are there: nothing, until it is ended, or what a machine with systemd does. The
# target has nothing of what this machine starts.
REST = """
            echo "$folder/root"
            exec sleep infinity
"""
TARGET = "longlink-test.target"
BOOT = f"""
            cd "$folder/root"
            mount -t sysfs sysfs sys
            mount -t cgroup2 cgroup2 sys/fs/cgroup
            mount -t tmpfs -o mode=755 tmpfs run
            printf '[Unit]\nRequires=systemd-journald.service\n' >etc/systemd/system/{TARGET}
            # The machine has its files and its loopback interface already. What prepares a real one is left out: it
            # would empty /tmp and change settings of the kernel, which is this machine's.
            rm -rf usr/lib/systemd/system/*.target.wants etc/systemd/system/*.target.wants
            ln -sf /dev/null etc/systemd/system/network-online.target
            rm -f usr/sbin/policy-rc.d var/lib/man-db/auto-update
            echo "$folder/root"
            mkdir run/old
            pivot_root . run/old
            umount -l /run/old
            exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \
                --unit={TARGET} --log-target=null </dev/null >/dev/null 2>&1
"""


class Machine:
    """A copy of this machine's root, or another folder, in which packages can be installed. One that boots has systemd as
    its first process; it starts what its packages want to be started, and nothing of what this machine has."""

    def __init__(self, lower: str | Path = "/", boots: bool = False) -> None:
        setup = f"""
            set -e
            exec 2>&1
            folder=$(mktemp -d)
            mount -t tmpfs longlink-test "$folder"
            mkdir "$folder/upper" "$folder/work" "$folder/root"
            mount -t overlay overlay "$folder/root" \
                -o lowerdir={shlex.quote(str(lower))},upperdir="$folder/upper",workdir="$folder/work"
            mkdir -p "$folder/root"{shlex.quote(str(REPOSITORY))}
            mount --bind {shlex.quote(str(REPOSITORY))} "$folder/root"{shlex.quote(str(REPOSITORY))}
            mount --rbind /dev "$folder/root/dev"
            mount -t proc proc "$folder/root/proc"
            ip link set lo up
        """ + (BOOT if boots else REST)
        self.spaces = ["--mount", "--net", "--pid", *(["--uts", "--ipc", "--cgroup"] if boots else [])]
        self.process = subprocess.Popen(
            [*AS_ROOT, "unshare", *self.spaces, "--fork", "--kill-child", "sh", "-c", setup],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.root = self.process.stdout.readline().strip()
        if not self.root.startswith("/"):
            raise RuntimeError(f"no root of its own, unshare or mount has failed: {self.root}")
        # The first process of the machine is the last one below the one that was started.
        self.first = str(self.process.pid)
        while children := Path(f"/proc/{self.first}/task/{self.first}/children").read_text().split():
            self.first = children[0]
            if boots:
                break
        self.change_root = [] if boots else ["chroot", self.root]
        # A process that enters before systemd has its root stays outside of it, so each look enters anew.
        until = time.monotonic() + SECONDS
        while boots and subprocess.run([*self.enter(), "systemctl", "is-active", "--quiet", TARGET],
                                       stderr=subprocess.DEVNULL).returncode != 0:
            if time.monotonic() > until:
                raise RuntimeError(f"systemd has not started in {SECONDS} s")
            time.sleep(0.02)

    def enter(self) -> list[str]:
        return [*AS_ROOT, "nsenter", "--target", self.first, *self.spaces]

    def run(self, command: str, status: int = 0) -> str:
        """Runs a command of the shell as root in the machine, and returns its output."""
        done = subprocess.run(
            [*self.enter(), *self.change_root, "sh", "-ec", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=SECONDS,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                 "DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode != status:
            raise AssertionError(f"{command}\n{done.stdout}\nstatus {done.returncode}")
        return done.stdout

    def until(self, command: str) -> None:
        """Waits until a command of the shell succeeds."""
        self.run(f"until {command}; do sleep 0.02; done 2>/dev/null")

    def start(self, command: str) -> subprocess.Popen:
        """Starts a command of the shell that goes on, as root in the machine."""
        return subprocess.Popen(
            [*self.enter(), *self.change_root, "sh", "-ec", f"exec {command}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})

    def write(self, path: str, text: str, mode: str = "644") -> None:
        self.run(f"mkdir -p {shlex.quote(os.path.dirname(path))}; rm -f {shlex.quote(path)};"
                 f"printf %s {shlex.quote(text)} >{shlex.quote(path)}; chmod {mode} {shlex.quote(path)}")

    def with_systemctl_recorded(self) -> None:
        """Lets packages believe that systemd runs, and records what they ask of it."""
        self.run("rm -rf /run/systemd; mkdir -p /run/systemd/system; rm -f /var/log/systemctl")
        # In a container this file forbids packages to start services.
        self.run("rm -f /usr/sbin/policy-rc.d /var/lib/man-db/auto-update; cp /usr/bin/systemctl /usr/bin/systemctl.real")
        self.write("/usr/bin/systemctl", SYSTEMCTL, "755")

    def asked_of_systemctl(self) -> list[str]:
        """What was asked of systemd since the last question."""
        return self.run("cat /var/log/systemctl 2>/dev/null || true; rm -f /var/log/systemctl").splitlines()

    def close(self) -> None:
        # With its first process, every process of the machine ends.
        subprocess.run([*AS_ROOT, "kill", "-9", self.first], check=False)
        self.process.wait()
        self.process.stdout.close()
        # The mounts were in the namespace; what is left is the empty folder.
        shutil.rmtree(Path(self.root).parent, ignore_errors=True)


def bare(folder: Path, program: Path) -> Path:
    """Makes a root that has nothing but the program, its loader and its C library."""
    root = folder / "bare"
    listed = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    paths = [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
    for path in paths:
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    for name in ("dev", "proc", "tmp"):
        (root / name).mkdir()
    shutil.copy(program, root / "longlink")
    root.chmod(0o755)
    return root
