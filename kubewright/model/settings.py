"""What differs from site to site: settings.toml (optional, not committed) and KUBEWRIGHT_* in the environment, which wins."""

from __future__ import annotations

import os
import platform as host
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, cast

from kubewright.errors import RecipeError
from kubewright.model import tomlfile
from kubewright.model.decode import decode
from kubewright.model.recipe import Name, Platform
from kubewright.model.schema import AtLeast, Doc, NotEmpty, Problem

FILE = "settings.toml"
SandboxName = Literal["bubblewrap", "docker"]
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What differs from site to site. Every key is optional, the file too; the environment wins over it."""

    sandbox: Annotated[SandboxName, Doc("What builds run in. Environment: KUBEWRIGHT_SANDBOX.")] = "bubblewrap"
    store: Annotated[
        str,
        Doc(
            "Folder of inputs and results, relative to the project. "
            "Default: $XDG_CACHE_HOME/kubewright, else ~/.cache/kubewright. Environment: KUBEWRIGHT_STORE."
        ),
        NotEmpty(),
    ] = ""
    stack: Annotated[Name, Doc("The stack of a bare `./doit build`. Environment: KUBEWRIGHT_STACK.")] = "kubernetes"
    platform: Annotated[Platform, Doc("What to build for. Default: the host's. Environment: KUBEWRIGHT_PLATFORM.")] = ""
    debian_archives: Annotated[
        tuple[Annotated[str, NotEmpty()], ...],
        Doc("URIs of Debian archives, tried in order. Default: those of apt's own configuration."),
    ] = ()
    git_mirrors: Annotated[Mapping[str, str], Doc("Prefix of a git URL -> what replaces it.")] = field(default_factory=dict)
    mirror: Annotated[
        str,
        Doc(
            "Where inputs come from: a mirror's folder, relative to the project, or its http, https or file URL "
            "(docs/mirror.md). Environment: KUBEWRIGHT_MIRROR."
        ),
        NotEmpty(),
    ] = ""
    mirror_only: Annotated[bool, Doc("Whether nobody but the mirror is asked. false: then the usual origins.")] = True
    mirror_to: Annotated[
        str,
        Doc("Folder that `./doit mirror` writes, relative to the project. Environment: KUBEWRIGHT_MIRROR_TO."),
        NotEmpty(),
    ] = "artifacts/mirror"
    signing_key: Annotated[
        str,
        Doc(
            "Private key that `./doit sign` and `attest` use, relative to the project; `kubewright key new` makes one. "
            "Environment: KUBEWRIGHT_SIGNING_KEY."
        ),
        NotEmpty(),
    ] = ""
    memory: Annotated[int | None, Doc("Bytes that one build step may use."), AtLeast(16 * 1024 * 1024)] = None
    time_limit: Annotated[int, Doc("Seconds that one build step may take."), AtLeast(1)] = 3 * 3600
    retries: Annotated[int, Doc("How often a download is tried again."), AtLeast(0)] = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force: defaults, file and environment put together; paths are absolute, ``mirror`` is a URL or empty."""

    root: Path
    store: Path
    sandbox: SandboxName = "bubblewrap"
    stack: str = "kubernetes"
    platform: str = "linux/amd64"
    debian_archives: tuple[str, ...] = ()
    git_mirrors: Mapping[str, str] = field(default_factory=dict)
    mirror: str = ""
    mirror_only: bool = True
    mirror_to: Path = Path("artifacts/mirror")
    signing_key: Path | None = None
    memory: int | None = None
    time_limit: int = 3 * 3600
    retries: int = 4


def load_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the project at ``root`` (settings.toml need not exist); raises RecipeError."""
    root = root.absolute()
    path = root / FILE
    written = tomlfile.load(SettingsFile, tomlfile.read(path, RecipeError), _problems) if path.exists() else SettingsFile()
    override = _overrides(environ)
    return Settings(
        root=root,
        store=_store(root, override.get("store") or written.store, environ),
        sandbox=cast(SandboxName, override.get("sandbox") or written.sandbox),
        stack=override.get("stack") or written.stack,
        platform=override.get("platform") or written.platform or host_platform(),
        debian_archives=written.debian_archives,
        git_mirrors=written.git_mirrors,
        mirror=_mirror(root, override.get("mirror") or written.mirror),
        mirror_only=written.mirror_only,
        mirror_to=root / Path(override.get("mirror_to") or written.mirror_to).expanduser(),
        signing_key=_path(root, override.get("signing_key") or written.signing_key),
        memory=written.memory,
        time_limit=written.time_limit,
        retries=written.retries,
    )


def host_platform() -> str:
    """The platform of this machine, as Go and OCI write it; raises RecipeError for machines that we do not build for."""
    system, machine = host.system().lower(), host.machine().lower()
    architecture = _ARCHITECTURES.get(machine)
    if system != "linux" or architecture is None:
        message = f"this machine is {system}/{machine}, which nothing is built for"
        raise RecipeError(message, remedy=f'set platform = "linux/amd64" in {FILE}, or KUBEWRIGHT_PLATFORM')
    return f"linux/{architecture}"


def _overrides(environ: Mapping[str, str]) -> dict[str, str]:
    """The keys that the environment sets, checked like those of the file; an empty variable counts as not set."""
    found: dict[str, str] = {}
    for key in ("sandbox", "store", "stack", "platform", "mirror", "mirror_to", "signing_key"):
        variable = f"KUBEWRIGHT_{key.upper()}"
        value = environ.get(variable, "")
        problems: list[Problem] = []
        if value and decode(SettingsFile, {key: value}, problems) is None:
            problem = problems[0]
            raise RecipeError(f"environment variable {variable}: {problem.message}", remedy=problem.remedy)
        if value:
            found[key] = value
    return found


def _mirror(root: Path, written: str) -> str:
    """As a URL without a slash at its end; what has none of the schemes is a folder."""
    if "://" not in written:
        return Path(os.path.abspath(root / Path(written).expanduser())).as_uri() if written else ""  # noqa: PTH100 - no links
    if not written.startswith(("http://", "https://", "file:///")):
        raise RecipeError(
            f"mirror = {written.partition('://')[0]}://...: a mirror is a folder, or an http, https or file URL",
            remedy=f"correct it in {FILE} or KUBEWRIGHT_MIRROR",
        )
    return written.rstrip("/")


def _path(root: Path, written: str) -> Path | None:
    return root / Path(written).expanduser() if written else None


def _store(root: Path, written: str, environ: Mapping[str, str]) -> Path:
    if written:
        return root / Path(written).expanduser()
    cache = environ.get("XDG_CACHE_HOME", "")
    home = environ.get("HOME", "")
    # the XDG specification has relative values ignored
    base = Path(cache) if cache.startswith("/") else (Path(home) if home else Path.home()) / ".cache"
    return base / "kubewright"


def _problems(written: SettingsFile) -> Iterator[Problem]:
    for prefix in written.git_mirrors:
        if "://" not in prefix:
            remedy = 'write prefixes such as "https://example.org/"'
            yield Problem(("git_mirrors", prefix), f"{prefix!r} is not the beginning of a URL", remedy)
