"""Many idle connections held by this process, to measure what they cost."""

import pathlib
import resource
import socket
import struct
import time

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SECONDS = 60
# How many bytes at the end of a message are compared.
END = 64


def raise_descriptor_limit():
    """Raises the descriptor limit of this process and of the servers that it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def user(number):
    """Returns a user id of 16 bytes."""
    return f"crowd-user{number:06}"


def frame(text):
    """Returns a text frame with a mask of zeros, which a server unmasks like any other frame."""
    payload = text.encode()
    if len(payload) < 126:
        return struct.pack("!BBxxxx", 0x81, 0x80 | len(payload)) + payload
    return struct.pack("!BBHxxxx", 0x81, 0xFE, len(payload)) + payload


def connect(port, name):
    """Returns a blocking socket on which `name` has connected and upgraded."""
    one = socket.create_connection(("127.0.0.1", port), SECONDS)
    one.sendall(
        f"GET /websocket/{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        .encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        got = one.recv(1024)
        if not got:
            raise RuntimeError(f"no upgrade: {head!r}")
        head += got
    if not head.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(f"no upgrade: {head!r}")
    return one


class Crowd:
    """Holds `count` open connections until the `with` block ends."""

    def __init__(self, port, count):
        self.sockets = []
        try:
            for number in range(count):
                self.sockets.append(connect(port, user(number)))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for one in self.sockets:
            one.close()
        self.sockets.clear()

    def exchange(self, size):
        """Each connection sends one message of `size` bytes to the next connection, which reads all of it."""
        text = "x" * size
        for number, sender in enumerate(self.sockets):
            to = (number + 1) % len(self.sockets)
            message = f'"toUserId":"{user(to)}","message":"{text}"}}'
            sender.sendall(frame("{" + message))
            heard = b""
            # A server may split the message into frames, so only its end is compared.
            while len(heard) < len(message) or not heard.endswith(message[-END:].encode()):
                got = self.sockets[to].recv(65536)
                if not got:
                    raise RuntimeError("the server ended a connection")
                heard += got


def rss(pid):
    """Returns the resident memory of a process in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Rss")


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def wait_until(condition, what):
    """Waits until the condition holds; raises TimeoutError after SECONDS."""
    limit = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(what)
        time.sleep(0.02)
