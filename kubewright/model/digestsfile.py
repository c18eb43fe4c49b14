"""digests.toml: what a build of each component gave, agreed by independent builds. Whoever builds compares with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from kubewright.errors import LockError
from kubewright.model import tomlfile, tomlwrite
from kubewright.model.lockfile import Digest, check_format
from kubewright.model.recipe import Name, Platform, RelativePath
from kubewright.model.schema import Doc, Key, NotEmpty, Problem
from kubewright.model.settings import SandboxName

FILE = "digests.toml"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class AgreedBuild:
    """One of the builds that gave these outputs. There is no date: equal evidence gives an equal file."""

    sandbox: Annotated[SandboxName, Doc("What it ran in.")]
    varied: Annotated[bool, Doc("It ran cold, under another path, uid, time, host name, locale and CPU count.")]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outputs of one component for one platform, under one build key."""

    key: Annotated[Digest, Doc("Build key: everything that went in.")]
    outputs: Annotated[Mapping[RelativePath, Digest], Doc("Path -> digest of the output."), NotEmpty("minProperties")]
    builds: Annotated[tuple[AgreedBuild, ...], Key("build"), Doc("Builds that agreed."), NotEmpty("minItems")]
    images: Annotated[Mapping[Name, Digest], Doc("Image -> digest of its manifest, on which two assemblies agreed.")] = field(
        default_factory=dict
    )
    image_keys: Annotated[Mapping[Name, Digest], Doc("Image -> key: everything that went into it.")] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class Digests:
    """Every accepted build: component -> platform -> outputs."""

    version: Annotated[Literal[1], Doc("Format of this file.")] = FORMAT
    components: Annotated[
        Mapping[Name, Annotated[Mapping[Platform, Accepted], NotEmpty("minProperties")]], Key("component")
    ] = field(default_factory=dict)

    def find(self, component: str, platform: str) -> Accepted | None:
        """What was accepted for ``component`` on ``platform``, if anything was."""
        return self.components.get(component, {}).get(platform)


@dataclass(frozen=True, slots=True)
class _Written:
    """The same with ``version`` always written."""

    version: int
    components: Annotated[Mapping[str, Mapping[str, Accepted]], Key("component")]


def load_digests(path: Path) -> Digests:
    """The digests in the file ``path``; none when there is no such file. Raises LockError."""
    if not path.exists():
        return Digests()
    return _from_document(tomlfile.read(path, LockError))


def parse_digests(text: str, name: str = FILE) -> Digests:
    """The digests in ``text``; raises LockError, in which the file is called ``name``."""
    return _from_document(tomlfile.parse(text, name, LockError))


def dump_digests(digests: Digests) -> str:
    """The text of digests.toml: the same for equal digests, sorted."""
    digests = sort_digests(digests)
    return tomlwrite.dump(_Written(FORMAT, digests.components), FILE, "./doit accept")


def sort_digests(digests: Digests) -> Digests:
    """``digests`` in the order of the file."""
    components = {
        name: {platform: _sort_builds(accepted) for platform, accepted in sorted(platforms.items())}
        for name, platforms in sorted(digests.components.items())
    }
    return Digests(digests.version, components)


def with_accepted(digests: Digests, component: str, platform: str, accepted: Accepted) -> Digests:
    """``digests`` with the entry for ``component`` and ``platform`` set to ``accepted``."""
    platforms = {**digests.components.get(component, {}), platform: accepted}
    return sort_digests(dataclasses.replace(digests, components={**digests.components, component: platforms}))


def _sort_builds(accepted: Accepted) -> Accepted:
    builds = tuple(sorted(accepted.builds, key=lambda build: (build.sandbox, build.varied)))
    return dataclasses.replace(
        accepted,
        outputs=dict(sorted(accepted.outputs.items())),
        builds=builds,
        images=dict(sorted(accepted.images.items())),
        image_keys=dict(sorted(accepted.image_keys.items())),
    )


def _from_document(document: tomlfile.Document) -> Digests:
    check_format(document, FORMAT)
    digests = tomlfile.load(Digests, document, _problems)
    tomlwrite.require_end(document.text, FILE, document.name, LockError)
    return digests


def _problems(digests: Digests) -> Iterator[Problem]:
    for name, platforms in digests.components.items():
        for platform, accepted in platforms.items():
            if len(accepted.builds) < 2:
                message = "one build agrees with nobody"
                yield Problem(("component", name, platform, "build"), message, f"./doit accept:{name} after a rebuild")
            for image in sorted({*accepted.images} ^ {*accepted.image_keys}):
                message = f"the image {image!r} is in one of `images` and `image_keys`, and not in the other"
                yield Problem(("component", name, platform, "images"), message, f"./doit accept:{name}")
