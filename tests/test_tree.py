from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.errors import UnsafeArchiveError
from kubewright.files import tree
from kubewright.files.digest import link_target, tree_digest, walk
from kubewright.files.tree import Limits, TreeWriter


def build_tree(root: Path) -> Path:
    (root / "b" / "empty").mkdir(parents=True)
    (root / "b" / "run").write_bytes(b"#!/bin/sh\n")
    (root / "b" / "run").chmod(0o4755)
    (root / "a-ü").write_bytes(b"x" * 5000)
    (root / "link").symlink_to("./b//run")
    return root


def names_below(root: Path) -> list[str]:
    return [entry.path for entry in walk(root)]


def write_links(root: Path, links: dict[str, str]) -> None:
    with TreeWriter(root, "links.tar") as writer:
        for name, target in links.items():
            writer.link(name, target)


# -- writing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "/etc/x", "a\0b", "\udcff", "", ".", "./", "n" * 5000])
def test_a_name_that_is_no_path_below_the_root_is_refused(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(UnsafeArchiveError, match=r"evil\.tar: member"),
        TreeWriter(tmp_path / "t", "evil.tar") as writer,
    ):
        writer.file(name, io.BytesIO(b""))
    assert names_below(tmp_path) == ["t"]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["..", "/", ".", "~", "-"]), max_size=6))
def test_no_name_at_all_writes_outside(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    outer = tmp_path_factory.mktemp("outer")
    try:
        with TreeWriter(outer / "t", "any") as writer:
            writer.file("/".join(parts), io.BytesIO(b"x"))
    except (UnsafeArchiveError, OSError):
        return
    assert all(name == "t" or name.startswith("t/") for name in names_below(outer))


@pytest.mark.parametrize(("links", "target"), [("inside", "t"), ("any", "../outside")])
def test_nothing_is_written_through_a_link(tmp_path: Path, links: str, target: str) -> None:
    (tmp_path / "outside").mkdir()
    with TreeWriter(tmp_path / "t", "evil.tar", links=links) as writer:
        writer.link("d", target)
        with pytest.raises(UnsafeArchiveError, match=r"'d/x' would be written through 'd'"):
            writer.file("d/x", io.BytesIO(b"bad"))
    assert names_below(tmp_path / "outside") == []


def test_a_link_that_somebody_puts_there_meanwhile_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with TreeWriter(tmp_path / "t", "a.tar") as writer:
        (tmp_path / "t" / "d").symlink_to("../outside")  # not through the writer
        with pytest.raises(UnsafeArchiveError, match="not a directory"):
            writer.file("d/x", io.BytesIO(b"bad"))


@pytest.mark.parametrize(
    "links",
    [
        {"a": "/etc/passwd"},
        {"a": ".."},
        {"a/b": "../../x"},
        {"m": "a/b/up/../x", "a/b/up": "../.."},  # inside by its letters, outside when followed
        {"m": "n", "n": "o/../..", "o": "."},
    ],
)
def test_a_link_that_leads_out_is_refused(tmp_path: Path, links: dict[str, str]) -> None:
    with pytest.raises(UnsafeArchiveError, match="symbolic link"):
        write_links(tmp_path / "t", links)


@pytest.mark.parametrize("links", [{"a": "b/../c"}, {"a": "a"}, {"d/a": "../gone"}, {"a": "b", "b": "a/.."}, {"a/b": ".."}])
def test_a_link_that_stays_inside_is_kept_to_the_letter(tmp_path: Path, links: dict[str, str]) -> None:
    write_links(tmp_path / "t", links)
    assert {name: link_target(tmp_path / "t" / name).decode() for name in links} == links


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    with TreeWriter(tmp_path / "t", "a.tar") as writer:
        writer.file("f", io.BytesIO(b"first"))
        writer.directory("d")
        writer.directory("d/")
        for again in (
            lambda: writer.file("f", io.BytesIO(b"second")),
            lambda: writer.link("f", "d"),
            lambda: writer.directory("f"),
            lambda: writer.file("d", io.BytesIO(b"")),
            lambda: writer.link("d", "f"),
            lambda: writer.file("f/g", io.BytesIO(b"")),
        ):
            with pytest.raises(UnsafeArchiveError):
                again()
    assert (tmp_path / "t" / "f").read_bytes() == b"first"


def test_limits_hold_while_writing(tmp_path: Path) -> None:
    with TreeWriter(tmp_path / "t", "big.tar", limits=Limits(members=2, bytes=1 << 20)) as writer:
        writer.directory("d")
        writer.directory("e")
        with pytest.raises(UnsafeArchiveError, match=r"'f' is one too many: more than 2 members"):
            writer.directory("f")
    bounds = Limits(bytes=1 << 20)
    with (
        TreeWriter(tmp_path / "u", "big.tar", limits=bounds) as writer,
        pytest.raises(UnsafeArchiveError, match=r"'f' is too large: more than 1048576 bytes"),
    ):
        writer.file("f", io.BytesIO(bytes(5 << 20)))
    assert (tmp_path / "u" / "f").stat().st_size <= 1 << 20


def test_hard_links_are_copies_of_files_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with TreeWriter(tmp_path / "t", "a.tar") as writer:
        writer.file("d/f", io.BytesIO(b"x"), executable=True)
        writer.link("l", "d/f")
        writer.hard_link("h", "d/f")
        for bad in ("../secret", "/etc/passwd", "l", "d", "none", "none/none", "l/x"):
            with pytest.raises(UnsafeArchiveError):
                writer.hard_link("bad", bad)
    assert (tmp_path / "t" / "h").stat().st_nlink == 1
    assert (tmp_path / "t" / "h").stat().st_mode & 0o7777 == 0o755


def test_a_tree_that_fails_half_way_is_gone(tmp_path: Path) -> None:
    def write_half() -> None:
        with tree.new_tree(tmp_path / "t") as target:
            (target / "half").write_bytes(b"")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert names_below(tmp_path) == []


def test_a_tree_is_never_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"")
    with pytest.raises(FileExistsError), tree.new_tree(tmp_path):
        pass
    assert names_below(tmp_path) == ["mine"]


