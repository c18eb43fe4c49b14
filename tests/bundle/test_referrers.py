"""Statements about images in a bundle are OCI referrers, also for tools that know the fallback tag alone. Read with json."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from bundlebuilder import BundleBuilder

REF = "org.opencontainers.image.ref.name"
STATEMENT = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = BundleBuilder(tmp_path_factory.mktemp("bundle"))
    made.write()
    return made.directory


def blob(layout: Path, descriptor: Any) -> bytes:
    data = (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (descriptor["size"], descriptor["digest"])
    return data


def by_tag(layout: Path, tag: str) -> Any:
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    (found,) = [each for each in entries if each.get("annotations", {}).get(REF) == tag]
    return found


def test_the_fallback_tag_of_an_image_lists_its_provenance_and_sbom(layout: Path) -> None:
    """https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md: referrers tag schema."""
    image = by_tag(layout, "registry.k8s.io/etcd:3.7.3-0")
    tag = image["digest"].replace(":", "-")
    referrers = json.loads(blob(layout, by_tag(layout, tag)))
    assert referrers["mediaType"] == "application/vnd.oci.image.index.v1+json"
    kinds = set()
    for each in referrers["manifests"]:
        assert each["artifactType"] == STATEMENT
        manifest = json.loads(blob(layout, each))
        assert manifest["subject"] == {key: image[key] for key in ("mediaType", "digest", "size")}
        (layer,) = manifest["layers"]
        signed = json.loads(blob(layout, layer))
        assert signed["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
        kinds.add(layer["annotations"]["org.opencontainers.image.title"].partition(".")[0])
    assert kinds >= {"provenance", "cyclonedx"}  # the set that tests sign has no spdx


def test_every_statement_of_a_bundle_is_listed_under_the_tag_of_its_subject(layout: Path) -> None:
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    statements = [each for each in entries if each.get("artifactType") == STATEMENT]
    assert len(statements) > 5
    for each in statements:
        subject = json.loads(blob(layout, each))["subject"]["digest"]
        listed = json.loads(blob(layout, by_tag(layout, subject.replace(":", "-"))))["manifests"]
        assert each["digest"] in [one["digest"] for one in listed]
