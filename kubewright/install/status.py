"""Drift: what on this node is no longer as it was installed: changed, missing, or there without being of the install."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kubewright.files.digest import sha256_file
from kubewright.install.errors import JournalError
from kubewright.install.host import Host
from kubewright.install.journal import Journal
from kubewright.install.place import setting_path, stray_hosts
from kubewright.install.plan import CURRENT


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference."""

    kind: Literal["changed", "missing", "extra", "stopped"]
    what: str
    note: str = ""


def drift(host: Host, journal: Journal) -> list[Drift]:
    """Everything that differs from the plan that was installed. Raises JournalError where nothing is installed."""
    if not journal.exists:
        raise JournalError("nothing of kubewright's is installed here", remedy="kubewright install BUNDLE --policy FILE")
    plan = journal.plan
    found = [*_files(host, plan), *_links(host, plan), *_settings(host, plan), *_services(host, plan)]
    return sorted(found, key=lambda each: (each.kind, each.what))


def as_text(found: list[Drift], journal: Journal) -> str:
    """For people."""
    node = journal.plan["node"]
    head = f"{journal.plan['stack']} (release {journal.plan['sequence']}) on {node['name']}, {node['role']}: {journal.phase}\n"
    lines = [f"    {each.kind:8} {each.what}{f' ({each.note})' if each.note else ''}\n" for each in found]
    return head + ("".join(lines) or "    as installed\n")


def _files(host: Host, plan: Mapping[str, Any]) -> Iterator[Drift]:
    folder = host.path(plan["directory"])
    known = {file["path"] for file in plan["files"]}
    for file in plan["files"]:
        yield from _file(folder / file["path"], file)
    for path in sorted(folder.rglob("*")):
        relative = str(path.relative_to(folder))
        if relative not in known and (path.is_symlink() or not path.is_dir()):
            yield Drift("extra", str(path))
    yield from (Drift("extra", str(path)) for path in stray_hosts(host, {file["path"] for file in plan["outside"]}))
    for file in plan["outside"]:
        yield from _file(host.path(file["path"]), file)


def _file(path: Path, file: Mapping[str, Any]) -> Iterator[Drift]:
    if not path.is_file() or path.is_symlink():
        yield Drift("missing", str(path))
    elif sha256_file(path) != file["digest"]:
        yield Drift("changed", str(path), "other bytes")
    elif f"{path.stat().st_mode & 0o7777:04o}" != file["mode"]:
        yield Drift("changed", str(path), f"mode {path.stat().st_mode & 0o7777:04o}, not {file['mode']}")


def _links(host: Host, plan: Mapping[str, Any]) -> Iterator[Drift]:
    links = {**plan["links"], CURRENT: "releases/" + plan["directory"].rpartition("/")[2]}
    for path, target in links.items():
        found = host.path(path)
        if not found.is_symlink():
            yield Drift("missing", path)
        elif str(found.readlink()) != target:
            yield Drift("changed", path, f"leads to {found.readlink()}")


def _settings(host: Host, plan: Mapping[str, Any]) -> Iterator[Drift]:
    for key, value in plan["settings"].items():
        path = setting_path(host, key)
        if path.is_file() and path.read_text().strip() != value:
            yield Drift("changed", key, f"is {path.read_text().strip()}, not {value}")


def _services(host: Host, plan: Mapping[str, Any]) -> Iterator[Drift]:
    for service in plan["services"]:
        if host.run(("systemctl", "is-active", "--quiet", service), timeout=30).status:
            yield Drift("stopped", service)
