"""Bundles under a policy: what is accepted, in both forms, and every way to put something else into one."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundlebuilder import DEFINITION, REFERENCE, BundleBuilder, an_image
from setbuilder import OUTPUTS

from kubewright.errors import KubewrightError, UsageError
from kubewright.oci.archive_errors import ArchiveError
from kubewright.oci.archive_write import write_archive
from kubewright.oci.errors import BlobDamagedError, BlobExtraError, BlobMissingError, DocumentError, MediaTypeError
from kubewright.oci.image_archive import write_images
from kubewright.oci.layout import Layout, write_directory
from kubewright.oci.model import CONTAINERD_NAME, INDEX, MANIFEST, REF_NAME, TITLE, Descriptor, Index
from kubewright.oci.reading import open_directory
from kubewright.verify import errors
from kubewright.verify.bundle_check import BundleOptions, VerifiedBundle, is_bundle_path, verify_bundle
from kubewright.verify.bundle_errors import BundleContentError, BundleUnsignedError, ImageRefusedError
from kubewright.verify.policy import load_policy


@pytest.fixture
def made(tmp_path: Path) -> BundleBuilder:
    made = BundleBuilder(tmp_path)
    made.write()
    return made


# -- what is accepted ---------------------------------------------------------------------------------------------


def test_both_forms_verify(made: BundleBuilder) -> None:
    for path in (made.file, made.directory):
        assert is_bundle_path(path)
        found = made.verify_bundle(path)
        assert (found.stack, found.version, found.platform, found.sequence) == ("tiny", "3.7.3", "linux/amd64", 7)
        assert {(each.component, each.path, each.kind, each.mode) for each in found.files} == {
            ("etcd", "etcdctl", "program", 0o755),
            ("runc", "runc", "program", 0o755),
            ("runc", "runc.txt", "file", 0o644),
            ("runc", "share", "tree", 0o644),
        }
        assert [(each.name, each.component, each.reference) for each in found.images] == [("etcd", "etcd", REFERENCE)]
        assert set(found.manifests) == {"etcd.yaml"}
        assert [each.rule for each in found.places[0].passed][:3] == ["release", "provenance", "digests.toml"]


def test_what_was_verified_can_be_read(made: BundleBuilder) -> None:
    with verify_bundle(made.file, load_policy(made.policy), made.policy, BundleOptions(now=lambda: made.now)) as bundle:
        runc = next(each for each in bundle.files if each.path == "runc")
        with bundle.open(runc) as stream:
            assert stream.read() == OUTPUTS["runc"]["runc"][1]
        assert bundle.read(bundle.manifests["etcd.yaml"]) == b"kind: Pod\n"
        assert bundle.stack_definition() == DEFINITION
        tree = next(each for each in bundle.files if each.kind == "tree")
        with tarfile.open(fileobj=io.BytesIO(bundle.read(tree))) as packed:
            assert "man/runc.8" in packed.getnames()


def test_a_file_that_changes_after_verification_does_not_come_through(made: BundleBuilder) -> None:
    with verify_bundle(made.directory, load_policy(made.policy), made.policy, BundleOptions(now=lambda: made.now)) as bundle:
        runc = next(each for each in bundle.files if each.path == "runc")
        blob = made.directory / "blobs" / "sha256" / runc.digest[7:]
        blob.write_bytes(bytes(runc.size))
        with pytest.raises(BlobDamagedError), bundle.open(runc) as stream:
            list(stream)


def test_images_come_out_as_a_tar(made: BundleBuilder, tmp_path: Path) -> None:
    with verify_bundle(made.file, load_policy(made.policy), made.policy, BundleOptions(now=lambda: made.now)) as bundle:
        out = io.BytesIO()
        write_images(bundle.layout, [each.part.descriptor for each in bundle.images], out)
        digest = bundle.images[0].digest
    out.seek(0)
    with tarfile.open(fileobj=out) as packed:
        packed.extractall(tmp_path / "out", filter="data")
    for_docker = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert for_docker[0]["RepoTags"] == [REFERENCE]
    assert all((tmp_path / "out" / name).is_file() for name in (for_docker[0]["Config"], *for_docker[0]["Layers"]))
    (tmp_path / "out" / "manifest.json").unlink()
    with open_directory(tmp_path / "out") as layout:
        layout.check()
        assert [(each.digest, each.annotations) for each in layout.index.manifests] == [
            (digest, {REF_NAME: REFERENCE, CONTAINERD_NAME: REFERENCE})
        ]


def test_a_copy_has_the_very_bytes(made: BundleBuilder, tmp_path: Path) -> None:
    found = made.verify_bundle(copy_to=tmp_path / "copy")
    assert found.copied_to == str(tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(made.directory)
    with pytest.raises(UsageError):
        made.verify_bundle(copy_to=tmp_path / "copy")


def test_a_refused_bundle_is_not_copied(made: BundleBuilder, tmp_path: Path) -> None:
    blob = next(path for path in (made.directory / "blobs" / "sha256").iterdir() if path.read_bytes().startswith(b"\x7fELF"))
    blob.write_bytes(bytes(blob.stat().st_size))
    with pytest.raises(BlobDamagedError):
        made.verify_bundle(made.directory, copy_to=tmp_path / "copy")
    assert not [each.name for each in tmp_path.iterdir() if "copy" in each.name]
    assert not made.state.exists()


def test_several_operators_may_sign_the_contents(made: BundleBuilder) -> None:
    made.write("site", "third")
    found = made.verify_bundle()
    assert [each.operator for each in found.contents.by] == ["site"]
    made.write_policy()
    text = made.policy.read_text().replace('[release]\noperators = ["site"]', '[release]\noperators = ["site", "third"]')
    made.policy.write_text(text)
    assert sorted(each.operator for each in made.verify_bundle().contents.by) == ["site", "third"]


def test_each_byte_is_counted_once(made: BundleBuilder) -> None:
    told: list[tuple[int, int]] = []
    found = made.verify_bundle(watch=lambda done, total: told.append((done, total)))
    assert sum(done for done, _ in told) == found.total == {total for _, total in told}.pop()
    assert found.total == sum(path.stat().st_size for path in (made.directory / "blobs" / "sha256").iterdir())


def test_equal_ingredients_give_equal_bytes(made: BundleBuilder, tmp_path: Path) -> None:
    other = BundleBuilder(tmp_path / "elsewhere")
    parts = other.ingredients
    other.change(components=tuple(reversed(parts.components)), release=tuple(reversed(parts.release)))
    other.write()
    assert other.file.read_bytes() == made.file.read_bytes()
    assert snapshot(other.directory) == snapshot(made.directory)


# -- rollback -----------------------------------------------------------------------------------------------------


def test_an_older_release_is_refused_and_can_be_forced_with_a_reason(made: BundleBuilder) -> None:
    made.sign_release(sequence=8)
    newer = BundleBuilder.__new__(BundleBuilder)
    newer.__dict__.update(made.__dict__)
    newer.ingredients = replace(made._ingredients(), sequence=8)
    newer.file, newer.directory = made.root / "newer.oci.tar.zst", made.root / "newer.oci"
    newer.write()
    newer.verify_bundle()
    with pytest.raises(errors.RollbackError):
        made.verify_bundle()
    assert made.verify_bundle(older="the newer one does not boot").sequence == 7
    with pytest.raises(errors.RollbackError):
        made.verify_bundle()
    made.write_policy(minimum_sequence="minimum_sequence = 8")
    with pytest.raises(errors.RollbackError):
        made.verify_bundle(older="all the same")


def test_a_clock_set_back_is_refused(made: BundleBuilder) -> None:
    made.verify_bundle()
    made.now -= 1000
    with pytest.raises(errors.ClockError):
        made.verify_bundle()


def test_the_policy_may_not_lie_in_the_bundle(made: BundleBuilder) -> None:
    inside = made.directory / "site.toml"
    shutil.copy(made.policy, inside)
    with pytest.raises(errors.PolicyError):
        verify_bundle(made.directory, load_policy(inside), inside).__enter__()


# -- what whoever carries it can do ---------------------------------------------------------------------------------


def rewrite(made: BundleBuilder, change: Callable[[Layout], Layout]) -> None:
    """Both forms again, with a layout that nobody signed."""
    made.write(change=change)


def edit(layout: Layout, change: Callable[[list[Any]], object]) -> Layout:
    """index.json with other entries."""
    value = json.loads(layout.index)
    change(value["manifests"])
    index = Index(
        tuple(
            Descriptor(
                each["mediaType"],
                each["digest"],
                each["size"],
                each.get("annotations", {}),
                each.get("artifactType", ""),
                None,
            )
            for each in value["manifests"]
        )
    )
    text = json.loads(index.to_bytes())
    for new, old in zip(text["manifests"], value["manifests"], strict=True):
        if "platform" in old:
            new["platform"] = old["platform"]
    return Layout(json.dumps(text, sort_keys=True, separators=(",", ":")).encode(), layout.blobs)


def entry(entries: list[Any], name: str) -> dict[str, Any]:
    return next(each for each in entries if each.get("annotations", {}).get(TITLE) == name)


def swap_references(entries: list[Any]) -> None:
    entry(entries, "images/etcd")["annotations"][REF_NAME] = "registry.k8s.io/pause:3.10"


def swap_digests(entries: list[Any]) -> None:
    one, other = entry(entries, "components/etcd"), entry(entries, "components/runc")
    for key in ("digest", "size"):
        one[key], other[key] = other[key], one[key]


INDEX_CHANGES: dict[str, Callable[[list[Any]], object]] = {
    "an image under another reference": swap_references,
    "two components swapped": swap_digests,
    "a component taken out": lambda entries: entries.remove(entry(entries, "components/runc")),
    "a statement taken out": lambda entries: entries.remove(entry(entries, f"components/runc/{second('provenance')}")),
    "a list of referrers taken out": lambda entries: entries.pop(),
    "an entry twice": lambda entries: entries.append(entry(entries, "components/runc")),
    "a new note on an entry": lambda entries: entry(entries, "components/runc")["annotations"].update(note="evil"),
    "another order": lambda entries: entries.reverse(),
    "another platform": lambda entries: entry(entries, "images/etcd")["platform"].update(architecture="arm64"),
    "another artifact type": lambda entries: entry(entries, "manifests").update(artifactType="application/vnd.evil"),
}


def second(kind: str) -> str:
    from setbuilder import key_id

    return f"{kind}.{key_id('second')}.sigstore.json"


@pytest.mark.parametrize("change", INDEX_CHANGES)
def test_index_json_is_what_was_signed_or_nothing(change: str, made: BundleBuilder) -> None:
    rewrite(made, lambda layout: edit(layout, INDEX_CHANGES[change]))
    for path in (made.file, made.directory):
        with pytest.raises(BundleContentError):
            made.verify_bundle(path)
    assert not made.state.exists()


def test_the_edit_changes_nothing_else(made: BundleBuilder) -> None:
    rewrite(made, lambda layout: edit(layout, lambda entries: None))
    made.verify_bundle()


def blob_named(made: BundleBuilder, content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def without(layout: Layout, digest: str) -> Layout:
    return Layout(layout.index, {key: data for key, data in layout.blobs.items() if key != digest})


RUNC = OUTPUTS["runc"]["runc"][1]


def test_a_missing_blob_is_refused(made: BundleBuilder) -> None:
    rewrite(made, lambda layout: without(layout, blob_named(made, RUNC)))
    for path in (made.file, made.directory):
        with pytest.raises(BlobMissingError):
            made.verify_bundle(path)


def test_every_blob_that_is_missing_is_noticed(made: BundleBuilder) -> None:
    names = sorted(path.name for path in (made.directory / "blobs" / "sha256").iterdir())
    for name in names:
        path = made.directory / "blobs" / "sha256" / name
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(BlobMissingError):
            made.verify_bundle(made.directory)
        path.write_bytes(data)
    made.verify_bundle(made.directory)


def test_every_blob_that_is_changed_is_noticed(made: BundleBuilder) -> None:
    for path in sorted((made.directory / "blobs" / "sha256").iterdir()):
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(BlobDamagedError):
            made.verify_bundle(made.directory)
        path.write_bytes(data[:-1])
        with pytest.raises(BlobDamagedError):
            made.verify_bundle(made.directory)
        path.write_bytes(data)


def test_an_extra_blob_is_refused(made: BundleBuilder) -> None:
    rewrite(made, lambda layout: Layout(layout.index, {**layout.blobs, blob_named(made, b"extra"): b"extra"}))
    for path in (made.file, made.directory):
        with pytest.raises(BlobExtraError):
            made.verify_bundle(path)


def test_two_blobs_swapped_are_refused(made: BundleBuilder) -> None:
    blobs = made.directory / "blobs" / "sha256"
    one, other = (blobs / blob_named(made, OUTPUTS["etcd"][name][1])[7:] for name in ("etcdctl", "etcdctl"))
    one, other = blobs / blob_named(made, RUNC)[7:], blobs / blob_named(made, OUTPUTS["etcd"]["etcdctl"][1])[7:]
    first, last = one.read_bytes(), other.read_bytes()
    one.write_bytes(last)
    other.write_bytes(first)
    with pytest.raises(BlobDamagedError):
        made.verify_bundle(made.directory)


def test_links_and_other_files_are_refused(made: BundleBuilder) -> None:
    (made.directory / "more").write_text("x")
    with pytest.raises(KubewrightError, match="has no place in a layout"):
        made.verify_bundle(made.directory)
    (made.directory / "more").unlink()
    blob = made.directory / "blobs" / "sha256" / blob_named(made, RUNC)[7:]
    moved = made.root / "moved"
    blob.rename(moved)
    blob.symlink_to(moved)
    with pytest.raises(KubewrightError, match="is not a plain file"):
        made.verify_bundle(made.directory)
    link = made.root / "link"
    link.symlink_to(made.file)
    with pytest.raises(errors.UnsafeSetError):
        made.verify_bundle(link)


def test_a_file_cut_off_is_refused(made: BundleBuilder) -> None:
    made.file.write_bytes(made.file.read_bytes()[:-100])
    assert is_bundle_path(made.file)
    with pytest.raises(ArchiveError):
        made.verify_bundle()


# -- who signed ---------------------------------------------------------------------------------------------------


def test_contents_signed_by_nobody_are_refused(made: BundleBuilder) -> None:
    def unsigned(layout: Layout) -> Layout:
        return edit(layout, lambda entries: entries.remove(entry(entries, own("site"))))

    rewrite(made, unsigned)
    with pytest.raises(BundleUnsignedError, match="no statement about what is in this bundle"):
        made.verify_bundle()


def own(operator: str) -> str:
    from setbuilder import key_id

    return f"bundle.{key_id(operator)}.sigstore.json"


def test_contents_signed_by_strangers_are_refused(made: BundleBuilder) -> None:
    made.write("stranger")
    with pytest.raises(errors.UnknownKeyError):
        made.verify_bundle()


def test_contents_signed_by_somebody_who_may_not_are_refused(made: BundleBuilder) -> None:
    made.write("second")
    with pytest.raises(BundleUnsignedError, match="the policy does not let them"):
        made.verify_bundle()


def test_contents_signed_with_a_revoked_key_are_refused(made: BundleBuilder) -> None:
    from setbuilder import public_key

    made.write("third")
    revoked = f'revoked = [{{ fingerprint = "{public_key("third").fingerprint}", reason = "lost" }}]'
    made.write_policy(revoked=revoked)
    with pytest.raises(errors.RevokedKeyError):
        made.verify_bundle()


def test_a_statement_of_a_stranger_beside_a_good_one_is_ignored_and_said(made: BundleBuilder) -> None:
    made.write("site", "stranger")
    assert any("does not know the key" in note for note in made.verify_bundle().notes)


def test_the_statement_of_another_bundle_is_refused(made: BundleBuilder, tmp_path: Path) -> None:
    other = BundleBuilder(tmp_path / "other")
    other.change(manifests=())
    theirs = other.signed_layout()

    def swap(layout: Layout) -> Layout:
        """Their list of contents and statement over our blobs."""
        return Layout(theirs.index, {**layout.blobs, **theirs.blobs})

    rewrite(made, swap)
    with pytest.raises(BlobExtraError):
        made.verify_bundle()


# -- what a signer of contents cannot do: the rules of the policy hold for what is in it ------------------------------


def changed(made: BundleBuilder, component: str, name: str, data: bytes) -> None:
    """The bundle's signer puts other bytes in than were built."""
    components = []
    for part in made.ingredients.components:
        files = tuple(
            replace(each, digest="sha256:" + hashlib.sha256(data).hexdigest(), size=len(data), source=data)
            if (part.name, each.name) == (component, name)
            else each
            for each in part.files
        )
        components.append(replace(part, files=files))
    made.change(components=tuple(components))


