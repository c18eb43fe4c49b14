"""The compile cache of one component's cgo steps, kept from build to build (docs/adr/0008-kept-cgo-cache.md).

Go's cache knows a compiled package by everything that go itself reads: the files of its folder, versions, flags, compilers. C
reads more: files of other folders, the environment, the clock. So a cache is for one component, one builder and one state of
what C could read, and where C asks for the time, or for files of unknown kinds, none is kept.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from kubewright import keys
from kubewright.building.inputs import Inputs
from kubewright.building.steps import GO_OUT, Command
from kubewright.canonical import canonical_digest
from kubewright.fetch.gomodule import Module, module_cache
from kubewright.project import Component, Project
from kubewright.store import Store

#: what C, C++, Fortran and assembly are made of, and what they are linked with
_C: Final = re.compile(
    r".*\.([acfhmos]|cc|cpp|cxx|def|f90|for|hh|hpp|hxx|inc|inl|ipp|mm|pc|so|swg|swig|swigcxx|sx|syso|tcc)(\.[0-9.]+)?", re.I
)
_LINKED: Final = re.compile(r".*\.(a|o|so|syso)(\.[0-9.]+)?", re.I)
_INCLUDE: Final = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.M)
#: the time of compiling, and files that no #include names
_UNKNOWN_TO_GO: Final = re.compile(rb"__(DATE|TIME|TIMESTAMP)__|\.incbin\b|#\s*embed\b")
#: raised whenever these rules change
_RULES: Final = 1
_KIND: Final = "c-reads"
#: what go makes: nothing that is compiled comes from there
_MADE: Final = frozenset({GO_OUT, ".go-cache", ".gopath", ".home", ".tmp"})
#: settings that go hashes itself, or whose programs are the builder's
_KNOWN_ENV: Final = frozenset({"CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_FFLAGS", "CGO_LDFLAGS", "PKG_CONFIG"})


def kept_cache(project: Project, component: Component, inputs: Inputs, command: Command, directory: Path) -> Path | None:
    """The cache for a cgo step that is about to run in ``directory``, made if need be; None where none may be kept."""
    if not _knows_its_environment(component, command):
        return None
    files = sorted(_c_files(directory, _MADE))
    if any(_asks(directory / path) for path in files) or any(_module_asks(project.store, each) for each in inputs.modules):
        return None
    state = {path: hashlib.sha256((directory / path).read_bytes()).hexdigest() for path in files}
    builder = keys.builder_digest(component.locked_builder).removeprefix("sha256:")[:24]
    name = canonical_digest([_RULES, component.name, component.platform, state]).removeprefix("sha256:")[:24]
    cache = project.store.root / "go" / "cgo-cache" / builder / f"{component.name}-{name}"
    cache.mkdir(parents=True, exist_ok=True)
    os.utime(cache)  # gc keeps the one that was used last
    return cache


def _knows_its_environment(component: Component, command: Command) -> bool:
    """Whether the recipe sets nothing for the step that go does not look at, and names no program of the build's."""
    extra: set[str] = set()
    for step in component.recipe.steps:
        if step.go and step.go.cgo:
            extra |= set(step.go.env)
    return extra <= _KNOWN_ENV and "/" not in command.env.get("PKG_CONFIG", "")


def _c_files(directory: Path, without: frozenset[str] = frozenset()) -> Iterator[str]:
    """Paths below ``directory``; links as well, since C follows them."""
    for folder, folders, names in os.walk(directory):
        if Path(folder) == directory:
            folders[:] = [name for name in folders if name not in without]
        for name in names:
            if _C.fullmatch(name) and Path(folder, name).is_file():
                yield str(Path(folder, name).relative_to(directory))


def _asks(path: Path) -> bool:
    """Whether a file asks for what is no part of the state."""
    if _LINKED.fullmatch(path.name):
        return False
    text = path.read_bytes()
    names = (name.decode("utf-8", "replace").rpartition("/")[2] for name in _INCLUDE.findall(text))
    return bool(_UNKNOWN_TO_GO.search(text)) or not all(_C.fullmatch(name) for name in names)


def _module_asks(store: Store, module: Module) -> bool:
    """The same of a module; its files never change, so the answer is kept."""
    name = hashlib.sha256(f"{_RULES} {module.h1}".encode()).hexdigest()
    known = store.get_json(_KIND, name)
    if isinstance(known, bool):
        return known
    folder = module_cache(store) / module.directory
    found = any(_asks(folder / path) for path in _c_files(folder))
    store.put_json(_KIND, name, found)
    return found


def superseded(caches: Path, builders: Collection[str]) -> Iterator[Path]:
    """Caches below ``caches`` that no build will take: of other builders, and all of a component but the last used one."""
    for builder in sorted(caches.iterdir()) if caches.is_dir() else ():
        if builder.name not in builders:
            yield builder
            continue
        newest: dict[str, Path] = {}
        for path in sorted(builder.iterdir(), key=lambda each: each.stat().st_mtime):
            component = path.name.rpartition("-")[0]
            if component in newest:
                yield newest[component]
            newest[component] = path
