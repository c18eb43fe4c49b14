"""Origins that do not have what was locked: tags, commits, modules, archives, packages, patches."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import goproxy
import pytest
from loopback import files_of
from workshop import Workshop

from kubewright.errors import (
    IntegrityError,
    LockOutdatedError,
    NetworkError,
    OriginError,
    PatchError,
    TagMovedError,
    UnsafeArchiveError,
)

WRITE = ["tool", "write", "out/x", "hello"]
COPY = ["tool", "copy", "src/src/a", "out/x"]
GO_MOD = "module example.org/hello\n\ngo 1.26.0\n"
MAIN = 'package main\n\nfunc main() { println("hello") }\n'


# -- git ----------------------------------------------------------------------------------------------------------


def test_a_tag_that_is_not_there(shop: Workshop) -> None:
    shop.small("x", WRITE, version="2.0.0")
    before = (shop.root / "lockfile.toml").read_bytes()
    done = shop.doit("lock:x", status=OriginError.exit_code)
    assert "has no tag v2.0.0" in done.err
    assert (shop.root / "lockfile.toml").read_bytes() == before


@pytest.mark.parametrize("command", ["build:x", "lock:x"])
def test_a_tag_that_moved_since_the_lock(shop: Workshop, command: str) -> None:
    shop.small("x", COPY)
    shop.doit("lock:x")
    locked = shop.pin("x").commit
    origin = shop.git("tiny", {})
    moved = origin.commit({"a": "other"})
    origin.git("tag", "-f", "v1.0.0")
    for name in ("git", "trees/" + f"source-tree-{shop.pin('x').sha256}"):
        (shop.store / name).rename(shop.folder / f"aside-{name.replace('/', '-')}") if (shop.store / name).exists() else None
    before = (shop.root / "lockfile.toml").read_bytes()
    done = shop.doit(command, status=TagMovedError.exit_code)
    assert locked in done.err
    assert moved in done.err
    assert (shop.root / "lockfile.toml").read_bytes() == before
    shop.built_nothing("x")


def test_a_commit_that_is_gone(shop: Workshop) -> None:
    shop.small("x", COPY)
    shop.doit("lock:x")
    commit = shop.pin("x").commit
    origin = shop.git("tiny", {})
    origin.git("tag", "-d", "v1.0.0")
    origin.git("checkout", "-q", "--orphan", "other")
    origin.commit({"a": "other"})
    origin.git("branch", "-D", "main")
    origin.git("reflog", "expire", "--expire=now", "--all")
    origin.git("gc", "-q", "--prune=now")
    (shop.store / "git").rename(shop.folder / "aside")
    done = shop.doit("build:x", status=OriginError.exit_code)
    assert f"recipes/x/recipe.toml: source src: {origin.url} does not have commit {commit} (tag v1.0.0)" in done.err
    assert "name a mirror that has it in settings.toml (git_mirrors)" in done.err
    shop.built_nothing("x")


@pytest.mark.parametrize("key", ["tree", "sha256"])
def test_a_commit_that_does_not_match_its_tree(shop: Workshop, key: str) -> None:
    shop.small("x", COPY)
    shop.doit("lock:x")
    value = getattr(shop.pin("x"), key)
    other = "0" * len(value)
    shop.edit("lockfile.toml", value, other)
    done = shop.doit("build:x", status=IntegrityError.exit_code)
    assert value in done.err
    assert other in done.err
    shop.built_nothing("x")
    shop.edit("lockfile.toml", other, value)
    shop.doit("build:x")


def test_a_repository_that_is_not_there(shop: Workshop) -> None:
    source = f'[[source]]\nname = "src"\nform = "tree"\ngit = "file://{shop.folder}/origins/nothing"\n'
    shop.small("x", WRITE, source=source)
    done = shop.doit("lock:x", status=OriginError.exit_code)
    assert "origins/nothing is not a git repository" in done.err


# -- Go modules ---------------------------------------------------------------------------------------------------


def hello(shop: Workshop, *, unpack: bool) -> None:
    """A component of the Go module example.org/hello, built from the module cache or (``unpack``) just unpacked."""
    goproxy.publish(shop.folder / "origins/go", "example.org/hello", "v1.0.0", {"go.mod": GO_MOD, "main.go": MAIN})
    source = '[[source]]\nname = "src"\nform = "module"\nmodule = "example.org/hello"\n'
    if unpack:
        step = '[[step]]\nrun = ["go", "version"]\n[[step]]\nrun = ["{build}/tool", "copy", "src/src/main.go", "out/hello"]\n'
        source += 'unpack = true\n[[overlay]]\nfrom = "tool"\nto = "tool"\n'
        shop.write("recipes/hello/tool", (shop.tools[0].parent / "tool").read_bytes(), 0o755)
    else:
        step = '[[step]]\ngo.commands = { hello = "example.org/hello" }\n'
    shop.recipe("hello", source + step + '[[output]]\npath = "hello"\n', builder="go")


def republish(shop: Workshop) -> None:
    """Other bytes under the same version."""
    files = {"go.mod": GO_MOD, "main.go": MAIN.replace("hello", "evil")}
    goproxy.publish(shop.folder / "origins/go", "example.org/hello", "v1.0.0", files)
    for kind in ("zip", "ziphash", "info", "lock", "mod"):
        (shop.store / f"go/mod/cache/download/example.org/hello/@v/v1.0.0.{kind}").unlink(missing_ok=True)
    module = shop.store / "go/mod/example.org/hello@v1.0.0"
    if module.exists():
        module.rename(shop.folder / "aside")


@pytest.mark.parametrize("unpack", [True, False])
def test_a_zip_that_does_not_match_its_h1(shop: Workshop, unpack: bool) -> None:
    hello(shop, unpack=unpack)
    shop.doit("lock:hello")
    h1 = shop.pin("hello").h1
    republish(shop)
    done = shop.doit("build:hello", status=IntegrityError.exit_code)
    assert "example.org/hello" in done.err
    assert h1 in done.err + (shop.root / "recipes/hello/go.sum").read_text() if not unpack else h1 in done.err
    shop.built_nothing("hello")
    done = shop.doit("lock:hello", status=IntegrityError.exit_code)
    assert h1 in done.err
    goproxy.publish(shop.folder / "origins/go", "example.org/hello", "v1.0.0", {"go.mod": GO_MOD, "main.go": MAIN})
    for path in (shop.store / "go/mod/cache/download/example.org").rglob("v1.0.0.*"):
        path.unlink()
    shop.doit("build:hello")


def test_a_module_version_that_is_not_there(shop: Workshop) -> None:
    hello(shop, unpack=False)
    shop.edit("recipes/hello/recipe.toml", "1.0.0", "1.0.7")
    done = shop.doit("lock:hello", status=OriginError.exit_code)
    assert "example.org/hello" in done.err
    assert "v1.0.7" in done.err


def test_a_dependency_that_is_not_there(shop: Workshop) -> None:
    hello(shop, unpack=False)
    main = 'package main\n\nimport "example.org/nobody"\n\nfunc main() { nobody.Hello() }\n'
    mod = GO_MOD + "\nrequire example.org/nobody v1.2.3\n"
    goproxy.publish(shop.folder / "origins/go", "example.org/hello", "v1.0.0", {"go.mod": mod, "main.go": main})
    done = shop.doit("lock:hello", status=OriginError.exit_code)
    assert "example.org/nobody" in done.err
    assert not (shop.root / "recipes/hello/go.mod").exists()
    assert "component.hello" not in (shop.root / "lockfile.toml").read_text()


def test_a_go_sum_that_does_not_cover_the_build(shop: Workshop) -> None:
    hello(shop, unpack=False)
    shop.doit("lock:hello")
    old = hashlib.sha256((shop.root / "recipes/hello/go.sum").read_bytes()).hexdigest()
    shop.write("recipes/hello/go.sum", "")
    shop.edit("lockfile.toml", old, hashlib.sha256(b"").hexdigest())
    done = shop.doit("build:hello", status=LockOutdatedError.exit_code)
    assert "./doit lock:hello" in done.err
    shop.built_nothing("hello")


# -- archives -----------------------------------------------------------------------------------------------------

Serve = Callable[[type[BaseHTTPRequestHandler]], str]


def tar(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            if not isinstance(member, tarfile.TarInfo):
                info.size = len(member[1])
            archive.addfile(info, io.BytesIO(b"" if isinstance(member, tarfile.TarInfo) else member[1]))
    return data.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def served(shop: Workshop, serve: Serve, content: bytes) -> Path:
    """A component of an archive on a web server of this machine."""
    file = shop.folder / "origins/web/x.tar.gz"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    source = f'[[source]]\nname = "src"\nform = "archive"\nurl = "{serve(files_of(file.parent))}/x.tar.gz"\n'
    shop.small("x", COPY, source=source)
    return file


HOSTILE = {
    "..": (tar(("x/a", b"a"), ("x/../../../escaped", b"a")), "leads out of the target with '..'"),
    "absolute": (tar(("x/a", b"a"), ("/escaped", b"a")), "has an absolute path"),
    "absolute link": (tar(("x/a", b"a"), special("x/l", tarfile.SYMTYPE, "/etc")), "symbolic link to the absolute path '/etc'"),
    "link out": (tar(("x/a", b"a"), special("x/l", tarfile.SYMTYPE, "../../..")), "symbolic link that leads out of the target"),
    "through a link": (
        tar(("x/a", b"a"), special("x/l", tarfile.SYMTYPE, "."), ("x/l/escaped", b"a")),
        "would be written through 'l'",
    ),
    "hard link": (tar(("x/a", b"a"), special("x/h", tarfile.LNKTYPE, "/etc/passwd")), "'/etc/passwd'"),
    "device": (tar(("x/a", b"a"), special("x/d", tarfile.CHRTYPE)), "is a device"),
    "pipe": (tar(("x/a", b"a"), special("x/p", tarfile.FIFOTYPE)), "is a device, a pipe"),
    "bomb": (tar(("x/a", b"a"), ("x/zeros", bytes(100 << 20))), "over 150 to 1"),
    "no archive": (b"<html>Not found</html>", "not an archive"),
    "cut": (tar(("x/a", bytes(range(256)) * 400))[:-200], "is damaged or not an archive"),
}


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_an_archive_that_is_hostile(shop: Workshop, serve: Serve, content: bytes, said: str) -> None:
    """Refused while locking, and (an archive that a lock names already) while building."""
    file = served(shop, serve, tar(("x/a", b"a")))
    shop.doit("lock:x")
    good = hashlib.sha256(file.read_bytes()).hexdigest()
    size = file.stat().st_size
    file.write_bytes(content)
    shop.edit(
        "lockfile.toml",
        f'sha256 = "{good}"\nsize = {size}',
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}',
    )
    done = shop.doit("build:x", status=UnsafeArchiveError.exit_code)
    assert said in done.err
    shop.built_nothing("x")
    assert list(shop.folder.rglob("escaped")) == []
    assert [path for path in (shop.store / "trees").iterdir() if path.name.startswith("source")] == []


@pytest.mark.parametrize("name", ["..", "bomb", "no archive"])
def test_an_archive_that_is_hostile_gets_into_no_lock(shop: Workshop, serve: Serve, name: str) -> None:
    served(shop, serve, HOSTILE[name][0])
    before = (shop.root / "lockfile.toml").read_bytes()
    shop.doit("lock:x", status=UnsafeArchiveError.exit_code)
    assert (shop.root / "lockfile.toml").read_bytes() == before


def test_an_archive_that_changed_since_the_lock(shop: Workshop, serve: Serve) -> None:
    file = served(shop, serve, tar(("x/a", b"one")))
    shop.doit("lock:x")
    digest = shop.pin("x").sha256
    (shop.store / "blobs" / digest[:2] / digest[2:]).unlink()
    file.write_bytes(tar(("x/a", b"two")))
    other = hashlib.sha256(file.read_bytes()).hexdigest()
    done = shop.doit("build:x", status=IntegrityError.exit_code)
    assert digest in done.err
    assert other in done.err
    shop.built_nothing("x")
    done = shop.doit("lock:x", status=IntegrityError.exit_code)
    assert digest in done.err
    assert other in done.err
    file.unlink()
    assert "HTTP 404" in shop.doit("build:x", status=OriginError.exit_code).err


def test_a_server_that_is_not_there(shop: Workshop, serve: Serve) -> None:
    served(shop, serve, tar(("x/a", b"one")))
    port = (shop.root / "recipes/x/recipe.toml").read_text().split("127.0.0.1:")[1].split("/")[0]
    shop.edit("recipes/x/recipe.toml", f"127.0.0.1:{port}", "127.0.0.1:1")
    done = shop.doit("lock:x", status=NetworkError.exit_code)
    assert "http://127.0.0.1:1/x.tar.gz cannot be fetched: no connection" in done.err


# -- packages -----------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(shop: Workshop, tmp_path: Path) -> Path:
    """An archive of the test's own with the package of ``tools``; gives the package's file."""
    package = shop.tools[1].packages[0]
    copy = tmp_path / "archive" / package.path
    copy.parent.mkdir(parents=True)
    copy.write_bytes((shop.tools[0] / package.path).read_bytes())
    shop.write("settings.toml", f'debian_archives = ["{(tmp_path / "archive").as_uri()}"]\nretries = 0\n')
    return copy


def test_a_package_with_other_bytes(shop: Workshop, archive: Path) -> None:
    shop.small("x", WRITE)
    shop.doit("lock:x")
    shop.flip(archive)
    done = shop.doit("build:x", status=IntegrityError.exit_code)
    assert "tools_1_amd64.deb" in done.err
    assert shop.tools[1].packages[0].sha256 in done.err
    shop.built_nothing("x")


def test_a_package_that_is_gone_from_the_pool(shop: Workshop, archive: Path) -> None:
    shop.small("x", WRITE)
    shop.doit("lock:x")
    archive.unlink()
    done = shop.doit("build:x", status=OriginError.exit_code)
    assert "package tools 1 (amd64) of builder tools is in no archive any more" in done.err
    assert "./doit lock:tools" in done.err
    shop.built_nothing("x")


def test_packages_that_unpack_to_another_root_than_was_locked(shop: Workshop) -> None:
    shop.small("x", WRITE)
    shop.doit("lock:x")
    root = shop.tools[1].root
    shop.edit("lockfile.toml", root, "sha256:" + "0" * 64)
    done = shop.doit("build:x", status=IntegrityError.exit_code)
    assert root in done.err
    shop.built_nothing("x")


# -- patches ------------------------------------------------------------------------------------------------------


def test_a_patch_that_does_not_apply_names_its_hunk(shop: Workshop) -> None:
    lines = "".join(f"line {number}\n" for number in range(1, 41))
    shop.git("tiny", {"a": "a", "text": lines})
    shop.small("x", WRITE)
    shop.edit("recipes/x/recipe.toml", "[[step]]", '[[source.patch]]\nfile = "0001-x.patch"\nreason = "r"\n[[step]]')
    good = "@@ -2,3 +2,3 @@\n line 2\n-line 3\n+line three\n line 4\n"
    bad = "@@ -20,3 +20,3 @@\n line 20\n-line of somebody else\n+line 21\n line 22\n"
    shop.write("patches/x/0001-x.patch", f"--- a/text\n+++ b/text\n{good}{bad}")
    shop.doit("lock:x")
    done = shop.doit("build:x", status=PatchError.exit_code)
    assert "patches/x/0001-x.patch does not apply to src v1.0.0: text, hunk 2 (line 20)" in done.err
    shop.built_nothing("x")


def test_a_patch_of_another_version(shop: Workshop) -> None:
    """It fits 1.0.0; what it changes is another text in 1.1.0, and gone from 1.2.0."""
    origin = shop.git("tiny", {"a": "a", "text": "one\ntwo\nthree\n"})
    shop.small("x", COPY)
    shop.edit("recipes/x/recipe.toml", "[[step]]", '[[source.patch]]\nfile = "0001-x.patch"\nreason = "r"\n[[step]]')
    shop.write("patches/x/0001-x.patch", "--- a/text\n+++ b/text\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n")
    shop.doit("lock:x", "build:x")
    origin.commit({"text": "one\nzwei\nthree\n"}, "v1.1.0")
    (origin.path / "text").unlink()
    origin.commit({}, "v1.2.0")
    recipe = (shop.root / "recipes/x/recipe.toml").read_text()
    for version, said in (("1.1.0", "text, hunk 1 (line 1)"), ("1.2.0", "text: No such file or directory")):
        shop.write("recipes/x/recipe.toml", recipe.replace('version = "1.0.0"', f'version = "{version}"'))
        shop.doit("lock:x")
        done = shop.doit("build:x", status=PatchError.exit_code)
        assert f"patches/x/0001-x.patch does not apply to src v{version}: {said}" in done.err
        assert "remove [[source.patch]] from recipes/x/recipe.toml" in done.err
        assert not shop.artifact("x", version=version).exists()
        shop.tidy()
