"""A module that was replaced by a folder is one of the recipe's sources, or it is refused."""

from __future__ import annotations

import pytest
from project_builder import ProjectBuilder

from kubewright.sbom.errors import NotLockedError
from kubewright.sbom.gather import outputs_of
from kubewright.sbom.gobinary import GoProgram, LinkedModule
from kubewright.sbom.linked import Contents, Program
from kubewright.sbom.locked import Pinned, pinned, unused


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> ProjectBuilder:
    return ProjectBuilder(tmp_path_factory.mktemp("p")).component("runc", patches={"0001-x.patch": "it must"}).lock()


def pins(made: ProjectBuilder, *modules: LinkedModule) -> dict[LinkedModule, Pinned]:
    go = GoProgram("1.26.8", "p", modules[0], modules, False)
    contents = {"runc": Contents((Program("", (), (), go),))}
    return pinned(made.project().component("runc"), made.record("runc"), contents)


def test_a_patched_source_has_its_unpatched_pin(made: ProjectBuilder) -> None:
    module = LinkedModule("example.org/runc", "v1.0.0", "", "../src/runc")
    pin = made.project().component("runc").locked.sources[0]
    assert pins(made, module) == {module: Pinned("example.org/runc", "v1.0.0", pin.h1, "runc")}


@pytest.mark.parametrize(
    "module",
    [
        LinkedModule("example.org/runc", "v1.0.0", "", "../src/other"),
        LinkedModule("example.org/other", "v1.0.0", "", "../src/runc"),
        LinkedModule("example.org/other", "v1.0.0", ""),
        LinkedModule("example.org/runc", "v1.0.0", "h1:other="),
    ],
)
def test_any_other_folder_is_refused(made: ProjectBuilder, module: LinkedModule) -> None:
    with pytest.raises(NotLockedError):
        pins(made, module)


def test_what_go_sum_has_beyond_is_unused(made: ProjectBuilder) -> None:
    component, found = made.project().component("runc"), made.record("runc")
    used = Pinned("example.org/runc", "v1.0.0", "h1:x")
    assert [each.path for each in unused(made.root, component, found, [used])] == ["example.org/dependency"]
    assert list(unused(made.root, component, found, [used, Pinned("example.org/dependency", "v0.3.1", "h1:y")])) == []


@pytest.mark.parametrize(
    ("cgo", "others", "complete"),
    [(False, 0, True), (True, 0, False), (False, 1, False)],
    ids=["pure", "cgo", "scripts beside"],
)
def test_only_pure_go_is_known_to_the_last(made: ProjectBuilder, cgo: bool, others: int, complete: bool) -> None:
    module = LinkedModule("example.org/runc", "v1.0.0", "", "../src/runc")
    contents = {"runc": Contents((Program("", (), (), GoProgram("1.26.8", "p", module, (module,), cgo)),), others)}
    component, found = made.project().component("runc"), made.record("runc")
    (output,) = outputs_of(component, found, contents, pinned(component, found, contents))
    assert output.complete is complete
    assert "module:example.org/runc@v1.0.0" in output.contains
