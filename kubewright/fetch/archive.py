"""The archive form of a source: a tar or zip at a URL, told by its first bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

from kubewright.errors import UnsafeArchiveError
from kubewright.files.tree import Limits, Written
from kubewright.files.unpack import expanded, extract_tar, extract_zip, open_tar, zip_time


def extract(path: Path, target: Path, *, strip: int = 1, limits: Limits | None = None) -> Written:
    """Unpack into a new or empty directory. Raises UnsafeArchiveError; then nothing is left in the target."""
    if _is_zip(path):
        return extract_zip(path, target, strip=strip, limits=limits)
    return extract_tar(path, target, strip=strip, limits=limits)


def newest_member(path: Path, *, limits: Limits | None = None) -> int:
    """Seconds since the epoch of the newest file in the archive: the date of its source. 0 when it holds none."""
    if _is_zip(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return max((zip_time(member) for member in archive.infolist() if not member.is_dir()), default=0)
        except zipfile.BadZipFile as error:
            raise UnsafeArchiveError(f"{path.name} is not a valid zip: {error}", remedy="fetch it again") from error
    with path.open("rb") as stream, open_tar(expanded(stream, path.name, limits or Limits()), path.name) as tar:
        return max((int(member.mtime) for member in tar if member.isreg()), default=0)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
