"""Members of static libraries are found by their code, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from elfmaker import CODE, DATA, archive, code, elf
from hypothesis import given
from hypothesis import strategies as st

from kubewright.sbom.archives import Found, find
from kubewright.sbom.elf import Elf


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two libraries; ``same.o`` is in both."""
    one = {name: elf({".text": (code(name), CODE)}) for name in ("a.o", "b.o", "same.o")}
    other = {name: elf({".text": (code(name), CODE)}) for name in ("c.o", "same.o")}
    (tmp_path / "one.a").write_bytes(archive(one))
    (tmp_path / "other.a").write_bytes(archive(other))
    return tmp_path


OWNERS = {"one.a": "libone-dev", "other.a": "libother-dev"}


def program(*parts: bytes, flags: int = CODE) -> Elf:
    return Elf(elf({".text": (b"".join(parts), flags)}))


def test_what_is_linked_is_found_and_counted(root: Path) -> None:
    found = find(program(code("main"), code("a.o"), code("b.o")), root, OWNERS)
    assert found == (Found("one.a", "libone-dev", 2, 2),)


def test_nothing_is_found_where_nothing_is_linked(root: Path) -> None:
    assert find(program(code("main", 4096)), root, OWNERS) == ()


def test_code_that_two_libraries_have_tells_nothing(root: Path) -> None:
    assert find(program(code("same.o")), root, OWNERS) == ()


def test_a_part_of_a_member_is_not_the_member(root: Path) -> None:
    assert find(program(code("a.o")[:128]), root, OWNERS) == ()


def test_data_is_no_evidence(root: Path) -> None:
    assert find(program(code("a.o"), flags=DATA), root, OWNERS) == ()


def test_what_the_linker_writes_does_not_count(tmp_path: Path) -> None:
    """Relocated places differ in the program; all others are compared."""
    text = code("r.o")
    (tmp_path / "one.a").write_bytes(archive({"r.o": elf({".text": (text, CODE)}, {".text": [40, 41, 100]})}))
    linked = bytearray(text)
    linked[40:49], linked[100:108] = b"\xaa" * 9, b"\xbb" * 8
    assert find(program(bytes(linked)), tmp_path, {"one.a": "p"})
    linked[200:208] = b"\xcc" * 8  # no relocation there: this is other code
    assert not find(program(bytes(linked)), tmp_path, {"one.a": "p"})


def test_padding_is_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "nop.a").write_bytes(archive({"nop.o": elf({".text": (b"\x90" * 256, CODE)})}))
    assert find(program(b"\x90" * 256), tmp_path, {"nop.a": "p"}) == ()


def test_an_object_file_and_a_linker_script_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "crt1.o").write_bytes(elf({".text": (code("crt"), CODE)}))
    (tmp_path / "libm.a").write_text("/* GNU ld script */ GROUP ( /usr/lib/libm-2.36.a )\n")
    found = find(program(code("crt")), tmp_path, {"crt1.o": "libc6-dev", "libm.a": "libc6-dev"})
    assert found == (Found("crt1.o", "libc6-dev", 1, 1),)


@given(st.binary(max_size=400))
def test_no_bytes_upset_the_reader(tail: bytes) -> None:
    for data in (tail, b"\x7fELF\x02\x01" + tail, elf({".text": (tail, CODE)})[: 64 + len(tail)]):
        made = Elf(data)
        assert made.relocated() is not None
        assert made.needed() == ()
