"""Patches apply exactly or not at all, and the error names the hunk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kubewright.building.workspace import apply_patch
from kubewright.errors import PatchError

SOURCE = "".join(f"line {number}\n" for number in range(1, 41))

PATCH = """Why: the test wants it.

--- a/main.txt
+++ b/main.txt
@@ -3 +3 @@
-line 3
+LINE 3
@@ -20,2 +19,0 @@
-line 20
-line 21
@@ -30,0 +29 @@
+added
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.txt").write_text(SOURCE)
    (tmp_path / "p.patch").write_text(PATCH)
    return tmp_path / "src"


def test_a_zero_context_patch_applies(tree: Path) -> None:
    apply_patch(tree.parent / "p.patch", tree)
    lines = (tree / "main.txt").read_text().splitlines()
    assert "LINE 3" in lines
    assert "line 20" not in lines
    assert lines[lines.index("added") - 1] == "line 30"


def test_the_hunk_that_does_not_fit_is_named_and_nothing_is_applied(tree: Path) -> None:
    (tree / "main.txt").write_text(SOURCE.replace("line 21\n", "line twenty-one\n"))
    before = (tree / "main.txt").read_text()
    with pytest.raises(PatchError, match=r"p\.patch does not apply to src v2: main\.txt, hunk 2 \(line 20\)"):
        apply_patch(tree.parent / "p.patch", tree, "src v2")
    assert (tree / "main.txt").read_text() == before


def test_a_tree_inside_a_git_checkout_is_patched_too(tree: Path) -> None:
    # `git apply` below a repository takes paths relative to that repository, and then skips in silence
    subprocess.run(["git", "init", "-q", str(tree.parent)], check=True)
    apply_patch(tree.parent / "p.patch", tree)
    assert "LINE 3" in (tree / "main.txt").read_text()


@pytest.mark.parametrize("name", ["../outside", "/etc/outside"])
def test_a_patch_cannot_write_outside_of_its_tree(tree: Path, name: str) -> None:
    (tree.parent / "evil.patch").write_text(f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n")
    with pytest.raises(PatchError):
        apply_patch(tree.parent / "evil.patch", tree)
    assert not (tree.parent / "outside").exists()


def test_a_patch_that_is_not_there(tree: Path) -> None:
    with pytest.raises(PatchError, match="does not exist"):
        apply_patch(tree.parent / "absent.patch", tree)


def test_a_file_that_is_no_patch(tree: Path) -> None:
    (tree.parent / "empty.patch").write_text("nothing here\n")
    with pytest.raises(PatchError):
        apply_patch(tree.parent / "empty.patch", tree)
