"""Rules about what went in: every input is in the signed lock, every origin in the policy."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from kubewright.model.lockfile import LockedBuilder, LockedComponent, LockedSource
from kubewright.verify.errors import NotLockedError, SourceRefusedError
from kubewright.verify.facts import Signed
from kubewright.verify.image_provenance import ImageProvenance
from kubewright.verify.policy import Policy
from kubewright.verify.provenance import DigestSet, Input, Provenance


@dataclass(frozen=True, slots=True)
class _Pin:
    """What the lock says of an input: its digest, and how its uri begins (empty: it has none)."""

    digest: DigestSet
    uri: str = ""


#: the builder whose package ca-certificates images have the certificates of
CERTIFICATES: Final = "image-certificates"
#: kinds that the lock pins one by one; modules are pinned by go.sum, recipe and other components by the build key
_PINNED = ("source", "commit", "patch", "file", "package", "root")


def check_locked(provenance: Provenance, signed: Signed, name: str) -> None:
    """NotLockedError unless the build had exactly what the signed lock pins for it."""
    external = provenance.external
    component = signed.lock.components.get(external.component)
    builder = signed.lock.builders.get(external.builder)
    if component is None or builder is None:
        what = f"component.{external.component}" if component is None else f"builder.{external.builder}"
        raise NotLockedError(f"{name}: the signed lockfile.toml has no [{what}]")
    expected = dict(_pins(component, external.builder, builder))
    for item in provenance.inputs:
        if item.kind in _PINNED:
            _check_pin(item, expected.pop((item.kind, item.name), None), name)
        elif item.kind == "toolchain":
            _check_toolchain(item, builder, name)
        elif item.kind == "component":
            _check_component(item, external.platform, signed, name)
    if expected:
        kind, missing = min(expected)
        raise NotLockedError(f"{name}: the lock pins the {kind} {missing}, and the build did not have it")
    if builder.toolchains and not any(item.kind == "toolchain" for item in provenance.inputs):
        raise NotLockedError(f"{name}: the lock pins a toolchain for builder {external.builder}, and the build had none")
    if external.lock.component != component or external.lock.builder != builder:
        raise NotLockedError(f"{name}: it was built under another lock than the signed one (externalParameters.lock)")


def _check_pin(item: Input, pin: _Pin | None, name: str) -> None:
    if pin is None:
        raise NotLockedError(
            f"{name}: the {item.label} is not in the signed lockfile.toml",
            remedy="something went into this build that nobody reviewed; build again from the signed lock",
        )
    if item.digest != pin.digest:
        raise NotLockedError(f"{name}: the {item.label} has another digest than in the signed lockfile.toml")
    if not item.uri.startswith(pin.uri) or bool(item.uri) != bool(pin.uri):
        raise NotLockedError(
            f"{name}: the {item.label} is from {item.uri or 'nowhere'}, in the signed lockfile.toml from {pin.uri}"
        )


def _check_toolchain(item: Input, builder: LockedBuilder, name: str) -> None:
    pins = [_Pin(DigestSet(dir_hash1=_hexadecimal(pin.h1)), "pkg:golang/golang.org/toolchain@") for pin in builder.toolchains]
    _check_pin(item, next((pin for pin in pins if pin.digest == item.digest), None), name)


def _check_component(item: Input, platform: str, signed: Signed, name: str) -> None:
    component, _, output = item.name.partition("/")
    listed = signed.digests.find(component, platform)
    if listed is not None and listed.outputs.get(output) != f"sha256:{item.digest.sha256}":
        raise NotLockedError(f"{name}: the {item.label} is not the one that digests.toml lists")


def check_image_locked(image: ImageProvenance, signed: Signed, name: str) -> None:
    """NotLockedError unless an image has every package that the signed lock pins for it, and outputs of the release."""
    component = signed.lock.components.get(image.external.component)
    if component is None:
        raise NotLockedError(f"{name}: the signed lockfile.toml has no [component.{image.external.component}]")
    needed = dict(_packages(signed, image.external.root, name) if image.external.root else ())
    allowed = {**needed, **dict(_packages(signed, CERTIFICATES, name) if CERTIFICATES in signed.lock.builders else ())}
    sources = {each.name: _source(each) for each in component.sources}
    for item in image.inputs:
        if item.kind == "package":
            _check_pin(item, allowed.get(item.name), name)
            needed.pop(item.name, None)
        elif item.kind == "source":
            _check_pin(item, sources.get(item.name), name)
        elif item.kind == "component":
            _check_component(item, image.external.platform, signed, name)
            _check_key(item, image.external.platform, signed, name)
        elif item.kind not in ("file", "recipe"):
            raise NotLockedError(f"{name}: the {item.label} has no place in an image")
    if needed:
        raise NotLockedError(f"{name}: the lock pins the package {min(needed)}, and the image does not have it")


def _check_key(item: Input, platform: str, signed: Signed, name: str) -> None:
    component = item.name.partition("/")[0]
    key = signed.release.components.get(component, {}).get(platform, "")
    if item.uri != f"urn:kubewright:key:{key}":
        raise NotLockedError(f"{name}: the {item.label} is of {item.uri or 'no build'}, the release has {key or 'none of it'}")


def _pins(component: LockedComponent, name: str, builder: LockedBuilder) -> Iterator[tuple[tuple[str, str], _Pin]]:
    for source in component.sources:
        yield ("source", source.name), _source(source)
        if source.form == "module" and source.commit:
            yield ("commit", source.name), _Pin(_git_digest(source), _git_uri(source))
    for file in component.files:
        yield ("patch" if file.path.startswith("patches/") else "file", file.path), _Pin(DigestSet(sha256=file.sha256))
    for label, pin in _debs(builder):
        yield ("package", label), pin
    if builder.root:
        yield ("root", name), _Pin(DigestSet(tree1=builder.root.removeprefix("sha256:")))


def _packages(signed: Signed, builder: str, name: str) -> Iterator[tuple[str, _Pin]]:
    if builder not in signed.lock.builders:
        raise NotLockedError(f"{name}: the signed lockfile.toml has no [builder.{builder}]")
    return _debs(signed.lock.builders[builder])


def _debs(builder: LockedBuilder) -> Iterator[tuple[str, _Pin]]:
    for package in builder.packages:
        yield package.label, _Pin(DigestSet(sha256=package.sha256), f"pkg:deb/debian/{quote(package.name, safe='')}@")


def _source(source: LockedSource) -> _Pin:
    if source.form == "module":
        path = quote(source.module.lower(), safe="/")  # a purl's type golang has no upper case
        return _Pin(DigestSet(dir_hash1=_hexadecimal(source.h1)), f"pkg:golang/{path}@{quote(source.version, safe=':')}")
    if source.form == "tree":
        return _Pin(_git_digest(source), _git_uri(source))
    return _Pin(DigestSet(sha256=source.sha256), source.url)


def _git_digest(source: LockedSource) -> DigestSet:
    return DigestSet(git_commit=source.commit, git_tree=source.tree)


def _git_uri(source: LockedSource) -> str:
    return f"git+{source.git}@" + (f"refs/heads/{source.branch}" if source.branch else f"refs/tags/{source.tag}")


def _hexadecimal(h1: str) -> str:
    return base64.b64decode(h1.removeprefix("h1:")).hex()


# -- origins ------------------------------------------------------------------------------------------------------


def check_origins(inputs: Iterable[Input], policy: Policy, name: str) -> int:
    """SourceRefusedError unless each input from elsewhere matches a pattern of the policy; how many do."""
    if not policy.sources.allow:
        return 0
    origins = sorted({origin for item in inputs for origin in _origins(item, name)})
    for origin in origins:
        if not any(matches(origin, pattern) for pattern in policy.sources.allow):
            raise SourceRefusedError(
                f"{name}: {origin} matches nothing of the policy's [sources] allow",
                remedy="if it is welcome, add it there; if not, nothing made of it is",
            )
    return len(origins)


def matches(origin: str, pattern: str) -> bool:
    """Whether a pattern (a '*' at its end stands for anything) covers an origin. Case does not count: purls have none."""
    origin, pattern = origin.lower(), pattern.lower()
    return origin.startswith(pattern[:-1]) if pattern.endswith("*") else origin == pattern


def _origins(item: Input, name: str) -> Iterator[str]:
    if item.kind not in ("source", "commit", "module", "toolchain", "package"):
        return
    kind, _, rest = item.uri.partition(":")
    if item.uri.startswith("pkg:golang/"):
        yield "module:" + unquote(rest.removeprefix("golang/").rpartition("@")[0])
    elif item.uri.startswith("pkg:deb/"):
        yield "deb:" + unquote(rest.rpartition("@")[0].rpartition("/")[2])
    elif item.uri.startswith("git+"):
        yield "git:" + item.uri.removeprefix("git+").rpartition("@")[0]
    elif kind in ("http", "https", "file"):
        yield "url:" + item.uri
    else:
        raise SourceRefusedError(f"{name}: the {item.label} has no origin that a policy could name ({item.uri or 'no uri'})")
