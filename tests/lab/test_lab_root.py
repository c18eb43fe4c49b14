"""A node's root: packages and declared data, the same bytes for the same input."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from kubewright.lab.root import BOOT, known_files, members, write_tar


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/mawk").write_bytes(b"awk")
    (tmp_path / "usr/bin/mawk").chmod(0o4755)
    (tmp_path / "usr/share").mkdir()
    (tmp_path / "usr/share/text").write_bytes(b"text")
    (tmp_path / "bin").symlink_to("usr/bin")
    return tmp_path


def written(root: Path) -> tuple[bytes, str]:
    out = io.BytesIO()
    digest = write_tar(members(root), out)
    return out.getvalue(), digest


def test_the_same_root_gives_the_same_bytes(root: Path) -> None:
    data, digest = written(root)
    (root / "usr/bin/mawk").touch()
    assert written(root) == (data, digest)
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest()


def test_no_name_is_there_twice(root: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(root)[0])) as archive:
        names = archive.getnames()
        assert len(names) == len(set(names))
        assert names == sorted(names)
        assert all(member.uid == member.mtime == 0 and not member.mode & 0o7000 for member in archive)


def test_scripts_leave_nothing_to_do(root: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(root)[0])) as archive:
        assert archive.getmember(BOOT.lstrip("/")).mode == 0o755
        assert archive.getmember("usr/bin/awk").linkname == "mawk"
        assert archive.getmember("etc/shadow").mode == 0o600
        passwd = archive.extractfile("etc/passwd")
        assert passwd is not None
        assert b"root:x:0:0:" in passwd.read()


def test_known_are_programs_of_packages_and_nothing_else(root: Path) -> None:
    found = json.loads(known_files(members(root), "lab-node"))
    assert found == {hashlib.sha256(b"awk").hexdigest(): "lab-node/usr/bin/mawk"}
