"""The GOPROXY tree: from the store's module cache, whose downloads have that layout already, each compared with its ``h1:``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubewright.building import mirrored
from kubewright.errors import IntegrityError, OriginError
from kubewright.fetch import gomodule
from kubewright.fetch.gomodule import TOOLCHAIN_MODULE, GoClient, escape, module_cache
from kubewright.fetch.mirror import bring_modules, module_file, zip_h1
from kubewright.files.digest import dirhash_gomod
from kubewright.mirror.place import Target, measured
from kubewright.mirror.plan import Needs
from kubewright.oci.workers import READERS, workers
from kubewright.project import Project
from kubewright.report import Progress

_BATCH = 50
Version = tuple[str, str]


def write_modules(project: Project, needs: Needs, target: Target, progress: Progress) -> None:
    """Place every module file that the mirror does not have. Raises what fetching raises, and IntegrityError."""
    progress.stage("modules")
    wanted = list(_wanted(needs))
    with ThreadPoolExecutor(workers(READERS)) as pool:
        there = pool.map(lambda each: _there(needs, target, *each), wanted)
        absent = [each for each, kept in zip(wanted, there, strict=True) if not kept]
    _fetch(project, needs, [each for each in absent if not _cached(project, *each).is_file()], progress)
    done = 0
    with ThreadPoolExecutor(workers(READERS)) as pool:
        for _ in pool.map(lambda each: _place(project, needs, target, *each), absent):
            done += 1
            progress.update(f"{done} of {len(absent)} files")


def _wanted(needs: Needs) -> Iterator[tuple[str, str, str]]:
    """(path, version, kind) of every module file."""
    for path, version in sorted({*needs.zips, *needs.mods}):
        for kind in ("info", "mod", "zip") if (path, version) in needs.zips else ("mod",):
            yield path, version, kind


def _there(needs: Needs, target: Target, path: str, version: str, kind: str) -> bool:
    """Whether the mirror has the file; then it is kept."""
    name = module_file(path, version, kind)
    known = target.known(name)
    if known is None and kind != "info" and (target.root / name).is_file():
        pinned = _pin(needs, path, version, kind)
        known = measured(target.root / name, "module") if pinned == _h1(target.root / name, kind) else None
    if known:
        target.keep(name, known)
    return known is not None


def _pin(needs: Needs, path: str, version: str, kind: str) -> str | None:
    return {"zip": needs.zips, "mod": needs.mods}.get(kind, {}).get((path, version))


def _h1(file: Path, kind: str) -> str | None:
    return zip_h1(file) if kind == "zip" else dirhash_gomod(file.read_bytes()) if kind == "mod" else None


def _cached(project: Project, path: str, version: str, kind: str) -> Path:
    versions = module_cache(project.store) / "cache" / "download" / escape(path) / "@v"
    return versions / f"{escape(version)}.{kind}"


# -- fetching -----------------------------------------------------------------------------------------------------


def _fetch(project: Project, needs: Needs, absent: Sequence[tuple[str, str, str]], progress: Progress) -> None:
    """Bring module files into the store: from its own mirror, then through the go client."""
    mirror = mirrored.mirror_of(project)
    if mirror:
        versions = {(path, version) for path, version, _ in absent}
        zips = {each: h1 for each, h1 in needs.zips.items() if each in versions}
        bring_modules(project.store, mirror, zips, {each: h1 for each, h1 in needs.mods.items() if each in versions})
        absent = [each for each in absent if not _cached(project, *each).is_file()]
    client = mirrored.client(project, gomodule.bootstrap_goroot())
    whole = sorted({(path, version) for path, version, kind in absent if kind != "mod" or (path, version) in needs.zips})
    for path, version in [each for each in whole if each[0] == TOOLCHAIN_MODULE]:
        progress.update(f"{path} {version}")
        gomodule.download(client, path, version)
    _ask(client, ["mod", "download", "-json"], [each for each in whole if each[0] != TOOLCHAIN_MODULE], progress)
    small = sorted({(path, version) for path, version, _ in absent} - set(whole))
    _ask(client, ["list", "-m", "-json"], small, progress)


def _ask(client: GoClient, command: Sequence[str], versions: Sequence[Version], progress: Progress) -> None:
    """Let go fetch, many at once: what comes is compared with go.sum, so no checksum database is asked."""
    for start in range(0, len(versions), _BATCH):
        batch = versions[start : start + _BATCH]
        progress.update(f"{start} of {len(versions)} modules fetched, {batch[0][0]} {batch[0][1]}")
        arguments = [*command, *(f"{path}@{version}" for path, version in batch)]
        with client.store.scratch("go") as directory:
            result = client.run(arguments, directory, {"GOSUMDB": "off"})
        if result.returncode:
            said = result.stderr + result.stdout[-2000:]
            raise client.error(said) or OriginError("the go client could not fetch modules", details=said[-2000:])


# -- placing ------------------------------------------------------------------------------------------------------


def _place(project: Project, needs: Needs, target: Target, path: str, version: str, kind: str) -> None:
    file, name = _cached(project, path, version, kind), module_file(path, version, kind)
    pinned, found = _pin(needs, path, version, kind), _h1(file, kind)
    if pinned is not None and found != pinned:
        gomodule.discard(project.store, gomodule.Module(path, version, pinned))
        raise IntegrityError(
            f"{name} has {found}, its pin is {pinned}",
            remedy="it has been taken out of the store; run the command again to fetch it anew",
        )
    target.put_file(file, name, "module")


def write_lists(target: Target) -> None:
    """``@v/list`` of each module: the versions that the mirror has whole (https://go.dev/ref/mod#goproxy-protocol)."""
    versions: dict[str, list[str]] = {}
    for path in target.files:
        folder, _, name = path.rpartition("/")
        if path.startswith("go/") and name.endswith(".info"):
            versions.setdefault(folder, []).append(unescape(name.removesuffix(".info")))
    for folder, names in sorted(versions.items()):
        target.put_bytes("".join(f"{name}\n" for name in sorted(names)).encode(), f"{folder}/list", "module")


def unescape(text: str) -> str:
    """The opposite of ``escape``."""
    parts = text.split("!")
    return parts[0] + "".join(part[:1].upper() + part[1:] for part in parts[1:])
