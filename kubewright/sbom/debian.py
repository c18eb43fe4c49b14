"""Debian packages of a builder's root: which of them a static library comes from, and what their copyright files say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from types import MappingProxyType
from typing import Final

from kubewright.building.inputs import root_name, unpack_packages
from kubewright.files.deb import data_tar, merged
from kubewright.files.tree import Limits
from kubewright.files.unpack import open_tar
from kubewright.project import Component, Project
from kubewright.report import Progress

_CACHE: Final = "static-libraries"
_OBJECT = re.compile(r".*\.(a|o)")

#: short names of the copyright format (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/#license-short-name)
#: and what else the archive uses -> SPDX
_SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "apache-2.0": "Apache-2.0",
        "artistic": "Artistic-1.0-Perl",
        "bsd-2-clause": "BSD-2-Clause",
        "bsd-3-clause": "BSD-3-Clause",
        "cc0-1.0": "CC0-1.0",
        "expat": "MIT",
        "isc": "ISC",
        "mpl-2.0": "MPL-2.0",
        "zlib": "Zlib",
    }
)
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d(?:\.\d)?)(\+?)(?: with (.+) exception)?", re.IGNORECASE)


def static_libraries(project: Project, component: Component, progress: Progress) -> dict[str, str]:
    """Path below the builder's root -> package, for every archive and object file of the locked packages."""
    name = root_name(component.locked_builder)
    known = project.store.get_json(_CACHE, name)
    if isinstance(known, dict):
        return {str(path): str(package) for path, package in known.items()}
    owners = dict(_owners(project, component, progress))
    project.store.put_json(_CACHE, name, owners)
    return owners


def _owners(project: Project, component: Component, progress: Progress) -> Iterator[tuple[str, str]]:
    packages, store = component.locked_builder.packages, project.store
    with store.scratch("packages") as scratch:
        if any(not store.has(f"sha256:{package.sha256}") for package in packages):
            unpack_packages(project, component.recipe.builder, packages, scratch / "root", progress)
        for package in packages:
            progress.update(f"looking for static libraries in {package.name}")
            deb = scratch / Path(package.path).name
            store.copy_out(f"sha256:{package.sha256}", deb)
            with data_tar(deb, Limits()) as stream, open_tar(stream, package.name) as tar:
                for member in tar:
                    if member.isfile() and _OBJECT.fullmatch(member.name):
                        yield merged(member.name), package.name
            deb.unlink()


# -- copyright files ----------------------------------------------------------------------------------------------


def copyright_file(root: Path, package: str) -> Path | None:
    """The package's copyright file; its folder may be a link to that of another package of the same source."""
    path = root / "usr/share/doc" / package / "copyright"
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except OSError:
        return None
    return path if inside and path.is_file() else None


def licence_of_copyright(text: str) -> str:
    """SPDX expression of a machine-readable copyright file: all licences that its files have. Empty for what is not
    machine-readable, or names a licence that has no SPDX id here."""
    paragraphs = [HeaderParser().parsestr(part) for part in re.split(r"\n[ \t]*\n", text)]
    if not paragraphs or "copyright-format/1.0" not in (paragraphs[0].get("Format") or ""):
        return ""
    of_code = [each for each in paragraphs if not _packaging(each.get("Files") or "debian/*")]
    names = {(each.get("License") or "").split("\n")[0].strip() for each in of_code}
    found = {expression for name in names for expression in [_expression(name)]}
    return "" if not found or "" in found else " AND ".join(sorted(found))


def _packaging(files: str) -> bool:
    """Whether a paragraph is about the packaging alone, of which nothing is linked."""
    return all(pattern.startswith("debian/") for pattern in files.split())


def _expression(short_names: str) -> str:
    """One ``License:`` line; ``or`` and ``and`` join short names. Empty when one of them is not known."""
    words = [word.strip() for word in re.split(r"\s+(and|or)\s+", short_names.replace(",", " "))]
    parts = [word.upper() if word in ("and", "or") else _spdx(word) for word in words]
    if "" in parts:
        return ""
    return f"({' '.join(parts)})" if "OR" in parts and len(parts) > 1 else " ".join(parts)


def _spdx(name: str) -> str:
    gnu = _GNU.fullmatch(name)
    if gnu is None:
        return _SHORT_NAMES.get(name.lower(), "")
    if gnu[4]:
        return ""  # exceptions have names of their own in SPDX
    version = gnu[2] if "." in gnu[2] else f"{gnu[2]}.0"
    return f"{gnu[1].upper()}-{version}-{'or-later' if gnu[3] else 'only'}"
