"""A mirror over HTTP, read only: for go (GOPROXY), git (dumb protocol), pip (find-links, simple index) and kubewright.

GET and HEAD of files, nothing else: no listings, no links that lead elsewhere, no names with a dot before them. Any web server
can do the same; this one needs no installation, and listens on loopback unless told otherwise.
"""

from __future__ import annotations

import io
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

from kubewright.mirror.errors import ServeError

ADDRESS: Final = "127.0.0.1"
PORT: Final = 8642
#: requests at one time; further ones wait for their turn
_AT_ONCE: Final = 64
#: connections at one time, each with a thread; further ones are closed at once
_CONNECTIONS: Final = 256
#: seconds in which a request has to be there as a whole, and a piece of an answer taken
_PATIENCE: Final = 60
_TYPES: Final = {".html": "text/html; charset=utf-8", ".json": "application/json", ".info": "application/json"}
_PLAIN: Final = (".mod", ".toml", "list", "README", "refs", "packs", "HEAD")


def make_server(root: Path, address: str = ADDRESS, port: int = PORT) -> ThreadingHTTPServer:
    """A server for a mirror, listening, not yet serving. Port 0: any. Raises ServeError."""
    handler = type("Handler", (_Handler,), {"root": root.resolve(), "slots": threading.BoundedSemaphore(_AT_ONCE)})
    try:
        server = _Server((address, port), handler)
    except (OSError, OverflowError) as error:
        raise ServeError(
            f"cannot listen on {address} port {port}: {error}", remedy="name another --address or --port"
        ) from error
    return server


class _Server(ThreadingHTTPServer):
    """With room for so many connections, asking no name server, and with no traceback for a client that went away."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(*arguments)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's asks for the host's name, which takes a while where nobody answers
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Patient(io.RawIOBase):
    """What a client sends, for so long and no longer, however slowly it comes."""

    def __init__(self, connection: socket.socket, patience: float) -> None:
        super().__init__()
        self._connection, self._patience = connection, patience
        self.begin()

    def begin(self) -> None:
        """A request begins: the time for it does, too."""
        self._until = time.monotonic() + self._patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._patience)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    root: Path
    slots: threading.BoundedSemaphore
    protocol_version = "HTTP/1.1"
    server_version = "kubewright"
    sys_version = ""
    patience: float = _PATIENCE

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.patience)
        self._incoming = _Patient(self.connection, self.patience)
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        self._incoming.begin()
        super().handle_one_request()

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *arguments: object) -> None:
        """Not a word for each request; a proxy in front of it keeps books, if somebody wants them."""

    def _answer(self, *, body: bool) -> None:
        if "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0":
            self.send_error(HTTPStatus.BAD_REQUEST)  # what it sends with a question must not be read as the next question
            return
        with self.slots:
            stream = _open(self.root, self.path)
            if stream is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            with stream:
                self._send(stream, body)

    def _send(self, stream: BinaryIO, body: bool) -> None:
        size = os.fstat(stream.fileno()).st_size
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _content_type(stream.name))
        self.send_header("Content-Length", str(size))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if body:
            try:
                _copy(stream, size, self.wfile.write)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                self.close_connection = True


def _copy(stream: BinaryIO, left: int, write: Callable[[bytes], object]) -> None:
    """As many bytes as were announced, should the file grow meanwhile."""
    while left and (piece := stream.read(min(left, 1 << 18))):
        write(piece)
        left -= len(piece)


def _open(root: Path, request: str) -> BinaryIO | None:
    """The file that a request names, opened; None for everything that is not to be given out."""
    path = unquote(request.partition("?")[0].partition("#")[0], errors="replace") if request.isascii() else ""
    parts = path.split("/")
    if parts[0] != "" or len(path) > 4096 or "\0" in path:
        return None
    names = [*parts[1:-1], parts[-1] or "index.html"]
    if any(name == "" or name.startswith(".") for name in names):
        return None
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number, name in enumerate(names):
            kind = os.O_NONBLOCK if number == len(names) - 1 else os.O_DIRECTORY
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=handle)
            os.close(handle)
            handle = inner
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return None
    except (OSError, ValueError):
        os.close(handle)
        return None
    return _named(handle, names[-1])


def _named(handle: int, name: str) -> BinaryIO:
    return open(name, "rb", opener=lambda path, flags: handle)


def _content_type(name: str) -> str:
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a name, not a path
    if suffix in _TYPES:
        return _TYPES[suffix]
    return "text/plain; charset=utf-8" if suffix in _PLAIN or name in _PLAIN else "application/octet-stream"
