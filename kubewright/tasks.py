"""doit's view of a project: task groups, each with a task for every component that it fits.

Making tasks reads recipes and nothing else; keys, locks and stores are looked at when a task is asked whether it is up to date.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubewright import doit_plugins
from kubewright.disk import writing
from kubewright.errors import KubewrightError
from kubewright.images.plan import check_references as check_images
from kubewright.images.plan import directory as image_directory
from kubewright.images.plan import images, plan_image
from kubewright.menu import doc
from kubewright.model.image_model import components_of
from kubewright.project import Project
from kubewright.report import Progress

if TYPE_CHECKING:
    from kubewright.model.recipe import Recipe
    from kubewright.trust.setfolder import Signed

Task = dict[str, Any]


def all_tasks(project: Project) -> Iterator[Task]:
    """Every task, in the order of the menu. Raises RecipeError, CycleError, UsageError (no such stack)."""
    project.check_references()
    check_images(project)
    yield from _component_tasks(project, "build", _build, uptodate=_built)
    yield from _component_tasks(project, "rebuild", _rebuild)
    yield from _component_tasks(project, "accept", _accept)
    yield from _image_tasks(project)
    yield from _component_tasks(project, "sbom", _sbom)
    yield from _component_tasks(project, "sign", _sign, also=_in_place)
    yield _task("sign", "release", project, _sign_release)
    yield from _component_tasks(project, "attest", _attest)
    yield from _component_tasks(project, "fetch", _fetch)
    yield from _bundle_tasks(project)
    yield from _mirror_tasks(project)
    yield from _lock_tasks(project)
    yield _single("outdated", project, _outdated)
    yield _single("gc", project, _gc, exclusive=True)
    yield _single("test", project, _test)
    yield _single("generate", project, _generate)
    yield _single("verifier", project, _verifier)
    yield from _lab_tasks(project)
    yield from _conformance_tasks(project)
    yield _single("requirements", project, _requirements)


def _lab_tasks(project: Project) -> Iterator[Task]:
    """``lab:m1`` and ``lab:m1:down``: each only by its name."""
    yield {"basename": "lab", "name": None, "doc": doc("lab")}
    for name, work in (("m1", _lab_m1), ("m1:down", _lab_m1_down)):
        task = _task("lab", name, project, work)
        del task["name"]
        yield {**task, "basename": f"lab:{name}"}


def _conformance_tasks(project: Project) -> Iterator[Task]:
    """``conformance:kubernetes``, only by its name; ``--all`` is the task's own option."""
    yield {"basename": "conformance", "name": None, "doc": doc("conformance")}
    task = _task("conformance", "kubernetes", project, _conformance)
    del task["name"]
    everything = {"name": "everything", "long": "all", "type": bool, "default": False, "help": "all conformance specs"}
    yield {**task, "basename": "conformance:kubernetes", "params": [everything]}


def _lock_tasks(project: Project) -> Iterator[Task]:
    """``lock``: builders first, since components are resolved with their toolchains."""
    yield {"basename": "lock", "name": None, "doc": doc("lock")}
    for name in project.builders:
        yield _task("lock", name, project, partial(_lock_builder, name=name))
    for name in project.recipes:
        yield _task("lock", name, project, partial(_lock_component, name=name))


def _bundle_tasks(project: Project) -> Iterator[Task]:
    """``bundle:STACK``; ``bundle`` is the default stack's. Builds and images come first; signing is the task's own work."""
    yield {"basename": "bundle", "name": None, "doc": doc("bundle")}
    for stack in project.stacks.values():
        task = _task("bundle", stack.name, project, partial(_bundle, stack=stack.name))
        task["uptodate"] = [_quietly(project, _bundle_written, stack.name, project.settings.platform)]
        wanted = set(stack.components)
        task["task_dep"] = [f"build:{name}" for name in stack.components]
        task["task_dep"] += [f"image:{image}" for image, recipe in images(project).items() if recipe.name in wanted]
        if stack.name != project.settings.stack:
            task["basename"] = f"bundle:{task.pop('name')}"
        yield task


def _mirror_tasks(project: Project) -> Iterator[Task]:
    """``mirror:STACK``; ``mirror`` is the default stack's."""
    yield {"basename": "mirror", "name": None, "doc": doc("mirror")}
    for stack in project.stacks.values():
        task = _task("mirror", stack.name, project, partial(_mirror, stack=stack.name))
        if stack.name != project.settings.stack:
            task = {**task, "basename": f"mirror:{stack.name}"}
            del task["name"]
        yield task


