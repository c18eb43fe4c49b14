"""The containers of the docker back end: made, followed and removed; those of kubewrights that are gone, swept."""

from __future__ import annotations

import os
import secrets
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kubewright.sandbox import Spec, Take, host

_STDOUT = 1  # the number of a frame's stream
#: label -> what it says; together they tell whether the kubewright that made a container still runs
_LABELS = ("kubewright.boot", "kubewright.namespace", "kubewright.pid", "kubewright.started")


def labels() -> dict[str, str]:
    """The labels of our containers."""
    return dict(zip(_LABELS, _identity(os.getpid()), strict=True))


@contextmanager
def created(api: Any, options: dict[str, Any]) -> Iterator[str]:
    """A created container, by its name; removed in every case, even when we were interrupted while it was made."""
    name = f"kubewright-{os.getpid()}-{secrets.token_hex(6)}"
    try:
        api.create_container_from_config(options, name)
        yield name
    finally:
        _remove(api, name)


def follow(api: Any, name: str, spec: Spec, takes: tuple[Take, Take], deadline: float) -> int:
    """Start it, pass its stdout and stderr on to ``takes``, and return its exit status.

    Raises TimeLimitError, and what ``docker`` raises.
    """
    stream = api.attach_socket(name, params={"stdout": 1, "stderr": 1, "stream": 1})
    try:
        api.start(name)
        frames = _Frames(takes)
        while data := _read(stream.fileno(), spec, deadline):
            frames.take(data)
    finally:
        _hang_up(stream)
    return int(api.wait(name, timeout=60)["StatusCode"])


def _hang_up(stream: Any) -> None:
    """Close the connection itself, which ``docker`` keeps: a daemon that still writes to it could not end the container."""
    with suppress(OSError), socket.socket(fileno=os.dup(stream.fileno())) as connection:
        connection.shutdown(socket.SHUT_RDWR)
    getattr(stream, "_response", stream).close()


def sweep(api: Any) -> None:
    """Remove the containers of kubewrights of this boot and pid namespace that no longer run."""
    here = _identity(os.getpid())[:2]
    for found in api.containers(all=True, filters={"label": f"{_LABELS[0]}={here[0]}"}):
        theirs = tuple(found["Labels"].get(label, "") for label in _LABELS)
        if theirs[:2] == here and not _runs(theirs):
            _remove(api, found["Id"])


def _remove(api: Any, name: str) -> None:
    import docker
    import requests

    # a daemon that is gone cannot remove anything, and is what the caller is told about; a later run sweeps
    with suppress(docker.errors.DockerException, requests.RequestException, OSError):
        api.remove_container(name, force=True, v=True)


def _read(number: int, spec: Spec, deadline: float) -> bytes:
    ready, _, _ = select.select([number], [], [], max(deadline - time.monotonic(), 0))
    if not ready or time.monotonic() > deadline:
        raise host.late(spec)
    return os.read(number, 1 << 16)


class _Frames:
    """Docker's attach stream: 8 byte headers (stream, 0, 0, 0, length) and payloads; the payloads are passed on."""

    def __init__(self, takes: tuple[Take, Take]) -> None:
        self._takes, self._take = takes, takes[1]
        self._header, self._left = b"", 0

    def take(self, data: bytes) -> None:
        while data:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
                self._take(part)
                continue
            need = 8 - len(self._header)
            self._header, data = self._header + data[:need], data[need:]
            if len(self._header) == 8:
                self._take = self._takes[0] if self._header[0] == _STDOUT else self._takes[1]
                self._left, self._header = int.from_bytes(self._header[4:], "big"), b""


def _identity(pid: int) -> tuple[str, str, str, str]:
    """Boot, pid namespace, pid and start time: one process, ever. Raises OSError when there is no such process."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]  # starttime, proc(5)
    return boot, str(Path("/proc/self/ns/pid").readlink()), str(pid), began


def _runs(identity: tuple[str, ...]) -> bool:
    try:
        return _identity(int(identity[2])) == identity
    except (OSError, ValueError):
        return False
