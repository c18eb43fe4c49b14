"""Layouts on disk: written whole or not at all, read as if an enemy had written them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from layouts import a_layout, edit_index, put_blob

from kubewright.errors import KubewrightError
from kubewright.oci import errors
from kubewright.oci.layout import FilePart, Layout, new_layout, write_directory
from kubewright.oci.model import CONFIG, EMPTY_CONFIG, INDEX, LAYER, MANIFEST, Descriptor, Index, Manifest
from kubewright.oci.reading import OpenLayout, open_directory


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write_directory(a_layout(), tmp_path / "layout")
    return tmp_path / "layout"


def check(path: Path) -> None:
    with open_directory(path) as opened:
        opened.check()


def blob(path: Path, media_type: str) -> Path:
    with open_directory(path) as opened:
        return path / "blobs" / "sha256" / next(each.digest[7:] for each in opened.walk() if each.media_type == media_type)


# -- writing ------------------------------------------------------------------------------------------------------


def test_a_written_layout_reads_back(layout: Path) -> None:
    with open_directory(layout) as opened:
        image = opened.manifest(opened.index.manifests[0])
        assert [each.media_type for each in (image.config, *image.layers)] == [CONFIG, LAYER]
        assert json.loads(opened.read(image.config))["config"] == {"Entrypoint": ["/pause"], "User": "65535:65535"}
        assert opened.manifest(opened.index.manifests[1]).subject == Descriptor(
            MANIFEST, opened.index.manifests[0].digest, opened.index.manifests[0].size
        )
        opened.check()


def test_two_writes_are_equal_under_any_umask(tmp_path: Path) -> None:
    write_directory(a_layout(), tmp_path / "one")
    before = os.umask(0o077)
    try:
        write_directory(a_layout(), tmp_path / "elsewhere" / "two")
    finally:
        os.umask(before)
    assert _snapshot(tmp_path / "one") == _snapshot(tmp_path / "elsewhere" / "two")


def _snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(each.relative_to(path)): (each.stat().st_mode, each.read_bytes() if each.is_file() else b"")
        for each in [path, *path.rglob("*")]
    }


def test_blobs_come_from_parts_of_files(tmp_path: Path) -> None:
    whole = a_layout()
    parts: dict[str, bytes | FilePart] = {}
    with (tmp_path / "all").open("wb") as out:
        for digest, data in whole.blobs.items():
            assert isinstance(data, bytes)
            parts[digest] = FilePart(tmp_path / "all", out.tell(), len(data))
            out.write(data)
    write_directory(Layout(whole.index, parts), tmp_path / "layout")
    check(tmp_path / "layout")


def test_a_source_with_other_bytes_leaves_what_was_there(layout: Path) -> None:
    before = _snapshot(layout)
    good = a_layout()
    wrong = {**good.blobs, next(iter(good.blobs)): b"other bytes"}
    with pytest.raises(errors.BlobDamagedError):
        write_directory(Layout(good.index, wrong), layout)
    assert _snapshot(layout) == before
    assert [path.name for path in layout.parent.iterdir()] == ["layout"]


def test_what_a_kill_leaves_is_swept_by_the_next_writer(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with new_layout(tmp_path / "layout") as writer:
            writer.add_bytes(b"half")
            os._exit(9)
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == [f".layout.{child}.tmp"]
    write_directory(a_layout(), tmp_path / "layout")
    assert [path.name for path in tmp_path.iterdir()] == ["layout"]
    check(tmp_path / "layout")


# -- reading what an enemy wrote ----------------------------------------------------------------------------------

Change = Callable[[Path], None]


def _truncate(path: Path) -> None:
    target = blob(path, LAYER)
    target.write_bytes(target.read_bytes()[:-1])


def _swap_bytes(path: Path) -> None:
    target = blob(path, LAYER)
    target.write_bytes(target.read_bytes()[:-1] + b"x")


def _change_manifest(path: Path) -> None:
    target = path / "blobs" / "sha256" / json.loads((path / "index.json").read_text())["manifests"][0]["digest"][7:]
    target.write_bytes(target.read_bytes().replace(b"schemaVersion", b"schemaversion"))


def _link_blob(path: Path) -> None:
    target = blob(path, LAYER)
    target.rename(path.parent / "moved")
    target.symlink_to(path.parent / "moved")


def _link_folder(path: Path) -> None:
    (path / "blobs" / "sha256").rename(path.parent / "sha256")
    (path / "blobs" / "sha256").symlink_to(path.parent / "sha256")


def _link_index(path: Path) -> None:
    (path / "index.json").rename(path.parent / "index.json")
    (path / "index.json").symlink_to(path.parent / "index.json")


def _fifo(path: Path) -> None:
    (path / "index.json").unlink()
    os.mkfifo(path / "index.json")


def _with(**keys: object) -> Change:
    return lambda path: edit_index(path, lambda value: value.update(keys))


def _in_first(**keys: object) -> Change:
    def change(value: dict[str, Any]) -> None:
        value["manifests"][0].update(keys)

    return lambda path: edit_index(path, change)


def _listed(data: bytes, media_type: str = MANIFEST) -> Change:
    """A blob that index.json lists as well."""

    def change(path: Path) -> None:
        found = put_blob(path, data, media_type)
        edit_index(path, lambda value: value["manifests"].append(found))

    return change


def _manifest(**keys: object) -> Change:
    """A copy of the image's manifest with other keys."""

    def change(path: Path) -> None:
        first = json.loads((path / "index.json").read_text())["manifests"][0]
        value = json.loads((path / "blobs" / "sha256" / first["digest"][7:]).read_text())
        _listed(json.dumps({**value, **keys}).encode())(path)

    return change


