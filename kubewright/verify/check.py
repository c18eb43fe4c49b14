"""Verify a signed set, a component of it or one file, under a policy: gather, decide, hash, compare, remember.

Nothing is written before everything has passed; then the last-seen state, and with ``copy_to`` the very bytes that were
hashed. Statements are decided on before the first artifact is read, so that a refusal is quick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kubewright.canonical import canonical_digest
from kubewright.errors import UsageError
from kubewright.oci.workers import READERS, workers
from kubewright.verify import strictjson
from kubewright.verify.errors import (
    ArtifactChangedError,
    ArtifactMissingError,
    ArtifactSwappedError,
    ArtifactTruncatedError,
    ArtifactUnknownError,
    PolicyError,
    SbomError,
    VerifyError,
)
from kubewright.verify.evidence import gather, is_bundle
from kubewright.verify.facts import Accepted, Place, ReleaseFolder, Signed
from kubewright.verify.image_layout import layout_files, manifest_digest
from kubewright.verify.image_rules import check_image
from kubewright.verify.layout import ATTESTATIONS, RELEASE, SBOMS, Asked, evidence_files, is_image_place, locate, places_of
from kubewright.verify.pinned import Folder, Measured, new_copy
from kubewright.verify.policy import Policy
from kubewright.verify.report import Artifact, Report
from kubewright.verify.rules import DIGESTS, LOCK, check_clock, check_place, check_release
from kubewright.verify.state import Seen, load_seen, remember
from kubewright.verify.statement import Subject

#: bytes of lockfile.toml and digests.toml
_LONGEST_TOML: Final = 16 << 20
#: bytes of what nobody has vouched for yet when it is hashed: other files of release/, documents beside the bundles
_LONGEST_DOCUMENT: Final = 64 << 20
#: an artifact that is larger than was signed is hashed all the same up to here, to say which one it is instead
_LONGEST_STRANGER: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """How to verify. ``now`` is the verifier's clock; ``watch`` is told of each artifact before it is hashed."""

    attestations: Path | None = None
    release: Path | None = None
    copy_to: Path | None = None
    workers: int = 0
    now: Callable[[], float] = time.time
    watch: Callable[[str], None] = lambda path: None


@dataclass(frozen=True, slots=True)
class _Set:
    """The three folders of a set, opened."""

    artifacts: Folder
    attestations: Folder
    release: Folder


def verify_set(path: Path, policy: Policy, policy_file: Path, options: Options | None = None) -> Report:
    """The report of a set that satisfies ``policy``; raises the VerifyError of the first rule that does not hold.

    ``policy_file`` is where the policy lies: its state file is found from there, and neither may lie in the set.
    """
    options = options or Options()
    asked = locate(path, options.attestations, options.release)
    if (asked.loose or asked.layout) and options.copy_to:
        raise UsageError(f"{path} belongs to no set", remedy="--copy-to copies sets and parts of sets")
    state = policy_file.resolve().parent / policy.state.file
    _refuse_inside(asked, policy_file, state)
    target = _new_target(options.copy_to)
    if target is not None and target.resolve().is_relative_to(asked.root):
        raise UsageError(f"{options.copy_to} lies in what is to be verified", remedy="--copy-to wants a folder elsewhere")
    seen = load_seen(state)
    now = int(options.now())
    check_clock(now, seen)
    try:
        with new_copy(target) as copy, _opened(asked, copy) as found:
            report = _verify(asked, found, policy, seen, options)
            for folder in (found.artifacts, found.attestations, found.release):
                folder.recheck()
            remember(state, Seen(report.sequence, now))
    except OSError as reason:  # a disk that is full or broken, a folder that may not be written
        raise VerifyError(f"{reason.filename or path}: {reason.strerror}", remedy="nothing was verified; try again") from reason
    return report


