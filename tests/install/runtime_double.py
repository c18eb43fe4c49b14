"""A container runtime for tests: answers PullImage on a Unix socket, asks a registry over HTTP, and a verifier, or does not."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Frame = tuple[int, int, int, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def read_frame(connection: socket.socket) -> Frame:
    head = connection.recv(9, socket.MSG_WAITALL)
    payload = connection.recv(int.from_bytes(head[:3], "big"), socket.MSG_WAITALL) if head[:3] != b"\0\0\0" else b""
    kind, flags, stream = struct.unpack(">BBI", head[3:])
    return kind, flags, stream, payload


def resolve(port: int, path: str) -> str:
    """The digest that a registry answers with; empty where it does not know the image."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("HEAD", path)
    answer = connection.getresponse()
    return str(answer.headers["Docker-Content-Digest"]) if answer.status == 200 else ""


@dataclass
class Runtime:
    """Serves one socket until it is closed. ``pull`` says for an image's name which id it has; empty: refused."""

    path: Path
    pull: Callable[[str], str]

    def __post_init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(self.path))
        self.socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        assert connection.recv(24, socket.MSG_WAITALL).startswith(b"PRI * HTTP/2.0")
        connection.sendall(frame(4, 0, 0) + frame(6, 0, 0, b"12345678"))
        message, acknowledged = b"", set()
        while not message:
            kind, flags, _, payload = read_frame(connection)
            if kind == 0:
                message = payload
            elif flags & 1 and kind in (4, 6):
                acknowledged.add(kind)
        name = message[5 + 4 :].decode()  # a gRPC head, and the heads of two fields
        found = self.pull(name).encode()
        data = b"\x0a" + bytes([len(found)]) + found
        answer = b"\0" + struct.pack(">I", len(data)) + data
        body = frame(1, 4, 1, b"\x88") + frame(0, 0, 1, answer) if found else b""
        connection.sendall(body + frame(1, 5, 1, b"\x88"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
