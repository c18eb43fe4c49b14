"""The layers of an image, lowest first: one for each input, so that a new version of one sends one layer.

The base, the certificates, each package, the outputs of each component, files of the source, links. A layer's time is its
input's: packages and what we make have 1980, outputs the date of their component's source; a new Kubernetes does not touch the
layer of libc6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubewright.canonical import canonical_digest
from kubewright.errors import OutputError
from kubewright.files.deb import merged
from kubewright.files.digest import sha256_bytes
from kubewright.files.tree import NORMAL_TIME
from kubewright.images import packages
from kubewright.images.base import base_entries
from kubewright.images.plan import IMAGE_PROCEDURE, Plan
from kubewright.images.record import LayerKind
from kubewright.images.sources import source_file
from kubewright.model.image_model import CAPABILITIES, links_of, output_of
from kubewright.model.lockfile import LockedPackage
from kubewright.oci.layer import Entry, directory, file, link
from kubewright.oci.source import FilePart
from kubewright.project import Project
from kubewright.record import BuildRecord, RecordedOutput
from kubewright.report import Progress


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer to write. ``entries`` makes them, given a new directory to unpack into, which stays until they are written.

    ``inputs``: digests of what it is made of. ``key``: all that decides its bytes, or '' for one that is not remembered;
    ``kept``: it is remembered as a whole, since making it takes longer than copying it.
    """

    kind: LayerKind
    name: str
    entries: Callable[[Path], list[Entry]]
    mtime: int
    inputs: Mapping[str, str]
    key: str = ""
    kept: bool = False


def layers(project: Project, plan: Plan, builds: Mapping[str, BuildRecord], progress: Progress) -> Iterator[Layer]:
    """Lowest first; ``builds``: of the components whose outputs it holds. Raises OutputError, RecipeError, errors of inputs."""
    image = plan.image
    base = base_entries(merged=bool(image.root), users=image.users, groups=image.groups)
    yield Layer("base", "base", lambda scratch: base, NORMAL_TIME, {})
    if plan.certificates:
        yield _package(project, plan.certificates, "certificates")
    for package in plan.packages:
        yield _package(project, package, "package")
    for name in sorted(builds, key=lambda each: (each == plan.component.name, each)):
        yield from _component(project, plan, name, builds[name])
    if image.source_files:
        yield _source(project, plan, progress)
    entries = _links(plan)
    if entries:
        yield Layer("links", "links", lambda scratch: entries, NORMAL_TIME, {})


def _package(project: Project, package: LockedPackage, kind: LayerKind) -> Layer:
    def entries(scratch: Path) -> list[Entry]:
        deb = scratch / Path(package.path).name
        project.store.copy_out(f"sha256:{package.sha256}", deb)
        if kind == "certificates":
            return packages.certificate_entries(deb, scratch / "files")
        return packages.package_entries(deb, package.name, scratch / "files")

    inputs = {package.label: f"sha256:{package.sha256}"}
    return Layer(kind, package.name, entries, NORMAL_TIME, inputs, package_key(kind, package), kept=True)


def package_key(kind: LayerKind, package: LockedPackage) -> str:
    """What the layer of a package is remembered by; ``kind`` is package or certificates."""
    return canonical_digest([IMAGE_PROCEDURE, kind, package.name, package.sha256])


def _component(project: Project, plan: Plan, name: str, build: BuildRecord) -> Iterator[Layer]:
    made = {output.path: output for output in build.outputs}
    wanted = [(path, output_of(text, plan.component.name)) for path, text in plan.image.files.items()]
    chosen = {path: output for path, (component, output) in sorted(wanted) if component == name}
    if chosen:
        entries = [_output_entry(project, plan, path, made[output]) for path, output in chosen.items()]
        inputs = {output: made[output].sha256 for output in sorted({*chosen.values()})}
        mtime = plan.components[name].locked.sources[0].source_date
        described = [[each.path, each.mode, each.digest, each.capability.hex()] for each in entries]
        key = canonical_digest([IMAGE_PROCEDURE, "component", mtime, described])
        yield Layer("component", name, lambda scratch: entries, mtime, inputs, key)


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


def _source(project: Project, plan: Plan, progress: Progress) -> Layer:
    files = {path: source_file(project, plan.component, wanted, progress) for path, wanted in plan.image.source_files.items()}
    entries = [file(_place(plan, path), data) for path, data in files.items()]
    inputs = {plan.image.source_files[path]: sha256_bytes(data) for path, data in sorted(files.items())}
    return Layer("source", plan.component.name, lambda scratch: entries, plan.source_date, inputs)


def _links(plan: Plan) -> list[Entry]:
    image = plan.image
    entries = [link(_place(plan, path), target) for path, target in links_of(image).items()]
    modes = {**dict.fromkeys((*image.volumes, image.workdir), "755"), **image.folders}
    modes.pop("/", None)
    return entries + [directory(_place(plan, path), int(mode, 8)) for path, mode in sorted(modes.items())]


def _place(plan: Plan, path: str) -> str:
    """Where a path of the recipe is in the image."""
    return merged(path.lstrip("/")) if plan.image.root else path.lstrip("/")
