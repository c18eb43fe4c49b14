"""SLSA provenance v1 of an image, from its record and the lock. Specified in docs/build-type-image-v1.md.

A pure function: the same image of the same builds gives one statement, byte for byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from kubewright.canonical import canonical_digest
from kubewright.files.digest import sha256_hex
from kubewright.images.plan import CERTIFICATES, Plan
from kubewright.images.record import ImageRecord, RecordedLayer
from kubewright.model.lockfile import LockedPackage
from kubewright.project import Project
from kubewright.record import BuildRecord
from kubewright.sbom import purl
from kubewright.trust.provenance import descriptor, invocation, recipe_of, sources_of
from kubewright.verify.image_provenance import BUILD_TYPE, BUILDER
from kubewright.verify.statement import PROVENANCE, TYPE

Json = dict[str, Any]


def statement(project: Project, plan: Plan, made: ImageRecord, builds: Mapping[str, BuildRecord]) -> Json:
    """The provenance of ``made``. ``builds``: of each component whose outputs are in it."""
    return about(
        made,
        PROVENANCE,
        {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _external(plan),
                "internalParameters": {"config": made.config, "layers": [_layer(plan, layer) for layer in made.layers]},
                "resolvedDependencies": _dependencies(project, plan, made, builds),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"kubewright": made.kubewright}},
                "metadata": {"invocationId": _invocation(made, builds)},
            },
        },
    )


def about(made: ImageRecord, predicate_type: str, predicate: Any) -> Json:
    """A statement with the image's manifest as its subject."""
    return {
        "_type": TYPE,
        "subject": [{"name": made.reference, "digest": {"sha256": sha256_hex(made.manifest)}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def _external(plan: Plan) -> Json:
    found = {
        "image": plan.name,
        "component": plan.component.name,
        "version": plan.version,
        "platform": plan.platform,
        "key": plan.key,
        "reference": plan.image.reference,
        "recipe": f"recipes/{plan.component.name}/recipe.toml",
    }
    return found | {"root": plan.image.root} if plan.image.root else found


def _layer(plan: Plan, layer: RecordedLayer) -> Json:
    found: Json = {"kind": layer.kind, "name": layer.name, "digest": layer.digest, "size": layer.size}
    inputs = sorted(_input_names(plan, layer))
    return found | {"inputs": inputs} if inputs else found


def _input_names(plan: Plan, layer: RecordedLayer) -> Iterator[str]:
    """How resolvedDependencies call what is in a layer."""
    for name in layer.inputs:
        if layer.kind == "component":
            yield f"{layer.name}/{name}"
        elif layer.kind == "source":
            yield f"{plan.component.recipe.sources[0].name}:{name}"
        else:
            yield name


def _dependencies(project: Project, plan: Plan, made: ImageRecord, builds: Mapping[str, BuildRecord]) -> list[Json]:
    found = [*_packages(project, plan), recipe_of(project, plan.component)]
    for layer in made.layers:
        if layer.kind == "component":
            key = f"urn:kubewright:key:{plan.components[layer.name].key}"
            for name, digest in layer.inputs.items():
                found.append(descriptor("component", f"{layer.name}/{name}", {"sha256": sha256_hex(digest)}, key))
        elif layer.kind == "source":
            source = plan.component.recipe.sources[0].name
            for name, digest in layer.inputs.items():
                found.append(descriptor("file", f"{source}:{name}", {"sha256": sha256_hex(digest)}, source=source))
            main = [each for each in sources_of(builds[plan.component.name]) if each["name"] == source]
            found += [each for each in main if each["annotations"]["kubewright_kind"] == "source"]
    return sorted(found, key=lambda each: (each["annotations"]["kubewright_kind"], each["name"]))


def _packages(project: Project, plan: Plan) -> Iterator[Json]:
    for package in plan.packages:
        yield _package(package, project.locked_builder(plan.image.root).suite)
    if plan.certificates and plan.certificates not in plan.packages:
        yield _package(plan.certificates, project.locked_builder(CERTIFICATES).suite)


def _package(package: LockedPackage, suite: str) -> Json:
    uri = purl.deb(package.name, package.version, package.architecture, suite)
    return descriptor("package", package.label, {"sha256": package.sha256}, uri)


def _invocation(made: ImageRecord, builds: Mapping[str, BuildRecord]) -> str:
    """Assembling is a function, so what two operators did apart from each other are the builds that they assembled."""
    of_builds = {name: invocation(each) for name, each in sorted(builds.items())}
    return f"urn:kubewright:assembly:{canonical_digest({'image': dataclasses.asdict(made), 'builds': of_builds})}"
