"""Which images there are, what each is made of, and the key that says so. Pure functions of recipes and lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from kubewright import keys
from kubewright.canonical import canonical_digest
from kubewright.errors import LockOutdatedError, RecipeError, UsageError
from kubewright.model.image_model import LATER, Image, components_of, output_of, wrong_output
from kubewright.model.lockfile import LockedBuilder, LockedPackage
from kubewright.model.recipe import Recipe
from kubewright.model.schema import KeyPath, Problem
from kubewright.project import Component, Project

#: raised whenever this program comes to assemble other bytes from the same recipe, lock and outputs
IMAGE_PROCEDURE: Final = 1
#: the builder whose package ``ca-certificates`` images have the certificates of
CERTIFICATES: Final = "image-certificates"


@dataclass(frozen=True, slots=True)
class Plan:
    """An image for one platform, with all that decides its bytes. ``components``: those whose outputs it holds, by name."""

    image: Image
    component: Component
    components: Mapping[str, Component]
    packages: tuple[LockedPackage, ...]
    certificates: LockedPackage | None
    annotations: Mapping[str, str]
    key: str

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def platform(self) -> str:
        return self.component.platform

    @property
    def version(self) -> str:
        return self.image.version or self.component.recipe.version

    @property
    def source_date(self) -> int:
        """Seconds since 1970 of the component's main source."""
        return self.component.locked.sources[0].source_date

    @property
    def label(self) -> str:
        return f"image {self.name} {self.version} {self.platform}"

    @property
    def task(self) -> str:
        """What its task is called on this machine, after ``image:``."""
        return self.component.task.replace(self.component.name, self.name, 1)


def images(project: Project) -> dict[str, Recipe]:
    """Image -> the recipe that has it, sorted by name."""
    found = {image.name: recipe for recipe in project.recipes.values() for image in recipe.images}
    return dict(sorted(found.items()))


