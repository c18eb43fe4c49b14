"""The collection as text: it stays a thin front, and nothing in it can show join material."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from three_machines import no_secret

from kubewright.lab.errors import LabCheckError

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "ansible/ansible_collections/kubewright/cluster"
ROLE = COLLECTION / "roles/node"
FILES = sorted([*COLLECTION.glob("playbooks/*.yml"), *ROLE.glob("tasks/*.yml")])
#: what tasks may use: nothing that runs a line of shell
MODULES = {
    *(f"ansible.builtin.{name}" for name in ("assert", "copy", "debug", "file", "script", "set_fact", "slurp")),
    *(f"ansible.builtin.{name}" for name in ("import_role", "import_tasks", "include_role", "include_tasks")),
    "kubewright.cluster.installer",
}
_VARIABLE = re.compile(r"\bkubewright_[a-z_]+\b")


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    for each in yaml.safe_load(path.read_text()):
        yield from _flat(each)


def _flat(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    inner = [*task.get("tasks", ()), *task.get("block", ()), *task.get("always", ())]
    if not inner:
        yield task
    for each in inner:
        yield from _flat(each)


def module(task: dict[str, Any]) -> str:
    found = [key for key in task if "." in key]
    assert len(found) == 1, task
    return found[0]


files = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")


@files
def test_tasks_have_names_and_use_few_modules_by_full_name(path: Path) -> None:
    for task in tasks(path):
        assert task["name"][0].isupper(), task
        assert module(task) in MODULES


@files
def test_what_holds_join_material_is_never_logged(path: Path) -> None:
    for task in tasks(path):
        arguments = task[module(task)]
        if module(task) == "ansible.builtin.slurp" or "content" in arguments or "kubewright_join." in str(task):
            assert task["no_log"] is True
        if "content" in arguments:
            assert (arguments["mode"], task["diff"]) == ("0600", False)


def test_modes_let_nobody_else_write() -> None:
    modes = re.findall(r'^ +mode: "?(\w+)"?', "".join(path.read_text() for path in FILES), re.MULTILINE)
    assert set(modes) == {"0755", "0644", "0700", "0600"}


def test_every_variable_is_set_or_explained() -> None:
    used = {name for path in (*FILES, ROLE / "vars/main.yml") for name in _VARIABLE.findall(path.read_text())}
    defined = {
        *yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
        *yaml.safe_load((ROLE / "vars/main.yml").read_text()),
        *(task["register"] for path in FILES for task in tasks(path) if "register" in task),
        *(key for path in FILES for task in tasks(path) for key in task.get("ansible.builtin.set_fact", ())),
        *(key for path in FILES for each in yaml.safe_load(path.read_text()) for key in each.get("vars", ())),
    }
    explained = set(_VARIABLE.findall((COLLECTION / "README.md").read_text()))
    assert used - defined - explained == set()
    assert explained - used - defined == set()


def test_its_version_is_that_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"] == version[1]


def test_ansible_is_locked_by_hash_for_every_python() -> None:
    lines = (ROOT / "requirements/ansible.txt").read_text().splitlines()
    packages = [line for line in lines if not line.startswith(" ")]
    assert all("==" in line and line.endswith("\\") for line in packages)
    assert any(line.startswith("ansible-core==") and "< '3.11'" in line for line in packages)


@pytest.mark.parametrize("text", ['"token": "abcdef.0123456789abcdef"', "abcdef.0123456789abcdef in a line"])
def test_join_material_in_a_log_would_be_found(text: str) -> None:
    material = f'{{"version": 1, "endpoint": "192.0.2.10:6443", "ca_hashes": ["sha256:{"0" * 64}"], {text}}}'
    no_secret("registry.k8s.io/etcd:3.7.3 sha256:" + "0" * 64, "log")
    for shown in (text, base64.b64encode(material.encode()).decode()):
        with pytest.raises(LabCheckError, match="log has"):
            no_secret(f"ok: [two] => {shown!r}", "log")
