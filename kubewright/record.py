"""The build record: what went in, what was run, what came out. ``why`` shows it; signed provenance is made of it.

Stored as canonical JSON under the component's key. ``SCHEMA`` names its shape; a reader refuses another one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubewright.errors import StoreCorruptError
from kubewright.model.decode import decode
from kubewright.model.schema import Problem
from kubewright.store import Store

SCHEMA = "kubewright/build-record/1"


@dataclass(frozen=True, slots=True)
class RecordedPatch:
    """A patch that was applied; ``sha256`` is hexadecimal."""

    file: str
    reason: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordedSource:
    """A source as it was pinned; empty strings for what its form does not have or what nobody confirmed."""

    name: str
    form: str
    source_date: int
    module: str = ""
    version: str = ""
    h1: str = ""
    sumdb: bool = False
    git: str = ""
    tag: str = ""
    branch: str = ""
    tag_object: str = ""
    signer: str = ""
    commit: str = ""
    commit_hint: str = ""
    tree: str = ""
    url: str = ""
    sha256: str = ""
    patches: tuple[RecordedPatch, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedModule:
    """A Go module version that the commands' packages come from."""

    path: str
    version: str
    h1: str


@dataclass(frozen=True, slots=True)
class RecordedPackage:
    """A Debian package of the root file system; ``files``: those of its paths that the recipe lays into the build."""

    name: str
    version: str
    architecture: str
    sha256: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedBuilder:
    """The build environment. ``root`` is the tree digest of the unpacked packages."""

    name: str
    digest: str
    host: str
    go: str = ""
    go_h1: str = ""
    root: str = ""
    packages: tuple[RecordedPackage, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A command as it was run inside the sandbox; ``stdout``: the file below /build that its standard output became."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    seconds: float
    stdout: str = ""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a rebuild varies: nothing of it may reach an output."""

    sandbox: str
    build_path: str
    hostname: str
    uid: int
    umask: int
    cpus: int
    locale: str
    timezone: str
    cold: bool
    enforced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedOutput:
    """A file that came out (for kind ``tree``: its normalised tar). ``sha256`` has the prefix ``sha256:``; size in bytes."""

    path: str
    kind: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One build of one component for one platform. Times are seconds since 1970 (``started``) and durations."""

    component: str
    version: str
    platform: str
    key: str
    licence: str
    sources: tuple[RecordedSource, ...]
    files: Mapping[str, str]
    modules: tuple[RecordedModule, ...]
    builder: RecordedBuilder
    dependencies: Mapping[str, str]
    steps: tuple[RecordedStep, ...]
    outputs: tuple[RecordedOutput, ...]
    conditions: Conditions
    smoke: str
    smoked: bool
    started: float
    seconds: float
    log: str
    kubewright: str
    schema: str = SCHEMA
    stages: Mapping[str, float] = field(default_factory=dict)

    def digests(self) -> dict[str, str]:
        """Output path -> digest."""
        return {output.path: output.sha256 for output in self.outputs}


def save(store: Store, record: BuildRecord, kind: str = "record", name: str | None = None) -> None:
    """Let the component's key (or ``name``) stand for ``record``."""
    store.put_json(kind, name or key_name(record.key), dataclasses.asdict(record))


def load(store: Store, key: str, kind: str = "record") -> BuildRecord | None:
    """The record under ``key``, verified, or None. Raises StoreCorruptError when it is damaged or of another schema."""
    data = store.get_json(kind, key_name(key))
    return None if data is None else from_json(data, key)


def load_all(store: Store, kind: str = "record") -> list[BuildRecord]:
    """Every readable record of a kind, oldest first; those of another schema are left out."""
    found = []
    for name in store.refs(kind):
        data = store.get_json(kind, name)
        if isinstance(data, dict) and data.get("schema") == SCHEMA:
            found.append(from_json(data, name))
    return sorted(found, key=lambda record: record.started)


def from_json(data: Any, name: str) -> BuildRecord:
    """Parsed JSON as a record; raises StoreCorruptError."""
    problems: list[Problem] = []
    record = decode(BuildRecord, data, problems)
    if record is None or problems or record.schema != SCHEMA:
        reason = problems[0] if problems else f"its schema is not {SCHEMA}"
        raise StoreCorruptError(f"build record {name}: {reason}", remedy="build the component again")
    return record


def key_name(key: str) -> str:
    """How a key is spelled in names of files."""
    return key.removeprefix("sha256:")
