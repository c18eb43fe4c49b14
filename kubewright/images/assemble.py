"""Assemble one image: layers, configuration, manifest, in an OCI layout that appears as a whole or not at all.

Layers of packages are kept in the store, and of the others the digests, so that another image with the same ones costs copying
and one hash. An assembly that is to be independent of others asks for none of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from kubewright import __version__
from kubewright.building.component import existing
from kubewright.building.inputs import ensure_packages
from kubewright.errors import BuildError
from kubewright.images.base import PATH
from kubewright.images.layers import Layer, layers
from kubewright.images.plan import CERTIFICATES, Plan
from kubewright.images.record import ImageRecord, RecordedLayer
from kubewright.oci.errors import BlobDamagedError, LayerError
from kubewright.oci.layer import write_layer
from kubewright.oci.layout import LayoutWriter, new_layout
from kubewright.oci.model import (
    CONFIG,
    CONTAINERD_NAME,
    LAYER,
    MANIFEST,
    REF_NAME,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
)
from kubewright.oci.source import FilePart
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, key_name
from kubewright.report import Meter, Progress
from kubewright.store import Store

#: refs to layers that are blobs of the store
KEPT: Final = "layer"
#: refs to digests of layers that are not
KNOWN: Final = "layer-digest"


def assemble(
    project: Project,
    plan: Plan,
    target: Path,
    progress: Progress,
    check: Callable[[ImageRecord], None] = lambda record: None,
    *,
    remembered: bool = True,
) -> ImageRecord:
    """Write the image's layout at ``target``, in place of what is there; when ``check`` raises, that stays as it is.
    ``remembered``: layers may come from earlier assemblies.

    Raises BuildError (a component has not been built), StoreCorruptError, LayerError, and the errors of fetching packages.
    """
    builds = {name: _built(project, component) for name, component in plan.components.items()}
    _fetch_packages(project, plan, progress)
    progress.stage("layers")
    meter = _metered(progress, plan.label)
    with project.store.scratch("image") as scratch, new_layout(target, meter) as writer:
        made = [
            _write(project.store, writer, layer, scratch / str(at), remembered)
            for at, layer in enumerate(layers(project, plan, builds, progress))
        ]
        record = _finish(writer, plan, tuple(made))
        check(record)
        progress.stage("sync")
    return record


def _built(project: Project, component: Component) -> BuildRecord:
    found = existing(project, component)
    if found is None:
        raise BuildError(f"{component.label} has not been built here", remedy=f"./doit build:{component.task}")
    return found


def _fetch_packages(project: Project, plan: Plan, progress: Progress) -> None:
    ensure_packages(project, plan.image.root, plan.packages, progress)
    if plan.certificates:
        ensure_packages(project, CERTIFICATES, [plan.certificates], progress)


def _metered(progress: Progress, what: str) -> Callable[[int], None]:
    meter, done = Meter(progress, what), 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        meter.at(what, done, None)

    return told


def _write(store: Store, writer: LayoutWriter, layer: Layer, scratch: Path, remembered: bool) -> RecordedLayer:
    kind, name = KEPT if layer.kept else KNOWN, key_name(layer.key)
    known = store.ref(kind, name) if remembered and layer.key else None
    if known and layer.kept:
        size = _copy(store, writer, known)
        if size is not None:
            return RecordedLayer(layer.kind, layer.name, known, size, layer.inputs)
    entries = layer.entries(scratch)
    if known and not layer.kept:  # its digest says it of all of them at once
        entries = [replace(entry, digest="") for entry in entries]
    made = writer.add_made(functools.partial(write_layer, entries, mtime=layer.mtime))
    if known and not layer.kept and made.digest != known:
        message = f"the layer of {layer.name} is {made.digest}, and was {known} when it was made of the same inputs before"
        raise LayerError(message, remedy=f"the store's copy of an input is damaged: ./doit build:{layer.name}")
    if remembered and layer.key and (layer.kept or not known):
        if layer.kept:
            store.put_file(writer.path(made.digest), made.digest)
        store.set_ref(kind, name, made.digest)
    return RecordedLayer(layer.kind, layer.name, made.digest, made.size, layer.inputs)


def _copy(store: Store, writer: LayoutWriter, digest: str) -> int | None:
    """Copy a layer that the store has; its size, or None where it has it no longer as it was."""
    path = writer.path(digest)
    if path.exists():
        return path.stat().st_size
    try:
        writer.add(digest, FilePart(store.path(digest)))
        return path.stat().st_size
    except (BlobDamagedError, FileNotFoundError):
        return None


# -- configuration and manifest -----------------------------------------------------------------------------------


def _finish(writer: LayoutWriter, plan: Plan, layers: tuple[RecordedLayer, ...]) -> ImageRecord:
    platform = Platform.of(plan.platform)
    config = writer.add_bytes(_config(plan, layers, platform).to_bytes())
    manifest = Manifest(
        Descriptor(CONFIG, config.digest, config.size),
        tuple(Descriptor(LAYER, layer.digest, layer.size) for layer in layers),
        plan.annotations,
    )
    written = writer.add_bytes(manifest.to_bytes())
    names = {REF_NAME: plan.image.reference, CONTAINERD_NAME: plan.image.reference}
    index = Index((Descriptor(MANIFEST, written.digest, written.size, names, platform=platform),)).to_bytes()
    writer.index(index)
    return ImageRecord(
        image=plan.name,
        component=plan.component.name,
        version=plan.version,
        platform=plan.platform,
        key=plan.key,
        reference=plan.image.reference,
        manifest=written.digest,
        manifest_size=written.size,
        config=config.digest,
        config_size=config.size,
        layers=layers,
        index=index.decode(),
        kubewright=__version__,
    )


def _config(plan: Plan, layers: tuple[RecordedLayer, ...], platform: Platform) -> ImageConfig:
    image = plan.image
    return ImageConfig(
        platform=platform,
        created=plan.component.source_date_iso,
        diff_ids=tuple(layer.digest for layer in layers),
        history=tuple(f"kubewright: {layer.kind} {layer.name}" for layer in layers),
        user=image.user,
        entrypoint=image.entrypoint,
        command=image.command,
        env=tuple(f"{name}={value}" for name, value in sorted({"PATH": PATH, **image.env}.items())),
        workdir=image.workdir,
        ports=image.ports,
        volumes=image.volumes,
    )
