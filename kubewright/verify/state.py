"""What the verifier remembers: the highest sequence and the latest time it has seen.

A key's signature says nothing about when it was made, and an old release stays validly signed for ever. So what was seen is
kept outside of everything that is verified, and written only when a verification has succeeded.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright.verify import strictjson
from kubewright.verify.errors import StateError, VerifyError
from kubewright.verify.shape import Shape

FORMAT: Final = 1
_LIMITS: Final = strictjson.Limits(size=4096, string=256, depth=2, values=20)
_REMEDY: Final = "restore it from a backup; removing it forgets which releases were seen"


@dataclass(frozen=True, slots=True)
class Seen:
    """Highest sequence, and seconds since 1970 of the last successful verification; zeros when there was none."""

    sequence: int = 0
    time: int = 0


def load_seen(path: Path) -> Seen:
    """What the file remembers; nothing when there is no file. Raises StateError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LIMITS.size + 1)
    except FileNotFoundError:
        return Seen()
    except OSError as reason:
        raise StateError(f"{path}: cannot be read: {reason.strerror}", remedy=_REMEDY) from None
    try:
        root = Shape.of(strictjson.loads(data, _LIMITS, str(path)), str(path), StateError)
    except VerifyError as reason:
        raise StateError(reason.message, remedy=_REMEDY) from None
    root.only("version", "sequence", "time")
    if root.integer("version") != FORMAT:
        raise root.refuse("version", f"is not {FORMAT}")
    return Seen(root.integer("sequence"), root.integer("time"))


def remember(path: Path, seen: Seen) -> None:
    """Write the higher of what is there and of ``seen``, atomically. Raises StateError."""
    try:
        with _locked(path):
            before = load_seen(path)
            value = {"version": FORMAT, "sequence": max(seen.sequence, before.sequence), "time": max(seen.time, before.time)}
            _replace(path, (json.dumps(value) + "\n").encode())
    except OSError as reason:
        raise StateError(
            f"{path}: cannot be written: {reason.strerror}",
            remedy="keep the policy where the verifier may write, or name another file in [state]",
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(name, path)  # noqa: PTH104
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise
