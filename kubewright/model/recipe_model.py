"""What a recipe may hold: where a component's source is, how it is built, what comes out.

What types cannot say is in ``recipe_rules``; loading is in ``recipe``, which is also where to import these classes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from kubewright.model.image_model import Image
from kubewright.model.schema import AtLeast, Case, Cases, Doc, ExactlyOne, Key, NotEmpty, Pattern
from kubewright.model.template import EARLY, EARLY_WITH_ARGUMENT, LATE, WITH_ARGUMENT, Template

Name = Annotated[str, Pattern(r"[a-z0-9][a-z0-9-]*", "a name of lower-case letters, digits and '-'")]
#: what packaging.version.Version takes and Go tags use: 1.37.2, 2.8.0-rc.1, 1.37.1+k3s1
Version = Annotated[
    str,
    Pattern(
        r"[0-9]+(\.[0-9]+)*([-.]?(alpha|beta|rc|a|b)[-.]?[0-9]*)?(\+[a-z0-9]+([-.][a-z0-9]+)*)?",
        "a version such as 1.37.2, 2.8.0-rc.1 or 1.37.1+k3s1, without a leading v",
    ),
]
Platform = Annotated[str, Pattern(r"linux/(amd64|arm64)", "a platform: linux/amd64 or linux/arm64")]
RelativePath = Annotated[
    str,
    Pattern(
        r"(?!/)(?!.*//)(?!(.*/)?\.\.?(/|$))[^\\\x00-\x1f]*[^/\\\x00-\x1f]",
        "a relative path without '..', '.', '//' or a slash at its end",
    ),
]
_WEB = r"https?://[^\s/@<>]+(/\S*)?|file:///\S+"
_URL = Pattern(_WEB, "an http(s) or file URL without credentials")
Url = Annotated[str, _URL]
GitUrl = Annotated[str, Pattern(_WEB + r"|ssh://([a-z0-9_-]+@)?[^\s/@]+/\S*", "a URL without a password")]
EarlyText = Annotated[str, Template(EARLY, EARLY_WITH_ARGUMENT)]
LateText = Annotated[str, Template()]
#: a word of a command: it may name the digest of a file that an earlier step made
CommandText = Annotated[str, Template(LATE, (*WITH_ARGUMENT, "sha256"))]
TAG = "v{version}"


@dataclass(frozen=True, slots=True)
class Patch:
    """A change to a source, kept beside the recipes."""

    file: Annotated[
        str,
        Doc("File in patches/COMPONENT/."),
        Pattern(r"(?!\.)[^/\\\s]+\.patch", "the name of a .patch file, without folders"),
    ]
    reason: Annotated[str, Doc("Why it is needed; shown by `why` and `status`."), NotEmpty()]


@dataclass(frozen=True, slots=True)
class Source:
    """Where source comes from. The first one is the main one: {commit} and {source_date} are its."""

    CASES: ClassVar[Cases] = Cases(
        "form",
        {
            "module": Case(required=("module",), refused=("url", "strip", "branch", "submodules")),
            "tree": Case(required=("git",), refused=("url", "strip", "unpack")),
            "archive": Case(
                required=("url",),
                refused=(
                    "module",
                    "version",
                    "git",
                    "tag",
                    "branch",
                    "submodules",
                    "signed_by",
                    "subdirectory",
                    "unpack",
                    "commit_hint",
                    "replace",
                ),
            ),
        },
    )

    form: Annotated[
        Literal["module", "tree", "archive"],
        Doc("module: a Go module's zip; tree: the files of a git commit; archive: a tar or zip file."),
    ]
    name: Annotated[
        str,
        Doc("Its folder is src/NAME. Default: the component's name."),
        Pattern(r"[a-z0-9][a-z0-9-]*", "a name of lower-case letters, digits and '-'"),
    ] = ""
    module: Annotated[
        str,
        Doc("Go module path. With form tree: lets the lock compare the commit with the checksum database."),
        Pattern(r"[A-Za-z0-9][A-Za-z0-9._~/-]*[A-Za-z0-9]", "a Go module path"),
    ] = ""
    version: Annotated[EarlyText, Doc("Go module version."), NotEmpty()] = "v{version}"
    git: Annotated[GitUrl, Doc("The git repository of upstream.")] = ""
    tag: Annotated[
        str,
        Template(EARLY, (*EARLY_WITH_ARGUMENT, "module")),
        Doc("git tag. {module:PATH} is the version in the main source's go.mod (not for the main source)."),
        NotEmpty(),
    ] = TAG
    branch: Annotated[
        str,
        Doc("Instead of a tag, where upstream has none: locked to its newest commit whenever the recipe's version changes."),
        Pattern(r"[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]", "a git branch"),
    ] = ""
    submodules: Annotated[bool, Doc("Take the files of its submodules as well, each at the commit that the tree names.")] = (
        False
    )
    signed_by: Annotated[
        RelativePath,
        Doc("File of recipes/NAME/ with the public keys (OpenPGP, or SSH allowed signers) of which one signed the tag."),
    ] = ""
    subdirectory: Annotated[RelativePath, Doc("Folder of the repository in which the module lives.")] = ""
    url: Annotated[EarlyText, Doc("Where the archive is; the lock pins its SHA-256."), _URL] = ""
    strip: Annotated[int, Doc("Leading path components to drop from the archive's members."), AtLeast(0)] = 1
    unpack: Annotated[bool, Doc("Lay the module's files at src/NAME. Patches imply it.")] = False
    commit_hint: Annotated[
        str,
        Doc("A commit that nobody could confirm here; shown as a hint, never used."),
        Pattern(r"[0-9a-f]{40}|[0-9a-f]{64}", "a full git commit"),
    ] = ""
    facts: Annotated[
        Mapping[RelativePath, tuple[EarlyText, ...]],
        Doc(
            "File of the source -> texts that are in it: what this recipe repeats, so that a new version cannot differ unseen."
        ),
    ] = field(default_factory=dict)
    replace: Annotated[
        Mapping[str, EarlyText],
        Doc("Local replace targets of upstream's go.mod (globs) -> the published version that stands for them."),
    ] = field(default_factory=dict)
    patches: Annotated[tuple[Patch, ...], Key("patch"), Doc("Applied in order.")] = ()


@dataclass(frozen=True, slots=True)
class Overlay:
    """A file or folder of recipes/NAME/ that is laid into the build."""

    from_: Annotated[RelativePath, Key("from"), Doc("Relative to recipes/NAME/.")]
    to: Annotated[RelativePath, Doc("Relative to /build.")]


@dataclass(frozen=True, slots=True)
class Input:
    """An output of another component that is laid into the build."""

    component: Annotated[Name, Doc("The component that makes it.")]
    output: Annotated[RelativePath, Doc("One of its outputs, or a path inside an output of kind tree.")]
    to: Annotated[RelativePath, Doc("Relative to /build.")]


@dataclass(frozen=True, slots=True)
class PackageFiles:
    """Files of the builder's Debian packages that are laid into the build."""

    to: Annotated[RelativePath, Doc("Folder relative to /build; files keep their paths below it.")]
    files: Annotated[
        Mapping[
            Annotated[str, Pattern(r"[a-z0-9][a-z0-9+.-]+", "a Debian package name")],
            Annotated[tuple[RelativePath, ...], NotEmpty("minItems")],
        ],
        Doc("Package -> paths in it, such as usr/sbin/ipset. A link gives what it leads to, a folder all that is in it."),
        NotEmpty("minProperties"),
    ]


