"""The descriptors of one bubblewrap run: output, bwrap's status, the system call filter, and the loader, sealed."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kubewright.errors import SandboxError
from kubewright.sandbox import seccomp

_CHUNK = 4096


class Events:
    """bwrap's --json-status-fd: one JSON object a line, the first with child-pid, the last with exit-code."""

    def __init__(self) -> None:
        self.data = b""

    def get(self, key: str) -> int | None:
        for line in self.data.split(b"\n")[:-1]:
            value = json.loads(line).get(key)
            if value is not None:
                return int(value)
        return None


@dataclass
class Channels:
    """The descriptors of one run: (read, write) ends of pipes, and the loader, sealed. ``stdout``: where it is wanted apart."""

    output: tuple[int, int]
    stdout: tuple[int, int] | None
    status: tuple[int, int]
    filter: tuple[int, int]
    loader: int = -1
    handle: int = -1  # pidfd of the sandbox's first process
    events: Events = field(default_factory=Events)

    @property
    def passed(self) -> tuple[int, ...]:
        return tuple(number for number in (self.status[1], self.filter[0], self.loader) if number >= 0)

    def close_ours(self) -> None:
        """The ends that the started process has are closed here, so that its end can be seen."""
        os.close(self.output[1])
        self.output = (self.output[0], -1)
        if self.stdout is not None:
            os.close(self.stdout[1])
            self.stdout = (self.stdout[0], -1)

    def heard(self, data: bytes) -> None:
        """More of bwrap's status: with the first line we know, and hold, the sandbox's first process."""
        self.events.data += data
        child = self.events.get("child-pid")
        if child is not None and self.handle < 0:
            with suppress(ProcessLookupError):
                self.handle = os.pidfd_open(child)

    def end(self) -> None:
        """bwrap is dead: wait until the last process of the sandbox is (the kernel kills them with the first one)."""
        os.close(self.status[1])
        self.status = (self.status[0], -1)
        for data in iter(lambda: os.read(self.status[0], _CHUNK), b""):
            self.heard(data)
        if self.handle < 0:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        waiting = select.poll()
        waiting.register(self.handle, select.POLLIN)
        if not waiting.poll(60_000):
            raise SandboxError(f"process {self.events.get('child-pid')} of a sandbox does not end when it is killed")


@contextmanager
def opened(loader: Path | None, machine: str, *, apart: bool) -> Iterator[Channels]:
    """``apart``: stdout gets a pipe of its own, and ``output`` is for stderr."""
    made = Channels(os.pipe(), os.pipe() if apart else None, os.pipe(), os.pipe())
    try:
        if loader is not None:
            made.loader = _sealed(loader)
        os.write(made.filter[1], seccomp.program(machine))  # smaller than a pipe's buffer
        os.close(made.filter[1])
        made.filter = (made.filter[0], -1)
        yield made
    finally:
        for number in (*made.output, *(made.stdout or ()), *made.status, *made.filter, made.loader, made.handle):
            if number >= 0:
                os.close(number)


def _sealed(loader: Path) -> int:
    """The loader as a file in memory that nobody can change: a sandboxed process reaches it as /proc/1/exe.

    Were it the file in the store, a process with the uid that owns the store could change its mode through that link
    (the kernel refuses only to write to a running program), beside any read-only mount.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        number = os.memfd_create("kubewright-loader", flags | 0x10)  # MFD_EXEC: Linux >= 6.3, for vm.memfd_noexec
    except OSError:
        number = os.memfd_create("kubewright-loader", flags)
    with loader.open("rb") as source:
        os.write(number, source.read())
    os.fchmod(number, 0o555)
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return number
