"""Licences of modules, sources and packages: which files say them, and what they come to for the folders that are linked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright.files.digest import sha256_bytes
from kubewright.sbom import licencetext
from kubewright.sbom.debian import copyright_file, licence_of_copyright
from kubewright.store import Store

_CACHE = "licences"
#: name of a file that holds a licence or a notice
_NAME = re.compile(r"(.*[-_.])?((un)?licen[cs]e|copying|copyright|notice|patents)s?([-_.].*)?", re.IGNORECASE)
_NOTICE = re.compile(r"(.*[-_.])?(notice|copyright|patents)s?([-_.].*)?", re.IGNORECASE)
#: licences of documentation, which is not linked
_DOCUMENTATION = re.compile(r".*[-_.]docs?(\.(txt|md))?", re.IGNORECASE)
#: programs and data that happen to be called like that
_OTHER = re.compile(r".*\.(go|s|c|h|py|sh|pl|js|ts|css|json|ya?ml|toml|csv|xml|html|tmpl|tpl|prototext|proto|bazel|lock)", re.I)
#: a licence file is text that people read; more than this is something else
_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class LicenceFile:
    """A file that says something of licences. ``folder`` and ``name`` below the module; ``sha256`` hexadecimal.

    ``notice``: nothing in the expression comes of it (NOTICE, COPYRIGHT, PATENTS, licences of documentation).
    ``unexplained``: words that no known licence has.
    """

    folder: str
    name: str
    sha256: str
    notice: bool
    ids: tuple[str, ...]
    unexplained: str = ""

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def reference(self) -> str:
        """SPDX's name for a text that is not on its list."""
        return f"LicenseRef-unknown-{self.sha256[:16]}"


@dataclass(frozen=True, slots=True)
class Licence:
    """What applies: an SPDX expression (empty: nothing was found) and the files that say so.

    Texts, or parts of them, that nobody knows are in the expression as ``LicenseRef-unknown-...``.
    """

    expression: str
    files: tuple[LicenceFile, ...]
    reviewed: bool = False

    @property
    def known(self) -> bool:
        """Whether every text is explained."""
        return bool(self.expression) and "LicenseRef-" not in self.expression


def applicable(files: Iterable[LicenceFile], linked: Iterable[str] | None) -> Licence:
    """The licence of a module of which the folders ``linked`` are in a program (None: not known, so all of them may be).

    Files of a folder apply to what is in it and below it. Several licences are joined with AND: a choice that a text offers is
    not taken, so that the expression asks for more rather than less.
    """
    folders = None if linked is None else set(linked)
    elsewhere = licencetext.reviewed().elsewhere
    kept = tuple(each for each in files if each.sha256 not in elsewhere and _covers(each.folder, folders))
    words = {word for each in kept if not each.notice for word in _words(each)}
    return Licence(" AND ".join(sorted(words)), kept)


def _covers(folder: str, linked: set[str] | None) -> bool:
    return not folder or linked is None or any(each == folder or each.startswith(folder + "/") for each in linked)


def _words(file: LicenceFile) -> Iterator[str]:
    yield from file.ids
    if file.unexplained:
        yield file.reference


# -- modules and source trees -------------------------------------------------------------------------------------


def of_tree(store: Store, root: Path, name: str) -> tuple[LicenceFile, ...]:
    """The licence files below ``root``, read anew unless the store knows them under ``name`` (a digest of the tree)."""
    known = known_files(store, name)
    if known is not None:
        return known
    found = tuple(_files(root))
    store.put_json(_CACHE, _entry(name), [[e.folder, e.name, e.sha256, e.notice, list(e.ids), e.unexplained] for e in found])
    return found


def known_files(store: Store, name: str) -> tuple[LicenceFile, ...] | None:
    """What the store knows of a tree; None where it has not been looked at under the rules of now."""
    known = store.get_json(_CACHE, _entry(name))
    if not isinstance(known, list):
        return None
    return tuple(LicenceFile(e[0], e[1], e[2], e[3], tuple(e[4]), e[5]) for e in known)


def _entry(name: str) -> str:
    """Names of refs are names of files: an ``h1:`` has slashes and case that matters, so it is spelled by its digest."""
    return f"{sha256_bytes(name.encode()).removeprefix('sha256:')}-{licencetext.rules()}"


def _files(root: Path) -> Iterator[LicenceFile]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        relative = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            path = Path(folder, name)
            if is_licence_name(name) and not path.is_symlink() and path.stat().st_size <= _MAX:
                yield _read("" if relative == "." else relative, name, path.read_bytes())


def is_licence_name(name: str) -> bool:
    """Whether a file is called as licences and notices are, and is no program or data."""
    return bool(_NAME.fullmatch(name)) and not _OTHER.fullmatch(name)


def _read(folder: str, name: str, data: bytes) -> LicenceFile:
    digest = sha256_bytes(data).removeprefix("sha256:")
    reading = licencetext.read_text(data.decode("utf-8", "replace"))
    whole = bool(reading.ids) and not reading.unexplained
    patents = name.lower().startswith("patents")
    if patents or _DOCUMENTATION.fullmatch(name) or (_NOTICE.fullmatch(name) and not whole):
        return LicenceFile(folder, name, digest, True, ())
    return LicenceFile(folder, name, digest, False, reading.ids, reading.unexplained[:400])


# -- Debian packages ----------------------------------------------------------------------------------------------


def of_package(root: Path, package: str) -> Licence:
    """What the package's copyright file says: machine-readable, or read by people under this very digest; else unknown."""
    path = copyright_file(root, package)
    if path is None:
        return Licence("", ())
    data = path.read_bytes()
    digest = sha256_bytes(data).removeprefix("sha256:")
    reviewed = licencetext.reviewed().copyrights.get((package, digest), "")
    expression = reviewed or licence_of_copyright(data.decode("utf-8", "replace"))
    ids: Sequence[str] = (expression,) if expression else ()
    unexplained = "" if expression else "not machine-readable"
    file = LicenceFile(f"usr/share/doc/{package}", "copyright", digest, False, tuple(ids), unexplained)
    return Licence(expression or file.reference, (file,), bool(reviewed))