@dataclass(frozen=True, slots=True)
class GoStep:
    """One `go build` of one or more commands, or `go test -c` of one package, without the network."""

    commands: Annotated[
        Mapping[RelativePath, Annotated[str, Pattern(r"[A-Za-z0-9._~+/-]+", "a Go package path")]],
        Doc("Output path -> Go package."),
        NotEmpty("minProperties"),
    ]
    tags: Annotated[tuple[Annotated[str, Pattern(r"[A-Za-z0-9_.]+", "a build tag")], ...], Doc("Build tags, upstream's.")] = ()
    variables: Annotated[Mapping[str, LateText], Doc("PACKAGE.NAME -> value, set by the linker's -X. May use variables.")] = (
        field(default_factory=dict)
    )
    ldflags: Annotated[tuple[LateText, ...], Doc("More linker flags; -s -w -buildid= are always passed.")] = ()
    cgo: Annotated[bool, Doc("Build with CGO_ENABLED=1; needs a builder with a C compiler.")] = False
    buildmode: Annotated[Literal["default", "pie"], Doc("pie: a position-independent executable.")] = "default"
    dir: Annotated[
        RelativePath, Doc("A module below /build to build in, such as src/etcd/server. Default: the generated main module.")
    ] = ""
    mod: Annotated[Literal["readonly", "vendor"], Doc("Where dependencies come from.")] = "readonly"
    env: Annotated[Mapping[str, LateText], Doc("More environment, such as CGO_CFLAGS.")] = field(default_factory=dict)
    test: Annotated[bool, Doc("Build a package's tests as a program, which `go test -c` makes; one package in `commands`.")] = (
        False
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One step; exactly one of `go` and `run`."""

    CHOICE: ClassVar[ExactlyOne] = ExactlyOne(("go", "run"))

    go: Annotated[GoStep | None, Doc("A `go build`, or `go test -c`.")] = None
    run: Annotated[tuple[CommandText, ...], Doc("A command as an argument list; there is no shell."), NotEmpty("minItems")] = ()
    dir: Annotated[RelativePath, Doc("Of `run`, relative to /build. Default: /build.")] = ""
    env: Annotated[Mapping[str, LateText], Doc("Of `run`: more environment.")] = field(default_factory=dict)
    stdout: Annotated[
        RelativePath,
        Doc("Of `run`: a file, relative to /build, that its standard output becomes. Default: the log, with standard error."),
    ] = ""


@dataclass(frozen=True, slots=True)
class Output:
    """What the build leaves in /build/out; anything else there is an error."""

    path: Annotated[RelativePath, Doc("Relative to /build/out.")]
    kind: Annotated[
        Literal["program", "file", "tree"], Doc("program: a file of mode 0755; file: of mode 0644; tree: a folder.")
    ] = "program"


@dataclass(frozen=True, slots=True)
class Smoke:
    """A run of an output in a sandbox after the build."""

    run: Annotated[tuple[LateText, ...], Doc("The first word is an output."), NotEmpty("minItems")]
    expect: Annotated[tuple[LateText, ...], Doc("Each occurs in what it prints (stdout and stderr).")] = ()
    status: Annotated[int, Doc("Its exit status."), AtLeast(0)] = 0
    env: Annotated[Mapping[str, LateText], Doc("More environment.")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An output that is applied to a cluster. A bundle takes it with every image named by digest; see manifests.md."""

    output: Annotated[RelativePath, Doc("One of the outputs.")]
    replace: Annotated[
        Mapping[Annotated[str, NotEmpty()], EarlyText],
        Doc("Image that upstream names (without a tag: whatever its tag) -> the reference of ours that stands for it."),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One component. The file is recipes/NAME/recipe.toml."""

    name: Annotated[Name, Doc("The component's name, and its folder's.")]
    version: Annotated[Version, Doc("Upstream's version.")]
    summary: Annotated[str, Doc("What it is, in one line."), Pattern(r"[^\n]*\S[^\n]*", "one line of text")]
    licence: Annotated[
        str,
        Doc("Upstream's licence."),
        Pattern(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*", "an SPDX expression such as Apache-2.0"),
    ]
    builder: Annotated[Name, Doc("builders/NAME.toml: the environment that it is built in.")]
    sources: Annotated[tuple[Source, ...], Key("source"), Doc("Where the source is."), NotEmpty("minItems")]
    steps: Annotated[tuple[Step, ...], Key("step"), Doc("How it is built, in order."), NotEmpty("minItems")]
    outputs: Annotated[tuple[Output, ...], Key("output"), Doc("What comes out."), NotEmpty("minItems")]
    homepage: Annotated[Url, Doc("Page of upstream.")] = ""
    platforms: Annotated[tuple[Platform, ...], Doc("Platforms that it is built for."), NotEmpty("minItems")] = ("linux/amd64",)
    status: Annotated[str, Doc("Facts to know when upstream is dead, lost or cannot be fetched.")] = ""
    notes: Annotated[str, Doc("Why things are as they are.")] = ""
    overlays: Annotated[tuple[Overlay, ...], Key("overlay"), Doc("Files of ours laid into the build.")] = ()
    inputs: Annotated[tuple[Input, ...], Key("input"), Doc("Outputs of other components.")] = ()
    packages: Annotated[tuple[PackageFiles, ...], Key("package"), Doc("Files of the builder's Debian packages.")] = ()
    links: Annotated[
        Mapping[
            RelativePath, Annotated[str, Pattern(r"[^\x00-\x1f\\/][^\x00-\x1f\\]*", "the target of a link within the build")]
        ],
        Doc("Symbolic links to lay into the build: path relative to /build -> target, relative to the link."),
    ] = field(default_factory=dict)
    smokes: Annotated[tuple[Smoke, ...], Key("smoke"), Doc("Checks that run what was built.")] = ()
    manifests: Annotated[tuple[Manifest, ...], Key("manifest"), Doc("Outputs that are applied to a cluster.")] = ()
    images: Annotated[tuple[Image, ...], Key("image"), Doc("Container images of what was built.")] = ()


def has_main_module(recipe: Recipe) -> bool:
    """Whether it builds in the generated main module, and so has recipes/NAME/go.mod and go.sum."""
    return any(step.go is not None and not step.go.dir for step in recipe.steps)
