"""apt, asked at lock time: which archives this machine uses, and which packages a suite of them gives.

apt itself checks the signature of Release and the digests from there to each package. It runs with a state, a cache and a
source of its own below a scratch directory, as if nothing were installed, so any user may run it and nothing of the machine
changes. Of the machine's configuration only ``Acquire`` (proxies, certificates, time-outs) and auth.conf count. Nothing of an
archive's host gets into the results.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import unquote, urlsplit

from kubewright.errors import IntegrityError, KubewrightError, NetworkError, OriginError
from kubewright.fetch.http import redact
from kubewright.model.lockfile import LockedPackage

_FORMAT: Final = "$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)\t$(COMPONENT)\t$(SOURCESENTRY)"
_SCHEMES: Final = ("http", "https", "file", "copy")
_WANTED_URI: Final = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$", re.MULTILINE)
_TIMEOUT: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Target:
    """One package index that apt is configured to use."""

    uri: str
    release: str
    debian: bool
    entry: str


def archives() -> list[str]:
    """URIs of the Debian archives of apt's own configuration, in its order, each once; a local one as ``file:``.

    Raises OriginError where apt is not there, or knows none.
    """
    uris = [target.uri.replace("copy:", "file:", 1) for target in _targets()]
    return list(dict.fromkeys(uris))


def resolve(
    suite: str, packages: Sequence[str], architecture: str, *, archives: Sequence[str] = (), keyring: str = ""
) -> list[LockedPackage]:
    """The packages that apt would install from one suite (component main) into an empty root, recommendations left out.

    Sorted by name. ``archives`` and ``keyring`` (a path; empty: apt's trusted keys) take the place of apt's sources. Raises
    OriginError for an unknown package or suite, IntegrityError when a signature does not hold, NetworkError.
    """
    failures: list[KubewrightError] = []
    for uri, key in _candidates(suite, archives, keyring):
        with tempfile.TemporaryDirectory(prefix="kubewright-apt-") as scratch:
            try:
                environment = _prepare(Path(scratch), uri, key, suite, architecture)
                _apt(["update"], environment, f"suite {suite} of {redact(uri)}")
                printed = _apt(
                    ["install", "--print-uris", *packages], environment, f"packages of suite {suite} at {redact(uri)}"
                )
                return sorted(_packages(printed, uri), key=lambda package: package.name)
            except (NetworkError, OriginError, IntegrityError) as error:
                failures.append(error)
    first = next((error for error in failures if not isinstance(error, OriginError)), failures[0])
    raise first


# -- what this machine is configured for --------------------------------------------------------------------------


def _targets() -> list[_Target]:
    if shutil.which("apt-get") is None:
        raise OriginError(
            "apt is not on this machine, so the site's Debian archive is not known",
            remedy='to fetch, name it in settings.toml: debian_archives = ["https://HOST/debian"]; locking needs apt itself',
        )
    printed = _apt(["indextargets", "--format", _FORMAT, "Created-By: Packages"], _environment(), "apt's configuration")
    targets = []
    for line in printed.splitlines():
        uri, release, origin, component, entry = line.split("\t")
        if uri.partition(":")[0] in _SCHEMES and component == "main" and (origin == "Debian" or origin.startswith("$(")):
            targets.append(_Target(uri, release, origin == "Debian", entry))
    if not targets:
        raise OriginError(
            "apt on this machine has no source of Debian packages (http, https or file, component main)",
            remedy='add one to /etc/apt/sources.list.d, or name one in settings.toml: debian_archives = ["https://HOST/debian"]',
        )
    return sorted(targets, key=lambda target: not target.debian)  # an index not yet fetched does not say whose it is


def _candidates(suite: str, archives: Sequence[str], keyring: str) -> list[tuple[str, str]]:
    """(URI, Signed-By) of the archives to ask: first those that the machine has this very suite from."""
    if archives:
        return [(uri, keyring) for uri in archives]
    targets = sorted(_targets(), key=lambda target: target.release != suite)
    return list(dict.fromkeys((target.uri, signed_by(target.entry, target.uri)) for target in targets))


def signed_by(entry: str, uri: str) -> str:
    """The keyring (or the key itself) of a source; empty for apt's trusted keys. ``entry``: ``FILE:NUMBER``."""
    path = Path(entry.rpartition(":")[0])
    try:
        text = path.read_text("utf-8")
    except OSError:
        return ""
    return _of_stanzas(text, uri) if path.suffix == ".sources" else _of_lines(text, uri)


def _of_stanzas(text: str, uri: str) -> str:
    """deb822, sources.list(5): a field's value goes on in lines that begin with a blank; ``#`` lines are comments."""
    plain = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", plain):
        fields = {name.lower(): value for name, value in re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza)}
        if uri.rstrip("/") in (each.rstrip("/") for each in fields.get("uris", "").split()):
            return str(fields.get("signed-by", "")).strip()
    return ""


