"""An image that a recipe makes of its component's outputs and of locked packages: ``[[image]]``. No build key depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from kubewright.files.deb import merged
from kubewright.model.schema import Doc, KeyPath, NotEmpty, Pattern, Problem
from kubewright.model.template import EARLY, Template

_PART = r"(?!\.\.?(/|$))(?!\.wh\.)[^/\\\x00-\x1f]+"
ImagePath = Annotated[str, Pattern(rf"/{_PART}(/{_PART})*", "an absolute path without '..', '.', '//' or a slash at its end")]
OutputName = Annotated[
    str,
    Pattern(
        r"([a-z0-9][a-z0-9-]*:)?(?!/)(?!.*//)(?!(.*/)?\.\.?(/|$))[^:\\\x00-\x1f]*[^:/\\\x00-\x1f]",
        "an output such as etcdctl, or COMPONENT:OUTPUT",
    ),
]
SourceFile = Annotated[
    str,
    Pattern(r"(?!/)(?!.*//)(?!(.*/)?\.\.?(/|$))[^\\\x00-\x1f]*[^/\\\x00-\x1f]", "a relative path without '..'"),
]
Reference = Annotated[
    str,
    Pattern(
        r"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+:[A-Za-z0-9_{}][A-Za-z0-9_.{}-]*",
        "a full reference such as registry.k8s.io/pause:3.10",
    ),
    Template(EARLY, ()),
]
_Account = Annotated[
    str, Pattern(r"(?!(root|nobody|nonroot)$)[a-z_][a-z0-9_-]*", "the name of a user or group that not every image has")
]
Capability = Literal["net_admin", "net_bind_service", "net_raw"]
#: the numbers of capabilities(7)
CAPABILITIES: Mapping[str, int] = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13}


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the component for each of its platforms: layers of locked packages and of outputs, one for each input."""

    name: Annotated[str, Doc("Its task is image:NAME; unique over all recipes."), Pattern(r"[a-z0-9][a-z0-9-]*", "a name")]
    reference: Annotated[Reference, Doc("The name that upstream's manifests use, with its tag. May use {version}.")]
    version: Annotated[
        str,
        Doc("Of an image that holds packages alone. Default: the component's."),
        Pattern(r"[A-Za-z0-9][A-Za-z0-9.+-]*", "a version"),
    ] = ""
    summary: Annotated[
        str, Doc("What it is, in one line. Default: the component's."), Pattern(r"[^\n]*\S[^\n]*", "one line of text")
    ] = ""
    licence: Annotated[
        str,
        Doc("Of an image that holds packages alone. Default: the component's."),
        Pattern(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*", "an SPDX expression such as Apache-2.0"),
    ] = ""
    root: Annotated[
        str,
        Doc("builders/ROOT.toml, whose locked packages become layers. Then /bin, /sbin, /lib and /lib64 are links into /usr."),
        Pattern(r"[a-z0-9][a-z0-9-]*", "a name of lower-case letters, digits and '-'"),
    ] = ""
    files: Annotated[Mapping[ImagePath, OutputName], Doc("Path -> output of this component, or COMPONENT:OUTPUT.")] = field(
        default_factory=dict
    )
    source_files: Annotated[
        Mapping[ImagePath, SourceFile],
        Doc("Path -> file of the main source, such as a configuration that upstream's image has."),
    ] = field(default_factory=dict)
    links: Annotated[
        Mapping[ImagePath, Annotated[str, NotEmpty()]],
        Doc("Path -> what it is a symbolic link to; those that maintainer scripts of packages would make, too."),
    ] = field(default_factory=dict)
    aliases: Annotated[
        Mapping[ImagePath, tuple[Annotated[str, Pattern(_PART, "the name of a file")], ...]],
        Doc("Program -> names beside it that are links to it, such as the applets of busybox."),
    ] = field(default_factory=dict)
    capabilities: Annotated[
        Mapping[ImagePath, tuple[Capability, ...]], Doc("One of `files` -> capabilities that it gets when it is started.")
    ] = field(default_factory=dict)
    certificates: Annotated[
        bool, Doc("/etc/ssl/certs/ca-certificates.crt, of the package that builders/image-certificates.toml locks.")
    ] = False
    user: Annotated[str, Doc("Who runs it."), Pattern(r"[0-9]+:[0-9]+", "UID:GID in numbers, which Kubernetes can compare")] = (
        "0:0"
    )
    entrypoint: Annotated[tuple[str, ...], Doc("The program and its first arguments.")] = ()
    command: Annotated[tuple[str, ...], Doc("Further arguments, which a manifest replaces.")] = ()
    env: Annotated[
        Mapping[Annotated[str, Pattern(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name")], str],
        Doc("Environment; PATH has upstream's usual value unless it is here."),
    ] = field(default_factory=dict)
    workdir: Annotated[str, Doc("Working directory; it is made."), Pattern(r"/|/.*[^/]", "an absolute path")] = "/"
    ports: Annotated[
        tuple[Annotated[str, Pattern(r"[0-9]{1,5}/(tcp|udp|sctp)", "a port such as 53/udp")], ...], Doc("Ports, for people.")
    ] = ()
    volumes: Annotated[tuple[ImagePath, ...], Doc("Folders with data of their own; they are made.")] = ()
    folders: Annotated[
        Mapping[ImagePath, Annotated[str, Pattern(r"1?[0-7]{3}", "a mode such as 755 or 1777")]],
        Doc("Path -> mode of folders which programs expect; packages' own folders have 755 unless they are here."),
    ] = field(default_factory=dict)
    users: Annotated[
        Mapping[_Account, Annotated[str, Pattern(r"[0-9]+:[0-9]+", "UID:GID in numbers")]],
        Doc("Name -> UID:GID of further users in /etc/passwd."),
    ] = field(default_factory=dict)
    groups: Annotated[
        Mapping[_Account, Annotated[str, Pattern(r"[0-9]+:([a-z_][a-z0-9_-]*(,[a-z_][a-z0-9_-]*)*)?", "GID:MEMBER,...")]],
        Doc("Name -> GID:MEMBER,... of further groups in /etc/group."),
    ] = field(default_factory=dict)


#: keys that came later: where they are not said they are in no image's key, so that images of before keep theirs
LATER: Final = ("folders", "users", "groups")


def output_of(name: str, component: str) -> tuple[str, str]:
    """``[COMPONENT:]OUTPUT`` as (component, output); ``component`` is the one whose recipe says it."""
    other, colon, output = name.rpartition(":")
    return (other, output) if colon else (component, output)


def components_of(image: Image, component: str) -> tuple[str, ...]:
    """The components whose outputs an image holds, sorted; ``component`` is the one whose recipe has it."""
    return tuple(sorted({component, *(output_of(name, component)[0] for name in image.files.values())}))


def problems_of_image(image: Image, component: str, outputs: Mapping[str, str], path: KeyPath) -> Iterator[Problem]:
    """What is wrong with one image; ``outputs``: path -> kind of its own component's."""
    for place, name in image.files.items():
        other, output = output_of(name, component)
        if other == component:
            yield from wrong_output(outputs, component, output, (*path, "files", place))
    taken: dict[str, str] = {}
    for key, named in _places(image):
        place = merged(named.lstrip("/")) if image.root else named.lstrip("/")
        if place in taken:
            message = f"{named} is there twice, in `{taken[place]}` and in `{key}`"
            yield Problem((*path, key), message, "give each its own place; with `root`, /bin and /usr/bin are one")
        taken[place] = key
    for place in image.capabilities:
        if place not in image.files:
            yield Problem((*path, "capabilities", place), f"{place} is not in `files`", "only what was built may get any")
    if not (image.entrypoint or image.command):
        yield Problem(path, "says neither `entrypoint` nor `command`", "take those of upstream's image")
    if not image.files and not (image.version and image.licence):
        yield Problem(path, "has no `files`, so version and licence are not the component's", "add `version` and `licence`")
    if not (image.files or image.root):
        yield Problem(path, "has neither `files` nor `root`, so nothing would be in it", "add one of them")


def links_of(image: Image) -> dict[str, str]:
    """Every symbolic link of an image, aliases too: path -> target."""
    beside = {
        f"{program.rpartition('/')[0]}/{name}": program.rpartition("/")[2]
        for program, names in image.aliases.items()
        for name in names
    }
    return {**image.links, **beside}


def _places(image: Image) -> Iterator[tuple[str, str]]:
    """(key, path) of everything that an image puts somewhere."""
    for key in ("files", "source_files", "links", "folders"):
        yield from ((key, place) for place in getattr(image, key))
    for program, names in image.aliases.items():
        yield from (("aliases", f"{program.rpartition('/')[0]}/{name}") for name in names)


def wrong_output(outputs: Mapping[str, str], component: str, output: str, path: KeyPath) -> Iterator[Problem]:
    """Whether ``output`` is a file among the outputs (path -> kind) of ``component``."""
    if outputs.get(output) not in ("program", "file"):
        files = ", ".join(name for name, kind in outputs.items() if kind != "tree") or "none"
        yield Problem(path, f"{component} has no output {output!r} that is a file", f"it has: {files}")
