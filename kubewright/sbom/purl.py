"""Package URLs (ECMA-427, https://github.com/package-url/purl-spec) of what outputs are made of."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote


def golang(module: str, version: str, qualifiers: Mapping[str, str] | None = None) -> str:
    """``pkg:golang/NAMESPACE/NAME@VERSION?...``. The type wants namespace and name in lower case, so that the module path
    itself has to stand beside it wherever capitals matter."""
    return f"pkg:golang/{_encoded(module.lower(), '/')}@{_encoded(version)}{_qualifiers(qualifiers or {})}"


def deb(name: str, version: str, architecture: str, suite: str) -> str:
    """``pkg:deb/debian/NAME@VERSION?arch=ARCH&distro=SUITE``."""
    return f"pkg:deb/debian/{_encoded(name.lower())}@{_encoded(version)}{_qualifiers({'arch': architecture, 'distro': suite})}"


def oci(name: str, digest: str, reference: str) -> str:
    """``pkg:oci/NAME@sha256:HEX?repository_url=...&tag=...``; the type wants the last part of the repository as the name."""
    repository, _, tag = reference.rpartition(":")
    last = repository.rpartition("/")[2] or name
    return f"pkg:oci/{_encoded(last.lower())}@{_encoded(digest)}{_qualifiers({'repository_url': repository, 'tag': tag})}"


def generic(name: str, version: str, qualifiers: Mapping[str, str] | None = None) -> str:
    """``pkg:generic/NAME@VERSION?...`` for what no package manager knows."""
    return f"pkg:generic/{_encoded(name)}@{_encoded(version)}{_qualifiers(qualifiers or {})}"


def _qualifiers(pairs: Mapping[str, str]) -> str:
    words = [f"{key}={_encoded(value)}" for key, value in sorted(pairs.items()) if value]
    return "?" + "&".join(words) if words else ""


def _encoded(text: str, kept: str = "") -> str:
    """Percent-encoded; letters, digits, ``.-_~`` and the colon stay (ECMA-427, 5.4)."""
    return quote(text, safe=":" + kept)
