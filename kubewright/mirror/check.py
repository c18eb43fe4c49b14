"""Check a mirror: hash every file again, compare with index and lock, and under a policy with what operators signed.

A release's lock, recipes and go.sum files come from kubewright.git at the commit that the index names; nothing of it is run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kubewright.errors import KubewrightError, MirrorIndexError, MirrorLacksError, UsageError
from kubewright.fetch.gitexport import Commit, DamagedError, export
from kubewright.fetch.mirror import INDEX, Mirror, bring_repository, module_file, package_file, zip_h1
from kubewright.fetch.mirrorindex import LIMITS, File, Index, MirroredRelease, parse
from kubewright.files.digest import dirhash_gomod, sha256_bytes, sha256_hex, tree_digest
from kubewright.mirror.errors import MirrorDamagedError
from kubewright.mirror.place import LOCK as GUARD
from kubewright.mirror.plan import Needs, find_needs
from kubewright.mirror.repositories import PROGRAM
from kubewright.mirror.signed import check_signed
from kubewright.mirror.statement import KIND
from kubewright.mirror.wheels import RUN, TEST, allowed_hashes
from kubewright.model.digestsfile import FILE as DIGESTS
from kubewright.model.lockfile import FILE as LOCK
from kubewright.oci.workers import READERS, workers
from kubewright.project import Project
from kubewright.report import Meter, Progress
from kubewright.verify.bundle import SUFFIX
from kubewright.verify.pinned import Folder
from kubewright.verify.policy import load_policy

_AGAIN = "bring it again from where the mirror is made; there, remove it, and `./doit mirror` puts it back"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Checked:
    """A mirror that is as it should be. ``by``: operators that signed it; empty without a policy."""

    files: int
    bytes: int
    releases: tuple[MirroredRelease, ...]
    modules: int
    packages: int
    by: tuple[str, ...] = ()


def check_mirror(root: Path, progress: Progress, policy: Path | None = None, now: Callable[[], float] = time.time) -> Checked:
    """Raises MirrorIndexError, MirrorDamagedError, MirrorLacksError, UnsafeSetError (links); under a policy VerifyErrors
    (RollbackError for a release older than one that was seen) and MirrorUnsignedError."""
    if not (root / INDEX).is_file():
        raise UsageError(f"there is no {INDEX} in {root}", remedy="name the folder of a mirror; `./doit mirror` makes one")
    with Folder(root) as folder:
        data = folder.read(INDEX, LIMITS.size)
        index = parse(data, str(root / INDEX))
        _check_names(folder, index, root)
        _check_files(root, folder, index, progress)
        hashes = cache(_h1)  # releases share most of their modules
        counts = [_check_release(root, index, release, hashes, progress) for release in index.releases]
        by = check_signed(root, folder, index, data, load_policy(policy), policy, now) if policy else ()
        folder.recheck()
    sizes = sum(file.size for file in index.files.values())
    modules, packages = counts[0]
    return Checked(len(index.files), sizes, index.releases, modules, packages, by)


# -- bytes --------------------------------------------------------------------------------------------------------


def _check_names(folder: Folder, index: Index, root: Path) -> None:
    """Every file of the folder is in the index, and the other way round."""
    there = {path for path, is_folder in folder.walk() if not is_folder}
    there -= {
        INDEX,
        GUARD,
        *(path for path in there if "/" not in path and path.startswith(f"{KIND}.") and path.endswith(SUFFIX)),
    }
    problems = [f"{path} is missing" for path in sorted(index.files.keys() - there)]
    problems += [f"{path} is not in {INDEX}" for path in sorted(there - index.files.keys())]
    _refuse(
        problems,
        f"{_AGAIN}. What a killed run left, or an update half copied, goes with `./doit mirror` or `kubewright mirror prune`",
    )


def _check_files(root: Path, folder: Folder, index: Index, progress: Progress) -> None:
    progress.stage("files")
    meter, total = Meter(progress, f"{len(index.files)} files"), sum(file.size for file in index.files.values())
    done = 0

    def measure(item: tuple[str, File]) -> str:
        path, file = item
        size = (root / path).lstat().st_size
        if size != file.size:  # not hashed: a file with holes takes no room, and hours
            return f"{path} has {size} bytes, not {file.size}"
        found = folder.measure(path, file.size)
        same = found.digest == f"sha256:{file.sha256}"
        return "" if same else f"{path} is {found.digest}, not sha256:{file.sha256}"

    problems = []
    with ThreadPoolExecutor(workers(READERS)) as pool:
        for (_, file), problem in zip(index.files.items(), pool.map(measure, index.files.items()), strict=True):
            done += file.size
            meter.at(INDEX, done, total)
            problems += [problem] if problem else []
    _refuse(problems, _AGAIN)


def _refuse(problems: list[str], remedy: str, kind: type[KubewrightError] = MirrorDamagedError) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise kind(problems[0] + more, remedy=remedy, details="\n".join(problems[1:_SHOWN]))


# -- what the lock names ------------------------------------------------------------------------------------------


def _check_release(
    root: Path, index: Index, release: MirroredRelease, hashes: Callable[[Path], str], progress: Progress
) -> tuple[int, int]:
    """Compare with the pins of one release's lock; gives how many modules and packages it has."""
    progress.stage(release.folder)
    with tempfile.TemporaryDirectory(prefix="kubewright-mirror-") as scratch:
        checkout = _checkout(root, index, release, Path(scratch))
        _check_lock(root, release, checkout)
        project = Project(checkout, {"HOME": scratch, "KUBEWRIGHT_STORE": f"{scratch}/store"})
        if release.stack not in project.stacks:
            raise MirrorIndexError(f"{release.folder}: commit {release.commit} has no stack {release.stack}", remedy=_AGAIN)
        needs = find_needs(project, project.stacks[release.stack])
        _refuse([path for path, _ in needs.files() if path not in release.files], _add(release), MirrorLacksError)
        with ThreadPoolExecutor(workers(READERS)) as pool:
            tests = [*_pins(root, index, needs, hashes), *_wheels(index, release, checkout)]
            progress.update(f"comparing {len(tests)} pins")
            _refuse([problem for problem in pool.map(lambda test: test(), tests) if problem], _AGAIN)
        for number, (folder, pins) in enumerate(needs.repositories().items()):
            copy = Path(scratch) / f"{number}.git"
            _copy(root, index, folder, copy)
            for pin in pins:
                _export(copy, pin.commit, Path(scratch) / f"{number}-{pin.commit}", pin.sha256)
        return len(needs.zips), len(needs.all_packages())


