"""SLSA provenance v1 from a build record and the lock: who built what, from what, how. Specified in docs/build-type-v1.md.

A pure function: one record gives one statement, byte for byte. Digests follow the in-toto DigestSet: ``dirHash1`` is Go's
``h1:`` in hexadecimal; ``gitCommit`` and ``gitTree`` as git has them; ``kubewrightTree1`` is ours (files/digest.py).
"""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kubewright.building.component import dependency_outputs
from kubewright.canonical import canonical_digest
from kubewright.errors import BuildError
from kubewright.files.digest import sha256_file, sha256_hex
from kubewright.model.tomlwrite import encode
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, RecordedSource, RecordedStep
from kubewright.sbom import purl
from kubewright.verify.statement import PROVENANCE, TYPE

BUILD_TYPE = "urn:kubewright:build:v1"
BUILDER = "urn:kubewright:builder:{sandbox}:v1"

Json = dict[str, Any]


def statement(project: Project, component: Component, record: BuildRecord) -> Json:
    """The provenance of ``record``. Raises BuildError when the record is not one of this very component and key."""
    if record.key != component.key:
        raise BuildError(
            f"{component.label}: the record is of key {record.key}, recipe and lock now say {component.key}",
            remedy=f"./doit build:{component.name}",
        )
    return {
        "_type": TYPE,
        "subject": subjects(record),
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _external(component),
                "internalParameters": _internal(record),
                "resolvedDependencies": _dependencies(project, component, record),
            },
            "runDetails": _run(record),
        },
    }


def subjects(record: BuildRecord) -> list[Json]:
    """Every output by its path; a folder by the SHA-256 of its normalised tar."""
    outputs = sorted(record.outputs, key=lambda output: output.path)
    return [{"name": output.path, "digest": {"sha256": sha256_hex(output.sha256)}} for output in outputs]


# -- build definition ---------------------------------------------------------------------------------------------


def _external(component: Component) -> Json:
    """What somebody needs, beside a checkout with the files that resolvedDependencies name, to build the same again."""
    return {
        "component": component.name,
        "version": component.recipe.version,
        "platform": component.platform,
        "key": component.key,
        "recipe": f"recipes/{component.name}/recipe.toml",
        "builder": component.recipe.builder,
        "lock": {"component": encode(component.locked), "builder": encode(component.locked_builder)},
    }


def _internal(record: BuildRecord) -> Json:
    """How it was run, and what the subjects are: ``size`` counts the bytes that are hashed."""
    return {
        "conditions": {**dataclasses.asdict(record.conditions), "enforced": list(record.conditions.enforced)},
        "steps": [_step(step) for step in record.steps],
        "outputs": [
            {"path": output.path, "kind": output.kind, "size": output.size}
            for output in sorted(record.outputs, key=lambda output: output.path)
        ],
    }


def _step(step: RecordedStep) -> Json:
    found: Json = {"argv": list(step.argv), "cwd": step.cwd, "env": dict(step.env)}
    return found | {"stdout": step.stdout} if step.stdout else found


def _dependencies(project: Project, component: Component, record: BuildRecord) -> list[Json]:
    found = [
        *sources_of(record),
        *_modules(record),
        *_files(component, record),
        *_builder(component, record),
        *_inputs(project, component, record),
        recipe_of(project, component),
    ]
    return sorted(found, key=lambda each: (each["annotations"]["kubewright_kind"], each["name"]))


def descriptor(kind: str, name: str, digest: Mapping[str, str], uri: str = "", **annotations: object) -> Json:
    """An in-toto ResourceDescriptor; annotations that are empty are left out."""
    noted = {f"kubewright_{key}": value for key, value in annotations.items() if value not in ("", None, False)}
    return {
        "name": name,
        **({"uri": uri} if uri else {}),
        "digest": dict(digest),
        "annotations": {"kubewright_kind": kind, **noted},
    }


def sources_of(record: BuildRecord) -> Iterator[Json]:
    """What the sources were: each, and the commit that a module was confirmed to come from."""
    for source in record.sources:
        noted: Json = {"form": source.form, "source_date": source.source_date}
        if source.form == "module":
            noted |= {"module": source.module, "version": source.version, "sumdb": source.sumdb}
            uri = purl.golang(source.module, source.version)
            yield descriptor("source", source.name, {"dirHash1": dirhash(source.h1)}, uri, **noted)
            if source.commit:  # another artifact (a whole repository) than the module, so a descriptor of its own
                yield descriptor("commit", source.name, _git_digest(source), _git_uri(source))
        elif source.form == "tree":
            noted["tree"] = f"sha256:{source.sha256}"
            yield descriptor("source", source.name, _git_digest(source), _git_uri(source), **noted)
        else:
            yield descriptor("source", source.name, {"sha256": source.sha256}, source.url, **noted)


