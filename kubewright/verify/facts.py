"""What was found in a set, as plain values: rules decide over nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubewright.model.digestsfile import Digests
from kubewright.model.lockfile import Lock
from kubewright.verify.evidence import Evidence, Ignored
from kubewright.verify.release import Release
from kubewright.verify.statement import Subject


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """The folder release/: SHA-256 of each file that is no bundle, and what lockfile.toml and digests.toml say."""

    files: Mapping[str, str]
    evidence: tuple[Evidence, ...]
    ignored: tuple[Ignored, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """What the set says about one component on one platform. ``path`` is NAME/VERSION/OS-ARCH."""

    path: str
    evidence: tuple[Evidence, ...]
    ignored: tuple[Ignored, ...]

    @property
    def component(self) -> str:
        return self.path.split("/")[0]

    @property
    def version(self) -> str:
        return self.path.split("/")[1]

    @property
    def platform(self) -> str:
        return self.path.split("/")[2].replace("-", "/")

    def of_kind(self, kind: str) -> list[Evidence]:
        """The statements of one kind, by file."""
        return [each for each in self.evidence if each.kind == kind]


@dataclass(frozen=True, slots=True)
class Signed:
    """A release whose signature and files agree."""

    release: Release
    lock: Lock
    lock_digest: str
    digests: Digests
    by: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """A rule that is satisfied, by which statement (``says``: operator and file), and what it came down to."""

    rule: str
    says: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Dissent:
    """A trusted operator whose build of the same key gave other bytes."""

    place: str
    says: str
    differs: Mapping[str, tuple[str, str]]

    def __str__(self) -> str:
        what = "; ".join(
            f"{name}: {_short(theirs)}, not {_short(ours)}" for name, (ours, theirs) in sorted(self.differs.items())
        )
        return f"{self.place}: {self.says}: {what}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A component whose statements satisfy every rule: what its files have to be. ``built``: when, as its builder said."""

    place: str
    subjects: tuple[Subject, ...]
    passed: tuple[Passed, ...]
    dissent: tuple[Dissent, ...] = ()
    notes: tuple[str, ...] = ()
    built: str = ""


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 16] if digest else "nothing"
