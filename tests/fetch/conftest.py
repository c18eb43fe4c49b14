"""Servers on loopback that misbehave on order."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import GitRepository


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: reaches a package registry")


@pytest.fixture
def origin(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "origin" / "repo")


@pytest.fixture
def tcp() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
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
