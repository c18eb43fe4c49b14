from __future__ import annotations

import hashlib
import io
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.errors import UnsafeArchiveError
from kubewright.files import digest


def build_tree(root: Path) -> Path:
    (root / "cmd").mkdir(parents=True)
    (root / "cmd.go").write_bytes(b"package a\n")
    (root / "cmd" / "run").write_bytes(b"#!/bin/sh\n")
    (root / "cmd" / "run").chmod(0o755)
    (root / "cmd-x").write_bytes(b"sorts between cmd and cmd/ only in git\n")
    (root / "link").symlink_to("./cmd/run")
    return root


def test_a_file_has_the_digest_that_sha256sum_prints(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(3 * (1 << 20) + 17))
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert digest.sha256_file(path) == "sha256:" + printed.split()[0]


def test_one_form_of_sha256_is_accepted() -> None:
    good = digest.sha256_bytes(b"")
    assert digest.sha256_hex(good) == hashlib.sha256(b"").hexdigest()
    for bad in (good.upper(), good[7:], good + "\n", good[:-1], "h1:x"):
        assert not digest.is_sha256(bad)
        with pytest.raises(ValueError, match="sha256:<64 hex digits>"):
            digest.sha256_hex(bad)


def test_a_link_is_not_hashed_as_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "link").symlink_to("secret")
    with pytest.raises(OSError):
        digest.sha256_file(tmp_path / "link")


# -- Go -----------------------------------------------------------------------------------------------------------


def test_dirhash_is_the_hash_of_what_sha256sum_would_list(tmp_path: Path) -> None:
    """The definition in dirhash's own documentation, run with the programs that it names."""
    root = tmp_path / "m@v1.0.0"
    for name, data in {"b/c": b"2", "a": b"1", "B": b"", "a.b": b"x" * 100}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    command = "find m@v1.0.0 -type f | LC_ALL=C sort | xargs sha256sum | openssl dgst -sha256 -binary | base64"
    expected = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert digest.dirhash_dir(root, "m@v1.0.0") == "h1:" + expected.strip()


def test_zip_directory_and_contents_have_one_dirhash(tmp_path: Path) -> None:
    files = {f"m@v1/dir{number % 7}/file{number}": os.urandom(number) for number in range(200)}
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        archive.extractall(tmp_path)
    expected = digest.dirhash(files.items())
    assert digest.dirhash_zip(tmp_path / "m.zip") == expected
    assert digest.dirhash_dir(tmp_path / "m@v1", "m@v1") == expected
    assert digest.dirhash((name, tmp_path / name) for name in files) == expected
    assert digest.dirhash((name, lambda data=data: io.BytesIO(data)) for name, data in files.items()) == expected


def test_dirhash_of_go_mod_is_the_published_one() -> None:
    """gopkg.in/inf.v0 v0.9.1, as in the go.sum of Kubernetes."""
    assert digest.dirhash_gomod(b"module gopkg.in/inf.v0\n") == "h1:cWUDdTG/fYaXco+Dcufb5Vnc6Gp2YChqWtbxRZE0mXw="


def test_a_zip_with_one_name_twice_has_no_dirhash(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("m@v1/a", b"good")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("m@v1/a", b"bad")
    with pytest.raises(UnsafeArchiveError, match=r"m\.zip holds 'm@v1/a' twice"):
        digest.dirhash_zip(tmp_path / "m.zip")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-30], lambda data: b"", lambda data: data[:40] + b"\xff\xff" + data[42:]]
)
def test_a_damaged_zip_is_said_to_be_one(tmp_path: Path, damage) -> None:
    with zipfile.ZipFile(tmp_path / "good.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m@v1/a", b"content " * 100)
    (tmp_path / "m.zip").write_bytes(damage((tmp_path / "good.zip").read_bytes()))
    with pytest.raises(UnsafeArchiveError, match=r"m\.zip is not a valid zip"):
        digest.dirhash_zip(tmp_path / "m.zip")


