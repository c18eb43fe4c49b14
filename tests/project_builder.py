"""Small real checkouts for tests: recipes, builders, a lock with pins that are right in form, records in a store.

    project = ProjectBuilder(tmp_path).component("runc").component("containerd", inputs=("runc",)).lock()

Nothing of it can be fetched: the origins do not exist. ``record`` stores what a build would leave.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kubewright import keys, record
from kubewright.building.steps import Layout, commands
from kubewright.model.builder import Builder, load_builders
from kubewright.model.digestsfile import Accepted, AgreedBuild, dump_digests, load_digests, with_accepted
from kubewright.model.lockcheck import project_files
from kubewright.model.lockfile import (
    Lock,
    LockedBuilder,
    LockedComponent,
    LockedPackage,
    LockedSource,
    LockedToolchain,
    dump_lock,
)
from kubewright.model.recipe import Recipe, Source, load_recipes
from kubewright.project import Component, Project
from kubewright.record import (
    BuildRecord,
    Conditions,
    RecordedBuilder,
    RecordedModule,
    RecordedOutput,
    RecordedPackage,
    RecordedPatch,
    RecordedSource,
    RecordedStep,
)

PLATFORM = "linux/amd64"
SOURCE_DATE = 1_700_000_000

GO_BUILDER = 'name = "go"\nsummary = "Go alone"\n[go]\nversion = "1.26.8"\n'
CGO_BUILDER = (
    'name = "cgo"\nsummary = "Go and a C compiler"\n[go]\nversion = "1.26.8"\n'
    '[debian]\nsuite = "bookworm"\npackages = ["gcc", "libc6-dev"]\n'
)


def quote(text: str) -> str:
    """A TOML string: JSON's are such, too."""
    return json.dumps(text)


def hexadecimal(text: str) -> str:
    """A SHA-256 that is made up, and the same every time."""
    return hashlib.sha256(text.encode()).hexdigest()


