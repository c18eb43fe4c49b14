"""What a recipe and its lock repeat of their source, compared with the source itself before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kubewright.errors import FactError, LockOutdatedError
from kubewright.files.gomod import selected
from kubewright.model.recipe import Recipe, Source


def check_facts(component: str, source: Source, tree: Path) -> None:
    """Raise FactError for a text that the recipe says is in a file of the source, and is not."""
    for path, texts in source.facts.items():
        held = _text(tree, path)
        for text in texts:
            if held is None or text not in held:
                what = "there is no such file" if held is None else f"it does not hold {text!r}"
                raise FactError(
                    f"recipes/{component}/recipe.toml: source {source.name}: facts: {path}: {what}",
                    remedy="this version of upstream says something else: find out what, and correct what the recipe repeats",
                )


def modules_of(recipe: Recipe, source: Source, tree: Path, names: Iterable[str]) -> dict[str, str]:
    """The versions of ``names`` in the go.mod of the main source, whose files are in ``tree``. Raises FactError."""
    wanted = sorted(names)
    if not wanted:
        return {}
    path = f"{source.subdirectory}/go.mod" if source.subdirectory else "go.mod"
    held = _text(tree, path)
    found = selected(held or "")
    for name in wanted:
        if name not in found:
            what = f"{path} of source {source.name} {'names no such module' if held is not None else 'does not exist'}"
            raise FactError(
                f"recipes/{recipe.name}/recipe.toml: {{module:{name}}}: {what}",
                remedy="write the module's path as go.mod has it; one that is replaced by a folder has no version",
            )
    return {name: found[name] for name in wanted}


def check_modules(recipe: Recipe, source: Source, tree: Path, locked: Mapping[str, str]) -> None:
    """Raise LockOutdatedError where the lock names other versions than the main source's go.mod."""
    found = modules_of(recipe, source, tree, locked)
    for name, version in found.items():
        if version != locked[name]:
            raise LockOutdatedError(
                f"{name} is {version} in the go.mod of source {source.name} and {locked[name]} in lockfile.toml",
                remedy=f"./doit lock:{recipe.name}",
            )


def _text(tree: Path, path: str) -> str | None:
    """A file of the source; None where there is none, or only through a link."""
    found = tree
    for name in path.split("/"):
        found = found / name
        if found.is_symlink():
            return None
    return found.read_text("utf-8", errors="replace") if found.is_file() else None
