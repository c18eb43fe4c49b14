"""What a go.mod selects, against what the go command says of the same file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.fetch.gomodule import bootstrap_goroot
from kubewright.files.gomod import selected

K3S_LIKE = """\
module github.com/k3s-io/k3s // the main module

go 1.26.7

replace (
	example.org/a => example.net/fork/a v1.2.3-k3s1
	example.org/b v1.0.0 => example.net/b v1.0.1
	example.org/c => ./staging/c // a folder
	"example.org/d" => example.net/d v0.1.0
)

replace example.org/e => example.net/e v2.0.0

require (
	example.org/a v1.2.0
	example.org/b v1.0.0
	example.org/c v0.0.0
	"example.org/d" v0.0.9 // indirect
)

require example.org/e v1.0.0

require example.org/f v1.9.0 // replace example.org/f => x v9.9.9
"""


def test_replace_lines_count() -> None:
    assert selected(K3S_LIKE) == {
        "example.org/a": "v1.2.3-k3s1",
        "example.org/b": "v1.0.1",
        "example.org/d": "v0.1.0",
        "example.org/e": "v2.0.0",
        "example.org/f": "v1.9.0",
    }


def test_a_replace_of_another_version_does_not_count() -> None:
    text = "require example.org/a v1.1.0\nreplace example.org/a v1.0.0 => example.org/a v1.0.1\n"
    assert selected(text) == {"example.org/a": "v1.1.0"}


def test_the_go_command_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("\n".join(line for line in K3S_LIKE.splitlines() if "./staging" not in line))
    for path, version in selected(K3S_LIKE).items():
        done = subprocess.run(
            [bootstrap_goroot() / "bin/go", "mod", "edit", "-json"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert f'"Path": "{path}"' in done.stdout
        assert f'"Version": "{version}"' in done.stdout


@given(st.text())
@pytest.mark.filterwarnings("error")
def test_any_text_gives_something(text: str) -> None:
    assert all(path and version for path, version in selected(text).items())
