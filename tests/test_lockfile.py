from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.errors import LockError
from kubewright.model.lockfile import (
    Lock,
    LockedBuilder,
    LockedComponent,
    LockedFile,
    LockedPackage,
    LockedSource,
    LockedToolchain,
    dump_lock,
    load_lock,
    parse_lock,
    sort_lock,
)

GOLDEN = Path(__file__).parent / "data" / "project" / "lockfile.toml"
H1 = "h1:" + base64.b64encode(b"\1" * 32).decode()
H1_B = "h1:" + base64.b64encode(b"\2" * 32).decode()

LOCK = Lock(
    components={
        "small": LockedComponent(
            version="0.9.0",
            sources=(
                LockedSource(
                    "small", "module", 1700000000, module="example.org/small", version="v0.9.0", h1=H1, go_mod_h1=H1_B
                ),
            ),
            files=(LockedFile("recipes/small/go.mod", "a" * 64), LockedFile("recipes/small/go.sum", "b" * 64)),
        ),
        "k3s-like": LockedComponent(
            version="1.37.1+k3s1",
            sources=(
                LockedSource(
                    name="k3s-like",
                    form="tree",
                    source_date=1700000001,
                    git="https://git.example.org/k3s",
                    tag="v1.37.1+k3s1",
                    commit="1" * 40,
                    tree="2" * 40,
                    sha256="3" * 64,
                ),
                LockedSource(
                    name="kubernetes",
                    form="module",
                    source_date=1700000002,
                    module="k8s.io/kubernetes",
                    version="v1.37.1",
                    h1=H1,
                    go_mod_h1=H1_B,
                    sumdb=True,
                    git="https://git.example.org/kubernetes",
                    tag="v1.37.1",
                    commit="4" * 40,
                    tree="5" * 40,
                ),
                LockedSource(
                    "root", "archive", 0, url="https://downloads.example.org/k3s-root-amd64.tar", sha256="6" * 64, size=1000
                ),
            ),
            files=(
                LockedFile("patches/k3s-like/0001-embed-ours.patch", "7" * 64),
                LockedFile("recipes/k3s-like/embed.go", "8" * 64),
                LockedFile("recipes/k3s-like/files/bin/generate", "9" * 64, executable=True),
            ),
        ),
    },
    builders={
        "go": LockedBuilder(
            toolchains=(LockedToolchain("linux/arm64", "1.26.8", H1), LockedToolchain("linux/amd64", "1.26.8", H1_B))
        ),
        "cgo": LockedBuilder(
            suite="bookworm",
            requested=("make", "gcc"),
            root="sha256:" + "c" * 64,
            toolchains=(LockedToolchain("linux/amd64", "1.26.8", H1_B),),
            packages=(
                LockedPackage("make", "4.3-4.1", "amd64", "pool/main/m/make/make_4.3-4.1_amd64.deb", "d" * 64, 396232),
                LockedPackage("gcc", "4:12.2.0-3", "amd64", "pool/main/g/gcc/gcc_12.2.0-3_amd64.deb", "e" * 64, 5216),
            ),
        ),
    },
)


def test_the_file_is_as_it_has_always_been() -> None:
    assert dump_lock(LOCK) == GOLDEN.read_text()
    assert load_lock(GOLDEN) == sort_lock(LOCK)


def test_the_order_in_which_things_were_found_does_not_matter() -> None:
    shuffled = Lock(
        components=dict(reversed(LOCK.components.items())),
        builders={
            name: dataclasses.replace(item, packages=item.packages[::-1], toolchains=item.toolchains[::-1])
            for name, item in LOCK.builders.items()
        },
    )
    assert dump_lock(shuffled) == dump_lock(LOCK)


def test_no_file_is_an_empty_lock(tmp_path: Path) -> None:
    assert load_lock(tmp_path / "lockfile.toml") == Lock()


