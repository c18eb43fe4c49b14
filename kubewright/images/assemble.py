"""Assemble one image: inputs -> layers, configuration, manifest, in an OCI layout that appears as a whole or not at all.

One layer for each input, so that a new version of one sends one layer: the base, the certificates, each package, the outputs of
each component, files of the source, links. A layer's time is its input's: packages and what we make have 1980, outputs the date
of their component's source; a new Kubernetes does not touch the layer of libc6.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kubewright import __version__
from kubewright.building.component import existing
from kubewright.building.inputs import ensure_packages
from kubewright.errors import BuildError, OutputError
from kubewright.files.deb import merged
from kubewright.files.digest import sha256_bytes
from kubewright.files.tree import NORMAL_TIME
from kubewright.images import packages
from kubewright.images.base import PATH, base_entries
from kubewright.images.plan import CERTIFICATES, Plan
from kubewright.images.record import ImageRecord, LayerKind, RecordedLayer
from kubewright.images.sources import source_file
from kubewright.model.image_model import CAPABILITIES, links_of, output_of
from kubewright.model.lockfile import LockedPackage
from kubewright.oci.layer import Entry, directory, file, link, write_layer
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
from kubewright.record import BuildRecord, RecordedOutput
from kubewright.report import Meter, Progress


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer to write: its entries, and the digests of what it is made of."""

    kind: LayerKind
    name: str
    entries: list[Entry]
    mtime: int
    inputs: dict[str, str]


def assemble(
    project: Project,
    plan: Plan,
    target: Path,
    progress: Progress,
    check: Callable[[ImageRecord], None] = lambda record: None,
) -> ImageRecord:
    """Write the image's layout at ``target``, in place of what is there; when ``check`` raises, that stays as it is.

    Raises BuildError (a component has not been built), StoreCorruptError, LayerError, and the errors of fetching packages.
    """
    builds = {name: _built(project, component) for name, component in plan.components.items()}
    _fetch_packages(project, plan, progress)
    progress.stage("layers")
    meter = _metered(progress, plan.label)
    with project.store.scratch("image") as scratch, new_layout(target, meter) as writer:
        made = [_write(writer, layer) for layer in _layers(project, plan, builds, scratch, progress)]
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


def _write(writer: LayoutWriter, layer: _Layer) -> RecordedLayer:
    made = writer.add_made(functools.partial(write_layer, layer.entries, mtime=layer.mtime))
    return RecordedLayer(layer.kind, layer.name, made.digest, made.size, layer.inputs)


# -- layers -------------------------------------------------------------------------------------------------------


def _layers(
    project: Project, plan: Plan, builds: dict[str, BuildRecord], scratch: Path, progress: Progress
) -> Iterator[_Layer]:
    """Lowest first."""
    image = plan.image
    yield _Layer("base", "base", base_entries(merged=bool(image.root)), NORMAL_TIME, {})
    if plan.certificates:
        deb = _deb(project, plan.certificates, scratch / "certificates")
        entries = packages.certificate_entries(deb, scratch / "certificates" / "files")
        yield _Layer("certificates", "ca-certificates", entries, NORMAL_TIME, _pinned(plan.certificates))
    for package in plan.packages:
        deb = _deb(project, package, scratch / package.name)
        entries = packages.package_entries(deb, package.name, scratch / package.name / "files")
        yield _Layer("package", package.name, entries, NORMAL_TIME, _pinned(package))
    for name in sorted(builds, key=lambda each: (each == plan.component.name, each)):
        yield from _component_layer(project, plan, name, builds[name])
    if image.source_files:
        yield _source_layer(project, plan, progress)
    entries = _links(plan)
    if entries:
        yield _Layer("links", "links", entries, NORMAL_TIME, {})


def _pinned(package: LockedPackage) -> dict[str, str]:
    return {package.label: f"sha256:{package.sha256}"}


def _deb(project: Project, package: LockedPackage, scratch: Path) -> Path:
    path = scratch / Path(package.path).name
    project.store.copy_out(f"sha256:{package.sha256}", path)
    return path


def _component_layer(project: Project, plan: Plan, name: str, build: BuildRecord) -> Iterator[_Layer]:
    made = {output.path: output for output in build.outputs}
    wanted = [(path, output_of(text, plan.component.name)) for path, text in plan.image.files.items()]
    chosen = {path: output for path, (component, output) in wanted if component == name}
    if chosen:
        entries = [_output_entry(project, plan, path, made[output]) for path, output in sorted(chosen.items())]
        inputs = {output: made[output].sha256 for output in sorted({*chosen.values()})}
        mtime = plan.components[name].locked.sources[0].source_date
        yield _Layer("component", name, entries, mtime, inputs)


def _output_entry(project: Project, plan: Plan, path: str, output: RecordedOutput) -> Entry:
    if output.kind == "tree":
        raise OutputError(f"{output.path} is a folder, and {path} of {plan.label} a file")
    capabilities = plan.image.capabilities.get(path, ())
    content = FilePart(project.store.path(output.sha256), 0, output.size)
    mode = 0o755 if output.kind == "program" else 0o644
    return file(_place(plan, path), content, mode, digest=output.sha256, capability=_capability(capabilities))


def _capability(names: tuple[str, ...]) -> bytes:
    """``security.capability`` as the kernel keeps it: struct vfs_cap_data, revision 2, permitted and effective."""
    if not names:
        return b""
    permitted = sum(1 << CAPABILITIES[name] for name in set(names))
    return (0x02000001).to_bytes(4, "little") + permitted.to_bytes(4, "little") + bytes(12)


def _source_layer(project: Project, plan: Plan, progress: Progress) -> _Layer:
    files = {path: source_file(project, plan.component, wanted, progress) for path, wanted in plan.image.source_files.items()}
    entries = [file(_place(plan, path), data) for path, data in files.items()]
    inputs = {plan.image.source_files[path]: sha256_bytes(data) for path, data in sorted(files.items())}
    return _Layer("source", plan.component.name, entries, plan.source_date, inputs)


def _links(plan: Plan) -> list[Entry]:
    image = plan.image
    entries = [link(_place(plan, path), target) for path, target in links_of(image).items()]
    folders = {*image.volumes, image.workdir} - {"/"}
    return entries + [directory(_place(plan, path)) for path in sorted(folders)]


def _place(plan: Plan, path: str) -> str:
    """Where a path of the recipe is in the image."""
    return merged(path.lstrip("/")) if plan.image.root else path.lstrip("/")


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
