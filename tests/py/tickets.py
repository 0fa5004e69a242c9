"""Tickets for tests, minted by the sample in docs/tickets.md."""

from __future__ import annotations

import re
import time
from pathlib import Path

import jwt

DOCS = Path(__file__).resolve().parents[2] / "docs" / "tickets.md"
SECRET = "0123456789abcdef0123456789abcdef"


def sample() -> str:
    """The documented code that mints a ticket."""
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return block


def mint_alice(secret: str = SECRET) -> str:
    """A ticket for alice, minted by the documented code."""
    return eval(sample(), {"jwt": jwt, "time": time, "secret": secret})


def mint(user: str, ttl: int = 60, secret: str = SECRET, **claims: object) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + ttl, **claims}, secret, "HS256")


def secret_file(folder: str | Path, secret: str = SECRET) -> str:
    """Writes the secret into a file, and returns its path."""
    path = Path(folder) / "secret"
    path.write_text(secret + "\n")
    return str(path)
