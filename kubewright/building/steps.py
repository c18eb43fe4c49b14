"""A recipe's steps as commands: pure functions of recipe, variables, platform and the paths inside the sandbox.

``kubewright plan`` shows what these functions return, and ``build`` runs it: there is no second opinion on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubewright.model.recipe import GoStep, Recipe, Smoke, Step
from kubewright.model.template import expand
from kubewright.model.template import variables as names_in

#: where a go step leaves its programs before they are moved to their names
GO_OUT = ".go-out"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths inside the sandbox. A rebuild uses other ones: no byte of an output may depend on them."""

    build: str = "/build"
    modules: str = "/modules"
    toolchain: str = "/toolchain"
    cache: str = "/go-cache"
    cgo_cache: str = "/cgo-cache"

    @property
    def own_cache(self) -> str:
        """A compile cache that is empty at the start and goes with the build directory."""
        return self.under(".go-cache")

    def under(self, relative: str) -> str:
        return f"{self.build}/{relative}" if relative else self.build


@dataclass(frozen=True, slots=True)
class Command:
    """One command in the sandbox. ``renames``: file left in GO_OUT -> path below out/. ``pure``: nothing of the source runs.

    ``stdout``: the file below the build directory that its standard output becomes; empty for the log. ``digests``: word that
    stands in ``argv`` -> file below the build directory whose SHA-256 takes its place when it is run.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    renames: Mapping[str, str] = field(default_factory=dict)
    pure: bool = False
    stdout: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)


def commands(recipe: Recipe, variables: Mapping[str, str], platform: str, layout: Layout) -> list[Command]:
    """The commands of all steps, in order. ``variables`` as of ``template.lock_context``."""
    known = {**variables, "build": layout.build}
    return [_command(recipe, step, known, platform, layout) for step in recipe.steps]


def smoke_command(smoke: Smoke, variables: Mapping[str, str], layout: Layout) -> Command:
    """The command of a smoke check; its first word is an output."""
    known = {**variables, "build": layout.build}
    program, *arguments = (expand(word, known) for word in smoke.run)
    env = _environment(known, layout, smoke.env)
    return Command((layout.under(f"out/{program}"), *arguments), layout.build, env)


def _command(recipe: Recipe, step: Step, variables: Mapping[str, str], platform: str, layout: Layout) -> Command:
    if step.go is not None:
        return _go_command(step.go, variables, platform, layout)
    env = _environment(variables, layout, step.env)
    files = {name: name.removeprefix("sha256:") for word in step.run for name in names_in(word) if name.startswith("sha256:")}
    digests = {f"<SHA-256 of {path}>": path for path in files.values()}
    known = {**variables, **{name: f"<SHA-256 of {path}>" for name, path in files.items()}}
    argv = tuple(expand(word, known) for word in step.run)
    return Command(argv, layout.under(step.dir), env, stdout=step.stdout, digests=digests)


def _go_command(step: GoStep, variables: Mapping[str, str], platform: str, layout: Layout) -> Command:
    pure = not step.cgo
    argv = [
        f"{layout.toolchain}/bin/go",
        # -v names each package as it is compiled, the only progress go reports; of a test it would be a flag of its own
        *(("test", "-c", "-vet=off") if step.test else ("build", "-v")),
        f"-mod={step.mod}",
        "-trimpath",
        "-buildvcs=false",
        *([f"-buildmode={step.buildmode}"] if step.buildmode != "default" else []),
        *([f"-tags={','.join(step.tags)}"] if step.tags else []),
        f"-ldflags={go_ldflags(step, variables)}",
        "-o",
        layout.under(GO_OUT) + "/",
        *step.commands.values(),
    ]
    suffix = ".test" if step.test else ""
    renames = {default_name(package) + suffix: name for name, package in step.commands.items()}
    env = _environment(variables, layout, step.env) | go_environment(step, platform, layout)
    # only where nothing of the source is compiled by others than go may a cache be shared among components
    env["GOCACHE"] = layout.cache if pure else layout.cgo_cache
    return Command(tuple(argv), layout.under(step.dir or "main"), env, renames, pure)


def go_ldflags(step: GoStep, variables: Mapping[str, str]) -> str:
    """The linker's flags as one string in go's own quoting (https://pkg.go.dev/cmd/go: space separated, quotable)."""
    words = ["-s", "-w", "-buildid="]
    for name, value in step.variables.items():
        words += ["-X", f"{name}={expand(value, variables)}"]
    words += [expand(word, variables) for word in step.ldflags]
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if not any(character in word for character in " '\""):
        return word
    return f"'{word}'" if "'" not in word else f'"{word}"'


def default_name(package: str) -> str:
    """What ``go build -o DIR/`` calls the program of a package: its last path element that is not a major version."""
    parts = package.split("/")
    last = parts[-1]
    is_major = len(parts) > 1 and last.startswith("v") and last[1:].isdigit() and int(last[1:]) >= 2
    return parts[-2] if is_major else last


def go_environment(step: GoStep, platform: str, layout: Layout) -> dict[str, str]:
    """Everything that the go command reads: set here, so that nothing of the machine's configuration counts."""
    system, architecture = platform.split("/")
    return {
        "CGO_ENABLED": "1" if step.cgo else "0",
        "GOOS": system,
        "GOARCH": architecture,
        "GOAMD64": "v1",
        "GOARM64": "v8.0",
        # no index of packages: go keeps it in the compile cache by path, time and size of files, and ours all have one time
        "GODEBUG": "goindex=0",
        "GOENV": "off",
        "GOEXPERIMENT": "",
        "GOFLAGS": "",
        "GOMODCACHE": layout.modules,
        "GOPATH": layout.under(".gopath"),
        "GOPROXY": "off",
        "GOSUMDB": "off",
        "GOTELEMETRY": "off",
        "GOTMPDIR": layout.under(".tmp"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _environment(variables: Mapping[str, str], layout: Layout, extra: Mapping[str, str]) -> dict[str, str]:
    base = {
        "HOME": layout.under(".home"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{layout.toolchain}/bin:/usr/local/bin:/usr/bin:/bin",
        "SOURCE_DATE_EPOCH": variables["source_date"],
        "TMPDIR": layout.under(".tmp"),
        "TZ": "UTC",
    }
    return base | {name: expand(value, variables) for name, value in extra.items()}
