"""The facts of an image's bill of materials: its layers, and what is in each of them.

A component's layer holds what is linked into its outputs, a package's layer that package, and what was made here of a recipe
holds nothing of others. Package by package and module by module, as the components' own bills of materials say it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from kubewright import __version__
from kubewright.images.plan import CERTIFICATES, Plan
from kubewright.images.record import ImageRecord, RecordedLayer
from kubewright.model.image_model import output_of
from kubewright.model.lockfile import LockedPackage
from kubewright.project import Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.sbom import purl
from kubewright.sbom.facts import Facts, Ingredient, OutputFacts
from kubewright.sbom.gather import gather
from kubewright.sbom.ingredients import component_ref
from kubewright.sbom.licences import Licence
from kubewright.sbom.packages import PackageLicences, package_ref


def gather_image(
    project: Project, plan: Plan, made: ImageRecord, builds: Mapping[str, BuildRecord], progress: Progress
) -> Facts:
    """``builds``: of each component whose outputs are in the image. Raises what gathering a component's facts raises."""
    parts = {name: _part(gather(project, plan.components[name], builds[name], progress), plan) for name in sorted(builds)}
    licences = PackageLicences(project, progress)
    packages = {each.ref: each for each in _packages(project, plan, licences)}
    known = packages | {each.ref: each for part in parts.values() for each in part.ingredients}
    known |= {each.ref: each for each in _components(plan, made)}
    recipe, image = plan.component.recipe, plan.image
    return Facts(
        name=plan.name,
        version=plan.version,
        platform=plan.platform,
        summary=image.summary or recipe.summary,
        licence=image.licence or recipe.licence,
        homepage=recipe.homepage,
        key=plan.key,
        source_date=plan.source_date,
        tool=__version__,
        purl=purl.oci(plan.name, made.manifest, made.reference),
        outputs=tuple(_layer(layer, plan, parts) for layer in made.layers),
        ingredients=tuple(known[ref] for ref in sorted(known)),
        unused=(),
        texts={**licences.texts, **{digest: text for part in parts.values() for digest, text in part.texts.items()}},
        kind="image",
        sha256=made.manifest.removeprefix("sha256:"),
    )


def _part(facts: Facts, plan: Plan) -> Facts:
    """The facts of a component for those of its outputs that are in the image. Names are the component's own: one module may be
    in two components with other folders of it linked, so with other licences."""
    wanted = {output for component, output in _taken(plan) if component == facts.name}
    outputs = tuple(each for each in facts.outputs if each.path in wanted)
    held = {ref for output in outputs for ref in output.contains}
    several = len(plan.components) > 1
    names = {ref: f"{ref}#{facts.name}" if several else ref for ref in held}
    return dataclasses.replace(
        facts,
        outputs=tuple(
            dataclasses.replace(each, contains=tuple(sorted(names[ref] for ref in each.contains))) for each in outputs
        ),
        ingredients=tuple(dataclasses.replace(each, ref=names[each.ref]) for each in facts.ingredients if each.ref in held),
    )


def _taken(plan: Plan) -> Iterator[tuple[str, str]]:
    for text in plan.image.files.values():
        yield output_of(text, plan.component.name)


def _layer(layer: RecordedLayer, plan: Plan, parts: Mapping[str, Facts]) -> OutputFacts:
    contains: tuple[str, ...] = ()
    details: list[tuple[str, str]] = [("layer", layer.kind)]
    complete = True
    if layer.kind in ("package", "certificates"):
        contains = (package_ref(layer.name),)
        complete = False  # a package does not say what is linked into its programs
    elif layer.kind == "component":
        outputs = parts[layer.name].outputs
        contains = tuple(sorted({component_ref(layer.name), *(ref for each in outputs for ref in each.contains)}))
        complete = all(each.complete for each in outputs)
        details += [
            ("file", f"{path} sha256:{each.sha256}") for each in outputs for path in _paths(plan, layer.name, each.path)
        ]
    elif layer.kind == "source":
        contains = (component_ref(layer.name),)
        details += [("source-file", f"{path} {digest}") for path, digest in sorted(layer.inputs.items())]
    path = f"{layer.kind}/{layer.name}"
    return OutputFacts(path, "layer", layer.digest.removeprefix("sha256:"), layer.size, contains, complete, tuple(details))


def _paths(plan: Plan, component: str, output: str) -> list[str]:
    return sorted(
        path for path, text in plan.image.files.items() if output_of(text, plan.component.name) == (component, output)
    )


def _components(plan: Plan, made: ImageRecord) -> Iterator[Ingredient]:
    """The components themselves, under the licence that upstream gives its own code."""
    for name in sorted({layer.name for layer in made.layers if layer.kind in ("component", "source")}):
        component = plan.components[name]
        outputs = next((layer.inputs for layer in made.layers if (layer.kind, layer.name) == ("component", name)), {})
        yield Ingredient(
            ref=component_ref(name),
            kind="component",
            name=name,
            version=component.recipe.version,
            purl=purl.generic(name, component.recipe.version),
            licence=Licence(component.recipe.licence, ()),
            details=(("key", component.key), *((f"output:{path}", digest) for path, digest in sorted(outputs.items()))),
        )


def _packages(project: Project, plan: Plan, licences: PackageLicences) -> Iterator[Ingredient]:
    for builder, packages in _builders(plan):
        yield from licences.of(builder, project.locked_builder(builder), packages)


def _builders(plan: Plan) -> Iterator[tuple[str, tuple[LockedPackage, ...]]]:
    if plan.packages:
        yield plan.image.root, plan.packages
    if plan.certificates:
        yield CERTIFICATES, (plan.certificates,)
