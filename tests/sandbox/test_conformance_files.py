"""The sandbox contract, held against each back end: what is read-only, writable or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from bench import ORDINARY, Bench

from kubewright.sandbox import Mount


def test_an_empty_root_holds_mount_points_only(bench: Bench) -> None:
    found = set(bench.run("list", "/").lines)
    docker = {".dockerenv", ".kubewright-start", "etc", "sbin"} if bench.kind == "docker" else set()
    assert found == {"build", "dev", "proc", "sys", "tmp", "probe"} | docker


def test_files_of_the_host_are_not_there(bench: Bench) -> None:
    secret = bench.folder / "secret"
    secret.write_text("secret")
    assert "No such file or directory" in bench.refused("show", str(secret))


@pytest.mark.parametrize("path", ["/new", "/usr/new", "/dev/new", "/sys/new", "/proc/new"])
def test_nothing_can_be_made_outside_build_and_tmp(bench: Bench, path: str) -> None:
    assert bench.outside("write", "control").status == 0
    inside = bench.run("write", path, root=root_with(bench, "usr"))
    assert inside.status == 1, inside.text


def test_build_and_tmp_are_writable_and_the_rest_of_the_contract_stands(bench: Bench) -> None:
    for path in ("/build/file", "/tmp/file", "/dev/shm/file"):
        assert bench.run("write", path).status == 0
    assert (bench.build / "file").read_text() == "probe"
    assert bench.run("list", "/tmp").lines == []  # fresh for each run
    assert bench.run("list", "/sys").lines == []


def test_a_program_built_inside_runs(bench: Bench) -> None:
    shutil.copy(bench.probe, bench.build / "built")
    assert bench.run("-", argv=("/build/built", "exit", "7")).status == 7


def test_build_can_be_elsewhere(bench: Bench) -> None:
    made = bench.run("write", "/somewhere/else/file", at="/somewhere/else", cwd="/somewhere/else")
    assert made.status == 0
    assert "cwd=/somewhere/else " in bench.run("identity", at="/somewhere/else", cwd="/somewhere/else").text
    assert (bench.build / "file").exists()


CHANGES = [
    ("write", "file"),
    ("chmod", "file"),
    ("touch", "file"),
    ("unlink", "file"),
    ("rename", "file", "other"),
    ("link", "file", "other"),
    ("mkdir", "folder"),
    ("write", "new"),
    ("chmod", "."),
]


@pytest.mark.parametrize("change", CHANGES, ids="-".join)
@pytest.mark.parametrize("where", ["root", "mount"])
def test_what_is_mounted_read_only_cannot_be_changed(bench: Bench, change: tuple[str, ...], where: str) -> None:
    """The files belong to the very user that runs the sandbox, which would be free to change them."""
    sample, control = bench.folder / "sample" / "in", bench.folder / "control"
    for folder in (sample, control):
        folder.mkdir(parents=True)
        (folder / "file").write_text("as it was")
        for path in (folder, folder / "file"):
            path.chmod(0o777)
            if bench.kind == "bubblewrap-ordinary":
                os.chown(path, ORDINARY, ORDINARY)
    word, *names = change
    assert bench.outside(word, *(str(control / name) for name in names)).status == 0
    before = _state(sample)
    options = {"root": sample.parent} if where == "root" else {"mounts": (Mount(sample, "/in"),)}
    inside = bench.run(word, *(f"/in/{name}" for name in names), **options)
    assert inside.status == 1, inside.text
    assert _state(sample) == before


def _state(folder: Path) -> list[tuple[str, os.stat_result, bytes]]:
    def one(path: Path) -> tuple[object, ...]:
        found = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        return str(path), found.st_mode, found.st_mtime_ns, found.st_nlink, found.st_uid, data

    return [one(path) for path in (folder, *sorted(folder.rglob("*")))]  # type: ignore[misc]


def test_a_writable_mount_can_be_changed(bench: Bench) -> None:
    cache = bench.folder / "cache"
    cache.mkdir()
    if bench.kind == "bubblewrap-ordinary":
        os.chown(cache, ORDINARY, ORDINARY)
    for name in ("one", "two"):
        assert bench.run("write", f"/cache/{name}", mounts=(Mount(cache, "/cache", writable=True),)).status == 0
    assert {path.name for path in cache.iterdir()} == {"one", "two"}


def root_with(bench: Bench, *names: str) -> Path:
    """A root with a directory or two, and a link, to lay mounts over."""
    root = bench.folder / "root"
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "own").write_text("own")
    if not (root / "link").is_symlink():
        (root / "link").symlink_to("usr")
    return root


@pytest.mark.parametrize("target", ["/mounted", "/usr/mounted", "/usr/share/deep/mounted", "/opt/a/b", "/usr/share"])
def test_a_mount_needs_no_mount_point_in_the_root(bench: Bench, target: str) -> None:
    root = root_with(bench, "usr", "usr/share", "opt")
    source = bench.folder / "source"
    source.mkdir()
    (source / "theirs").write_text("theirs")
    changes = {"root": root, "mounts": (Mount(source, target),)}
    assert bench.run("show", f"{target}/theirs", **changes).text == "theirs"
    assert bench.run("show", "/usr/own", **changes).text == "own"
    assert bench.run("show", "/link/own", **changes).text == "own"
    assert not (root / "mounted").exists()


def test_the_running_sandbox_cannot_change_its_own_program(bench: Bench) -> None:
    """/proc/1/exe leads to a file of the host, past all mounts."""
    assert bench.outside("chmod", str(_copy_for(bench))).status == 0  # whoever owns a file may
    watched = _sandbox_programs(bench)
    before = [path.stat().st_mode for path in watched]
    for word in ("write", "chmod", "unlink"):
        bench.run(word, "/proc/1/exe")
    assert [path.stat().st_mode for path in watched] == before


def _copy_for(bench: Bench) -> Path:
    copy = bench.folder / "copy"
    shutil.copy(bench.probe, copy)
    if bench.kind == "bubblewrap-ordinary":
        os.chown(copy, ORDINARY, ORDINARY)
    return copy


def _sandbox_programs(bench: Bench) -> list[Path]:
    if bench.kind == "docker":
        return [Path(found) for name in ("docker-init", "tini-static") if (found := shutil.which(name))]
    inner = getattr(bench.sandbox, "inner", bench.sandbox)
    prefix: Path = inner._prefix
    if bench.kind == "bubblewrap-ordinary":  # the worst case: the user owns what bwrap is started from
        for path in (prefix, *prefix.rglob("*")):
            os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)
    return [path for path in prefix.rglob("*") if path.is_file() and ("bwrap" in path.name or "ld-linux" in path.name)]


def test_outputs_can_be_collected_and_removed(bench: Bench) -> None:
    assert bench.run("create", "/build/file", "0", "/build/folder", umask=0o077).status == 0
    found = (bench.build / "file").stat()
    assert found.st_uid != 0
    (bench.build / "file").write_text("ours")  # as the one who runs the sandbox (root here, or their owner)
    shutil.rmtree(bench.build / "folder")