def _git_digest(source: RecordedSource) -> dict[str, str]:
    return {"gitCommit": source.commit, **({"gitTree": source.tree} if source.tree else {})}


def _git_uri(source: RecordedSource) -> str:
    return f"git+{source.git}@" + (f"refs/heads/{source.branch}" if source.branch else f"refs/tags/{source.tag}")


def _modules(record: BuildRecord) -> Iterator[Json]:
    already = {(source.module, source.version) for source in record.sources if source.form == "module"}
    for module in record.modules:
        if (module.path, module.version) not in already:
            uri = purl.golang(module.path, module.version)
            yield descriptor("module", f"{module.path}@{module.version}", {"dirHash1": dirhash(module.h1)}, uri)


def _files(component: Component, record: BuildRecord) -> Iterator[Json]:
    patches = {
        f"patches/{record.component}/{patch.file}": (source.name, patch.reason)
        for source in record.sources
        for patch in source.patches
    }
    executable = {file.path for file in component.locked.files if file.executable}
    for path, digest in record.files.items():
        if path in patches:
            source, reason = patches[path]
            yield descriptor("patch", path, {"sha256": digest}, source=source, reason=reason)
        else:
            yield descriptor("file", path, {"sha256": digest}, executable=path in executable)


def _builder(component: Component, record: BuildRecord) -> Iterator[Json]:
    builder = record.builder
    suite = component.locked_builder.suite
    if builder.go_h1:
        release = f"go{builder.go}.{builder.host.replace('/', '-')}"
        uri = purl.golang("golang.org/toolchain", f"v0.0.1-{release}")
        yield descriptor("toolchain", release, {"dirHash1": dirhash(builder.go_h1)}, uri)
    for package in builder.packages:
        uri = purl.deb(package.name, package.version, package.architecture, suite)
        name = f"{package.name}_{package.version}_{package.architecture}"
        yield descriptor("package", name, {"sha256": package.sha256}, uri)
    if builder.root:
        yield descriptor("root", builder.name, {"kubewrightTree1": sha256_hex(builder.root)})


def _inputs(project: Project, component: Component, record: BuildRecord) -> Iterator[Json]:
    if not record.dependencies:
        return
    taken = {(other, made.path): made for (other, _), made in dependency_outputs(project, component).items()}
    for (other, path), made in taken.items():
        key = record.dependencies[other]
        yield descriptor("component", f"{other}/{path}", {"sha256": sha256_hex(made.sha256)}, f"urn:kubewright:key:{key}")


def recipe_of(project: Project, component: Component) -> Json:
    """The recipe as it is in the checkout."""
    path = f"recipes/{component.name}/recipe.toml"
    return descriptor("recipe", path, {"sha256": sha256_hex(sha256_file(project.root / path))})


def dirhash(h1: str) -> str:
    """``h1:<base64>`` as DigestSet's dirHash1: the same 32 bytes in lower-case hexadecimal."""
    return base64.b64decode(h1.removeprefix("h1:"), validate=True).hex()


# -- run details --------------------------------------------------------------------------------------------------


def _run(record: BuildRecord) -> Json:
    return {
        "builder": {
            "id": BUILDER.format(sandbox=record.conditions.sandbox),
            "version": {"kubewright": record.kubewright},
        },
        "metadata": {
            "invocationId": invocation(record),
            "startedOn": _time(record.started),
            "finishedOn": _time(record.started + record.seconds),
            "kubewright_smoked": record.smoked,
        },
        "byproducts": [{"name": "log", "digest": {"sha256": sha256_hex(record.log)}, "mediaType": "text/plain"}],
    }


def invocation(record: BuildRecord) -> str:
    """A URN for one run: the digest that the store has its record under."""
    return f"urn:kubewright:record:{canonical_digest(dataclasses.asdict(record))}"


def _time(seconds: float) -> str:
    """RFC 3339, UTC, whole seconds: what SLSA's Timestamp is."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
