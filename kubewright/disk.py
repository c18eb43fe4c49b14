"""Disks that do not take what is written: one error for all of it, whether the system says it to us or to a program of ours."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from kubewright.errors import StoreError

_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_FORBIDDEN = re.compile(r"read-only file system", re.IGNORECASE)


@contextlib.contextmanager
def writing(folder: Path, *, store: bool = True) -> Iterator[None]:
    """Turn the operating system's refusals to write into StoreError. ``store``: whether ``folder`` is of the store."""
    try:
        yield
    except OSError as error:
        where = Path(error.filename or folder)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(where, store) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise _forbidden(where, error.strerror or "", store) from error
        raise


def refusal(said: str, folder: Path) -> StoreError | None:
    """The same from the words of a program that writes below the store's ``folder``; None for words about something else."""
    lines = [line.strip() for line in said.splitlines() if not line.startswith("remote:")]
    for pattern, error in ((_FULL, _full(folder, True)), (_FORBIDDEN, _forbidden(folder, "Read-only file system", True))):
        found = [line for line in lines if pattern.search(line)]
        if found:
            error.details = "\n".join(found)[-2000:]
            return error
    return None


def _full(where: Path, store: bool) -> StoreError:
    also = " (`./doit gc` drops what the lock does not need), or set KUBEWRIGHT_STORE to a larger disk" if store else " there"
    return StoreError(f"no space left while writing {where}", remedy=f"free some space{also}")


def _forbidden(where: Path, reason: str, store: bool) -> StoreError:
    mine = "set KUBEWRIGHT_STORE (or `store` in settings.toml) to a directory that you may write"
    return StoreError(f"cannot write {where}: {reason}", remedy=mine if store else "let it be written, then run again")
