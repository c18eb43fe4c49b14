"""The archive form of a source: a tar or zip at a URL, told by its first bytes."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from kubewright.fetch.http import redact
from kubewright.files.tree import Limits, Written
from kubewright.files.unpack import extract_tar, extract_zip


def extract(path: Path, target: Path, *, strip: int = 1, limits: Limits | None = None) -> Written:
    """Unpack into a new or empty directory. Raises UnsafeArchiveError; then nothing is left in the target."""
    if _is_zip(path):
        return extract_zip(path, target, strip=strip, limits=limits)
    return extract_tar(path, target, strip=strip, limits=limits)


def file_name(url: str) -> str:
    """What to call a downloaded archive, so that errors name it."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", PurePosixPath(redact(url)).name).lstrip(".-") or "archive"


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