# -- copying, removing, packing -----------------------------------------------------------------------------------


def test_a_copy_has_the_same_digest_and_the_normal_form(tmp_path: Path) -> None:
    source = build_tree(tmp_path / "source")
    (source / "out").symlink_to("/etc")
    previous = os.umask(0o077)
    try:
        tree.copy_tree(source, tmp_path / "copy")
    finally:
        os.umask(previous)
    assert tree_digest(tmp_path / "copy") == tree_digest(source)
    for entry in walk(tmp_path / "copy"):
        status = (tmp_path / "copy" / entry.path).lstat()
        assert int(status.st_mtime) == tree.NORMAL_TIME
        if entry.kind != "link":
            assert status.st_mode & 0o7777 == (0o755 if entry.executable or entry.kind == "directory" else 0o644)


def test_removing_removes_read_only_directories_and_no_link_s_target(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "f").write_bytes(b"")
    (tmp_path / "t" / "ro").mkdir(parents=True)
    (tmp_path / "t" / "ro" / "f").write_bytes(b"")
    (tmp_path / "t" / "ro" / "link").symlink_to(tmp_path / "keep")
    (tmp_path / "t" / "ro").chmod(0o500)
    program = (
        "import sys; from pathlib import Path; from kubewright.files.tree import remove_tree; remove_tree(Path(sys.argv[1]))"
    )
    # root without these capabilities minds a read-only directory like anybody else
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    subprocess.run([*drop, sys.executable, "-c", program, tmp_path / "t"], check=True)
    tree.remove_tree(tmp_path / "t")
    assert names_below(tmp_path) == ["keep", "keep/f"]


def test_a_tar_is_a_function_of_names_contents_links_and_executable_bits(tmp_path: Path) -> None:
    one, two = io.BytesIO(), io.BytesIO()
    tree.normalised_tar(build_tree(tmp_path / "one"), one, mtime=7)
    tree.copy_tree(tmp_path / "one", tmp_path / "two")
    tree.normalised_tar(tmp_path / "two", two, mtime=7)
    assert one.getvalue() == two.getvalue()
    with tarfile.open(fileobj=io.BytesIO(one.getvalue())) as packed:
        members = [(m.name, m.type, m.mode, m.uid, m.gid, m.uname, m.mtime) for m in packed]
    assert members == [
        ("a-ü", tarfile.REGTYPE, 0o644, 0, 0, "", 7),
        ("b", tarfile.DIRTYPE, 0o755, 0, 0, "", 7),
        ("b/empty", tarfile.DIRTYPE, 0o755, 0, 0, "", 7),
        ("b/run", tarfile.REGTYPE, 0o755, 0, 0, "", 7),
        ("link", tarfile.SYMTYPE, 0o777, 0, 0, "", 7),
    ]


def test_gnu_tar_reads_what_we_pack(tmp_path: Path) -> None:
    source = build_tree(tmp_path / "source")
    (source / ("n" * 120)).mkdir()
    (source / ("n" * 120) / ("m" * 200)).write_bytes(b"long")
    with (tmp_path / "t.tar").open("wb") as out:
        tree.normalised_tar(source, out)
    (tmp_path / "there").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "t.tar", "-C", tmp_path / "there"], check=True)
    assert tree_digest(tmp_path / "there") == tree_digest(source)
