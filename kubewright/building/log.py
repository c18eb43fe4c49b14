"""The log of one build: all that its commands print, in one file that a failed build leaves behind."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubewright.disk import writing
from kubewright.report import Progress

#: lines of the log that an error shows
TAIL = 25
#: what programs say when they met a wall of the sandbox
_NETWORK: Final = re.compile(
    r"Network is unreachable|network is unreachable|[Cc]ould not resolve|Temporary failure in name resolution|no such host|"
    r"Name or service not known|disabled by GOPROXY=off|dial (?:tcp|udp)"
)
_READ_ONLY: Final = re.compile(r"[Rr]ead-only file system")


def reason(tail: str) -> str:
    """Why a step failed that ended with these lines, as far as that can be seen from the sandbox's side."""
    if _NETWORK.search(tail):
        return "it asks for the network, and a step has no network: what it needs has to be a source, an [[input]] or a package"
    if _READ_ONLY.search(tail):
        return "it writes outside of its build directory: only {build} and /tmp can be written to, and only {build}/out is kept"
    return "read the lines above; a step has no network and sees declared inputs only"


@dataclass
class Log:
    """A log file that also tells a ``Progress`` what goes on. ``packages`` counts what go says it compiled."""

    path: Path
    progress: Progress
    packages: int = 0
    _rest: bytes = field(default=b"", repr=False)

    @classmethod
    def create(cls, directory: Path, name: str, progress: Progress) -> Log:
        """A new file in ``directory``; its name begins with ``name`` and tells time and process."""
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
            path.touch()
        return cls(path, progress)

    def take(self, data: bytes) -> None:
        """Output of a command, as it comes."""
        with writing(self.path.parent), self.path.open("ab") as file:
            file.write(data)
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-4096:]
        if lines:
            self.packages += len(lines)
            text = lines[-1].decode("utf-8", "replace").strip()
            self.progress.update(f"{self.packages} packages compiled, {text[-60:]}" if "/" in text else text[-80:])

    def say(self, text: str) -> None:
        """A line of our own."""
        with writing(self.path.parent), self.path.open("ab") as file:
            file.write(f"== {text}\n".encode())

    def tail(self) -> str:
        """The last lines, for an error to show."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 64_000))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-TAIL:])
