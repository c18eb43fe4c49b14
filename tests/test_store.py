"""The store: atomic, verified on read, safe under two runs and under a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from kubewright.disk import writing
from kubewright.errors import StoreCorruptError, StoreError
from kubewright.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_blob_comes_back_as_it_was_put(store: Store, tmp_path: Path) -> None:
    digest = store.put_bytes(b"wrought")
    store.copy_out(digest, tmp_path / "out", 0o755)
    assert store.read(digest) == (tmp_path / "out").read_bytes() == b"wrought"
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert store.path(digest).stat().st_mode & 0o777 == 0o444


def test_a_file_with_other_bytes_than_expected_is_not_stored(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"other")
    with pytest.raises(StoreCorruptError, match="not sha256:0000"):
        store.put_file(tmp_path / "f", "sha256:" + "0" * 64)
    assert list(store.blobs()) == []


@pytest.mark.parametrize("how", ["read", "copy_out"])
def test_a_flipped_byte_is_found_said_and_moved_aside(store: Store, tmp_path: Path, how: str) -> None:
    digest = store.put_bytes(b"x" * 1000)
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * 999 + b"y")
    with pytest.raises(StoreCorruptError, match="no longer has its digest") as caught:
        store.read(digest) if how == "read" else store.copy_out(digest, tmp_path / "out")
    assert "run the command again" in caught.value.remedy
    assert not store.has(digest)
    assert not (tmp_path / "out").exists()
    assert len(list((store.root / "damaged").iterdir())) == 1


def test_a_ref_that_was_torn_counts_as_absent(store: Store) -> None:
    store.put_json("record", "k", {"a": 1})
    assert store.get_json("record", "k") == {"a": 1}
    (store.root / "refs/record/k").write_text("sha256:12")
    assert store.get_json("record", "k") is None


def test_a_full_disk_is_a_store_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no space left") as caught, writing(tmp_path):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))
    assert "gc" in caught.value.remedy


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    # /dev/full answers every write as a full disk does
    store = Store(tmp_path)
    digest = store.put_bytes(b"data")
    (tmp_path / "out").mkdir()
    (tmp_path / f"out/.full.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="no space left"):
        store.copy_out(digest, tmp_path / "out/full")


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises((StoreError, NotADirectoryError)):
        Store(tmp_path / "file" / "store").put_bytes(b"x")
    with pytest.raises(StoreError, match="cannot write"), writing(tmp_path):
        raise OSError(30, "Read-only file system", "/ro")


HOLDER = """
    import sys, time
    from pathlib import Path
    from kubewright.store import Store
    store = Store(Path(sys.argv[1]))
    with store.lock("build-x", "building kubectl"):
        print("held", flush=True)
        time.sleep(float(sys.argv[2]))
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def test_a_second_run_waits_and_says_for_what(store: Store) -> None:
    with start(HOLDER, str(store.root), "1") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said: list[str] = []
        before = time.monotonic()
        with store.lock("build-x", "building kubectl", waiting=said.append):
            assert time.monotonic() - before > 0.3
    assert said == [f"process {holder.pid} (-c {store.root} 1), which is building kubectl"]


def test_a_killed_holder_leaves_no_lock(store: Store) -> None:
    with start(HOLDER, str(store.root), "60") as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGKILL)
        with store.lock("build-x", "building", waiting=lambda _: None):
            pass


WRITER = """
    import os, sys
    from pathlib import Path
    from kubewright.store import Store
    store = Store(Path(sys.argv[1]))
    with store.scratch("build") as scratch:
        (scratch / "half").write_bytes(b"half")
        print("writing", flush=True)
        while True:
            store.put_json("record", "k", {"data": os.urandom(20000).hex()})
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.1, 0.2])
def test_a_kill_while_writing_leaves_the_old_state_or_the_new(store: Store, delay: float) -> None:
    store.put_json("record", "k", {"data": "first"})
    with start(WRITER, str(store.root)) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    value = store.get_json("record", "k")
    assert isinstance(value, dict)
    assert set(value) == {"data"}
    for digest, _ in store.blobs():
        store.read(digest)  # every blob that is there is whole
    assert store.sweep() in (1, 2)  # the scratch directory, and a blob on its way in
    assert [*(store.root / "work").iterdir(), *(store.root / "incoming").iterdir()] == []


def test_scratch_in_use_is_not_swept(store: Store) -> None:
    with store.scratch("build") as scratch:
        assert store.sweep() == 0
        assert scratch.is_dir()
    assert not scratch.exists()


def test_a_tree_that_fails_to_fill_is_not_there(store: Store) -> None:
    def fill(target: Path) -> None:
        target.mkdir()
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        store.add_tree("root-1", fill)
    assert not store.tree("root-1").exists()
    store.add_tree("root-1", lambda target: target.mkdir())
    assert store.tree("root-1").is_dir()
    store.drop_tree("root-1")
    assert not store.tree("root-1").exists()
