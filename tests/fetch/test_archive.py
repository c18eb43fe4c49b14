from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from kubewright.errors import UnsafeArchiveError
from kubewright.fetch import archive
from kubewright.files.digest import walk


def build(path: Path, form: str) -> Path:
    if form == "zip":
        with zipfile.ZipFile(path, "w") as out:
            out.writestr(zipfile.ZipInfo("top/a", (2020, 1, 2, 3, 4, 6)), b"1")
            out.writestr(zipfile.ZipInfo("top/d/b", (2019, 1, 1, 0, 0, 0)), b"2")
        return path
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, time in (("top/a", 1_577_934_246), ("top/d/b", 1_546_300_800)):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 1, time
            tar.addfile(info, io.BytesIO(b"1"))
    path.write_bytes(gzip.compress(data.getvalue()))
    return path


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_the_form_is_told_by_the_bytes_and_the_date_by_the_newest_file(tmp_path: Path, form: str) -> None:
    path = build(tmp_path / "archive", form)  # as the store has it: without a suffix
    written = archive.extract(path, tmp_path / "t", strip=1)
    assert [entry.path for entry in walk(tmp_path / "t")] == ["a", "d", "d/b"]
    assert written.newest == 1_577_934_246


def test_a_zip_behind_a_tar_is_a_tar(tmp_path: Path) -> None:
    """zipfile finds a zip at the end of anything: the first bytes decide, so that nobody can show two contents."""
    tar, zipped = build(tmp_path / "t", "tar.gz"), build(tmp_path / "z", "zip")
    (tmp_path / "both").write_bytes(gzip.decompress(tar.read_bytes()) + zipped.read_bytes())
    written = archive.extract(tmp_path / "both", tmp_path / "out")
    assert (written.files, written.newest) == (2, 1_577_934_246)


@pytest.mark.parametrize("data", [b"<html>not found</html>", b"", b"PK\x03\x04 and no more"])
def test_what_is_no_archive_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(UnsafeArchiveError, match=r"^a is "):
        archive.extract(tmp_path / "a", tmp_path / "t")
    assert not (tmp_path / "t").exists()
