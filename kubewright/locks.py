"""Locks between processes: flock on a file that says who holds it, so that whoever waits can be told for whom.

The kernel drops a lock with its process, whatever way that ends; a file that stays behind locks nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


def say_waiting(holder: str) -> None:
    """Tell the terminal for whom we wait."""
    print(f"waiting for {holder}", file=sys.stderr)


@contextlib.contextmanager
def hold(path: Path, purpose: str, *, shared: bool = False, waiting: Callable[[str], None] = say_waiting) -> Iterator[None]:
    """Hold the lock file ``path``, made where it is absent; ``purpose`` ("building etcd") is what others are told."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(_holder(descriptor))
            fcntl.flock(descriptor, mode)
        if not shared:
            _write_holder(descriptor, purpose)
        yield
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int, purpose: str) -> None:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    text = json.dumps({"pid": os.getpid(), "purpose": purpose, "command": command[:200]})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} ({holder['command']}), which is {holder['purpose']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