def test_other_bytes_than_were_built_are_refused(made: BundleBuilder) -> None:
    changed(made, "runc", "runc", b"\x7fELF evil")
    made.write()
    with pytest.raises(errors.ArtifactChangedError):
        made.verify_bundle()


def test_a_file_that_was_not_built_is_refused(made: BundleBuilder) -> None:
    runc = made.ingredients.components[1]
    extra = replace(runc.files[0], name="backdoor")
    made.change(components=(made.ingredients.components[0], replace(runc, files=(*runc.files, extra))))
    made.write()
    with pytest.raises(errors.ArtifactUnknownError):
        made.verify_bundle()


def test_a_file_of_another_kind_is_refused(made: BundleBuilder) -> None:
    runc = made.ingredients.components[1]
    files = tuple(replace(each, kind="program") if each.name == "runc.txt" else each for each in runc.files)
    made.change(components=(made.ingredients.components[0], replace(runc, files=files)))
    made.write()
    with pytest.raises(BundleContentError, match="is not the file that was signed"):
        made.verify_bundle()


def test_another_image_than_was_assembled_is_refused(made: BundleBuilder) -> None:
    evil = an_image("etcd", REFERENCE, b"\x7fELF evil")
    made.change(images=(replace(made.image, manifest=evil.manifest, blobs=evil.blobs),))
    made.write()
    with pytest.raises(ImageRefusedError, match=r"images/etcd is .*, signed is "):
        made.verify_bundle()


