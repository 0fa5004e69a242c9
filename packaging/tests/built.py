"""What packaging/build has made."""

from __future__ import annotations

import os
import subprocess
import tomllib

from machine import REPOSITORY

PACKAGES = REPOSITORY / "target" / "packages"
PROGRAM = REPOSITORY / "target" / "x86_64-unknown-linux-gnu" / "release" / "longlink"
VERSION = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]["version"]
TARBALL = PACKAGES / f"longlink-{VERSION}-linux-x86_64-glibc2.17.tar.gz"
DEB = PACKAGES / f"longlink_{VERSION}-1_amd64.deb"
NPM = PACKAGES / f"longlink-client-{VERSION}.tgz"
CONFIG = "/etc/longlink/longlink.toml"


def build() -> None:
    """Builds the packages, unless those that are there are to be taken as they are."""
    if os.environ.get("PACKAGES_BUILT") != "yes":
        subprocess.run([REPOSITORY / "packaging" / "build"], check=True, stdout=subprocess.DEVNULL)
