"""lockfile.toml: the pin of every input. Written by `./doit lock`, reviewed by people, believed by everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from kubewright.errors import LockError
from kubewright.model import tomlfile, tomlwrite
from kubewright.model.builder import GoVersion, PackageName, Suite
from kubewright.model.recipe import Name, Platform, RelativePath, Version
from kubewright.model.schema import AtLeast, Case, Cases, Doc, Key, NotEmpty, Pattern, Problem

FILE = "lockfile.toml"
FORMAT: Final = 1

Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "a SHA-256 in lower-case hexadecimal")]
Digest = Annotated[str, Pattern(r"sha256:[0-9a-f]{64}", "a digest (sha256: and 64 lower-case hexadecimal digits)")]
GitObject = Annotated[str, Pattern(r"[0-9a-f]{40}|[0-9a-f]{64}", "a full git object name")]
#: 32 bytes in base64: the last digit before the '=' carries four bits only
H1 = Annotated[str, Pattern(r"h1:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=", "a Go dirhash (h1:...)")]
Text = Annotated[str, NotEmpty()]


@dataclass(frozen=True, slots=True)
class LockedSubmodule:
    """A repository within a source's tree."""

    path: Annotated[RelativePath, Doc("Where its files are in the tree.")]
    git: Annotated[Text, Doc("The repository.")]
    commit: Annotated[GitObject, Doc("The commit that the tree names.")]


@dataclass(frozen=True, slots=True)
class LockedSource:
    """One source of a component. Which keys it has depends on ``form``; what could not be confirmed is not there."""

    CASES: ClassVar[Cases] = Cases(
        "form",
        {
            "module": Case(required=("module", "version", "h1", "go_mod_h1"), refused=("url", "sha256", "size")),
            "tree": Case(required=("git", "commit", "tree", "sha256"), refused=("url", "size")),
            "archive": Case(
                required=("url", "sha256", "size"),
                refused=(
                    "module",
                    "version",
                    "h1",
                    "go_mod_h1",
                    "git",
                    "tag",
                    "branch",
                    "tag_object",
                    "signer",
                    "commit",
                    "tree",
                    "sumdb",
                    "submodules",
                ),
            ),
        },
    )

    name: Annotated[Name, Doc("The source's name in the recipe.")]
    form: Annotated[Literal["module", "tree", "archive"], Doc("As in the recipe.")]
    source_date: Annotated[int, Doc("Seconds since 1970 of the commit, version or newest member."), AtLeast(0)]
    module: Annotated[Text, Doc("Go module path.")] = ""
    version: Annotated[Text, Doc("Go module version.")] = ""
    h1: Annotated[H1, Doc("Go dirhash of the module's zip.")] = ""
    go_mod_h1: Annotated[H1, Doc("Go dirhash of its go.mod.")] = ""
    sumdb: Annotated[bool, Doc("The Go checksum database confirmed both.")] = False
    git: Annotated[Text, Doc("The repository.")] = ""
    tag: Annotated[Text, Doc("git tag.")] = ""
    tag_object: Annotated[GitObject, Doc("The annotated tag itself.")] = ""
    signer: Annotated[Text, Doc("Fingerprint of the key that signed the tag, one of the recipe's `signed_by`.")] = ""
    branch: Annotated[Text, Doc("git branch.")] = ""
    commit: Annotated[GitObject, Doc("The commit of tag or branch.")] = ""
    tree: Annotated[GitObject, Doc("The commit's tree: with SHA-1, also the SWHID of the directory.")] = ""
    url: Annotated[Text, Doc("Where the archive was.")] = ""
    sha256: Annotated[Sha256, Doc("Of the normalised tree, or of the archive as it is.")] = ""
    size: Annotated[int, Doc("Bytes of the archive."), AtLeast(0)] = 0
    submodules: Annotated[tuple[LockedSubmodule, ...], Key("submodule"), Doc("Whose files are in the tree.")] = ()


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file of this project that goes into a build: go.mod, go.sum, a patch, an overlay."""

    path: Annotated[RelativePath, Doc("Relative to the project.")]
    sha256: Annotated[Sha256, Doc("Of its bytes.")]
    executable: Annotated[bool, Doc("An overlay that git has as executable.")] = False


@dataclass(frozen=True, slots=True)
class LockedComponent:
    """All that goes into one component beside its builder."""

    version: Annotated[Version, Doc("The recipe's version.")]
    sources: Annotated[tuple[LockedSource, ...], Key("source"), NotEmpty("minItems")]
    files: Annotated[tuple[LockedFile, ...], Key("file")] = ()
    modules: Annotated[
        Mapping[str, Text], Doc("Go module -> version in the main source's go.mod, for each that the recipe names.")
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LockedToolchain:
    """The Go toolchain for one platform, as the module golang.org/toolchain."""

    platform: Annotated[Platform, Doc("Where it runs.")]
    version: Annotated[GoVersion, Doc("Go release.")]
    h1: Annotated[H1, Doc("Go dirhash of the module's zip.")]


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One Debian package."""

    name: Annotated[PackageName, Doc("Package.")]
    version: Annotated[str, Doc("Debian version."), Pattern(r"[A-Za-z0-9.+~:-]+", "a Debian version")]
    architecture: Annotated[Literal["amd64", "arm64", "all"], Doc("Debian architecture.")]
    path: Annotated[RelativePath, Doc("Below the archive's root: pool/...")]
    sha256: Annotated[Sha256, Doc("Of the .deb.")]
    size: Annotated[int, Doc("Bytes of the .deb."), AtLeast(0)]

    @property
    def label(self) -> str:
        """NAME_VERSION_ARCHITECTURE."""
        return f"{self.name}_{self.version}_{self.architecture}"


