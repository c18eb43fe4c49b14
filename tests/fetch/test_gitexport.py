"""The second view of a commit's files: the one that the go command has of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from loopback import GitRepository

from kubewright.fetch import git
from kubewright.fetch.gitexport import archived_h1
from kubewright.files.modulezip import module_h1

MODULE = "kubewright.test/repo"
FILES = {
    "go.mod": f"module {MODULE}.git\n\ngo 1.25\n",
    ".gitattributes": "*.bat text eol=crlf\nsubst.txt export-subst\nhidden.txt export-ignore\n",
    "run.bat": "echo\n",
    "subst.txt": "$Format:%H$\n",
    "hidden.txt": "x\n",
}


@pytest.mark.skipif(shutil.which("go") is None, reason="needs the go command")
def test_line_end_attributes_count_for_go_and_not_for_us(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1.0.0")
    repository = tmp_path / "store.git"
    git.fetch_tree(origin.url, commit, ref="refs/tags/v1.0.0", repository=repository, target=tmp_path / "tree")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GOPROXY": "direct",
        "GONOSUMDB": "*",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{origin.url}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://{MODULE}",
    }
    command = ["go", "mod", "download", "-json", f"{MODULE}.git@v1.0.0"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = json.loads(done.stdout)["Sum"]
    assert module_h1(tmp_path / "tree", f"{MODULE}.git", "v1.0.0") != wanted
    assert archived_h1(repository, commit, f"{MODULE}.git", "v1.0.0", "", tmp_path / "scratch") == wanted
