"""Programs that go builds in a source's own folder: it names no version and no hash of them, so their source has to.

``app`` is the module at the root of its repository, with one dependency replaced by a fork and one by a folder; ``tool`` is a
module in a folder of another repository, built from its vendor folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from goproxy import environment, publish
from workshop import QUIET, REPOSITORY, Workshop

sys.path.append(str(REPOSITORY / "tests/sbom"))

from documents import Json, check_cyclonedx, check_spdx, parts, properties

from kubewright.fetch.gomodule import bootstrap_goroot
from kubewright.model.lockfile import LockedBuilder
from kubewright.sbom.errors import NotLockedError
from kubewright.sbom.linked import contents
from kubewright.sbom.locked import pinned

LIB = 'package lib\n\n//go:noinline\nfunc Say() string { return "%s" }\n'
APP = {
    "go.mod": "module example.org/app\n\ngo 1.24\n\nrequire (\n\texample.org/lib v1.0.0\n\texample.org/near v0.0.0\n)\n\n"
    "replace example.org/lib => example.net/fork v1.0.1-ours\n\nreplace example.org/near => ./near\n",
    "main.go": 'package main\n\nimport (\n\t"example.org/lib"\n\t"example.org/near"\n)\n\n'
    "func main() { println(lib.Say(), near.Say()) }\n",
    "LICENSE": "Nobody knows these words.\n",
    "near/go.mod": "module example.org/near\n\ngo 1.24\n",
    "near/near.go": 'package near\n\n//go:noinline\nfunc Say() string { return "near" }\n',
    "near/LICENSE": "Nor these.\n",
}
TOOL = {
    "a/b/go.mod": "module example.org/tools/b\n\ngo 1.24\n\nrequire example.org/lib v1.0.0\n",
    "a/b/cmd/tool/main.go": 'package main\n\nimport "example.org/lib"\n\nfunc main() { println(lib.Say()) }\n',
    "a/b/vendor/modules.txt": "# example.org/lib v1.0.0\n## explicit; go 1.24\nexample.org/lib\n",
    "a/b/vendor/example.org/lib/lib.go": LIB % "vendored",
    "a/b/vendor/example.org/lib/LICENSE": "Nor those.\n",
}
STEPS = """
[[step]]
go.dir = "src/app"
go.commands = { app = "example.org/app" }

[[step]]
go.dir = "src/tools/a/b"
go.mod = "vendor"
go.commands = { tool = "example.org/tools/b/cmd/tool" }

[[output]]
path = "app"

[[output]]
path = "tool"
"""


def with_sums(files: dict[str, str], folder: Path, proxy: Path) -> dict[str, str]:
    """``files`` with the go.sum that go writes for them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "GOPATH": f"{folder}/.go",
        "GOTOOLCHAIN": "local",
        **environment(proxy),
    }
    go = bootstrap_goroot() / "bin/go"
    subprocess.run(
        [go, "list", "-mod=mod", "-modcacherw", "-deps", "./..."], cwd=folder, env=env, check=True, capture_output=True
    )
    return {**files, "go.sum": (folder / "go.sum").read_text()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared: Mapping[str, Path], tools: tuple[Path, LockedBuilder]) -> Workshop:
    shop = Workshop(tmp_path_factory.mktemp("own") / "shop", shared, tools)
    proxy = shop.folder / "origins/go"
    fork = {"go.mod": "module example.org/lib\n\ngo 1.24\n", "lib.go": LIB % "the fork's", "LICENSE": "Of the fork.\n"}
    publish(proxy, "example.net/fork", "v1.0.1-ours", fork)
    app = shop.git("app", with_sums(APP, shop.folder / "making", proxy))
    other = shop.git("tools", TOOL, "v3.0.0")
    sources = f'[[source]]\nname = "app"\nform = "tree"\ngit = "{app.url}"\n'
    sources += f'[[source]]\nname = "tools"\nform = "tree"\ngit = "{other.url}"\ntag = "v3.0.0"\n'
    shop.recipe("x", sources + STEPS, builder="go")
    shop.doit("lock:x")
    shop.doit("build:x")
    return shop