@dataclass(frozen=True, slots=True)
class LockedBuilder:
    """What a builder asked for, and what was found."""

    suite: Annotated[Suite, Doc("Debian suite that was asked for.")] = ""
    requested: Annotated[tuple[PackageName, ...], Doc("Packages that were asked for.")] = ()
    root: Annotated[Digest, Doc("Of the root file system that the packages make, unpacked.")] = ""
    toolchains: Annotated[tuple[LockedToolchain, ...], Key("toolchain")] = ()
    packages: Annotated[tuple[LockedPackage, ...], Key("package")] = ()


@dataclass(frozen=True, slots=True)
class Lock:
    """Every pin of the project, by component and by builder."""

    version: Annotated[Literal[1], Doc("Format of this file.")] = FORMAT
    components: Annotated[Mapping[Name, LockedComponent], Key("component")] = field(default_factory=dict)
    builders: Annotated[Mapping[Name, LockedBuilder], Key("builder")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Written:
    """The same with ``version`` always written."""

    version: int
    components: Annotated[Mapping[str, LockedComponent], Key("component")]
    builders: Annotated[Mapping[str, LockedBuilder], Key("builder")]


def load_lock(path: Path) -> Lock:
    """The lock in the file ``path``; an empty one when there is no such file. Raises LockError."""
    if not path.exists():
        return Lock()
    return _from_document(tomlfile.read(path, LockError))


def parse_lock(text: str, name: str = FILE) -> Lock:
    """The lock in ``text``; raises LockError, in which the file is called ``name``."""
    return _from_document(tomlfile.parse(text, name, LockError))


def dump_lock(lock: Lock) -> str:
    """The text of lockfile.toml: the same for equal locks, sorted."""
    lock = sort_lock(lock)
    return tomlwrite.dump(_Written(FORMAT, lock.components, lock.builders), FILE, "./doit lock")


def sort_lock(lock: Lock) -> Lock:
    """``lock`` in the order of the file. Sources keep the recipe's order: the first one is the main one."""
    components = {
        name: dataclasses.replace(item, files=tuple(sorted(item.files, key=lambda file: file.path)))
        for name, item in sorted(lock.components.items())
    }
    builders = {name: _sort_builder(item) for name, item in sorted(lock.builders.items())}
    return Lock(lock.version, components, builders)


def _sort_builder(builder: LockedBuilder) -> LockedBuilder:
    return dataclasses.replace(
        builder,
        requested=tuple(sorted(builder.requested)),
        toolchains=tuple(sorted(builder.toolchains, key=lambda item: item.platform)),
        packages=tuple(sorted(builder.packages, key=lambda item: (item.name, item.architecture))),
    )


def _from_document(document: tomlfile.Document) -> Lock:
    check_format(document, FORMAT)
    lock = tomlfile.load(Lock, document, _problems)
    tomlwrite.require_end(document.text, FILE, document.name, LockError)
    return lock


def check_format(document: tomlfile.Document, known: int) -> None:
    """Raise LockError unless the document's ``version`` is ``known``: said before its unknown keys are."""
    version = document.data.get("version")
    if version is None:
        raise document.failure([Problem((), "the key 'version' is missing", f"its first line is version = {known}")])
    if type(version) is not int or version != known:
        remedy = "use the kubewright that wrote it, or make it again"
        raise document.failure([Problem(("version",), f"format {version!r} is not {known}, which is the one known", remedy)])


def _problems(lock: Lock) -> Iterator[Problem]:
    for name, component in lock.components.items():
        base = ("component", name)
        yield from _twice((*base, "source"), "name", [item.name for item in component.sources])
        yield from _twice((*base, "file"), "path", [item.path for item in component.files])
    for name, builder in lock.builders.items():
        base = ("builder", name)
        yield from _twice((*base, "toolchain"), "platform", [item.platform for item in builder.toolchains])
        packages = [f"{item.name}:{item.architecture}" for item in builder.packages]
        yield from _twice((*base, "package"), "name", packages)


def _twice(path: tuple[str, ...], key: str, items: list[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item in seen:
            yield Problem((*path, index, key), f"{item!r} is there twice", "lock it again")
        seen.add(item)