# -- making tasks -------------------------------------------------------------------------------------------------

Work = Callable[..., None]  # of the project, a Progress, and the task's own options


def _component_tasks(
    project: Project,
    group: str,
    work: Callable[..., None],
    uptodate: Callable[[Project, str, str], bool] | None = None,
    also: Callable[[Project, Recipe, str], bool] | None = None,
) -> Iterator[Task]:
    """``GROUP:NAME`` for the default stack and what ``also`` names; tasks outside the group for the rest."""
    yield {"basename": group, "name": None, "doc": doc(group)}
    stack = set(project.default_stack.components) if project.stacks else set()
    default = project.settings.platform
    for recipe in project.recipes.values():
        for platform in recipe.platforms:
            name = recipe.name if platform == default else f"{recipe.name}@{platform.replace('/', '-')}"
            task = _task(group, name, project, partial(work, name=recipe.name, platform=platform))
            if (recipe.name not in stack or platform != default) and not (also and also(project, recipe, platform)):
                task = {**task, "basename": f"{group}:{name}"}
                del task["name"]
            if uptodate is not None:
                task["uptodate"] = [_quietly(project, uptodate, recipe.name, platform)]
                suffix = name.removeprefix(recipe.name)
                task["task_dep"] = [f"{group}:{each.component}{suffix}" for each in recipe.inputs]
            yield task


def _image_tasks(project: Project) -> Iterator[Task]:
    """``image:NAME`` for images of the default stack's components; tasks outside the group for the rest."""
    yield {"basename": "image", "name": None, "doc": doc("image")}
    stack = set(project.default_stack.components) if project.stacks else set()
    default = project.settings.platform
    for image, recipe in images(project).items():
        spec = next(each for each in recipe.images if each.name == image)
        for platform in recipe.platforms:
            suffix = "" if platform == default else f"@{platform.replace('/', '-')}"
            task = _task("image", image + suffix, project, partial(_image, name=image, platform=platform))
            task["uptodate"] = [_quietly(project, _image_placed, image, platform)]
            task["task_dep"] = [f"build:{each}{suffix}" for each in components_of(spec, recipe.name)]
            if recipe.name not in stack or platform != default:
                task["basename"] = f"image:{task.pop('name')}"
            yield task


def _quietly(project: Project, uptodate: Callable[[Project, str, str], bool], name: str, platform: str) -> Callable[[], bool]:
    def check() -> bool:
        try:
            return uptodate(project, name, platform)
        except KubewrightError:
            return False  # the task itself meets the error again, and reports it

    return check


def _single(group: str, project: Project, work: Work, *, exclusive: bool = False) -> Task:
    task = _task(group, group, project, work, exclusive=exclusive)
    del task["name"]
    return {**task, "doc": doc(group)}


def _task(group: str, name: str, project: Project, work: Work, *, exclusive: bool = False) -> Task:
    label = name if name == group else f"{group}:{name}"
    return {
        "basename": group,
        "name": name,
        "actions": [_action(project, label, work, exclusive)],
        "doc": doc(group),
        "io": {"capture": False},
        "verbosity": 2,
    }


def _action(project: Project, label: str, work: Work, exclusive: bool) -> Callable[[], Any]:
    def action(**options: Any) -> Any:  # doit hands on the task's own options, if it has any
        from doit.exceptions import TaskFailed

        report = doit_plugins.progress(label)
        os.umask(0o022)  # what sandboxes mount has to be readable for the uid that they run as
        try:
            with writing(project.settings.store), nullcontext() if exclusive else project.store.in_use():
                work(project, report, **options)
        except KubewrightError as error:
            report.fail(error)
            return TaskFailed(error.message, report=False)
        return True

    return action


# -- what tasks do ------------------------------------------------------------------------------------------------


def _built(project: Project, name: str, platform: str) -> bool:
    from kubewright.building.component import up_to_date

    return up_to_date(project, project.component(name, platform))


