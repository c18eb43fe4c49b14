"""Fixtures: a small world, its mirror, and a go that asks its origins alone."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import goproxy
import pytest

for _folder in ("mirror", "trust"):
    sys.path.append(str(Path(__file__).parents[1] / _folder))

from site_world import Site  # noqa: E402

from kubewright.mirror.serve import make_server  # noqa: E402


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name, value in goproxy.environment(tmp_path / "origins/go").items():
        monkeypatch.setenv(name, value)
    return Site(tmp_path)


@pytest.fixture
def mirrored(site: Site) -> Site:
    """The world with its mirror, and with no origin left."""
    site.write()
    site.close_origins()
    return site


@pytest.fixture
def serve_folder() -> Iterator[Callable[[Path], str]]:
    """``kubewright mirror serve``, in a thread; gives the URL."""

    servers = []

    def start(root: Path) -> str:
        server = make_server(root, port=0)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tcp_server() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Start a TCP server that hands each connection to a function; gives its port."""
    listeners: list[socket.socket] = []

    def start(talk: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()
