"""A bundle as one file: what ordinary tools make of it, its bytes, and every lie that it could tell."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from forge import Forgery, compressed, index_of
from layouts import a_layout

from kubewright.errors import KubewrightError
from kubewright.oci import archive_write, zstd
from kubewright.oci.archive import Archive, open_archive
from kubewright.oci.archive_errors import (
    ArchiveError,
    ArchiveIndexError,
    ArchiveReplacedError,
    ArchiveTruncatedError,
    DecompressorError,
    FrameError,
)
from kubewright.oci.archive_write import write_archive
from kubewright.oci.errors import BlobDamagedError, BlobExtraError, BlobMissingError
from kubewright.oci.layout import FilePart, Layout, write_directory
from kubewright.oci.model import EMPTY_CONFIG, MANIFEST, Descriptor, Index, Manifest
from kubewright.oci.seekable import FRAME, seek_table
from kubewright.oci.source import Source
from kubewright.oci.tarheader import BLOCK, header


def layout_of(*contents: bytes | Path) -> Layout:
    """An artifact with these files."""
    layers, blobs = [], dict[str, Source]({EMPTY_CONFIG.digest: b"{}"})
    for each in contents:
        data = each if isinstance(each, bytes) else each.read_bytes()
        layers.append(Descriptor.of("application/octet-stream", data))
        blobs[layers[-1].digest] = each if isinstance(each, bytes) else FilePart(each)
    manifest = Manifest(EMPTY_CONFIG, tuple(layers), artifact_type="application/vnd.example").to_bytes()
    found = Descriptor.of(MANIFEST, manifest)
    return Layout(Index((found,)).to_bytes(), {**blobs, found.digest: manifest})


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress."""
    return b"".join(hashlib.sha512(b"%d %d" % (seed, at)).digest() for at in range(-(-size // 64)))[:size]


def check(path: Path) -> None:
    with open_archive(path) as opened:
        opened.check()


@pytest.fixture(scope="module")
def layout() -> Layout:
    return layout_of(b"small\n", noise(3 << 20), b"one byte more than three frames" + bytes(3 * FRAME))


@pytest.fixture(scope="module")
def written(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "b.oci.tar.zst"
    write_archive(layout, path)
    return path


# -- the file -----------------------------------------------------------------------------------------------------


def test_ordinary_tools_read_it(layout: Layout, written: Path, tmp_path: Path) -> None:
    tar = tmp_path / "b.tar"
    with zstandard.ZstdDecompressor().stream_reader(written.open("rb"), read_across_frames=True) as stream:
        tar.write_bytes(stream.read())
    with tarfile.open(tar) as archive:
        archive.extractall(tmp_path / "out", filter="data")
        assert {(each.mode, each.uid, each.gid, each.mtime, each.uname) for each in archive} == {(0o644, 0, 0, 0, "")}
    write_directory(layout, tmp_path / "expected")
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "expected")


@pytest.mark.skipif(not shutil.which("zstd") or not shutil.which("tar"), reason="needs zstd and tar")
def test_the_programs_zstd_and_tar_read_it(layout: Layout, written: Path) -> None:
    pipe = f"zstd -tq {written} && zstd -dcq {written} | tar tf -"
    listed = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], capture_output=True, text=True, check=True)
    assert listed.stderr == ""
    blobs = [f"blobs/sha256/{digest[7:]}" for digest in sorted(layout.blobs)]
    assert listed.stdout.split() == ["oci-layout", "index.json", *blobs]


def test_it_reads_back(layout: Layout, written: Path) -> None:
    with open_archive(written) as opened:
        opened.check()
        assert sum(1 for _ in opened.walk()) == len(layout.blobs)


def test_the_table_at_its_end_is_that_of_the_seekable_format(written: Path) -> None:
    """Read by the specification alone: each frame is where it says, holds what it says, and begins with a member."""
    data = written.read_bytes()
    count, descriptor, magic = struct.unpack("<IBI", data[-9:])
    assert (descriptor, magic) == (0, 0x8F92EAB1)
    table = data[-17 - 8 * count :]
    assert struct.unpack("<II", table[:8]) == (0x184D2A5E, 9 + 8 * count)
    offset, sizes = 0, [struct.unpack_from("<II", table, 8 + 8 * number) for number in range(count)]
    for size, length in sizes[:-1]:
        assert len(zstandard.ZstdDecompressor().decompress(data[offset : offset + size])) == length <= FRAME
        offset += size
    assert sizes[-1] == (len(data) - len(table) - offset, 0), "the index is a skippable frame"
    starts = {name: first for name, _, _, first in index_of(written)["members"]}
    for name, first in starts.items():
        begin = sum(size for size, _ in sizes[:first])
        assert zstandard.ZstdDecompressor().decompress(data[begin : begin + sizes[first][0]]).startswith(name.encode())


def test_equal_content_gives_equal_bytes(layout: Layout, written: Path, tmp_path: Path) -> None:
    """In another place, with another number of workers, umask and order of the blobs."""
    before = os.umask(0o077)
    try:
        other = Layout(layout.index, dict(reversed(layout.blobs.items())))
        said = write_archive(other, tmp_path / "deep" / "c.oci.tar.zst", workers=5)
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "c.oci.tar.zst").read_bytes() == written.read_bytes()
    assert said.digest == "sha256:" + hashlib.sha256(written.read_bytes()).hexdigest()
    assert said.size == written.stat().st_size
    assert (tmp_path / "deep" / "c.oci.tar.zst").stat().st_mode & 0o777 == 0o644


