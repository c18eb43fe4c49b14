"""What we compute from a tree, against what the go command itself makes of the same git repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kubewright.errors import IntegrityError
from kubewright.files import modulezip

MODULE = "kubewright.test/repo.git"

#: name -> content; a text that starts with "->" is a link
REPOSITORY = {
    "go.mod": f"module {MODULE}\n\ngo 1.20\n",
    "LICENSE": "the root's licence\n",
    "a.go": "package a\n",
    "link.go": "->a.go",
    "vendor/modules.txt": "kept before 1.24\n",
    "vendor/x/x.go": "package x\n",
    "pkg/vendor/v.go": "package v\n",
    "pkg/vendor/y/y.go": "package y\n",
    "p/vendor/one.go": "package one\n",
    "nested/go.mod": "module nested\n",
    "nested/n.go": "package n\n",
    "nested/deeper/n.go": "package n\n",
    "odd/GO.MOD/file.go": "package odd\n",
    "sub/go.mod": f"module {MODULE}/sub\n\ngo 1.25.0\n",
    "sub/s.go": "package s\n",
    "sub/vendor/modules.txt": "left out since 1.24\n",
    "sub/pkg/vendor/v.go": "package v\n",
    "sub/p/vendor/one.go": "package one\n",
    "sub/p/vendor/q/two.go": "package two\n",
    "sub/.hg_archival.txt": "x\n",
    "sub/own/go.mod": f"module {MODULE}/sub/own\n",
    "sub/own/LICENSE": "its own licence\n",
    "sub/own/o.go": "package o\n",
    "nogoline/go.mod": f"module {MODULE}/nogoline\n",
    "nogoline/vendor/modules.txt": "kept\n",
    ".gitattributes": "secret.txt export-ignore\nsubst.txt export-subst\n",
    "secret.txt": "in the module all the same\n",
    "subst.txt": "$Format:%H$\n",
}


def git(*arguments: str, cwd: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("origin") / "repo.git"
    for name, content in REPOSITORY.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("->"):
            (root / name).symlink_to(content[2:])
        else:
            (root / name).write_text(content)
    git("init", "-q", ".", cwd=root)
    git("add", "-A", "-f", cwd=root)
    git("commit", "-qm", "all", cwd=root)
    for tag in ("v1.0.0", "sub/v1.0.0", "sub/own/v1.0.0", "nogoline/v1.0.0"):
        git("tag", tag, cwd=root)
    return root


def h1_of_go(module: str, repository: Path, scratch: Path) -> str:
    """The go command fetches the module straight from the repository, which it believes to be on the network."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go command")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
        "GOPROXY": "direct",
        "GONOSUMDB": "*",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "GOMODCACHE": str(scratch / "mod"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository.parent}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://kubewright.test/",
    }
    command = [go, "mod", "download", "-json", f"{module}@v1.0.0"]
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)["Sum"])


@pytest.mark.parametrize("subdirectory", ["", "sub", "sub/own", "nogoline"])
def test_a_tree_gives_the_h1_that_go_gives(repository: Path, tmp_path: Path, subdirectory: str) -> None:
    module = f"{MODULE}/{subdirectory}".rstrip("/")
    assert modulezip.module_h1(repository, module, "v1.0.0", subdirectory) == h1_of_go(module, repository, tmp_path)


def test_one_flipped_byte_gives_another_h1(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy" / "a.go").write_text("package b\n")
    one, two = (modulezip.module_h1(root, MODULE, "v1.0.0") for root in (repository, tmp_path / "copy"))
    assert one != two


def test_the_files_of_a_module_by_name(repository: Path) -> None:
    assert set(modulezip.module_files(repository, "sub")) == {"go.mod", "s.go", "pkg/vendor/v.go", "p/vendor/one.go", "LICENSE"}
    kept = set(modulezip.module_files(repository))
    assert {"vendor/modules.txt", "subst.txt", "secret.txt"} <= kept
    assert not {"link.go", "pkg/vendor/v.go", "vendor/x/x.go", "nested/n.go", "nested/deeper/n.go", "sub/s.go"} & kept


def test_a_licence_that_is_a_link_counts_as_its_target_s_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "go.mod").write_text("module m\n")
    (tmp_path / "LICENSE").symlink_to("COPYING")
    assert modulezip.module_files(tmp_path, "sub")["LICENSE"] == b"COPYING"


def test_a_subdirectory_that_is_not_there_names_the_key(repository: Path) -> None:
    with pytest.raises(IntegrityError, match="'no/such'") as caught:
        modulezip.module_h1(repository, MODULE, "v1.0.0", "no/such")
    assert "subdirectory" in caught.value.remedy


def test_a_module_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(600))
    (tmp_path / "b").write_bytes(bytes(600))
    monkeypatch.setattr(modulezip, "MAX_ZIP", 1000)
    with pytest.raises(IntegrityError, match="1200 bytes"):
        modulezip.module_files(tmp_path)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go 1.24", (1, 24)),
        ("module m\n\ngo 1.9.1 // x\n", (1, 9)),
        ("// go 1.30\nmodule m", (0, 0)),
        ("module m\r\ngo 1.25rc1\r\n", (1, 25)),
        ("", (0, 0)),
    ],
)
def test_the_go_line(tmp_path: Path, text: str, version: tuple[int, int]) -> None:
    (tmp_path / "go.mod").write_text(text)
    assert modulezip.go_version(tmp_path / "go.mod") == version
