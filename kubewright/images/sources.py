"""Files of a component's main source that its image has: verified like any input before they are read."""

from __future__ import annotations

from pathlib import Path

from kubewright.building.inputs import ensure_inputs
from kubewright.building.outputs import inside
from kubewright.errors import RecipeError
from kubewright.fetch import gomodule
from kubewright.fetch.gomodule import Module, module_cache
from kubewright.project import Component, Project
from kubewright.report import Progress

_MOST = 4 << 20


def source_file(project: Project, component: Component, wanted: str, progress: Progress) -> bytes:
    """A file of the main source, as upstream has it. Raises RecipeError when it is not there, and the errors of inputs."""
    path = inside(_tree(project, component, progress), wanted)
    if not path.is_file() or path.stat().st_size > _MOST:
        raise RecipeError(
            f"recipes/{component.name}/recipe.toml: image: the main source has no file {wanted} of at most {_MOST >> 20} MiB",
            remedy="correct `source_files`; paths are relative to the source's root",
        )
    return path.read_bytes()


def _tree(project: Project, component: Component, progress: Progress) -> Path:
    source, pin = component.recipe.sources[0], component.locked.sources[0]
    if source.form != "module":
        return ensure_inputs(project, component, progress).trees[source.name]
    module = Module(pin.module, pin.version, pin.h1)
    if gomodule.extracted(project.store, module):
        gomodule.verify(project.store, [module])
    else:
        ensure_inputs(project, component, progress)
    return module_cache(project.store) / module.directory