def test_a_line_feed_cannot_forge_a_line_of_the_summary() -> None:
    with pytest.raises(UnsafeArchiveError, match="line feed"):
        digest.dirhash([("a\n" + "0" * 64 + "  b", b"")])


def test_a_link_in_a_module_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("x")
    with pytest.raises(UnsafeArchiveError, match="'link'"):
        digest.dirhash_dir(tmp_path, "m@v1")


# -- git ----------------------------------------------------------------------------------------------------------


def git(*arguments: str, cwd: Path) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def test_tree_and_blob_ids_are_git_s(tmp_path: Path) -> None:
    root = build_tree(tmp_path / "t")
    (root / "empty" / "below").mkdir(parents=True)
    (root / "ümläut").write_bytes(b"")
    git("init", "-q", ".", cwd=root)
    git("add", "-A", cwd=root)
    assert digest.git_tree_id(root) == git("write-tree", cwd=root)
    assert digest.git_blob_id(b"package a\n") == git("hash-object", "cmd.go", cwd=root)


names = st.text("ab.-0/", min_size=1, max_size=6).filter(lambda name: ".." not in name and "//" not in name)
trees = st.dictionaries(names, st.tuples(st.binary(max_size=3), st.booleans()), max_size=8)


@settings(deadline=None, max_examples=50)
@given(trees)
def test_any_tree_has_git_s_id(tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bool]]) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name, (data, executable) in files.items():
        path = root / name.strip("/.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError:  # a file where a directory has to be
            continue
        path.chmod(0o755 if executable else 0o644)
    git("init", "-q", ".", cwd=root)
    git("add", "-A", "-f", cwd=root)
    assert digest.git_tree_id(root) == git("write-tree", cwd=root)


# -- our tree digest ----------------------------------------------------------------------------------------------


def test_the_tree_digest_is_what_its_description_says(tmp_path: Path) -> None:
    root = build_tree(tmp_path / "t")

    def sha(data: bytes) -> bytes:
        return hashlib.sha256(data).hexdigest().encode()

    records = [
        b"d - cmd\0",
        b"f " + sha(b"sorts between cmd and cmd/ only in git\n") + b" cmd-x\0",
        b"f " + sha(b"package a\n") + b" cmd.go\0",
        b"x " + sha(b"#!/bin/sh\n") + b" cmd/run\0",
        b"l " + sha(b"./cmd/run") + b" link\0",
    ]
    assert digest.tree_digest(root) == digest.sha256_bytes(b"kubewright-tree-v1\0" + b"".join(records))


def test_the_tree_digest_does_not_see_times_owners_or_other_modes(tmp_path: Path) -> None:
    root = build_tree(tmp_path / "t")
    before = digest.tree_digest(root)
    for entry in digest.walk(root):
        if entry.kind != "link":
            os.utime(root / entry.path, (1, 1))
            (root / entry.path).chmod(0o700 if entry.executable or entry.kind == "directory" else 0o600)
    assert digest.tree_digest(root) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "cmd" / "run").write_bytes(b"#!/bin/sH\n"),
        lambda root: (root / "cmd" / "run").chmod(0o644),
        lambda root: (root / "cmd.go").rename(root / "cmd.g"),
        lambda root: (root / "cmd" / "new").mkdir(),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("cmd/run")),
        lambda root: ((root / "link").unlink(), (root / "link").write_bytes(b"./cmd/run")),
    ],
)
def test_the_tree_digest_sees_every_other_change(tmp_path: Path, change) -> None:
    root = build_tree(tmp_path / "t")
    before = digest.tree_digest(root)
    change(root)
    assert digest.tree_digest(root) != before


def test_many_files_hash_in_threads_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(500):
        (tmp_path / f"f{number}").write_bytes(b"%d" % number)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    alone = digest.tree_digest(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert digest.tree_digest(tmp_path) == alone


def test_a_pipe_in_a_tree_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeArchiveError, match="'pipe'"):
        digest.tree_digest(tmp_path)
