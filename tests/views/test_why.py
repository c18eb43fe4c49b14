"""``why``: what is told, from which of record and lock, and by which name or digest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from project_builder import CGO_BUILDER, ProjectBuilder, hexadecimal

from kubewright import record
from kubewright.errors import LockOutdatedError, UsageError
from kubewright.files.tree import normalised_tar
from kubewright.views.known import explain_any
from kubewright.views.text import to_json
from kubewright.views.why import explain
from kubewright.views.why_text import as_text, gaps


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    patch = {"0001-drop-it.patch": "it cannot be fetched everywhere"}
    return (
        ProjectBuilder(tmp_path / "p").component("runc").component("containerd", "2.1.0", inputs=["runc"], patches=patch).lock()
    )


def text_of(made: ProjectBuilder, what: str, *, everything: bool = False) -> str:
    return as_text(explain_any(made.project(), what), everything=everything)


# -- from recipe and lock -----------------------------------------------------------------------------------------


def test_what_was_not_built_is_told_from_recipe_and_lock_and_says_so(made: ProjectBuilder) -> None:
    facts = explain(made.project(), "containerd")
    text = as_text(facts)
    assert facts.build is None
    assert "not built here" in text
    assert facts.key in text
    assert "example.org/containerd v2.1.0" in text
    assert "0001-drop-it.patch" in text
    assert "it cannot be fetched everywhere" in text
    assert f"runc (key {made.project().component('runc').key})" in text
    assert "-X main.version=v2.1.0" in text
    assert "known after a build" in text


def test_before_a_fetch_the_modules_are_those_of_go_sum(made: ProjectBuilder) -> None:
    facts = explain(made.project(), "runc")
    assert facts.modules_from == "go.sum"
    assert [module.path for module in facts.modules] == ["example.org/runc"]


def test_after_a_fetch_they_are_those_that_are_used(made: ProjectBuilder) -> None:
    project = made.project()
    key = project.component("runc").key.removeprefix("sha256:")
    project.store.put_json("modules", key, [["example.org/used", "v1.0.0", "h1:x"]])
    facts = explain(project, "runc")
    assert facts.modules_from == "list of an earlier fetch"
    assert [module.path for module in facts.modules] == ["example.org/used"]


def test_an_accepted_digest_is_what_to_expect(made: ProjectBuilder) -> None:
    digest = made.record("runc").digests()["runc"]
    made.accepted(made.record("runc"))
    made.project().store.drop_ref("record", made.project().component("runc").key.removeprefix("sha256:"))
    text = text_of(made, "runc")
    assert "not built here" in text
    assert f"{digest}  expected (digests.toml)" in text


def test_the_builders_packages_are_counted_and_shown_when_asked(made: ProjectBuilder) -> None:
    made.builder("cgo", CGO_BUILDER)
    recipe = (made.root / "recipes/runc/recipe.toml").read_text()
    made.recipe("runc", recipe.replace('builder = "go"', 'builder = "cgo"')).lock()
    assert "2 Debian packages" in text_of(made, "runc")
    assert "libc6-dev  12-1" not in text_of(made, "runc")
    assert "libc6-dev  12-1" in text_of(made, "runc", everything=True)


# -- what confirmed the pins --------------------------------------------------------------------------------------


def test_the_checksum_database_is_named_as_what_confirmed_a_module(made: ProjectBuilder) -> None:
    assert "h1 by the Go checksum database" in text_of(made, "runc")
    assert "the checksum database was off or out of reach" in text_of(made.unconfirmed().lock(), "runc")


def test_a_commit_is_confirmed_or_a_hint_or_absent(made: ProjectBuilder) -> None:
    assert "commit: the git origin was out of reach" in text_of(made, "runc")
    recipe = (made.root / "recipes/runc/recipe.toml").read_text()
    made.recipe("runc", recipe.replace("[[step]]", f'commit_hint = "{"b" * 40}"\n[[step]]', 1)).lock()
    hinted = text_of(made, "runc")
    assert f"hint {'b' * 40} is not used" in hinted
    assert "-X main.commit=" + "b" not in hinted
    confirmed = text_of(made.confirmed("runc", "a" * 40).lock(), "runc")
    assert "commit by its files" in confirmed
    assert "hint" not in confirmed
    assert "-X main.commit=" + "a" * 40 in confirmed


def test_an_archive_is_as_it_was_first_seen(made: ProjectBuilder) -> None:
    made.recipe(
        "data",
        'name = "data"\nversion = "1"\nsummary = "x"\nlicence = "MIT"\nbuilder = "go"\n[[source]]\nform = "archive"\n'
        'url = "https://example.org/data-{version}.tar"\n[[step]]\nrun = ["go", "version"]\n[[output]]\npath = "data"\n',
    ).lock()
    facts = explain(made.project(), "data")
    assert gaps(facts.sources[0]) == ["sha256 is of the archive as it was when it was locked"]
    assert "https://example.org/data-1.tar" in as_text(facts)


# -- from the build record ----------------------------------------------------------------------------------------


def test_a_build_is_told_from_its_record(made: ProjectBuilder) -> None:
    found = made.record("containerd")
    text = text_of(made, "containerd")
    assert "2026-11-18T11:06:40Z in 12 s, in bubblewrap; smoke checks passed" in text
    assert f"log {found.log}" in text
    assert found.digests()["containerd"] in text
    assert "2 Go modules in the programs' dependencies (--modules shows them)" in text
    assert "uid 1000, umask 0022, 2 CPUs" in text
    assert "h1:" in text_of(made, "containerd", everything=True).partition("example.org/dependency")[2].splitlines()[0]


@pytest.mark.parametrize(
    ("how", "said"),
    [("not", "not in digests.toml"), ("same", "as accepted in digests.toml"), ("key", "an entry of another key")],
)
def test_digests_toml_is_compared_by_key_and_digest(made: ProjectBuilder, how: str, said: str) -> None:
    found = made.record("runc")
    if how != "not":
        made.accepted(found, key="" if how == "same" else "sha256:" + hexadecimal("other"))
    assert said in text_of(made, "runc")


def test_a_build_that_differs_from_digests_toml_is_said(made: ProjectBuilder) -> None:
    made.accepted(made.record("runc"))
    made.record("runc", content="something else")
    assert "NOT what digests.toml has accepted" in text_of(made, "runc")


def test_rebuilds_that_agreed_and_that_did_not(made: ProjectBuilder) -> None:
    first = made.record("runc")
    made.rebuilt(first, sandbox="docker")
    made.rebuilt(first, sandbox="bubblewrap", content="changed")
    facts = explain(made.project(), "runc")
    assert {(each.conditions.sandbox, each.agrees) for each in facts.rebuilds} == {("docker", True), ("bubblewrap", False)}
    assert "DIFFERENT" in as_text(facts)


def test_a_recipe_newer_than_its_lock_is_told_from_the_latest_record(made: ProjectBuilder) -> None:
    made.record("runc")
    made.component("runc", "1.1.0")
    facts = explain(made.project(), "runc")
    assert facts.version == "1.0.0"
    assert not facts.current
    assert "not the key of recipe and lock as they are now" in as_text(facts)


def test_without_lock_and_record_there_is_nothing_to_tell(made: ProjectBuilder) -> None:
    made.component("runc", "1.1.0")
    with pytest.raises(LockOutdatedError):
        explain(made.project(), "runc")


def test_json_has_everything(made: ProjectBuilder) -> None:
    made.accepted(made.record("containerd"))
    data = json.loads(to_json(explain(made.project(), "containerd")))
    assert data["sources"][0]["patches"][0]["reason"] == "it cannot be fetched everywhere"
    assert data["modules"][0]["path"] == "example.org/dependency"
    assert data["outputs"][0]["verdict"] == "accepted"
    assert data["build"]["conditions"]["sandbox"] == "bubblewrap"


# -- by file ------------------------------------------------------------------------------------------------------


def test_a_renamed_copy_is_known_by_its_digest(made: ProjectBuilder, tmp_path: Path) -> None:
    found = made.record("containerd")
    copy = tmp_path / "what-is-this"
    copy.write_bytes(made.project().store.read(found.digests()["containerd"]))
    facts = explain_any(made.project(), str(copy))
    assert (facts.component, facts.output) == ("containerd", "containerd")
    assert as_text(facts).startswith(f"{copy} is containerd of containerd 2.1.0 for linux/amd64\n")
    assert explain_any(made.project(), found.digests()["containerd"]).component == "containerd"
    assert explain_any(made.project(), found.digests()["containerd"].removeprefix("sha256:")).component == "containerd"


def test_one_flipped_byte_is_not(made: ProjectBuilder, tmp_path: Path) -> None:
    data = bytearray(made.project().store.read(made.record("runc").digests()["runc"]))
    data[0] ^= 1
    (tmp_path / "runc").write_bytes(data)
    with pytest.raises(UsageError, match="nobody knows") as caught:
        explain_any(made.project(), str(tmp_path / "runc"))
    assert "changed" in caught.value.remedy


def test_a_folder_is_known_as_the_tree_that_it_is(made: ProjectBuilder, tmp_path: Path) -> None:
    made.recipe(
        "data",
        'name = "data"\nversion = "1"\nsummary = "x"\nlicence = "MIT"\nbuilder = "go"\n[[source]]\nform = "archive"\n'
        'url = "https://example.org/data.tar"\n[[step]]\nrun = ["go", "version"]\n[[output]]\npath = "share"\nkind = "tree"\n',
    ).lock()
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text("x")
    with (tmp_path / "tar").open("wb") as stream:
        normalised_tar(folder, stream)
    project = made.project()
    digest = project.store.put_file(tmp_path / "tar")
    found = made.record("data")
    record.save(project.store, replace(found, outputs=(replace(found.outputs[0], sha256=digest),)))
    assert explain_any(made.project(), str(folder)).output == "share"


def test_a_file_of_an_older_lock_is_known_while_its_record_is_there(made: ProjectBuilder) -> None:
    digest = made.record("runc").digests()["runc"]
    made.component("runc", "1.1.0").lock()
    facts = explain_any(made.project(), digest)
    assert (facts.version, facts.current) == ("1.0.0", False)


def test_what_somebody_else_built_is_known_from_digests_toml(made: ProjectBuilder) -> None:
    found = made.record("runc")
    made.accepted(found)
    made.project().store.drop_ref("record", found.key.removeprefix("sha256:"))
    facts = explain_any(made.project(), found.digests()["runc"])
    assert (facts.component, facts.build, facts.output) == ("runc", None, "runc")


def test_digests_toml_of_another_key_names_the_component_at_least(made: ProjectBuilder) -> None:
    found = made.record("runc")
    made.accepted(found).component("runc", "1.1.0").lock()
    made.project().store.drop_ref("record", found.key.removeprefix("sha256:"))
    with pytest.raises(UsageError, match=r"is runc of runc for linux/amd64.*another key"):
        explain_any(made.project(), found.digests()["runc"])


def test_equal_bytes_of_two_components_name_both(made: ProjectBuilder) -> None:
    made.record("runc", content="same")
    project = made.project()
    other = made.record("containerd")
    same = record.load(project.store, project.component("runc").key)
    assert same is not None
    record.save(project.store, replace(other, outputs=(replace(other.outputs[0], sha256=same.digests()["runc"]),)))
    facts = explain_any(made.project(), same.digests()["runc"])
    assert len(facts.also) == 1
    assert "the same bytes are also" in as_text(facts)


def test_what_is_neither_name_nor_file(made: ProjectBuilder) -> None:
    with pytest.raises(UsageError) as caught:
        explain_any(made.project(), "contanerd")
    assert caught.value.remedy == "did you mean 'containerd'?"


def test_a_platform_that_it_is_not_built_for(made: ProjectBuilder) -> None:
    with pytest.raises(UsageError, match="not built for linux/arm64"):
        explain_any(made.project(), "runc", "linux/arm64")
