"""Whose index it is: the one that this store wrote last at a place, or one that the site's key has signed.

An index decides what is carried on without being compared with a pin again, and then signed: so not anybody's will do.
"""

from __future__ import annotations

from pathlib import Path

from kubewright.errors import MirrorIndexError
from kubewright.fetch.mirror import INDEX
from kubewright.fetch.mirrorindex import Index, parse
from kubewright.files.digest import sha256_bytes, sha256_hex
from kubewright.mirror import statement
from kubewright.project import Project

_REF = "mirror"


def _name(root: Path) -> str:
    return sha256_hex(sha256_bytes(str(root.resolve()).encode("utf-8", "surrogateescape")))


def remember(project: Project, root: Path, data: bytes) -> None:
    """Note that this index was written here."""
    project.store.set_ref(_REF, _name(root), sha256_bytes(data))


def ours(project: Project, root: Path, data: bytes) -> bool:
    """Whether an index is the one written here last, or signed with the site's key."""
    if project.store.ref(_REF, _name(root)) == sha256_bytes(data):
        return True
    return project.settings.signing_key is not None and _signed(project, root, data)


def _signed(project: Project, root: Path, data: bytes) -> bool:
    from kubewright.trust.unlock import signing_key

    try:
        name, made = statement.sign(parse(data, INDEX), data, signing_key(project.settings))  # the same bytes, every time
    except MirrorIndexError:
        return False
    return (root / name).is_file() and (root / name).read_bytes() == made


def sign(project: Project, root: Path, index: Index, data: bytes) -> str:
    """Write the signed statement where a key is set; gives the file's name, or nothing."""
    if project.settings.signing_key is None:
        return ""
    from kubewright.trust.setfolder import put
    from kubewright.trust.unlock import signing_key

    name, signed = statement.sign(index, data, signing_key(project.settings))
    put(root / name, signed)
    return name