def test_an_image_under_another_reference_than_was_signed_is_refused(made: BundleBuilder) -> None:
    made.change(images=(replace(made.image, reference="registry.k8s.io/pause:3.10"),))
    made.write()
    with pytest.raises(ImageRefusedError, match=r"is registry\.k8s\.io/pause:3\.10 "):
        made.verify_bundle()


def test_an_image_that_nobody_signed_is_refused(made: BundleBuilder) -> None:
    made.change(images=(replace(made.image, statements={}),))
    made.write()
    with pytest.raises(errors.ProvenanceError):
        made.verify_bundle()


def test_an_image_of_another_version_is_refused(made: BundleBuilder) -> None:
    for version, error in (("3.7.4", errors.StatementError), ("../3", BundleContentError), ("", BundleContentError)):
        made.change(images=(replace(made.image, version=version),))
        made.write()
        with pytest.raises(error):
            made.verify_bundle()


def test_an_image_that_digests_toml_has_otherwise_is_refused(made: BundleBuilder) -> None:
    made.list_image("sha256:" + "0" * 64)
    made.change(release=made._ingredients().release, release_statements=made._ingredients().release_statements)
    made.write()
    with pytest.raises(ImageRefusedError, match=r"digests\.toml says"):
        made.verify_bundle()


def test_an_image_of_a_component_that_is_left_out_is_refused(made: BundleBuilder) -> None:
    made.change(components=made.ingredients.components[1:])
    made.write()
    with pytest.raises(errors.ArtifactUnknownError, match="is not in this bundle"):
        made.verify_bundle()


