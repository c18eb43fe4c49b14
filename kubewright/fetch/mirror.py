"""A site's mirror as an origin (docs/mirror.md): where each input lies in it, and how it comes from there.

A mirror is a folder, or the same folder behind HTTP. Nothing that it says is believed: every file is compared with its pin
before it is put anywhere, has a bound on its size, and comes through ``fetch.http`` alone. Neither the go client nor git talk
to a mirror; they find what was brought in the module cache, and in a repository on this machine.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from kubewright.disk import writing
from kubewright.errors import IntegrityError, KubewrightError, MirrorLacksError, NetworkError, OriginError, UnsafeArchiveError
from kubewright.fetch.archive import file_name
from kubewright.fetch.gomodule import Module, escape, extracted, module_cache
from kubewright.fetch.http import download, redact
from kubewright.files.digest import dirhash_gomod, dirhash_zip
from kubewright.files.modulezip import MAX_GO_MOD, MAX_ZIP
from kubewright.store import Store

INDEX: Final = "index.json"
_MAX_INFO: Final = 1 << 20
_WORKERS: Final = 6
_HOW: Final = "where the mirror is made, at this commit: ./doit mirror:STACK; then bring the folder here again"

#: the lock pins a toolchain's zip; its go.mod is the same for all
TOOLCHAIN_GO_MOD: Final = dirhash_gomod(b"module golang.org/toolchain\n")

#: module files: (path, version) -> h1, of zips and of go.mod files
Sums = Mapping[tuple[str, str], str]


# -- where things lie ---------------------------------------------------------------------------------------------


def module_file(path: str, version: str, kind: str) -> str:
    """A file of the GOPROXY tree; ``kind``: info, mod or zip."""
    return f"go/{escape(path)}/@v/{escape(version)}.{kind}"


def package_file(pool_path: str) -> str:
    return f"deb/{pool_path}"


def archive_file(sha256: str, url: str) -> str:
    return f"archives/{sha256}/{file_name(url)}"


def repository_folder(url: str) -> str:
    """git/HOST/PATH.git, readable; with a digest where characters had to give way."""
    parts = urlsplit(redact(url)) if "://" in url else None
    wanted = f"{parts.netloc or 'localhost'}{parts.path}" if parts else redact(url).replace(":", "/", 1)
    wanted = wanted.removesuffix("/").removesuffix(".git")
    kept = [re.sub(r"[^A-Za-z0-9._-]", "-", part) for part in wanted.split("/")]
    name = "/".join(part.lstrip(".") or "-" for part in kept if part)
    plain = name == wanted
    return f"git/{name}.git" if plain else f"git/{name}-{hashlib.sha256(redact(url).encode()).hexdigest()[:8]}.git"


# -- asking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mirror:
    """``url``: http, https or file, no slash at its end. ``only``: whether a missing file is an error at once."""

    url: str
    only: bool = True
    retries: int = 4

    @property
    def name(self) -> str:
        """For people."""
        return unquote(urlsplit(self.url).path) if self.url.startswith("file:") else redact(self.url)

    def at(self, path: str) -> str:
        return f"{self.url}/{quote(path, safe='/~+!@')}"

    def lacks(self, path: str, what: str, more: str = "") -> MirrorLacksError:
        """The error that names what is missing and where it is added."""
        return MirrorLacksError(f"the mirror {self.name} lacks {path} ({what}){more}", remedy=_HOW)

    def folder(self) -> Path | None:
        """The folder; None for a mirror behind HTTP. Raises MirrorLacksError where there is none."""
        if not self.url.startswith("file:"):
            return None
        root = Path(unquote(urlsplit(self.url).path)).resolve()
        if not root.is_dir():
            raise MirrorLacksError(
                f"there is no mirror at {root}", remedy="correct `mirror` in settings.toml or KUBEWRIGHT_MIRROR"
            )
        return root

    @contextmanager
    def naming(self) -> Iterator[None]:
        """What no origin has, inside, is what this mirror lacks, if nobody else was asked."""
        if self.only:
            self.folder()
        try:
            yield
        except OriginError as error:
            if not self.only or isinstance(error, MirrorLacksError):
                raise
            message = f"the mirror {self.name} lacks an input: {error.message}"
            raise MirrorLacksError(message, remedy=_HOW, details=error.details) from error

    def bring(
        self,
        path: str,
        target: Path,
        what: str,
        *,
        sha256: str | None = None,
        size: int | None = None,
        most: int = 4 << 30,
        progress: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> Path:
        """Fetch one file. Raises MirrorLacksError, IntegrityError (other bytes, or more than there may be), NetworkError."""
        self._refuse_outside(path)
        try:
            return download(
                [self.at(path)],
                sha256=sha256,
                size=size,
                max_size=most,
                target=target,
                retries=self.retries,
                progress=progress,
            )
        except OriginError as error:
            raise MirrorLacksError(self.lacks(path, what).message, remedy=_HOW, details=error.message) from error

    def _refuse_outside(self, path: str) -> None:
        """A folder that somebody else wrote may hold links to anywhere."""
        root = self.folder()
        if root is not None and not (root / path).resolve().is_relative_to(root):
            raise IntegrityError(f"{path} of the mirror {root} leads out of it", remedy="kubewright mirror check")


# -- Go modules ---------------------------------------------------------------------------------------------------


def read_sums(text: str) -> tuple[Sums, Sums]:
    """The hashes of a go.sum: those of modules and those of go.mod files, each by (path, version)."""
    zips: dict[tuple[str, str], str] = {}
    mods: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        path, version, h1 = (*line.split(), "", "", "")[:3]
        if version.endswith("/go.mod"):
            mods[path, version.removesuffix("/go.mod")] = h1
        elif h1:
            zips[path, version] = h1
    return zips, mods


def bring_modules(
    store: Store, mirror: Mirror, zips: Sums, mods: Sums, on_file: Callable[[str], None] = lambda name: None
) -> None:
    """Put what go will look for into the module cache's downloads, compared with its ``h1:``; what is there stays.

    Raises MirrorLacksError, which names the first of what is missing and how many; IntegrityError, NetworkError.
    """
    missing = [(each, zips.get(each), mods.get(each)) for each in sorted({*zips, *mods})]
    with store.scratch("mirror") as scratch:

        def bring(item: tuple[int, tuple[tuple[str, str], str | None, str | None]]) -> MirrorLacksError | None:
            number, ((path, version), zip_h1, mod_h1) = item
            fetcher = _Fetcher(store, mirror, scratch / str(number), path, version)
            try:
                fetcher.fetch(zip_h1, mod_h1, on_file)
            except MirrorLacksError as error:
                return error
            except NetworkError:
                if mirror.only:
                    raise
            return None

        with ThreadPoolExecutor(_WORKERS) as pool:
            started = [pool.submit(bring, item) for item in enumerate(missing)]
            try:
                lacking = [error for each in started if (error := each.result())]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    if lacking and mirror.only:
        more = f", and {len(lacking) - 1} more files" if len(lacking) > 1 else ""
        raise MirrorLacksError(lacking[0].message + more, remedy=lacking[0].remedy, details=lacking[0].details)


@dataclass(frozen=True, slots=True)
class _Fetcher:
    """Brings the files of one module version into the cache."""

    store: Store
    mirror: Mirror
    scratch: Path
    path: str
    version: str

    def fetch(self, zip_h1: str | None, mod_h1: str | None, on_file: Callable[[str], None]) -> None:
        cached = self._cached("zip").is_file() or extracted(self.store, Module(self.path, self.version, ""))
        if zip_h1 and not cached:
            on_file(f"{self.path} {self.version}")
            self._info()
            if mod_h1:
                self._mod(mod_h1)
            self._zip(zip_h1)
        elif mod_h1:
            self._mod(mod_h1)

    def _cached(self, kind: str) -> Path:
        versions = module_cache(self.store) / "cache" / "download" / escape(self.path) / "@v"
        return versions / f"{escape(self.version)}.{kind}"

    def _bring(self, kind: str, most: int) -> Path:
        self.scratch.mkdir(exist_ok=True)
        path = module_file(self.path, self.version, kind)
        return self.mirror.bring(path, self.scratch / kind, f"module {self.path} {self.version}", most=most)

    def _keep(self, kind: str, file: Path) -> None:
        target = self._cached(kind)
        with writing(self.store.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)

    def _info(self) -> None:
        if not self._cached("info").is_file():
            self._keep("info", self._bring("info", _MAX_INFO))

    def _mod(self, h1: str) -> None:
        if not self._cached("mod").is_file():
            file = self._bring("mod", MAX_GO_MOD)
            self._compare("mod", dirhash_gomod(file.read_bytes()), h1)
            self._keep("mod", file)

    def _zip(self, h1: str) -> None:
        file = self._bring("zip", MAX_ZIP)
        self._compare("zip", zip_h1(file), h1)
        summary = self.scratch / "ziphash"
        summary.write_text(h1, "ascii")
        self._keep("ziphash", summary)
        self._keep("zip", file)

    def _compare(self, kind: str, found: str, h1: str) -> None:
        if found != h1:
            raise IntegrityError(
                f"{module_file(self.path, self.version, kind)} of the mirror {self.mirror.name} has {found}, its pin is {h1}",
                remedy="nothing was kept of it; ask `kubewright mirror check` what else is wrong with the mirror",
            )


def zip_h1(path: Path) -> str:
    """``h1:`` of a module zip that somebody else made; what is no zip, or a bomb, has none: its name says why."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())  # no member gives more than it declares
        if size > MAX_ZIP:
            return f"{size} bytes unpacked, more than a module may have"
        return dirhash_zip(path)
    except (UnsafeArchiveError, zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        return f"no hash ({error.message if isinstance(error, KubewrightError) else error})"


# -- git ----------------------------------------------------------------------------------------------------------

#: what git reads of a bare repository to give out objects; its configuration is written here, never taken
_REPOSITORY_FILE: Final = re.compile(
    r"HEAD|packed-refs|refs/(?:heads|tags)/[A-Za-z0-9_][A-Za-z0-9_.+/@-]*"
    r"|objects/(?:pack/pack-[0-9a-f]{40,64}\.(?:pack|idx)|[0-9a-f]{2}/[0-9a-f]{38,62})"
)


def bring_repository(
    mirror: Mirror,
    folder: str,
    files: Iterable[tuple[str, str, int]],
    target: Path,
    on_bytes: Callable[[int], None] = lambda done: None,
) -> str:
    """A copy of a repository of the mirror as a new bare repository at ``target``; gives its URL.

    ``files``: path, SHA-256 and size of all that the mirror's index lists. git never runs in the mirror's own folder, where a
    configuration could name programs; what it checks when it reads objects decides.
    """
    inside = folder + "/"
    wanted = [(path, sha256, size) for path, sha256, size in files if path.startswith(inside)]
    kept = [item for item in wanted if _REPOSITORY_FILE.fullmatch(item[0].removeprefix(inside)) and ".." not in item[0]]
    if not kept:
        raise mirror.lacks(folder, "a git repository")
    for name in ("objects", "refs"):
        (target / name).mkdir(parents=True, exist_ok=True)
    (target / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
    (target / "HEAD").write_text("ref: refs/heads/main\n")
    done = 0
    for path, sha256, size in kept:
        place = target / PurePosixPath(path.removeprefix(inside))
        place.parent.mkdir(parents=True, exist_ok=True)
        mirror.bring(path, place, "of a git repository", sha256=sha256, size=size)
        done += size
        on_bytes(done)
    return target.as_uri()
