"""Does the lock still say what recipe, builder and the files beside them say?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kubewright.errors import LockOutdatedError, RecipeError
from kubewright.files.digest import sha256_file, sha256_hex
from kubewright.model.builder import Builder
from kubewright.model.lockfile import FILE, LockedBuilder, LockedComponent, LockedFile, LockedSource
from kubewright.model.recipe import Recipe, Source, has_main_module, modules_of_source, tagged


def check_component(recipe: Recipe, locked: LockedComponent | None, root: Path) -> None:
    """``check_against``, and the lock's files against those below the project's ``root``. Raises LockOutdatedError."""
    check_against(recipe, locked)
    pinned = {file.path: file for file in locked.files} if locked else {}
    found = {file.path: file for file in project_files(recipe, root)}
    lines = [f"{path} is new: {FILE} does not have it" for path in sorted({*found} - {*pinned})]
    lines += [f"{path} is in {FILE}, but there is no such file" for path in sorted({*pinned} - {*found})]
    lines += [
        f"{path} is {_shown(found[path])} here and {_shown(pinned[path])} in {FILE}"
        for path in sorted({*found} & {*pinned})
        if found[path] != pinned[path]
    ]
    _raise_if_any(recipe.name, lines)


def _shown(file: LockedFile) -> str:
    return f"sha256 {file.sha256}" + (" (executable)" if file.executable else "")


def project_files(recipe: Recipe, root: Path) -> tuple[LockedFile, ...]:
    """Every file of the project that goes into the component, as `lock` pins it, sorted by path.

    go.mod and go.sum are left out while they do not exist (`lock` makes them); a missing patch or overlay, or a symbolic
    link among them, is a RecipeError.
    """
    here = f"recipes/{recipe.name}"
    plain = [f"{here}/{name}" for name in ("go.mod", "go.sum") if has_main_module(recipe) and (root / here / name).exists()]
    for source in recipe.sources:
        for patch in source.patches:
            plain += _files_below(root, f"patches/{recipe.name}/{patch.file}", recipe.name)
        if source.signed_by:
            plain += _files_below(root, f"{here}/{source.signed_by}", recipe.name)
    laid = [path for item in recipe.overlays for path in _files_below(root, f"{here}/{item.from_}", recipe.name)]
    return tuple(
        LockedFile(path, sha256_hex(sha256_file(root / path)), path in laid and _is_executable(root / path))
        for path in sorted({*plain, *laid})
    )


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def _files_below(root: Path, path: str, component: str) -> list[str]:
    there = root / path
    below = sorted(there.rglob("*")) if there.is_dir() and not there.is_symlink() else []
    for item in (there, *below):
        if item.is_symlink():
            name = item.relative_to(root)
            raise RecipeError(f"recipes/{component}/recipe.toml: {name} is a symbolic link", remedy="put the file itself there")
    files = [item for item in below if item.is_file()] if there.is_dir() else [there] if there.is_file() else []
    if not files:
        what = "holds no file" if there.is_dir() else "does not exist"
        raise RecipeError(f"recipes/{component}/recipe.toml: {path} {what}", remedy="add it, or take it out of the recipe")
    return [str(item.relative_to(root)) for item in files]


def check_against(recipe: Recipe, locked: LockedComponent | None) -> None:
    """Raise LockOutdatedError, with both values, when ``recipe`` says something else than its lock."""
    where = f"recipes/{recipe.name}/recipe.toml"
    if locked is None:
        raise _outdated(recipe.name, [f"{where}: the component {recipe.name!r} is not in {FILE}"])
    _raise_if_any(recipe.name, [f"{where}: {line}" for line in _recipe_differences(recipe, locked)])


def check_builder(builder: Builder, locked: LockedBuilder | None) -> None:
    """Raise LockOutdatedError, with both values, when ``builder`` asks for something else than its lock has."""
    where = f"builders/{builder.name}.toml"
    if locked is None:
        raise _outdated(builder.name, [f"{where}: the builder {builder.name!r} is not in {FILE}"])
    _raise_if_any(builder.name, [f"{where}: {line}" for line in _builder_differences(builder, locked)])


def _raise_if_any(name: str, lines: list[str]) -> None:
    if lines:
        raise _outdated(name, lines)


def _outdated(name: str, lines: list[str]) -> LockOutdatedError:
    return LockOutdatedError(lines[0], remedy=f"./doit lock:{name}", details="\n".join(lines[1:]))


def _recipe_differences(recipe: Recipe, locked: LockedComponent) -> Iterator[str]:
    yield from _unequal("version", recipe.version, locked.version)
    wanted, had = [source.name for source in recipe.sources], [source.name for source in locked.sources]
    if wanted != had:
        yield from _unequal("sources", ", ".join(wanted), ", ".join(had))
        return
    wanted_modules = modules_of_source(recipe)
    if list(wanted_modules) != sorted(locked.modules):
        yield from _unequal("modules", ", ".join(wanted_modules), ", ".join(sorted(locked.modules)))
        return
    for source, pin in zip(recipe.sources, locked.sources, strict=True):
        for line in _source_differences(tagged(source, locked.modules), pin):
            yield f"source {source.name}: {line}"
    yield from _file_differences(recipe, [file.path for file in locked.files])


def _source_differences(source: Source, pin: LockedSource) -> Iterator[str]:
    yield from _unequal("form", source.form, pin.form)
    yield from _unequal("url", source.url, pin.url)
    # a lock names the module of a tree, and the commit of a module, only where that was confirmed
    if source.form == "module" or pin.module:
        yield from _unequal("module", source.module, pin.module)
        yield from _unequal("version", source.version, pin.version)
    if source.form == "tree" or pin.git:
        yield from _unequal("git", source.git, pin.git)
        yield from _unequal("tag", source.tag, pin.tag)
        yield from _unequal("branch", source.branch, pin.branch)
    if source.submodules != bool(pin.submodules) and not source.submodules:
        yield f"{FILE} has submodules, which the recipe does not want"
    if bool(source.signed_by) != bool(pin.signer):
        yield from _unequal("signed_by", source.signed_by, pin.signer)


def _file_differences(recipe: Recipe, locked: list[str]) -> Iterator[str]:
    here = f"recipes/{recipe.name}"
    wanted = [f"patches/{recipe.name}/{patch.file}" for source in recipe.sources for patch in source.patches]
    wanted += [f"{here}/{source.signed_by}" for source in recipe.sources if source.signed_by]
    if has_main_module(recipe):
        wanted += [f"{here}/go.mod", f"{here}/go.sum"]
    folders = tuple(f"{here}/{overlay.from_}" for overlay in recipe.overlays)
    for path in wanted:
        if path not in locked:
            yield f"{path} is not in {FILE}"
    for folder in folders:
        if not any(_within(path, folder) for path in locked):
            yield f"overlay {folder} is not in {FILE}"
    for path in locked:
        if path not in wanted and not any(_within(path, folder) for folder in folders):
            yield f"{FILE} has {path}, which the recipe does not use"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _builder_differences(builder: Builder, locked: LockedBuilder) -> Iterator[str]:
    wanted = builder.go.version if builder.go else ""
    if not locked.toolchains:
        yield from _unequal("go.version", wanted, "")
    for toolchain in locked.toolchains:
        yield from _unequal(f"go.version for {toolchain.platform}", wanted, toolchain.version)
    suite, packages = (builder.debian.suite, builder.debian.packages) if builder.debian else ("", ())
    yield from _unequal("debian.suite", suite, locked.suite)
    yield from _unequal("debian.packages", ", ".join(sorted(packages)), ", ".join(sorted(locked.requested)))


def _unequal(what: str, wanted: str, locked: str) -> Iterator[str]:
    if wanted != locked:
        yield f"{what} is {wanted or 'not set'!r} here and {locked or 'not set'!r} in {FILE}"
