"""Folders that are read once and never through a link, whoever changes them meanwhile."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.files.tree import normalised_tar
from kubewright.verify import errors
from kubewright.verify.pinned import Folder


def test_nothing_leads_out(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    with Folder(tmp_path / "in") as folder:
        for path in ("../secret/x", "a/../../secret/x", "/etc/x/y", "./x/y", "a//x"):
            with pytest.raises(errors.UnsafeSetError, match="leads out"):
                folder.measure(path)


def test_links_are_refused_in_every_part(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/link").symlink_to("file")
    with Folder(tmp_path) as folder:
        with pytest.raises(errors.UnsafeSetError, match="symbolic link"):
            folder.measure("real/link")
        with pytest.raises(errors.UnsafeSetError, match="no directory"):
            folder.measure("link/file")
        with pytest.raises(errors.UnsafeSetError, match="symbolic link"):
            folder.names("")
    with pytest.raises(errors.UnsafeSetError), Folder(tmp_path / "link"):
        pass


def test_what_is_replaced_or_gone_between_two_looks_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with Folder(tmp_path) as folder:
        folder.read("a", 10)
        (tmp_path / "b").write_text("x")
        (tmp_path / "b").rename(tmp_path / "a")
        with pytest.raises(errors.FileReplacedError):
            folder.read("a", 10)
        with pytest.raises(errors.FileReplacedError):
            folder.recheck()
        (tmp_path / "a").unlink()
        with pytest.raises(errors.FileReplacedError):
            folder.recheck()


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        for look in (folder.measure, folder.names, folder.is_folder):
            with pytest.raises(errors.ArtifactMissingError):
                look("none/x")


def test_large_files_and_deep_folders_end_early(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 11)
    deep = tmp_path.joinpath(*"d" * 70)
    deep.mkdir(parents=True)
    with Folder(tmp_path) as folder:
        assert folder.read("big", 11) == b"x" * 11
        with pytest.raises(errors.JsonSizeError, match="11 bytes, more than 10"):
            folder.read("big", 10)
        with pytest.raises(errors.UnsafeSetError, match="nested deeper"):
            folder.walk()


def test_a_file_is_hashed_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with Folder(tmp_path) as folder:
        assert folder.measure("a") is folder.measure("a")


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=70).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 256
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.tuples(st.binary(max_size=3000), st.booleans()), max_size=5), st.lists(names, max_size=2))
def test_a_tree_has_the_digest_of_its_normalised_tar(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bool]], folders: list[str]
) -> None:
    root = tmp_path_factory.mktemp("trees")
    tree = root / "set" / "tree"
    tree.mkdir(parents=True)
    for index, name in enumerate(folders):
        (tree / f"{index}" / name).mkdir(parents=True)
    for name, (content, executable) in files.items():
        (tree / f"f{name[:60]}").write_bytes(content)
        (tree / f"f{name[:60]}").chmod(0o755 if executable else 0o644)
    out = io.BytesIO()
    normalised_tar(tree, out)
    with Folder(root / "set", root / "copy") as folder:
        measured = folder.measure_tree("tree")
    assert measured.digest == "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()
    assert measured.size == len(out.getvalue())
    if files or folders:
        twin = io.BytesIO()
        normalised_tar(root / "copy" / "tree", twin)
        assert twin.getvalue() == out.getvalue()
