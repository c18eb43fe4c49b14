from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.errors import UnsafeArchiveError
from kubewright.files.digest import tree_digest, walk
from kubewright.files.tree import Limits
from kubewright.files.unpack import extract_tar, extract_zip

Member = tuple[str, bytes] | tarfile.TarInfo


def member(name: str, kind: bytes, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def build_tar(members: list[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for item in members:
            if isinstance(item, tarfile.TarInfo):
                tar.addfile(item)
            else:
                info = tarfile.TarInfo(item[0])
                info.size, info.mtime = len(item[1]), 1_000_000
                tar.addfile(info, io.BytesIO(item[1]))
    return out.getvalue()


def build_zip(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(name, data)
    return path


def unix(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


# -- tar ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_every_compression_and_format_unpacks_alike(tmp_path: Path, pack: Callable[[bytes], bytes], form: int) -> None:
    long = "top/" + "d" * 90 + "/" + "f" * 90
    run = member("top/run", tarfile.REGTYPE, mode=0o4755)
    data = build_tar([("top/a", b"1"), (long, b"2" * 70_000), run, member("top/l", tarfile.SYMTYPE, "a")], form)
    (tmp_path / "a.tar").write_bytes(pack(data))
    written = extract_tar(tmp_path / "a.tar", tmp_path / "t", strip=1)
    assert [entry.path for entry in walk(tmp_path / "t")] == ["a", "d" * 90, long.removeprefix("top/"), "l", "run"]
    assert (tmp_path / "t" / "run").stat().st_mode & 0o7777 == 0o755
    assert (written.files, written.newest) == (4, 1_000_000)


HOSTILE: dict[str, list[Member]] = {
    "parent": [("../x", b"")],
    "absolute": [("/x", b"")],
    "parent before strip": [("top/../../x", b"")],
    "link out": [member("l", tarfile.SYMTYPE, "../..")],
    "absolute link": [member("l", tarfile.SYMTYPE, "/etc/passwd")],
    "write through link": [member("l", tarfile.SYMTYPE, "."), ("l/x", b"")],
    "hard link out": [member("h", tarfile.LNKTYPE, "../../etc/passwd")],
    "hard link to a link": [member("l", tarfile.SYMTYPE, "x"), member("h", tarfile.LNKTYPE, "l")],
    "hard link before its file": [member("h", tarfile.LNKTYPE, "f"), ("f", b"")],
    "block device": [member("d", tarfile.BLKTYPE)],
    "character device": [member("d", tarfile.CHRTYPE)],
    "pipe": [member("p", tarfile.FIFOTYPE)],
    "same file twice": [("f", b"1"), ("f", b"2")],
    "file, then link": [("f", b"1"), member("f", tarfile.SYMTYPE, "x")],
    "file, then directory": [("f", b"1"), ("f/x", b"")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_tar_is_refused_by_name_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    (tmp_path / "evil.tar").write_bytes(build_tar([("fine", b"x"), *HOSTILE[case]]))
    with pytest.raises(UnsafeArchiveError, match=r"^evil\.tar: member "):
        extract_tar(tmp_path / "evil.tar", tmp_path / "in" / "t", strip=0)
    assert [entry.path for entry in walk(tmp_path)] == ["evil.tar", "in"]


def test_names_are_checked_before_they_are_stripped(tmp_path: Path) -> None:
    (tmp_path / "evil.tar").write_bytes(build_tar([("../x/y", b"")]))
    with pytest.raises(UnsafeArchiveError, match=r"'\.\./x/y'"):
        extract_tar(tmp_path / "evil.tar", tmp_path / "t", strip=2)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(build_tar([("a\udcffb", b"")], tarfile.GNU_FORMAT))
    with pytest.raises(UnsafeArchiveError, match="not UTF-8"):
        extract_tar(tmp_path / "a.tar", tmp_path / "t")


def test_a_bomb_stops_at_its_ratio(tmp_path: Path) -> None:
    (tmp_path / "bomb.tar.xz").write_bytes(lzma.compress(build_tar([("zeros", bytes(200 << 20))]), preset=0))
    with pytest.raises(UnsafeArchiveError, match=r"bomb\.tar\.xz unpacks to .* bytes and more from"):
        extract_tar(tmp_path / "bomb.tar.xz", tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_tar_stops_at_its_size_and_at_its_number_of_members(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(build_tar([(f"f{number}", b"x" * 1000) for number in range(20)]))
    with pytest.raises(UnsafeArchiveError, match="'f10' is too large"):
        extract_tar(tmp_path / "a.tar", tmp_path / "t", limits=Limits(bytes=10_500))
    with pytest.raises(UnsafeArchiveError, match="more than 5 members"):
        extract_tar(tmp_path / "a.tar", tmp_path / "t", limits=Limits(members=5))


def test_a_header_cannot_fill_the_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 3 << 30
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(UnsafeArchiveError, match="a tar header of 3221225472 bytes"):
        extract_tar(tmp_path / "a.tar", tmp_path / "t")


HALF = lzma.compress(build_tar([("f", b"x" * 9999)]))[:-40]


@pytest.mark.parametrize("data", [b"", b"not a tar", gzip.compress(b"x", mtime=0), HALF])
def test_what_is_no_archive_or_half_of_one_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(UnsafeArchiveError, match=r"a\.tar is damaged or not an archive"):
        extract_tar(tmp_path / "a.tar", tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_zstd_is_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    with pytest.raises(UnsafeArchiveError, match="compressed with zstd"):
        extract_tar(tmp_path / "a.tar.zst", tmp_path / "t")


@settings(deadline=None)
@given(st.binary(max_size=600), st.integers(0, 2000))
def test_a_damaged_tar_is_an_error_of_ours_or_unpacks(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    good = build_tar([("a", b"1" * 600), member("l", tarfile.SYMTYPE, "a")])
    (folder / "a.tar").write_bytes(good[:place] + noise + good[place + len(noise) :])
    try:
        extract_tar(folder / "a.tar", folder / "t")
    except UnsafeArchiveError:
        assert not (folder / "t").exists()


# -- zip ----------------------------------------------------------------------------------------------------------


def test_a_zip_unpacks_below_its_prefix(tmp_path: Path) -> None:
    path = build_zip(
        tmp_path / "m.zip",
        [("m@v1/a", b"1"), ("m@v1/d/", b""), (unix("m@v1/d/run", 0o100755), b"2"), (unix("m@v1/l", stat.S_IFLNK), b"d/run")],
    )
    extract_zip(path, tmp_path / "t", prefix="m@v1/")
    assert [(entry.path, entry.kind, entry.executable) for entry in walk(tmp_path / "t")] == [
        ("a", "file", False),
        ("d", "directory", False),
        ("d/run", "file", True),
        ("l", "link", False),
    ]
    extract_zip(path, tmp_path / "s", strip=1, executable=lambda name: name == "a")
    assert [entry.path for entry in walk(tmp_path / "s") if entry.executable] == ["a"]


@pytest.mark.parametrize(
    "bad",
    [
        ("other/x", b""),
        ("m@v1/../x", b""),
        ("m@v1//../../x", b""),
        ("m@v1/a", b"twice"),
        ("m@v1/a/b", b"file as directory"),
        (unix("m@v1/l", stat.S_IFLNK), b"../../x"),
        (unix("m@v1/l", stat.S_IFLNK), b"/etc/passwd"),
        (unix("m@v1/p", stat.S_IFIFO), b""),
        ("m@v1/nul\0x", b""),
    ],
)
def test_a_hostile_zip_is_refused_by_name_and_leaves_nothing(tmp_path: Path, bad: tuple[str | zipfile.ZipInfo, bytes]) -> None:
    path = build_zip(tmp_path / "evil.zip", [("m@v1/a", b"fine"), bad])
    if isinstance(bad[0], str) and "\0" in bad[0]:  # zipfile does not write it
        path.write_bytes(path.read_bytes().replace(b"m@v1/nul", b"m@v1/n\0l"))
    with pytest.raises(UnsafeArchiveError, match=r"^evil\.zip: member "):
        extract_zip(path, tmp_path / "t", prefix="m@v1/")
    assert [entry.path for entry in walk(tmp_path)] == ["evil.zip"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = build_zip(tmp_path / "bomb.zip", [("zeros", bytes(100 << 20))])
    with pytest.raises(UnsafeArchiveError, match=r"bomb\.zip unpacks to 104857600 bytes and more"):
        extract_zip(path, tmp_path / "t")


def test_a_zip_whose_content_is_damaged_is_said(tmp_path: Path) -> None:
    path = build_zip(tmp_path / "m.zip", [("a", bytes(range(256)) * 50)])
    data = bytearray(path.read_bytes())
    data[60:64] = b"\0\xff\0\xff"
    path.write_bytes(data)
    with pytest.raises(UnsafeArchiveError, match=r"m\.zip is damaged"):
        extract_zip(path, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_tar_and_zip_of_one_tree_unpack_to_one_digest(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(build_tar([("d/a", b"1"), ("d/ü", b"2")]))
    build_zip(tmp_path / "a.zip", [("d/ü", b"2"), ("d/a", b"1")])
    extract_tar(tmp_path / "a.tar", tmp_path / "tar")
    extract_zip(tmp_path / "a.zip", tmp_path / "zip")
    assert tree_digest(tmp_path / "tar") == tree_digest(tmp_path / "zip")
