"""A bundle in parts: what media can do to it, and how it comes together again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundlebuilder import BundleBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.bundle.parts import join, load_parts, split
from kubewright.errors import UsageError
from kubewright.oci.archive_errors import ArchiveError, PartsError

SIZE = 3000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = BundleBuilder(tmp_path_factory.mktemp("whole"))
    made.write()
    return made.file


@pytest.fixture
def manifest(whole: Path, tmp_path: Path) -> Path:
    return split(whole, SIZE, tmp_path / "parts")


def part(manifest: Path, number: int) -> Path:
    return manifest.parent / load_parts(manifest).pieces[number - 1].name


def edit(manifest: Path, **changes: Any) -> None:
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changes}))


# -- together again -----------------------------------------------------------------------------------------------


def test_parts_make_the_file_again(whole: Path, manifest: Path, tmp_path: Path) -> None:
    parts = load_parts(manifest)
    assert len(parts.pieces) == -(-whole.stat().st_size // SIZE) > 5
    join(manifest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()
    (tmp_path / "folder").mkdir()
    join(manifest, tmp_path / "folder")
    assert [each.name for each in (tmp_path / "folder").iterdir()] == [whole.name]


def test_cat_makes_the_file_again(whole: Path, manifest: Path) -> None:
    parts = sorted(manifest.parent.glob("*.part-*"))
    assert b"".join(each.read_bytes() for each in parts) == whole.read_bytes()


def test_what_sha256sum_says_is_in_the_manifest(manifest: Path) -> None:
    for piece in load_parts(manifest).pieces:
        data = (manifest.parent / piece.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (piece.size, piece.sha256)


def test_one_part_is_enough_for_a_small_file(whole: Path, tmp_path: Path) -> None:
    manifest = split(whole, 1 << 40, tmp_path / "parts")
    assert len(load_parts(manifest).pieces) == 1
    join(manifest, tmp_path / "again")


def test_parts_may_come_on_several_media(whole: Path, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for number in (2, 4):
        shutil.move(part(manifest, number), tmp_path / "other")
    join(manifest, tmp_path / "again", [tmp_path / "nowhere", tmp_path / "other"])
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()


def test_one_medium_after_the_other(whole: Path, manifest: Path, tmp_path: Path) -> None:
    """With --available, each run joins what is there and says what is needed next; joined parts are not needed again."""
    stick, drawer = tmp_path / "stick", tmp_path / "drawer"
    stick.mkdir()
    drawer.mkdir()
    for each in manifest.parent.glob("*.part-*"):
        each.rename(drawer / each.name)
    pieces = [piece.name for piece in load_parts(manifest).pieces]
    for at in range(0, len(pieces), 2):
        for name in pieces[at : at + 2]:
            (drawer / name).rename(stick / name)
        if at + 2 >= len(pieces):
            join(manifest, tmp_path / "again", [stick], available=True)
        else:
            with pytest.raises(PartsError, match=pieces[at + 2]):
                join(manifest, tmp_path / "again", [stick], available=True)
        for name in pieces[at : at + 2]:
            (stick / name).unlink()
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()


# -- what is wrong ------------------------------------------------------------------------------------------------


def test_a_missing_part_is_said_before_anything_is_written(manifest: Path, tmp_path: Path) -> None:
    part(manifest, 3).unlink()
    part(manifest, 5).unlink()
    with pytest.raises(PartsError, match=r"part-0003, .*part-0005 of"):
        join(manifest, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    growing = [each for each in tmp_path.iterdir() if each.name.endswith(".joining")]
    assert all(each.stat().st_size == 0 for each in growing)


def test_a_part_that_is_cut_off_is_said_before_anything_is_written(manifest: Path, tmp_path: Path) -> None:
    path = part(manifest, 4)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PartsError, match="bytes of"):
        join(manifest, tmp_path / "again")


def test_parts_that_changed_places_are_named(manifest: Path, tmp_path: Path) -> None:
    one, other = part(manifest, 2), part(manifest, 3)
    first, last = one.read_bytes(), other.read_bytes()
    one.write_bytes(last)
    other.write_bytes(first)
    with pytest.raises(PartsError, match=r"part-0002 has the content of .*part-0003"):
        join(manifest, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_part_of_another_bundle_is_refused_and_what_was_joined_stays(whole: Path, manifest: Path, tmp_path: Path) -> None:
    path = part(manifest, 4)
    good = path.read_bytes()
    path.write_bytes(good[::-1])
    with pytest.raises(PartsError, match="part-0004 is damaged, or a part of another bundle"):
        join(manifest, tmp_path / "again")
    for number in (1, 2, 3):
        part(manifest, number).unlink()  # joined already
    path.write_bytes(good)
    join(manifest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()


def test_what_somebody_did_to_the_growing_file_is_noticed(whole: Path, manifest: Path, tmp_path: Path) -> None:
    last = part(manifest, len(load_parts(manifest).pieces))
    kept = last.read_bytes()
    last.write_bytes(bytes(len(kept)))
    with pytest.raises(PartsError):
        join(manifest, tmp_path / "again")
    growing = tmp_path / ".again.joining"
    data = bytearray(growing.read_bytes())
    data[SIZE + 5] ^= 1  # in the second part
    growing.write_bytes(bytes(data) + b"more")
    last.write_bytes(kept)
    join(manifest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()


LIES: dict[str, dict[str, Any]] = {
    "another version": {"version": 2},
    "a name that leads out": {"name": "../x"},
    "another name": {"name": "x"},
    "no parts": {"parts": []},
    "another size": {"size": 1},
    "a size that is true": {"size": True},
    "another digest": {"sha256": "0" * 64},
    "a digest in capitals": {"sha256": "A" * 64},
    "an unknown key": {"more": 1},
    "parts that are no list": {"parts": {}},
    "a part that leads out": {"parts": [{"name": "../x", "size": 1, "sha256": "0" * 64}]},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_refused(lie: str, manifest: Path, tmp_path: Path) -> None:
    edit(manifest, **LIES[lie])
    with pytest.raises(PartsError):
        join(manifest, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_manifest_of_anything_is_an_error_of_ours(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "b.parts.json")
        path.write_bytes(data)
        with pytest.raises(PartsError):
            load_parts(path)


def test_what_is_no_bundle_is_not_split(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 5000)
    with pytest.raises(ArchiveError):
        split(tmp_path / "x", 1000, tmp_path / "parts")
    with pytest.raises(UsageError):
        split(tmp_path, 1000, tmp_path / "parts")
    with pytest.raises(UsageError, match="in parts of 1 are more than"):
        split(whole, 1, tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


# -- kills --------------------------------------------------------------------------------------------------------


def test_joining_survives_kills(whole: Path, tmp_path: Path) -> None:
    """Killed 30 times at random moments, each run goes on; the last one gives the file."""
    manifest = split(whole, 500, tmp_path / "parts")
    code = f"""
