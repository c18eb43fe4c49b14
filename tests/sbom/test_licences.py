"""Which licence files count, and what they come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_licencetext import APACHE, MIT

from kubewright.files.digest import sha256_bytes
from kubewright.sbom import licences, licencetext
from kubewright.sbom.licences import Licence, applicable, is_licence_name, of_package, of_tree
from kubewright.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def tree(tmp_path: Path, files: dict[str, str]) -> Path:
    root = tmp_path / "module"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def expression(store: Store, root: Path, linked: set[str] | None = None, name: str = "h1:x") -> str:
    return applicable(of_tree(store, root, name), linked).expression


LICENCE_FILES = """
LICENSE LICENCE.md license.txt COPYING LICENSE-APACHE LICENSE.MIT UNLICENSE LICENSES NOTICE.txt COPYRIGHT PATENTS lib-LICENSE
"""
OTHER_FILES = """
license.go check_license.sh LICENSE-3rdparty.csv license.json README.md notice.go licensed main.c license_test.go
"""


@pytest.mark.parametrize("name", LICENCE_FILES.split())
def test_names_of_licence_files(name: str) -> None:
    assert is_licence_name(name)


@pytest.mark.parametrize("name", OTHER_FILES.split())
def test_names_of_other_files(name: str) -> None:
    assert not is_licence_name(name)


def test_several_licences_are_joined_with_and(store: Store, tmp_path: Path) -> None:
    root = tree(tmp_path, {"LICENSE-APACHE": APACHE, "LICENSE-MIT": MIT, "main.go": "package main"})
    assert expression(store, root) == "Apache-2.0 AND MIT"


def test_a_licence_in_a_folder_counts_where_the_folder_is_linked(store: Store, tmp_path: Path) -> None:
    root = tree(tmp_path, {"LICENSE": APACHE, "third_party/x/LICENSE": MIT})
    files = of_tree(store, root, "h1:x")
    for linked, expected in (
        ({""}, "Apache-2.0"),
        ({"", "third_party/xy"}, "Apache-2.0"),
        ({"third_party/x"}, "Apache-2.0 AND MIT"),
        ({"third_party/x/deep/er"}, "Apache-2.0 AND MIT"),
        (None, "Apache-2.0 AND MIT"),
    ):
        assert applicable(files, linked).expression == expected, linked


def test_notices_and_licences_of_documentation_say_nothing_of_the_code(store: Store, tmp_path: Path) -> None:
    root = tree(tmp_path, {"LICENSE": MIT, "NOTICE": "Contains things.", "LICENSE.docs": APACHE, "PATENTS": "No patents."})
    found = applicable(of_tree(store, root, "h1:x"), None)
    assert found.expression == "MIT"
    assert {file.path for file in found.files if file.notice} == {"NOTICE", "LICENSE.docs", "PATENTS"}


def test_a_notice_that_is_a_licence_counts(store: Store, tmp_path: Path) -> None:
    assert expression(store, tree(tmp_path, {"COPYRIGHT": MIT})) == "MIT"


def test_unknown_is_said_and_not_guessed(store: Store, tmp_path: Path) -> None:
    root = tree(tmp_path, {"LICENSE": MIT + "\nNot on Sundays.\n", "a/LICENSE": "Ask me."})
    found = applicable(of_tree(store, root, "h1:x"), None)
    assert not found.known
    references = {file.reference for file in found.files}
    assert set(found.expression.split(" AND ")) == {"MIT", *references}
    assert not Licence("", ()).known
    assert applicable(of_tree(store, tree(tmp_path / "2", {"x.go": ""}), "h1:y"), None).expression == ""


def test_a_known_tree_is_not_read_again_until_the_rules_change(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, {"LICENSE": MIT})
    first = of_tree(store, root, "h1:x")
    (root / "LICENSE").write_text(APACHE)
    assert of_tree(store, root, "h1:x") == first
    monkeypatch.setattr(licencetext, "_RULES", 99)
    assert of_tree(store, root, "h1:x") != first


def test_names_of_trees_that_differ_in_case_only_are_two(store: Store, tmp_path: Path) -> None:
    assert expression(store, tree(tmp_path, {"LICENSE": MIT}), name="h1:a/b") == "MIT"
    assert expression(store, tree(tmp_path / "2", {"LICENSE": APACHE}), name="h1:A_b") == "Apache-2.0"


# -- Debian -------------------------------------------------------------------------------------------------------

FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


@pytest.mark.parametrize(
    ("paragraphs", "expected"),
    [
        ("Files: *\nLicense: LGPL-2.1\n\nLicense: LGPL-2.1\n text\n", "LGPL-2.1-only"),
        ("Files: *\nLicense: GPL-2+\n text\n\nFiles: x\nLicense: Expat\n", "GPL-2.0-or-later AND MIT"),
        ("Files: *\nLicense: BSD-3-clause or GPL-3\n", "(BSD-3-Clause OR GPL-3.0-only)"),
        ("Files: *\nLicense: ISC and zlib\n", "ISC AND Zlib"),
        ("Files: *\nLicense: something-own\n", ""),
        ("Files: *\nLicense: GPL-2+ with OpenSSL exception\n", ""),
        ("Files: *\nLicense: Expat\n\nFiles: debian/*\nLicense: GPL-2+\n", "MIT"),
    ],
)
def test_machine_readable_copyright_files(tmp_path: Path, paragraphs: str, expected: str) -> None:
    root = tree(tmp_path, {"usr/share/doc/x/copyright": f"{FORMAT}\n{paragraphs}"})
    found = of_package(root, "x")
    assert found.expression == (expected or found.files[0].reference)
    assert found.known is bool(expected)


def test_other_copyright_files_are_unknown_unless_somebody_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "It may be distributed under the GNU LGPL, see /usr/share/common-licenses."
    root = tree(tmp_path, {"usr/share/doc/x/copyright": text})
    assert not of_package(root, "x").known
    digest = sha256_bytes(text.encode()).removeprefix("sha256:")
    read = licencetext.Reviewed(frozenset(), {("x", digest): "LGPL-2.1-or-later"}, frozenset())
    monkeypatch.setattr(licencetext, "reviewed", lambda: read)
    assert of_package(root, "x") == Licence("LGPL-2.1-or-later", of_package(root, "x").files, True)
    (root / "usr/share/doc/x/copyright").write_text(text + " Changed.")
    assert not of_package(root, "x").known


def test_a_copyright_file_outside_of_the_root_is_not_read(tmp_path: Path) -> None:
    root = tree(tmp_path, {"usr/share/doc/y/copyright": "x"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "copyright").write_text(MIT)
    (root / "usr/share/doc/x").symlink_to(outside)
    (root / "usr/share/doc/z").symlink_to("y")
    assert of_package(root, "x") == Licence("", ())
    assert of_package(root, "z").files
    assert licences.of_package(root, "absent") == Licence("", ())