def sbom(shop: Workshop, name: str) -> bytes:
    return (shop.root / "artifacts/attestations/x/1.0.0/linux-amd64" / name).read_bytes()


def test_every_part_has_the_pin_that_it_was_built_from(built: Workshop) -> None:
    built.doit("sbom:x")
    document = check_cyclonedx(sbom(built, "sbom.cdx.json"))
    check_spdx(sbom(built, "sbom.spdx.json"))
    found = parts(document)
    replaced = {"example.net/fork", "example.org/near"}
    assert set(found) == {"example.org/app", "example.org/tools/b", "example.org/lib", "stdlib"} | replaced
    app, tools = built.pin("x"), built.pin("x", 1)
    _is_the_source(found["example.org/app"], app, "v1.0.0", "app git+{url}@{commit}")
    _is_the_source(found["example.org/near"], app, app.commit, "app git+{url}@{commit} near")
    _is_the_source(found["example.org/tools/b"], tools, tools.commit, "tools git+{url}@{commit} a/b")
    assert document["compositions"] == [{"aggregate": "complete", "dependencies": ["output:app", "output:tool"]}]


def _is_the_source(part: Json, pin: object, version: str, place: str) -> None:
    url, commit, sha256 = (getattr(pin, name) for name in ("git", "commit", "sha256"))
    assert part["version"] == version
    assert part["pedigree"]["commits"] == [{"uid": commit}]
    assert part["hashes"] == [{"alg": "SHA-256", "content": sha256}]
    assert properties(part, "in-source") == [place.format(url=url, commit=commit)]
    assert part["purl"].startswith(f"pkg:golang/{part['name']}@{version}?vcs_url=git%2B")
    assert properties(part, "h1") == []


def test_a_fork_is_named_as_what_it_is(built: Workshop) -> None:
    built.doit("sbom:x")
    fork = parts(check_cyclonedx(sbom(built, "sbom.cdx.json")))["example.net/fork"]
    (module,) = built.record("x").modules
    assert (fork["version"], properties(fork, "h1")) == ("v1.0.1-ours", [module.h1])
    assert fork["purl"] == "pkg:golang/example.net/fork@v1.0.1-ours"
    assert properties(fork, "replaces") == ["example.org/lib@v1.0.0"]


def test_what_is_vendored_says_in_which_source_and_has_no_hash_of_its_own(built: Workshop) -> None:
    built.doit("sbom:x")
    part = parts(check_cyclonedx(sbom(built, "sbom.cdx.json")))["example.org/lib"]
    pin = built.pin("x", 1)
    assert part["version"] == "v1.0.0"
    assert properties(part, "vendored-in") == [f"tools git+{pin.git}@{pin.commit} a/b/vendor/example.org/lib"]
    assert properties(part, "h1") == []
    assert "hashes" not in part
    assert "pedigree" not in part


def test_licences_are_those_of_the_folders(built: Workshop) -> None:
    built.doit("sbom:x")
    text = sbom(built, "ATTRIBUTION").decode()
    for each in ("Nobody knows these words.", "Nor these.", "Nor those.", "Of the fork."):
        assert text.count(each) == 1, each


def test_it_can_be_signed(built: Workshop) -> None:
    key = built.folder / "site.key"
    built.kubewright("key", "new", "--no-passphrase", "--out", str(key))
    built.doit("sign:x", KUBEWRIGHT_SIGNING_KEY=str(key))
    assert list((built.root / "artifacts/attestations/x/1.0.0/linux-amd64").glob("provenance.*.sigstore.json"))


def test_a_program_that_no_step_made_is_refused(built: Workshop) -> None:
    """The same bytes, and a recipe that does not say where they come from."""
    component, record = built.project().component("x"), built.record("x")
    found = contents(built.project(), component, record, QUIET)
    built.edit("recipes/x/recipe.toml", 'app = "example.org/app"', 'app = "example.org/app/other"')
    try:
        with pytest.raises(NotLockedError, match=r"app has example\.org/app \(devel\) without a hash in it"):
            pinned(built.project().component("x"), record, found)
    finally:
        built.edit("recipes/x/recipe.toml", 'app = "example.org/app/other"', 'app = "example.org/app"')
