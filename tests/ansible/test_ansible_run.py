"""The collection as Ansible runs it, on this machine alone. Needs ansible-core (requirements/ansible.txt): the folder with
ansible-playbook is named by KUBEWRIGHT_ANSIBLE, as .ci/ansible does; without it these tests are skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubewright import pyz

ROOT = Path(__file__).parents[2]
ANSIBLE = os.environ.get("KUBEWRIGHT_ANSIBLE", "")
pytestmark = pytest.mark.skipif(not ANSIBLE, reason="KUBEWRIGHT_ANSIBLE names no folder with ansible-playbook")

#: stands for kubewright-install.pyz: says what it was asked, as it is told to
PROGRAM = """\
import json, sys
kind, *words = sys.argv[1:]
if kind == "fails":
    print("    0.1 s  verifying", file=sys.stderr)
    print("    disk: 3 MiB are free", file=sys.stderr)
    print("error: the host is not ready", file=sys.stderr)
    print("  what to do: free some space", file=sys.stderr)
    sys.exit(173)
print(json.dumps({"changed": kind == "install", "said": sys.stdin.read()}) if kind != "node" else "as installed")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "hosts").write_text(
        f"[control_plane]\none\n[workers]\ntwo\n[all:vars]\nansible_connection=local\nansible_become=false\n"
        f"ansible_python_interpreter={ANSIBLE}/python\nkubewright_python={sys.executable}\n"
        f"kubewright_settings_folder={tmp_path}/etc\nkubewright_cache_folder={tmp_path}/cache\n"
    )
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(place / "tmp"),
    }
    return subprocess.run(
        [f"{ANSIBLE}/{words[0]}", "-i", str(place / "hosts"), *words[1:]],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )


def ask(place: Path, *words: str, check: bool = False, **more: str) -> str:
    arguments = json.dumps({"program": f"{place}/program.py", "python": sys.executable, "words": words, **more})
    how = ["--check"] if check else []
    return run(place, "ansible", "one", *how, "-m", "kubewright.cluster.installer", "-a", arguments).stdout


def module(place: Path, *words: str, **more: str) -> dict[str, Any]:
    found = json.loads(ask(place, *words, **more).partition("=> ")[2])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", ["site", "uninstall"])
def test_playbooks_are_well_formed(place: Path, name: str) -> None:
    ended = run(place, "ansible-playbook", f"kubewright.cluster.{name}", "--syntax-check")
    assert ended.returncode == 0, ended.stderr


def test_a_change_is_what_the_program_calls_one(place: Path) -> None:
    assert module(place, "install", stdin="facts")["data"] == {"changed": True, "said": "facts"}
    assert module(place, "install")["changed"] is True
    assert module(place, "preflight")["changed"] is False
    assert module(place, "node", "status")["changed"] is False


def test_a_refusal_is_told_with_its_remedy_and_its_code(place: Path) -> None:
    found = module(place, "fails")
    assert found["msg"].splitlines()[:2] == ["error: the host is not ready", "  what to do: free some space"]
    assert "disk: 3 MiB" in found["msg"]
    assert found["rc"] == 173


def test_nothing_is_run_in_check_mode(place: Path) -> None:
    assert ask(place, "install", check=True) == "one | SKIPPED\n"


def test_what_is_missing_is_said_before_anything_is_touched(place: Path) -> None:
    given = ["-e", f"kubewright_bundle={place}/none", "-e", "kubewright_policy=p", "-e", f"kubewright_programs={place}"]
    ended = run(place, "ansible-playbook", "kubewright.cluster.site", *given)
    assert ended.returncode == 2
    assert "have to be there" in ended.stdout
    assert not (place / "cache").exists()


def test_what_is_no_bundle_is_refused_on_the_controller(place: Path) -> None:
    for program in pyz.PROGRAMS:
        (place / program.file).write_bytes(pyz.build(program))
    (place / "b.oci.tar.zst").write_bytes(b"no bundle")
    (place / "policy.toml").write_text("")
    given = ["-e", f"kubewright_bundle={place}/b.oci.tar.zst", "-e", f"kubewright_policy={place}/policy.toml"]
    ended = run(place, "ansible-playbook", "kubewright.cluster.site", *given, "-e", f"kubewright_programs={place}")
    assert ended.returncode == 2
    assert "error: " in ended.stdout
    assert "What this machine is" not in ended.stdout
    assert not (place / "cache").exists()


def test_nodes_end_only_when_that_is_meant(place: Path) -> None:
    ended = run(place, "ansible-playbook", "kubewright.cluster.uninstall", "-e", f"kubewright_programs={place}")
    assert ended.returncode == 2
    assert "this ends two as nodes" in ended.stdout
