"""Layers: the same entries give the same bytes, in whatever order and from wherever they come."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.oci.errors import LayerError
from kubewright.oci.layer import Entry, complete, directory, file, link, write_layer
from kubewright.oci.source import FilePart

LONG = "usr/share/" + "n" * 120 + "/" + "m" * 130

ENTRIES = [
    file("usr/bin/program", b"\x7fELF program", 0o755),
    link("usr/bin/other", "program"),
    directory("tmp", 0o1777),
    file("etc/passwd", b"root:x:0:0:root:/root:/sbin/nologin\n"),
    file(LONG, b"a long name"),
    file("usr/share/ümlaut", b"not ASCII"),
    file("coredns", b"binds port 53", 0o755, capability=bytes.fromhex("0100000200040000000000000000000000000000")),
]


def made(entries: list[Entry], mtime: int = 1_700_000_000) -> bytes:
    out = io.BytesIO()
    written = write_layer(entries, out, mtime)
    assert written.digest == "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()
    assert written.size == len(out.getvalue())
    return out.getvalue()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = tar.getmembers()
    assert len({member.name for member in found}) == len(found), "a path is there twice"
    return {member.name: member for member in found}


def test_the_bytes_are_pinned() -> None:
    """A change of this digest changes the digest of every image: a decision, which raises IMAGE_PROCEDURE."""
    assert hashlib.sha256(made(ENTRIES)).hexdigest() == ("3486ca9d56637da04c5e171e58cef3b26c49dc053a6ad7df303bb2c061f7243e")


def test_order_does_not_matter() -> None:
    assert made(ENTRIES[::-1]) == made(ENTRIES)


def test_umask_and_time_zone_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(ENTRIES)
    before = os.umask(0o077)
    try:
        monkeypatch.setenv("TZ", "XYZ-13:45")
        assert made(ENTRIES) == first
    finally:
        os.umask(before)


def test_directories_above_are_there_once_and_before_what_they_hold() -> None:
    names = list(members(made(ENTRIES)))
    assert names.index("usr") < names.index("usr/bin") < names.index("usr/bin/program")
    assert names == sorted(names, key=lambda name: name.encode())


def test_owners_times_and_modes_are_fixed() -> None:
    for member in members(made(ENTRIES, mtime=77)).values():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 77)
    found = members(made(ENTRIES))
    assert {name: found[name].mode for name in ("tmp", "usr", "etc/passwd", "usr/bin/program")} == {
        "tmp": 0o1777,
        "usr": 0o755,
        "etc/passwd": 0o644,
        "usr/bin/program": 0o755,
    }


def test_a_capability_is_an_extended_attribute() -> None:
    header = members(made(ENTRIES))["coredns"].pax_headers["SCHILY.xattr.security.capability"]
    assert header.encode() == bytes.fromhex("0100000200040000000000000000000000000000")


def test_ordinary_entries_need_no_pax_header() -> None:
    data = made([file("etc/passwd", b"x"), link("a", "etc/passwd")])
    assert tarfile.XHDTYPE not in {data[at + 156 : at + 157] for at in range(0, len(data), 512)}


def test_a_part_of_a_file_is_content(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"0123456789")
    assert made([file("x", FilePart(tmp_path / "big", 2, 5))]) == made([file("x", b"23456")])
    assert made([file("x", FilePart(tmp_path / "big", 4))]) == made([file("x", b"456789")])


def test_other_bytes_than_said_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"other")
    digest = "sha256:" + hashlib.sha256(b"right").hexdigest()
    with pytest.raises(LayerError, match="'bin/a' has sha256:"):
        made([file("bin/a", FilePart(tmp_path / "a"), digest=digest)])


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([file("a", b"1"), file("a", b"2")], "'a' twice"),
        ([file("a", b"1"), directory("a")], "'a' twice"),
        ([link("usr/lib", "lib64"), file("usr/lib/x", b"")], "below 'usr/lib', which is a link"),
        ([file("a", b""), file("a/b", b"")], "below 'a', which is a file"),
        ([file("../etc/passwd", b"")], "not a relative path"),
        ([file("/etc/passwd", b"")], "not a relative path"),
        ([file("etc//passwd", b"")], "not a relative path"),
        ([file("etc/./passwd", b"")], "not a relative path"),
        ([directory("")], "not a relative path"),
        ([file("etc/.wh.passwd", b"")], "would remove a file"),
        ([directory(".wh..wh..opq/a")], "would remove a file"),
        ([file("bin/su", b"", 0o4755)], "setuid"),
        ([link("a", "")], "without a usable target"),
    ],
)
def test_what_cannot_be_a_layer_is_refused(entries: list[Entry], reason: str) -> None:
    with pytest.raises(LayerError, match=reason):
        complete(entries)


def test_the_same_entry_twice_is_one() -> None:
    assert made([directory("a"), directory("a"), file("b", b"")]) == made([directory("a"), file("b", b"")])


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@settings(deadline=None)  # the machine may have other work to do
@given(st.dictionaries(PATHS, st.binary(max_size=600), max_size=8), st.randoms())
def test_any_names_make_the_same_tar_or_are_refused(files: dict[str, bytes], shuffle: object) -> None:
    entries = [file(path, content) for path, content in files.items()]
    try:
        first = made(entries)
    except LayerError:
        return
    shuffle.shuffle(entries)  # type: ignore[attr-defined]
    assert made(entries) == first
    with tarfile.open(fileobj=io.BytesIO(first), encoding="utf-8") as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    assert found == files
