"""The stand-in for k3s: repositories with its shape, made as git origins of a workshop, and recipes/k3s with only origins, pins
and versions overridden. Its sources are in tests/e2e/k3s; Go modules that are not its own are the real ones.
"""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goproxy import publish
from loopback import GitRepository
from workshop import QUIET, REPOSITORY, Workshop

from kubewright import record
from kubewright.building.component import existing
from kubewright.building.inputs import ensure_packages, ensure_root, ensure_toolchain, root_name
from kubewright.errors import RecipeError
from kubewright.fetch.gomodule import module_cache
from kubewright.model import tomlfile
from kubewright.model.lockfile import dump_lock
from kubewright.project import Project

SOURCES = Path(__file__).parent / "k3s"
RECIPE = REPOSITORY / "recipes/k3s/recipe.toml"
VERSION = "1.37.0+k3s1"
#: real modules that the stand-in is built from
PLUGINS, PFLAG = "v1.9.1", "v1.0.10"
#: its own go.mod: (module, version, fork that a replace line puts in its place)
REQUIRED = (
    ("github.com/Mirantis/cri-dockerd", "v0.3.19", "github.com/k3s-io/cri-dockerd v0.3.19-k3s5"),
    ("github.com/cloudnativelabs/kube-router/v2", "v2.6.3", "github.com/k3s-io/kube-router/v2 v2.6.3-k3s1"),
    ("github.com/containerd/containerd/v2", "v2.3.4", "github.com/k3s-io/containerd/v2 v2.3.4-k3s1"),
    ("github.com/flannel-io/flannel", "v0.28.4-standin", ""),
    ("github.com/k3s-io/helm-controller", "v0.17.7-standin", ""),
    ("github.com/klauspost/compress", "v1.20.0", ""),
    ("github.com/mattn/go-sqlite3", "v1.14.53", ""),
    ("github.com/opencontainers/runc", "v1.3.0", "github.com/opencontainers/runc v1.4.2"),
    ("github.com/seccomp/libseccomp-golang", "v0.11.1", ""),
    ("go.etcd.io/etcd/api/v3", "v3.7.3", ""),
    ("k8s.io/client-go", "v0.37.2", ""),
    ("k8s.io/component-base", "v0.37.2", ""),
    ("sigs.k8s.io/cri-tools", "v0.35.1", "github.com/k3s-io/cri-tools v1.36.0-k3s1"),
    ("sigs.k8s.io/yaml", "v1.6.0", ""),
)
#: modules of its own: (where it is published, version, path in its go.mod, file, text)
OWN = (
    ("github.com/k3s-io/cri-dockerd", "v0.3.19-k3s5", "github.com/Mirantis/cri-dockerd", "cmd/version/version.go",
     'package version\n\nvar (\n\tVersion   = ""\n\tGitCommit = ""\n\tBuildTime = ""\n)\n'),
    ("github.com/k3s-io/kube-router/v2", "v2.6.3-k3s1", "github.com/cloudnativelabs/kube-router/v2", "pkg/version/version.go",
     'package version\n\nvar (\n\tVersion   = ""\n\tBuildDate = ""\n)\n'),
    ("github.com/k3s-io/cri-tools", "v1.36.0-k3s1", "sigs.k8s.io/cri-tools", "pkg/version/version.go",
     'package version\n\nvar Version = ""\n'),
    ("github.com/k3s-io/helm-controller", "v0.17.7-standin", "github.com/k3s-io/helm-controller",
     "pkg/controllers/chart/chart.go", 'package chart\n\nvar DefaultJobImage = ""\n'),
    ("github.com/flannel-io/flannel", "v0.28.4-standin", "github.com/flannel-io/flannel", "pkg/version/version.go",
     'package version\n\nvar Version = ""\n'),
)  # fmt: skip


