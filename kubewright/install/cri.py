"""One call to containerd as the kubelet makes it: PullImage of the CRI, over gRPC on a Unix socket.

What pulls with other tools is no proof for pods: containerd's CRI has a way of its own past the image verifier. So this speaks
just enough HTTP/2 (RFC 9113) and gRPC for one request of one message. Headers that come back are not decoded: a pull that went
well answers with a message, one that failed does not.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from kubewright.install.errors import CommandError

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_STREAM: Final = 1
#: of an answer, and of any frame: this side never allows more
_LONGEST: Final = 1 << 14
_PULL: Final = "/runtime.v1.ImageService/PullImage"


def pull_image(path: Path, name: str, timeout: float = 120) -> str:
    """Ask the runtime behind the socket ``path`` to pull ``name``: the image's id, or "" where the runtime refused.

    Raises CommandError where nobody answers, or not in this protocol.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _request(_PULL, _field(1, _field(1, name.encode()))))
            return _image_ref(_answer(connection))
    except OSError as reason:
        raise CommandError(f"{path}: {reason}", remedy="journalctl -u containerd says more") from None


# -- sending -------------------------------------------------------------------------------------------------------------


def _request(method: str, message: bytes) -> bytes:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(b"\x10" + _short(name.encode()) + _short(value.encode()) for name, value in headers.items())
    framed = b"\0" + struct.pack(">I", len(message)) + message
    return _frame(_HEADERS, _END_HEADERS, _STREAM, block) + _frame(_DATA, _END_STREAM, _STREAM, framed)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _short(text: bytes) -> bytes:
    """A string literal of HPACK (RFC 7541, 5.2), not compressed."""
    assert len(text) < 127
    return bytes([len(text)]) + text


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


# -- receiving -----------------------------------------------------------------------------------------------------------


def _answer(connection: socket.socket) -> bytes:
    """What came as data on our stream, until it ends."""
    data = b""
    for kind, flags, stream, payload in _frames(connection):
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            with suppress(ConnectionError):  # who has answered and gone needs no acknowledgement
                connection.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _GOAWAY or (kind == _RESET and stream == _STREAM):
            raise OSError("the container runtime ended the call")
        elif stream == _STREAM and kind == _DATA:
            data += _unpadded(payload) if flags & _PADDED else payload
            if len(data) > _LONGEST:
                raise OSError("the container runtime answers with more than an answer")
        if stream == _STREAM and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            return data
    raise OSError("the container runtime hung up")


def _unpadded(payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]] if payload else b""


def _frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    while head := _read(connection, 9):
        length = int.from_bytes(head[:3], "big")
        if length > _LONGEST:
            raise OSError("the container runtime sends a frame that is too long")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        yield kind, flags, stream & 0x7FFFFFFF, _read(connection, length)


def _read(connection: socket.socket, length: int) -> bytes:
    """Exactly that many bytes; nothing at all where the other side has hung up before the first."""
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            if data:
                raise OSError("the container runtime hung up")
            return b""
        data += piece
    return data


def _image_ref(data: bytes) -> str:
    """``image_ref``, the first field of a PullImageResponse in a gRPC message; empty where there is no message."""
    if len(data) < 5 or data[0] != 0:
        return ""
    message = data[5 : 5 + int.from_bytes(data[1:5], "big")]
    if len(message) < 3 or message[0] != 1 << 3 | 2 or message[1] > 127:
        return ""
    return message[2 : 2 + message[1]].decode("utf-8", "replace")
