"""A GOPROXY in a folder (https://go.dev/ref/mod#goproxy-protocol), and a GOROOT that is the machine's own go: for tests that
fetch and build small Go modules without a network."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from kubewright.fetch.gomodule import bootstrap_goroot, escape

TIME = "2024-05-06T07:08:09Z"


def publish(proxy: Path, module: str, version: str, files: Mapping[str, str]) -> None:
    """Add a module version; ``files`` has its go.mod."""
    folder = proxy / escape(module) / "@v"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{version}.mod").write_text(files["go.mod"])
    (folder / f"{version}.info").write_text(json.dumps({"Version": version, "Time": TIME}))
    with zipfile.ZipFile(folder / f"{version}.zip", "w") as archive:
        for name, text in sorted(files.items()):
            archive.writestr(f"{module}@{version}/{name}", text)
    with (folder / "list").open("a") as versions:
        versions.write(f"{version}\n")


def escape_path(proxy: Path, module: str) -> Path:
    """Where a module's versions lie."""
    return proxy / escape(module) / "@v"


def environment(proxy: Path) -> dict[str, str]:
    """What makes the go client ask the folder, and nobody else."""
    return {"GOPROXY": f"file://{proxy}", "GOSUMDB": "off", "GOFLAGS": "", "GONOPROXY": "none", "GOPRIVATE": ""}


def borrowed_goroot(target: Path) -> Path:
    """A small GOROOT whose ``go`` runs the one of this environment; it can be hashed and copied in no time."""
    program = target / "bin" / "go"
    program.parent.mkdir(parents=True)
    (target / "pkg" / "tool").mkdir(parents=True)
    (target / "VERSION").write_text("borrowed\n")
    program.write_text(f'#!/bin/sh\nexec "{bootstrap_goroot()}/bin/go" "$@"\n')
    program.chmod(0o755)
    return target
