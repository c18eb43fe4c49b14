"""Write the manifests of a component's images into digests.toml, once two assemblies agree."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubewright.errors import IrreproducibleError
from kubewright.images.assemble import assemble
from kubewright.images.plan import Plan, plan_image
from kubewright.images.record import ImageRecord
from kubewright.model.digestsfile import FILE, dump_digests, load_digests, with_accepted
from kubewright.project import Component, Project
from kubewright.report import Progress
from kubewright.store import replace_file


def accept_images(project: Project, component: Component, progress: Progress) -> None:
    """Assemble each image of the component twice, elsewhere and under another umask, and write what both gave.

    Raises IrreproducibleError where they differ, or where digests.toml has no outputs of this very component to go with.
    """
    plans = [plan_image(project, image.name, component.platform) for image in component.recipe.images]
    if not plans:
        return
    for plan in plans:
        _require_accepted(project, plan)
    manifests = {plan.name: assemble_twice(project, plan, progress).manifest for plan in plans}
    path = project.root / FILE
    with project.store.lock("digests", f"writing {path}"):
        old = load_digests(path)
        before = old.find(component.name, component.platform)
        if before is None or before.key != component.key:
            raise _not_accepted(component)
        keys = {plan.name: plan.key for plan in plans}
        entry = dataclasses.replace(before, images=manifests, image_keys=keys)
        for name, manifest in manifests.items():
            if before.images.get(name) != manifest:
                progress.note(f"image {name}: {before.images.get(name, 'new')} -> {manifest}")
        replace_file(path, dump_digests(with_accepted(old, component.name, component.platform, entry)).encode())
    project.reload()


def assemble_twice(project: Project, plan: Plan, progress: Progress) -> ImageRecord:
    """Two assemblies from the same inputs that share nothing else. Raises IrreproducibleError that names the first layer that
    differs."""
    with project.store.scratch("accept") as scratch:
        first = assemble(project, plan, scratch / "one" / "layout", progress, remembered=False)
        with _other_conditions():
            second = assemble(project, plan, scratch / "another place" / "layout", progress, remembered=False)
    if first != second:
        layers = zip(first.layers, second.layers, strict=False)
        where = next((f"layer {one.kind} {one.name}" for one, other in layers if one != other), "its configuration")
        raise IrreproducibleError(
            f"{plan.label}: two assemblies differ, first in {where}",
            remedy="find what reaches it: time, path, order, umask; nothing was accepted",
        )
    return first


@contextmanager
def _other_conditions() -> Iterator[None]:
    here = Path.cwd()
    umask = os.umask(0o077)
    os.chdir("/")
    try:
        yield
    finally:
        os.chdir(here)
        os.umask(umask)


def _require_accepted(project: Project, plan: Plan) -> None:
    for component in plan.components.values():
        accepted = project.digests.find(component.name, component.platform)
        if accepted is None or accepted.key != component.key:
            raise _not_accepted(component)


def _not_accepted(component: Component) -> IrreproducibleError:
    return IrreproducibleError(
        f"{component.label} is not in digests.toml under the key of now, so no image of it can be",
        remedy=f"./doit build:{component.task} rebuild:{component.task} accept:{component.task}",
    )
