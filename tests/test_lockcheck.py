from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from kubewright.errors import LockOutdatedError, RecipeError
from kubewright.model.builder import Builder, load_builder
from kubewright.model.lockcheck import check_against, check_builder, check_component, project_files
from kubewright.model.lockfile import LockedBuilder, LockedComponent, load_lock
from kubewright.model.recipe import Recipe, load_recipe

FIXTURES = Path(__file__).parent / "data" / "project"
LOCK = load_lock(FIXTURES / "lockfile.toml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The fixtures, with k3s-like's main module, which `lock` would have made."""
    root = tmp_path / "project"
    shutil.copytree(FIXTURES, root)
    (root / "recipes/k3s-like/go.mod").write_text("module kubewright.local/k3s-like\n")
    (root / "recipes/k3s-like/go.sum").write_text("")
    return root


def k3s(root: Path) -> tuple[Recipe, LockedComponent]:
    recipe = load_recipe(root / "recipes/k3s-like/recipe.toml")
    return recipe, dataclasses.replace(LOCK.components["k3s-like"], files=project_files(recipe, root))


def outdated(recipe: Recipe, locked: LockedComponent | None) -> LockOutdatedError:
    with pytest.raises(LockOutdatedError) as caught:
        check_against(recipe, locked)
    assert caught.value.remedy == f"./doit lock:{recipe.name}"
    return caught.value


def test_a_lock_that_says_the_same_is_fine(project: Path) -> None:
    check_component(*k3s(project), project)


def test_a_component_that_was_never_locked() -> None:
    recipe = load_recipe(FIXTURES / "recipes/small/recipe.toml")
    assert outdated(recipe, None).message == "recipes/small/recipe.toml: the component 'small' is not in lockfile.toml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1.37.2+k3s1"}, "version is '1.37.2+k3s1' here and '1.37.1+k3s1' in lockfile.toml"),
        ({"sources": ()}, "sources is 'not set' here and 'k3s-like, kubernetes, root' in lockfile.toml"),
        ({"overlays": ()}, "lockfile.toml has recipes/k3s-like/embed.go, which the recipe does not use"),
        ({"steps": ()}, "lockfile.toml has recipes/k3s-like/go.mod, which the recipe does not use"),
    ],
)
def test_a_recipe_that_says_something_else(change: dict[str, Any], message: str, project: Path) -> None:
    recipe, locked = k3s(project)
    assert outdated(dataclasses.replace(recipe, **change), locked).message == f"recipes/k3s-like/recipe.toml: {message}"


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"tag": "v2"}, "source k3s-like: tag is 'v2' here and 'v1.37.1+k3s1' in lockfile.toml"),
        (0, {"git": "https://x/y"}, "source k3s-like: git is 'https://x/y' here and 'https://git.example.org/k3s' in"),
        (1, {"version": "v2"}, "source kubernetes: version is 'v2' here and 'v1.37.1' in lockfile.toml"),
        (1, {"module": "k8s.io/other"}, "source kubernetes: module is 'k8s.io/other' here and 'k8s.io/kubernetes' in"),
        (1, {"git": "", "tag": ""}, "source kubernetes: git is 'not set' here and 'https://git.example.org/kubernetes' in"),
        (
            2,
            {"url": "https://x/y"},
            "source root: url is 'https://x/y' here and 'https://downloads.example.org/k3s-root-amd64.tar' in",
        ),
        (2, {"form": "tree", "url": ""}, "source root: form is 'tree' here and 'archive' in lockfile.toml"),
    ],
)
def test_a_source_that_says_something_else(index: int, change: dict[str, Any], message: str, project: Path) -> None:
    recipe, locked = k3s(project)
    sources = list(recipe.sources)
    sources[index] = dataclasses.replace(sources[index], **change)
    assert message in outdated(dataclasses.replace(recipe, sources=tuple(sources)), locked).message


def test_what_a_lock_could_not_confirm_is_no_difference() -> None:
    recipe = load_recipe(FIXTURES / "recipes/small/recipe.toml")
    assert recipe.sources[0].git
    assert not LOCK.components["small"].sources[0].git
    check_against(recipe, LOCK.components["small"])


def test_a_patch_that_was_added(project: Path) -> None:
    recipe, locked = k3s(project)
    without = dataclasses.replace(locked, files=tuple(file for file in locked.files if not file.path.startswith("patches/")))
    assert "patches/k3s-like/0001-embed-ours.patch is not in lockfile.toml" in outdated(recipe, without).message


