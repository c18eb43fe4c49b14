"""Signing what is built and attesting what was built again: which files appear, what stays, what is said about dissent."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from project_builder import ProjectBuilder, synthetic
from signers import new_key

from kubewright.building.outputs import artifact_directory
from kubewright.errors import BuildError, DissentError, IrreproducibleError
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.trust.keys import SigningKey
from kubewright.trust.publish import attest, read, sign_component, statements
from kubewright.trust.setfolder import attestation_directory
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.dsse import pae


def describe(project: Project, component: Component, found: BuildRecord) -> Mapping[str, bytes]:
    """Documents of the right names: what is in them is tested with the SBOMs."""
    return {
        "sbom.cdx.json": b'{"bomFormat":"CycloneDX"}',
        "sbom.spdx.json": b'{"spdxVersion":"SPDX-2.3"}',
        "ATTRIBUTION": b"MIT",
    }


def sign(made: ProjectBuilder, key: SigningKey) -> tuple[list[str], list[str]]:
    """Names of the files that were written, and of those that were there."""
    project = made.project()
    signed = sign_component(project, project.component("runc"), key, describe)
    return sorted(path.name for path in signed.written), sorted(path.name for path in signed.same)


def folder(made: ProjectBuilder) -> Path:
    project = made.project()
    return attestation_directory(project, project.component("runc"))


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


# -- sign ---------------------------------------------------------------------------------------------------------


def test_a_statement_for_each_subject_matter(made: ProjectBuilder, key: SigningKey) -> None:
    written, _ = sign(made, key)
    assert folder(made) == made.root / "artifacts/attestations/runc/1.0.0/linux-amd64"
    signed = [f"{kind}.{key.key_id}.sigstore.json" for kind in ("cyclonedx", "provenance", "spdx")]
    assert written == sorted([*signed, "sbom.cdx.json", "sbom.spdx.json", "ATTRIBUTION"])
    digests = made.record("runc").digests()
    for name in signed:
        bundle = parse_bundle((folder(made) / name).read_bytes())
        assert bundle.hint == key.public.fingerprint
        assert key.public.verify(pae(bundle.payload_type, bundle.payload), bundle.signature)
        assert read(folder(made) / name).digests() == digests
    assert read(folder(made) / signed[0]).predicate == {"bomFormat": "CycloneDX"}


def test_the_bundle_is_sigstore_s_v0_3(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    bundle = json.loads((folder(made) / f"provenance.{key.key_id}.sigstore.json").read_text())
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    material = {"publicKey": {"hint": base64.b64encode(bytes.fromhex(key.public.fingerprint[7:])).decode()}, "tlogEntries": []}
    assert bundle["verificationMaterial"] == material
    assert bundle["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
    assert [signature["keyid"] for signature in bundle["dsseEnvelope"]["signatures"]] == [""]


def test_signing_again_writes_nothing(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    before = contents(folder(made))
    written, same = sign(made, key)
    assert (written, len(same)) == ([], 6)
    assert contents(folder(made)) == before


def test_what_was_tampered_with_is_written_again(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    path = folder(made) / f"cyclonedx.{key.key_id}.sigstore.json"
    good = path.read_bytes()
    path.write_bytes(good + b" ")
    assert sign(made, key)[0] == [path.name]
    assert path.read_bytes() == good


def test_a_link_in_the_way_is_replaced_not_followed(made: ProjectBuilder, key: SigningKey, tmp_path: Path) -> None:
    sign(made, key)
    path = folder(made) / "ATTRIBUTION"
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert sign(made, key)[0] == ["ATTRIBUTION"]
    assert not path.is_symlink()


def test_two_keys_do_not_touch_each_other_s(made: ProjectBuilder, key: SigningKey, second: SigningKey) -> None:
    sign(made, key)
    before = contents(folder(made))
    written, _ = sign(made, second)
    assert written == sorted(f"{kind}.{second.key_id}.sigstore.json" for kind in ("cyclonedx", "provenance", "spdx"))
    assert {name: contents(folder(made))[name] for name in before} == before


def test_what_is_signed_is_in_place(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    project = made.project()
    artifact = artifact_directory(project, project.component("runc")) / "runc"
    artifact.write_bytes(b"something else")
    sign(made, key)
    assert artifact.read_bytes() == b"runc linux/amd64 runc"


def test_what_is_not_built_is_not_signed(made: ProjectBuilder, key: SigningKey) -> None:
    project = made.project()
    with pytest.raises(BuildError, match=r"containerd .* has not been built here"):
        sign_component(project, project.component("containerd"), key, describe)


def test_what_digests_toml_denies_is_not_signed(made: ProjectBuilder, key: SigningKey) -> None:
    made.accepted(made.record("runc", content="as others have it"))
    made.record("runc")
    with pytest.raises(IrreproducibleError):
        sign(made, key)
    assert not folder(made).exists()


def test_a_key_does_not_contradict_itself(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    before = contents(folder(made))
    made.record("runc", content="another")
    with pytest.raises(DissentError, match="this very key") as caught:
        sign(made, key)
    assert "runc: here sha256:" in caught.value.details
    assert contents(folder(made)) == before


def test_new_inputs_are_signed_anew(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    made.write("patches/runc/0001-x.patch", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+c\n").lock()
    made.record("runc", content="another")
    assert f"provenance.{key.key_id}.sigstore.json" in sign(made, key)[0]


def test_a_hundred_statements_in_two_seconds(tmp_path: Path, key: SigningKey) -> None:
    made = synthetic(tmp_path / "many", 100)
    for number in range(100):
        made.record(f"component-{number:04}")
    project = made.project()
    components = [project.component(f"component-{number:04}") for number in range(100)]
    began = time.process_time()
    for component in components:
        sign_component(project, component, key, lambda *_: {})
    assert time.process_time() - began <= 2


# -- attest -------------------------------------------------------------------------------------------------------


def attested(made: ProjectBuilder, key: SigningKey, name: str = "runc") -> Path:
    project = made.project()
    return attest(project, project.component(name), key, Progress("attest"))


def test_a_rebuilder_s_own_statement(made: ProjectBuilder, key: SigningKey, second: SigningKey) -> None:
    sign(made, key)
    made.rebuilt(made.record("runc"))
    path = attested(made, second)
    assert path == folder(made) / f"provenance.{second.key_id}.sigstore.json"
    said = read(path)
    assert said.predicate["runDetails"]["builder"]["id"] == "urn:kubewright:builder:docker:v1"
    assert said.digests() == read(folder(made) / f"provenance.{key.key_id}.sigstore.json").digests()


def test_it_needs_nobody_s_artifacts(made: ProjectBuilder, second: SigningKey) -> None:
    """A first build in a store of one's own counts as well, and nothing of the set has to be there."""
    said = read(attested(made, second))
    assert said.predicate["runDetails"]["builder"]["id"] == "urn:kubewright:builder:bubblewrap:v1"
    assert [path.name for path in (made.root / "artifacts").iterdir()] == ["attestations"]


