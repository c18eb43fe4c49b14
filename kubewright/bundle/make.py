"""``./doit bundle:STACK``: sign what is not signed yet, gather, write both forms; tell in a moment when there is nothing to do.

What a bundle was made of is remembered outside of artifacts/, like the files themselves, by what says that a file is still the
same one (``outputs.stamp``). One writer of a bundle at a time; another one waits, and then finds nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import kubewright
from kubewright.building.outputs import seen_folder, stamp
from kubewright.bundle.contents import Draft
from kubewright.bundle.gather import Built, built, gather
from kubewright.canonical import canonical_digest
from kubewright.disk import writing
from kubewright.model.digestsfile import FILE as DIGESTS
from kubewright.model.lockfile import FILE as LOCK
from kubewright.model.stack import Stack
from kubewright.oci.archive import FORMAT, SUFFIX
from kubewright.oci.archive_write import LEVEL, ZSTD, Written, write_archive
from kubewright.oci.layout import Layout, write_directory
from kubewright.oci.source import size_of
from kubewright.project import Project
from kubewright.report import Meter, Progress
from kubewright.store import replace_file
from kubewright.trust.keys import SigningKey, public_path
from kubewright.trust.publish import Describe, sboms, sign_component
from kubewright.trust.publish_images import Describe as DescribeImage
from kubewright.trust.publish_images import image_sboms, sign_images
from kubewright.trust.release import FILE as RELEASE
from kubewright.trust.release import sign_release
from kubewright.trust.setfolder import attestation_directory, image_attestation_directory, release_directory

DIRECTORY_SUFFIX = ".oci"


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle's two forms; ``written`` is None when they were there already. ``content``: bytes of all its blobs."""

    file: Path
    directory: Path
    content: int = 0
    written: Written | None = None


def places(project: Project, made: Built) -> Made:
    """Where a stack's bundle is written to."""
    folder = project.root / "artifacts" / "bundles"
    return Made(folder / (made.label + SUFFIX), folder / (made.label + DIRECTORY_SUFFIX))


def up_to_date(project: Project, stack: Stack, platform: str) -> bool:
    """Whether both forms are there, and made of what there is now."""
    made = built(project, stack, platform)
    return _remembered(project, made) == (_inputs_state(project, made), _outputs_state(project, made))


def make_bundle(
    project: Project,
    stack: Stack,
    platform: str,
    key: SigningKey,
    progress: Progress,
    describe: Describe = sboms,
    describe_image: DescribeImage = image_sboms,
) -> Made:
    """Write a stack's bundle. Raises BuildError (something is not there yet), and what signing and writing raise."""
    made = built(project, stack, platform)
    name = f"bundle-{made.label}"

    def waiting(holder: str) -> None:
        progress.note(f"waiting for {holder}")

    with project.store.lock(name, f"writing {made.label}", waiting=waiting):
        if up_to_date(project, stack, platform):
            return places(project, made)
        progress.stage("sign")
        for component, _ in made.components.values():
            progress.update(component.label)
            sign_component(project, component, key, describe)
            sign_images(project, component, key, progress, describe_image)
        sign_release(project, key)
        progress.stage("gather")
        inputs = _inputs_state(project, made)  # before they are read: what changes meanwhile is a reason to write again
        ingredients, rewritten = gather(project, made)
        for each in rewritten:
            for change in each.policies:
                progress.note(f"{change.manifest}: {change.object}: {change.path} is IfNotPresent, upstream says Always")
        done = _write(places(project, made), Draft(ingredients).sign(key), progress)
        _remember(project, made, inputs)
    return done


def _write(made: Made, layout: Layout, progress: Progress) -> Made:
    content = sum(map(size_of, layout.blobs.values()))
    progress.stage("directory")
    write_directory(layout, made.directory, _metered(progress, made.directory.name, content))
    progress.stage("file")
    written = write_archive(layout, made.file, _metered(progress, made.file.name, content))
    return Made(made.file, made.directory, content, written)


def _metered(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    meter, done = Meter(progress, what), 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        meter.at(what, done, total)

    return told


# -- nothing to do ------------------------------------------------------------------------------------------------


def _inputs_state(project: Project, made: Built) -> str:
    """Everything that decides a bundle's bytes, as one digest."""
    return canonical_digest(
        {
            "writer": [kubewright.__version__, FORMAT, LEVEL, list(ZSTD)],
            "stack": made.label,
            "components": {name: [component.key, found.digests()] for name, (component, found) in made.components.items()},
            "images": {plan.name: [found.reference, found.manifest] for plan, found in made.images},
            "key": str(project.settings.signing_key),
            "files": [[str(path), _stamp(path)] for path in _inputs(project, made)],
        }
    )


def _outputs_state(project: Project, made: Built) -> str:
    where = places(project, made)
    return canonical_digest([[str(path), _stamp(path)] for path in [where.file, *_inside(where.directory)]])


def _inputs(project: Project, made: Built) -> Iterator[Path]:
    """Every file that is read for a bundle and that no digest above stands for; folders, since files may come to them."""
    root = project.root
    yield from (root / LOCK, root / DIGESTS, root / RELEASE, root / "LICENSE", root / "stacks" / f"{made.stack.name}.toml")
    for component, _ in made.components.values():
        yield from _inside(attestation_directory(project, component))
        yield root / "recipes" / component.name / "recipe.toml"
    for plan, _ in made.images:
        yield from _inside(image_attestation_directory(project, plan))
    yield from _inside(release_directory(project))
    if project.settings.signing_key:
        yield public_path(project.settings.signing_key)
    yield from sorted(Path(kubewright.__file__).parent.rglob("*.py"))


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]


def _stamp(path: Path) -> list[int]:
    return stamp(path) if path.is_file() else []


def _memory(project: Project, made: Built) -> Path:
    return seen_folder(project) / f"bundle-{made.label}.json"


def _remembered(project: Project, made: Built) -> tuple[str, str]:
    try:
        found = json.loads(_memory(project, made).read_text("utf-8"))
        return str(found["inputs"]), str(found["outputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def _remember(project: Project, made: Built, inputs: str) -> None:
    path = _memory(project, made)
    with writing(path.parent, store=False):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps({"inputs": inputs, "outputs": _outputs_state(project, made)}).encode())
