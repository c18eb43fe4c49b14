"""What the conformance tests stand on: a back end, a place to build in, and the probe, inside and outside."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubewright.sandbox import Limits, Mount, Result, Sandbox, Spec, Take

#: an ordinary user's uid on the host for the tests that need one (nobody's, see bubblewrap.REAL_ID)
ORDINARY = 65529


class Ordinary:
    """A back end run as an ordinary user: each run in a forked process that gives up root first."""

    def __init__(self, inner: Sandbox) -> None:
        self.inner = inner
        self.name = inner.name

    def usable(self) -> str | None:
        return as_ordinary(self.inner.usable)

    def run(self, spec: Spec, output: Take, stdout: Take | None = None) -> Result:
        if spec.build.is_dir():
            os.chown(spec.build, ORDINARY, ORDINARY)
        if stdout is None:
            return as_ordinary(lambda: self.inner.run(spec, say), output)

        def sort(data: bytes) -> None:
            (stdout if data[:1] == b"1" else output)(data[1:])

        return as_ordinary(lambda: self.inner.run(spec, lambda data: say(b"2" + data), lambda data: say(b"1" + data)), sort)


def say(data: bytes) -> None:
    """In the process of :func:`forked`: hand output to the caller."""
    pickle.dump(("output", data), _to_caller)
    _to_caller.flush()


_to_caller: Any = None


def give_up_root() -> None:
    os.setgroups([])
    os.setgid(ORDINARY)
    os.setuid(ORDINARY)


def as_ordinary(job: Callable[[], Any], output: Callable[[bytes], None] = lambda _: None) -> Any:
    """Call ``job`` in a forked process as an ordinary user."""

    def first_give_up_root() -> Any:
        give_up_root()
        return job()

    return forked(first_give_up_root, output)


def forked(job: Callable[[], Any], output: Callable[[bytes], None] = lambda _: None) -> Any:
    """Call ``job`` in a forked process. An interrupt reaches it, as Ctrl-C does a process group."""
    global _to_caller
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            _to_caller = os.fdopen(writer, "wb")
            _answer(job)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as answers:
            kind, value = pickle.load(answers)
            while kind == "output":
                _or_interrupt(pid, output, value)
                kind, value = pickle.load(answers)
    finally:
        os.waitpid(pid, 0)
    if kind == "error":
        raise value
    return value


def _answer(job: Callable[[], Any]) -> None:
    try:
        answer = ("result", job())
    except BaseException as error:
        answer = ("error", error)
    pickle.dump(answer, _to_caller)
    _to_caller.flush()


def _or_interrupt(pid: int, output: Callable[[bytes], None], data: bytes) -> None:
    try:
        output(data)
    except BaseException:
        os.kill(pid, signal.SIGINT)
        raise


@dataclass(frozen=True)
class Outcome:
    status: int
    text: str
    result: Result | None = None

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@dataclass(frozen=True)
class Bench:
    """``folder`` is on the host, reachable for every user; ``build`` in it is the build directory."""

    kind: str
    sandbox: Sandbox
    folder: Path
    probe: Path

    @property
    def build(self) -> Path:
        return self.folder / "build"

    @property
    def ordinary(self) -> bool:
        """Whether the probe's controls run as an ordinary user."""
        return self.kind == "bubblewrap-ordinary" or os.geteuid() != 0

    @property
    def uid(self) -> int:
        """What a process inside should take itself for."""
        return os.geteuid() if self.kind == "docker" and os.geteuid() != 0 else 1000

    def spec(self, *argv: str, **changes: Any) -> Spec:
        """The probe in an empty root."""
        mounts = (Mount(self.probe, "/probe"), *changes.pop("mounts", ()))
        return replace(Spec(("/probe", *argv), self.build, mounts=mounts, limits=Limits(seconds=60)), **changes)

    def run(self, *argv: str, output: Callable[[bytes], None] = lambda _: None, **changes: Any) -> Outcome:
        said = bytearray()

        def take(data: bytes) -> None:
            said.extend(data)
            output(data)

        result = self.sandbox.run(self.spec(*argv, **changes), take)
        return Outcome(result.status, said.decode(), result)

    def outside(self, *argv: str, **options: Any) -> Outcome:
        """The control: the same probe, run by the same user without a sandbox."""
        ids = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if self.kind == "bubblewrap-ordinary" else {}
        options = {"cwd": self.folder, **ids, **options}
        done = subprocess.run([self.probe, *argv], capture_output=True, text=True, timeout=60, check=False, **options)
        return Outcome(done.returncode, done.stdout)

    def refused(self, *argv: str) -> str:
        """Works outside, is refused inside; what was said inside. A probe that cannot work proves nothing."""
        assert self.outside(*argv).status == 0, f"the control failed: {argv}"
        inside = self.run(*argv)
        assert inside.status == 1, inside.text
        return inside.text