def h1(text: str) -> str:
    """A Go dirhash that is made up."""
    return "h1:" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class ProjectBuilder:
    """Writes a checkout at ``root``; its store is ``root``/store. Methods return the builder, so that calls can be chained."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        for name in ("recipes", "builders", "stacks"):
            (root / name).mkdir(exist_ok=True)
        (root / "dodo.py").write_text("")
        self.builder("go", GO_BUILDER)
        self._sumdb = True
        self._commits: dict[str, str] = {}

    def write(self, path: str, text: str) -> ProjectBuilder:
        """Any file of the checkout."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        return self

    def builder(self, name: str, text: str) -> ProjectBuilder:
        return self.write(f"builders/{name}.toml", text)

    def stack(self, name: str, components: Iterable[str]) -> ProjectBuilder:
        listed = ", ".join(quote(each) for each in components)
        return self.write(f"stacks/{name}.toml", f'name = "{name}"\nsummary = "A stack"\ncomponents = [{listed}]\n')

    def component(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        platforms: Sequence[str] = (PLATFORM,),
        inputs: Sequence[str] = (),
        patches: Mapping[str, str] | None = None,
        status: str = "",
        requires: Mapping[str, str] | None = None,
    ) -> ProjectBuilder:
        """A recipe for a Go module ``example.org/NAME``. ``inputs``: components whose first output it takes; ``patches``:
        file -> reason; ``requires``: further modules in its go.mod."""
        parts = [
            f'name = "{name}"\nversion = "{version}"\nsummary = "The {name} of tests"\nlicence = "Apache-2.0"\nbuilder = "go"',
            f"platforms = [{', '.join(quote(each) for each in platforms)}]",
            *([f"status = {quote(status)}"] if status else []),
            f'[[source]]\nform = "module"\nmodule = "example.org/{name}"\ngit = "https://git.example.org/{name}"',
        ]
        for file, reason in (patches or {}).items():
            parts.append(f"[[source.patch]]\nfile = {quote(file)}\nreason = {quote(reason)}")
            self.write(f"patches/{name}/{file}", f"--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-a\n+b\n")
        for other in inputs:
            parts.append(f'[[input]]\ncomponent = "{other}"\noutput = "{other}"\nto = "bin/{other}"')
        parts.append(
            f'[[step]]\ngo.commands = {{ {name} = "example.org/{name}/cmd/{name}" }}\n'
            'go.variables = { "main.version" = "v{version}", "main.commit" = "{commit}" }'
        )
        parts.append(f'[[output]]\npath = "{name}"\n[[smoke]]\nrun = ["{name}", "--version"]\nexpect = ["v{{version}}"]')
        self.recipe(name, "\n".join(parts) + "\n")
        return self.main_module(name, {f"example.org/{name}": f"v{version}", **(requires or {})})

    def recipe(self, name: str, text: str) -> ProjectBuilder:
        """recipes/NAME/recipe.toml as it is given."""
        return self.write(f"recipes/{name}/recipe.toml", text)

    def main_module(self, name: str, requires: Mapping[str, str]) -> ProjectBuilder:
        """recipes/NAME/go.mod and go.sum."""
        lines = "".join(f"\t{path} {version}\n" for path, version in requires.items())
        sums = "".join(
            f"{path} {version} {h1(path + version)}\n{path} {version}/go.mod {h1(path + version + '/go.mod')}\n"
            for path, version in requires.items()
        )
        self.write(f"recipes/{name}/go.mod", f"module kubewright.local/{name}\n\ngo 1.26.0\n\nrequire (\n{lines})\n")
        return self.write(f"recipes/{name}/go.sum", sums)

    # -- lock -----------------------------------------------------------------------------------------------------

    def confirmed(self, name: str, commit: str) -> ProjectBuilder:
        """Let the next lock have the commit of a module source."""
        self._commits[name] = commit
        return self

    def unconfirmed(self) -> ProjectBuilder:
        """Let the next lock say that nobody asked the checksum database."""
        self._sumdb = False
        return self

    def lock(self) -> ProjectBuilder:
        """Write lockfile.toml: made-up pins for whatever recipes and builders ask for."""
        recipes = load_recipes(self.root / "recipes")
        builders = load_builders(self.root / "builders")
        lock = Lock(
            components={name: self._locked(recipe) for name, recipe in recipes.items()},
            builders={name: locked_builder(builder) for name, builder in builders.items()},
        )
        return self.write("lockfile.toml", dump_lock(lock))

    def _locked(self, recipe: Recipe) -> LockedComponent:
        sources = tuple(self._locked_source(source) for source in recipe.sources)
        return LockedComponent(recipe.version, sources, tuple(project_files(recipe, self.root)))

    def _locked_source(self, source: Source) -> LockedSource:
        pin = LockedSource(source.name, source.form, SOURCE_DATE)
        if source.form == "archive":
            return dataclasses.replace(pin, url=source.url, sha256=hexadecimal(source.url), size=1234)
        seed = f"{source.module or source.git}{source.version}"
        commit = self._commits.get(source.name, "")
        if source.form == "tree":
            commit = commit or hexadecimal(seed)[:40]
            pin = dataclasses.replace(pin, sha256=hexadecimal(seed))
        if commit:
            tree = hexadecimal("tree" + commit)[:40]
            pin = dataclasses.replace(pin, git=source.git, tag=source.tag, commit=commit, tree=tree)
        if source.module:
            hashes = {"h1": h1(source.module + source.version), "go_mod_h1": h1(source.module + source.version + "/go.mod")}
            pin = dataclasses.replace(pin, module=source.module, version=source.version, sumdb=self._sumdb, **hashes)
        return pin

    # -- results --------------------------------------------------------------------------------------------------

    def project(self) -> Project:
        """The checkout as kubewright reads it; nothing of the machine's own settings counts."""
        return Project(self.root, {"KUBEWRIGHT_STORE": str(self.root / "store"), "KUBEWRIGHT_PLATFORM": PLATFORM})

    def record(self, name: str, *, platform: str = PLATFORM, content: str = "") -> BuildRecord:
        """Store what a build of the component would leave: outputs, log, module list, record."""
        project = self.project()
        component = project.component(name, platform)
        found = made_record(project, component, content or f"{name} {platform}")
        modules = [[each.path, each.version, each.h1] for each in found.modules]
        project.store.put_json("modules", record.key_name(component.key), modules)
        record.save(project.store, found)
        return found

    def rebuilt(self, first: BuildRecord, *, sandbox: str = "docker", content: str = "") -> BuildRecord:
        """Store a varied rebuild of ``first`` in ``sandbox``; other ``content``: one that differs."""
        project = self.project()
        again = dataclasses.replace(
            first,
            started=first.started + 100,
            conditions=dataclasses.replace(first.conditions, sandbox=sandbox, cold=True, build_path="/elsewhere"),
        )
        if content:
            component = project.component(first.component, first.platform)
            again = dataclasses.replace(again, outputs=made_record(project, component, content).outputs)
        record.save(project.store, again, "rebuild", f"{record.key_name(again.key)}-{sandbox}-{int(again.started)}")
        return again

    def accepted(self, found: BuildRecord, *, key: str = "") -> ProjectBuilder:
        """An entry of digests.toml for what ``found`` gave; ``key``: another one than its own."""
        entry = Accepted(key or found.key, found.digests(), (AgreedBuild("bubblewrap", False), AgreedBuild("docker", True)))
        path = self.root / "digests.toml"
        digests = with_accepted(load_digests(path), found.component, found.platform, entry)
        return self.write("digests.toml", dump_digests(digests))


