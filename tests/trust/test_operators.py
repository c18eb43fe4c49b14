"""m of n: the first builder and rebuilders sign what each of them built; a policy says how many of them have to agree.

Once with small records, and once with the real ones that the store of this run holds: etcd, runc and pause, built in bubblewrap
and again, cold and varied, in docker (CI builds them before the tests; elsewhere KUBEWRIGHT_STORE may name such a store).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from project_builder import ProjectBuilder
from signers import new_key

from kubewright import record
from kubewright.building.component import existing
from kubewright.errors import DissentError
from kubewright.files.digest import sha256_bytes
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.trust import provenance
from kubewright.trust.keys import SigningKey
from kubewright.trust.publish import attest, sign_component
from kubewright.trust.release import sign_release
from kubewright.trust.setfolder import attestation_directory, bundle_name
from kubewright.trust.sign import sign_statement
from kubewright.verify.check import verify_set
from kubewright.verify.errors import ThresholdError
from kubewright.verify.newpolicy import new_policy
from kubewright.verify.policy import load_policy
from kubewright.verify.report import Report

ROOT = Path(__file__).parents[2]
REAL = ("etcd", "runc", "pause")


class Operators:
    """``site`` signs what it built first; ``second`` and ``third`` attest; a verifier holds a policy that knows all of them."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.keys: Mapping[str, SigningKey] = {name: new_key(folder, name) for name in ("site", "second", "third")}

    def sign(self, *names: str) -> None:
        for name in names:
            sign_component(self.project, self.project.component(name), self.keys["site"], lambda *_: {})
        sign_release(self.project, self.keys["site"])

    def attest(self, operator: str, name: str) -> Path:
        return attest(self.project, self.project.component(name), self.keys[operator], Progress("attest"))

    def verify(self, threshold: int, path: str = "") -> Report:
        """The set, or a part of it, under a policy with this threshold. SBOMs have tests of their own."""
        known = [(name, key.public) for name, key in self.keys.items()]
        text = new_policy(known, "").replace("allow = []", 'allow = ["module:*", "deb:*"]')
        names = '["second", "site", "third"]'
        assert text.count(names) == 3
        text = text.replace(names, '["site"]', 2).replace("threshold = 1 ", f"threshold = {threshold} ")
        text = text.replace('unlisted = "refuse"', 'unlisted = "allow"').replace("required = true", "required = false")
        file = self.folder / "policy.toml"
        file.write_text(text)
        return verify_set(self.project.root / "artifacts" / path, load_policy(file), file)


# -- small records ------------------------------------------------------------------------------------------------


@pytest.fixture
def small(made: ProjectBuilder, tmp_path: Path) -> Operators:
    found = Operators(made.project(), tmp_path / "operators")
    found.sign("runc")
    return found


def test_a_first_builder_alone_is_one(small: Operators) -> None:
    assert small.verify(1).dissent == ()
    with pytest.raises(ThresholdError, match="1 of 2"):
        small.verify(2)


def test_two_of_two(small: Operators, made: ProjectBuilder) -> None:
    made.rebuilt(made.record("runc"))
    small.attest("second", "runc")
    assert small.verify(2).dissent == ()
    with pytest.raises(ThresholdError, match="2 of 3"):
        small.verify(3)


def test_who_attests_twice_counts_once(small: Operators, made: ProjectBuilder) -> None:
    made.rebuilt(made.record("runc"))
    small.attest("site", "runc")
    with pytest.raises(ThresholdError, match="1 of 2"):
        small.verify(2)


def test_a_third_that_dissents_is_reported_and_not_counted(small: Operators, made: ProjectBuilder) -> None:
    made.rebuilt(made.record("runc"))
    small.attest("second", "runc")
    first = made.record("runc")
    made.rebuilt(dataclasses.replace(first, started=first.started + 50), content="another")
    with pytest.raises(DissentError):
        small.attest("third", "runc")
    report = small.verify(2)
    assert len(report.dissent) == 1
    assert "third" in str(report.dissent[0])
    with pytest.raises(ThresholdError, match=r"2 of 3 .*1 dissent"):
        small.verify(3)


# -- real ones ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Operators:
    """A copy of this checkout over the run's store."""
    here = tmp_path_factory.mktemp("checkout")
    for name in ("recipes", "builders", "stacks", "patches"):
        shutil.copytree(ROOT / name, here / name)
    for name in ("dodo.py", "lockfile.toml", "digests.toml", "release.toml"):
        shutil.copy(ROOT / name, here / name)
    return Operators(Project(here), tmp_path_factory.mktemp("operators"))


def rebuilt_elsewhere(project: Project, component: Component) -> BuildRecord | None:
    """The newest rebuild that ran in another sandbox than the first build."""
    first = existing(project, component)
    again = [each for each in record.load_all(project.store, "rebuild") if first is not None and each.key == first.key]
    return next((each for each in reversed(again) if first and each.conditions.sandbox != first.conditions.sandbox), None)


@pytest.mark.parametrize("name", REAL)
def test_the_real_builds_of_two_operators(real: Operators, name: str) -> None:
    project = real.project
    component = project.component(name, "linux/amd64")
    again = rebuilt_elsewhere(project, component)
    if again is None:
        assert not os.environ.get("CI"), f"CI builds {name} in both sandboxes before it runs the tests"
        pytest.skip(f"no rebuild of {name} in another sandbox in {project.settings.store}")
    real.sign(name)
    path = f"{name}/{component.recipe.version}/linux-amd64"
    with pytest.raises(ThresholdError):
        real.verify(2, path)
    record_file = attestation_directory(project, component) / bundle_name("provenance", real.keys["second"].key_id)
    record_file.write_bytes(sign_statement(provenance.statement(project, component, again), real.keys["second"]))
    report = real.verify(2, path)
    assert {each.path for each in report.artifacts} == {f"{path}/{output.path}" for output in again.outputs}
    assert report.dissent == ()
    dissent(real, component, again)
    assert ["third" in str(each) for each in real.verify(2, path).dissent] == [True]
    with pytest.raises(ThresholdError, match="1 dissent"):
        real.verify(3, path)


def dissent(real: Operators, component: Component, again: BuildRecord) -> None:
    """What ``third`` would sign if its machine had made something else of the same inputs."""
    first, *others = again.outputs
    other = dataclasses.replace(again, outputs=(dataclasses.replace(first, sha256=sha256_bytes(b"another")), *others))
    path = attestation_directory(real.project, component) / bundle_name("provenance", real.keys["third"].key_id)
    path.write_bytes(sign_statement(provenance.statement(real.project, component, other), real.keys["third"]))
