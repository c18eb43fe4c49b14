"""The bill of materials of a real Go program, from the file to the documents."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest
from documents import check_cyclonedx, check_spdx, parts, properties
from elfmaker import CODE, code, elf
from goprogram import Built
from project_builder import h1

from kubewright.errors import BuildError, StoreCorruptError
from kubewright.fetch.gomodule import Module, bootstrap_goroot, module_cache
from kubewright.sbom import gobinary
from kubewright.sbom.elf import Elf
from kubewright.sbom.errors import NotLockedError, UnreadableBinaryError
from kubewright.sbom.write import make

LIB = "example.org/Lib/v2"


def made(built: Built, *modules: Module, program: Path | None = None) -> dict[str, bytes]:
    return make(built.project(), built.component(), built.record(*modules, program=program))


def test_what_the_program_says_of_itself(built: Built) -> None:
    elf_file = Elf(built.program.read_bytes())
    found = gobinary.read(built.program, elf_file, bootstrap_goroot())
    assert found.package == "example.org/prog/cmd/prog"
    assert {each.path: each.h1 for each in found.modules} == {path: each.h1 for path, each in built.modules.items()}
    folders = {each.path: gobinary.folders_of(found, each) for each in found.modules}
    assert folders == {"example.org/prog": {"cmd/prog"}, LIB: {"", "third"}}
    standard = gobinary.standard_folders(found)
    assert standard is not None
    assert "src/runtime" in standard
    assert not any("example.org" in each for each in standard)
    assert not found.cgo


def test_cyclonedx(built: Built) -> None:
    document = check_cyclonedx(made(built)["sbom.cdx.json"])
    found = parts(document)
    assert set(found) == {"example.org/prog", LIB, "stdlib"}
    assert found[LIB]["purl"] == "pkg:golang/example.org/lib/v2@v2.1.0"
    assert properties(found[LIB], "h1") == [built.modules[LIB].h1]
    assert found[LIB]["licenses"] == [{"expression": "Apache-2.0 AND MIT", "acknowledgement": "declared"}]
    assert [each.split()[0] for each in properties(found[LIB], "licence-file")] == ["LICENSE", "third/LICENSE"]
    subject = document["metadata"]["component"]
    assert subject["components"][0]["hashes"][0]["content"] == built.record().digests()["prog"].removeprefix("sha256:")
    contains = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert set(contains["output:prog"]) == {each["bom-ref"] for each in found.values()}
    assert document["compositions"] == [{"aggregate": "complete", "dependencies": ["output:prog"]}]
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_what_is_locked_and_not_linked_is_listed_as_such(built: Built) -> None:
    files = made(built)
    document = check_cyclonedx(files["sbom.cdx.json"])
    assert properties(document, "locked-not-linked") == [f"example.org/spare v0.1.0 {h1('spare')}"]
    assert "example.org/spare" not in parts(document)
    comments = [each["comment"] for each in check_spdx(files["sbom.spdx.json"])["annotations"]]
    assert comments == [f"locked and not linked: example.org/spare v0.1.0 {h1('spare')}"]


def test_spdx_has_the_same_facts(built: Built) -> None:
    files = made(built)
    document = check_spdx(files["sbom.spdx.json"])
    cyclonedx = parts(check_cyclonedx(files["sbom.cdx.json"]))
    packages = {each["name"]: each for each in document["packages"]}
    for name, part in cyclonedx.items():
        assert packages[name]["licenseDeclared"] == part["licenses"][0]["expression"]
        assert packages[name]["externalRefs"][0]["referenceLocator"] == part["purl"]
        assert packages[name]["versionInfo"] == part["version"]
    linked = {each["relatedSpdxElement"] for each in document["relationships"] if each["relationshipType"] == "STATIC_LINK"}
    assert linked == {packages[name]["SPDXID"] for name in cyclonedx}
    ids = [each["SPDXID"] for each in document["packages"]]
    assert len(ids) == len(set(ids)) == len(cyclonedx) + 2, "the component, its output, and what is in it"


def test_attribution_has_every_text_once(built: Built) -> None:
    text = made(built)["ATTRIBUTION"].decode()
    assert text.count("Permission is hereby granted") == 1
    assert text.count("TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION") == 1
    assert "of somebody" in text
    assert f"{LIB} v2.1.0\n    Apache-2.0 AND MIT" in text
    assert "Nobody may use this" not in text, "a folder that is not linked"


def test_the_same_bytes_every_time(built: Built, tmp_path: Path) -> None:
    first = made(built)
    shutil.rmtree(built.made.root / "store/refs/licences")
    shutil.rmtree(built.made.root / "store/refs/linked")
    assert made(built) == first


def test_other_content_is_another_document(built: Built) -> None:
    first = check_cyclonedx(made(built)["sbom.cdx.json"])
    spare = Module("example.org/more", "v1.0.0", h1("more"))
    second = check_cyclonedx(made(built, *built.modules.values(), spare)["sbom.cdx.json"])
    assert first["serialNumber"] != second["serialNumber"]


# -- linked and not locked ----------------------------------------------------------------------------------------


def test_a_module_that_is_not_locked(built: Built) -> None:
    with pytest.raises(NotLockedError, match=r"prog has example\.org/Lib/v2 v2\.1\.0 h1:.* the lock has no such module"):
        made(built, built.modules["example.org/prog"])


def test_a_module_with_another_hash(built: Built) -> None:
    other = Module(LIB, "v2.1.0", h1("other"))
    with pytest.raises(NotLockedError, match="and the lock has " + h1("other").replace("+", r"\+")):
        made(built, built.modules["example.org/prog"], other)


def test_a_module_in_another_version(built: Built) -> None:
    other = Module(LIB, "v2.0.0", built.modules[LIB].h1)
    with pytest.raises(NotLockedError):
        made(built, built.modules["example.org/prog"], other)


def test_a_program_that_does_not_say(built: Built, tmp_path: Path) -> None:
    """Packed or stripped beyond recognition: what go links has to say what it is made of."""
    other = tmp_path / "prog"
    other.write_bytes(elf({".text": (code("x"), CODE)}))
    with pytest.raises(UnreadableBinaryError, match="does not say which modules"):
        made(built, program=other)
    other.write_text("#!/bin/sh\n")
    with pytest.raises(UnreadableBinaryError):
        made(built, program=other)


def test_a_program_whose_information_is_damaged(built: Built, tmp_path: Path) -> None:
    data = built.program.read_bytes()
    other = tmp_path / "prog"
    other.write_bytes(data.replace(b"\xff Go buildinf:", b"\xff No buildinf:"))
    with pytest.raises(UnreadableBinaryError, match="without module information"):
        made(built, program=other)


def test_a_record_of_another_key(built: Built) -> None:
    found = dataclasses.replace(built.record(), key="sha256:" + "0" * 64)
    with pytest.raises(BuildError, match="recipe and lock now say"):
        make(built.project(), built.component(), found)


def test_an_unknown_line_table_makes_all_folders_count(built: Built) -> None:
    data = bytearray(built.program.read_bytes())
    section = next(each for each in Elf(bytes(data)).numbered if each.name.endswith(".gopclntab"))
    data[section.offset : section.offset + 4] = b"\0\0\0\0"
    assert gobinary.source_folders(Elf(bytes(data))) is None
    found = gobinary.GoProgram("1", "p", gobinary.LinkedModule("p", "v1", "h1:x"), (), False)
    assert gobinary.folders_of(found, found.main) is None
    assert gobinary.standard_folders(found) is None


def test_a_licence_file_that_changed_in_the_store(built: Built) -> None:
    made(built)
    path = module_cache(built.project().store) / built.modules[LIB].directory / "LICENSE"
    before = path.read_bytes()
    try:
        path.write_bytes(b"free for all")
        with pytest.raises(StoreCorruptError, match="is not the file whose licence is known"):
            made(built)
    finally:
        path.write_bytes(before)


def test_the_program_runs(built: Built) -> None:
    """The control of all this: it is a program, and it is linked from what we say."""
    assert subprocess.run([built.program], capture_output=True, text=True).stderr == "hello\n"