def test_an_overlay_that_was_added(project: Path) -> None:
    recipe, locked = k3s(project)
    without = dataclasses.replace(locked, files=tuple(file for file in locked.files if "/files/" not in file.path))
    assert "overlay recipes/k3s-like/files is not in lockfile.toml" in outdated(recipe, without).message


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_files_of_a_component(project: Path) -> None:
    recipe, _ = k3s(project)
    assert [(file.path, file.executable) for file in project_files(recipe, project)] == [
        ("patches/k3s-like/0001-embed-ours.patch", False),
        ("recipes/k3s-like/embed.go", False),
        ("recipes/k3s-like/files/bin/generate", True),
        ("recipes/k3s-like/go.mod", False),
        ("recipes/k3s-like/go.sum", False),
    ]


def changed(root: Path, path: str) -> None:
    (root / path).write_text("changed\n")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("patches/k3s-like/0001-embed-ours.patch", "patches/k3s-like/0001-embed-ours.patch is sha256 "),
        ("recipes/k3s-like/go.sum", "recipes/k3s-like/go.sum is sha256 "),
        ("recipes/k3s-like/files/new", "recipes/k3s-like/files/new is new: lockfile.toml does not have it"),
    ],
)
def test_a_file_that_changed_is_outdated(path: str, message: str, project: Path) -> None:
    recipe, locked = k3s(project)
    changed(project, path)
    with pytest.raises(LockOutdatedError) as caught:
        check_component(recipe, locked, project)
    assert caught.value.message.startswith(message)
    assert caught.value.remedy == "./doit lock:k3s-like"


def test_an_overlay_that_became_executable_is_outdated(project: Path) -> None:
    recipe, locked = k3s(project)
    (project / "recipes/k3s-like/embed.go").chmod(0o755)
    with pytest.raises(LockOutdatedError, match=r"embed.go is sha256 \w+ \(executable\) here and sha256 \w+ in lockfile.toml"):
        check_component(recipe, locked, project)


def test_a_file_that_went_away(project: Path) -> None:
    recipe, locked = k3s(project)
    (project / "recipes/k3s-like/go.sum").unlink()
    with pytest.raises(LockOutdatedError, match=r"recipes/k3s-like/go\.sum is in lockfile\.toml, but there is no such file"):
        check_component(recipe, locked, project)
    (project / "patches/k3s-like/0001-embed-ours.patch").unlink()
    with pytest.raises(RecipeError, match=r"patches/k3s-like/0001-embed-ours.patch does not exist"):
        check_component(recipe, locked, project)


def test_symbolic_links_are_refused(project: Path) -> None:
    recipe, _ = k3s(project)
    (project / "recipes/k3s-like/files/link").symlink_to("/etc/passwd")
    with pytest.raises(RecipeError, match="recipes/k3s-like/files/link is a symbolic link"):
        project_files(recipe, project)


def test_an_overlay_folder_without_files_is_refused(project: Path) -> None:
    recipe, _ = k3s(project)
    (project / "recipes/k3s-like/files/bin/generate").unlink()
    with pytest.raises(RecipeError, match="recipes/k3s-like/files holds no file"):
        project_files(recipe, project)


# -- builders ---------------------------------------------------------------------------------------------------------

CGO = load_builder(FIXTURES / "builders/cgo.toml")
assert CGO.debian is not None
LOCKED_CGO = dataclasses.replace(LOCK.builders["cgo"], requested=tuple(reversed(CGO.debian.packages)))


def test_a_locked_builder_is_fine_whatever_the_order() -> None:
    check_builder(CGO, LOCKED_CGO)
    check_builder(load_builder(FIXTURES / "builders/go.toml"), LOCK.builders["go"])


@pytest.mark.parametrize(
    ("builder", "locked", "message"),
    [
        (CGO, None, "the builder 'cgo' is not in lockfile.toml"),
        (CGO, dataclasses.replace(LOCKED_CGO, suite="trixie"), "debian.suite is 'bookworm' here and 'trixie' in lockfile.toml"),
        (
            CGO,
            dataclasses.replace(LOCKED_CGO, requested=("gcc",)),
            "debian.packages is 'gcc, libc6-dev, libseccomp-dev, make, zstd' here and 'gcc' in lockfile.toml",
        ),
        (CGO, dataclasses.replace(LOCKED_CGO, toolchains=()), "go.version is '1.26.8' here and 'not set' in lockfile.toml"),
        (
            dataclasses.replace(CGO, go=None),
            LOCKED_CGO,
            "go.version for linux/amd64 is 'not set' here and '1.26.8' in lockfile.toml",
        ),
        (dataclasses.replace(CGO, debian=None), LOCKED_CGO, "debian.suite is 'not set' here and 'bookworm' in lockfile.toml"),
    ],
)
def test_a_builder_that_asks_for_something_else(builder: Builder, locked: LockedBuilder | None, message: str) -> None:
    with pytest.raises(LockOutdatedError) as caught:
        check_builder(builder, locked)
    assert caught.value.message == f"builders/cgo.toml: {message}"
    assert caught.value.remedy == "./doit lock:cgo"
