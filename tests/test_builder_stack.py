from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.errors import RecipeError
from kubewright.model.builder import Builder, DebianRoot, GoToolchain, load_builder, load_builders
from kubewright.model.stack import Stack, load_stack, load_stacks

FIXTURES = Path(__file__).parent / "data" / "project"


def test_builders_by_name() -> None:
    builders = load_builders(FIXTURES / "builders")
    assert list(builders) == ["cgo", "go", "root"]
    assert builders["go"] == Builder("go", "The Go toolchain in an empty root", go=GoToolchain("1.26.8"))
    packages = ("gcc", "libc6-dev", "libseccomp-dev", "make", "zstd")
    assert builders["cgo"].debian == DebianRoot("bookworm", packages)
    assert builders["root"].go is None


def test_stacks_by_name() -> None:
    stack = Stack("edge", "All in one program", ("k3s-like", "plugins", "runtime", "small"))
    assert load_stacks(FIXTURES / "stacks") == {"edge": stack}


GOOD_BUILDER = 'name = "x"\nsummary = "y"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD_BUILDER, r"x\.toml:1: has neither \[go\] nor \[debian\]"),
        (GOOD_BUILDER.replace('"x"', '"z"') + '[go]\nversion = "1.26.8"', r"x\.toml:1: name: 'z' is not the file's name 'x'"),
        (GOOD_BUILDER + '[go]\nversion = "go1.26.8"', r"x\.toml:4: go\.version: 'go1\.26\.8' is not a Go release"),
        (GOOD_BUILDER + '[go]\nversion = "1.26"', r"x\.toml:4: go\.version: '1\.26' is not a Go release"),
        (GOOD_BUILDER + "go = 1", r"x\.toml:3: go: expected a table, found an integer: 1"),
        (GOOD_BUILDER + '[debian]\nsuite = "bookworm"\npackages = []', r"x\.toml:5: debian\.packages: is empty"),
        (GOOD_BUILDER + '[debian]\nsuite = "Book"\npackages = ["a1"]', r"x\.toml:4: debian\.suite: 'Book' is not"),
        (
            GOOD_BUILDER + '[debian]\nsuite = "b"\npackages = ["gcc",\n"gcc"]',
            r"x\.toml:6: debian\.packages\[1\]: 'gcc' is there twice",
        ),
        (GOOD_BUILDER + '[debian]\nsuite = "b"\npackages = ["gcc=12"]', r"x\.toml:5: debian\.packages\[0\]: 'gcc=12' is not"),
    ],
)
def test_a_builder_says_what_its_schema_allows(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_builder(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "y"\nsummary = "s"\ncomponents = ["a"]', r"x\.toml:1: name: 'y' is not the file's name 'x'"),
        (
            'name = "x"\nsummary = "s"\ncomponents = ["a"]\n[names]\n"a.b/c:1" = "a"\n[not_built]\n"a.b/c:1" = "y"',
            r"x\.toml:7: not_built\..*: is one of `names` as well",
        ),
        (
            'name = "x"\nsummary = "s"\ncomponents = ["a"]\n[names]\n"a.b/c" = "a"',
            r"x\.toml:5: names\..*: 'a\.b/c' is not a full reference",
        ),
        ('name = "x"\nsummary = "s"\ncomponents = []', r"x\.toml:3: components: is empty"),
        ('name = "x"\nsummary = "s"\ncomponents = ["a",\n"a"]', r"x\.toml:4: components\[1\]: 'a' is there twice"),
        ('name = "x"\nsummary = "s"\ncomponents = ["a/b"]', r"x\.toml:3: components\[0\]: 'a/b' is not a name"),
    ],
)
def test_a_stack_says_what_its_schema_allows(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_stack(path)
