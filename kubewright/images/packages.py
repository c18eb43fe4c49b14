"""Layers of Debian packages: their files without documentation, and with what says whose they are and under which licence.

No maintainer script is run. What is left out: manual pages, translations, documentation but the copyright file, and what only
dpkg or a shell's completion reads. What is added: the package's control paragraph as /var/lib/dpkg/status.d/NAME, where
scanners look for the packages of an image without dpkg.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from kubewright.errors import IntegrityError
from kubewright.files.deb import control_file, data_tar, merged
from kubewright.files.digest import link_target, walk
from kubewright.files.tree import Limits, TreeWriter, new_tree
from kubewright.files.unpack import write_tar
from kubewright.oci.layer import Entry, directory, file, link
from kubewright.oci.source import FilePart

BUNDLE: Final = "etc/ssl/certs/ca-certificates.crt"

_LEFT_OUT: Final = re.compile(
    r"usr/share/(man|locale|info|lintian|bug|reportbug|doc-base|bash-completion|zsh|fish|menu|gdb|pkgconfig)(/.*)?"
)
#: a package's folder may be a link to that of another one of the same source
_DOCUMENTATION: Final = re.compile(r"usr/share/doc/[^/]+/(?!copyright$).+")
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII)


def place(name: str) -> str:
    """Where a package's path lands in an image with merged /usr; '' for what is left out."""
    path = merged(name)
    return "" if _LEFT_OUT.fullmatch(path) or _DOCUMENTATION.fullmatch(path) else path


def package_entries(deb: Path, name: str, scratch: Path) -> list[Entry]:
    """The entries of a package's layer; its files are unpacked into the new directory ``scratch``, which has to stay."""
    limits = Limits()
    with (
        new_tree(scratch),
        TreeWriter(scratch, deb.name, links="any", limits=limits) as writer,
        data_tar(deb, limits) as stream,
    ):
        write_tar(stream, writer, place)
    entries = [file(f"var/lib/dpkg/status.d/{name}", control_file(deb))]
    for each in walk(scratch):
        path = scratch / each.path
        if each.kind == "directory":
            entries.append(directory(each.path))
        elif each.kind == "link":
            entries.append(link(each.path, link_target(path).decode("utf-8", "surrogateescape")))
        else:
            entries.append(file(each.path, FilePart(path), 0o755 if each.executable else 0o644))
    return entries


def certificate_entries(deb: Path, scratch: Path) -> list[Entry]:
    """The authorities' certificates of the package ca-certificates as one file, as its maintainer script would make it with all
    of them accepted; and the package's copyright file. Raises IntegrityError when there are none."""
    entries = {entry.path: entry for entry in package_entries(deb, "ca-certificates", scratch)}
    certificates = sorted(path for path in entries if path.startswith("usr/share/ca-certificates/") and path.endswith(".crt"))
    if not certificates:
        raise IntegrityError(
            f"{deb.name} has no certificates in usr/share/ca-certificates", remedy="lock another version of it"
        )
    bundle = b"".join(_one_certificate(scratch / path) for path in certificates)
    kept = [entries[path] for path in ("usr/share/doc/ca-certificates/copyright", "var/lib/dpkg/status.d/ca-certificates")]
    return [file(BUNDLE, bundle), *kept]


def _one_certificate(path: Path) -> bytes:
    data = path.read_bytes().strip()
    if not _CERTIFICATE.fullmatch(data):
        raise IntegrityError(
            f"{path.name} in ca-certificates is not one certificate in PEM", remedy="lock another version of it"
        )
    return data + b"\n"
