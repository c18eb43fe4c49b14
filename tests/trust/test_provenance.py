"""What a provenance statement says: enough to build again, every input once, the same bytes every time."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from project_builder import CGO_BUILDER, PLATFORM, ProjectBuilder, h1, hexadecimal

from kubewright.canonical import canonical_digest, canonical_json
from kubewright.errors import BuildError
from kubewright.model.decode import decode
from kubewright.model.lockfile import Lock, LockedBuilder, LockedComponent, dump_lock
from kubewright.model.schema import Problem
from kubewright.project import Project
from kubewright.trust import provenance
from kubewright.verify.provenance import InputKind, LockParts, read_provenance
from kubewright.verify.statement import PROVENANCE, parse_statement

COMMIT = "c0" * 20


def statement(made: ProjectBuilder, name: str = "runc") -> dict[str, Any]:
    project = made.project()
    return provenance.statement(project, project.component(name), made.record(name))


def inputs(said: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    found = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {each["name"]: each for each in found if each["annotations"]["kubewright_kind"] == kind}


def test_one_build_gives_one_statement_byte_for_byte(made: ProjectBuilder, tmp_path: Path) -> None:
    first = canonical_json(statement(made))
    assert first == canonical_json(statement(made))
    shutil.copytree(made.root, tmp_path / "copy")
    assert first == canonical_json(statement(ProjectBuilder(tmp_path / "copy")))


def test_it_reads_back_strictly(made: ProjectBuilder) -> None:
    said = statement(made)
    parsed = parse_statement(canonical_json(said))
    assert (parsed.predicate_type, parsed.predicate) == (PROVENANCE, said["predicate"])
    assert parsed.digests() == made.record("runc").digests()
    found = read_provenance(parsed, "it")
    outputs = [(each.path, each.kind, each.size) for each in found.definition.internal.outputs]
    assert outputs == [("runc", "program", len("runc linux/amd64 runc"))]
    lock = made.project().lock
    assert found.external.lock == LockParts(lock.components["runc"], lock.builders["go"])


def test_every_input_is_there_once(made: ProjectBuilder) -> None:
    said = statement(made)
    found = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    names = [(each["annotations"]["kubewright_kind"], each["name"]) for each in found]
    assert names == sorted(set(names))
    locked = made.project().lock.components["runc"]
    assert {name for kind, name in names if kind in ("patch", "file")} == {file.path for file in locked.files}
    assert {kind for kind, _ in names} == {"source", "module", "patch", "file", "recipe", "toolchain"}


def test_digests_are_those_of_the_lock_in_in_toto_s_spelling(made: ProjectBuilder) -> None:
    said = statement(made)
    source = inputs(said, "source")["runc"]
    assert source["uri"] == "pkg:golang/example.org/runc@v1.0.0"
    assert source["digest"] == {"dirHash1": provenance.dirhash(h1("example.org/runcv1.0.0"))}
    assert inputs(said, "module")["example.org/dependency@v0.3.1"]["digest"] == {"dirHash1": hexadecimal("dependency")}
    patch = inputs(said, "patch")["patches/runc/0001-x.patch"]
    assert patch["annotations"] == {
        "kubewright_kind": "patch",
        "kubewright_source": "runc",
        "kubewright_reason": "it has to be",
    }
    toolchain = inputs(said, "toolchain")["go1.26.8.linux-amd64"]
    assert toolchain["uri"] == "pkg:golang/golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64"


def test_the_specification_s_own_example_of_dirhash1() -> None:
    """in-toto attestation v1, digest_set.md."""
    h1_value, encoded = "h1:Khu2En+0gcYPZ2kuIihfswbzxv/mIHXgzPZ018Oty48=", "2a1bb6127fb481c60f67692e22285fb3"
    assert provenance.dirhash(h1_value).startswith(encoded)


def test_a_confirmed_commit_is_an_input_of_its_own(made: ProjectBuilder) -> None:
    assert inputs(statement(made), "commit") == {}
    made.confirmed("runc", COMMIT).lock()
    commit = inputs(statement(made), "commit")["runc"]
    assert commit["uri"] == "git+https://git.example.org/runc@refs/tags/v1.0.0"
    assert commit["digest"] == {"gitCommit": COMMIT, "gitTree": hexadecimal("tree" + COMMIT)[:40]}


def test_what_it_takes_from_others(made: ProjectBuilder) -> None:
    said = statement(made, "containerd")
    taken = inputs(said, "component")["runc/runc"]
    assert "sha256:" + taken["digest"]["sha256"] == made.record("runc").digests()["runc"]
    assert taken["uri"] == f"urn:kubewright:key:{made.project().component('runc').key}"


def test_trees_and_archives_and_packages(tmp_path: Path) -> None:
    recipe = (
        'name = "x"\nversion = "1.0.0"\nsummary = "x"\nlicence = "Apache-2.0"\nbuilder = "cgo"\n'
        '[[source]]\nname = "t"\nform = "tree"\ngit = "https://git.example.org/t"\nmodule = "example.org/T"\n'
        '[[source]]\nname = "a"\nform = "archive"\nurl = "https://example.org/a-{version}.tar.gz"\n'
        '[[step]]\nrun = ["make"]\n[[output]]\npath = "x"\n[[output]]\npath = "share"\nkind = "tree"\n'
    )
    made = ProjectBuilder(tmp_path / "p").builder("cgo", CGO_BUILDER).recipe("x", recipe).stack("kubernetes", ["x"]).lock()
    said = statement(made, "x")
    sources = inputs(said, "source")
    assert set(sources["t"]["digest"]) == {"gitCommit", "gitTree"}
    assert sources["t"]["uri"] == "git+https://git.example.org/t@refs/tags/v1.0.0"
    assert sources["t"]["annotations"]["kubewright_tree"].startswith("sha256:")
    assert (sources["a"]["uri"], set(sources["a"]["digest"])) == ("https://example.org/a-1.0.0.tar.gz", {"sha256"})
    packages = inputs(said, "package")
    assert packages["gcc_12-1_amd64"]["uri"] == "pkg:deb/debian/gcc@12-1?arch=amd64&distro=bookworm"
    root = made.project().lock.builders["cgo"].root
    assert inputs(said, "root")["cgo"]["digest"] == {"kubewrightTree1": root.removeprefix("sha256:")}
    outputs = said["predicate"]["buildDefinition"]["internalParameters"]["outputs"]
    assert [(each["path"], each["kind"]) for each in outputs] == [("share", "tree"), ("x", "program")]
    read_provenance(parse_statement(canonical_json(said)), "it")


def test_it_is_enough_to_build_again(made: ProjectBuilder, tmp_path: Path) -> None:
    """Statement and checkout without its lock: the lock comes back, and with it the very key."""
    parameters = statement(made)["predicate"]["buildDefinition"]["externalParameters"]
    problems: list[Problem] = []
    component = decode(LockedComponent, parameters["lock"]["component"], problems)
    builder = decode(LockedBuilder, parameters["lock"]["builder"], problems)
    assert component is not None
    assert builder is not None
    assert problems == []
    shutil.copytree(made.root, tmp_path / "copy", ignore=shutil.ignore_patterns("lockfile.toml", "store", "artifacts"))
    lock = Lock(components={parameters["component"]: component}, builders={parameters["builder"]: builder})
    (tmp_path / "copy/lockfile.toml").write_text(dump_lock(lock))
    project = Project(tmp_path / "copy", {"KUBEWRIGHT_STORE": str(tmp_path / "store"), "KUBEWRIGHT_PLATFORM": PLATFORM})
    assert project.component("runc", parameters["platform"]).key == parameters["key"]


def test_who_ran_it_and_when(made: ProjectBuilder) -> None:
    found = made.record("runc")
    run = statement(made)["predicate"]["runDetails"]
    assert run["builder"] == {"id": "urn:kubewright:builder:bubblewrap:v1", "version": {"kubewright": "0.1.0"}}
    assert (run["metadata"]["startedOn"], run["metadata"]["finishedOn"]) == ("2026-11-18T11:06:40Z", "2026-11-18T11:06:52Z")
    digest = canonical_digest(dataclasses.asdict(found))
    assert run["metadata"]["invocationId"] == f"urn:kubewright:record:{digest}"
    assert made.project().store.read(digest)  # the record's very blob
    assert run["byproducts"][0]["digest"]["sha256"] == found.log.removeprefix("sha256:")


def test_a_record_of_other_inputs_is_refused(made: ProjectBuilder) -> None:
    found = made.record("runc")
    made.component("runc", "1.0.1").lock()
    project = made.project()
    with pytest.raises(BuildError, match="recipe and lock now say"):
        provenance.statement(project, project.component("runc"), found)


def test_our_own_schema_describes_it(made: ProjectBuilder) -> None:
    schema = Path(__file__).parents[2] / "schemas" / "statement-provenance.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text()))
    validator.validate(statement(made))
    wrong = statement(made)
    del wrong["predicate"]["buildDefinition"]["externalParameters"]["key"]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(wrong)


def test_the_page_s_example_is_one(made: ProjectBuilder) -> None:
    page = (Path(__file__).parents[2] / "docs" / "build-type-v1.md").read_text("utf-8")
    (example,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = read_provenance(parse_statement(example.encode()), "the example")
    assert found.external.component == "flannel-cni"
    kinds = set(re.findall(r"^\| `(\w+)`(?:, form `\w+`)? \|", page, re.MULTILINE))
    assert set(get_args(InputKind)) <= kinds
