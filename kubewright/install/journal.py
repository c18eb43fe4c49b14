"""What an install has done so far, and what was installed: written before and after each step, so that a kill loses nothing.

/var/lib/kubewright/
    releases/SHA/          files of a release; a directory without its name is still being filled
    current -> releases/SHA
    install.json           the plan that is being installed or is installed, and which steps are done
    audit.jsonl            one line for each thing that was done, for ever
    sequence.json          the highest sequence that was installed; stays after an uninstall
    lock                   one install at a time
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kubewright.install.errors import JournalError, PlaceError
from kubewright.install.host import Host
from kubewright.install.plan import HOME
from kubewright.locks import hold
from kubewright.verify import strictjson
from kubewright.verify.errors import VerifyError

FORMAT: Final = 1
_LIMITS: Final = strictjson.Limits(size=16 << 20, string=1 << 20, depth=24, values=400_000)


@dataclass(slots=True)
class Journal:
    """The record of one host, open for writing while the lock is held."""

    host: Host
    plan: dict[str, Any] = field(default_factory=dict)
    release: str = ""
    phase: str = ""
    done: dict[str, str] = field(default_factory=dict)
    begun: dict[str, str] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether an install was begun here and not taken away."""
        return bool(self.phase)

    def save(self) -> None:
        """Write install.json."""
        value = {
            "version": FORMAT,
            "phase": self.phase,
            "release": self.release,
            "done": self.done,
            "begun": self.begun,
            "plan": self.plan,
        }
        write_atomically(_file(self.host, "install.json"), (json.dumps(value, indent=1) + "\n").encode(), 0o600)

    def begin(self, step: str, key: str) -> bool:
        """Say that a step begins; whether it had begun before and did not end."""
        before = step in self.begun
        if self.begun.get(step) != key:
            self.begun[step] = key
            self.save()
        return before

    def finish(self, step: str, key: str) -> None:
        """Say that a step is done."""
        self.begun.pop(step, None)
        self.done[step] = key
        self.save()

    def forget(self) -> None:
        """The install is gone."""
        _file(self.host, "install.json").unlink(missing_ok=True)

    def audit(self, action: str, **what: object) -> None:
        """Add a line to the audit log. Nothing secret may be in it."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "by": _who(), "action": action, **what}
        path = _file(self.host, "audit.jsonl")
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "ab", buffering=0) as stream:
            whole = os.fstat(handle).st_size
            try:
                left = memoryview((json.dumps(line, sort_keys=True) + "\n").encode())
                while left:
                    left = left[stream.write(left) :]
                os.fsync(handle)
            except OSError:  # half a line would take the next one with it
                os.ftruncate(handle, whole)
                raise


@contextmanager
def opened(host: Host, purpose: str) -> Iterator[Journal]:
    """The host's journal, while nobody else may install. Raises PlaceError where something cannot be written."""
    home = host.path(HOME)
    with writing(host):
        home.mkdir(parents=True, exist_ok=True, mode=0o755)
        with hold(home / "lock", purpose):
            yield read(host)


def read(host: Host) -> Journal:
    """The host's journal to look at. Raises JournalError."""
    path = _file(host, "install.json")
    value = _load(path)
    if value is None:
        return Journal(host)
    if not isinstance(value, dict) or not strictjson.is_version(value.get("version"), FORMAT):
        raise JournalError(
            f"{path}: not an install record of version {FORMAT}", remedy="another kubewright wrote it; use that one"
        )
    parts = (value.get("plan"), value.get("done"), value.get("begun"))
    if not all(isinstance(part, dict) for part in parts):
        raise JournalError(f"{path}: damaged", remedy="restore it from a backup, or uninstall by hand (docs/install.md)")
    return Journal(host, value["plan"], str(value.get("release")), str(value.get("phase")), value["done"], value["begun"])


def highest_sequence(host: Host) -> int:
    """The highest sequence that was installed here; 0 when there was none."""
    path = _file(host, "sequence.json")
    value = _load(path)
    if value is None:
        return 0
    sequence = value.get("sequence") if isinstance(value, dict) else None
    if not strictjson.is_integer(sequence) or sequence < 0:
        raise JournalError(f"{path}: damaged", remedy="restore it from a backup; removing it forgets what was installed")
    return sequence


def remember_sequence(host: Host, sequence: int) -> None:
    """Write it down (also a lower one: going back was forced, with a reason)."""
    value: Mapping[str, object] = {"version": FORMAT, "sequence": sequence}
    write_atomically(_file(host, "sequence.json"), (json.dumps(value) + "\n").encode(), 0o644)


def write_atomically(path: Path, data: bytes, mode: int) -> None:
    """Temp + fsync + rename + fsync of the directory. The temporary name is always the same: what a kill leaves is found."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(host: Host) -> Iterator[None]:
    """PlaceError where the block could not write; a disk may get full at any point."""
    try:
        yield
    except OSError as reason:
        where = reason.filename or host.path(HOME)
        if reason.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PlaceError(
                f"no space left while writing {where}", remedy="free some space, then run the same command again"
            ) from None
        raise PlaceError(f"{where}: {reason.strerror}", remedy="make it writable, then run the same command again") from None


def sync_directory(path: Path) -> None:
    """Make renames in it last."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LIMITS.size + 1)
        return strictjson.loads(data, _LIMITS, str(path))
    except FileNotFoundError:
        return None
    except (OSError, VerifyError) as reason:
        raise JournalError(f"{path}: {reason}", remedy="restore it from a backup") from None


def _file(host: Host, name: str) -> Path:
    return host.path(f"{HOME}/{name}")


def _who() -> str:
    user = os.environ.get("SUDO_USER", "")
    return f"uid {os.geteuid()}" + (f" (sudo by {user})" if user else "")
