"""A real Go program of three modules, built once, and a checkout whose lock and store fit it.

``prog`` links ``Lib`` and its folder ``third`` (which has a licence of its own), not ``Lib/other`` (which has one too);
``spare`` is in go.sum and in nothing else.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from goproxy import borrowed_goroot, environment, publish
from project_builder import SOURCE_DATE, ProjectBuilder, h1
from test_licencetext import APACHE, MIT

from kubewright import record
from kubewright.fetch.gomodule import Module, bootstrap_goroot, module_cache, toolchain_version
from kubewright.files.digest import dirhash_dir
from kubewright.model.lockfile import dump_lock, load_lock
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, RecordedModule, RecordedOutput
from kubewright.store import Store

_LIB = """package lib

import "example.org/Lib/v2/third"

//go:noinline
func Say() string { return third.Say() }
"""

PROXY = {
    ("example.org/prog", "v1.0.0"): {
        "go.mod": "module example.org/prog\n\ngo 1.24\n\nrequire example.org/Lib/v2 v2.1.0\n",
        "LICENSE": APACHE,
        "NOTICE": "prog\nof somebody",
        "cmd/prog/main.go": 'package main\n\nimport "example.org/Lib/v2"\n\nfunc main() { println(lib.Say()) }\n',
    },
    ("example.org/Lib/v2", "v2.1.0"): {
        "go.mod": "module example.org/Lib/v2\n\ngo 1.24\n",
        "LICENSE": APACHE,
        "lib.go": _LIB,
        "third/LICENSE": MIT,
        "third/third.go": 'package third\n\n//go:noinline\nfunc Say() string { return "hello" }\n',
        "other/LICENSE": "Nobody may use this.",
        "other/other.go": "package other\n",
    },
}


@dataclass(frozen=True, slots=True)
class Built:
    """The checkout, its modules by path, and the program."""

    made: ProjectBuilder
    modules: dict[str, Module]
    program: Path

    def project(self) -> Project:
        return self.made.project()

    def component(self) -> Component:
        return self.project().component("prog")

    def record(self, *modules: Module, program: Path | None = None) -> BuildRecord:
        """What a build would have left: with these modules instead of the linked ones, with another file as its program."""
        project, component = self.project(), self.component()
        kept = modules or tuple(self.modules.values())
        digest = project.store.put_file(program or self.program)
        found = dataclasses.replace(
            self.made.record("prog"),
            modules=tuple(RecordedModule(each.path, each.version, each.h1) for each in sorted(kept)),
            outputs=(RecordedOutput("prog", "program", digest, (program or self.program).stat().st_size),),
        )
        project.store.put_json("modules", record.key_name(component.key), [[m.path, m.version, m.h1] for m in sorted(kept)])
        record.save(project.store, found)
        return found


def build(directory: Path) -> Built:
    """Publish the modules, build the program with the go of this environment, and write a checkout around it."""
    made = ProjectBuilder(directory / "p").component("prog", requires={"example.org/Lib/v2": "v2.1.0"})
    store = Store(made.root / "store")
    for (module, version), files in PROXY.items():
        publish(directory / "proxy", module, version, files)
    env = {
        **os.environ,
        **environment(directory / "proxy"),
        "GOMODCACHE": str(module_cache(store)),
        "GOCACHE": str(directory / "c"),
    }
    env |= {"GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64"}
    main = directory / "main"
    main.mkdir()
    shutil.copy(made.root / "recipes/prog/go.mod", main / "go.mod")
    program = directory / "prog"
    go = [str(bootstrap_goroot() / "bin" / "go")]
    subprocess.run([*go, "get", "example.org/prog/cmd/prog"], cwd=main, env=env, check=True, capture_output=True)
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="]
    command = [*go, "build", *flags, "-o", str(program), "example.org/prog/cmd/prog"]
    subprocess.run(command, cwd=main, env=env, check=True, capture_output=True)
    modules = {path: _module(store, path, version) for path, version in PROXY}
    _write_lock(made, store, main, modules)
    return Built(made, modules, program)


def _module(store: Store, path: str, version: str) -> Module:
    folder = module_cache(store) / Module(path, version, "").directory
    return Module(path, version, dirhash_dir(folder, f"{path}@{version}"))


def _write_lock(made: ProjectBuilder, store: Store, main: Path, modules: dict[str, Module]) -> None:
    """go.sum with a module that nothing uses; the lock with the hashes that are true."""
    spare = f"example.org/spare v0.1.0 {h1('spare')}\nexample.org/spare v0.1.0/go.mod {h1('spare mod')}\n"
    made.write("recipes/prog/go.sum", (main / "go.sum").read_text() + spare).lock()
    version = toolchain_version("1.26.8", "linux/amd64")
    goroot = borrowed_goroot(module_cache(store) / f"golang.org/toolchain@{version}")
    (goroot / "LICENSE").write_text(MIT)
    toolchain = dirhash_dir(goroot, f"golang.org/toolchain@{version}")
    lock = load_lock(made.root / "lockfile.toml")
    builder = lock.builders["go"]
    pins = tuple(dataclasses.replace(pin, h1=toolchain) for pin in builder.toolchains)
    component = lock.components["prog"]
    source = dataclasses.replace(component.sources[0], h1=modules["example.org/prog"].h1, source_date=SOURCE_DATE)
    changed = dataclasses.replace(
        lock,
        builders={"go": dataclasses.replace(builder, toolchains=pins)},
        components={"prog": dataclasses.replace(component, sources=(source,))},
    )
    made.write("lockfile.toml", dump_lock(changed))