import os, sys, time
from pathlib import Path
from kubewright.bundle import parts
from kubewright.bundle.parts import join
print("ready", flush=True)
join(Path({str(manifest)!r}), Path({str(tmp_path / "again")!r}), progress=lambda done: time.sleep(0.001))
"""
    for number in range(30):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.Random(number).uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        if (tmp_path / "again").exists():
            break
    join(manifest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again", "parts"]


def test_two_joins_at_once_give_one_file(whole: Path, manifest: Path, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from kubewright.bundle.parts import join
join(Path({str(manifest)!r}), Path({str(tmp_path / "again")!r}))
"""
    runs = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0], [run.stderr and run.stderr.read() for run in runs]
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()


def test_splitting_leaves_no_manifest_before_all_parts_are_there(whole: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int) -> None:
        if len(list((tmp_path / "parts").iterdir())) > 3:
            raise StopError

    with pytest.raises(StopError):
        split(whole, 3000, tmp_path / "parts", stop)
    assert not list((tmp_path / "parts").glob("*.json"))
    assert not list((tmp_path / "parts").glob(".*"))


# -- what somebody prepared -----------------------------------------------------------------------------------------


def pieces(manifest: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the list of parts."""
    found = json.loads(manifest.read_text())["parts"]
    change(found)
    edit(manifest, parts=found)


PIECES: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "a part twice": lambda parts: parts.insert(1, dict(parts[0])),
    "a part twice under the next name": lambda parts: parts.insert(1, {**parts[0], "name": parts[1]["name"]}),
    "parts in another order": lambda parts: parts.reverse(),
    "a part left out": lambda parts: parts.pop(1),
    "a name that leads out": lambda parts: parts[0].update(name="../" + parts[0]["name"]),
    "a name from the root": lambda parts: parts[0].update(name="/etc/passwd"),
    "a name with a zero": lambda parts: parts[0].update(name=parts[0]["name"] + "\0"),
    "a size that is larger": lambda parts: parts[0].update(size=parts[0]["size"] + 1),
    "a size that is huge": lambda parts: parts[0].update(size=1 << 60),
    "a size that is too large for 64 bits": lambda parts: parts[0].update(size=1 << 70),
    "a size that is negative": lambda parts: parts[0].update(size=-1),
    "a size that is nothing": lambda parts: parts[0].update(size=0),
    "a size that is true": lambda parts: parts[0].update(size=True),
    "a size with a point": lambda parts: parts[0].update(size=float(parts[0]["size"])),
    "sizes that make up for each other": lambda parts: (
        parts[0].update(size=parts[0]["size"] + 1),
        parts[1].update(size=parts[1]["size"] - 1),
    ),
    "ten thousand parts": lambda parts: parts.extend([parts[0]] * 10_000),
    "an unknown key in a part": lambda parts: parts[0].update(path="x"),
}


@pytest.mark.parametrize("lie", PIECES)
def test_a_list_of_parts_that_lies_writes_nothing(lie: str, manifest: Path, tmp_path: Path) -> None:
    pieces(manifest, PIECES[lie])
    with pytest.raises(PartsError):
        join(manifest, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    growing = tmp_path / ".again.joining"
    assert not growing.exists() or growing.stat().st_size == 0


def test_a_whole_of_nothing_does_not_take_the_place_of_a_file(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "again").write_bytes(b"kept")
    edit(manifest, parts=[], size=0, sha256=hashlib.sha256(b"").hexdigest())
    with pytest.raises(PartsError):
        join(manifest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"kept"


@pytest.mark.parametrize("way", ["a link", "a second name", "a pipe", "a folder"])
def test_what_grows_is_a_file_of_ours(way: str, manifest: Path, tmp_path: Path) -> None:
    """Joined on the medium itself, whoever prepared it must not choose which file is cut off and written to."""
    victim, growing = tmp_path / "victim", manifest.parent / ".again.joining"
    victim.write_bytes(b"precious")
    {"a link": lambda: growing.symlink_to(victim), "a second name": lambda: growing.hardlink_to(victim),
     "a pipe": lambda: os.mkfifo(growing), "a folder": lambda: growing.mkdir()}[way]()  # fmt: skip
    with pytest.raises(PartsError, match="nothing of ours"):
        join(manifest, manifest.parent / "again")
    assert victim.read_bytes() == b"precious"


def test_a_link_to_nowhere_is_not_followed_either(manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / ".again.joining").symlink_to(tmp_path / "made")
    with pytest.raises(PartsError, match="nothing of ours"):
        join(manifest, manifest.parent / "again")
    assert not (tmp_path / "made").exists()


def test_a_link_at_the_target_is_replaced_and_not_followed(whole: Path, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "again").symlink_to(tmp_path / "victim")
    join(manifest, tmp_path / "again")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "again").is_symlink()
    assert (tmp_path / "again").read_bytes() == whole.read_bytes()


def test_a_folder_at_the_target_is_an_error_of_ours(whole: Path, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / whole.name).mkdir()
    with pytest.raises(PartsError, match="is a folder"):
        join(manifest, tmp_path)


def test_a_part_that_is_a_link_elsewhere_says_nothing_of_what_is_there(manifest: Path, tmp_path: Path) -> None:
    path = part(manifest, 2)
    (tmp_path / "secret").write_bytes(b"s3cret" * 500)
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    assert (tmp_path / "secret").stat().st_size == SIZE
    with pytest.raises(PartsError, match="is damaged, or a part of another bundle") as found:
        join(manifest, tmp_path / "again")
    assert "s3cret" not in str(found.value)
    assert b"s3cret" not in (tmp_path / ".again.joining").read_bytes()


@pytest.mark.parametrize("way", ["a pipe", "a folder", "a link to a device"])
def test_a_manifest_or_part_that_is_no_file_does_not_keep_anybody_waiting(way: str, manifest: Path, tmp_path: Path) -> None:
    make: Callable[[Path], object] = {
        "a pipe": os.mkfifo, "a folder": Path.mkdir, "a link to a device": lambda path: path.symlink_to("/dev/zero")
    }[way]  # fmt: skip
    path = part(manifest, 2)
    path.unlink()
    make(path)
    with pytest.raises(PartsError, match="part-0002 of"):
        join(manifest, tmp_path / "again")
    manifest.unlink()
    make(manifest)
    with pytest.raises(PartsError):
        join(manifest, tmp_path / "again")