def _of_lines(text: str, uri: str) -> str:
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)", line)
        if found and found[2].rstrip("/") == uri.rstrip("/"):
            option = re.search(r"(?i)(?:^|\s)signed-by=(\S+)", found[1] or "")
            return option[1] if option else ""
    return ""


# -- a private apt ------------------------------------------------------------------------------------------------


def _prepare(scratch: Path, uri: str, key: str, suite: str, architecture: str) -> dict[str, str]:
    """An apt of its own below a directory; gives the environment that selects it."""
    for folder in ("state/lists/partial", "cache/archives/partial", "sources", "empty"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").write_text("")
    source = f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n"
    (scratch / "sources" / "one.sources").write_text(source + (f"Signed-By: {key}\n" if key else ""))
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "false",
        "APT::Get::AllowUnauthenticated": "false",
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Dir::State": str(scratch / "state"),
        "Dir::State::status": str(scratch / "status"),
        "Dir::Cache": str(scratch / "cache"),
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(scratch / "sources"),
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": str(scratch / "empty"),
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": str(scratch / "empty"),
    }
    lines = [*_acquire_settings(), *(f'{key} "{value}";' for key, value in settings.items())]
    (scratch / "apt.conf").write_text("\n".join(lines) + "\n")
    return _environment() | {"APT_CONFIG": str(scratch / "apt.conf")}


def _acquire_settings() -> list[str]:
    """How the machine's apt reaches archives; what it fetches from them beyond packages is left out."""
    done = subprocess.run(["apt-config", "dump"], env=_environment(), capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("Acquire::")]
    return [line for line in lines if not line.startswith(("Acquire::IndexTargets", "Acquire::Allow", "Acquire::Languages"))]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "APT_CONFIG"))}
    return kept | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def _apt(arguments: Sequence[str], environment: dict[str, str], what: str) -> str:
    command = ["apt-get", "-q=2", "-y", *arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"{what}: apt did not end within {_TIMEOUT:.0f} seconds", remedy="check the network") from error
    if done.returncode == 0:
        return done.stdout
    raise _meaning(what, done.stderr)


def _meaning(what: str, messages: str) -> KubewrightError:
    details = re.sub(r"://[^/@\s]*@", "://", messages).strip()[-2000:]
    first = next((line for line in details.splitlines() if line.startswith("E:")), details.partition("\n")[0])
    missing = re.findall(
        r"E: (?:Unable to locate package|Package '?)\s*(\S+?)'?(?: has no installation candidate|$)", details, re.M
    )
    if missing:
        return OriginError(
            f"{what}: no package {', '.join(sorted(set(missing)))}",
            remedy="correct debian.packages of the builder",
            details=details,
        )
    if re.search(
        r"NO_PUBKEY|is not signed|BADSIG|EXPKEYSIG|REVKEYSIG|signatures? .*(?:invalid|verified)|Hash Sum mismatch", details
    ):
        return IntegrityError(
            f"{what}: apt does not accept its signatures",
            remedy="install the archive's keyring (on Debian: debian-archive-keyring), and try again",
            details=details,
        )
    if re.search(r"does not have a Release file|\b404\b|File not found", details):
        return OriginError(
            f"{what}: the archive does not have it", remedy="correct debian.suite of the builder", details=details
        )
    if re.search(r"Release file .* is (?:expired|not valid yet)", details):
        remedy = (
            "use an archive that is kept up to date; for a frozen one, set Acquire::Check-Valid-Until in apt's configuration"
        )
        return OriginError(f"{what}: the archive's signature is out of date", remedy=remedy, details=details)
    if re.search(r"unmet dependencies|held broken packages", details):
        return OriginError(f"{what}: apt finds no set that fits together", remedy="correct debian.packages", details=details)
    return NetworkError(f"{what}: {first}", remedy="check the network and apt's sources", details=details)


def _packages(printed: str, archive: str) -> list[LockedPackage]:
    found = [_package(match.groupdict(), archive) for match in _WANTED_URI.finditer(printed)]
    if len(found) != sum(line.startswith("'") for line in printed.splitlines()) or not found:
        raise OriginError("apt printed something else than packages with SHA-256", details=printed[-2000:])
    return found


def _package(facts: dict[str, str], archive: str) -> LockedPackage:
    """From apt's line ``'URI' NAME_VERSION_ARCHITECTURE.deb SIZE SHA256:HEX``."""
    name, version, rest = facts["file"].split("_")
    root = unquote(urlsplit(archive).path).rstrip("/") + "/"
    path = unquote(urlsplit(facts["uri"]).path)
    if not path.startswith(root):
        raise OriginError(f"apt would fetch {name} from another archive than asked", details=redact(facts["uri"]))
    architecture = cast(Literal["amd64", "arm64", "all"], rest.removesuffix(".deb"))
    return LockedPackage(name, unquote(version), architecture, path.removeprefix(root), facts["sha256"], int(facts["size"]))
