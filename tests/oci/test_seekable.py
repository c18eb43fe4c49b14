"""The outside of a bundle file as pure functions: what goes in comes out, and bytes of anybody are errors of ours."""

from __future__ import annotations

import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import a_layout

from kubewright.errors import KubewrightError
from kubewright.oci.archive import open_archive
from kubewright.oci.archive_errors import ArchiveError, FrameError
from kubewright.oci.archive_write import write_archive
from kubewright.oci.seekable import FRAME, TAIL, check_frame, frame_length, parse_table, seek_table, table_size
from kubewright.oci.tarheader import LARGEST, header

FRAMES = st.lists(st.tuples(st.integers(1, 1 << 20), st.integers(0, FRAME)), min_size=2, max_size=50)


@settings(deadline=None)
@given(FRAMES)
def test_a_table_reads_back(frames: list[tuple[int, int]]) -> None:
    table = seek_table(frames)
    size = sum(each for each, _ in frames) + len(table)
    assert table_size(table[-TAIL:], size) == len(table)
    found = parse_table(table, size)
    assert [(each.size, each.length) for each in found] == frames
    assert [each.offset for each in found] == [sum(each for each, _ in frames[:at]) for at in range(len(frames))]
    for wrong in (size - 1, size + 1):
        with pytest.raises(ArchiveError):
            parse_table(table, wrong)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 1 << 40))
def test_a_table_of_anything_is_an_error_of_ours_or_a_table(data: bytes, size: int) -> None:
    for tail in (data[-TAIL:], data[-TAIL - 4 : -4] + b"\xb1\xea\x92\x8f"):
        with suppress(ArchiveError):
            length = table_size(tail, size)
            parse_table(data[-length:].rjust(length, b"\0"), size)


@settings(deadline=None)
@given(st.binary(max_size=5000), st.integers(1, 12), st.booleans())
def test_every_frame_that_zstd_makes_of_known_content_passes(data: bytes, level: int, checksum: bool) -> None:
    frame = zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(data)
    check_frame(frame, len(data))
    assert frame_length(frame) == len(data)
    for other in (frame + b"\0", frame[:-1], frame + frame):
        with pytest.raises(FrameError):
            check_frame(other, len(data))
    with pytest.raises(FrameError):
        check_frame(frame, len(data) + 1)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_a_frame_of_anything_is_an_error_of_ours(data: bytes) -> None:
    for each in (data, b"\x28\xb5\x2f\xfd" + data):
        for check in (lambda frame: check_frame(frame, 10), frame_length):
            with suppress(FrameError):
                check(each)


@settings(deadline=None)
@given(st.integers(0, LARGEST), st.text("abcdef0123456789-.", min_size=1, max_size=100))
def test_a_header_is_one_that_python_s_tarfile_reads(size: int, name: str) -> None:
    found = tarfile.TarInfo.frombuf(header(name, size), "ascii", "strict")  # it checks the sum
    assert (found.name, found.size, found.mode, found.mtime, found.uid, found.type) == (name, size, 0o644, 0, 0, b"0")


EDITS = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "double", "zero", "swap"]), st.floats(0, 1), st.integers(1, 64)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(EDITS)
def test_a_file_after_any_edits_is_refused_or_the_same(edits: list[tuple[str, float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "b")
        write_archive(a_layout(), path)
        good = data = path.read_bytes()
        for kind, where, length in edits:
            at = int(where * len(data))
            piece = data[at : at + length]
            changed = {
                "flip": bytes(each ^ 0x55 for each in piece),
                "cut": b"",
                "double": piece + piece,
                "zero": bytes(len(piece)),
                "swap": piece[::-1],
            }[kind]
            data = data[:at] + changed + data[at + length :]
        path.write_bytes(data)
        try:
            with open_archive(path) as layout:
                layout.check()
        except KubewrightError:
            return
        assert data == good
