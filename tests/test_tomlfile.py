"""Reading: what git, editors and disks make of a file; and the line of every problem."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.errors import LockError, RecipeError
from kubewright.model import tomlfile
from kubewright.model.tomlines import line_of
from kubewright.model.tomlwrite import _string


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    count: int = 0


def failure(text: str | bytes, path: Path) -> RecipeError:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError) as caught:
        tomlfile.load(Plain, tomlfile.read(path))
    return caught.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\nname = "b"\ncount = 1\n', ':2: duplicate key or table: name = "b"'),
        ("[a]\n[b]\n[a]\n", ":3: duplicate key or table: [a]"),
        ('name = "a"\n<<<<<<< HEAD\ncount = 1\n=======\ncount = 2\n>>>>>>> x\n', ":2: git merge marker <<<<<<<"),
        ('name = "a"\r\n<<<<<<< HEAD\r\n', ":2: git merge marker <<<<<<<"),
        ('name = "a"\n=======\n', ":2: git merge marker ======="),
        ('name = "a"\ncount = [1,\n', ":2: the file ends in the middle of something"),
        ('name = "a"\n\ncoun', ":3: the file ends in the middle of something"),
        ('name = "abc', ":1: the file ends in the middle of something"),
        ("name = 'a'\ncount = @\n", ":2: not TOML"),
        ('name = "a\n"\n', ":1: not TOML"),
        (b'name = "a"\n# \xff\n', ":2: not UTF-8 (byte 0xff)"),
        ("\ufeffname = 'a'\n", ":1: starts with a byte order mark"),
        ("name = " + "[" * 5000, ": arrays or tables nested too deeply"),
    ],
)
def test_what_is_not_toml_has_a_message_of_its_own(text: str | bytes, message: str, tmp_path: Path) -> None:
    error = failure(text, tmp_path / "file.toml")
    assert f"file.toml{message}" in error.message
    assert error.remedy


def test_other_line_ends_are_toml(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(b'name = "a"\r\ncount = 2\r\n')
    assert tomlfile.load(Plain, tomlfile.read(path)) == Plain("a", 2)


def test_missing_files_folders_and_huge_ones_are_errors_of_the_class_asked_for(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"absent\.toml: there is no such file"):
        tomlfile.read(tmp_path / "absent.toml", LockError)
    with pytest.raises(LockError, match="cannot be read: Is a directory"):
        tomlfile.read(tmp_path, LockError)
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (tomlfile.MAX_BYTES + 1))
    with pytest.raises(LockError, match="larger than 16777216 bytes"):
        tomlfile.read(huge, LockError)


def test_the_first_problem_is_the_reason_and_the_others_are_details(tmp_path: Path) -> None:
    error = failure('count = "x"\nnmae = "a"\n', tmp_path / "file.toml")
    assert error.message.endswith("file.toml:1: count: expected an integer, found a string: 'x'")
    assert [line.partition("file.toml")[2] for line in error.details.splitlines()] == [
        ":2: nmae: unknown key",
        ":1: the key 'name' is missing",
    ]


def test_files_below_the_working_directory_are_named_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tomlfile.shown(tmp_path / "a" / "b.toml") == "a/b.toml"
    assert tomlfile.shown(tmp_path.parent / "c.toml") == str(tmp_path.parent / "c.toml")


TEXT = '''# a comment with [brackets] and = signs
name = "x"
text = """
[[source]]
not = "a key" """
literal = \'\'\'
[no.header]
\'\'\'
array = [
    "one", # ]
    { a = 1, b = [
        2 ] },
]
dotted.key."with.dot" = 5

[table.inner] # comment
value = "a # b"

[[source]]
form = "module"
[[source.patch]]
file = "p0"
[[source.patch]]
file = "p1"
[source.replace]
"./staging/*" = "v0"

[[source]]
form = 'tree'
inline = { x = "}", y.z = [ [1], [2, 3] ] }
[[source.patch]]
file = "q0"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("text",), 3),
        (("literal",), 6),
        (("array",), 9),
        (("array", 0), 10),
        (("array", 1, "b"), 11),
        (("array", 1, "b", 0), 12),
        (("dotted", "key", "with.dot"), 14),
        (("dotted",), 14),
        (("table", "inner"), 16),
        (("table", "inner", "value"), 17),
        (("source", 0, "form"), 20),
        (("source", 0, "patch", 0, "file"), 22),
        (("source", 0, "patch", 1), 23),
        (("source", 0, "replace", "./staging/*"), 26),
        (("source", 1), 28),
        (("source", 1, "inline", "y", "z", 1, 1), 30),
        (("source", 1, "patch", 0, "file"), 32),
        # what is not there is where its nearest parent is
        (("source", 1, "patch", 0, "reason"), 31),
        (("not",), 1),
        ((), 1),
    ],
)
def test_the_line_of_a_key_path(path: tuple[str | int, ...], line: int) -> None:
    assert line_of(TEXT, path) == line


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=6)
values = st.recursive(
    st.integers(0, 9) | st.text(st.characters(codec="utf-8"), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _string(value) if isinstance(value, str) else str(value)


@given(st.dictionaries(names, values, min_size=1, max_size=5))
def test_each_top_key_is_found_on_its_line_whatever_the_values_hold(data: dict[str, object]) -> None:
    text = "".join(f"# comment\n{_string(key)} = {_inline(value)}\n" for key, value in data.items())
    assert tomlfile.parse(text, "x").data == data
    for index, key in enumerate(data):
        assert line_of(text, (key,)) == 2 * index + 2


@given(st.text(max_size=40), st.lists(names | st.integers(0, 3), max_size=3))
def test_any_text_gives_a_line_and_ends(text: str, path: list[str | int]) -> None:
    assert 1 <= line_of(text, tuple(path)) <= text.count("\n") + 1


@given(st.text(alphabet="[]{}=\"'.,\n# ab1\\<>", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = tomlfile.parse(text, "x")
    except RecipeError as error:
        assert error.message.startswith("x:")  # noqa: PT017 - both ways are right
    else:
        assert isinstance(document.data, dict)