def test_an_image_without_enough_assemblies_is_refused(made: BundleBuilder) -> None:
    few = {name: data for name, data in made.image.statements.items() if name != second("provenance")}
    made.change(images=(replace(made.image, statements=few),))
    made.write()
    with pytest.raises(errors.ThresholdError):
        made.verify_bundle()


def test_two_images_under_one_reference_are_refused(made: BundleBuilder) -> None:
    made.change(images=(*made.ingredients.images, an_image("again", REFERENCE, b"\x7fELF again")))
    made.write()
    with pytest.raises(BundleContentError, match="has no reference or not one of its own"):
        made.verify_bundle()


def test_a_component_without_provenance_is_refused(made: BundleBuilder) -> None:
    bare = tuple(replace(each, statements={}) for each in made.ingredients.components)
    made.change(components=bare)
    made.write()
    with pytest.raises(errors.ProvenanceError):
        made.verify_bundle()


def test_a_rebuilder_who_is_not_heard_is_missed(made: BundleBuilder) -> None:
    def take_out(statements: dict[str, bytes]) -> dict[str, bytes]:
        return {name: data for name, data in statements.items() if name != second("provenance")}

    made.change(
        components=tuple(replace(each, statements=take_out(dict(each.statements))) for each in made.ingredients.components)
    )
    made.write()
    with pytest.raises(errors.ThresholdError):
        made.verify_bundle()


