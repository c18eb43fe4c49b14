"""A bundle of either form, opened: as one file or as a directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubewright.errors import UsageError
from kubewright.oci.archive import open_archive
from kubewright.oci.reading import OpenLayout, open_directory


@contextmanager
def open_layout(path: Path) -> Iterator[OpenLayout]:
    """The layout at ``path``. Raises UsageError where there is nothing, and what opening it raises."""
    if not path.exists():
        raise UsageError(f"there is no {path}", remedy="name a bundle: a .oci.tar.zst file or a layout's directory")
    with open_directory(path) if path.is_dir() else open_archive(path) as layout:
        yield layout