def verify_release(path: Path, policy: Policy, policy_file: Path, now: Callable[[], float] = time.time) -> tuple[Signed, Seen]:
    """The release in the folder ``path`` alone: signed, and new enough; and what to ``remember`` once all else has passed."""
    state = policy_file.resolve().parent / policy.state.file
    seen, moment = load_seen(state), int(now())
    check_clock(moment, seen)
    with Folder(path) as folder:
        signed, _ = _release(folder, policy, seen)
        folder.recheck()
    return signed, Seen(signed.release.sequence, moment)


def _verify(asked: Asked, found: _Set, policy: Policy, seen: Seen, options: Options) -> Report:
    signed, ignored = _release(found.release, policy, seen)
    wanted = _wanted(asked, found, policy)
    if not wanted:
        raise ArtifactUnknownError(f"{asked.root}: there is nothing to verify")
    judged = _Judged(asked, found, signed, policy)
    accepted = [judged.image(each) if is_image_place(each) else judged.component(each) for each in wanted]
    places = judged.places
    tasks = [task for each in accepted for task in _tasks(found.artifacts, each, asked)]
    measured = _measure(found.artifacts, tasks, options)
    _compare(tasks, measured, signed)
    return Report(
        signed.release.sequence,
        signed.lock_digest,
        tuple(sorted({each.operator for each in signed.by})),
        tuple(accepted),
        tuple(Artifact(task.path, task.place, each) for task, each in zip(tasks, measured, strict=True)),
        (*ignored, *(f"{each.file}: {each.reason}" for place in places for each in place.ignored)),
        tuple(name for place in places for name in _documents(found.attestations, place)),
        tuple(_absent(signed, wanted)) if not asked.inside else (),
        str(options.copy_to) if options.copy_to else "",
    )


def _wanted(asked: Asked, found: _Set, policy: Policy) -> list[str]:
    """The places that are asked about."""
    if asked.layout:
        return _place_of(found, manifest_digest(found.artifacts), f"the image {asked.root.name}", "", policy)
    if asked.loose:
        return _place_of(found, found.artifacts.measure(asked.inside).digest, asked.inside, asked.inside, policy)
    return places_of(found.artifacts, asked.inside)


class _Judged:
    """Places, each gathered and decided on once: a component may be asked about, and be in several images."""

    def __init__(self, asked: Asked, found: _Set, signed: Signed, policy: Policy) -> None:
        self._asked, self._found, self._signed, self._policy = asked, found, signed, policy
        self._accepted: dict[str, Accepted] = {}
        self.places: list[Place] = []

    def component(self, path: str) -> Accepted:
        """What is accepted of a component. Raises the first rule's error."""
        if path not in self._accepted:
            self._accepted[path] = check_place(self._gathered(path), self._signed, self._policy)
        return self._accepted[path]

    def image(self, path: str) -> Accepted:
        """The same of an image; ``subjects`` are the files of its layout."""
        accepted, image = check_image(self._gathered(path), self._signed, self._policy, self.component)
        base = "" if self._asked.layout else path
        files = layout_files(self._found.artifacts, base, accepted.subjects[0], image.external.platform)
        return replace(accepted, subjects=files)

    def _gathered(self, path: str) -> Place:
        place = _place(self._found.attestations, path, self._policy)
        self.places.append(place)
        return place


def _absent(signed: Signed, wanted: Sequence[str]) -> Iterator[str]:
    """What the release names and the set does not hold: nothing wrong with that, and good to know."""
    for component, platforms in signed.release.components.items():
        locked = signed.lock.components.get(component)
        for platform in platforms if locked is not None else ():
            place = f"{component}/{locked.version}/{platform.replace('/', '-')}"  # type: ignore[union-attr]
            if place not in wanted:
                yield place


# -- gathering ----------------------------------------------------------------------------------------------------


@contextmanager
def _opened(asked: Asked, copy: Path | None) -> Iterator[_Set]:
    """The folders of a set; with a copy, each has its place in it."""
    with ExitStack() as stack:
        yield _Set(
            stack.enter_context(Folder(asked.root, copy)),
            stack.enter_context(Folder(asked.attestations, copy and copy / ATTESTATIONS)),
            stack.enter_context(Folder(asked.release, copy and copy / RELEASE)),
        )


