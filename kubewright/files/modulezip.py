"""Which files of a repository make up a Go module's zip, and the ``h1:`` they give.

Implements golang.org/x/mod/zip (``checkFiles``) and what the go command adds from the repository (``modfetch.codeRepo.Zip``:
a LICENSE from the repository's root), so that a git tree and an ``h1:`` of the checksum database can be checked against
each other. https://go.dev/ref/mod#zip-files
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from kubewright.errors import IntegrityError
from kubewright.files.digest import Content, Entry, dirhash, walk

MAX_ZIP: Final = 500 << 20
MAX_GO_MOD: Final = 16 << 20
MAX_LICENSE: Final = 16 << 20

_GO_LINE = re.compile(rb"^[ \t]*go[ \t]+\"?(\d+)\.(\d+)", re.MULTILINE)


def module_h1(tree: Path, module: str, version: str, subdirectory: str = "") -> str:
    """The ``h1:`` that a module has when it is made from a repository's tree on disk.

    ``subdirectory`` is where the module's go.mod stands in the repository. Raises IntegrityError when there is no module
    zip of it: the directory is missing, holds nothing, or is larger than a module may be.
    """
    files = module_files(tree, subdirectory)
    if not files:
        raise IntegrityError(
            f"{module}@{version}: the repository has no module files in {subdirectory or 'its root'!r}",
            remedy="set subdirectory of the source to the folder that holds the module's go.mod",
        )
    return dirhash((f"{module}@{version}/{name}", content) for name, content in files.items())


def module_files(tree: Path, subdirectory: str = "") -> Mapping[str, Content]:
    """Path in the module -> file on disk, for all files of the module's zip.

    Left out: nested modules, vendored packages, links and everything else that is not a file.
    """
    root = tree / subdirectory
    if not root.is_dir():
        return {}
    entries = [entry for entry in walk(root) if entry.kind == "file" and not entry.path.startswith(".git/")]
    nested = {folder for entry in entries if (folder := _module_folder(entry.path))}
    since_1_24 = go_version(root / "go.mod") >= (1, 24)
    kept = [entry for entry in entries if _belongs(entry.path, nested, since_1_24)]
    _check_sizes(kept)
    files: dict[str, Content] = {entry.path: root / entry.path for entry in kept}
    if subdirectory and not _exists(root / "LICENSE"):
        files |= _root_license(tree)
    return files


def go_version(go_mod: Path) -> tuple[int, int]:
    """The language version of a go.mod's go line; (0, 0) when there is none."""
    if not go_mod.is_file() or go_mod.is_symlink():
        return (0, 0)
    found = _GO_LINE.search(go_mod.read_bytes())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _belongs(path: str, nested: set[str], since_1_24: bool) -> bool:
    if _is_vendored(path, since_1_24) or path == ".hg_archival.txt":
        return False
    return not any(folder in nested for folder in _folders(path))


def _is_vendored(path: str, since_1_24: bool) -> bool:
    """Whether a file is in a vendored package. Modules before go 1.24 keep the rule's old mistakes, as Go does."""
    if since_1_24 and path == "vendor/modules.txt":
        return True
    if path.startswith("vendor/"):
        start = len("vendor/")
    elif (found := path.find("/vendor/")) >= 0:
        # golang.org/issue/37397: before 1.24 the place where the word was found did not count
        start = (found if since_1_24 else 0) + len("/vendor/")
    else:
        return False
    return "/" in path[start:]


def _module_folder(path: str) -> str:
    """``a/b`` for ``a/b/go.mod``, in any case of the file's name; nothing for the module's own."""
    folder, _, name = path.rpartition("/")
    return folder if name.lower() == "go.mod" else ""


def _folders(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _root_license(tree: Path) -> dict[str, Content]:
    """The LICENSE of the repository's root, which Go reads as a blob: of a link, that is the target's name."""
    path = tree / "LICENSE"
    if path.is_symlink():
        from kubewright.files.digest import link_target

        return {"LICENSE": link_target(path)}
    return {"LICENSE": path} if path.is_file() else {}


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _check_sizes(entries: list[Entry]) -> None:
    limits = {"go.mod": MAX_GO_MOD, "LICENSE": MAX_LICENSE}
    for entry in entries:
        if entry.size > limits.get(entry.path, MAX_ZIP):
            raise IntegrityError(f"{entry.path} has {entry.size} bytes, more than a Go module allows")
    total = sum(entry.size for entry in entries)
    if total > MAX_ZIP:
        raise IntegrityError(f"the module's files have {total} bytes, more than the {MAX_ZIP} that a Go module allows")