def edit(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("version = 1\n", ""), "lockfile.toml:1: the key 'version' is missing"),
        (edit("version = 1\n", "version = 2\nnew = 1\n"), "lockfile.toml:2: version: format 2 is not 1"),
        (edit("version = 1\n", "version = true\n"), "lockfile.toml:2: version: format True is not 1"),
        (edit("[component.small]", "<<<<<<< HEAD\n[component.small]"), "git merge marker <<<<<<<"),
        (edit("[component.small]", "=======\n[component.small]"), "git merge marker ======="),
        (edit("[component.small]", "[component.k3s-like]"), "duplicate key or table: [component.k3s-like]"),
        (edit('name = "root"', 'name = "root"\nname = "root"'), 'duplicate key or table: name = "root"'),
        (edit('name = "root"', 'name = "kubernetes"'), "component.k3s-like.source[2].name: 'kubernetes' is there twice"),
        (edit("go.sum", "go.mod"), "component.small.file[1].path: 'recipes/small/go.mod' is there twice"),
        (edit('"linux/arm64"', '"linux/amd64"'), "builder.go.toolchain[1].platform: 'linux/amd64' is there twice"),
        (edit('name = "make"', 'name = "gcc"'), "builder.cgo.package[1].name: 'gcc:amd64' is there twice"),
        (edit("6" * 64, "6" * 63), "sha256: '666"),
        (edit("6" * 64, "F" * 64), "is not a SHA-256 in lower-case hexadecimal"),
        (edit("1" * 40, "1" * 7), "commit: '1111111' is not a full git object name"),
        (edit(H1, "h1:AAAA"), "h1: 'h1:AAAA' is not a Go dirhash"),
        (edit(H1, H1[:-2] + "B="), "is not a Go dirhash"),
        (edit("sha256:cccc", "sha512:cccc"), "builder.cgo.root:"),
        (edit("size = 1000", "size = -1"), "size: -1 is less than 0"),
        (edit("size = 1000", 'size = "1000"'), "size: expected an integer, found a string: '1000'"),
        (edit("size = 1000\n", ""), "source[2]: the key 'size' is missing; form = 'archive' needs it"),
        (edit("size = 1000", f'size = 1000\nh1 = "{H1}"'), "source[2].h1: has no meaning with form = 'archive'"),
        (edit("[component.small]", "[component.Small]"), "component.Small: 'Small' is not a name"),
        (
            edit("pool/main/m/", "../m/"),
            "builder.cgo.package[1].path: '../m/make/make_4.3-4.1_amd64.deb' is not a relative path",
        ),
        (edit("requested", "requestd"), "builder.cgo.requestd: unknown key"),
        (edit('architecture = "amd64"', 'architecture = "i386"'), "package[0].architecture: expected"),
    ],
)
def test_each_damage_has_its_message(change: Callable[[str], str], message: str) -> None:
    with pytest.raises(LockError) as caught:
        parse_lock(change(GOLDEN.read_text()))
    assert message in caught.value.message
    assert caught.value.message.startswith("lockfile.toml:")


def test_a_lock_that_was_cut_anywhere_is_refused() -> None:
    text = GOLDEN.read_text().rstrip("\n")
    for end in range(len(text)):
        with pytest.raises(LockError) as caught:
            parse_lock(text[:end])
        assert caught.value.message.startswith("lockfile.toml:")


def test_a_cut_between_two_tables_is_called_a_cut() -> None:
    text = GOLDEN.read_text()
    with pytest.raises(LockError, match="the file is cut") as caught:
        parse_lock(text[: text.index("[[builder.go.toolchain]]")])
    assert caught.value.remedy == "git checkout lockfile.toml"


# -- any lock -----------------------------------------------------------------------------------------------------

hexes: Callable[[int], Any] = lambda size: st.binary(min_size=size, max_size=size).map(bytes.hex)  # noqa: E731
h1s = st.binary(min_size=32, max_size=32).map(lambda data: "h1:" + base64.b64encode(data).decode())
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,5}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)
paths = st.lists(
    st.text(alphabet="ab.ü \"'#]", min_size=1, max_size=4).filter(lambda part: part not in (".", "..")), min_size=1, max_size=3
).map("/".join)
dates = st.integers(0, 2**40)
modules = st.builds(
    LockedSource, names, st.just("module"), dates, module=texts, version=texts, h1=h1s, go_mod_h1=h1s, sumdb=st.booleans(),
    git=texts, tag=texts, commit=hexes(20), tree=hexes(20),
)  # fmt: skip
trees = st.builds(
    LockedSource, names, st.just("tree"), dates, git=texts, tag=texts, commit=hexes(20) | hexes(32), tree=hexes(20),
    sha256=hexes(32),
)  # fmt: skip
archives = st.builds(LockedSource, names, st.just("archive"), dates, url=texts, sha256=hexes(32), size=st.integers(1, 2**50))
sources = st.lists(modules | trees | archives, min_size=1, max_size=3, unique_by=lambda item: item.name).map(tuple)
files = st.lists(st.builds(LockedFile, paths, hexes(32), st.booleans()), max_size=3, unique_by=lambda item: item.path).map(
    tuple
)
components = st.builds(LockedComponent, st.just("1.2.3"), sources, files)
toolchains = st.lists(
    st.builds(LockedToolchain, st.sampled_from(["linux/amd64", "linux/arm64"]), st.just("1.26.8"), h1s),
    max_size=2,
    unique_by=lambda item: item.platform,
).map(tuple)
packages = st.lists(
    st.builds(
        LockedPackage,
        names.map("p".__add__),
        st.just("1:2.0~rc1+b1"),
        st.sampled_from(["amd64", "all"]),
        paths,
        hexes(32),
        dates,
    ),
    max_size=3,
    unique_by=lambda item: (item.name, item.architecture),
).map(tuple)
builders = st.builds(
    LockedBuilder,
    suite=st.sampled_from(["", "bookworm"]),
    requested=st.lists(names.map("p".__add__), max_size=2).map(tuple),
    toolchains=toolchains,
    packages=packages,
)
locks = st.builds(
    Lock, components=st.dictionaries(names, components, max_size=3), builders=st.dictionaries(names, builders, max_size=2)
)


@given(locks)
def test_what_is_written_is_read_back(lock: Lock) -> None:
    text = dump_lock(lock)
    assert parse_lock(text) == sort_lock(lock)
    assert dump_lock(parse_lock(text)) == text
    assert "\r" not in text
