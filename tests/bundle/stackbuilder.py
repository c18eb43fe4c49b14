"""A small stack for tests: three components with made-up builds in a store, an assembled image, a manifest, a key, a policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from project_builder import PLATFORM, ProjectBuilder

from kubewright.bundle.make import Made, make_bundle
from kubewright.files.digest import sha256_file
from kubewright.images.place import make_image
from kubewright.images.plan import plan_image
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.trust import keys
from kubewright.trust.keys import SigningKey
from kubewright.verify.newpolicy import new_policy

QUIET = Progress("tests")
REFERENCE = "registry.example/server:v1.2.3"

IMAGE = f"""
[[image]]
name = "server"
reference = "{REFERENCE}"
files = {{ "/usr/local/bin/server" = "server" }}
entrypoint = ["/usr/local/bin/server"]
"""
MANIFEST = """
[[output]]
path = "server.yaml"
kind = "file"

[[manifest]]
output = "server.yaml"
"""
POD = f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: server\nspec:\n  containers:\n  - name: server\n    image: {REFERENCE}\n"


class StackBuilder(ProjectBuilder):
    """``make`` writes the bundle; builds are records whose outputs are text."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.component("server", "1.2.3").component("client").component("addons")
        self.append("server", IMAGE).append("addons", MANIFEST)
        self.stack("tiny", ["server", "client", "addons"]).lock()
        self.write("release.toml", "sequence = 1\n").write("digests.toml", DIGESTS).write("LICENSE", "Apache-2.0\n")
        for name in ("server", "client", "addons"):
            self.record(name)
        key = root.parent / f"{root.name}.key"
        if not key.exists():
            keys.create(key, None)
        self.key_path = key

    def append(self, name: str, text: str) -> StackBuilder:
        path = self.root / "recipes" / name / "recipe.toml"
        path.write_text(path.read_text() + text)
        return self

    def record(self, name: str, *, platform: str = PLATFORM, content: str = "") -> BuildRecord:
        found = super().record(name, platform=platform, content=content)
        return self._with_manifest(found) if name == "addons" else found

    def _with_manifest(self, found: BuildRecord) -> BuildRecord:
        """The manifest's output has to be YAML."""
        import dataclasses

        from kubewright import record

        project = self.project()
        data = self.pod.encode()
        outputs = tuple(
            dataclasses.replace(each, sha256=project.store.put_bytes(data), size=len(data))
            if each.path == "server.yaml"
            else each
            for each in found.outputs
        )
        found = dataclasses.replace(found, outputs=outputs)
        record.save(project.store, found)
        return found

    pod = POD

    @property
    def key(self) -> SigningKey:
        return keys.load(self.key_path, lambda: "")

    def assemble(self) -> None:
        project = self.project()
        make_image(project, plan_image(project, "server", PLATFORM), QUIET)

    def make(self) -> Made:
        project = self.project()
        return make_bundle(project, project.stacks["tiny"], PLATFORM, self.key, QUIET, describe, describe_image)

    def policy(self) -> Path:
        path = self.root.parent / f"{self.root.name}.toml"
        text = new_policy([("site", self.key.public)], sha256_file(self.root / "lockfile.toml"))
        path.write_text(text.replace('unlisted = "refuse"', 'unlisted = "allow"'))
        return path


def describe(project: Project, component: Component, found: BuildRecord) -> Mapping[str, bytes]:
    """Documents of the right names: what is in them is tested with the SBOMs."""
    return {
        "sbom.cdx.json": b'{"bomFormat":"CycloneDX"}',
        "sbom.spdx.json": b'{"spdxVersion":"SPDX-2.3"}',
        "ATTRIBUTION": b"Apache-2.0",
    }


def describe_image(*_: object) -> Mapping[str, bytes]:
    """The same of an image."""
    return {
        "sbom.cdx.json": b'{"bomFormat":"CycloneDX"}',
        "sbom.spdx.json": b'{"spdxVersion":"SPDX-2.3"}',
        "ATTRIBUTION": b"Apache-2.0",
    }


DIGESTS = "# digests.toml\nversion = 1\n# end of digests.toml\n"