def _nested(levels: int) -> Change:
    def change(path: Path) -> None:
        descriptor = put_blob(path, Index(()).to_bytes(), INDEX)
        for level in range(levels):
            value = {"schemaVersion": 2, "manifests": [descriptor], "annotations": {"level": str(level)}}
            descriptor = put_blob(path, json.dumps(value).encode(), INDEX)
        edit_index(path, lambda value: value["manifests"].append(descriptor))

    return change


ABSENT = {"mediaType": LAYER, "digest": "sha256:" + "0" * 64, "size": 3}
CASES: dict[str, tuple[Change, type[KubewrightError]]] = {
    "layer ends early": (_truncate, errors.BlobDamagedError),
    "layer has other bytes": (_swap_bytes, errors.BlobDamagedError),
    "manifest has other bytes": (_change_manifest, errors.BlobDamagedError),
    "layer is missing": (lambda path: blob(path, LAYER).unlink(), errors.BlobMissingError),
    "a manifest names a layer that is not there": (_manifest(layers=[ABSENT]), errors.BlobMissingError),
    "a subject is not there": (_manifest(subject={**ABSENT, "mediaType": MANIFEST}), errors.BlobMissingError),
    "a blob too many": (lambda path: put_blob(path, b"extra", LAYER) and None, errors.BlobExtraError),
    "blob is a link": (_link_blob, errors.LayoutError),
    "blobs/sha256 is a link": (_link_folder, errors.LayoutError),
    "index.json is a link": (_link_index, errors.LayoutError),
    "index.json is a pipe": (_fifo, errors.LayoutError),
    "index.json is missing": (lambda path: (path / "index.json").unlink(), errors.LayoutError),
    "oci-layout is missing": (lambda path: (path / "oci-layout").unlink(), errors.LayoutError),
    "a file beside": (lambda path: (path / "readme").write_text("") and None, errors.LayoutError),
    "another algorithm": (lambda path: (path / "blobs" / "sha512").mkdir(), errors.LayoutError),
    "a name that is no digest": (lambda path: (path / "blobs/sha256/x").write_text("") and None, errors.LayoutError),
    "a folder among blobs": (lambda path: (path / "blobs/sha256" / ("a" * 64)).mkdir(), errors.LayoutError),
    "another version": (
        lambda path: (path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}') and None,
        errors.LayoutError,
    ),
    "index.json is not JSON": (lambda path: (path / "index.json").write_text("[") and None, errors.DocumentError),
    "index.json has a key twice": (
        lambda path: (path / "index.json").write_text('{"schemaVersion":2,"schemaVersion":2,"manifests":[]}') and None,
        errors.DocumentError,
    ),
    "index.json is deep": (lambda path: (path / "index.json").write_text("[" * 9999) and None, errors.DocumentError),
    "index.json is huge": (lambda path: (path / "index.json").write_text(" " * (17 << 20)) and None, errors.LayoutError),
    "index of another schema": (_with(schemaVersion=1), errors.DocumentError),
    "index with a key of nobody's": (_with(extra=1), errors.DocumentError),
    "index as another media type": (_with(mediaType=MANIFEST), errors.MediaTypeError),
    "annotation that is no string": (_with(annotations={"a": 1}), errors.DocumentError),
    "layer in the index": (_in_first(mediaType=LAYER), errors.MediaTypeError),
    "docker's media type": (_in_first(mediaType="application/vnd.docker.distribution.manifest.v2+json"), errors.MediaTypeError),
    "size is wrong": (_in_first(size=1), errors.BlobDamagedError),
    "size is negative": (_in_first(size=-1), errors.DocumentError),
    "size is a fraction": (_in_first(size=1.5), errors.DocumentError),
    "size is true": (_in_first(size=True), errors.DocumentError),
    "digest leads out": (_in_first(digest="sha256:../../../../etc/passwd"), errors.DocumentError),
    "digest of another algorithm": (_in_first(digest="sha512:" + "0" * 128), errors.DocumentError),
    "embedded data": (_in_first(data="e30="), errors.DocumentError),
    "foreign URLs": (_in_first(urls=["https://example.org/layer"]), errors.DocumentError),
    "manifest without a configuration": (_listed(b'{"schemaVersion":2,"layers":[]}'), errors.DocumentError),
    "manifest that is no object": (_listed(b"[]"), errors.DocumentError),
    "compressed layer": (_manifest(layers=[{**ABSENT, "mediaType": LAYER + "+gzip"}]), errors.MediaTypeError),
    "configuration of nobody's": (_manifest(config={**ABSENT, "mediaType": "text/plain"}), errors.MediaTypeError),
    "media type that is none": (_manifest(config={**ABSENT, "mediaType": "\n"}), errors.MediaTypeError),
    "artifact with an image's configuration": (_manifest(artifactType="a/b"), errors.MediaTypeError),
    "indices in indices": (_nested(6), errors.ReferenceDepthError),
    "manifest of 5 MB": (_listed(b'{"schemaVersion":2}' + b" " * (5 << 20)), errors.DocumentError),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(layout: Path, case: str) -> None:
    change, error = CASES[case]
    check(layout)
    change(layout)
    with pytest.raises(errors.LayoutError) as caught:
        check(layout)
    assert type(caught.value) is error
    assert str(layout) in caught.value.message
    assert caught.value.remedy


def test_a_string_that_does_not_end_is_refused_in_a_moment(layout: Path) -> None:
    """Each escaped quote in it could begin a string of its own: 20 kB of them took some ten seconds, 4 MB days."""
    (layout / "index.json").write_text('{"' + '\\"' * 10_000)
    start = time.process_time()
    with pytest.raises(errors.DocumentError):
        check(layout)
    assert time.process_time() - start < 1


def test_a_manifest_that_is_listed_again_and_again_is_not_read_for_ever(layout: Path) -> None:
    filler = {"org.example.filler": "x" * (4_000_000)}
    large = put_blob(layout, Manifest(EMPTY_CONFIG, (EMPTY_CONFIG,), filler, "a/b").to_bytes(), MANIFEST)
    descriptor = Descriptor(MANIFEST, large["digest"], large["size"])
    with open_directory(layout) as opened:
        for _ in range(16):
            opened.manifest(descriptor)
        with pytest.raises(errors.DocumentError, match="bytes of manifests"):
            opened.manifest(descriptor)


def test_a_layout_that_is_a_link_is_refused(layout: Path) -> None:
    (layout.parent / "link").symlink_to(layout)
    with pytest.raises(errors.LayoutError):
        check(layout.parent / "link")


def test_one_digest_under_two_sizes_is_refused(layout: Path) -> None:
    def twice(value: dict[str, Any]) -> None:
        value["manifests"].append({**value["manifests"][0], "size": value["manifests"][0]["size"] + 1})

    edit_index(layout, twice)
    with pytest.raises(errors.BlobDamagedError, match="is said to have"):
        check(layout)


def test_a_stream_never_gives_more_than_its_descriptor_says(layout: Path) -> None:
    layer = blob(layout, LAYER)
    descriptor = Descriptor(LAYER, f"sha256:{layer.name}", layer.stat().st_size)
    with open_directory(layout) as opened:
        grown = _Grown(opened, layer)
        with grown.open(descriptor) as stream:
            assert len(stream.read(descriptor.size - 1)) == descriptor.size - 1
            with pytest.raises(errors.BlobDamagedError, match="other bytes"):
                stream.read()


class _Grown(OpenLayout):
    """The same layout; the file grows between the look at its size and the reading of it."""

    def __init__(self, opened: OpenLayout, layer: Path) -> None:
        super().__init__(opened._blobs)
        with layer.open("ab") as file:
            file.write(b"more")


def test_a_reader_that_stops_early_is_not_refused(layout: Path) -> None:
    layer = blob(layout, LAYER)
    with (
        open_directory(layout) as opened,
        opened.open(Descriptor(LAYER, f"sha256:{layer.name}", layer.stat().st_size)) as stream,
    ):
        assert stream.read(5) == b"pause"


def test_memory_stays_bounded_for_big_blobs(layout: Path) -> None:
    import resource

    size = 300 << 20
    big = layout / "blobs" / "sha256" / ("b" * 64)
    with big.open("wb") as file:
        file.truncate(size)
    descriptor = Descriptor(LAYER, "sha256:" + "b" * 64, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_directory(layout) as opened, pytest.raises(errors.BlobDamagedError), opened.open(descriptor) as stream:
        for _ in stream:
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)
