"""index.json of a mirror: every file with size, SHA-256 and what it is, and which files each release in it needs.

Written canonically, read strictly and with bounds: somebody else may have written it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from kubewright.canonical import canonical_json
from kubewright.errors import MirrorIndexError
from kubewright.model.decode import decode
from kubewright.model.lockfile import GitObject, Sha256
from kubewright.model.recipe import Name, RelativePath
from kubewright.model.schema import AtLeast, Doc, NotEmpty, Problem
from kubewright.verify import strictjson
from kubewright.verify.errors import VerifyError

FORMAT: Final = 1
#: some 100,000 files
LIMITS: Final = strictjson.Limits(size=64 << 20, string=1024, depth=6, values=2_000_000)

Kind = Literal["module", "package", "repository", "archive", "wheel", "program", "release", "page", "oci"]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a mirror."""

    sha256: Annotated[Sha256, Doc("Of its bytes.")]
    size: Annotated[int, Doc("Bytes."), AtLeast(0)]
    kind: Annotated[
        Kind,
        Doc(
            "module: of the GOPROXY tree; package: a .deb; repository: of a bare git repository; archive; wheel; program: "
            "kubewright's own repository; release: lock and digests; page: for people and pip; oci: images."
        ),
    ]


@dataclass(frozen=True, slots=True)
class MirroredRelease:
    """A lock, and what it needs."""

    folder: Annotated[RelativePath, Doc("Where lockfile.toml and digests.toml lie.")]
    stack: Annotated[Name, Doc("The stack that the mirror was made for.")]
    commit: Annotated[GitObject, Doc("Of kubewright.git: recipes, go.sum files and requirements are there.")]
    sequence: Annotated[int, Doc("That of release.toml; 0 where there is none."), AtLeast(0)]
    lock: Annotated[Sha256, Doc("Of lockfile.toml.")]
    files: Annotated[tuple[RelativePath, ...], Doc("Every file that it needs.")]


@dataclass(frozen=True, slots=True)
class Index:
    """What a mirror holds."""

    version: Annotated[Literal[1], Doc("Format of this file.")]
    releases: Annotated[tuple[MirroredRelease, ...], Doc("The current one first."), NotEmpty("minItems")]
    files: Annotated[
        Mapping[RelativePath, File], Doc("Path below the mirror -> file. All but the index and its signatures.")
    ] = field(default_factory=dict)

    def named(self) -> set[str]:
        """Every path that a release needs."""
        return {path for release in self.releases for path in release.files}


def dump(index: Index) -> bytes:
    """The file's bytes: equal indices, equal bytes."""
    return canonical_json(dataclasses.asdict(index))


def parse(data: bytes, name: str) -> Index:
    """Raises MirrorIndexError, which calls the file ``name``."""
    remedy = "bring the mirror again from where it was made; `./doit mirror` there writes the index anew"
    try:
        value: Any = strictjson.loads(data, LIMITS, name)
    except VerifyError as error:
        raise MirrorIndexError(error.message, remedy=remedy) from error
    problems: list[Problem] = []
    index = decode(Index, value, problems)
    if index is not None:
        problems += _problems(index)
    if index is None or problems:
        details = "\n".join(f"{name}: {problem}" for problem in problems[1:10])
        raise MirrorIndexError(f"{name}: {problems[0]}", remedy=remedy, details=details)
    return index


def _problems(index: Index) -> Iterator[Problem]:
    for number, release in enumerate(index.releases):
        for path in release.files:
            if path not in index.files:
                yield Problem(("releases", number, "files"), f"{path} is not among the files of the mirror")
                return
    for path in index.files:
        if any(part.startswith(".") for part in path.split("/")):
            yield Problem(("files", path), "a name that begins with a dot is none of a mirror's")
            return


#: schemas/NAME.json -> what it describes
DOCUMENTS: Final[Mapping[str, type]] = {"mirror-index": Index}
