"""A checkout in which small real components are locked and built through the code path that users have: ``doit`` as a
process, the real sandboxes, the locked builders of this repository, and origins on this machine.

Its store is its own; what is heavy (unpacked packages, the Go toolchain, the compile cache) is the environment's store,
linked in. The builder ``tools`` is made here: one package of one static program (tool.c), from an archive in a folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopback import GitRepository

from kubewright.building.inputs import ensure_root, ensure_toolchain, root_name
from kubewright.fetch.gomodule import module_cache
from kubewright.files.deb import unpack_root
from kubewright.files.digest import tree_digest
from kubewright.model.lockfile import LockedBuilder, LockedPackage, dump_lock, load_lock
from kubewright.project import Project
from kubewright.record import BuildRecord, load
from kubewright.report import Progress

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
QUIET = Progress("tests")
#: seconds that any one command may take before the test gives up on it
PATIENCE = 300.0

HEAD = 'name = "{name}"\nversion = "{version}"\nsummary = "A test"\nlicence = "MIT"\nbuilder = "{builder}"\n'


def listed(words: Iterable[str]) -> str:
    """A TOML array of strings."""
    return json.dumps(list(words))


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


# -- what all workshops share -------------------------------------------------------------------------------------


def heavy(project: Project) -> Mapping[str, Path]:
    """Path in a store -> the environment's own: the locked roots, toolchain and compile caches, fetched where absent."""
    found: dict[str, Path] = {}
    for name in ("bubblewrap", "cgo"):
        builder = project.locked_builder(name)
        ensure_root(project, name, builder, QUIET)
        found[f"trees/{root_name(builder)}"] = project.store.tree(root_name(builder))
    goroot = ensure_toolchain(project, project.locked_builder("go"), QUIET)
    assert goroot is not None
    found[f"go/mod/{goroot.relative_to(module_cache(project.store))}"] = goroot
    for cache in ("go/build-cache", "go/list-cache"):
        (project.store.root / cache).mkdir(parents=True, exist_ok=True)
        found[cache] = project.store.root / cache
    return found


