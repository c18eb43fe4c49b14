from __future__ import annotations

import dataclasses
from pathlib import Path

from kubewright.model.lockdiff import describe_difference
from kubewright.model.lockfile import Lock, LockedFile, load_lock

LOCK = load_lock(Path(__file__).parent / "data" / "project" / "lockfile.toml")
SMALL = LOCK.components["small"]
CGO = LOCK.builders["cgo"]
H1, H1_B = SMALL.sources[0].h1, SMALL.sources[0].go_mod_h1


def after(**components_or_builders: object) -> list[str]:
    """The difference when some entries of the lock become what is given."""
    components = {**LOCK.components, **{k: v for k, v in components_or_builders.items() if k in LOCK.components}}
    builders = {**LOCK.builders, **{k: v for k, v in components_or_builders.items() if k in LOCK.builders}}
    return describe_difference(LOCK, Lock(1, components, builders))  # type: ignore[arg-type]


def test_no_difference_is_no_line() -> None:
    assert describe_difference(LOCK, LOCK) == []


def test_a_new_version_shows_what_came_with_it() -> None:
    source = dataclasses.replace(SMALL.sources[0], version="v0.9.1", h1=H1_B, sumdb=True, commit="1" * 40)
    files = (dataclasses.replace(SMALL.files[0], sha256="c" * 64), LockedFile("recipes/small/x", "d" * 64))
    assert after(small=dataclasses.replace(SMALL, version="0.9.1", sources=(source,), files=files)) == [
        "component small: version 0.9.0 -> 0.9.1",
        "component small: source small: version v0.9.0 -> v0.9.1",
        f"component small: source small: h1 {H1} -> {H1_B}",
        "component small: source small: sumdb false -> true",
        f"component small: source small: commit (none) -> {'1' * 40}",
        f"component small: file recipes/small/go.mod: sha256 {'a' * 64} -> {'c' * 64}",
        f"component small: file recipes/small/go.sum: removed (was sha256 {'b' * 64})",
        f"component small: file recipes/small/x: new: sha256 {'d' * 64}",
    ]


def test_components_and_builders_that_come_and_go() -> None:
    assert describe_difference(Lock(), LOCK) == [
        "component k3s-like: new: 1.37.1+k3s1",
        "component small: new: 0.9.0",
        "builder cgo: new: go 1.26.8 for linux/amd64, 2 packages of bookworm",
        "builder go: new: go 1.26.8 for linux/amd64, go 1.26.8 for linux/arm64",
    ]
    assert describe_difference(LOCK, Lock())[0] == "component k3s-like: removed (was 1.37.1+k3s1)"


def test_the_order_of_sources_counts() -> None:
    k3s = LOCK.components["k3s-like"]
    assert after(**{"k3s-like": dataclasses.replace(k3s, sources=k3s.sources[::-1])}) == [
        "component k3s-like: order of sources k3s-like, kubernetes, root -> root, kubernetes, k3s-like"
    ]


def test_packages_are_counted_and_named() -> None:
    gcc, make = CGO.packages
    packages = (dataclasses.replace(gcc, version="4:12.2.0-4"), dataclasses.replace(make, name="zlib"))
    assert after(cgo=dataclasses.replace(CGO, packages=packages, requested=("gcc", "zlib"), suite="trixie")) == [
        "builder cgo: suite bookworm -> trixie",
        "builder cgo: requested packages: +zlib -make",
        "builder cgo: 3 packages changed: gcc 4:12.2.0-3 -> 4:12.2.0-4; make 4.3-4.1 removed; zlib 4.3-4.1 added",
    ]


def test_a_package_with_other_bytes_for_one_version_shows_both_digests() -> None:
    gcc, make = CGO.packages
    packages = (gcc, dataclasses.replace(make, sha256="f" * 64))
    assert after(cgo=dataclasses.replace(CGO, packages=packages)) == [
        f"builder cgo: 1 package changed: make 4.3-4.1: sha256 {'d' * 64} -> {'f' * 64}"
    ]


def test_a_toolchain() -> None:
    toolchains = tuple(dataclasses.replace(item, version="1.27.0") for item in CGO.toolchains)
    assert after(cgo=dataclasses.replace(CGO, toolchains=toolchains, root="")) == [
        f"builder cgo: root file system {CGO.root} -> (none)",
        "builder cgo: toolchain linux/amd64: version 1.26.8 -> 1.27.0",
    ]