def _refuse_inside(asked: Asked, policy_file: Path, state: Path) -> None:
    """What is trusted may not come with what is verified."""
    roots = [asked.attestations.resolve(), asked.release.resolve(), *([] if asked.loose else [asked.root.resolve()])]
    for what, path in (("policy", policy_file.resolve()), ("state file", state.resolve())):
        if any(path.is_relative_to(root) for root in roots):
            raise PolicyError(
                f"the {what} {path} lies in the set that it is to judge",
                remedy="keep the policy elsewhere; whoever changes the set must not be able to change it",
            )


def _new_target(copy_to: Path | None) -> Path | None:
    if copy_to is None:
        return None
    target = copy_to.absolute()
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UsageError(f"{copy_to} exists", remedy="--copy-to wants a new directory, or an empty one")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is no directory", remedy="make it first")
    return target


def _release(folder: Folder, policy: Policy, seen: Seen) -> tuple[Signed, list[str]]:
    bundles, contents, files = [], {}, {}
    for path, is_folder in folder.walk():
        if is_folder:
            continue
        if is_bundle(path):
            bundles.append(path)
        elif path in (LOCK, DIGESTS):
            contents[path] = folder.read(path, _LONGEST_TOML)
            files[path] = _sha256(contents[path])
        else:
            files[path] = folder.measure(path, _LONGEST_DOCUMENT).digest
    evidence, ignored = gather(folder, "", bundles, policy)
    found = ReleaseFolder(files, evidence, ignored)
    signed = check_release(found, contents.get(LOCK, b""), contents.get(DIGESTS, b""), policy, seen)
    return signed, [f"{each.file}: {each.reason}" for each in ignored]


def _sha256(data: bytes) -> str:
    from kubewright.files.digest import sha256_bytes

    return sha256_bytes(data)


def _place(folder: Folder, path: str, policy: Policy) -> Place:
    try:
        names = evidence_files(folder, path)
    except ArtifactMissingError:
        names = []
    return Place(path, *gather(folder, path, names, policy))


def _place_of(found: _Set, digest: str, shown: str, file: str, policy: Policy) -> list[str]:
    """Where the set would have what is known by its bytes alone; by the name of its ``file``, if that is all that fits."""
    named: list[str] = []
    for place in places_of(found.attestations, ""):
        for each in _place(found.attestations, place, policy).of_kind("provenance"):
            if digest in each.digests().values():
                return [place]
            named += [f"{place}: {name}" for name in each.digests() if file and name.rpartition("/")[2] == file]
    if named:
        raise ArtifactChangedError(f"{shown} is {digest}, which is not that of {named[0]}", remedy=_FETCH_AGAIN)
    raise ArtifactUnknownError(f"{shown}: no statement here is about {digest}")


def _documents(folder: Folder, place: Place) -> Iterator[str]:
    """Documents beside the bundles that nobody signs. The SBOMs among them have to be the signed ones."""
    with suppress(ArtifactMissingError):
        for name, _ in folder.names(place.path):
            path = f"{place.path}/{name}"
            if is_bundle(name):
                continue
            statements = place.of_kind(SBOMS.get(name, ""))
            if not statements:
                folder.measure(path, _LONGEST_DOCUMENT)  # for the copy
                yield folder.name(path)
                continue
            document = strictjson.loads(folder.read(path, strictjson.STATEMENT.size), name=folder.name(path))
            if canonical_digest(document) not in {each.document for each in statements}:
                raise SbomError(
                    f"{folder.name(path)} is not the document that {statements[0].says} signed", remedy=_FETCH_AGAIN
                )


# -- hashing and comparing ----------------------------------------------------------------------------------------

_FETCH_AGAIN: Final = "copy it again from where it was signed; if it stays so, somebody changed it there"


@dataclass(frozen=True, slots=True)
class _Task:
    """One artifact to hash: where it is, and what it has to be."""

    path: str
    place: str
    subject: Subject


