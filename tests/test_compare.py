"""What `rebuild` says of two files that differ."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.building.compare import differing_section, explain, first_difference, sections
from kubewright.files.tree import normalised_tar


def compiled(directory: Path, name: str, text: str) -> Path:
    (directory / "p.c").write_text(f'#include <stdio.h>\nint main(void) {{ puts("{text}"); return 0; }}\n')
    subprocess.run(["gcc", "-s", "-Wl,--build-id=none", "-o", name, "p.c"], cwd=directory, check=True)
    return directory / name


def test_an_elf_difference_names_its_section(tmp_path: Path) -> None:
    first, second = compiled(tmp_path, "a", "built at 10:00"), compiled(tmp_path, "b", "built at 11:00")
    assert ".rodata" in {section.name for section in sections(first)}
    said = explain(first, second)
    assert said.startswith("section .rodata (at its byte ")
    assert b"0:00".hex() in said  # the bytes that differ are shown
    assert b"1:00".hex() in said
    assert explain(first, compiled(tmp_path, "c", "built at 10:00")) == "identical"


def test_a_text_difference_names_the_byte(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same" * 1000 + b"X")
    (tmp_path / "b").write_bytes(b"same" * 1000 + b"Yz")
    assert explain(tmp_path / "a", tmp_path / "b") == "byte 4000 differs first; sizes 4001 and 4002 bytes (58 and 597a)"


def test_a_tree_difference_names_the_member(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "2")):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc/conf").write_text(content)
        (tmp_path / name / "same").write_text("same")
        with (tmp_path / f"{name}.tar").open("wb") as out:
            normalised_tar(tmp_path / name, out)
    assert explain(tmp_path / "a.tar", tmp_path / "b.tar").startswith("member etc/conf differs first")


@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_the_first_difference_is_the_first(tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes) -> None:
    directory = tmp_path_factory.mktemp("d")
    (directory / "a").write_bytes(first)
    (directory / "b").write_bytes(second)
    offset = first_difference(directory / "a", directory / "b")
    if offset is None:
        assert first == second
    else:
        assert first[:offset] == second[:offset]
        assert first[offset : offset + 1] != second[offset : offset + 1]


@given(data=st.binary(max_size=200))
def test_a_broken_elf_header_is_no_elf_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("d") / "broken"
    path.write_bytes(b"\x7fELF\x02\x01" + data)
    differing_section(path, path)  # whatever it says, it does not fall over