def _add(release: MirroredRelease) -> str:
    return f"at commit {release.commit[:12]}, where origins can be reached: ./doit mirror:{release.stack}"


def _copy(root: Path, index: Index, folder: str, target: Path) -> None:
    files = ((path, file.sha256, file.size) for path, file in index.files.items())
    bring_repository(Mirror(root.resolve().as_uri(), retries=0), folder, files, target)


def _checkout(root: Path, index: Index, release: MirroredRelease, scratch: Path) -> Path:
    """The files of the release's commit, from kubewright.git."""
    _copy(root, index, PROGRAM, scratch / PROGRAM)
    _export(scratch / PROGRAM, release.commit, scratch / "checkout", "")
    return scratch / "checkout"


def _export(repository: Path, commit: str, target: Path, sha256: str) -> Commit:
    try:
        found = export(repository, commit, target, allow_submodules=True)
    except DamagedError as error:
        raise MirrorDamagedError(f"{repository.name} does not give commit {commit}: {error}", remedy=_AGAIN) from error
    if sha256 and tree_digest(target) != f"sha256:{sha256}":
        raise MirrorDamagedError(f"commit {commit} has {tree_digest(target)}, its pin is sha256:{sha256}", remedy=_AGAIN)
    return found


def _check_lock(root: Path, release: MirroredRelease, checkout: Path) -> None:
    """The release's files are those of its commit."""
    problems = []
    for name in (LOCK, DIGESTS):
        here, there = root / release.folder / name, checkout / name
        if there.is_file() != here.is_file() or (here.is_file() and here.read_bytes() != there.read_bytes()):
            problems.append(f"{release.folder}/{name} is not that of commit {release.commit} in {PROGRAM}")
    if not problems and sha256_hex(sha256_bytes((root / release.folder / LOCK).read_bytes())) != release.lock:
        problems.append(f"{release.folder}/{LOCK} is not the one that {INDEX} names")
    _refuse(problems, _AGAIN)


def _pins(root: Path, index: Index, needs: Needs, hashes: Callable[[Path], str]) -> Iterator[Callable[[], str]]:
    """One test for each pin: what is wrong, or nothing. The bytes are those of the index; that was compared before."""
    for (path, version), h1 in needs.zips.items():
        yield _h1_test(hashes, root, module_file(path, version, "zip"), h1)
    for (path, version), h1 in needs.mods.items():
        yield _h1_test(hashes, root, module_file(path, version, "mod"), h1)
    pinned = {package_file(each.path): each.sha256 for each in needs.all_packages()}
    pinned |= {path: pin.sha256 for path, pin in needs.archives.items()}
    for path, sha256 in pinned.items():
        yield _sha256_test(index.files[path], sha256, path)


def _h1(file: Path) -> str:
    return zip_h1(file) if file.suffix == ".zip" else dirhash_gomod(file.read_bytes())


def _h1_test(hashes: Callable[[Path], str], root: Path, name: str, h1: str) -> Callable[[], str]:
    def test() -> str:
        found = hashes(root / name)
        return "" if found == h1 else f"{name} has {found}, its pin is {h1}"

    return test


def _sha256_test(file: File, sha256: str, name: str) -> Callable[[], str]:
    return lambda: "" if file.sha256 == sha256 else f"{name} is sha256:{file.sha256}, its pin is sha256:{sha256}"


def _wheels(index: Index, release: MirroredRelease, checkout: Path) -> Iterator[Callable[[], str]]:
    """Python packages are pinned by requirements/*.txt of the commit."""
    texts = [(checkout / name).read_text("utf-8") for name in (RUN, TEST) if (checkout / name).is_file()]
    allowed = allowed_hashes(texts)
    for path in release.files:
        if index.files[path].kind == "wheel" and index.files[path].sha256 not in allowed:
            problem = f"{path} is sha256:{index.files[path].sha256}, which {RUN} and {TEST} do not name"
            yield lambda problem=problem: problem  # type: ignore[misc]
