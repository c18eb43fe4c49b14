"""What is in a bundle as ordinary files: DIR/{files,images.tar,manifests,release,stack,installer,licences,statements}.

Everything that is written was hashed on the way; the directory gets its name when all of it is there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kubewright.bundle.listing import Line, lines
from kubewright.disk import writing
from kubewright.errors import UsageError
from kubewright.files.unpack import extract_tar
from kubewright.model.stack import parse_stack
from kubewright.oci.errors import DocumentError
from kubewright.oci.image_archive import write_images
from kubewright.oci.model import CONTAINERD_NAME, REF_NAME, Descriptor
from kubewright.oci.reading import OpenLayout
from kubewright.verify.bundle_contents import is_relative
from kubewright.verify.pinned import new_copy

IMAGES_FILE: Final = "images.tar"
KINDS: Final = ("files", "images", "manifests", "release", "stack", "installer", "licences", "statements")

#: kind -> what ``listing`` calls the files' part
_FOLDERS: Final = {"component": "files", **{name: name for name in KINDS}}

#: a stack's file is a page of text
_MAX_STACK: Final = 1 << 20

Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Extracted:
    """How many files were written, and how many images are in images.tar."""

    files: int
    images: int


def extract(layout: OpenLayout, target: Path, kinds: frozenset[str], progress: Report = lambda done: None) -> Extracted:
    """Write what ``kinds`` names (of ``KINDS``) to the new directory ``target``. Raises UsageError, and what reading raises."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UsageError(f"{target} exists", remedy="name a new directory, or an empty one")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target.absolute().parent} is no directory", remedy="make it first")
    found = list(lines(layout, statements=True))
    parts = {line.name: line.what for line in found if not line.part}
    files = images = 0
    with writing(target, store=False), new_copy(target.absolute()) as folder:
        assert folder is not None
        for line in found:
            place = _place(line, parts, kinds)
            if place:
                files += 1
                with _refusing(layout.name, place):
                    _write(layout, line, folder / _checked(place, layout.name), progress)
        listed = [line for line in found if line.what == "image"]
        if "images" in kinds and listed:
            images = len(listed)
            _write_images(layout, list(_all_names(layout, found, listed)), folder / IMAGES_FILE, progress)
    return Extracted(files, images)


def _all_names(layout: OpenLayout, found: list[Line], images: list[Line]) -> Iterator[Descriptor]:
    """Each image by its reference, and by the further names that the stack has for it."""
    definition = next((line for line in found if line.part == "stack"), None)
    text = layout.read(definition.blob, _MAX_STACK).decode(errors="replace") if definition else ""
    stack = parse_stack(text, f"the stack in {layout.name}", DocumentError) if definition else None
    for line in images:
        yield line.blob
        for name in stack.names_of(line.name.removeprefix("images/")) if stack else ():
            annotations = {**line.blob.annotations, REF_NAME: name, CONTAINERD_NAME: name}
            yield replace(line.blob, annotations=annotations)


def _place(line: Line, parts: dict[str, str], kinds: frozenset[str]) -> str:
    """Where a file goes below the target; empty for what is not a file, or not wanted."""
    if line.what == "statement":
        return f"statements/{line.name}" if "statements" in kinds else ""
    if not line.part:
        return ""
    folder = _FOLDERS.get(parts.get(line.part, ""), "")
    if folder not in kinds:
        return ""
    inside = line.name.removeprefix("components/") if folder == "files" else line.name.removeprefix(line.part + "/")
    return f"{folder}/{inside}"


def _checked(place: str, name: str) -> str:
    if not is_relative(place):
        raise DocumentError(f"{name}: {place[:100]!r} does not stay below a directory", remedy="do not use this bundle")
    return place


@contextmanager
def _refusing(name: str, place: str) -> Iterator[None]:
    """Names that are no files beside each other: one twice, one that is also a folder, one that is too long."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
            raise
        message = f"{name}: {place[:100]!r} cannot be written: {error.strerror}"
        raise DocumentError(message, remedy="do not use this bundle") from None


def _write(layout: OpenLayout, line: Line, target: Path, progress: Report) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if line.what == "tree":
        with layout.open(line.blob) as stream:
            extract_tar(stream, target, origin=line.name)
            for _ in stream:
                pass  # to its end, where the digest is checked
        return
    with target.open("xb", buffering=0) as out, layout.open(line.blob) as stream:
        for piece in stream:
            view = memoryview(piece)
            while view:
                view = view[out.write(view) :]
            progress(len(piece))
        os.fchmod(out.fileno(), 0o755 if line.what == "program" else 0o644)
        os.fsync(out.fileno())


def _write_images(layout: OpenLayout, images: list[Descriptor], target: Path, progress: Report) -> None:
    with target.open("xb") as out:
        write_images(layout, images, out, progress)
        out.flush()
        os.fsync(out.fileno())
        os.fchmod(out.fileno(), 0o644)
