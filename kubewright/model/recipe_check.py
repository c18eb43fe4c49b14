"""`kubewright recipe check` and `recipe new`: every problem of a recipe at once, and a commented starting point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubewright.errors import KubewrightError, RecipeError
from kubewright.model import tomlfile
from kubewright.model.builder import Builder, load_builder
from kubewright.model.decode import decode
from kubewright.model.recipe import FILE, Input, Recipe, load_recipe, sibling_version
from kubewright.model.recipe_rules import named_components, problems_of
from kubewright.model.schema import Problem, show_path


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. ``where`` is file:line, ``key`` the key path ('' for the whole file)."""

    where: str
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.where}: {key}{self.message}" + (f"\n    {self.remedy}" if self.remedy else "")


def check_recipe(path: Path, root: Path | None = None) -> list[Finding]:
    """Every problem of the recipe in ``path``, none when it is good. ``path`` may name its folder.

    With ``root``, the checkout, what the recipe refers to is looked up as well: builder, patches, overlays, other
    components' outputs. Default: the folder above recipes/NAME/, if the recipe lies so.
    """
    path = path / FILE if path.is_dir() else path
    try:
        document = tomlfile.read(path, RecipeError)
    except RecipeError as error:
        where, _, message = error.message.partition(": ")
        return [Finding(where, "", message, error.remedy)]
    problems: list[Problem] = []
    recipe = decode(Recipe, document.data, problems)
    if recipe is not None:
        problems += problems_of(recipe, path.absolute().parent.name)
        root = root or _checkout_of(path.absolute())
        if root is not None:
            problems += _references(recipe, root)
    return [_finding(document, problem) for problem in problems]


def _finding(document: tomlfile.Document, problem: Problem) -> Finding:
    return Finding(document.where(problem), show_path(problem.path), problem.message, problem.remedy)


def _checkout_of(path: Path) -> Path | None:
    folder = path.parent.parent
    return folder.parent if folder.name == "recipes" and (folder.parent / "builders").is_dir() else None


# -- what a recipe refers to ------------------------------------------------------------------------------------------


def _references(recipe: Recipe, root: Path) -> Iterator[Problem]:
    yield from _builder(recipe, root)
    for at, source in enumerate(recipe.sources):
        for index, patch in enumerate(source.patches):
            file = root / "patches" / recipe.name / patch.file
            if not file.is_file():
                message = f"there is no patches/{recipe.name}/{patch.file}"
                yield Problem(("source", at, "patch", index, "file"), message, "add it, or correct the name")
    for at, overlay in enumerate(recipe.overlays):
        if not (root / "recipes" / recipe.name / overlay.from_).exists():
            message = f"there is no recipes/{recipe.name}/{overlay.from_}"
            yield Problem(("overlay", at, "from"), message, "add it, or correct the name")
    for at, item in enumerate(recipe.inputs):
        yield from _input(recipe, item, at, root)
    for name, key in named_components(recipe).items():
        if not sibling_version(root / "recipes" / recipe.name / FILE, name):
            yield Problem(key, f"{{version:{name}}}: there is no recipes/{name} with a version", "correct the name")


def _builder(recipe: Recipe, root: Path) -> Iterator[Problem]:
    folder = root / "builders"
    known = sorted(path.stem for path in folder.glob("*.toml"))
    if recipe.builder not in known:
        yield Problem(("builder",), f"there is no builders/{recipe.builder}.toml", f"known: {', '.join(known) or 'none'}")
        return
    try:
        builder = load_builder(folder / f"{recipe.builder}.toml")
    except KubewrightError as error:
        yield Problem(("builder",), f"the builder is not valid: {error}", error.remedy)
    else:
        yield from _abilities(recipe, builder)


def _abilities(recipe: Recipe, builder: Builder) -> Iterator[Problem]:
    for at, step in enumerate(recipe.steps):
        if step.go and builder.go is None:
            yield Problem(("step", at, "go"), f"the builder {builder.name!r} has no Go toolchain", "name another builder")
        if step.go and step.go.cgo and builder.debian is None:
            remedy = "name a builder with [debian] packages, such as cgo"
            yield Problem(("step", at, "go", "cgo"), f"the builder {builder.name!r} has no C compiler", remedy)
        if step.run and not _finds(step.run[0], builder):
            remedy = "name a builder with [debian] packages, such as cgo"
            yield Problem(("step", at, "run"), f"the builder {builder.name!r} has no {step.run[0]!r}", remedy)


def _finds(program: str, builder: Builder) -> bool:
    """Whether a builder may have the program: a path is one of the build's own, an empty root has the toolchain alone."""
    return "/" in program or builder.debian is not None or (program == "go" and builder.go is not None)


def _input(recipe: Recipe, item: Input, at: int, root: Path) -> Iterator[Problem]:
    path = root / "recipes" / item.component / FILE
    if not path.is_file():
        yield Problem(("input", at, "component"), f"there is no recipes/{item.component}/{FILE}", "correct the name")
        return
    try:
        other = load_recipe(path)
    except KubewrightError as error:
        yield Problem(("input", at, "component"), f"its recipe is not valid: {error}", error.remedy)
        return
    outputs = [output.path for output in other.outputs]
    trees = tuple(f"{output.path}/" for output in other.outputs if output.kind == "tree")
    if item.output not in outputs and not item.output.startswith(trees or "\0"):
        message = f"{item.component} has no output {item.output!r}"
        yield Problem(("input", at, "output"), message, f"it has: {', '.join(outputs)}")
    for platform in recipe.platforms:
        if platform not in other.platforms:
            message = f"{item.component} is not built for {platform}"
            yield Problem(("input", at, "component"), message, f"it is built for {', '.join(other.platforms)}")


# -- a new one --------------------------------------------------------------------------------------------------------

_NEW = """\
# Every key is described in docs/recipes.md. Fill in what stands in <...>, then: kubewright recipe check {name}
name = "{name}"
version = "<version, without v>"
summary = "<what it is, in one line>"
licence = "<SPDX expression>"
homepage = "https://<page of upstream>"
builder = "go"                      # builders/go.toml: a Go toolchain and nothing else; "cgo" has a C compiler too

[[source]]
form = "module"                     # a Go module; "tree" is a git commit, "archive" a tar or zip file
module = "<Go module path>"
git = "https://<git repository>"    # tag and version are v{{version}} unless you say otherwise
# [[source.patch]]                  # patches/{name}/0001-why.patch, applied in order
# file = "0001-why.patch"
# reason = "why"

[[step]]                            # steps run in order, without the network; each has `go` or `run`
go.commands = {{ {name} = "<Go package of the command>" }}
# go.variables = {{ "<package>.version" = "v{{version}}" }}  # as upstream's release sets them
# go.tags = ["<build tag>"]

[[output]]                          # all that the steps leave in /build/out
path = "{name}"

[[smoke]]                           # runs what was built; each text of `expect` occurs in what it prints
run = ["{name}", "--version"]
expect = ["{{version}}"]
"""


def new_recipe(name: str) -> str:
    """The text of recipes/NAME/recipe.toml to start from; it does not pass `recipe check` before its <...> are filled in."""
    problems: list[Problem] = []
    decode(Recipe, {"name": name}, problems)
    wrong = next((problem for problem in problems if problem.path == ("name",)), None)
    if wrong:
        raise RecipeError(wrong.message, remedy="call it like upstream's program or project, such as metrics-server")
    return _NEW.format(name=name)
