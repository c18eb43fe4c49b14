"""Package URLs (ECMA-427) of what we build from: golang and deb."""

from __future__ import annotations

from urllib.parse import quote


def golang(module: str, version: str) -> str:
    """pkg:golang/NAMESPACE/NAME@VERSION; the type has namespace and name in lower case."""
    return f"pkg:golang/{quote(module.lower(), safe='/')}@{_version(version)}"


def deb(name: str, version: str, architecture: str, suite: str) -> str:
    """pkg:deb/debian/NAME@VERSION?arch=ARCH&distro=SUITE."""
    return (
        f"pkg:deb/debian/{quote(name.lower(), safe='')}@{_version(version)}?arch={architecture}&distro={quote(suite, safe='')}"
    )


def _version(version: str) -> str:
    return quote(version, safe=":")
