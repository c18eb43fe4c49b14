"""The host that is installed on: its root, its programs, its facts. The only module that starts programs.

With another root than ``/`` (``--root``), files go below it and programs are those below it: what tests and images use.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Literal

from kubewright.install.errors import CommandError, InstallError
from kubewright.install.plan import CURRENT, Facts

#: the release's own programs last: kubeadm looks for the kubelet by name
_PATHS: Final = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", f"{CURRENT.lstrip('/')}/bin")
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_CAP_SYS_RESOURCE: Final = 24
_LONGEST_OUTPUT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended, and what it said."""

    argv: tuple[str, ...]
    status: int
    output: str
    errors: str

    def tail(self) -> str:
        """Its last lines."""
        return "\n".join((self.output.strip() + "\n" + self.errors.strip()).strip().splitlines()[-25:])


@dataclass(frozen=True, slots=True)
class Host:
    """A root directory and how programs below it are run."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=dict)

    def path(self, absolute: str) -> Path:
        """Where an absolute path of the host is."""
        return self.root / absolute.lstrip("/")

    def program(self, name: str) -> Path | None:
        """The program of that name or absolute path, if the host has it."""
        places = [name.lstrip("/")] if "/" in name else [f"{folder}/{name}" for folder in _PATHS]
        return next((path for each in places if os.access(path := self.root / each, os.X_OK) and path.is_file()), None)

    def run(self, argv: Sequence[str], *, timeout: float = 120, stdin: IO[bytes] | int = subprocess.DEVNULL) -> Result:
        """Run a program of the host's. Raises CommandError when it is missing or takes too long, not when it fails."""
        ended = self._run(argv, timeout, stdin)
        return Result(tuple(argv), ended.returncode, _text(ended.stdout), _text(ended.stderr))

    def run_bytes(self, argv: Sequence[str], *, timeout: float = 120) -> bytes:
        """What a program of the host's printed, as it is. Raises CommandError also when it failed."""
        ended = self._run(argv, timeout, subprocess.DEVNULL)
        if ended.returncode:
            raise CommandError(f"{' '.join(argv)} ended with status {ended.returncode}", details=_text(ended.stderr))
        return ended.stdout

    def _run(self, argv: Sequence[str], timeout: float, stdin: IO[bytes] | int) -> subprocess.CompletedProcess[bytes]:
        program = self.program(argv[0])
        if program is None:
            raise CommandError(f"{argv[0]} is not there", remedy="kubewright preflight says what a host has to have")
        try:
            return subprocess.run(
                [str(program), *argv[1:]],
                stdin=stdin,
                capture_output=True,
                env=self._environment(),
                timeout=timeout,
                check=False,
                cwd="/",
            )
        except subprocess.TimeoutExpired as reason:
            said = (reason.stderr or b"")[-4000:].decode("utf-8", "replace")
            raise CommandError(f"{' '.join(argv)}: still not finished after {timeout:.0f} s", details=said) from None
        except OSError as reason:
            raise CommandError(f"{' '.join(argv)}: {reason.strerror}") from None

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program that reads from a pipe; the caller ends it. What it says goes to a temporary file."""
        program = self.program(argv[0])
        if program is None:
            raise CommandError(f"{argv[0]} is not there")
        import tempfile

        said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        process = subprocess.Popen(
            [str(program), *argv[1:]], stdin=subprocess.PIPE, stdout=said, stderr=said, env=self._environment(), cwd="/"
        )
        process.stdout = said  # to be read when it has ended
        return process

    def _environment(self) -> dict[str, str]:
        prefix = "" if self.root == Path("/") else str(self.root)
        found = {"PATH": ":".join(f"{prefix}/{folder}" for folder in _PATHS), "LC_ALL": "C.UTF-8", "HOME": "/root"}
        return {**found, **({"KUBEWRIGHT_ROOT": str(self.root)} if prefix else {}), **self.environment}


def _text(data: bytes) -> str:
    return data[-_LONGEST_OUTPUT:].decode("utf-8", "replace")


def read_facts(host: Host) -> Facts:
    """What a plan has to know of this host."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    return Facts(socket.gethostname().lower(), _address(), f"linux/{machine}", _cgroup(host), _may_adjust())


def _cgroup(host: Host) -> Literal[1, 2]:
    return 2 if host.path("/sys/fs/cgroup/cgroup.controllers").exists() else 1


def _may_adjust() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1)


def _address() -> str:
    """The address that a packet to elsewhere would have. Nothing is sent; empty without a default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def require_root(host: Host) -> None:
    """InstallError unless this process may change the host."""
    if host.root == Path("/") and os.geteuid() != 0:
        raise InstallError("only root can change this host", remedy="run the same command with sudo")
