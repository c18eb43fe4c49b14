"""Disks that are full, read-only or lie: what is said, that nothing half-written stays, and that the next run mends it."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import goproxy
import pytest
from loopback import files_of
from workshop import Done, Workshop

from kubewright.errors import IntegrityError, StoreCorruptError, StoreError

Serve = Callable[[type[BaseHTTPRequestHandler]], str]

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """``mount(ARGUMENTS..., point)``; undone afterwards."""
    points: list[str] = []

    def run(*arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True)
        if "remount" not in " ".join(arguments):
            points.append(arguments[-1])

    yield run
    for point in reversed(points):
        subprocess.run(["umount", "--lazy", point], check=True)


# -- no space -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(shop: Workshop, mount: Callable[..., None]) -> Callable[[int], None]:
    """Put the store on a disk with so many KB, or change its size."""

    def resize(size: int) -> None:
        if os.path.ismount(shop.store):
            mount("-o", f"remount,size={size}k", str(shop.store))
            return
        links = {path.relative_to(shop.store): path.readlink() for path in shop.store.rglob("*") if path.is_symlink()}
        mount("-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(shop.store))
        for path, target in links.items():
            (shop.store / path).parent.mkdir(parents=True, exist_ok=True)
            (shop.store / path).symlink_to(target)

    return resize


def full(done: Done, where: Path) -> None:
    assert done.status == StoreError.exit_code, done.text
    assert "no space left" in done.err
    assert str(where) in done.err


@needs_mount
@pytest.mark.parametrize("size", [600, 1400, 2500, 4500])
def test_no_space_in_the_store_while_building(shop: Workshop, small: Callable[[int], None], size: int) -> None:
    """Unpacking packages, laying out, the step itself, taking in its output: whatever comes first."""
    shop.small("x", ["tool", "fill", "out/x", "3000000"])
    shop.doit("lock:x")
    small(size)
    full(shop.doit("build:x", status=None), shop.store)
    shop.built_nothing("x")
    small(40_000)
    shop.doit("build:x")
    assert shop.artifact("x").stat().st_size == 3_000_000
    shop.tidy()


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


@needs_mount
def test_no_space_for_a_git_source(shop: Workshop, small: Callable[[int], None]) -> None:
    big = shop.git("big", {"big": noise(3_000_000)})
    shop.small(
        "x", ["tool", "copy", "src/src/big", "out/x"], source=f'[[source]]\nname = "src"\nform = "tree"\ngit = "{big.url}"\n'
    )
    small(2000)
    full(shop.doit("lock:x", status=None), shop.store)
    small(40_000)
    shop.doit("lock:x")
    small(40_000)
    shop.doit("build:x")
    assert shop.artifact("x").read_bytes() == noise(3_000_000)


@needs_mount
def test_no_space_for_an_archive(shop: Workshop, small: Callable[[int], None], serve: Serve) -> None:
    served_archive(shop, serve, noise(3_000_000))
    shop.doit("lock:x")
    small(2000)
    full(shop.doit("build:x", status=None), shop.store)
    small(40_000)
    shop.doit("build:x")


@needs_mount
def test_no_space_for_a_go_module(shop: Workshop, small: Callable[[int], None]) -> None:
    go_component(shop, noise(2_000_000).hex())
    shop.doit("lock:hello")
    small(2000)
    full(shop.doit("build:hello", status=None), shop.store)
    small(80_000)
    shop.doit("build:hello")


@needs_mount
def test_no_space_for_the_artifacts(shop: Workshop, mount: Callable[..., None]) -> None:
    shop.small("x", ["tool", "fill", "out/x", "3000000"])
    shop.doit("lock:x")
    (shop.root / "artifacts").mkdir()
    mount("-t", "tmpfs", "-o", "size=1000k", "tmpfs", str(shop.root / "artifacts"))
    done = shop.doit("build:x", status=None)
    full(done, shop.root / "artifacts")
    assert "KUBEWRIGHT_STORE" not in done.err, "another store would not help"
    assert [path for path in (shop.root / "artifacts").rglob("*") if path.is_file()] == []
    mount("-o", "remount,size=8000k", str(shop.root / "artifacts"))
    assert "build:x: build" not in shop.doit("build:x").out
    assert shop.artifact("x").stat().st_size == 3_000_000


# -- read-only ----------------------------------------------------------------------------------------------------


@needs_mount
def test_a_read_only_store(shop: Workshop, mount: Callable[..., None]) -> None:
    shop.small("x", ["tool", "write", "out/x", "hello"])
    shop.small("y", ["tool", "write", "out/y", "hello"])
    shop.doit("lock:x", "lock:y")
    shop.doit("build:x")
    mount("--bind", str(shop.store), str(shop.store))
    mount("-o", "remount,bind,ro", str(shop.store))
    for command in ("build:y", "fetch:y", "lock:y", "rebuild:x", "gc"):
        done = shop.doit(command, status=StoreError.exit_code)
        assert f"cannot write {shop.store}" in done.err
        assert "Read-only file system" in done.err
        assert "KUBEWRIGHT_STORE" in done.err
    assert "1 cached; " in shop.doit("build:x").out
    assert shop.why("x")["build"] is not None
    shop.doit("list")
    shop.kubewright("status")


# -- bytes that changed on disk -----------------------------------------------------------------------------------


def go_component(shop: Workshop, word: str) -> None:
    """hello: a Go module with a dependency of its own, which holds ``word``."""
    proxy = shop.folder / "origins/go"
    helper = {"go.mod": "module example.org/helper\n\ngo 1.26.0\n", "h.go": f'package helper\n\nconst Word = "{word}"\n'}
    goproxy.publish(proxy, "example.org/helper", "v1.1.0", helper)
    main = 'package main\n\nimport "example.org/helper"\n\nfunc main() { println(len(helper.Word)) }\n'
    mod = "module example.org/hello\n\ngo 1.26.0\n\nrequire example.org/helper v1.1.0\n"
    goproxy.publish(proxy, "example.org/hello", "v1.0.0", {"go.mod": mod, "main.go": main})
    body = (
        '[[source]]\nform = "module"\nmodule = "example.org/hello"\n[[step]]\ngo.commands = { hello = "example.org/hello" }\n'
    )
    shop.recipe("hello", body + '[[output]]\npath = "hello"\n', builder="go")


def served_archive(shop: Workshop, serve: Serve, content: bytes) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("top/file")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    web = shop.folder / "origins/web"
    web.mkdir()
    (web / "x.tar").write_bytes(data.getvalue())
    source = f'[[source]]\nname = "src"\nform = "archive"\nurl = "{serve(files_of(web))}/x.tar"\n'
    shop.small("x", ["tool", "copy", "src/src/file", "out/x"], source=source)


def blob(shop: Workshop, digest: str) -> Path:
    value = digest.removeprefix("sha256:")
    return shop.store / "blobs" / value[:2] / value[2:]


def one(paths: Iterator[Path]) -> Path:
    found = [path for path in paths if path.is_file()]
    assert len(found) == 1, found
    return found[0]


DAMAGED: dict[str, tuple[str, Callable[[Workshop], Path], int]] = {
    "package": ("x", lambda shop: blob(shop, shop.tools[1].packages[0].sha256), StoreCorruptError.exit_code),
    "root": ("x", lambda shop: one((shop.store / "trees").glob("root-*/usr/bin/tool")), StoreCorruptError.exit_code),
    "git source": ("x", lambda shop: one((shop.store / "trees").glob("source-tree-*/a")), StoreCorruptError.exit_code),
    "archive source": (
        "y",
        lambda shop: one((shop.store / "trees").glob("source-archive-*/file")),
        StoreCorruptError.exit_code,
    ),
    "archive": ("y", lambda shop: blob(shop, shop.pin("y").sha256), StoreCorruptError.exit_code),
    "module": ("hello", lambda shop: shop.store / "go/mod/example.org/hello@v1.0.0/main.go", StoreCorruptError.exit_code),
    "dependency": ("hello", lambda shop: shop.store / "go/mod/example.org/helper@v1.1.0/h.go", StoreCorruptError.exit_code),
    "output": ("x", lambda shop: blob(shop, shop.record("x").outputs[0].sha256), StoreCorruptError.exit_code),
    "record": ("x", lambda shop: blob(shop, (one((shop.store / "refs/record").iterdir())).read_text().strip()), 0),
    "module list": ("hello", lambda shop: blob(shop, (one((shop.store / "refs/modules").iterdir())).read_text().strip()), 51),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_byte_that_changed_in_the_store(shop: Workshop, serve: Serve, what: str) -> None:
    name, path_of, status = DAMAGED[what]
    if name == "hello":
        go_component(shop, "word")
    elif name == "y":
        served_archive(shop, serve, b"content of the archive")
        text = (shop.root / "recipes/x/recipe.toml").read_text()
        shop.recipe("y", text.split('builder = "tools"\n')[1].replace("out/x", "out/y").replace('path = "x"', 'path = "y"'))
    else:
        shop.small("x", ["tool", "copy", "src/src/a", "out/x"])
    shop.doit(f"lock:{name}")
    shop.doit(f"build:{name}")
    expected = hashlib.sha256(shop.artifact(name).read_bytes()).hexdigest()
    path = path_of(shop)
    if what not in ("record", "output"):  # let it be needed again
        (shop.store / "refs/record").rename(shop.folder / "aside-record")
    if what in ("package", "archive"):
        for tree in ("root-*", "source-archive-*"):
            for unpacked in (shop.store / "trees").glob(tree):
                if not unpacked.is_symlink():
                    unpacked.rename(shop.folder / f"aside-{unpacked.name}")
    shop.doit("clean")
    shop.flip(path)
    done = shop.doit(f"build:{name}", status=status)
    if status:
        assert "what to do: " in done.err
        assert not shop.artifact(name).exists()
        shop.tidy()
        shop.doit(f"build:{name}")
    assert hashlib.sha256(shop.artifact(name).read_bytes()).hexdigest() == expected


def test_a_byte_that_changed_in_the_toolchain(shop: Workshop) -> None:
    """In a copy: the toolchain itself is shared by all tests."""
    go_component(shop, "word")
    shop.doit("lock:hello")
    toolchain = one_link((shop.store / "go/mod/golang.org").iterdir())
    original = toolchain.readlink()
    toolchain.unlink()
    subprocess.run(["cp", "-r", "--reflink=auto", original, toolchain], check=True)
    shop.flip(toolchain / "VERSION")
    done = shop.doit("build:hello", status=StoreCorruptError.exit_code)
    assert "golang.org/toolchain" in done.err
    assert not toolchain.exists()
    toolchain.symlink_to(original)
    shop.doit("build:hello")


def one_link(paths: Iterator[Path]) -> Path:
    found = [path for path in paths if path.is_symlink()]
    assert len(found) == 1, found
    return found[0]


def test_objects_of_a_stored_repository_that_changed(shop: Workshop) -> None:
    shop.small("x", ["tool", "copy", "src/src/a", "out/x"])
    shop.doit("lock:x")
    for tree in (shop.store / "trees").glob("*-*"):
        if not tree.is_symlink():
            tree.rename(shop.folder / f"aside-{tree.name}")
    for path in (shop.store / "git").rglob("objects/*/*"):
        if path.is_file():
            shop.flip(path)
    done = shop.doit("build:x", status=None)
    assert done.status in (0, IntegrityError.exit_code, StoreCorruptError.exit_code), done.text
    shop.doit("build:x")
    assert shop.artifact("x").read_text() == "a"
