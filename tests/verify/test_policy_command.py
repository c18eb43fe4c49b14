"""kubewright policy new, check: what they write, and what they refuse to write over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from project_builder import ProjectBuilder
from setbuilder import public_key

from kubewright.files.digest import sha256_file
from kubewright.verify.policy import load_policy


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubewright.cli", "policy", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_a_new_policy_has_the_lock_and_the_keys_and_passes_its_check(tmp_path: Path) -> None:
    made = ProjectBuilder(tmp_path / "p").component("runc").lock()
    for name in ("site", "second"):
        (tmp_path / f"{name}.pub").write_text(public_key(name).pem)
    words = [
        "new",
        "--key",
        f"site={tmp_path}/site.pub",
        "--key",
        f"second={tmp_path}/second.pub",
        "--out",
        tmp_path / "site.toml",
    ]
    assert run(*words, cwd=made.root).returncode == 0
    policy = load_policy(tmp_path / "site.toml")
    assert policy.sources.locks == (sha256_file(made.root / "lockfile.toml"),)
    assert {each.operator for each in policy.keys} == {"site", "second"}
    again = run(*words, cwd=made.root)
    assert again.returncode == 2
    assert "exists" in again.stderr
    checked = run("check", tmp_path / "site.toml", cwd=tmp_path)
    assert checked.returncode == 0
    assert "2 keys of second, site, 1 of 2 have to agree" in checked.stdout
    assert run(*words[:5], cwd=made.root).stdout == (tmp_path / "site.toml").read_text()


def test_one_key_for_two_operators_is_not_written(tmp_path: Path) -> None:
    made = ProjectBuilder(tmp_path / "p").component("runc").lock()
    key = tmp_path / "site.pub"
    key.write_text(public_key("site").pem)
    result = run("new", "--key", f"site={key}", "--key", f"second={key}", "--out", tmp_path / "x.toml", cwd=made.root)
    assert result.returncode == 63
    assert not (tmp_path / "x.toml").exists()


def test_what_is_no_key_is_said(tmp_path: Path) -> None:
    made = ProjectBuilder(tmp_path / "p").component("runc").lock()
    assert run("new", "--key", "site", cwd=made.root).returncode == 2
    assert run("new", "--key", "site=no.pub", cwd=made.root).returncode == 100


def test_a_broken_policy_is_said_with_line_and_code(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("version = 1\n")
    result = run("check", "x.toml", cwd=tmp_path)
    assert result.returncode == 62
    assert "x.toml: there is no section key, revoked, release" in result.stderr