def test_another_release_is_refused(made: BundleBuilder) -> None:
    made.change(sequence=8)
    made.write()
    with pytest.raises(errors.ReleaseError, match="another release"):
        made.verify_bundle()
    made.change(sequence=7, release=tuple(replace(each, name="lockfile.toml") for each in made.ingredients.release[1:]))


def test_provenance_of_another_component_is_refused(made: BundleBuilder) -> None:
    etcd, runc = made.ingredients.components
    made.change(components=(etcd, replace(runc, statements=etcd.statements)))
    made.write()
    with pytest.raises(errors.StatementError, match="lies with"):
        made.verify_bundle()


def test_parts_that_are_missing_or_of_another_type_are_refused(made: BundleBuilder) -> None:
    from bundlebuilder import signing_key

    from kubewright.bundle.contents import Draft

    class Bare(Draft):
        def _fill(self) -> None:
            super()._fill()
            self.contents = [each for each in self.contents if each.annotations[TITLE] != "licences"]

    write_archive(Bare(made.ingredients).sign(signing_key("site")), made.file)
    with pytest.raises(BundleContentError, match="there is no licences"):
        made.verify_bundle()


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a//b", ".", "a/../b", "a\nb", "x" * 2000, "a\\b"])
def test_paths_that_lead_out_are_refused(name: str, made: BundleBuilder) -> None:
    runc = made.ingredients.components[1]
    files = (replace(runc.files[0], name=name), *runc.files[1:])
    made.change(components=(made.ingredients.components[0], replace(runc, files=files)))
    made.write()
    with pytest.raises(BundleContentError):
        made.verify_bundle()


