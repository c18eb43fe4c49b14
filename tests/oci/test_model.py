"""Documents: equal values have equal bytes, and only what the specification allows is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.oci.errors import DocumentError
from kubewright.oci.model import (
    CONFIG,
    EMPTY_CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    diff_ids,
    digest_of,
    parse_index,
    parse_manifest,
)

DIGESTS = st.binary(min_size=32, max_size=32).map(lambda data: f"sha256:{data.hex()}")
TEXTS = st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=3)


def descriptors(media_type: str) -> st.SearchStrategy[Descriptor]:
    return st.builds(Descriptor, st.just(media_type), DIGESTS, st.integers(0, 10**15), TEXTS)


IMAGES = st.builds(Manifest, descriptors(CONFIG), st.lists(descriptors(LAYER), max_size=4).map(tuple), TEXTS)
ARTIFACTS = st.builds(
    Manifest,
    st.just(EMPTY_CONFIG),
    st.lists(descriptors("application/x"), max_size=4).map(tuple),
    TEXTS,
    st.just("application/y"),
    st.none() | descriptors(MANIFEST),
)


@given(IMAGES | ARTIFACTS)
def test_a_manifest_reads_back(manifest: Manifest) -> None:
    assert parse_manifest(manifest.to_bytes(), "m") == manifest


@given(st.lists(descriptors(MANIFEST), max_size=4).map(tuple), TEXTS)
def test_an_index_reads_back(manifests: tuple[Descriptor, ...], annotations: dict[str, str]) -> None:
    assert parse_index(Index(manifests, annotations).to_bytes()) == Index(manifests, annotations)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_other_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(DocumentError):
        parse_manifest(data, "m")


@given(IMAGES, st.data())
def test_a_manifest_with_one_byte_changed_is_refused_or_says_something_else(manifest: Manifest, data: st.DataObject) -> None:
    good = manifest.to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    try:
        found = parse_manifest(bad, "m")
    except DocumentError:
        return
    assert bad == good or found.to_bytes() != good or json.loads(bad) == json.loads(good)


def test_the_empty_configuration_is_the_specifications() -> None:
    """https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidance-for-an-empty-descriptor"""
    assert EMPTY_CONFIG.digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert EMPTY_CONFIG.size == 2


def test_a_configuration_names_its_layers_and_leaves_out_what_is_empty() -> None:
    layers = ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
    config = ImageConfig(Platform.of("linux/amd64"), "2026-01-01T00:00:00Z", layers, ("base", "etcd"), ports=("2379/tcp",))
    assert diff_ids(config.to_bytes(), "c") == layers
    assert json.loads(config.to_bytes())["config"] == {"ExposedPorts": {"2379/tcp": {}}}


def test_bytes_are_canonical_and_pinned() -> None:
    config = Descriptor(CONFIG, "sha256:" + "a" * 64, 7)
    manifest = Manifest(config, (Descriptor(LAYER, "sha256:" + "b" * 64, 9),), {"b": "ü", "a": "1"})
    assert digest_of(manifest.to_bytes()) == "sha256:5ddbb106fe4444d2b74d883b1f5a9c30f2cdfa25608b2bf478344bd15984c8d5"
    assert manifest.to_bytes().startswith(b'{"annotations":{"a":"1","b":"\xc3\xbc"},"config":{"digest":"sha256:aaa')
