"""verify_set: what can be asked about, what is said, how operators count, what is remembered and copied."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from setbuilder import OUTPUTS, SetBuilder, h1, hexadecimal, key_id, place, public_key
from tamper_cases import hear_third, other_bytes

from kubewright.errors import UsageError
from kubewright.verify import errors
from kubewright.verify.report import as_data, as_text


@pytest.fixture
def made(tmp_path: Path) -> SetBuilder:
    return SetBuilder(tmp_path)


def paths(made: SetBuilder, path: Path, **options: object) -> list[str]:
    return sorted(each.path for each in made.verify(path, **options).artifacts)


# -- what can be asked about --------------------------------------------------------------------------------------


def test_a_whole_set_a_component_a_folder_and_a_file(made: SetBuilder) -> None:
    everything = sorted(f"{place(name)}/{output}" for name, outputs in OUTPUTS.items() for output in outputs)
    assert paths(made, made.set) == everything
    etcd = [each for each in everything if each.startswith("etcd/")]
    for path in ("etcd", "etcd/3.7.3", place("etcd")):
        assert paths(made, made.set / path) == etcd
    assert paths(made, made.output("etcd", "etcdctl")) == [f"{place('etcd')}/etcdctl"]


def test_what_is_inside_a_tree_stands_for_the_tree(made: SetBuilder) -> None:
    assert paths(made, made.output("runc", "share") / "man/runc.8") == [f"{place('runc')}/share"]
    (made.output("runc", "share") / "man/runc.8").write_text("other")
    with pytest.raises(errors.ArtifactChangedError):
        made.verify(made.output("runc", "share") / "man/runc.8")


def test_only_what_is_asked_about_is_judged(made: SetBuilder) -> None:
    made.output("runc", "runc").write_bytes(b"other")
    assert len(paths(made, made.set / "etcd")) == 2
    with pytest.raises(errors.ArtifactChangedError):
        made.verify()


def test_a_file_outside_of_a_set_is_known_by_its_bytes(made: SetBuilder, tmp_path: Path) -> None:
    where = {"attestations": made.attestations, "release": made.release}
    loose = tmp_path / "bin" / "renamed"
    loose.parent.mkdir()
    shutil.copy(made.output("etcd", "etcdctl"), loose)
    assert paths(made, loose, **where) == ["renamed"]
    with pytest.raises(UsageError, match="no folder above it"):
        made.verify(loose)
    loose.write_bytes(b"other")
    with pytest.raises(errors.ArtifactUnknownError):
        made.verify(loose, **where)
    named = loose.with_name("etcd")
    named.write_bytes(b"other")
    with pytest.raises(errors.ArtifactChangedError, match=r"not that of etcd/3.7.3/linux-amd64: etcd"):
        made.verify(named, **where)


def test_artifacts_and_evidence_may_lie_apart(made: SetBuilder, tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    apart.mkdir()
    made.attestations.rename(apart / "attestations")
    made.release.rename(apart / "release")
    assert len(paths(made, made.set, attestations=apart / "attestations", release=apart / "release")) == 5


@pytest.mark.parametrize("inside", ["release", "attestations", "attestations/etcd"])
def test_evidence_is_nothing_to_verify(made: SetBuilder, inside: str) -> None:
    with pytest.raises(UsageError, match="part of the evidence"):
        made.verify(made.set / inside)


def test_an_undeclared_file_is_refused_by_name_as_well(made: SetBuilder) -> None:
    path = made.set / place("etcd") / "more"
    path.write_bytes(b"x")
    with pytest.raises(errors.ArtifactUnknownError):
        made.verify(path)
    (made.set / "README").write_text("x")
    path.unlink()
    with pytest.raises(errors.ArtifactUnknownError, match="README"):
        made.verify()


def test_a_link_is_refused_where_it_is_named(made: SetBuilder, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(made.set)
    with pytest.raises(errors.UnsafeSetError):
        made.verify(link)


# -- operators ----------------------------------------------------------------------------------------------------


def test_dissent_is_shown_and_does_not_count(made: SetBuilder) -> None:
    hear_third(made)
    report = made.verify()
    assert len(report.dissent) == 1
    assert f"third in attestations/{place('etcd')}" in str(report.dissent[0])
    assert hexadecimal("other bytes")[:16] in str(report.dissent[0])
    assert "dissent: etcd/3.7.3" in as_text(report)
    assert as_data(report)["dissent"] == [str(report.dissent[0])]


def test_three_of_three_with_a_dissent_refuses_and_names_it(made: SetBuilder) -> None:
    hear_third(made)
    made.policy.write_text(made.policy.read_text().replace("threshold = 2", "threshold = 3"))
    with pytest.raises(errors.ThresholdError, match="site, second of site, second, third agree: 2 of 3") as caught:
        made.verify()
    assert "dissent: etcd/3.7.3" in caught.value.details


def test_an_operator_who_says_both_counts_for_nothing(made: SetBuilder) -> None:
    made.policy.write_text(made.policy.read_text().replace('operator = "third"', 'operator = "second"'))
    made.sign_provenance("etcd", "third", other_bytes)
    with pytest.raises(errors.ThresholdError, match="1 of 2"):
        made.verify()


def test_a_rebuild_that_breaks_a_rule_does_not_count_and_why_is_said(made: SetBuilder) -> None:
    made.sign_provenance("etcd", "second", sandbox="laptop")
    with pytest.raises(errors.ThresholdError) as caught:
        made.verify()
    assert "built by urn:kubewright:builder:laptop:v1" in caught.value.details


def test_unknown_and_revoked_voices_are_listed_and_harmless(made: SetBuilder) -> None:
    made.sign_provenance("etcd", "mallory", other_bytes)
    report = made.verify()
    assert report.dissent == ()
    assert [each for each in report.ignored if key_id("mallory") in each]


def test_a_statement_without_a_rule_is_listed(made: SetBuilder) -> None:
    statement = {**made.provenance("etcd"), "predicateType": "https://slsa.dev/verification_summary/v1", "predicate": {}}
    made.put(made.bundle("etcd", "vsa", "site"), statement, "site")
    assert any("verification_summary" in each for each in made.verify().ignored)


def test_two_provenance_operators_who_differ_where_digests_toml_is_silent(made: SetBuilder) -> None:
    text = (
        made.policy.read_text().replace('unlisted = "refuse"', 'unlisted = "allow"').replace("threshold = 2", "threshold = 1")
    )
    made.policy.write_text(text.replace('[provenance]\noperators = ["site"]', '[provenance]\noperators = ["site", "second"]'))
    digests = (made.release / "digests.toml").read_text()
    cut = digests[: digests.index("[component.runc")] + digests[digests.index("# end of") :]
    (made.release / "digests.toml").write_text(cut)
    made.sign_release()
    assert made.verify().artifacts
    made.sign_provenance("runc", "second", other_bytes)
    with pytest.raises(errors.ThresholdError, match="name different bytes"):
        made.verify()


# -- policy over inputs -------------------------------------------------------------------------------------------


def test_locks_alone_and_origins_alone_are_enough(made: SetBuilder) -> None:
    text = made.policy.read_text()
    lines = {line.split(" = ")[0]: line for line in text.split("\n")}
    for name in ("locks", "allow"):
        made.policy.write_text(text.replace(lines[name], f"{name} = []"))
        assert made.verify().artifacts


@pytest.mark.parametrize(
    ("kind", "name"),
    [("source", "etcd"), ("commit", "etcd"), ("file", "recipes/etcd/go.mod"), ("toolchain", "go1.26.8.linux-amd64")],
)
def test_each_pinned_input_has_to_have_its_digest(made: SetBuilder, kind: str, name: str) -> None:
    def change(statement: dict) -> None:
        for each in statement["predicate"]["buildDefinition"]["resolvedDependencies"]:
            if (each["annotations"]["kubewright_kind"], each["name"]) == (kind, name):
                each["digest"] = {key: "9" * len(value) for key, value in each["digest"].items()}

    made.sign_provenance("etcd", "site", change)
    with pytest.raises(errors.NotLockedError, match=kind):
        made.verify()


@pytest.mark.parametrize(
    ("component", "kind"),
    [("etcd", "source"), ("etcd", "toolchain"), ("etcd", "patch"), ("runc", "package"), ("runc", "root"), ("runc", "source")],
)
def test_no_pinned_input_can_be_left_out(made: SetBuilder, component: str, kind: str) -> None:
    def change(statement: dict) -> None:
        definition = statement["predicate"]["buildDefinition"]
        definition["resolvedDependencies"] = [
            each for each in definition["resolvedDependencies"] if each["annotations"]["kubewright_kind"] != kind
        ]

    made.sign_provenance(component, "site", change)
    with pytest.raises(errors.NotLockedError, match=kind):
        made.verify()


@pytest.mark.parametrize(
    ("component", "kind"), [("etcd", "source"), ("etcd", "commit"), ("runc", "source"), ("runc", "package")]
)
def test_an_origin_has_to_be_the_locks(made: SetBuilder, component: str, kind: str) -> None:
    """Else a statement could name a place that the policy likes for bytes from another one."""

    def change(statement: dict) -> None:
        for each in statement["predicate"]["buildDefinition"]["resolvedDependencies"]:
            if each["annotations"]["kubewright_kind"] == kind:
                each["uri"] = "git+https://github.com/somebody/else@refs/tags/v1"

    made.sign_provenance(component, "site", change)
    with pytest.raises(errors.NotLockedError, match="is from git"):
        made.verify()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_full_disk_is_said_and_leaves_nothing(made: SetBuilder, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        with pytest.raises(errors.VerifyError, match="No space left"):
            made.verify(copy_to=small / "copy")
        assert list(small.iterdir()) == []
        assert not made.state.exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_another_lock_in_the_parameters_is_refused(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        parameters = statement["predicate"]["buildDefinition"]["externalParameters"]
        parameters["lock"]["component"]["source"][0]["go_mod_h1"] = h1("another go.mod")

    made.sign_provenance("etcd", "site", change)
    with pytest.raises(errors.NotLockedError, match="another lock"):
        made.verify()


def test_unknown_licences_may_be_allowed(made: SetBuilder) -> None:
    made.sign_sbom("etcd", change=lambda statement: statement["predicate"]["components"][0].pop("licenses"))
    made.write_policy(unknown='unknown = "allow"')
    assert made.verify().artifacts


def test_without_an_sbom_licences_are_unknown(made: SetBuilder) -> None:
    made.bundle("etcd", "cyclonedx", "site").unlink()
    made.write_policy(required="required = false")
    with pytest.raises(errors.LicenceError, match="no SBOM"):
        made.verify()
    made.policy.write_text(made.policy.read_text().replace('unknown = "refuse"', 'unknown = "allow"'))
    report = made.verify()
    assert any("no cyclonedx SBOM" in note for each in report.places for note in each.notes)


# -- the report ---------------------------------------------------------------------------------------------------


def test_explain_names_for_each_rule_the_statement(made: SetBuilder) -> None:
    text = as_text(made.verify(made.set / "etcd"), explain=True)
    for rule in ("release", "provenance", "digests.toml", "sources", "rebuilds", "sbom cyclonedx", "licences"):
        assert any(line.strip().startswith(rule) and ".sigstore.json" in line for line in text.split("\n")), rule
    assert f"provenance.{key_id('second')}.sigstore.json" in text
    assert "not signed: attestations/etcd/3.7.3/linux-amd64/ATTRIBUTION" in text


def test_json_has_the_digests_and_the_rules(made: SetBuilder) -> None:
    data = json.loads(json.dumps(as_data(made.verify(made.output("etcd", "etcd")))))
    assert data["verified"] is True
    assert data["release"]["sequence"] == 7
    (artifact,) = data["artifacts"]
    assert artifact["sha256"] == made.digest("etcd", "etcd")
    assert {each["rule"] for each in artifact["rules"]} >= {"release", "provenance", "rebuilds", "sources"}


# -- what is remembered -------------------------------------------------------------------------------------------


def test_the_highest_sequence_and_the_latest_time_are_remembered(made: SetBuilder) -> None:
    made.verify()
    assert json.loads(made.state.read_text()) == {"version": 1, "sequence": 7, "time": made.now}
    made.now += 50
    made.sign_release(sequence=9)
    made.verify()
    assert json.loads(made.state.read_text()) == {"version": 1, "sequence": 9, "time": made.now}
    made.now -= 100  # within what time servers correct
    made.verify()
    assert json.loads(made.state.read_text())["time"] == made.now + 100


def test_a_refusal_remembers_nothing(made: SetBuilder) -> None:
    made.sign_release(sequence=100)
    made.output("etcd", "etcd").write_bytes(b"x")
    with pytest.raises(errors.ArtifactChangedError):
        made.verify()
    assert not made.state.exists()


def test_a_state_that_cannot_be_written_refuses(made: SetBuilder) -> None:
    made.write_policy(file='file = "no/such/folder/state.json"')
    with pytest.raises(errors.StateError):
        made.verify()


# -- the copy -----------------------------------------------------------------------------------------------------


def test_a_copy_is_a_set_of_the_verified_bytes(made: SetBuilder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    made.verify(copy_to=copy)
    for path in made.set.rglob("*"):
        twin = copy / path.relative_to(made.set)
        assert twin.is_dir() if path.is_dir() else twin.read_bytes() == path.read_bytes()
    assert stat.S_IMODE((copy / place("etcd") / "etcd").stat().st_mode) == 0o755
    assert stat.S_IMODE((copy / place("runc") / "runc.txt").stat().st_mode) == 0o644
    assert len(made.verify(copy).artifacts) == 5
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".copy")] == []


def test_modes_of_a_copy_are_the_signed_ones(made: SetBuilder, tmp_path: Path) -> None:
    made.output("etcd", "etcd").chmod(0o4777)
    made.output("runc", "runc.txt").chmod(0o755)
    made.verify(copy_to=tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy" / place("etcd") / "etcd").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "copy" / place("runc") / "runc.txt").stat().st_mode) == 0o644


def test_a_copy_of_a_part_verifies_by_itself(made: SetBuilder, tmp_path: Path) -> None:
    made.verify(made.set / "etcd", copy_to=tmp_path / "copy")
    assert len(made.verify(tmp_path / "copy").artifacts) == 2
    assert not (tmp_path / "copy" / "runc").exists()


def test_a_copy_never_goes_over_something(made: SetBuilder, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.mkdir()
    made.verify(copy_to=target)  # empty: fine
    with pytest.raises(UsageError, match="exists"):
        made.verify(copy_to=target)


def test_what_is_swapped_after_verifying_is_not_in_the_copy(made: SetBuilder, tmp_path: Path) -> None:
    made.verify(copy_to=tmp_path / "copy")
    good = made.output("etcd", "etcd").read_bytes()
    made.output("etcd", "etcd").write_bytes(b"swapped")
    assert (tmp_path / "copy" / place("etcd") / "etcd").read_bytes() == good


def test_a_file_written_to_while_it_is_hashed_is_refused(made: SetBuilder) -> None:
    """The name stays, the inode stays, the bytes change."""

    def watch(path: str) -> None:
        if path.endswith("/etcdctl"):
            with made.output("etcd", "etcd").open("r+b") as stream:
                stream.write(b"\x7fELF")  # the same bytes even: whoever writes now is not to be trusted

    with pytest.raises(errors.FileReplacedError):
        made.verify(workers=1, watch=watch)


# -- keys ---------------------------------------------------------------------------------------------------------


def test_two_keys_of_an_operator_may_both_sign(made: SetBuilder) -> None:
    made.policy.write_text(made.policy.read_text().replace('operator = "third"', 'operator = "site"'))
    made.sign_release("third")
    made.sign_provenance("etcd", "third")
    assert made.verify().signers == ("site",)


def test_a_revoked_key_takes_everything_with_it(made: SetBuilder) -> None:
    text = made.policy.read_text().replace('operator = "third"', 'operator = "site"')
    fingerprint = public_key("site").fingerprint
    made.policy.write_text(text.replace("revoked = []", f'revoked = [{{ fingerprint = "{fingerprint}", reason = "lost" }}]'))
    with pytest.raises(errors.RevokedKeyError, match="lost"):
        made.verify()


def test_two_releases_by_allowed_signers_have_to_be_one(made: SetBuilder) -> None:
    text = made.policy.read_text().replace('[release]\noperators = ["site"]', '[release]\noperators = ["site", "second"]')
    made.policy.write_text(text)
    made.sign_release("second")
    assert made.verify().signers == ("second", "site")
    made.sign_release("second", sequence=8)
    with pytest.raises(errors.ReleaseError, match="different releases"):
        made.verify()


# -- rules that others would hide ---------------------------------------------------------------------------------


def alone(made: SetBuilder) -> None:
    """Only the first builder speaks, so that no threshold can refuse in place of another rule."""
    text = made.policy.read_text().replace("threshold = 2", "threshold = 1")
    made.policy.write_text(text.replace('operators = ["site", "second"]', 'operators = ["site"]'))
    for component in OUTPUTS:
        made.bundle(component, "provenance", "second").unlink()


def test_digests_toml_decides_over_provenance(made: SetBuilder) -> None:
    alone(made)
    assert made.verify().artifacts
    made.sign_provenance("etcd", "site", other_bytes)
    with pytest.raises(errors.SubjectError, match=r"etcd is sha256:.*, digests.toml says sha256:"):
        made.verify()


def test_digests_toml_of_another_build_is_refused(made: SetBuilder) -> None:
    alone(made)
    digests = made.release / "digests.toml"
    key = made.provenance("etcd")["predicate"]["buildDefinition"]["externalParameters"]["key"]
    digests.write_text(digests.read_text().replace(key, f"sha256:{hexadecimal('older build')}"))
    made.sign_release()
    with pytest.raises(errors.SubjectError, match="lists another build"):
        made.verify()


@pytest.mark.parametrize("name", ["lockfile.toml", "digests.toml"])
def test_a_release_without_one_of_its_files_is_none(made: SetBuilder, name: str) -> None:
    (made.release / name).unlink()
    made.sign_release()
    with pytest.raises(errors.ReleaseError, match=f"{name} is not there"):
        made.verify()


def test_a_file_beside_the_release_has_to_be_signed_with_it(made: SetBuilder) -> None:
    (made.release / "kubewright-verify.pyz").write_bytes(b"verifier")
    with pytest.raises(errors.ReleaseError, match=r"kubewright-verify\.pyz is not what"):
        made.verify()
    subject = {"name": "kubewright-verify.pyz", "digest": {"sha256": hexadecimal("verifier")}}
    made.sign_release(change=lambda statement: statement["subject"].append(subject))
    assert made.verify().artifacts


def test_a_builder_that_the_lock_does_not_have_is_refused(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        statement["predicate"]["buildDefinition"]["externalParameters"]["builder"] = "other"

    made.sign_provenance("etcd", "site", change)
    with pytest.raises(errors.NotLockedError, match=r"no \[builder.other\]"):
        made.verify()


def test_who_may_not_sign_is_named(made: SetBuilder) -> None:
    made.bundle("etcd", "provenance", "site").unlink()
    with pytest.raises(errors.ProvenanceError, match=r"second in .* signed its provenance, and the policy does not let them"):
        made.verify()
    made.bundle("etcd", "provenance", "second").unlink()
    with pytest.raises(errors.ProvenanceError, match="there is no signed provenance"):
        made.verify()


def with_input(made: SetBuilder, kind: str, name: str, digest: str, uri: str = "") -> None:
    item = {
        "name": name,
        "digest": {"sha256": digest},
        "annotations": {"kubewright_kind": kind},
        **({"uri": uri} if uri else {}),
    }
    made.sign_provenance("etcd", "site", lambda each: each["predicate"]["buildDefinition"]["resolvedDependencies"].append(item))


def test_an_output_of_another_component_has_to_be_the_listed_one(made: SetBuilder) -> None:
    with_input(made, "component", "runc/runc", made.digest("runc", "runc"))
    assert made.verify().artifacts
    with_input(made, "component", "runc/runc", hexadecimal("another runc"))
    with pytest.raises(errors.NotLockedError, match=r"component runc/runc is not the one that digests\.toml lists"):
        made.verify()


@pytest.mark.parametrize("uri", ["", "pkg:npm/left-pad@1.0.0", "ftp://example.com/x"])
def test_an_input_without_an_origin_that_a_policy_can_name_is_refused(made: SetBuilder, uri: str) -> None:
    with_input(made, "module", "left-pad", hexadecimal("left-pad"), uri)
    with pytest.raises(errors.SourceRefusedError, match="has no origin"):
        made.verify()


def test_an_input_that_is_not_locked_is_named(made: SetBuilder) -> None:
    with_input(made, "file", "recipes/etcd/overlay.go", hexadecimal("overlay"))
    with pytest.raises(errors.NotLockedError, match=r"file recipes/etcd/overlay\.go is not in the signed"):
        made.verify()


def test_a_loose_file_is_not_copied(made: SetBuilder, tmp_path: Path) -> None:
    loose = tmp_path / "bin" / "etcd"
    loose.parent.mkdir()
    shutil.copy(made.output("etcd", "etcd"), loose)
    with pytest.raises(UsageError, match="belongs to no set"):
        made.verify(loose, attestations=made.attestations, release=made.release, copy_to=tmp_path / "copy")


def test_an_empty_set_is_not_verified(made: SetBuilder) -> None:
    for component in OUTPUTS:
        shutil.rmtree(made.set / component)
    with pytest.raises(errors.ArtifactUnknownError, match="nothing to verify"):
        made.verify()


def test_a_folder_in_the_place_of_a_program_is_refused_and_a_file_in_that_of_a_tree(made: SetBuilder) -> None:
    tree = made.output("runc", "share")
    packed = made.packed("runc", "share")
    shutil.rmtree(tree)
    tree.write_bytes(packed)  # the very bytes whose digest is signed
    with pytest.raises(errors.ArtifactChangedError, match="is not the tree that was signed"):
        made.verify()
    made.output("etcd", "etcd").unlink()
    made.output("etcd", "etcd").mkdir()
    with pytest.raises(errors.ArtifactChangedError, match="is not the program that was signed"):
        made.verify(made.set / "etcd")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("provenance.sigstore.json", "the name of a bundle is"),
        ("provenance.XYZ.sigstore.json", "the name of a bundle is"),
        (f"provenance.{key_id('second')}.sigstore.json", "its name says key"),
    ],
)
def test_a_bundle_has_the_name_that_it_should_have(made: SetBuilder, name: str, what: str) -> None:
    path = made.bundle("etcd", "provenance", "site")
    path.rename(path.with_name(name))
    with pytest.raises(errors.BundleError, match=what):
        made.verify()


def test_a_release_statement_among_those_about_artifacts_is_refused(made: SetBuilder) -> None:
    shutil.copy(made.release_bundle(), made.attestations / place("etcd"))
    with pytest.raises(errors.StatementError, match="does not belong here"):
        made.verify()


def test_other_files_among_the_statements_are_refused(made: SetBuilder) -> None:
    (made.attestations / place("etcd") / "notes.txt").write_text("x")
    with pytest.raises(errors.ArtifactUnknownError, match="neither a bundle"):
        made.verify()


def test_a_folder_that_is_no_platform_is_refused(made: SetBuilder) -> None:
    (made.set / "etcd" / "3.7.3" / "plan9-amd64").mkdir()
    with pytest.raises(errors.ArtifactUnknownError, match="is not NAME/VERSION/OS-ARCH"):
        made.verify()


def test_what_is_not_there_is_said(made: SetBuilder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        made.verify(tmp_path / "none")
    with pytest.raises(UsageError, match="is no directory"):
        made.verify(copy_to=tmp_path / "none" / "copy")
