"""kubewright-install.pyz: what a bundle carries for a host that has nothing but Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kubewright import pyz
from kubewright.install.errors import JournalError


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / pyz.INSTALL.file
    path.write_bytes(pyz.build(pyz.INSTALL))
    return path


def run(file: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", str(file), *map(str, words)], capture_output=True, text=True, timeout=60, env={}
    )


def test_it_needs_pure_python_only() -> None:
    ours = {name.split(".")[1] for name in pyz.closure(pyz.INSTALL.entry) if "." in name}
    assert ours == {"canonical", "disk", "errors", "files", "install", "locks", "model", "oci", "verify"}


def test_it_runs_alone(file: Path) -> None:
    for words in (["--help"], ["install", "--help"], ["node", "audit", "--help"]):
        ended = run(file, *words)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_failure_has_its_code_and_no_traceback(file: Path, tmp_path: Path) -> None:
    ended = run(file, "node", "status", "--root", tmp_path)
    assert ended.returncode == JournalError.exit_code
    assert "what to do: kubewright install" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_is_no_bundle_is_refused_before_anything_is_written(file: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("")
    (tmp_path / "b.oci.tar.zst").write_bytes(b"no bundle")
    (tmp_path / "root").mkdir()
    ended = run(file, "install", tmp_path / "b.oci.tar.zst", "--policy", tmp_path / "policy.toml", "--root", tmp_path / "root")
    assert ended.returncode not in (0, 1)
    assert list((tmp_path / "root").iterdir()) == []


def test_containerd_s_verifier_refuses_on_standard_output_and_loads_no_installer(file: Path, tmp_path: Path) -> None:
    words = ["node", "verify-pull", "--root", tmp_path, "-name", "a:1", "-digest", "d", "-stdin-media-type", "x"]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-v", str(file), *map(str, words)],
        input='{"digest": "d"}',
        capture_output=True,
        text=True,
        timeout=60,
        env={},
    )
    assert ended.returncode not in (0, 1)
    assert "policy.toml" in ended.stdout
    assert "kubewright.install.kubeadm" not in ended.stderr
    assert "kubewright.verify.pulled" in ended.stderr
