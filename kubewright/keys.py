"""Cache keys: what decides the bytes of a component's outputs, and nothing else, as one digest.

Pure functions of recipe, lock and the keys of what a component needs. Golden files in tests/ pin them: a change of key is a
decision, and ``PROCEDURE`` is how our own code takes one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from kubewright.canonical import canonical_digest
from kubewright.model.lockfile import LockedBuilder, LockedComponent, LockedSource
from kubewright.model.recipe import Recipe, Source, Step

#: raised whenever this program comes to build other bytes from the same recipe and lock
PROCEDURE = 1


def component_key(
    recipe: Recipe, locked: LockedComponent, builder: LockedBuilder, platform: str, dependencies: Mapping[str, str]
) -> str:
    """The key of one component for one platform; ``dependencies`` are the keys of the components in its ``[[input]]``."""
    return canonical_digest(
        {
            "procedure": PROCEDURE,
            "platform": platform,
            "name": recipe.name,
            "version": recipe.version,
            "steps": [_step(step) for step in recipe.steps],
            "outputs": [dataclasses.asdict(output) for output in recipe.outputs],
            "overlays": [dataclasses.asdict(overlay) for overlay in recipe.overlays],
            "inputs": [dataclasses.asdict(each) for each in recipe.inputs],
            "sources": [_source(source, pin) for source, pin in zip(recipe.sources, locked.sources, strict=True)],
            "files": {file.path: [file.sha256, file.executable] for file in locked.files},
            "builder": builder_digest(builder),
            "dependencies": dict(dependencies),
            **_younger(recipe, locked),
        }
    )


def _younger(recipe: Recipe, locked: LockedComponent) -> dict[str, object]:
    """What recipes could not say at first: absent where it is not used, so that no key changed when it came."""
    found = {
        "packages": [dataclasses.asdict(each) for each in recipe.packages],
        "links": dict(recipe.links),
        "modules": dict(locked.modules),
    }
    return {name: value for name, value in found.items() if value}


def builder_digest(builder: LockedBuilder) -> str:
    """A build environment: its toolchains for every host (all build the same bytes) and its root file system."""
    return canonical_digest(
        {
            "toolchains": {each.platform: [each.version, each.h1] for each in builder.toolchains},
            "packages": [[each.name, each.version, each.architecture, each.sha256] for each in builder.packages],
            "root": builder.root,
        }
    )


def smoke_digest(recipe: Recipe) -> str:
    """The smoke checks: not part of the key, since they decide no byte; a record says which ones passed."""
    return canonical_digest([dataclasses.asdict(smoke) for smoke in recipe.smokes])


def source_content(pin: LockedSource) -> str:
    """What a source's bytes are pinned by."""
    return pin.sha256 or f"{pin.module}@{pin.version} {pin.h1}"


def _step(step: Step) -> object:
    """Without what was added to steps later, where it is not used: keys of older recipes stay as they are."""
    found = dataclasses.asdict(step)
    if not step.stdout:
        del found["stdout"]
    if step.go and not step.go.test:
        del found["go"]["test"]
    return found


def _source(source: Source, pin: LockedSource) -> object:
    return [
        source.name,
        source_content(pin),
        pin.commit,
        pin.source_date,
        {"unpack": source.unpack, "strip": source.strip, "patches": [patch.file for patch in source.patches]},
    ]
