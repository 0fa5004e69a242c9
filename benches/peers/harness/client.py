"""A WebSocket client that needs only the standard library, to check servers with."""

import base64
import hashlib
import os
import socket
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SECONDS = 10


class Client:
    """One open connection of `user`. An operation that takes longer than SECONDS raises TimeoutError."""

    def __init__(self, port, user):
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.received = b""
        key = base64.b64encode(os.urandom(16))
        self.socket.sendall(
            b"GET /websocket/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"
            % (user.encode(), port, key)
        )
        while b"\r\n\r\n" not in self.received:
            self._more()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        if not head.startswith(b"HTTP/1.1 101 ") or accept not in head:
            raise RuntimeError(f"no upgrade: {head!r}")

    def send(self, text):
        payload = text.encode()
        mask = os.urandom(4)
        if len(payload) < 126:
            head = struct.pack("!BB", 0x81, 0x80 | len(payload))
        else:
            head = struct.pack("!BBH", 0x81, 0xFE, len(payload))
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def receive(self):
        """Returns the next text message, which may come in several frames."""
        message = b""
        while True:
            opcode, payload, is_last = self._frame()
            if opcode in (0, 1):
                message += payload
                if is_last:
                    return message.decode()
            if opcode == 8:
                raise RuntimeError(f"closed: {payload!r}")

    def close(self):
        """Closes with code 1000, and expects the same code as the answer and the connection's end."""
        self.socket.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        try:
            opcode, payload, _ = self._frame()
            if (opcode, payload) != (8, b"\x03\xe8"):
                raise RuntimeError(f"no close frame, but {opcode} {payload!r}")
            if self.received or self.socket.recv(4096):
                raise RuntimeError("something came after the close frame")
        finally:
            self.socket.close()

    def _more(self):
        got = self.socket.recv(65536)
        if not got:
            raise RuntimeError("the server ended the connection")
        self.received += got

    def _take(self, count):
        while len(self.received) < count:
            self._more()
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def _frame(self):
        first, length = self._take(2)
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return first & 15, self._take(length), first & 0x80 != 0
