"""Image references: the grammar of https://pkg.go.dev/github.com/distribution/reference, which container runtimes use."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:__|[._]|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")
#: bytes of a whole reference: a name of 255, a tag of 128, a digest
_LONGEST = 255 + 1 + 128 + 1 + 71


@dataclass(frozen=True, slots=True)
class ImageName:
    """A reference taken apart. ``name`` is the repository as written, ``repository`` in full (docker.io/library/busybox);
    ``tag`` and ``digest`` (sha256:...) are empty where it has none. ``registry``: it names one itself."""

    name: str
    repository: str
    tag: str
    digest: str
    registry: bool


def parse(text: str) -> ImageName | None:
    """``text`` as a reference, or None when it is none."""
    if len(text) > _LONGEST:
        return None
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        return None
    name, tag = rest, ""
    head, colon, tail = rest.rpartition(":")
    if colon and "/" not in tail and not _is_port(head, tail):
        name, tag = head, tail
        if not _TAG.fullmatch(tag):
            return None
    found = _repository(name)
    return ImageName(name, found[0], tag, digest, found[1]) if found else None


def _is_port(head: str, tail: str) -> bool:
    """``[2001:db8::1]`` alone has colons and no tag."""
    return head.startswith("[") and tail.endswith("]")


def _repository(name: str) -> tuple[str, bool] | None:
    """The repository in full, and whether the name says its registry; None for what is no name."""
    if len(name) > 255 or _IDENTIFIER.fullmatch(name):
        return None
    first, slash, rest = name.partition("/")
    registry = bool(slash) and (first == "localhost" or any(sign in first for sign in ".:") or first != first.lower())
    domain, path = (first, rest) if registry else ("docker.io", name)
    if not _DOMAIN.fullmatch(domain) or not all(_COMPONENT.fullmatch(part) for part in path.split("/")):
        return None
    if domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return f"{domain}/{path}", registry
