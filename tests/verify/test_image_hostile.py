"""Image layouts of anybody, given to `kubewright verify`: refused with an error of ours, in a moment; nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from imageset import ImageSet

from kubewright.errors import KubewrightError
from kubewright.oci.model import INDEX, MANIFEST
from kubewright.verify.command import Arguments, verify

Attack = Callable[[Path, Path], object]


@pytest.fixture
def made(tmp_path: Path) -> ImageSet:
    return ImageSet(tmp_path)


def index_of(layout: Path, **changes: Any) -> None:
    """Change the one entry of index.json."""
    path = layout / "index.json"
    value = json.loads(path.read_text())
    value["manifests"][0].update(changes)
    path.write_text(json.dumps(value))


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
    make(path)


def blob(layout: Path, at: int) -> Path:
    """The blobs, the smallest first."""
    return sorted((layout / "blobs/sha256").iterdir(), key=lambda each: (each.stat().st_size, each.name))[at]


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as out:
        out.truncate(size)


def move_and_link(path: Path, to: Path) -> None:
    shutil.move(path, to)
    path.symlink_to(to)


def listed(layout: Path, count: int) -> None:
    value = json.loads((layout / "index.json").read_text())
    value["manifests"] *= count
    (layout / "index.json").write_text(json.dumps(value))


def nothing(digest: str) -> Attack:
    return lambda layout, elsewhere: index_of(layout, digest=digest)


ATTACKS: dict[str, Attack] = {
    "an index that is a link": lambda layout, elsewhere: move_and_link(layout / "index.json", elsewhere),
    "an index that is a pipe": lambda layout, elsewhere: instead(layout / "index.json", os.mkfifo),
    "an index that is a folder": lambda layout, elsewhere: instead(layout / "index.json", Path.mkdir),
    "an index of a terabyte": lambda layout, elsewhere: sparse(layout / "index.json", 1 << 40),
    "an index that is deep": lambda layout, elsewhere: (layout / "index.json").write_bytes(b"[" * 100_000),
    "an index without end": lambda layout, elsewhere: (layout / "index.json").write_bytes(b'{"' + b'\\"' * 1_000_000),
    "an index of nothing": lambda layout, elsewhere: (layout / "index.json").write_bytes(b""),
    "an index that lists nothing": lambda layout, elsewhere: listed(layout, 0),
    "an index that lists it twice": lambda layout, elsewhere: listed(layout, 2),
    "an index that lists it ten thousand times": lambda layout, elsewhere: listed(layout, 10_000),
    "an index with an unknown key": lambda layout, elsewhere: index_of(layout, more=1),
    "an index with another size": lambda layout, elsewhere: index_of(layout, size=1),
    "an index with a size that is true": lambda layout, elsewhere: index_of(layout, size=True),
    "an index that lists an index": lambda layout, elsewhere: index_of(layout, mediaType=INDEX),
    "an index that lists a layer": lambda layout, elsewhere: index_of(layout, mediaType=MANIFEST + "x"),
    "an index with an address": lambda layout, elsewhere: index_of(layout, urls=["http://127.0.0.1/"]),
    "an index with data in it": lambda layout, elsewhere: index_of(layout, data="e30="),
    "a digest that leads out": nothing("sha256:../../../secret"),
    "a digest of another kind": nothing("sha512:" + "0" * 128),
    "a digest in capitals": nothing("sha256:" + "A" * 64),
    "a digest of nothing": nothing("sha256:" + "0" * 64),
    "another name": lambda layout, elsewhere: index_of(layout, annotations={"org.opencontainers.image.ref.name": "evil"}),
    "another layout version": lambda layout, elsewhere: (layout / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}'),
    "a marker that is a link": lambda layout, elsewhere: move_and_link(layout / "oci-layout", elsewhere),
    "a blob that is a link": lambda layout, elsewhere: move_and_link(blob(layout, -1), elsewhere),
    "a blob that is a pipe": lambda layout, elsewhere: instead(blob(layout, -1), os.mkfifo),
    "a blob that is a device": lambda layout, elsewhere: instead(blob(layout, -1), lambda path: path.symlink_to("/dev/zero")),
    "a blob of a terabyte": lambda layout, elsewhere: sparse(blob(layout, -1), 1 << 40),
    "a blob that is missing": lambda layout, elsewhere: blob(layout, -1).unlink(),
    "a blob that is cut off": lambda layout, elsewhere: blob(layout, -1).write_bytes(b"x"),
    "a blob too many": lambda layout, elsewhere: (layout / "blobs/sha256" / ("0" * 64)).write_bytes(b"x"),
    "two blobs swapped": lambda layout, elsewhere: swap(blob(layout, 0), blob(layout, -1)),
    "blobs that lie elsewhere": lambda layout, elsewhere: move_and_link(layout / "blobs/sha256", elsewhere),
    "all of it elsewhere": lambda layout, elsewhere: move_and_link(layout / "blobs", elsewhere),
    "blobs under another algorithm": lambda layout, elsewhere: (layout / "blobs/sha512").mkdir(),
    "a file too many": lambda layout, elsewhere: (layout / "manifest.json").write_text("[]"),
}


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("place", ["in its set", "alone"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_layout(attack: str, place: str, made: ImageSet, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    layout = made.layout
    if place == "alone":
        layout = tmp_path / "alone"
        shutil.move(made.layout, layout)
    arguments = Arguments(layout, made.policy, made.attestations, made.release, tmp_path / "copy")
    ATTACKS[attack](layout, tmp_path / "elsewhere")
    start = time.process_time()
    with pytest.raises(KubewrightError) as found:
        verify(arguments)
    assert time.process_time() - start < 5
    assert "secret" not in found.value.message.replace("../secret", "")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("place", ["in its set", "alone"])
def test_its_untouched_twin(place: str, made: ImageSet, tmp_path: Path) -> None:
    layout = made.layout
    if place == "alone":
        layout = tmp_path / "alone"
        shutil.move(made.layout, layout)
    assert "verified: 6 artifacts" in verify(Arguments(layout, made.policy, made.attestations, made.release))
