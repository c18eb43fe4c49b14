"""Make an image unless it is there, and tell in a moment whether it is.

Which files of a layout have been looked at is remembered outside of it, as for other artifacts: a file that has not been
touched since is not hashed again.
"""

from __future__ import annotations

import json
from pathlib import Path

from kubewright.building.outputs import seen_folder, stamp
from kubewright.disk import writing
from kubewright.errors import IrreproducibleError
from kubewright.files.digest import sha256_file
from kubewright.images import record
from kubewright.images.assemble import assemble
from kubewright.images.plan import Plan, directory
from kubewright.images.record import ImageRecord
from kubewright.oci.layout import LAYOUT_FILE, MARKER
from kubewright.project import Project
from kubewright.report import Progress
from kubewright.store import replace_file


def make_image(project: Project, plan: Plan, progress: Progress) -> ImageRecord:
    """Assemble the image unless it is in place; raises IrreproducibleError where digests.toml has another one for its key."""
    name = f"image-{plan.key.removeprefix('sha256:')[:32]}"

    def waiting(holder: str) -> None:
        progress.note(f"waiting for {holder}")

    with project.store.lock(name, f"assembling {plan.label}", waiting=waiting):
        found = record.load(project.store, plan.key)
        if found is None or not placed(project, plan, found):
            target = directory(project, plan)
            with writing(target.parent, store=False):
                found = assemble(project, plan, target, progress, lambda made: check_accepted(project, plan, made.manifest))
            record.save(project.store, found)
            _remember(project, plan, found)
        check_accepted(project, plan, found.manifest)
    return found


def up_to_date(project: Project, plan: Plan) -> bool:
    """Whether there is nothing to do."""
    found = record.load(project.store, plan.key)
    return found is not None and agrees(project, plan, found.manifest) and placed(project, plan, found)


def agrees(project: Project, plan: Plan, manifest: str) -> bool:
    """False only if digests.toml has accepted another manifest for this very key."""
    accepted = project.digests.find(plan.component.name, plan.platform)
    same_key = accepted is not None and accepted.image_keys.get(plan.name) == plan.key
    return not same_key or accepted is None or accepted.images[plan.name] == manifest


def check_accepted(project: Project, plan: Plan, manifest: str) -> None:
    """Raise IrreproducibleError if digests.toml has another manifest for the same key."""
    if agrees(project, plan, manifest):
        return
    accepted = project.digests.find(plan.component.name, plan.platform)
    known = accepted.images[plan.name] if accepted else ""
    raise IrreproducibleError(
        f"{plan.label}: its manifest is {manifest}, digests.toml has {known}",
        remedy="the same inputs gave another image: `kubewright why FILE` tells a layer's input; compare with the one of"
        " somebody else, and do not accept it away",
    )


# -- in place -----------------------------------------------------------------------------------------------------


def placed(project: Project, plan: Plan, found: ImageRecord) -> bool:
    """Whether the layout is on disk, byte for byte and with nothing else in it."""
    root = directory(project, plan)
    blobs = root / "blobs" / "sha256"
    if not blobs.is_dir() or root.is_symlink():
        return False
    wanted = {str(blobs / digest.removeprefix("sha256:")): digest for digest in found.blobs()}
    small = {root / LAYOUT_FILE: MARKER, root / "index.json": found.index.encode()}
    there = {str(path) for path in root.rglob("*") if not path.is_dir()}
    if there != {*wanted, *map(str, small)} or any(path.read_bytes() != data for path, data in small.items()):
        return False
    seen, changed = _seen(project, plan), False
    for name, digest in wanted.items():
        if seen.get(digest) != stamp(Path(name)):
            if sha256_file(Path(name)) != digest:
                return False
            changed = True
    if changed:
        _remember(project, plan, found)
    return True


def _index(project: Project, plan: Plan) -> Path:
    return seen_folder(project) / f"image-{plan.name}-{plan.version}-{plan.platform.replace('/', '-')}.json"


def _seen(project: Project, plan: Plan) -> dict[str, object]:
    try:
        found = json.loads(_index(project, plan).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(project: Project, plan: Plan, found: ImageRecord) -> None:
    blobs = directory(project, plan) / "blobs" / "sha256"
    seen = {digest: stamp(blobs / digest.removeprefix("sha256:")) for digest in found.blobs()}
    path = _index(project, plan)
    with writing(path.parent, store=False):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(seen).encode())
