"""What a recipe must hold beyond types: names, references between its parts, variables. Pure; no file is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kubewright.model.image_model import problems_of_image
from kubewright.model.recipe_model import TAG, GoStep, Recipe, Source, Step, has_main_module
from kubewright.model.schema import KeyPath, Problem
from kubewright.model.template import EARLY_WITH_ARGUMENT, recipe_context, variables

#: folders of artifacts/ that hold other things than a component's outputs
RESERVED: Final = ("attestations", "bundles", "images", "mirror", "release")


def problems_of(recipe: Recipe, folder: str) -> Iterator[Problem]:
    """Every rule that ``recipe`` breaks; ``folder`` is the name of the folder that holds it."""
    if recipe.name in RESERVED:
        yield Problem(("name",), f"{recipe.name!r} is the name of another folder of artifacts/", "choose another name")
    if recipe.name != folder:
        yield Problem(("name",), f"{recipe.name!r} is not the folder's name {folder!r}", "rename one of the two")
    yield from _sources(recipe)
    for index, step in enumerate(recipe.steps):
        yield from _step(recipe, step, ("step", index))
    yield from _outputs(recipe)
    yield from _smokes(recipe)
    yield from _manifests(recipe)
    yield from _placements(recipe)
    yield from _platforms(recipe)
    yield from _images(recipe)
    for path, text in templates(recipe):
        if "{" in text:
            yield from _variables(recipe, path, text)


def executable_name(package: str) -> str:
    """The name that `go build` gives a package's program: its last element, or the one before a v2, v3, ...

    https://pkg.go.dev/cmd/go#hdr-Compile_packages_and_dependencies; '' for '.', which is named by its module.
    """
    elements = [element for element in package.split("/") if element not in ("", ".")]
    if len(elements) > 1 and re.fullmatch(r"v(1[0-9]+|[2-9][0-9]*)", elements[-1]):
        return elements[-2]
    return elements[-1] if elements else ""


def templates(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Every string in which variables may stand, with its key path."""
    for index, source in enumerate(recipe.sources):
        for key in ("version", "tag", "url"):
            yield ("source", index, key), getattr(source, key)
        yield from _strings(("source", index, "replace"), source.replace)
        for path, texts in source.facts.items():
            yield from _strings(("source", index, "facts", path), texts)
    for index, step in enumerate(recipe.steps):
        yield from _strings(("step", index, "run"), step.run)
        yield from _strings(("step", index, "env"), step.env)
        if step.go:
            yield from _strings(("step", index, "go", "variables"), step.go.variables)
            yield from _strings(("step", index, "go", "ldflags"), step.go.ldflags)
            yield from _strings(("step", index, "go", "env"), step.go.env)
    for index, smoke in enumerate(recipe.smokes):
        yield from _strings(("smoke", index, "run"), smoke.run)
        yield from _strings(("smoke", index, "expect"), smoke.expect)
    for index, manifest in enumerate(recipe.manifests):
        yield from _strings(("manifest", index, "replace"), manifest.replace)
    for index, image in enumerate(recipe.images):
        yield ("image", index, "reference"), image.reference


def named_components(recipe: Recipe) -> dict[str, KeyPath]:
    """The components of whose version the recipe takes something, ``{version:NAME}``, each with one place that does."""
    found: dict[str, KeyPath] = {}
    for path, text in templates(recipe):
        for name in variables(text) if "{" in text else ():
            head, _, argument = name.partition(":")
            if head in EARLY_WITH_ARGUMENT and argument:
                found.setdefault(argument, path)
    return found


def _strings(path: KeyPath, values: Mapping[str, str] | tuple[str, ...]) -> Iterator[tuple[KeyPath, str]]:
    for key, text in values.items() if isinstance(values, Mapping) else enumerate(values):
        yield (*path, key), text


