"""etcd, real and whole, from a git repository: the form ``tree``, cross-checked with the module that the lock has.

The repository is made here, of the files of etcd's modules; a repository of these files is what upstream's is, as far as the
modules go. No byte of it may differ.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from loopback import GitRepository
from workshop import QUIET, REPOSITORY, Workshop

from kubewright.building.inputs import ensure_inputs
from kubewright.errors import IntegrityError
from kubewright.fetch.gomodule import module_cache
from kubewright.project import Project

RECIPE = """
[[source]]
name = "etcd"
form = "tree"
module = "go.etcd.io/etcd/server/v3"
git = "{git}"
subdirectory = "server"

[[step]]
go.dir = "src/etcd/server"
go.commands = {{ etcd = "go.etcd.io/etcd/server/v3" }}
go.variables = {{ "go.etcd.io/etcd/api/v3/version.GitSHA" = "{{commit}}" }}

[[output]]
path = "etcd"

[[smoke]]
run = ["etcd", "--version"]
expect = ["etcd Version: {{version}}", "Git SHA: {{commit}}"]
"""
#: folder of the repository -> module: what server's go.mod replaces with its siblings
MODULES = {name: f"go.etcd.io/etcd/{name}/v3" for name in ("api", "client/pkg", "client/v3", "pkg", "server")}
MODULES["client/v3"] = "go.etcd.io/etcd/client/v3"


@pytest.fixture(scope="module")
def version(shared: Mapping[str, Path]) -> str:
    """etcd's inputs are in the environment's store; gives the version."""
    project = Project(REPOSITORY)
    component = project.component("etcd")
    ensure_inputs(project, component, QUIET)
    return component.recipe.version


@pytest.fixture
def etcd(shop: Workshop, version: str) -> GitRepository:
    """The repository, and a recipe for it; Go modules come from the environment's store alone."""
    cache = module_cache(Project(REPOSITORY).store)
    origin = GitRepository(shop.folder / "origins/etcd")
    for folder, module in MODULES.items():
        shutil.copytree(cache / f"{module}@v{version}", origin.path / folder)
        (origin.path / folder / "LICENSE").unlink()  # it is in the root, and go adds it to each module
    shutil.copy(cache / f"{MODULES['server']}@v{version}" / "LICENSE", origin.path / "LICENSE")
    origin.commit({"go.work": "not of any module"}, f"v{version}")
    downloads = cache / "cache/download"
    shop.environ["GOPROXY"] = f"file://{shop.folder}/origins/go,file://{downloads}"
    own = shop.folder / "origins/go" / MODULES["server"] / "@v"
    own.mkdir(parents=True)
    (own / f"v{version}.info").write_text(f'{{"Version": "v{version}", "Time": "2026-01-01T00:00:00Z"}}')
    for kind in ("mod", "zip"):
        (own / f"v{version}.{kind}").symlink_to(downloads / MODULES["server"] / "@v" / f"v{version}.{kind}")
    shop.recipe("etcd", RECIPE.format(git=origin.url), builder="go", version=version)
    return origin


def test_etcd_from_a_git_tree(shop: Workshop, etcd: GitRepository, version: str) -> None:
    commit = etcd.git("rev-parse", "HEAD")
    said = shop.doit("lock:etcd").out
    assert f"the files of {commit[:12]} are those of go.etcd.io/etcd/server/v3 v{version}" in said
    pin = shop.pin("etcd")
    locked = Project(REPOSITORY).lock.components["etcd"].sources[0]
    assert (pin.form, pin.commit, pin.h1) == ("tree", commit, locked.h1)
    shop.doit("build:etcd")
    assert shop.artifact("etcd", version=version).stat().st_size > 10_000_000
    modules = {module["path"] for module in shop.why("etcd")["modules"]}
    assert "go.etcd.io/bbolt" in modules
    assert not modules & set(MODULES.values()), "etcd's own modules are those of the tree"


def test_one_flipped_byte_in_the_repository(shop: Workshop, etcd: GitRepository, version: str) -> None:
    shop.flip(etcd.path / "server/etcdmain/main.go")
    etcd.commit({}, "moved")
    etcd.git("tag", "--force", f"v{version}")
    before = (shop.root / "lockfile.toml").read_bytes()
    done = shop.doit("lock:etcd", status=IntegrityError.exit_code)
    locked = Project(REPOSITORY).lock.components["etcd"].sources[0]
    assert "gives h1:" in done.err
    assert f"module go.etcd.io/etcd/server/v3 v{version} has {locked.h1}" in done.err
    assert done.err.count("h1:") == 2
    assert (shop.root / "lockfile.toml").read_bytes() == before
    shop.built_nothing("etcd")
