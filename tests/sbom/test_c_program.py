"""The bill of materials of a C program that is linked statically, from made-up Debian packages to the documents."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from documents import check_cyclonedx, check_spdx, parts, properties
from elfmaker import CODE, archive, code, elf
from project_builder import ProjectBuilder
from test_deb import build_deb
from test_licencetext import MIT

from kubewright.building.inputs import root_name, tree_name
from kubewright.files.deb import unpack_root
from kubewright.files.digest import sha256_file, tree_digest
from kubewright.model.lockfile import LockedBuilder, LockedPackage, dump_lock, load_lock
from kubewright.record import BuildRecord, RecordedOutput
from kubewright.sbom.write import make

RECIPE = """
name = "pause"
version = "1.0.0"
summary = "Waits"
licence = "MIT"
builder = "c"
[[source]]
form = "archive"
url = "https://example.org/pause.tar.gz"
[[step]]
run = ["gcc", "-static", "-o", "{build}/out/pause", "pause.c"]
[[output]]
path = "pause"
"""
BUILDER = 'name = "c"\nsummary = "C"\n[debian]\nsuite = "bookworm"\npackages = ["libfoo-dev", "libbar-dev"]\n'
COPYRIGHT = (
    b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: LGPL-2.1+\n"
    b" The text is in '/usr/share/common-licenses/LGPL-2.1'.\n"
)
LICENCES = 'name = "licences"\nsummary = "Texts"\n[debian]\nsuite = "bookworm"\npackages = ["base-files"]\n'


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    """A checkout whose builder is two packages with a static library each, and whose source is in the store."""
    builder = ProjectBuilder(tmp_path / "p").builder("c", BUILDER).recipe("pause", RECIPE).lock()
    store = builder.project().store
    debs, packages = [], []
    for name in ("libfoo-dev", "libbar-dev"):
        library = archive({f"{part}.o": elf({".text": (code(name + part), CODE)}) for part in "ab"})
        copyright_file = COPYRIGHT if name == "libfoo-dev" else b"Ask."
        files = {f"lib/{name}.a": library, f"usr/share/doc/{name}/copyright": copyright_file}
        folders = dict.fromkeys(("", "lib/", "usr/", "usr/share/", "usr/share/doc/", f"usr/share/doc/{name}/"))
        debs.append(build_deb(tmp_path / f"{name}.deb", {**folders, **files}))
        digest = store.put_file(debs[-1]).removeprefix("sha256:")
        packages.append(LockedPackage(name, "1:2-3", "amd64", f"pool/{name}.deb", digest, debs[-1].stat().st_size))
    unpack_root(debs, tmp_path / "root")
    lock = load_lock(builder.root / "lockfile.toml")
    locked = dataclasses.replace(lock.builders["c"], packages=tuple(packages), root=tree_digest(tmp_path / "root"))
    builder.write("lockfile.toml", dump_lock(dataclasses.replace(lock, builders={**lock.builders, "c": locked})))
    pin = lock.components["pause"].sources[0]
    tree = store.add_tree(tree_name(pin, 1), lambda target: _write(target, "COPYING", MIT))
    store.set_ref("unpacked", tree_name(pin, 1), tree_digest(tree))
    return builder


def _write(folder: Path, name: str, text: str) -> None:
    folder.mkdir()
    (folder / name).write_text(text)


def record(made: ProjectBuilder, tmp_path: Path, *parts_: bytes) -> BuildRecord:
    program = tmp_path / "pause"
    program.write_bytes(elf({".text": (code("main") + b"".join(parts_), CODE)}))
    digest = made.project().store.put_file(program)
    assert digest == sha256_file(program)
    output = RecordedOutput("pause", "program", digest, program.stat().st_size)
    return dataclasses.replace(made.record("pause"), outputs=(output,), modules=())


def documents(made: ProjectBuilder, found: BuildRecord) -> dict[str, bytes]:
    return make(made.project(), made.project().component("pause"), found)


def test_the_library_that_is_in_it_and_not_the_other(made: ProjectBuilder, tmp_path: Path) -> None:
    files = documents(made, record(made, tmp_path, code("libfoo-deva")))
    document = check_cyclonedx(files["sbom.cdx.json"])
    found = parts(document)
    assert set(found) == {"libfoo-dev", "pause"}
    library = found["libfoo-dev"]
    assert library["purl"] == "pkg:deb/debian/libfoo-dev@1:2-3?arch=amd64&distro=bookworm"
    assert library["licenses"][0]["expression"] == "LGPL-2.1-or-later"
    assert library["hashes"][0]["content"] == made.project().component("pause").locked_builder.packages[1].sha256
    (output,) = document["metadata"]["component"]["components"]
    assert properties(output, "static-library") == ["libfoo-dev: /usr/lib/libfoo-dev.a, 1 of 2 members that can be told apart"]
    assert document["compositions"][0]["aggregate"] == "incomplete"
    check_spdx(files["sbom.spdx.json"])


def test_the_source_is_named_since_the_program_does_not_say(made: ProjectBuilder, tmp_path: Path) -> None:
    files = documents(made, record(made, tmp_path))
    found = parts(check_cyclonedx(files["sbom.cdx.json"]))
    assert set(found) == {"pause"}
    assert found["pause"]["licenses"][0]["expression"] == "MIT"
    assert found["pause"]["purl"].startswith("pkg:generic/pause@1.0.0?checksum=sha256:")
    assert "Permission is hereby granted" in files["ATTRIBUTION"].decode()


def test_an_unknown_licence_of_a_package_is_said(made: ProjectBuilder, tmp_path: Path) -> None:
    files = documents(made, record(made, tmp_path, code("libbar-deva"), code("libbar-devb")))
    library = parts(check_cyclonedx(files["sbom.cdx.json"]))["libbar-dev"]
    assert library["licenses"][0]["expression"].startswith("LicenseRef-unknown-")
    check_spdx(files["sbom.spdx.json"])


def test_packages_are_looked_into_once(made: ProjectBuilder, tmp_path: Path) -> None:
    found = record(made, tmp_path, code("libfoo-deva"))
    first = documents(made, found)
    project = made.project()
    owners = project.store.get_json("static-libraries", root_name(project.component("pause").locked_builder))
    assert owners == {"usr/lib/libbar-dev.a": "libbar-dev", "usr/lib/libfoo-dev.a": "libfoo-dev"}
    assert documents(made, found) == first


# -- texts that a copyright file points to ------------------------------------------------------------------------


def with_common_licences(made: ProjectBuilder, tmp_path: Path) -> None:
    """The builder ``licences``, with texts of which a copyright file names one."""
    folder = "usr/share/common-licenses/"
    files = {f"{folder}LGPL-2.1": b"The lesser text.\n", f"{folder}GPL-3": b"The text that nobody names.\n"}
    deb = build_deb(tmp_path / "base-files.deb", {**dict.fromkeys(("", "usr/", "usr/share/", folder)), **files})
    unpack_root([deb], tmp_path / "common")
    package = LockedPackage(
        "base-files", "12.4", "amd64", "pool/base-files.deb", made.project().store.put_file(deb)[7:], deb.stat().st_size
    )
    made.builder("licences", LICENCES)
    lock = load_lock(made.root / "lockfile.toml")
    locked = LockedBuilder(
        suite="bookworm", requested=("base-files",), packages=(package,), root=tree_digest(tmp_path / "common")
    )
    made.write("lockfile.toml", dump_lock(dataclasses.replace(lock, builders={**lock.builders, "licences": locked})))


def test_texts_that_a_copyright_file_points_to_are_in_the_attribution(made: ProjectBuilder, tmp_path: Path) -> None:
    found = record(made, tmp_path, code("libfoo-deva"))
    before = made.project().component("pause").key
    assert "The lesser text." not in documents(made, found)["ATTRIBUTION"].decode()
    with_common_licences(made, tmp_path)
    assert made.project().component("pause").key == before, "no build key has it"
    text = documents(made, found)["ATTRIBUTION"].decode()
    assert "libfoo-dev 1:2-3: usr/share/common-licenses/LGPL-2.1\n" in text
    assert "The lesser text." in text
    assert "nobody names" not in text
    check_spdx(documents(made, found)["sbom.spdx.json"])
