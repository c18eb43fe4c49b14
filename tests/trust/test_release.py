"""The signed release: what it binds, and the number that only goes up."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from project_builder import ProjectBuilder

from kubewright import pyz
from kubewright.errors import LockOutdatedError, RecipeError, SequenceError
from kubewright.trust.keys import SigningKey
from kubewright.trust.publish import read
from kubewright.trust.release import sign_release
from kubewright.verify.statement import RELEASE


def bundle(made: ProjectBuilder, key: SigningKey) -> Path:
    return made.root / "artifacts" / "release" / f"release.{key.key_id}.sigstore.json"


def sign(made: ProjectBuilder, key: SigningKey) -> list[str]:
    return sorted(path.name for path in sign_release(made.project(), key).written)


def change(made: ProjectBuilder) -> None:
    made.write("patches/runc/0001-x.patch", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+c\n").lock()


def test_lock_digests_and_number_are_bound_together(made: ProjectBuilder, key: SigningKey) -> None:
    assert sign(made, key) == sorted(["digests.toml", "kubewright-verify.pyz", "lockfile.toml", bundle(made, key).name])
    said = read(bundle(made, key))
    assert said.predicate_type == RELEASE
    for name, digest in said.digests().items():
        data = (bundle(made, key).parent / name).read_bytes()
        assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
        assert data == (pyz.build() if name == pyz.NAME else (made.root / name).read_bytes())
    assert set(said.digests()) == {"lockfile.toml", "digests.toml", "kubewright-verify.pyz"}
    project = made.project()
    keys = {name: {"linux/amd64": project.component(name).key} for name in ("runc", "containerd")}
    assert said.predicate == {"sequence": 1, "components": keys}


def test_it_does_not_depend_on_what_is_built(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    made.record("containerd")
    assert sign(made, key) == []


def test_one_number_stands_for_one_content(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    before = bundle(made, key).read_bytes()
    change(made)
    with pytest.raises(SequenceError, match=r"lockfile\.toml changed since release 1") as caught:
        sign(made, key)
    assert "sequence = 2" in caught.value.remedy
    assert bundle(made, key).read_bytes() == before
    made.write("release.toml", "sequence = 2\n")
    assert bundle(made, key).name in sign(made, key)
    assert read(bundle(made, key)).predicate["sequence"] == 2


def test_digests_count_as_content(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    made.accepted(made.record("runc"))
    with pytest.raises(SequenceError, match=r"digests\.toml changed"):
        sign(made, key)


def test_so_does_a_recipe_that_the_lock_does_not_show(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    path = made.root / "recipes/runc/recipe.toml"
    path.write_text(path.read_text().replace('"main.version"', '"main.release"'))
    with pytest.raises(SequenceError, match="a build key changed"):
        sign(made, key)


def test_the_number_never_goes_down(made: ProjectBuilder, key: SigningKey) -> None:
    made.write("release.toml", "sequence = 7\n")
    sign(made, key)
    made.write("release.toml", "sequence = 6\n")
    with pytest.raises(SequenceError, match="has been signed with 7"):
        sign(made, key)


def test_a_release_that_cannot_be_read_is_not_passed_over(made: ProjectBuilder, key: SigningKey) -> None:
    sign(made, key)
    bundle(made, key).write_text("{}")
    with pytest.raises(SequenceError, match="what was signed last is not known"):
        sign(made, key)


def test_another_operator_signs_the_same_release(made: ProjectBuilder, key: SigningKey, second: SigningKey) -> None:
    sign(made, key)
    assert sign(made, second) == [bundle(made, second).name]
    assert read(bundle(made, key)) == read(bundle(made, second))


def test_a_new_key_has_not_forgotten(made: ProjectBuilder, key: SigningKey, second: SigningKey) -> None:
    made.write("release.toml", "sequence = 2\n")
    sign(made, key)
    change(made)
    with pytest.raises(SequenceError, match="changed since release 2"):
        sign(made, second)
    made.write("release.toml", "sequence = 1\n")
    with pytest.raises(SequenceError, match="has been signed with 2"):
        sign(made, second)


def test_nobody_blocks_a_release_with_what_is_none(made: ProjectBuilder, key: SigningKey) -> None:
    path = bundle(made, key).with_name("release.0000000000000000.sigstore.json")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert bundle(made, key).name in sign(made, key)


@pytest.mark.parametrize("name", ["lockfile.toml", "digests.toml"])
def test_without_what_it_binds(made: ProjectBuilder, key: SigningKey, name: str) -> None:
    (made.root / name).unlink()
    with pytest.raises(LockOutdatedError, match=f"there is no {name}"):
        sign(made, key)


@pytest.mark.parametrize("text", ["sequence = 0\n", 'sequence = "1"\n', ""])
def test_a_number_that_is_none(made: ProjectBuilder, key: SigningKey, text: str) -> None:
    made.write("release.toml", text)
    with pytest.raises(RecipeError, match="sequence"):
        sign(made, key)


def test_without_the_file(made: ProjectBuilder, key: SigningKey) -> None:
    (made.root / "release.toml").unlink()
    with pytest.raises(RecipeError, match=r"no release\.toml"):
        sign(made, key)


def test_a_lock_that_is_older_than_its_recipes_is_not_released(made: ProjectBuilder, key: SigningKey) -> None:
    made.component("runc", "2.0.0")
    with pytest.raises(LockOutdatedError):
        sign(made, key)