def _ar(members: Mapping[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


@lru_cache(maxsize=1)
def _tool(folder: Path) -> bytes:
    subprocess.run(["gcc", "-static", "-O1", "-Wall", "-o", folder / "tool", HERE / "tool.c"], check=True)
    subprocess.run(["strip", folder / "tool"], check=True)
    return (folder / "tool").read_bytes()


def make_tools(folder: Path) -> tuple[Path, LockedBuilder]:
    """An archive in ``folder`` with the one package, and the builder ``tools`` locked to it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("./usr/bin/tool")
        content = _tool(folder)
        info.mode, info.size = 0o755, len(content)
        tar.addfile(info, io.BytesIO(content))
    packed = lzma.compress(data.getvalue(), preset=0)
    deb = _ar({"debian-binary": b"2.0\n", "control.tar.xz": b"", "data.tar.xz": packed})
    path = "pool/main/t/tools/tools_1_amd64.deb"
    file = folder / "archive" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(deb)
    package = LockedPackage("tools", "1", "amd64", path, hashlib.sha256(deb).hexdigest(), len(deb))
    unpack_root([file], folder / "root")
    return folder / "archive", LockedBuilder("test", ("tools",), tree_digest(folder / "root"), (), (package,))


# -- one workshop -------------------------------------------------------------------------------------------------


class Workshop:
    """A checkout at ``folder``/checkout, its store beside it, origins below ``folder``/origins."""

    def __init__(self, folder: Path, shared: Mapping[str, Path], tools: tuple[Path, LockedBuilder]) -> None:
        self.folder = folder
        self.root = folder / "checkout"
        self.store = folder / "store"
        self.tools = tools
        self.patience = PATIENCE
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KUBEWRIGHT_", "GO", "PYTEST"))},
            "HOME": str(folder / "home"),
            "KUBEWRIGHT_STORE": str(self.store),
            "GOPROXY": f"file://{folder}/origins/go",
            "GOSUMDB": "off",
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
        }
        for name in ("home", "origins/go"):
            (folder / name).mkdir(parents=True)
        self._make_checkout()
        for name, target in shared.items():
            (self.store / name).parent.mkdir(parents=True, exist_ok=True)
            (self.store / name).symlink_to(target)

    def _make_checkout(self) -> None:
        for name in ("recipes", "stacks", "patches"):
            (self.root / name).mkdir(parents=True)
        for name in ("dodo.py", "pyproject.toml"):
            shutil.copy(REPOSITORY / name, self.root / name)
        shutil.copytree(REPOSITORY / "builders", self.root / "builders")
        self.write("builders/tools.toml", 'name = "tools"\nsummary = "x"\n[debian]\nsuite = "test"\npackages = ["tools"]\n')
        lock = load_lock(REPOSITORY / "lockfile.toml")
        builders = {**lock.builders, "tools": self.tools[1]}
        self.write("lockfile.toml", dump_lock(dataclasses.replace(lock, components={}, builders=builders)))
        self.write("settings.toml", f"debian_archives = [{json.dumps(self.tools[0].as_uri())}]\nretries = 0\n")

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> Path:
        """A file of the checkout."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)
        return target

    def recipe(self, name: str, body: str, *, builder: str = "tools", version: str = "1.0.0") -> Path:
        """recipes/NAME/recipe.toml with the usual head."""
        return self.write(f"recipes/{name}/recipe.toml", HEAD.format(name=name, version=version, builder=builder) + body)

    def small(
        self, name: str, *steps: Iterable[str], outputs: Iterable[str] = (), source: str = "", more: str = "", **head: str
    ) -> Path:
        """A component of run steps; by default of one tiny git source, with the output NAME of kind file."""
        found = source or f'[[source]]\nname = "src"\nform = "tree"\ngit = "{self.git("tiny", {"a": "a"}).url}"\n'
        runs = "".join(f"[[step]]\nrun = {listed(step)}\n" for step in steps)
        made = "".join(f'[[output]]\npath = "{path}"\nkind = "file"\n' for path in outputs or (name,))
        return self.recipe(name, found + runs + made + more, **head)

    def git(self, name: str, files: Mapping[str, str | bytes], tag: str = "v1.0.0") -> GitRepository:
        """A repository origins/NAME with one tagged commit; the one that is there already when it is."""
        path = self.folder / "origins" / name
        if (path / ".git").is_dir():
            made = GitRepository.__new__(GitRepository)
            made.path = path
            return made
        made = GitRepository(path)
        made.commit(dict(files), tag)
        return made

    def stack(self, *names: str) -> None:
        self.write("stacks/kubernetes.toml", f'name = "kubernetes"\nsummary = "x"\ncomponents = {listed(names)}\n')

    def empty_store(self) -> None:
        """Drop what was fetched and built, and keep what all workshops share."""
        for path in self.store.iterdir():
            if path.name not in ("go", "trees"):
                path.rename(Path(tempfile.mkdtemp(dir=self.folder)) / path.name)
        for path in [*(self.store / "trees").iterdir(), *(self.store / "go/mod").iterdir()]:
            if not path.is_symlink() and path.name != "golang.org":
                path.rename(Path(tempfile.mkdtemp(dir=self.folder)) / path.name)

    # -- running ----------------------------------------------------------------------------------------------------

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "doit", *arguments]

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """``./doit ARGUMENTS`` in a session of its own, not waited for."""
        pipe = subprocess.PIPE
        env = {**self.environ, **environ}
        return subprocess.Popen(
            self.command(*arguments), cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True,
            start_new_session=True,
        )  # fmt: skip

    def doit(self, *arguments: str, status: int | None = 0, **environ: str) -> Done:
        """``./doit ARGUMENTS``, which must end with ``status`` (None: whatever)."""
        return self.finished(self.start(*arguments, **environ), status)

    def finished(self, process: subprocess.Popen[str], status: int | None = 0) -> Done:
        """Wait for a process of ``start``."""
        try:
            out, err = process.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"it did not end:\n{out}\n{err}") from None
        done = Done(process.returncode, out, err)
        assert "Traceback" not in done.text, done.text
        assert status is None or done.status == status, f"status {done.status}, not {status}:\n{done.text}"
        return done

    def kubewright(self, *arguments: str, status: int = 0) -> Done:
        """The other command line."""
        command = [sys.executable, "-m", "kubewright", *arguments]
        done = subprocess.run(command, cwd=self.root, env=self.environ, capture_output=True, text=True, timeout=self.patience)
        assert done.returncode == status, done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def why(self, name: str) -> Any:
        return json.loads(self.kubewright("why", name, "--json").out)

    # -- looking ----------------------------------------------------------------------------------------------------

    def project(self) -> Project:
        return Project(self.root, self.environ)

    def record(self, name: str) -> BuildRecord:
        project = self.project()
        found = load(project.store, project.component(name).key)
        assert found is not None, f"{name} has no record"
        return found

    def artifact(self, name: str, path: str = "", version: str = "1.0.0") -> Path:
        return self.root / "artifacts" / name / version / "linux-amd64" / (path or name)

    def pin(self, name: str, index: int = 0) -> Any:
        return self.project().lock.components[name].sources[index]

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text in a file of the checkout; it must be there."""
        text = (self.root / path).read_text()
        assert old in text, f"{old!r} is not in {path}:\n{text}"
        (self.root / path).write_text(text.replace(old, new))

    def flip(self, path: Path) -> None:
        """Change one byte of a file, whatever its mode."""
        mode = path.stat().st_mode
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        path.chmod(mode)

    def built_nothing(self, name: str) -> None:
        """No artifact, no record, no scratch: nothing half-written anywhere."""
        folder = self.root / "artifacts" / name
        assert [path for path in folder.rglob("*") if path.is_file()] == []
        assert list((self.store / "refs" / "record").glob("*")) == []
        self.tidy()

    def tidy(self) -> None:
        """Neither store nor checkout hold anything unfinished."""
        assert list((self.store / "work").glob("*")) == []
        assert list((self.store / "incoming").glob("*")) == []
        left = [path for path in (self.root, self.root / "artifacts") for path in path.rglob("*.tmp")]
        assert left == []


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for something that is about to happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.02)