def recipe_of(project: Project, name: str) -> Recipe:
    """Raises UsageError with a suggestion."""
    known = images(project)
    if name not in known:
        near = get_close_matches(name, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
        raise UsageError(f"there is no image {name!r} in recipes/", remedy=remedy)
    return known[name]


def directory(project: Project, plan: Plan) -> Path:
    """Where people find its OCI layout."""
    return project.root / "artifacts" / "images" / plan.name / plan.version / plan.platform.replace("/", "-")


def plan_image(project: Project, name: str, platform: str | None = None) -> Plan:
    """The image with its key. Raises UsageError, RecipeError, LockOutdatedError, and those of ``Project.component``."""
    recipe = recipe_of(project, name)
    image = next(each for each in recipe.images if each.name == name)
    component = project.component(recipe.name, platform)
    others = {each: project.component(each, component.platform) for each in components_of(image, recipe.name)}
    root = project.locked_builder(image.root) if image.root else None
    packages = _packages(image.root, root, component.platform) if root else ()
    certificates = _certificates(project) if image.certificates else None
    annotations = _annotations(image, component)
    key = image_key(image, component, others, packages, certificates, annotations)
    return Plan(image, component, others, packages, certificates, annotations, key)


def image_key(
    image: Image,
    component: Component,
    others: Mapping[str, Component],
    packages: tuple[LockedPackage, ...],
    certificates: LockedPackage | None,
    annotations: Mapping[str, str],
) -> str:
    """What decides the bytes of an image, and nothing else, as one digest."""
    main = component.locked.sources[0]
    return canonical_digest(
        {
            "procedure": IMAGE_PROCEDURE,
            "platform": component.platform,
            "image": {key: said for key, said in dataclasses.asdict(image).items() if said or key not in LATER},
            "components": {name: other.key for name, other in others.items()},
            "packages": [[each.name, each.version, each.architecture, each.sha256] for each in packages],
            "certificates": certificates.sha256 if certificates else "",
            "source_dates": {name: other.locked.sources[0].source_date for name, other in others.items()},
            "source": keys.source_content(main) if image.source_files else "",
            "annotations": dict(annotations),
        }
    )


def _packages(name: str, root: LockedBuilder, platform: str) -> tuple[LockedPackage, ...]:
    architecture = platform.partition("/")[2]
    for package in root.packages:
        if package.architecture not in ("all", architecture):
            message = f"builder {name} has {package.name} for {package.architecture}, and the image is for {platform}"
            raise LockOutdatedError(message, remedy=f"lock it on a machine of that kind: ./doit lock:{name}")
    return tuple(sorted(root.packages, key=lambda package: package.name))


def _certificates(project: Project) -> LockedPackage:
    locked = project.locked_builder(CERTIFICATES)
    found = next((each for each in locked.packages if each.name == "ca-certificates"), None)
    if found is None:
        message = f"builder {CERTIFICATES} has no package ca-certificates in lockfile.toml"
        raise LockOutdatedError(message, remedy=f"name it in builders/{CERTIFICATES}.toml, then ./doit lock:{CERTIFICATES}")
    return found


def _annotations(image: Image, component: Component) -> dict[str, str]:
    """https://github.com/opencontainers/image-spec/blob/main/annotations.md; what nobody confirmed is not there."""
    recipe, main = component.recipe, component.locked.sources[0]
    found = {
        "created": component.source_date_iso,
        "description": image.summary or recipe.summary,
        "licenses": image.licence or recipe.licence,
        "title": image.name,
        "version": image.version or recipe.version,
    }
    if image.files:  # else nothing of the component is in it
        found |= {"revision": main.commit, "source": main.git or recipe.sources[0].git, "url": recipe.homepage}
    return {f"org.opencontainers.image.{name}": value for name, value in found.items() if value}


# -- references between recipes -----------------------------------------------------------------------------------


def check_references(project: Project) -> None:
    """That image names are unique and what images name is there: tasks are made of it. Raises RecipeError."""
    owners: dict[str, str] = {}
    for recipe in project.recipes.values():
        for at, image in enumerate(recipe.images):
            other = owners.setdefault(image.name, recipe.name)
            if other != recipe.name:
                message = f"recipes/{recipe.name}/recipe.toml: image[{at}].name: {image.name!r} is an image of {other} too"
                raise RecipeError(message, remedy="give each its own name")
            for problem in problems(image, recipe, project.recipes, set(project.builders), ("image", at)):
                raise RecipeError(f"recipes/{recipe.name}/recipe.toml: {problem}", remedy=problem.remedy)
    for stack in project.stacks.values():
        for reference, name in stack.names.items():
            if owners.get(name) not in stack.components:
                known = sorted(image for image, recipe in owners.items() if recipe in stack.components)
                message = f"stacks/{stack.name}.toml: names.{reference!r}: there is no image {name!r} of its components"
                raise RecipeError(message, remedy=f"known: {', '.join(known) or 'none'}")


def problems(
    image: Image, recipe: Recipe, recipes: Mapping[str, Recipe], builders: set[str], path: KeyPath
) -> Iterator[Problem]:
    """What is wrong with what an image names in other files."""
    wanted = [(image.root, (*path, "root"))] if image.root else []
    wanted += [(CERTIFICATES, (*path, "certificates"))] if image.certificates else []
    for builder, where in wanted:
        if builder not in builders:
            near = get_close_matches(builder, builders, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(builders))}"
            yield Problem(where, f"there is no builders/{builder}.toml", remedy)
    for place, name in image.files.items():
        component, output = output_of(name, recipe.name)
        where = (*path, "files", place)
        if component not in recipes:
            yield Problem(where, f"there is no recipes/{component}", "correct the name, or add the recipe")
        elif component != recipe.name:
            other = recipes[component]
            yield from wrong_output({each.path: each.kind for each in other.outputs}, component, output, where)
            missing = sorted({*recipe.platforms} - {*other.platforms})
            if missing:
                yield Problem(
                    where, f"{component} is not built for {missing[0]}, as {recipe.name} is", "add the platform there"
                )