def _repeated(items: Iterable[tuple[KeyPath, str]], what: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, item in items:
        if item in seen:
            yield Problem(path, f"{what} {item!r} is there twice", "give each its own")
        seen.add(item)


def _sources(recipe: Recipe) -> Iterator[Problem]:
    names = ((("source", index, "name"), source.name or recipe.name) for index, source in enumerate(recipe.sources))
    yield from _repeated(names, "the source name")
    patches = (
        (("source", at, "patch", index, "file"), patch.file)
        for at, source in enumerate(recipe.sources)
        for index, patch in enumerate(source.patches)
    )
    yield from _repeated(patches, "the patch")
    for index, source in enumerate(recipe.sources):
        yield from _source(source, ("source", index))
    if "{module:" in recipe.sources[0].tag:
        yield Problem(("source", 0, "tag"), "the main source's tag cannot depend on its own go.mod", "write the tag")


def _source(source: Source, path: KeyPath) -> Iterator[Problem]:
    if source.subdirectory and not source.module:
        message = "says where a module lives, but the source names no module"
        yield Problem((*path, "subdirectory"), message, "add `module`, or remove the key")
    if source.branch and source.tag != TAG:
        yield Problem((*path, "branch"), f"a source is at a branch or at the tag {source.tag!r}, not both", "remove one")
    if source.branch and source.signed_by:
        yield Problem((*path, "signed_by"), "a branch has no signature", "name a tag, or remove the key")
    if source.facts and source.form == "module" and not (source.unpack or source.patches):
        yield Problem((*path, "facts"), "the module's files are not laid out", "add unpack = true")


def _step(recipe: Recipe, step: Step, path: KeyPath) -> Iterator[Problem]:
    if step.go:
        for key, value, remedy in (("dir", step.dir, "write go.dir"), ("env", step.env, "write go.env")):
            if value:
                yield Problem((*path, key), "belongs to `run`", remedy)
        if step.stdout:
            yield Problem((*path, "stdout"), "belongs to `run`", "remove it: a go step's output is its programs")
        yield from _go(recipe, step.go, (*path, "go"))


def _go(recipe: Recipe, go: GoStep, path: KeyPath) -> Iterator[Problem]:
    names = (
        ((*path, "commands", output), executable_name(package))
        for output, package in go.commands.items()
        if executable_name(package)
    )
    for problem in _repeated(names, "one step makes two programs; the name"):
        yield Problem(problem.path, problem.message, "put one of the packages into a step of its own")
    if not go.dir and not any(source.module for source in recipe.sources):
        message = "builds in the generated main module, but no source names a Go module"
        yield Problem(path, message, "set go.dir to a folder below src/, or `module` in a [[source]]")
    if go.test and len(go.commands) > 1:
        message = "the tests of one package make one program; there are several packages"
        yield Problem((*path, "commands"), message, "put each into a step of its own")
    for variable in go.variables:
        if "." not in variable.rpartition("/")[2]:
            message = "is not PACKAGE.NAME, such as k8s.io/component-base/version.gitVersion"
            yield Problem((*path, "variables", variable), message)


def _outputs(recipe: Recipe) -> Iterator[Problem]:
    yield from _repeated(((("output", at, "path"), item.path) for at, item in enumerate(recipe.outputs)), "the output")
    for at, item in enumerate(recipe.outputs):
        tree = _tree_above(recipe, item.path)
        if tree:
            message = f"{item.path!r} is inside the output {tree!r}"
            yield Problem(("output", at, "path"), message, "remove it: the tree has it already")
    commands: list[tuple[KeyPath, str]] = []
    for at, step in enumerate(recipe.steps):
        commands += [(("step", at, "go", "commands", name), name) for name in (step.go.commands if step.go else ())]
    yield from _repeated(commands, "the command")
    programs = {item.path for item in recipe.outputs if item.kind == "program"}
    for path, name in commands:
        if name not in programs and not _tree_above(recipe, name):
            message = f"no output declares the program {name!r}"
            yield Problem(path, message, f'add [[output]] path = "{name}"')


def _tree_above(recipe: Recipe, path: str) -> str:
    trees = (item.path for item in recipe.outputs if item.kind == "tree")
    return next((tree for tree in trees if path.startswith(f"{tree}/")), "")


def _smokes(recipe: Recipe) -> Iterator[Problem]:
    programs = sorted(item.path for item in recipe.outputs if item.kind == "program")
    for at, smoke in enumerate(recipe.smokes):
        program = smoke.run[0]
        if program not in programs and not _tree_above(recipe, program):
            message = f"{program!r} is no output of kind program"
            yield Problem(("smoke", at, "run", 0), message, f"the programs are: {', '.join(programs) or 'none'}")


def _manifests(recipe: Recipe) -> Iterator[Problem]:
    files = sorted(item.path for item in recipe.outputs if item.kind == "file")
    names = (((("manifest", at, "output"), item.output)) for at, item in enumerate(recipe.manifests))
    yield from _repeated(names, "the manifest")
    for at, item in enumerate(recipe.manifests):
        if item.output not in files:
            message = f"{item.output!r} is no output of kind file"
            yield Problem(("manifest", at, "output"), message, f"the files are: {', '.join(files) or 'none'}")


def _placements(recipe: Recipe) -> Iterator[Problem]:
    targets: list[tuple[KeyPath, str]] = [(("overlay", at, "to"), item.to) for at, item in enumerate(recipe.overlays)]
    targets += [(("input", at, "to"), item.to) for at, item in enumerate(recipe.inputs)]
    targets += [(("links", link), link) for link in recipe.links]
    yield from _repeated(targets, "the place")
    targets += [(("package", at, "to"), item.to) for at, item in enumerate(recipe.packages)]
    trees = {item.path for item in recipe.outputs if item.kind == "tree"}
    for path, target in targets:
        in_tree = target.removeprefix("out/") in trees or _tree_above(recipe, target.removeprefix("out/"))
        if target.split("/")[0] == "out" and not in_tree:
            remedy = "lay it elsewhere and copy it with a step; only an output of kind tree may hold it as it is"
            yield Problem(path, f"{target!r} would be an output", remedy)
    for at, item in enumerate(recipe.inputs):
        if item.component == recipe.name:
            yield Problem(("input", at, "component"), "a component cannot be its own input")


def _platforms(recipe: Recipe) -> Iterator[Problem]:
    yield from _repeated(((("platforms", at), item) for at, item in enumerate(recipe.platforms)), "the platform")


def _images(recipe: Recipe) -> Iterator[Problem]:
    yield from _repeated(((("image", at, "name"), item.name) for at, item in enumerate(recipe.images)), "the image")
    outputs = {output.path: output.kind for output in recipe.outputs}
    for at, image in enumerate(recipe.images):
        yield from problems_of_image(image, recipe.name, outputs, ("image", at))


def _has_go_mod(recipe: Recipe, path: KeyPath) -> bool:
    main = recipe.sources[0]
    laid = main.form == "tree" or (main.form == "module" and (main.unpack or bool(main.patches)))
    return laid or (path[-1] != "tag" and has_main_module(recipe))


def _is_path(text: str) -> bool:
    return not text.startswith("/") and not {"", ".", ".."} & {*text.split("/")}


def _variables(recipe: Recipe, path: KeyPath, text: str) -> Iterator[Problem]:
    for name in variables(text):
        head, _, argument = name.partition(":")
        sources = [source.name or recipe.name for source in recipe.sources]
        if head == "commit" and argument and argument not in sources:
            yield Problem(path, f"{{{name}}} names no source", f"the sources are: {', '.join(sources)}")
        if head == "module" and not _has_go_mod(recipe, path):
            message = f"{{{name}}} needs a go.mod: recipes/{recipe.name}/go.mod, or the main source's among its files"
            yield Problem(path, message, "build in the generated main module, or make the main source one of form tree")
        if head == "sha256" and not _is_path(argument):
            yield Problem(path, f"{{{name}}} names no path", "write it relative to /build")
        if head in ("major", "minor", "patch") and not argument and head not in recipe_context(recipe.version):
            yield Problem(path, f"{{{name}}} is not part of the version {recipe.version!r}")
