"""Users, groups and folders of images, and that images which have none of their own keep their keys."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kubewright.images.base import base_entries
from kubewright.images.plan import image_key, plan_image
from kubewright.model.decode import decode
from kubewright.model.image_model import LATER, Image
from kubewright.model.schema import Problem
from kubewright.oci.layer import Entry
from kubewright.project import Project

ROOT = Path(__file__).parents[1]


def text(entries: list[Entry], path: str) -> str:
    (content,) = [entry.content for entry in entries if entry.path == path]
    assert isinstance(content, bytes)
    return content.decode()


def test_further_users_and_groups_follow_those_of_every_image() -> None:
    entries = base_entries(merged=False, users={"tester": "1000:1000"}, groups={"testers": "50000:tester", "tester": "1000:"})
    assert text(entries, "etc/passwd").splitlines()[3:] == ["tester:x:1000:1000:tester:/nonexistent:/sbin/nologin"]
    assert text(entries, "etc/group").splitlines()[3:] == ["tester:x:1000:", "testers:x:50000:tester"]


def test_without_any_the_base_is_that_of_every_image() -> None:
    assert base_entries(merged=True) == base_entries(merged=True, users={}, groups={})
    assert "tester" not in text(base_entries(merged=True), "etc/passwd")


@pytest.mark.parametrize(
    "said",
    [
        {"users": {"root": "1:1"}},
        {"users": {"x:y": "1:1"}},
        {"users": {"x": "1"}},
        {"groups": {"x": "1:a,"}},
        {"groups": {"x": "1:a\nroot:x:0:a"}},
        {"folders": {"/x/../etc": "755"}},
        {"folders": {"/x": "4755"}},
    ],
)
def test_what_would_break_the_files_is_refused(said: dict[str, object]) -> None:
    whole = {"name": "x", "reference": "registry.k8s.io/x:1", "command": ["x"]}
    fine: list[Problem] = []
    decode(Image, whole, fine)
    assert fine == []
    problems: list[Problem] = []
    decode(Image, whole | said, problems)
    assert len(problems) == 1


def test_keys_that_came_later_are_in_no_key_where_they_are_not_said() -> None:
    plan = plan_image(Project(ROOT), "pause", "linux/amd64")

    def key(image: Image) -> str:
        return image_key(image, plan.component, plan.components, plan.packages, plan.certificates, plan.annotations)

    assert plan.key == "sha256:9c23e5dfb539b9dbdd74e7d4abea42751da2b2ce4f7ea4088f125ca0c3d2bb5f"
    others = {key(dataclasses.replace(plan.image, **{name: {"/x" if name == "folders" else "x": "755"}})) for name in LATER}
    assert len({plan.key, *others}) == 1 + len(LATER)