class Standin:
    """The origins and the recipe, in a workshop."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        shop.patience = 1800.0  # a C library of 9 MB is compiled, on a machine that may have other work
        self.proxy = shop.folder / "origins/go"
        project = Project(REPOSITORY)
        goroot = ensure_toolchain(project, project.locked_builder("go"), QUIET)
        assert goroot is not None
        self.go = goroot / "bin/go"
        self._real = project
        self._share(project)
        downloads = module_cache(project.store) / "cache/download"
        said = subprocess.run([self.go, "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout.strip()
        shop.environ["GOPROXY"] = f"file://{self.proxy},file://{downloads},{said}"
        self.repositories = {
            "containerd": self._containerd(),
            "cni-plugins": self._plugins(),
            "flannel-cni": self._repository("flannel-cni", "v1.9.0-flannel1"),
            "k3s-root": self._repository("k3s-root", "v0.15.2"),
            "charts": self._charts(),
            "k3s": self._k3s(),
        }
        self._recipes()

    def _share(self, project: Project) -> None:
        """What is heavy and the same: the builder's root, those of its packages that are laid out, and runc, if it is built."""
        builder = project.locked_builder("cgo-k3s")
        ensure_root(project, "cgo-k3s", builder, QUIET)
        (self.shop.store / "trees" / root_name(builder)).symlink_to(project.store.tree(root_name(builder)))
        laid = {name for each in document(RECIPE)["package"] for name in each["files"]}
        packages = [package for package in builder.packages if package.name in laid]
        ensure_packages(project, "cgo-k3s", packages, QUIET)
        digests = [f"sha256:{package.sha256}" for package in packages]
        runc = existing(project, project.component("runc"))
        if runc is not None:
            digests += [runc.log, *runc.digests().values()]
        store = self.shop.project().store
        for digest in digests:
            with store.scratch("shared") as scratch:
                project.store.copy_out(digest, scratch / "blob")
                store.put_file(scratch / "blob", digest)
        if runc is not None:
            record.save(store, runc)

    # -- origins ----------------------------------------------------------------------------------------------------

    def _repository(self, name: str, tag: str, files: Mapping[str, str | bytes] | None = None) -> GitRepository:
        made = GitRepository(self.shop.folder / "origins" / name)
        if (SOURCES / name).is_dir():
            shutil.copytree(SOURCES / name, made.path, dirs_exist_ok=True)
        made.commit(dict(files or {}), tag, annotated=True)
        return made

    def _run_go(self, folder: Path, *arguments: str) -> str:
        env = {**self.shop.environ, "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", "GOWORK": "off", "GONOSUMDB": "*"}
        env |= {"GOPATH": str(self.shop.folder / "gopath"), "GOCACHE": str(self.shop.folder / "gocache"), "GOSUMDB": "off"}
        done = subprocess.run([self.go, *arguments], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _containerd(self) -> GitRepository:
        """A fork with a vendor folder, which is a Go module as well."""
        module = "github.com/containerd/containerd/v2"
        version = (SOURCES / "containerd/version/version.go").read_text()
        publish(
            self.proxy,
            "github.com/k3s-io/containerd/v2",
            "v2.3.4-k3s1",
            {"go.mod": f"module {module}\n", "version/version.go": version},
        )
        folder = self.shop.folder / "making/containerd"
        shutil.copytree(SOURCES / "containerd", folder)
        (folder / "go.mod").write_text(f"module {module}\n\ngo 1.26\n\nrequire github.com/spf13/pflag {PFLAG}\n")
        self._run_go(folder, "list", "-mod=mod", "-deps", "./...")
        self._run_go(folder, "mod", "vendor")
        return self._from(folder, "containerd", "v2.3.4-k3s1")

    def _plugins(self) -> GitRepository:
        """containernetworking's own plugins, made packages, with vendor, as rancher's fork has them."""
        found = json.loads(
            self._run_go(self.shop.folder, "mod", "download", "-json", f"github.com/containernetworking/plugins@{PLUGINS}")
        )
        folder = self.shop.folder / "making/plugins"
        folder.mkdir(parents=True)
        for name in ("go.mod", "go.sum", "pkg"):
            origin = Path(found["Dir"], name)
            shutil.copytree(origin, folder / name) if origin.is_dir() else shutil.copy(origin, folder / name)
        for name in ("ipam/host-local", "main/bridge", "main/loopback", "meta/bandwidth", "meta/firewall", "meta/portmap"):
            shutil.copytree(Path(found["Dir"], "plugins", name), folder / "plugins" / name)
        for file in folder.rglob("*.go"):
            if file.name.endswith("_test.go"):
                file.unlink()
            elif file.is_relative_to(folder / "plugins"):
                package = file.relative_to(folder / "plugins").parts[1].replace("-", "")
                text = re.sub(r"^package main$", f"package {package}", file.read_text(), flags=re.MULTILINE)
                file.write_text(re.sub(r"^func main\(\)", "func Main()", text, flags=re.MULTILINE))
        shutil.copy(SOURCES / "cni-plugins/main_linux.go", folder)
        placeholder = folder / "plugins/meta/flannel/flannel.go"
        placeholder.parent.mkdir()
        placeholder.write_text("// Package flannel is replaced when the program is built.\npackage flannel\n\nfunc Main() {}\n")
        for file in folder.rglob("testutils"):
            shutil.rmtree(file)
        self._run_go(folder, "list", "-mod=mod", "-deps", "./...")
        self._run_go(folder, "mod", "vendor")
        return self._from(folder, "cni-plugins", "v1.9.1-k3s1")

    def _from(self, folder: Path, name: str, tag: str) -> GitRepository:
        made = GitRepository(self.shop.folder / "origins" / name)
        shutil.copytree(folder, made.path, dirs_exist_ok=True)
        made.commit({}, tag)
        return made

    def _charts(self) -> GitRepository:
        files = {f"assets/{_chart(name)}/{name}": gzip.compress(name.encode(), mtime=0) for name in self.charts}
        return self._repository("charts", "", files)

    @property
    def charts(self) -> list[str]:
        """The files that k3s' manifests name."""
        return [text for texts in self._facts().values() for text in texts if text.endswith(".tgz")]

    def _facts(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = document(RECIPE)["source"][0]["facts"]
        return found

    def _k3s(self) -> GitRepository:
        for path, version, module, file, text in OWN:
            publish(self.proxy, path, version, {"go.mod": f"module {module}\n\ngo 1.26\n", file: text})
        folder = self.shop.folder / "making/k3s"
        shutil.copytree(SOURCES / "k3s", folder)
        for path, texts in self._facts().items():
            if path != "go.mod":  # it says the same by what it requires
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text("\n".join(texts) + "\n")
        replaced = [f"\t{path} => {fork}" for path, _, fork in REQUIRED if fork]
        required = [f"\t{path} {version}" for path, version, _ in REQUIRED]
        lines = ["module github.com/k3s-io/k3s", "go 1.26.7", "replace (", *replaced, ")", "require (", *required, ")"]
        (folder / "go.mod").write_text("\n".join(lines) + "\n")
        self._run_go(folder, "list", "-mod=mod", "-deps", "./...")
        return self._from(folder, "k3s", f"v{VERSION}")

    # -- the checkout -----------------------------------------------------------------------------------------------

    def _recipes(self) -> None:
        """recipes/k3s with other origins, and runc as it is."""
        root = self.shop.root
        for name in ("recipes/k3s", "recipes/runc", "patches/k3s"):
            shutil.copytree(REPOSITORY / name, root / name)
        (root / "recipes/k3s/recipe.toml").write_text(self.overridden())
        lock = self.shop.project().lock
        components = {"runc": self._real.lock.components["runc"]}
        self.shop.write("lockfile.toml", dump_lock(dataclasses.replace(lock, components=components)))

    def overridden(self) -> str:
        """The text of recipes/k3s/recipe.toml with other URLs, and without the hint of a commit that is not ours."""
        text = RECIPE.read_text()
        for name, repository in self.repositories.items():
            url = next(each["git"] for each in document(RECIPE)["source"] if each.get("name", "k3s") == name)
            text = text.replace(f'git = "{url}"\n', f'git = "{repository.url}"\n')
        return re.sub(r"^commit_hint = .*\n", "", text, flags=re.MULTILINE)


def document(path: Path) -> dict[str, Any]:
    """A recipe as TOML has it."""
    return dict(tomlfile.read(path, RecipeError).data)


def _chart(file: str) -> str:
    """The folder of a chart's file: its name before the version."""
    return re.split(r"-[0-9]", file)[0]


def without_pins(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's document without what the stand-in may override: origins, pins and versions."""
    bare = copy.deepcopy(dict(recipe))
    bare.pop("version")
    for source in bare["source"]:
        for key in ("git", "tag", "commit_hint"):
            source.pop(key, None)
    return bare