def test_the_bytes_are_those_of_the_pinned_compressor(written: Path) -> None:
    """Golden: a change of these is a change of every bundle there is."""
    assert zstandard.ZSTD_VERSION == archive_write.ZSTD
    assert hashlib.sha256(written.read_bytes()).hexdigest() == GOLDEN


GOLDEN = "284d4483bfd97de07aac64b54d921350923bc4c959ee7c36da77687d2869f2a6"


def test_another_compressor_is_refused(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_write, "ZSTD", (1, 5, 4))
    with pytest.raises(DecompressorError, match=r"bundles are written with 1\.5\.4"):
        write_archive(layout, tmp_path / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, FRAME - 512, FRAME - 511, FRAME, 2 * FRAME - 512, 2 * FRAME + 7])
def test_every_size_fits(size: int, tmp_path: Path) -> None:
    write_archive(layout_of(bytes(size)), tmp_path / "b")
    check(tmp_path / "b")


# -- writing that fails -------------------------------------------------------------------------------------------


def test_a_source_with_other_bytes_leaves_the_old_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"as it was")
    wanted = layout_of(source)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "b"
    target.write_bytes(b"old")
    for content in (b"changed!!", b"shorter", b"longer than before"):
        source.write_bytes(content)
        with pytest.raises(BlobDamagedError, match="is not blobs/sha256/"):
            write_archive(wanted, target)  # the size is read first: what grows while it is read is met as well
    assert target.read_bytes() == b"old"
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["b"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A tmpfs of 2 MB in a mount namespace, where there is one."""
    code = """
import sys; sys.path[:0] = [{tests!r}]
from pathlib import Path
from test_oci_archive import layout_of, noise
from kubewright.oci.archive_write import write_archive
from kubewright.errors import StoreError
target = Path("/mnt/b")
write_archive(layout_of(b"old"), target)
old = target.read_bytes()
try:
    write_archive(layout_of(noise(4 << 20)), target)
except StoreError as error:
    assert "no space left" in error.message, error.message
else:
    raise SystemExit("it was written")
assert target.read_bytes() == old
assert [each.name for each in Path("/mnt").iterdir()] == ["b"]
"""
    script = tmp_path / "full.py"
    script.write_text(code.format(tests=str(Path(__file__).parent)))
    words = [
        "unshare",
        "-m",
        "bash",
        "-c",
        'mount -t tmpfs -o size=2m none /mnt && exec "$@"',
        "-",
        sys.executable,
        str(script),
    ]
    if not shutil.which("unshare") or os.geteuid() != 0:
        pytest.skip("needs unshare and root")
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """100 kills at random moments; the next writer sweeps what they left."""
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "b"
    write_archive(layout_of(b"old"), target)
    old = target.read_bytes()
    final = layout_of(*[noise(300_000, at) for at in range(8)])
    write_archive(final, tmp_path / "new")
    new = (tmp_path / "new").read_bytes()
    seen = {"old": 0, "new": 0, "left": 0}
    # forked from one process that has imported everything: the moments are those of writing
    forker = f"""
import os, random, signal, sys, time; sys.path[:0] = [{str(Path(__file__).parent)!r}]
from pathlib import Path
from test_oci_archive import layout_of, noise
from kubewright.oci.archive_write import write_archive
layout, target = layout_of(*[noise(300_000, at) for at in range(8)]), Path({str(target)!r})
start = time.monotonic(); write_archive(layout, target.with_name("timed")); took = time.monotonic() - start
target.with_name("timed").unlink()
old = {old!r}
new = {str(tmp_path / "new")!r}
for number in range(100):
    target.write_bytes(old)
    child = os.fork()
    if not child:
        write_archive(layout, target)
        os._exit(0)
    time.sleep(random.Random(number).uniform(0, 1.1 * took))
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
    data = target.read_bytes()
    state = "old" if data == old else "new" if data == open(new, "rb").read() else "torn"
    print(state, len(list(target.parent.iterdir())) - 1)
write_archive(layout, target)
"""
    result = subprocess.run([sys.executable, "-c", forker], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert len(lines) == 100
    for state, left in lines:
        seen[state] += 1
        seen["left"] += left != "0"
    assert seen["old"] > 10, seen
    assert seen["left"] > 10, "kills that were in the middle"
    assert target.read_bytes() == new
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["b"]


# -- reading: lies ------------------------------------------------------------------------------------------------


def forged(tmp_path: Path, change: Callable[[Forgery], object]) -> Path:
    forgery = Forgery.of(a_layout())
    change(forgery)
    return forgery.write(tmp_path / "forged")


def test_the_forger_forges_what_is_accepted(tmp_path: Path) -> None:
    check(forged(tmp_path, lambda forgery: None))


def _set(forgery: Forgery, member: int, field: int, value: object) -> None:
    forgery.members[member][field] = value


def _swap(items: list[list[object]], one: int, other: int) -> None:
    items[one], items[other] = items[other], items[one]


LIES: dict[str, tuple[type[KubewrightError], Callable[[Forgery], object]]] = {
    "a member that is not there": (ArchiveIndexError, lambda f: f.members.append(["blobs/sha256/" + "0" * 64, 0, 9999, 9])),
    "a member that is left out": (ArchiveIndexError, lambda f: f.members.pop()),
    "a member twice": (ArchiveIndexError, lambda f: f.members.insert(3, list(f.members[2]))),
    "another name": (BlobMissingError, lambda f: _set(f, 2, 0, "blobs/sha256/" + "0" * 64)),
    "a name that leads out": (ArchiveIndexError, lambda f: _set(f, 2, 0, "../../etc/passwd")),
    "a name that is no digest": (ArchiveIndexError, lambda f: _set(f, 2, 0, "blobs/sha256/" + "A" * 64)),
    "a larger size": (ArchiveIndexError, lambda f: _set(f, 2, 1, f.members[2][1] + 512)),
    "a size in the padding": (BlobDamagedError, lambda f: _set(f, 2, 1, f.members[2][1] + 1)),
    "a negative size": (ArchiveIndexError, lambda f: _set(f, 2, 1, -1)),
    "a size that is true": (ArchiveIndexError, lambda f: _set(f, 0, 2, False)),
    "another offset": (ArchiveIndexError, lambda f: _set(f, 3, 2, 0)),
    "another frame": (ArchiveIndexError, lambda f: _set(f, 3, 3, 2)),
    "members in another order": (ArchiveIndexError, lambda f: _swap(f.members, 2, 3)),
    "frames in another order": (ArchiveIndexError, lambda f: _swap(f.frames, 3, 4)),
    "no members": (ArchiveIndexError, lambda f: f.members.clear()),
    "an unknown key": (ArchiveIndexError, lambda f: f.extra.update(more=1)),
    "another version": (ArchiveError, lambda f: setattr(f, "version", 2)),
    "a version that is true": (ArchiveError, lambda f: setattr(f, "version", True)),
    "an index that is no JSON": (ArchiveIndexError, lambda f: setattr(f, "index", skip(compressed(b"[")))),
    "an index that is too deep": (ArchiveIndexError, lambda f: setattr(f, "index", skip(compressed(b"[" * 90 + b"]" * 90)))),
    "an index that is no frame": (FrameError, lambda f: setattr(f, "index", skip(b"nonsense"))),
    "an index that is a bomb": (FrameError, lambda f: setattr(f, "index", skip(compressed(bytes(9 << 20))))),
    "no index": (ArchiveIndexError, lambda f: setattr(f, "index", compressed(b"{}"))),
    "bytes behind the table": (ArchiveError, lambda f: setattr(f, "tail", b"\0")),
    "a second table": (ArchiveTruncatedError, lambda f: setattr(f, "tail", seek_table([(10, 10), (10, 0)]))),
    "an empty frame": (FrameError, lambda f: f.frames.__getitem__(1).__setitem__(0, b"")),
    "a frame that is a bomb": (FrameError, lambda f: f.frames.__setitem__(3, [bomb(1 << 30), f.frames[3][1]])),
    "a frame said to be a bomb": (FrameError, lambda f: f.frames.__setitem__(3, [bomb(1 << 30), 1 << 30])),
    "a frame with less": (FrameError, lambda f: f.frames[3].__setitem__(0, compressed(b"short"))),
    "two frames as one": (FrameError, lambda f: f.frames[3].__setitem__(0, f.frames[3][0] + compressed(b"more"))),
    "a frame and a skippable one": (FrameError, lambda f: f.frames[3].__setitem__(0, f.frames[3][0] + skip(b"hidden"))),
    "a frame cut off": (FrameError, lambda f: f.frames[3].__setitem__(0, f.frames[3][0][:-1])),
    "a frame that is skippable": (FrameError, lambda f: f.frames[3].__setitem__(0, skip(bytes(40)))),
    "a frame without its size": (FrameError, lambda f: f.frames[3].__setitem__(0, streamed(f.content(3)))),
    "no frame": (FrameError, lambda f: f.frames[3].__setitem__(0, b"\0" * 30)),
    "something in the padding": (ArchiveIndexError, lambda f: f.put(3, f.content(3)[:-1] + b"x")),
    "something at the tar's end": (ArchiveIndexError, lambda f: f.put(-1, header("more", 0) + bytes(512))),
    "a longer end": (ArchiveIndexError, lambda f: f.put(-1, bytes(1536))),
    "another header": (ArchiveIndexError, lambda f: f.put(3, header("evil", f.members[3][1]) + f.content(3)[BLOCK:])),
    "a link in the tar": (ArchiveIndexError, lambda f: f.put(3, f.content(3)[:156] + b"2" + f.content(3)[157:])),
    "another mode": (ArchiveIndexError, lambda f: f.put(3, f.content(3)[:100] + b"0004755" + f.content(3)[107:])),
}


def skip(data: bytes) -> bytes:
    return struct.pack("<II", 0x184D2A5B, len(data)) + data


def bomb(size: int) -> bytes:
    """A frame of blocks that repeat one byte: 4 bytes for each 128 KiB."""
    blocks = size >> 17
    body = b"".join(struct.pack("<I", (131072 << 3) | 2 | (at == blocks - 1))[:3] + b"\0" for at in range(blocks))
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", size & 0xFFFFFFFF) + body


def streamed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_an_error(lie: str, tmp_path: Path) -> None:
    error, change = LIES[lie]
    path = forged(tmp_path, change)
    start = time.process_time()
    with pytest.raises(error) as found:
        check(path)
    assert type(found.value) is error
    assert found.value.message.startswith(str(path))
    assert time.process_time() - start < 1


def test_a_frame_that_holds_more_than_it_says_ends_early(tmp_path: Path) -> None:
    """Its header and the table agree on a small size; its blocks are a bomb of 4 GB."""
    lie = bomb(4 << 30)
    for name, make in zstd.BACK_ENDS.items():
        back_end = make()
        if back_end is None:
            continue
        size = 1 << 20
        frame = lie[:5] + struct.pack("<I", size) + lie[9:]
        start = time.process_time()
        with pytest.raises(FrameError):
            back_end(frame, size)
        assert time.process_time() - start < 1, name


def test_overlapping_frames_are_refused(written: Path, tmp_path: Path) -> None:
    """The table moves the border of two frames: the sums stay right, and neither of the two is a frame any more."""
    data = bytearray(written.read_bytes())
    count = int.from_bytes(data[-9:-5], "little")
    table = len(data) - 17 - 8 * count + 8
    for number, change in ((2, 3), (3, -3)):
        at = table + 8 * number
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + change).to_bytes(4, "little")
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(FrameError):
        check(tmp_path / "b")


@pytest.mark.parametrize("keep", [0, 1, 8, 9, 100, -1, -9, -100, -2000])
def test_a_file_that_is_cut_off_is_refused(keep: int, written: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(written.read_bytes()[:keep])
    with pytest.raises(ArchiveError, match=re.escape(str(tmp_path / "b"))):
        check(tmp_path / "b")


def test_every_byte_counts(tmp_path: Path) -> None:
    """Each single byte of a small file, changed: an error of ours, whatever it hits, and never the layout as it was."""
    write_archive(a_layout(), tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    path = tmp_path / "bad"
    accepted = []
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            check(path)
        except KubewrightError:
            continue
        accepted.append(at)
    assert not accepted, f"of {len(data)}"


def test_a_blob_that_is_missing_extra_or_swapped_is_met(tmp_path: Path) -> None:
    layout = a_layout()
    other = {digest: data for digest, data in layout.blobs.items() if digest != sorted(layout.blobs)[1]}
    write_archive(Layout(layout.index, other), tmp_path / "b")
    with pytest.raises(BlobMissingError):
        check(tmp_path / "b")
    more = "sha256:" + hashlib.sha256(b"more").hexdigest()
    write_archive(Layout(layout.index, {**layout.blobs, more: b"more"}), tmp_path / "b")
    with pytest.raises(BlobExtraError):
        check(tmp_path / "b")

    def swap(forgery: Forgery) -> None:
        content = forgery.content(3)
        size = forgery.members[3][1]
        forgery.put(3, content[:BLOCK] + b"x" * size + content[BLOCK + size :])

    with pytest.raises(BlobDamagedError):
        check(forged(tmp_path, swap))


def test_a_file_that_is_written_to_meanwhile_is_noticed(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(written.read_bytes())
    with Archive(path) as archive:
        archive.recheck()
        with path.open("r+b") as file:
            file.write(b"x")
        with pytest.raises(ArchiveReplacedError):
            archive.recheck()


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        with pytest.raises(ArchiveError):
            check(path)


# -- decompressors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zstd.BACK_ENDS)
def test_every_back_end_gives_the_same_and_refuses_the_same(name: str) -> None:
    back_end = zstd.BACK_ENDS[name]()
    if back_end is None:
        pytest.skip("not on this machine")
    for data in (b"", b"x", noise(100_000), bytes(FRAME)):
        for options in ({"write_checksum": True}, {"write_checksum": False}):
            assert bytes(back_end(compressed(data, **options), len(data))) == data
    packed = bytearray(compressed(noise(50_000), write_checksum=True))
    packed[-1] ^= 1
    with pytest.raises(FrameError):
        back_end(bytes(packed), 50_000)


def test_the_module_of_python_3_14_is_used_as_it_is_documented() -> None:
    backport = pytest.importorskip("backports.zstd")
    back_end = zstd._class_of(backport)
    data = noise(100_000)
    assert back_end(compressed(data), len(data)) == data
    with pytest.raises(FrameError):
        back_end(compressed(data), len(data) - 2)
    with pytest.raises(FrameError):
        back_end(compressed(data, write_checksum=True)[:-4] + b"xxxx", len(data))


def test_without_any_zstd_the_remedy_says_what_to_do(monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    monkeypatch.setattr(zstd, "BACK_ENDS", {name: lambda: None for name in zstd.BACK_ENDS})
    zstd._best.cache_clear()
    try:
        with pytest.raises(DecompressorError) as found:
            check(written)
        assert "libzstd1" in found.value.remedy
    finally:
        zstd._best.cache_clear()


# -- memory and time ----------------------------------------------------------------------------------------------


def test_memory_is_flat_and_ls_does_not_read_the_file(tmp_path: Path) -> None:
    """A layout with a file of 1 GB (a hole): written, listed and checked in less than 256 MB."""
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.truncate(1 << 30)
    digest = hashlib.sha256()
    for _ in range(1 << 10):
        digest.update(bytes(1 << 20))
    code = f"""
import re, sys, time; sys.path[:0] = [{str(Path(__file__).parent)!r}]
from pathlib import Path
from kubewright.oci.archive import open_archive
from kubewright.oci.archive_write import write_archive
from kubewright.oci.layout import FilePart, Layout
from kubewright.oci.model import EMPTY_CONFIG, MANIFEST, Descriptor, Index, Manifest
hole = Descriptor("application/octet-stream", "sha256:{digest.hexdigest()}", 1 << 30)
manifest = Manifest(EMPTY_CONFIG, (hole,), artifact_type="application/vnd.example").to_bytes()
found = Descriptor.of(MANIFEST, manifest)
blobs = {{hole.digest: FilePart(Path({str(hole)!r})), found.digest: manifest, EMPTY_CONFIG.digest: b"{{}}"}}
path = Path({str(tmp_path / "b")!r})
write_archive(Layout(Index((found,)).to_bytes(), blobs), path)
start = time.process_time()
with open_archive(path) as opened:
    list(opened.walk())
    listed = time.process_time() - start
    opened.check()
print(listed, re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    listed, peak = result.stdout.split()
    assert float(listed) < 0.2
    assert int(peak) * 1024 < 256 << 20


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
