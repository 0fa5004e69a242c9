"""The machine and the tools of a measurement."""

import os
import pathlib
import platform
import subprocess
import time

from harness.servers import ROOT


def describe():
    """The machine, the tools and the commit, as the system tells them."""
    cpu = next(
        (line.split(":", 1)[1].strip()
         for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )
    total = pathlib.Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(int(total) / (1 << 20), 1),
        "kernel": pathlib.Path("/proc/sys/kernel/osrelease").read_text().strip(),
        "rustc": first_line("rustc", "--version"),
        "cxx": first_line("g++", "--version"),
        "commit": first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "date": time.strftime("%Y-%m-%d"),
    }


def first_line(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else "unknown"