# -- hostile documents ----------------------------------------------------------------------------------------------


def with_index(made: BundleBuilder, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads((made.directory / "index.json").read_text())
    change(value)
    (made.directory / "index.json").write_text(json.dumps(value))


def test_giant_and_deep_documents_end_early(made: BundleBuilder) -> None:
    (made.directory / "index.json").write_bytes(b"[" * (17 << 20))
    with pytest.raises(KubewrightError, match="more than"):
        made.verify_bundle(made.directory)
    (made.directory / "index.json").write_bytes(b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(DocumentError):
        made.verify_bundle(made.directory)


def test_a_manifest_of_many_megabytes_is_refused(made: BundleBuilder) -> None:
    data = b'{"schemaVersion":2' + b" " * (8 << 20) + b"}"
    found = Descriptor.of(MANIFEST, data)
    (made.directory / "blobs" / "sha256" / found.digest[7:]).write_bytes(data)
    with_index(made, lambda value: value["manifests"].append({**found.to_json(), "annotations": {TITLE: own("site")}}))
    with pytest.raises(KubewrightError):
        made.verify_bundle(made.directory)


def test_an_index_in_the_place_of_a_manifest_is_refused(made: BundleBuilder) -> None:
    with_index(made, lambda value: entry(value["manifests"], own("site")).update(mediaType=INDEX))
    with pytest.raises((BundleContentError, MediaTypeError)):
        made.verify_bundle(made.directory)


def test_a_referrer_about_itself_cannot_be_made_and_one_about_nothing_is_refused(made: BundleBuilder) -> None:
    """A digest cannot be in what it is the digest of; so a circle would need a subject that is not there."""
    layout = made.signed_layout()
    value = json.loads(layout.index)
    statement = entry(value["manifests"], f"components/runc/{second('provenance')}")
    manifest = json.loads(layout.blobs[statement["digest"]])  # type: ignore[arg-type]
    manifest["subject"]["digest"] = "sha256:" + "0" * 64
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    found = Descriptor.of(MANIFEST, data)

    def lie(entries: list[Any]) -> None:
        entry(entries, f"components/runc/{second('provenance')}").update(digest=found.digest, size=found.size)

    write_directory(Layout(edit(layout, lie).index, {**layout.blobs, found.digest: data}), made.directory)
    with pytest.raises(BundleContentError):
        made.verify_bundle(made.directory)


def test_thousands_of_statements_are_refused_at_once(made: BundleBuilder) -> None:
    def many(value: dict[str, Any]) -> None:
        one = entry(value["manifests"], own("site"))
        value["manifests"] += [one] * 5000

    with_index(made, many)
    with pytest.raises(BundleContentError, match="are the most"):
        made.verify_bundle(made.directory)


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_verifies_both_forms(made: BundleBuilder) -> None:
    import time

    made.now = int(time.time())
    for path in (made.file, made.directory):
        command = [sys.executable, "-m", "kubewright.cli", "verify", str(path), "--policy", str(made.policy)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert f"{REFERENCE}\n" in text
        assert "verified: tiny 3.7.3 linux/amd64: 4 files, 1 images" in text
        data = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
        assert data["verified"] is True
        assert data["bundle"]["stack"] == "tiny"
        assert len(data["files"]) == 4
        explained = subprocess.run([*command, "--explain"], capture_output=True, text=True, check=True).stdout
        assert "contents: signed in bundle." in explained
    refused = subprocess.run([*command, "--attestations", "x"], capture_output=True, text=True)
    assert refused.returncode == UsageError.exit_code
    made.write("stranger")
    refused = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert refused.returncode == errors.UnknownKeyError.exit_code
    assert json.loads(refused.stdout)["error"]["class"] == "UnknownKeyError"
    assert "Traceback" not in refused.stderr


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# -- when the bytes are not needed ----------------------------------------------------------------------------------------


def test_blobs_that_are_not_needed_are_not_read(made: BundleBuilder) -> None:
    """All but the blobs' bytes is verified all the same; what is read then is hashed on the way."""
    made.write()
    with opened(made, enough=True) as bundle:
        file = next(each for each in bundle.files if each.component != "etcd")
    blob = made.directory / "blobs" / "sha256" / file.digest.removeprefix("sha256:")
    blob.write_bytes(bytes(len(blob.read_bytes())))
    with opened(made, enough=True) as bundle, pytest.raises(BlobDamagedError):
        bundle.read(file)
    with pytest.raises(BlobDamagedError), opened(made, enough=False):
        pass


def test_what_is_not_needed_is_still_what_was_signed(made: BundleBuilder) -> None:
    made.write("second")
    with pytest.raises(BundleUnsignedError), opened(made, enough=True):
        pass


def opened(made: BundleBuilder, *, enough: bool) -> AbstractContextManager[VerifiedBundle]:
    options = BundleOptions(now=lambda: made.now, enough=lambda found: enough)
    return verify_bundle(made.directory, load_policy(made.policy), made.policy, options)
