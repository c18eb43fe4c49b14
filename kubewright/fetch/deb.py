"""The locked Debian packages, by pool path from any archive that has the bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from kubewright.errors import OriginError
from kubewright.fetch.http import download
from kubewright.model.lockfile import LockedPackage

#: gets a package's file name, the bytes that are there, and those that there will be
Progress: TypeAlias = Callable[[str, int, "int | None"], None]


def ignore_progress(name: str, done: int, total: int | None) -> None:
    """Progress for nobody."""


def download_packages(
    packages: Sequence[LockedPackage],
    archives: Sequence[str],
    into: Path,
    *,
    builder: str,
    retries: int = 4,
    progress: Progress = ignore_progress,
    keep: Callable[[LockedPackage, Path], object] = lambda package, path: None,
    workers: int = 4,
) -> list[Path]:
    """Download packages into a directory, several at once; gives their files in the order of ``packages``.

    ``keep`` gets each as it arrives, in the thread that fetched it: what is there at a kill is not fetched again.

    ``archives``: URIs below which ``pool/`` lies, tried in order for each package. Raises OriginError, which names the
    package and the builder, for one that no archive has any more; IntegrityError and NetworkError as ``http.download``.
    The first failure ends the others.
    """
    if not archives:
        raise OriginError(
            f"no Debian archive is known for the {len(packages)} packages of builder {builder}",
            remedy='name one in settings.toml: debian_archives = ["https://HOST/debian"]',
        )
    into.mkdir(parents=True, exist_ok=True)
    for package in packages:
        progress(_file_name(package), 0, package.size)

    def fetch(package: LockedPackage) -> Path:
        path = _download(package, archives, into, builder, retries, progress)
        keep(package, path)
        return path

    with ThreadPoolExecutor(workers) as pool:
        started = [pool.submit(fetch, package) for package in packages]
        try:
            return [each.result() for each in started]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download(
    package: LockedPackage, archives: Sequence[str], into: Path, builder: str, retries: int, progress: Progress
) -> Path:
    name = _file_name(package)
    urls = [f"{archive.rstrip('/')}/{quote(package.path, safe='/~+')}" for archive in archives]
    try:
        return download(
            urls,
            sha256=package.sha256,
            size=package.size,
            target=into / name,
            retries=retries,
            progress=lambda done, total: progress(name, done, package.size),
        )
    except OriginError as error:
        raise OriginError(
            f"package {package.name} {package.version} ({package.architecture}) of builder {builder} is in no archive any more:"
            f" {package.path}",
            remedy=f"archives drop packages when newer ones arrive: ./doit lock:{builder}, or name an archive that keeps them"
            " in settings.toml (debian_archives)",
            details="\n".join([error.message, error.details]).strip(),
        ) from error


def _file_name(package: LockedPackage) -> str:
    return Path(package.path).name
