"""Where every running executable comes from: the bundle, a layer of one of its images, or a package of the host.

Every /proc/PID/exe is hashed, also that of programs in containers and of files that were deleted since. What a layer holds is
read from containerd's content store, where a blob's name is its digest, and only for images that the install has verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from kubewright.files.digest import sha256_file
from kubewright.install.errors import InstallError, JournalError, UnknownProgramError
from kubewright.install.host import Host
from kubewright.install.journal import Journal
from kubewright.install.runtime import blob_path
from kubewright.verify import strictjson
from kubewright.verify.errors import VerifyError

_LISTED: Final = "JSON: an object of SHA-256 -> PACKAGE/PATH"
_LIMITS: Final = strictjson.Limits(size=64 << 20, string=4096, depth=4, values=2_000_000)
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """One running program. ``origin`` is empty where nobody knows it."""

    pid: int
    path: str
    digest: str
    origin: str


def audit(host: Host, journal: Journal, packages: Path | None) -> list[Program]:
    """Every running program. ``packages``: JSON of SHA-256 -> PACKAGE/PATH, beside what dpkg knows. Raises JournalError."""
    if not journal.exists:
        raise JournalError("nothing of kubewright's is installed here", remedy="kubewright install BUNDLE --policy FILE")
    known = {**_bundle(journal.plan), **_listed(packages)}
    running = list(_running(host))
    if any(digest not in known for _, _, digest in running):
        known = {**dict(_images(host, journal.plan)), **known}
    if any(digest not in known for _, _, digest in running):
        known = {**_dpkg(host, {path for _, path, digest in running if digest not in known}), **known}
    return [Program(pid, path, digest, known.get(digest, "")) for pid, path, digest in running]


def require_known(programs: list[Program]) -> None:
    """UnknownProgramError when one is of unknown origin."""
    unknown = [each for each in programs if not each.origin]
    if unknown:
        raise UnknownProgramError(
            f"{len(unknown)} of {len(programs)} programs are of unknown origin: {unknown[0].path} (pid {unknown[0].pid})",
            remedy="find out who put them there; --packages FILE names files that this host had before",
            details="\n".join(f"{each.digest} {each.path} (pid {each.pid})" for each in unknown),
        )


def as_text(programs: list[Program]) -> str:
    """One line for each kind of program."""
    count: dict[tuple[str, str, str], int] = {}
    for each in programs:
        key = (each.origin or "UNKNOWN", each.path, each.digest)
        count[key] = count.get(key, 0) + 1
    lines = [f"{digest[7:19]}  {number:>3}  {path}  ({origin})\n" for (origin, path, digest), number in sorted(count.items())]
    return "".join(lines) + f"{len(programs)} programs run, {sum(not each.origin for each in programs)} of unknown origin\n"


# -- what runs -------------------------------------------------------------------------------------------------------------


def _running(host: Host) -> Iterator[tuple[int, str, str]]:
    """Process, path as it sees it, digest. Threads of the kernel have no executable; what ends meanwhile does not count."""
    digests: dict[tuple[int, int, int, int], str] = {}
    for folder in sorted(host.path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        exe = folder / "exe"
        with suppress(FileNotFoundError, ProcessLookupError), exe.open("rb") as stream:
            path = str(exe.readlink()).removesuffix(" (deleted)")
            found = os.fstat(stream.fileno())
            key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if key not in digests:
                digests[key] = _sha256(stream)
            yield int(folder.name), path, digests[key]


def _sha256(stream: BinaryIO) -> str:
    found = hashlib.sha256()
    while piece := stream.read(_CHUNK):
        found.update(piece)
    return "sha256:" + found.hexdigest()


# -- what is known -----------------------------------------------------------------------------------------------------------


def _bundle(plan: Mapping[str, Any]) -> dict[str, str]:
    return {file["digest"]: f"bundle: {file['origin']}" for file in plan["files"] if file["origin"] != "rendered"}


def _listed(packages: Path | None) -> dict[str, str]:
    if packages is None:
        return {}
    try:
        with packages.open("rb") as stream:
            value = strictjson.loads(stream.read(_LIMITS.size + 1), _LIMITS, str(packages))
    except (OSError, VerifyError) as reason:
        raise InstallError(f"{packages}: {reason}", remedy=_LISTED) from None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise InstallError(f"{packages}: not a list of packages", remedy=_LISTED)
    return {f"sha256:{digest}": f"package: {where}" for digest, where in value.items()}


def _images(host: Host, plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Digest -> image and path of every executable in the images' layers."""
    seen = set()
    for image in (image for step in plan["steps"] if step["kind"] == "import" for image in step["images"]):
        for layer in _layers(host, image["digest"]):
            if layer in seen:
                continue
            seen.add(layer)
            with _blob(host, layer).open("rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isreg() and member.mode & 0o111 else None
                    if content is not None:
                        yield _sha256(content), f"image: {image['name']}: /{member.name}"  # type: ignore[arg-type]


def _layers(host: Host, manifest: str) -> Iterator[str]:
    path = _blob(host, manifest)
    if sha256_file(path) != manifest:
        raise InstallError(f"{path} does not have the digest of its name")
    for layer in json.loads(path.read_bytes())["layers"]:
        if sha256_file(_blob(host, layer["digest"])) != layer["digest"]:
            raise InstallError(f"{_blob(host, layer['digest'])} does not have the digest of its name")
        yield layer["digest"]


def _blob(host: Host, digest: str) -> Path:
    path = host.path(blob_path(digest))
    if not path.is_file():
        raise InstallError(f"containerd no longer has {digest}", remedy="kubewright install, again, imports what is missing")
    return path


def _dpkg(host: Host, paths: set[str]) -> dict[str, str]:
    """SHA-256 -> package, for files whose MD5 is what Debian's package says (it has no better; a hint, not a proof)."""
    folder, found = host.path("/var/lib/dpkg/info"), {}
    wanted = {path.lstrip("/"): path for path in paths} | {path.removeprefix("/usr").lstrip("/"): path for path in paths}
    for sums in sorted(folder.glob("*.md5sums")) if folder.is_dir() else ():
        for line in sums.read_text("utf-8", "replace").splitlines():
            expected, _, name = line.partition("  ")
            if name in wanted and _md5(host.path(wanted[name])) == expected:
                found[sha256_file(host.path(wanted[name]))] = f"package: {sums.name.removesuffix('.md5sums')}/{name} (by MD5)"
    return found


def _md5(path: Path) -> str:
    if not path.is_file():
        return ""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
