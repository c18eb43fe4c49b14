"""The real components: those that the machine's store has built, held against other people's validators."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import check_cyclonedx, check_spdx, parts, properties

from kubewright.building.component import existing
from kubewright.errors import KubewrightError
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.sbom.write import make

PROJECT = Project(Path(__file__).parents[2])
NAMES = [(recipe.name, platform) for recipe in PROJECT.recipes.values() for platform in recipe.platforms]


def built(name: str, platform: str) -> tuple[Component, BuildRecord]:
    try:
        component = PROJECT.component(name, platform)
        found = existing(PROJECT, component)
    except KubewrightError as error:
        pytest.skip(error.message)
    if found is None:
        pytest.skip(f"{name} has not been built here: ./doit build:{name}")
    return component, found


@pytest.mark.parametrize(("name", "platform"), NAMES)
def test_documents_are_valid_equal_and_complete(name: str, platform: str) -> None:
    component, found = built(name, platform)
    files = make(PROJECT, component, found)
    assert make(PROJECT, component, found) == files
    document, other = check_cyclonedx(files["sbom.cdx.json"]), check_spdx(files["sbom.spdx.json"])
    names = {each["name"] for each in other["packages"]} - {each.path for each in found.outputs} - {name}
    assert set(parts(document)) - {name} == names, "the same facts in both"
    unknown = {each["name"] for each in parts(document).values() if "LicenseRef-" in str(each.get("licenses", "LicenseRef-"))}
    assert not unknown, "read these licences, and say so in reviewed.toml"
    for part in parts(document):
        assert part in files["ATTRIBUTION"].decode()


@pytest.mark.parametrize(
    ("name", "libraries"),
    [("runc", {"libc6-dev", "libgcc-12-dev", "libseccomp-dev"}), ("pause", {"libc6-dev", "libgcc-12-dev"})],
)
def test_c_libraries_are_found_in_what_was_linked_statically(name: str, libraries: set[str]) -> None:
    component, found = built(name, "linux/amd64")
    files = make(PROJECT, component, found)
    document = check_cyclonedx(files["sbom.cdx.json"])
    assert {each["name"] for each in parts(document).values() if each["purl"].startswith("pkg:deb/")} == libraries
    assert document["compositions"][0]["aggregate"] == "incomplete"
    texts = files["ATTRIBUTION"].decode()
    for heading in (
        "GNU LESSER GENERAL PUBLIC LICENSE\n                       Version 2.1",
        "Version 2, June 1991",
        "Version 3, 29 June",
    ):
        assert heading in texts, "the texts that Debian's copyright files point to"


def test_patches_are_in_the_pedigree() -> None:
    component, found = built("flannel", "linux/amd64")
    part = parts(check_cyclonedx(make(PROJECT, component, found)["sbom.cdx.json"]))["github.com/flannel-io/flannel"]
    assert properties(part, "h1-unpatched") == [component.locked.sources[0].h1]
    assert part["pedigree"]["patches"]
