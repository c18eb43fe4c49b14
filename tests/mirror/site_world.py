"""A small world to mirror: a checkout in git with one component of every kind of input, and origins on this machine.

site = Site(tmp_path)
site.write()                          # ./doit mirror, as a function
site.close_origins()                  # from here on only the mirror is left
site.inputs(str(site.mirror))         # every input of the component into an empty store
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import goproxy
from project_builder import ProjectBuilder

from kubewright.building.inputs import Inputs, ensure_inputs
from kubewright.fetch.gomodule import GoClient, bootstrap_goroot, toolchain_version
from kubewright.files.deb import unpack_root
from kubewright.files.digest import dirhash_gomod, dirhash_zip, sha256_hex, tree_digest
from kubewright.mirror.write import Written, write_mirror
from kubewright.model.lockfile import Lock, LockedBuilder, LockedPackage, LockedToolchain, dump_lock, load_lock
from kubewright.model.settings import host_platform
from kubewright.project import Project
from kubewright.report import Progress

QUIET = Progress("tests")
GO = "1.26.8"

GO_BUILDER = f'name = "go"\nsummary = "x"\n[go]\nversion = "{GO}"\n[debian]\nsuite = "test"\npackages = ["tools"]\n'
RECIPE = """\
name = "tool"
version = "1.0.0"
summary = "A Go program"
licence = "Apache-2.0"
builder = "go"
platforms = ["{platform}"]
[[source]]
form = "module"
module = "example.org/tool"
version = "{tool}"
[[source]]
name = "data"
form = "tree"
git = "file://{git}"
tag = "v1"
[[source]]
name = "headers"
form = "archive"
url = "file://{archive}"
[[source]]
name = "patched"
form = "module"
module = "example.org/Patched"
version = "v1.0.0"
unpack = true
[[step]]
go.commands = {{ tool = "example.org/tool" }}
[[output]]
path = "tool"
"""
MAIN = 'package main\n\nimport "example.org/dependency"\n\nfunc main() {{ println(dependency.Text, "{version}") }}\n'


def run(folder: Path, *arguments: str) -> str:
    """git, as nobody in particular."""
    environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


class Site:
    """The world below ``folder``; ``environ`` is what its projects see of the environment."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.origins = folder / "origins"
        self.root = folder / "checkout"
        self.mirror = folder / "mirror"
        self.proxy = self.origins / "go"
        self.environ = {"KUBEWRIGHT_STORE": str(folder / "store"), "KUBEWRIGHT_MIRROR_TO": str(self.mirror), **(environ or {})}
        self._publish()
        self.builder = ProjectBuilder(self.root).stack("kubernetes", ["tool"]).builder("go", GO_BUILDER)
        self.builder.write("release.toml", "sequence = 1\n")
        self.builder.write("digests.toml", "version = 1\n\n# end of digests.toml\n")
        self.builder.write(
            "settings.toml", f"retries = 0\ndebian_archives = [{json.dumps((self.origins / 'debian').as_uri())}]\n"
        )
        self.builder.write(".gitignore", "/settings.toml\n/store/\n/artifacts/\n")
        run(self.root, "init", "-q", "-b", "main")
        self.lock("v1.0.0")

    # -- origins ----------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        for version in ("v1.0.0", "v1.1.0", "v1.2.0"):
            text = f'package dependency\n\nconst Text = "dependency {version}"\n'
            files = {"go.mod": "module example.org/dependency\n\ngo 1.20\n", "d.go": text}
            goproxy.publish(self.proxy, "example.org/dependency", version, files)
        for version, wants in (("v1.0.0", "v1.1.0"), ("v1.1.0", "v1.2.0")):
            mod = f"module example.org/tool\n\ngo 1.20\n\nrequire example.org/dependency {wants}\n"
            goproxy.publish(self.proxy, "example.org/tool", version, {"go.mod": mod, "main.go": MAIN.format(version=version)})
        files = {"go.mod": "module example.org/Patched\n\ngo 1.20\n", "p.go": "package patched\n"}
        goproxy.publish(self.proxy, "example.org/Patched", "v1.0.0", files)
        self._publish_toolchain()
        self._publish_repository()
        self._publish_archive()
        self._publish_package()

    def _publish_toolchain(self) -> None:
        """A toolchain whose ``go`` is that of this environment: small, and still a program."""
        version = toolchain_version(GO, host_platform())
        folder = self.proxy / "golang.org/toolchain/@v"
        folder.mkdir(parents=True)
        (folder / f"{version}.mod").write_text("module golang.org/toolchain\n")
        (folder / f"{version}.info").write_text(json.dumps({"Version": version, "Time": goproxy.TIME}))
        files = {"bin/go": f'#!/bin/sh\nexec "{bootstrap_goroot()}/bin/go" "$@"\n', "VERSION": "x\n", "pkg/tool/x": "x\n"}
        with zipfile.ZipFile(folder / f"{version}.zip", "w") as archive:
            for name, text in sorted(files.items()):
                archive.writestr(f"golang.org/toolchain@{version}/{name}", text)

    def _publish_repository(self) -> None:
        self.git = self.origins / "data"
        self.git.mkdir(parents=True)
        run(self.git, "init", "-q", "-b", "main")
        for number, text in enumerate(("older\n", "data\n")):
            (self.git / "file").write_text(text)
            run(self.git, "add", ".")
            run(self.git, "commit", "-qm", str(number))
        run(self.git, "tag", "-a", "-m", "one", "v1")

    def _publish_archive(self) -> None:
        self.archive = self.origins / "web" / "headers-1.0.0.tar"
        self.archive.parent.mkdir(parents=True)
        with tarfile.open(self.archive, "w") as tar:
            info = tarfile.TarInfo("headers/a.h")
            info.size = 4
            tar.addfile(info, io.BytesIO(b"#a\n\n"))

    def _publish_package(self) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
            info = tarfile.TarInfo("./usr/share/tools")
            info.size = 6
            tar.addfile(info, io.BytesIO(b"tools\n"))
        members = {"debian-binary": b"2.0\n", "control.tar": b"", "data.tar": data.getvalue()}
        deb = b"!<arch>\n"
        for name, content in members.items():
            deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
            deb += b"\n" * (len(content) % 2)
        path = "pool/main/t/tools/tools_1.0+b1~rc1_amd64.deb"
        file = self.origins / "debian" / path
        file.parent.mkdir(parents=True)
        file.write_bytes(deb)
        unpack_root([file], self.folder / "root")
        self.package = LockedPackage("tools", "1.0+b1~rc1", "amd64", path, hashlib.sha256(deb).hexdigest(), len(deb))

    def close_origins(self) -> None:
        """Nobody is there any more."""
        self.origins.rename(self.folder / "origins-that-were")

    # -- the checkout -------------------------------------------------------------------------------------------------

    def lock(self, tool: str) -> None:
        """Recipe, go.mod, go.sum and lock for a version of the program, committed."""
        text = RECIPE.format(git=self.git, archive=self.archive, platform=host_platform(), tool=tool)
        self.builder.recipe("tool", text)
        main = f"module kubewright.local/tool\n\ngo 1.24\n\nrequire example.org/tool {tool}\n\ntool example.org/tool\n"
        self.builder.write("recipes/tool/go.mod", main)
        (self.root / "recipes/tool/go.sum").unlink(missing_ok=True)
        scratch = Project(self.root, {"KUBEWRIGHT_STORE": str(self.folder / "store-of-lock")})
        client = GoClient(bootstrap_goroot(), scratch.store)
        done = client.run(
            ["mod", "tidy"], self.root / "recipes/tool", goproxy.environment(self.proxy) | {"GOFLAGS": "-mod=mod"}
        )
        assert done.returncode == 0, done.stderr
        lock = load_lock(self.builder.lock().root / "lockfile.toml")
        program, data, headers, patched = lock.components["tool"].sources
        program, patched = (
            dataclasses.replace(pin, h1=self._h1(pin.module, pin.version), go_mod_h1=self._mod_h1(pin.module, pin.version))
            for pin in (program, patched)
        )
        commit, tree_id = (run(self.git, "rev-parse", name) for name in ("v1^{commit}", "v1^{tree}"))
        plain = self.folder / f"plain-{tool}"
        plain.mkdir()
        (plain / "file").write_text("data\n")
        data = dataclasses.replace(data, commit=commit, tree=tree_id, sha256=sha256_hex(tree_digest(plain)))
        archive = self.archive.read_bytes()
        headers = dataclasses.replace(headers, sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
        component = dataclasses.replace(lock.components["tool"], sources=(program, data, headers, patched))
        version = toolchain_version(GO, host_platform())
        zip_file = self.proxy / "golang.org/toolchain/@v" / f"{version}.zip"
        toolchain = LockedToolchain(host_platform(), GO, dirhash_zip(zip_file))  # type: ignore[arg-type]
        builder = LockedBuilder("test", ("tools",), tree_digest(self.folder / "root"), (toolchain,), (self.package,))
        self.builder.write("lockfile.toml", dump_lock(Lock(components={"tool": component}, builders={"go": builder})))
        self.commit(tool)

    def _h1(self, module: str, version: str) -> str:
        return dirhash_zip(goproxy.escape_path(self.proxy, module) / f"{version}.zip")

    def _mod_h1(self, module: str, version: str) -> str:
        return dirhash_gomod((goproxy.escape_path(self.proxy, module) / f"{version}.mod").read_bytes())

    def commit(self, message: str) -> None:
        run(self.root, "add", "-A")
        run(self.root, "commit", "-qm", message)

    # -- the mirror ---------------------------------------------------------------------------------------------------

    def project(self, **environ: str) -> Project:
        return Project(self.root, {**self.environ, **environ})

    def write(self, **environ: str) -> Written:
        """``./doit mirror``."""
        project = self.project(**environ)
        return write_mirror(project, project.default_stack, QUIET)

    def inputs(self, mirror: str, store: str = "", **settings: object) -> Inputs:
        """Fetch the component's inputs, from a mirror, into a store that is empty unless it is named."""
        place = self.folder / (store or f"store-{len(list(self.folder.glob('store-*')))}")
        if settings:
            lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
            self.builder.write("settings.toml", (self.root / "settings.toml").read_text() + lines)
        project = Project(self.root, {"KUBEWRIGHT_STORE": str(place), "KUBEWRIGHT_MIRROR": mirror})
        return ensure_inputs(project, project.component("tool", host_platform()), QUIET)

    def file(self, pattern: str) -> Path:
        """The one file of the mirror that a pattern finds."""
        [found] = self.mirror.glob(pattern)
        return found

    def copy(self) -> Path:
        """The mirror, carried elsewhere: no file is shared with the store any more."""
        target = self.folder / "carried"
        shutil.copytree(self.mirror, target)
        self.mirror = target
        return target
