"""Images in a signed set: what is asked of one, and what each kind of tampering is called. The untampered twin passes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from imageset import PACKAGES, REFERENCE, ImageSet, blobs
from setbuilder import hexadecimal, place

from kubewright.oci.layer import file
from kubewright.verify import errors
from kubewright.verify.bundle_errors import ImageRefusedError
from kubewright.verify.command import Arguments, verify
from kubewright.verify.report import as_text

Json = dict[str, Any]


@pytest.fixture
def made(tmp_path: Path) -> ImageSet:
    return ImageSet(tmp_path)


def dependency(statement: Json, kind: str) -> Json:
    found: list[Json] = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    return next(each for each in found if each["annotations"]["kubewright_kind"] == kind)


# -- what passes --------------------------------------------------------------------------------------------------


def test_a_set_with_an_image_every_file_of_it(made: ImageSet) -> None:
    found = [each.path for each in made.verify().artifacts if each.path.startswith("images/")]
    layout = sorted(str(path.relative_to(made.set)) for path in made.layout.rglob("*") if path.is_file())
    assert sorted(found) == layout
    assert len(layout) == 6


@pytest.mark.parametrize("path", ["images", "images/etcd", "images/etcd/3.7.3", f"images/{place('etcd')}"])
def test_images_alone(made: ImageSet, path: str) -> None:
    report = made.verify(made.set / path)
    assert len(report.artifacts) == 6
    assert "2 of 2 agree" in as_text(report, explain=True)
    assert REFERENCE in as_text(report, explain=True)


def test_one_blob_of_an_image(made: ImageSet) -> None:
    (found,) = made.verify(blobs(made.layout)[0]).artifacts
    assert found.path.endswith(blobs(made.layout)[0].name)


def test_as_a_command_where_the_layout_is_no_bundle(made: ImageSet) -> None:
    assert "verified: 6 artifacts" in verify(Arguments(made.layout, made.policy))


def test_a_layout_outside_of_a_set_by_its_manifest(made: ImageSet, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    shutil.move(made.layout, loose)
    arguments = Arguments(loose, made.policy, made.attestations, made.release)
    assert "verified: 6 artifacts" in verify(arguments)
    (loose / "more").write_text("x")
    with pytest.raises(errors.ArtifactUnknownError):
        verify(arguments)


def test_a_copy_is_the_set(made: ImageSet, tmp_path: Path) -> None:
    made.verify(copy_to=tmp_path / "copy")
    assert (tmp_path / "copy" / "images" / place("etcd") / "index.json").read_bytes() == (
        made.layout / "index.json"
    ).read_bytes()


# -- the layout ---------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


TAMPERED: list[tuple[str, Callable[[Path], object], type[errors.VerifyError]]] = [
    ("layer flipped", lambda layout: flip(blobs(layout)[-1]), errors.ArtifactChangedError),
    ("layer cut", lambda layout: cut(blobs(layout)[-1]), errors.ArtifactTruncatedError),
    ("layer missing", lambda layout: blobs(layout)[-1].unlink(), errors.ArtifactMissingError),
    ("layers swapped", lambda layout: shutil.copy(blobs(layout)[-1], blobs(layout)[-2]), errors.ArtifactSwappedError),
    ("manifest flipped", lambda layout: flip(blobs(layout)[1]), errors.ArtifactChangedError),
    ("blob too many", lambda layout: (layout / "blobs/sha256" / ("0" * 64)).write_text("x"), errors.ArtifactUnknownError),
    ("other file", lambda layout: (layout / "install.sh").write_text("x"), errors.ArtifactUnknownError),
    ("index renamed", lambda layout: rename(layout), errors.ArtifactChangedError),
    ("layer is a link", lambda layout: linked(blobs(layout)[-1]), errors.UnsafeSetError),
]


def rename(layout: Path) -> None:
    path = layout / "index.json"
    path.write_text(path.read_text().replace("etcd:3.7.3-0", "etcd:9.9.9-0"))


def linked(path: Path) -> None:
    path.rename(path.parents[7] / "elsewhere")
    path.symlink_to(path.parents[7] / "elsewhere")


@pytest.mark.parametrize(("name", "change", "error"), TAMPERED, ids=[name for name, _, _ in TAMPERED])
def test_a_layout_that_is_another(
    made: ImageSet, name: str, change: Callable[[Path], object], error: type[errors.VerifyError]
) -> None:
    change(made.layout)
    with pytest.raises(error):
        made.verify()


# -- what was signed ----------------------------------------------------------------------------------------------


def test_an_image_with_one_file_more_is_not_what_digests_toml_lists(made: ImageSet) -> None:
    other = made.write_image(made.layout, file("bin/backdoor", b"x"))
    for operator in ("site", "second"):
        made.sign_image(operator, manifest=other)
    with pytest.raises(ImageRefusedError, match=f"is {other}, digests"):
        made.verify()


def test_an_image_that_nobody_accepted(made: ImageSet) -> None:
    unlisted = without_images((made.release / "digests.toml").read_text())
    (made.release / "digests.toml").write_text(unlisted)
    made.sign_release()
    with pytest.raises(errors.SubjectError, match="does not list it"):
        made.verify()
    made.write_policy(unlisted='unlisted = "allow"')
    assert made.verify()


def without_images(text: str) -> str:
    kept, skipping = [], False
    for line in text.splitlines():
        if line.startswith("["):
            skipping = ".images" in line or ".image_keys" in line
        if not skipping or line.startswith("#"):
            kept.append(line)
    return "\n".join(kept) + "\n"


def test_an_assembly_under_another_key_than_the_accepted_one(made: ImageSet) -> None:
    made.list_image(made.manifest, f"sha256:{hexadecimal('another')}")
    with pytest.raises(errors.SubjectError, match="another assembly"):
        made.verify()


def test_one_assembly_is_not_two(made: ImageSet) -> None:
    made.image_bundle("provenance", "second").unlink()
    with pytest.raises(errors.ThresholdError):
        made.verify()


def test_two_signatures_under_one_assembly_are_one(made: ImageSet) -> None:
    same = {"invocationId": f"urn:kubewright:assembly:sha256:{hexadecimal('site')}"}
    made.sign_image("second", lambda statement: statement["predicate"]["runDetails"].update(metadata=same))
    with pytest.raises(errors.ThresholdError, match="signed the very same build"):
        made.verify()


def test_a_dissent_about_an_image_is_reported(made: ImageSet) -> None:
    made.sign_image("third", manifest=f"sha256:{hexadecimal('third')}")
    assert [each.place for each in made.verify().dissent] == [f"images/{place('etcd')}"]


def test_nobody_signed_it(made: ImageSet) -> None:
    shutil.rmtree(made.attestations / "images")
    with pytest.raises(errors.ProvenanceError):
        made.verify()


def test_a_component_in_it_that_is_not_accepted(made: ImageSet) -> None:
    """Also when only the image is asked about."""
    made.bundle("etcd", "provenance", "second").unlink()
    with pytest.raises(errors.ThresholdError):
        made.verify(made.layout)


def rebuilt(statement: Json) -> None:
    dependency(statement, "component")["digest"] = {"sha256": hexadecimal("other etcd")}


def other_key(statement: Json) -> None:
    dependency(statement, "component")["uri"] = f"urn:kubewright:key:sha256:{hexadecimal('older etcd')}"


def other_package(statement: Json) -> None:
    dependency(statement, "package")["digest"] = {"sha256": hexadecimal("other libc6")}


def no_package(statement: Json) -> None:
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    found[:] = [each for each in found if each["name"] != PACKAGES["image-etcd"].label]


def more(statement: Json) -> None:
    extra = {"name": "curl_8_amd64", "digest": {"sha256": hexadecimal("curl")}, "annotations": {"kubewright_kind": "package"}}
    statement["predicate"]["buildDefinition"]["resolvedDependencies"].append(extra)


def module(statement: Json) -> None:
    extra = {"name": "x", "digest": {"sha256": hexadecimal("x")}, "annotations": {"kubewright_kind": "module"}}
    statement["predicate"]["buildDefinition"]["resolvedDependencies"].append(extra)


@pytest.mark.parametrize("change", [rebuilt, other_key, other_package, no_package, more, module])
def test_what_went_in_is_what_the_release_has(made: ImageSet, change: Callable[[Json], None]) -> None:
    for operator in ("site", "second"):
        made.sign_image(operator, change)
    with pytest.raises(errors.NotLockedError):
        made.verify()


def test_another_assembler(made: ImageSet) -> None:
    for operator in ("site", "second"):
        made.sign_image(
            operator, lambda s: s["predicate"]["runDetails"]["builder"].update(id="urn:kubewright:builder:docker:v1")
        )
    with pytest.raises(errors.BuilderRefusedError):
        made.verify()


def test_a_package_from_an_origin_that_the_policy_does_not_name(made: ImageSet) -> None:
    allowed = ["module:*", "git:*", "url:*", "deb:gcc"]
    made.write_policy(allow=f"allow = {allowed}".replace("'", '"'))
    with pytest.raises(errors.SourceRefusedError, match="deb:"):
        made.verify()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["subject"][0].update(name="registry.k8s.io/other:1"),
        lambda s: s["subject"].append({"name": "more", "digest": {"sha256": hexadecimal("more")}}),
        lambda s: s["predicate"]["buildDefinition"]["externalParameters"].update(version="9"),
        lambda s: s["predicate"]["buildDefinition"].update(buildType="urn:kubewright:build:v1"),
        lambda s: s["predicate"]["buildDefinition"]["internalParameters"]["layers"][1].update(inputs=["unheard of"]),
        lambda s: s["predicate"]["buildDefinition"].update(more=1),
    ],
    ids=["another name", "two subjects", "another version", "another build type", "unknown input", "more"],
)
def test_a_statement_that_does_not_fit(made: ImageSet, change: Callable[[Json], object]) -> None:
    made.sign_image("site", change)
    with pytest.raises(errors.StatementError):
        made.verify()


def test_a_components_statement_proves_nothing_about_an_image(made: ImageSet) -> None:
    shutil.copy(made.bundle("etcd", "provenance", "site"), made.image_bundle("provenance", "site"))
    with pytest.raises(errors.StatementError):
        made.verify()


def test_an_images_statement_proves_nothing_about_a_component(made: ImageSet) -> None:
    shutil.copy(made.image_bundle("provenance", "site"), made.bundle("etcd", "provenance", "site"))
    with pytest.raises(errors.StatementError):
        made.verify()


def test_an_image_without_an_sbom_and_one_with_that_of_another(made: ImageSet) -> None:
    made.sign_image_sbom(lambda s: s["subject"][0]["digest"].update(sha256=hexadecimal("other")))
    with pytest.raises(errors.SbomError, match="about other files"):
        made.verify()
    made.image_bundle("cyclonedx", "site").unlink()
    with pytest.raises(errors.SbomError, match="no signed cyclonedx"):
        made.verify()


def test_a_licence_of_a_package_in_it_is_denied(made: ImageSet) -> None:
    made.write_policy(deny='deny = ["LGPL-2.1-or-later"]')
    with pytest.raises(errors.LicenceError, match="libc6"):
        made.verify()


def test_what_lies_among_images_and_is_none(made: ImageSet) -> None:
    (made.set / "images" / "loose.txt").write_text("x")
    with pytest.raises(errors.ArtifactUnknownError, match="no statement is about it"):
        made.verify()
