"""The files of a commit in a bare repository, from raw objects, checked down to the last byte.

The commit's data must give its id, and the files written must give the tree's id: a repository that was changed on disk
is noticed, whichever object it was.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kubewright.errors import IntegrityError, OriginError
from kubewright.fetch.gitcommand import program
from kubewright.files.digest import git_object_id, git_tree_id
from kubewright.files.modulezip import module_h1
from kubewright.files.tree import TreeWriter, new_tree
from kubewright.files.unpack import extract_tar

if TYPE_CHECKING:
    from git.cmd import Git

_SUBMODULE: Final = "160000"
_LFS: Final = b"version https://git-lfs.github.com/spec/v1\n"
_LFS_MOST: Final = 1024  # bytes of a pointer file, by its specification


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit whose files were written: ids of commit and tree, committer date in seconds since the epoch."""

    commit: str
    tree: str
    date: int


@dataclass(frozen=True, slots=True)
class _File:
    mode: str
    blob: str
    path: str


class DamagedError(Exception):
    """The repository on disk does not have what it should."""


def export(
    repository: Path,
    commit: str,
    target: Path,
    tree: str = "",
    *,
    allow_submodules: bool = False,
    allow_lfs: bool = False,
    links: str = "inside",
) -> Commit:
    """Write a commit's files into a new or empty directory, byte for byte as git stores them; modes 0644 and 0755.

    ``tree`` is the pinned tree (empty: none yet). Raises IntegrityError for another tree, OriginError for submodules
    and Git LFS pointers unless allowed (then: an empty directory, the pointer itself), UnsafeArchiveError for links that
    lead out of the tree unless ``links="any"``.
    """
    git = program(repository)
    try:
        found = _commit(git, commit)
        if tree and found.tree != tree:
            raise IntegrityError(
                f"commit {commit} has the tree {found.tree}, the lock says {tree}",
                remedy="one of the two lines in lockfile.toml was changed: restore it, or lock the component again",
            )
        files = _files(git, found.tree)
        with new_tree(target):
            with TreeWriter(target, f"commit {commit[:12]}", links=links) as writer:
                for file in files:
                    _write(git, file, writer, allow_submodules, allow_lfs)
            _check_tree(target, found.tree, files)
    except (ValueError, LookupError, BrokenPipeError) as error:  # GitPython's words for an object that is not right
        raise DamagedError(str(error)) from error
    finally:
        git.clear_cache()
    return found


def _commit(git: Git, commit: str) -> Commit:
    _, kind, _, data = git.get_object_data(commit)
    if git_object_id("commit", data) != commit or kind not in ("commit", b"commit"):
        raise ValueError(f"object {commit} is not the commit of that name")
    header = dict(line.split(b" ", 1) for line in data.split(b"\n\n", 1)[0].split(b"\n") if b" " in line)
    return Commit(commit, header[b"tree"].decode(), int(header[b"committer"].rsplit(b" ", 2)[1]))


def _files(git: Git, tree: str) -> list[_File]:
    from git.exc import GitCommandError

    try:
        listing = git.execute(["git", "ls-tree", "-r", "-z", "--full-tree", tree], stdout_as_string=False)
    except GitCommandError as error:
        raise ValueError(f"tree {tree} cannot be listed") from error
    assert isinstance(listing, bytes)
    files = []
    for record in listing.split(b"\0"):
        if record:
            facts, _, path = record.partition(b"\t")
            mode, _, blob = facts.decode("ascii").split(" ")
            files.append(_File(mode, blob, path.decode("utf-8", "surrogateescape")))
    return files


def links_to_commits(repository: Path, commit: str) -> list[tuple[str, str]]:
    """(path, commit) of each submodule of a commit. Raises DamagedError."""
    git = program(repository)
    try:
        return [(file.path, file.blob) for file in _files(git, _commit(git, commit).tree) if file.mode == _SUBMODULE]
    except (ValueError, LookupError, BrokenPipeError) as error:
        raise DamagedError(str(error)) from error
    finally:
        git.clear_cache()


def _write(git: Git, file: _File, writer: TreeWriter, allow_submodules: bool, allow_lfs: bool) -> None:
    if file.mode == _SUBMODULE:
        if not allow_submodules:
            raise OriginError(
                f"{writer.origin} has a submodule at {file.path!r} (commit {file.blob})",
                remedy="its files are not part of this repository: set submodules = true in the source, or name that repository"
                " as a source of its own in the recipe",
            )
        writer.directory(file.path)
        return
    _, _, size, content = git.stream_object_data(file.blob)
    if file.mode == "120000":
        writer.link(file.path, content.read(size).decode("utf-8", "surrogateescape"))
    elif size > _LFS_MOST:
        writer.file(file.path, content, executable=file.mode == "100755")
    else:
        data = content.read(size)
        if data.startswith(_LFS) and not allow_lfs:
            raise OriginError(
                f"{writer.origin} has {file.path!r} in Git LFS, so the repository does not hold its content",
                remedy="fetch that file as a source of the form archive",
            )
        writer.file(file.path, io.BytesIO(data), executable=file.mode == "100755")


def _check_tree(target: Path, tree: str, files: list[_File]) -> None:
    found = git_tree_id(target, {file.path: file.blob for file in files if file.mode == _SUBMODULE})
    if found != tree:
        raise ValueError(f"the files give the tree {found}, the commit says {tree}")


def archived_h1(repository: Path, commit: str, module: str, version: str, subdirectory: str, scratch: Path) -> str:
    """The ``h1:`` of a module at a commit the way the go command sees the files: through ``git archive``.

    That applies line-end attributes (``eol=crlf``) of the repository, which ``export`` does not, so this is the second
    thing to compare with an ``h1:`` when ``module_h1`` of the exported tree differs. ``scratch`` is a new directory.
    """
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info" / "attributes").write_text("* -export-subst -export-ignore\n")  # as the go command has it
    scratch.mkdir(parents=True)
    packed = scratch / "archive.tar"
    settings = ["-c", "core.autocrlf=input", "-c", "core.eol=lf"]
    program(repository).execute(["git", *settings, "archive", "--format=tar", f"--output={packed}", commit])
    extract_tar(packed, scratch / "tree", links="any")
    return module_h1(scratch / "tree", module, version, subdirectory)