def _tasks(folder: Folder, accepted: Accepted, asked: Asked) -> list[_Task]:
    if asked.loose:
        digest = folder.measure(asked.inside).digest
        fitting = [_Task(asked.inside, accepted.place, each) for each in accepted.subjects if f"sha256:{each.sha256}" == digest]
        if not fitting:  # a dissent's bytes, for one: somebody speaks of them, and they are not what was accepted
            raise ArtifactUnknownError(
                f"{asked.inside} is {digest}; somebody signed that, and it is not what the policy accepts as {accepted.place}",
                remedy="do not use it; verify the whole set to see who says what",
            )
        return fitting[:1]
    if asked.layout:
        _refuse_undeclared(folder, accepted, "")
        return [_Task(each.name, accepted.place, each) for each in accepted.subjects]
    tasks = [_Task(f"{accepted.place}/{each.name}", accepted.place, each) for each in accepted.subjects]
    if asked.inside.startswith(accepted.place + "/"):
        chosen = [task for task in tasks if task.path == asked.inside or asked.inside.startswith(task.path + "/")]
        if not chosen:
            raise ArtifactUnknownError(f"{asked.inside}: no statement is about it", remedy="do not use it")
        return chosen
    _refuse_undeclared(folder, accepted, accepted.place)
    return tasks


def _refuse_undeclared(folder: Folder, accepted: Accepted, base: str) -> None:
    declared = {f"{base}/{each.name}".lstrip("/"): each.kind == "tree" for each in accepted.subjects}
    for path, is_folder in folder.walk(base):
        inside_tree = any(tree and path.startswith(each + "/") for each, tree in declared.items())
        leads_there = is_folder and any(each == path or each.startswith(path + "/") for each in declared)
        if path not in declared and not inside_tree and not leads_there:
            raise ArtifactUnknownError(f"{folder.name(path)}: no statement is about it", remedy="remove it from the set")


def _measure(folder: Folder, tasks: Sequence[_Task], options: Options) -> list[Measured]:
    """Hash every artifact once, on all cores; the biggest first, so that none is left alone at the end."""

    def measure(task: _Task) -> Measured:
        options.watch(task.path)
        if folder.is_folder(task.path) != (task.subject.kind == "tree"):
            raise ArtifactChangedError(f"{task.path} is not the {task.subject.kind} that was signed", remedy=_FETCH_AGAIN)
        most = max(task.subject.size or 0, _LONGEST_STRANGER)
        if task.subject.kind == "tree":
            return folder.measure_tree(task.path, most)
        return folder.measure(task.path, most, executable=task.subject.kind == "program")

    order = sorted(range(len(tasks)), key=lambda index: -(tasks[index].subject.size or 0))
    with ThreadPoolExecutor(options.workers or workers(READERS)) as pool:
        futures = {index: pool.submit(measure, tasks[index]) for index in order}
        try:
            return [futures[index].result() for index in range(len(tasks))]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _compare(tasks: Sequence[_Task], measured: Sequence[Measured], signed: Signed) -> None:
    known = {
        digest: f"{component}/{path}"
        for component, platforms in signed.digests.components.items()
        for accepted in platforms.values()
        for path, digest in accepted.outputs.items()
    }
    known |= {f"sha256:{task.subject.sha256}": task.path for task in tasks}
    for task, each in zip(tasks, measured, strict=True):
        if each.digest != f"sha256:{task.subject.sha256}":
            raise _difference(task, each, known.get(each.digest, ""))


def _difference(task: _Task, measured: Measured, other: str) -> VerifyError:
    if other:
        return ArtifactSwappedError(f"{task.path} has the bytes of {other}", remedy=_FETCH_AGAIN)
    size = task.subject.size
    if size is not None and measured.size < size:
        return ArtifactTruncatedError(
            f"{task.path} has {measured.size} bytes of the {size} that were signed", remedy=_FETCH_AGAIN
        )
    return ArtifactChangedError(
        f"{task.path} is {measured.digest}, signed is sha256:{task.subject.sha256}", remedy=_FETCH_AGAIN
    )