def _build(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.building.component import build
    from kubewright.building.outputs import artifact_directory

    component = project.component(name, platform)
    record = build(project, component, report)
    directory = artifact_directory(project, component).relative_to(project.root)
    for output in record.outputs:
        report.note(f"{directory / output.path}  {output.sha256.removeprefix('sha256:')[:16]}  {output.size / 1e6:.1f} MB")


def _in_place(project: Project, recipe: Recipe, platform: str) -> bool:
    """Whether artifacts/ has the component: a set is signed as a whole."""
    return (project.root / "artifacts" / recipe.name / recipe.version / platform.replace("/", "-")).is_dir()


def _rebuild(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.building.rebuild import rebuild

    rebuild(project, project.component(name, platform), report)


def _accept(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.building.rebuild import accept, accepted_already
    from kubewright.images.accept import accept_images

    if not accepted_already(project, project.component(name, platform)):
        accept(project, project.component(name, platform), report)
    accept_images(project, project.component(name, platform), report)


def _image_placed(project: Project, name: str, platform: str) -> bool:
    from kubewright.images.place import up_to_date

    return up_to_date(project, plan_image(project, name, platform))


def _image(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.images.place import make_image

    plan = plan_image(project, name, platform)
    made = make_image(project, plan, report)
    place = image_directory(project, plan).relative_to(project.root)
    report.note(f"{place}  {made.manifest.removeprefix('sha256:')[:16]}  {made.size / 1e6:.1f} MB  {made.reference}")


def _sbom(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.trust.publish import write_sboms

    _say_signed(project, report, write_sboms(project, project.component(name, platform)))


def _sign(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.trust.publish import sign_component
    from kubewright.trust.publish_images import sign_images
    from kubewright.trust.unlock import signing_key

    component, key = project.component(name, platform), signing_key(project.settings)
    one, other = sign_component(project, component, key), sign_images(project, component, key, report)
    _say_signed(project, report, type(one)((*one.written, *other.written), (*one.same, *other.same)))


def _sign_release(project: Project, report: Progress) -> None:
    from kubewright.trust.release import sign_release
    from kubewright.trust.unlock import signing_key

    _say_signed(project, report, sign_release(project, signing_key(project.settings)))


def _bundle_written(project: Project, name: str, platform: str) -> bool:
    from kubewright.bundle.make import up_to_date

    return up_to_date(project, project.stacks[name], platform)


def _bundle(project: Project, report: Progress, stack: str) -> None:
    from kubewright.bundle.make import make_bundle
    from kubewright.trust.unlock import signing_key

    key = signing_key(project.settings)
    made = make_bundle(project, project.stacks[stack], project.settings.platform, key, report)
    where = made.file.relative_to(project.root)
    if made.written is None:
        report.note(f"{where} is there already")
        return
    size, content = made.written.size / 1e6, made.content / 1e6
    report.note(f"{where}  {made.written.digest.removeprefix('sha256:')[:16]}  {size:.1f} MB of {content:.1f} MB")
    report.note(f"{made.directory.relative_to(project.root)}/  the same as a directory")


def _say_signed(project: Project, report: Progress, signed: Signed) -> None:
    for folder in sorted({path.parent for path in signed.written}):
        names = ", ".join(sorted(path.name for path in signed.written if path.parent == folder))
        report.note(f"{folder.relative_to(project.root)}: {names} written")
    if not signed.written:
        report.note(f"{len(signed.same)} files are there already")


def _attest(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.trust.publish import attest
    from kubewright.trust.publish_images import attest_images
    from kubewright.trust.unlock import signing_key

    component, key = project.component(name, platform), signing_key(project.settings)
    attest(project, component, key, report)
    attest_images(project, component, key, report)


def _fetch(project: Project, report: Progress, name: str, platform: str) -> None:
    from kubewright.building.inputs import ensure_inputs

    inputs = ensure_inputs(project, project.component(name, platform), report)
    report.note(f"every input is here and verified ({len(inputs.modules)} Go modules)")


def _mirror(project: Project, report: Progress, stack: str) -> None:
    from kubewright.mirror.write import write_mirror

    made = write_mirror(project, project.stacks[stack], report)
    total = sum(file.size for file in made.index.files.values())
    report.note(f"{made.root}: {len(made.index.files)} files, {total / 1e6:.1f} MB")
    sent = f"{made.new} files are new; {made.bytes / 1e6:.1f} MB written, {made.linked / 1e6:.1f} of them as links"
    report.note(f"{sent}; {f'signed: {made.signed}' if made.signed else 'not signed, for want of a key (signing_key)'}")


def _lock_builder(project: Project, report: Progress, name: str) -> None:
    from kubewright.building.mirrored import require_origins
    from kubewright.lock.write import lock_builder

    require_origins(project, "./doit lock")
    lock_builder(project, name, report, dry_run=doit_plugins.dry_run)


def _lock_component(project: Project, report: Progress, name: str) -> None:
    from kubewright.building.mirrored import require_origins
    from kubewright.lock.write import lock_component

    require_origins(project, "./doit lock")
    lock_component(project, name, report, dry_run=doit_plugins.dry_run)


def _gc(project: Project, report: Progress) -> None:
    from kubewright.gc.collect import gc

    gc(project, report, dry_run=doit_plugins.dry_run)


def _outdated(project: Project, report: Progress) -> None:
    from kubewright.building.mirrored import require_origins
    from kubewright.lock.outdated import outdated

    require_origins(project, "./doit outdated")
    for line in outdated(project, report):
        report.note(str(line))


def _test(project: Project, report: Progress) -> None:
    _install_test_requirements(project, report)
    for name, command in (
        ("format", ["ruff", "format", "--check", "--quiet", "."]),
        ("lint", ["ruff", "check", "--quiet", "."]),
        ("types", ["mypy"]),
        ("tests", ["pytest", "-n", "2", "--dist", "loadgroup"]),
    ):
        report.stage(name)
        _run(project, [sys.executable, "-m", *command])


def _install_test_requirements(project: Project, report: Progress) -> None:
    """pip checks the hashes; a stamp beside the environment says which file it was made from."""
    wanted = project.root / "requirements" / "test.txt"
    stamp = Path(sys.prefix) / ".kubewright-test"
    if stamp.is_file() and stamp.read_bytes() == wanted.read_bytes():
        return
    report.stage("test environment")
    _run(project, [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(wanted)])
    stamp.write_bytes(wanted.read_bytes())


def _run(project: Project, command: list[str]) -> None:
    from kubewright.errors import CheckError

    status = subprocess.run(command, cwd=project.root).returncode
    if status:
        words = " ".join(Path(word).name for word in command[:4])
        raise CheckError(f"`{words}` ended with status {status}", remedy="read what it printed above")


def _generate(project: Project, report: Progress) -> None:
    from kubewright.generate import generate

    for path in generate(project):
        report.note(f"{path} written")


def _verifier(project: Project, report: Progress) -> None:
    from kubewright import pyz
    from kubewright.files.digest import sha256_bytes, sha256_hex
    from kubewright.store import replace_file

    for program in pyz.PROGRAMS:
        data = pyz.build(program)
        path = project.root / "dist" / program.file
        path.parent.mkdir(exist_ok=True)
        replace_file(path, data)
        path.chmod(0o755)
        report.note(f"{path.relative_to(project.root)}  sha256 {sha256_hex(sha256_bytes(data))}")


def _lab_m1(project: Project, report: Progress) -> None:
    from kubewright.lab.milestone1 import up
    from kubewright.lab.prepare import prepare

    up(prepare(project, report))


def _lab_m1_down(project: Project, report: Progress) -> None:
    from kubewright.lab.milestone1 import down
    from kubewright.lab.prepare import folder_of

    report.note("taken away" if down(folder_of(project)) else "there is none")


def _conformance(project: Project, report: Progress, everything: bool = False) -> None:
    from kubewright.lab.conformance import run
    from kubewright.lab.prepare import prepare_conformance

    run(prepare_conformance(project, report, everything))


def _requirements(project: Project, report: Progress) -> None:
    """uv resolves for every Python from 3.10 on; it is only needed here, so it comes into an environment of its own."""
    import venv

    with project.store.scratch("uv") as scratch:
        venv.create(scratch / "env", with_pip=True)
        _run(project, [str(scratch / "env/bin/pip"), "install", "--quiet", "uv"])
        for name in ("run", "test", "ansible"):
            report.stage(name)
            arguments = ["--universal", "--python-version=3.10", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
            files = [f"requirements/{name}.in", "-o", f"requirements/{name}.txt"]
            _run(project, [str(scratch / "env/bin/uv"), "pip", "compile", *arguments, *files])