def locked_builder(builder: Builder) -> LockedBuilder:
    """Made-up pins for a builder."""
    toolchains: tuple[LockedToolchain, ...] = ()
    if builder.go:
        version = builder.go.version
        toolchains = tuple(
            LockedToolchain(host, version, h1(version + host))  # type: ignore[arg-type]
            for host in ("linux/amd64", "linux/arm64")
        )
    if builder.debian is None:
        return LockedBuilder(toolchains=toolchains)
    names = sorted(builder.debian.packages)
    packages = tuple(
        LockedPackage(name, "12-1", "amd64", f"pool/main/{name[0]}/{name}/{name}_12-1_amd64.deb", hexadecimal(name), 1000)
        for name in names
    )
    root = "sha256:" + hexadecimal("root of " + " ".join(names))
    return LockedBuilder(builder.debian.suite, tuple(names), root, toolchains, packages)


def made_record(project: Project, component: Component, content: str) -> BuildRecord:
    """A record whose outputs hold ``content``; outputs and log are put into the project's store."""
    outputs = []
    for output in component.recipe.outputs:
        data = f"{content} {output.path}".encode()
        outputs.append(RecordedOutput(output.path, output.kind, project.store.put_bytes(data), len(data)))
    module = component.locked.sources[0].module
    steps = commands(component.recipe, component.variables, component.platform, Layout())
    files = {file.path: file.sha256 for file in component.locked.files}
    return BuildRecord(
        component=component.name,
        version=component.recipe.version,
        platform=component.platform,
        key=component.key,
        licence=component.recipe.licence,
        sources=tuple(_recorded_source(component, index) for index in range(len(component.recipe.sources))),
        files=files,
        modules=(
            RecordedModule("example.org/dependency", "v0.3.1", h1("dependency")),
            RecordedModule(module, component.locked.sources[0].version, component.locked.sources[0].h1),
        ),
        builder=RecordedBuilder(
            name=component.recipe.builder,
            digest=keys.builder_digest(component.locked_builder),
            host=PLATFORM,
            go="1.26.8",
            go_h1=next((pin.h1 for pin in component.locked_builder.toolchains), ""),
            root=component.locked_builder.root,
            packages=tuple(
                RecordedPackage(each.name, each.version, each.architecture, each.sha256)
                for each in component.locked_builder.packages
            ),
        ),
        dependencies=dict(component.dependencies),
        steps=tuple(RecordedStep(each.argv, each.cwd, dict(each.env), 1.5) for each in steps),
        outputs=tuple(outputs),
        conditions=Conditions("bubblewrap", "/build", "kubewright", 1000, 0o022, 2, "C.UTF-8", "UTC", False, ("time",)),
        smoke=keys.smoke_digest(component.recipe),
        smoked=True,
        started=1_795_000_000.0,
        seconds=12.5,
        log=project.store.put_bytes(f"log of {content}".encode()),
        kubewright="0.1.0",
    )


def _recorded_source(component: Component, index: int) -> RecordedSource:
    source, pin = component.recipe.sources[index], component.locked.sources[index]
    digests = {file.path: file.sha256 for file in component.locked.files}
    return RecordedSource(
        name=source.name,
        form=source.form,
        source_date=pin.source_date,
        module=pin.module,
        version=pin.version,
        h1=pin.h1,
        sumdb=pin.sumdb,
        git=pin.git or source.git,
        tag=pin.tag or source.tag,
        commit=pin.commit,
        commit_hint="" if pin.commit else source.commit_hint,
        tree=pin.tree,
        url=pin.url,
        sha256=pin.sha256,
        patches=tuple(
            RecordedPatch(patch.file, patch.reason, digests[f"patches/{component.name}/{patch.file}"])
            for patch in source.patches
        ),
    )


def synthetic(root: Path, count: int) -> ProjectBuilder:
    """A checkout of ``count`` components, each with three modules in its go.mod; every tenth takes an output of the one
    before, every twentieth has a patch. For measuring."""
    made = ProjectBuilder(root)
    names = [f"component-{number:04}" for number in range(count)]
    for number, name in enumerate(names):
        made.component(
            name,
            f"1.{number}.0",
            inputs=[names[number - 1]] if number % 10 == 9 else [],
            patches={"0001-x.patch": "a reason"} if number % 20 == 0 else None,
            requires={"example.org/library/a": "v1.2.3", "example.org/library/b": "v0.9.9"},
        )
    return made.stack("kubernetes", names).lock()