def test_dissent_is_written_and_said(made: ProjectBuilder, key: SigningKey, second: SigningKey) -> None:
    sign(made, key)
    before = contents(folder(made))
    made.rebuilt(made.record("runc"), content="another")
    with pytest.raises(DissentError, match="disagrees with 1 other signed statement ") as caught:
        attested(made, second)
    assert key.key_id in caught.value.details
    path = folder(made) / f"provenance.{second.key_id}.sigstore.json"
    assert len({json.dumps(said.digests()) for _, said in statements(folder(made))}) == 2
    assert {name: contents(folder(made))[name] for name in before} == before
    with pytest.raises(DissentError):  # and it stays that way
        attested(made, second)
    assert path.exists()


def test_statements_about_other_inputs_are_no_dissent(made: ProjectBuilder, key: SigningKey, second: SigningKey) -> None:
    sign(made, key)
    made.write("patches/runc/0001-x.patch", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+c\n").lock()
    made.record("runc", content="another")
    assert attested(made, second).exists()


def test_attesting_again_writes_nothing(made: ProjectBuilder, second: SigningKey) -> None:
    made.rebuilt(made.record("runc"))
    attested(made, second)
    before = contents(folder(made))
    attested(made, second)
    assert contents(folder(made)) == before


def test_the_first_builder_s_key_says_nothing_new_by_rebuilding(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    before = contents(folder(made))
    made.rebuilt(made.record("runc"))
    attested(made, key)
    assert contents(folder(made)) == before


def test_the_first_builder_s_key_cannot_hide_its_own_dissent(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    before = contents(folder(made))
    made.rebuilt(made.record("runc"), content="another")
    with pytest.raises(DissentError, match="this very key"):
        attested(made, key)
    assert contents(folder(made)) == before


def test_somebody_else_s_build_is_not_attested_as_one_s_own(made: ProjectBuilder, key: SigningKey, second: SigningKey) -> None:
    sign(made, key)
    before = contents(folder(made))
    with pytest.raises(BuildError, match="about this very build"):
        attested(made, second)
    assert contents(folder(made)) == before
    made.rebuilt(made.record("runc"))
    assert attested(made, second).exists()


def test_nothing_to_attest(made: ProjectBuilder, second: SigningKey) -> None:
    with pytest.raises(BuildError, match="nothing to attest"):
        attested(made, second, "containerd")


def test_what_cannot_be_read_is_no_witness(made: ProjectBuilder, key: SigningKey, tmp_path: Path) -> None:
    sign(made, key)
    (folder(made) / "provenance.0000000000000000.sigstore.json").write_text("{}")
    made.rebuilt(made.record("runc"))
    third = new_key(tmp_path / "third", "third")
    assert attested(made, third).exists()
    assert len(list(statements(folder(made)))) == 2
