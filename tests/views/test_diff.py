"""``kubewright diff``: what changed between two signed sets, or two checkouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project_builder import ProjectBuilder

from kubewright.errors import LockError, UsageError
from kubewright.views.diff import as_text, compare


def checkout(root: Path, version: str = "1.0.0", requires: dict[str, str] | None = None) -> ProjectBuilder:
    made = ProjectBuilder(root).component("runc", version, requires=requires or {"example.org/a": "v1.0.0"}).lock()
    return made.accepted(made.record("runc"))


def part(name: str, version: str, licence: str = "MIT") -> dict[str, object]:
    licences = [{"expression": licence}] if licence else []
    return {"type": "library", "name": name, "version": version, "licenses": licences}


def signed_set(made: ProjectBuilder, root: Path, *components: dict[str, object]) -> Path:
    """The folders of a signed set; diff looks at no signature."""
    (root / "release").mkdir(parents=True)
    for name in ("lockfile.toml", "digests.toml"):
        (root / "release" / name).write_text((made.root / name).read_text())
    version = made.project().recipe("runc").version
    folder = root / "attestations" / "runc" / version / "linux-amd64"
    folder.mkdir(parents=True)
    (folder / "sbom.cdx.json").write_text(json.dumps({"bomFormat": "CycloneDX", "components": list(components)}))
    return root


def test_nothing_changed(tmp_path: Path) -> None:
    one, two = checkout(tmp_path / "one"), checkout(tmp_path / "two")
    found = compare(one.root, two.root)
    assert found.empty
    assert "nothing changed in what is compared" in as_text(found)
    assert "no signature was checked" in as_text(found)


def test_checkouts_compare_locks_sums_and_outputs(tmp_path: Path) -> None:
    old = checkout(tmp_path / "old")
    new = checkout(tmp_path / "new", "1.1.0", {"example.org/a": "v1.2.0", "example.org/b": "v0.1.0"})
    found = compare(old.root, new.root)
    assert any(line.startswith("component runc: version 1.0.0 -> 1.1.0") for line in found.inputs)
    assert "runc: example.org/a v1.0.0 -> v1.2.0" in found.modules
    assert "runc: example.org/b v0.1.0 added" in found.modules
    assert "runc: example.org/runc v1.0.0 -> v1.1.0" in found.modules
    assert found.licences == []
    assert [line.partition(" (key")[0] for line in found.outputs] == ["runc linux/amd64: other inputs, the same bytes"]


def test_sets_compare_what_is_linked_and_its_licences(tmp_path: Path) -> None:
    made = checkout(tmp_path / "p")
    old = signed_set(made, tmp_path / "old", part("a", "v1"), part("b", "v1"), part("gone", "v1", "ISC"))
    new = signed_set(made, tmp_path / "new", part("a", "v2"), part("b", "v1", "BSL-1.1"), part("c", "v1", ""))
    found = compare(old, new)
    assert found.modules == [
        "runc linux/amd64: a v1 -> v2",
        "runc linux/amd64: c v1 added",
        "runc linux/amd64: gone v1 removed",
    ]
    assert found.licences == [
        "runc linux/amd64: b MIT -> BSL-1.1",
        "runc linux/amd64: unknown: first here, of c",
        "runc linux/amd64: BSL-1.1: first here, of b",
        "runc linux/amd64: ISC: no part has it any more",
    ]
    assert found.inputs == found.outputs == []


def test_outputs_by_digest(tmp_path: Path) -> None:
    old = checkout(tmp_path / "old")
    new = checkout(tmp_path / "new")
    new.accepted(new.record("runc", content="other"), key="sha256:" + "7" * 64)
    (line,) = compare(old.root, new.root).outputs
    assert line.startswith("runc linux/amd64: runc ")
    assert " -> " in line


def test_other_inputs_with_the_same_bytes_are_said(tmp_path: Path) -> None:
    old, new = checkout(tmp_path / "old"), checkout(tmp_path / "new")
    new.accepted(new.record("runc"), key="sha256:" + "7" * 64)
    (line,) = compare(old.root, new.root).outputs
    assert "other inputs, the same bytes" in line


def test_a_component_that_came_or_went(tmp_path: Path) -> None:
    old = checkout(tmp_path / "old")
    new = checkout(tmp_path / "new").component("etcd").lock()
    new.accepted(new.record("etcd"))
    found = compare(old.root, new.root)
    assert any(line.startswith("component etcd: new") for line in found.inputs)
    assert any(line.startswith("etcd linux/amd64: etcd added") for line in found.outputs)
    assert any(line.startswith("component etcd: removed") for line in compare(new.root, old.root).inputs)


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    made = checkout(tmp_path / "p")
    whole = signed_set(made, tmp_path / "set", part("a", "v1"))
    assert "not compared" in compare(made.root, whole).notes[0]
    assert "nothing changed" in as_text(compare(made.root, whole))


def test_folders_that_hold_no_release(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds neither release/lockfile\.toml nor lockfile\.toml"):
        compare(tmp_path, tmp_path)
    (tmp_path / "lockfile.toml").write_text("version = 1\n<<<<<<<\n")
    with pytest.raises(LockError):
        compare(tmp_path, tmp_path)
