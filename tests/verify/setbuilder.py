"""Small signed sets for tests: real files, real statements, real signatures, every part of which a test may change.

    made = SetBuilder(tmp_path)          # a good set, and a policy that it satisfies
    made.sign_provenance("etcd", "second", lambda statement: ...)
    made.verify()

Operators: ``site`` signs the release, provenance and SBOMs; ``second`` and ``third`` rebuild. Signed with trust.sign.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kubewright.canonical import canonical_json
from kubewright.files.tree import normalised_tar
from kubewright.model.digestsfile import Accepted, AgreedBuild, Digests, dump_digests
from kubewright.model.lockfile import (
    Lock,
    LockedBuilder,
    LockedComponent,
    LockedFile,
    LockedPackage,
    LockedSource,
    LockedToolchain,
    dump_lock,
)
from kubewright.model.tomlwrite import encode
from kubewright.verify.check import Options, verify_set
from kubewright.verify.dsse import pae
from kubewright.verify.keys import PublicKey
from kubewright.verify.policy import load_policy
from kubewright.verify.report import Report

Json = dict[str, Any]
Change = Callable[[Json], object]

PLATFORM = "linux/amd64"
VERSIONS = {"etcd": "3.7.3", "runc": "1.4.2"}
#: component -> output -> (kind, content); a tree is a folder of files
OUTPUTS: dict[str, dict[str, tuple[str, Any]]] = {
    "etcd": {"etcd": ("program", b"\x7fELF etcd" * 5000), "etcdctl": ("program", b"\x7fELF etcdctl" * 3000)},
    "runc": {
        "runc": ("program", b"\x7fELF runc" * 4000),
        "runc.txt": ("file", b"completion\n"),
        "share": ("tree", {"man/runc.8": b".TH runc\n", "empty.txt": b"", "long/" + "n" * 120 + ".txt": b"long\n" * 3000}),
    },
}


def hexadecimal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def h1(text: str) -> str:
    return "h1:" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def from_h1(text: str) -> str:
    return base64.b64decode(text.removeprefix("h1:")).hex()


LOCK = Lock(
    components={
        "etcd": LockedComponent(
            "3.7.3",
            (
                LockedSource(
                    "etcd",
                    "module",
                    1_700_000_000,
                    module="go.etcd.io/etcd/server/v3",
                    version="v3.7.3",
                    h1=h1("etcd"),
                    go_mod_h1=h1("etcd mod"),
                    sumdb=True,
                    git="https://github.com/etcd-io/etcd",
                    tag="v3.7.3",
                    commit="c" * 40,
                    tree="d" * 40,
                ),
            ),
            (
                LockedFile("patches/etcd/0001-fix.patch", hexadecimal("patch")),
                LockedFile("recipes/etcd/go.mod", hexadecimal("go.mod")),
                LockedFile("recipes/etcd/go.sum", hexadecimal("go.sum")),
            ),
        ),
        "runc": LockedComponent(
            "1.4.2",
            (
                LockedSource(
                    "runc",
                    "tree",
                    1_700_000_000,
                    git="https://github.com/opencontainers/runc",
                    tag="v1.4.2",
                    commit="a" * 40,
                    tree="b" * 40,
                    sha256=hexadecimal("runc tree"),
                ),
                LockedSource(
                    "extra",
                    "archive",
                    1_700_000_000,
                    url="https://example.com/extra.tar.gz",
                    sha256=hexadecimal("extra"),
                    size=5,
                ),
            ),
        ),
    },
    builders={
        "go": LockedBuilder(toolchains=(LockedToolchain(PLATFORM, "1.26.8", h1("toolchain")),)),
        "cgo": LockedBuilder(
            suite="bookworm",
            requested=("gcc",),
            root=f"sha256:{hexadecimal('root')}",
            toolchains=(LockedToolchain(PLATFORM, "1.26.8", h1("toolchain")),),
            packages=(LockedPackage("gcc", "12.2", "amd64", "pool/gcc.deb", hexadecimal("gcc"), 9),),
        ),
    },
)
BUILDER = {"etcd": "go", "runc": "cgo"}


@cache
def private_key(operator: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(f"test key of {operator}".encode()).digest(), "big")
    return ec.derive_private_key(number % (1 << 255) + 1, ec.SECP256R1())


@cache
def public_key(operator: str) -> PublicKey:
    der = private_key(operator).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(der)


def key_id(operator: str) -> str:
    return public_key(operator).fingerprint[7:23]


def place(component: str) -> str:
    return f"{component}/{VERSIONS[component]}/linux-amd64"


def build_key(component: str) -> str:
    return f"sha256:{hexadecimal(f'key of {component}')}"


class SetBuilder:
    """A signed set in ``root``/artifacts and a policy in ``root``/site.toml."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.set = root / "artifacts"
        self.policy = root / "site.toml"
        self.attestations = self.set / "attestations"
        self.release = self.set / "release"
        self.now = 1_800_000_000
        self.watch: Callable[[str], None] = lambda path: None
        for component in OUTPUTS:
            self.write_outputs(component)
        self.release.mkdir(parents=True)
        (self.release / "lockfile.toml").write_text(dump_lock(LOCK))
        (self.release / "digests.toml").write_text(dump_digests(self.digests()))
        self.sign_release()
        for component in OUTPUTS:
            self.sign_provenance(component, "site")
            self.sign_provenance(component, "second", sandbox="docker")
            self.sign_sbom(component)
        self.write_policy()

    # -- files --------------------------------------------------------------------------------------------------------

    def write_outputs(self, component: str) -> None:
        for name, (kind, content) in OUTPUTS[component].items():
            path = self.output(component, name)
            files = {path / inner: data for inner, data in content.items()} if kind == "tree" else {path: content}
            for each, data in files.items():
                each.parent.mkdir(parents=True, exist_ok=True)
                each.write_bytes(data)
                each.chmod(0o755 if kind == "program" else 0o644)

    def output(self, component: str, name: str) -> Path:
        return self.set / place(component) / name

    def digest(self, component: str, name: str) -> str:
        return hashlib.sha256(self.packed(component, name)).hexdigest()

    def packed(self, component: str, name: str) -> bytes:
        path = self.output(component, name)
        if path.is_file():
            return path.read_bytes()
        out = io.BytesIO()
        normalised_tar(path, out)
        return out.getvalue()

    def digests(self) -> Digests:
        builds = (AgreedBuild("bubblewrap", False), AgreedBuild("bubblewrap", True))
        return Digests(
            components={
                component: {
                    PLATFORM: Accepted(
                        build_key(component),
                        {name: f"sha256:{self.digest(component, name)}" for name in outputs},
                        builds,
                    )
                }
                for component, outputs in OUTPUTS.items()
            }
        )

    # -- statements ---------------------------------------------------------------------------------------------------

    def bundle(self, component: str, kind: str, operator: str) -> Path:
        return self.attestations / place(component) / f"{kind}.{key_id(operator)}.sigstore.json"

    def release_bundle(self, operator: str = "site") -> Path:
        return self.release / f"release.{key_id(operator)}.sigstore.json"

    def subjects(self, component: str) -> list[Json]:
        return [{"name": name, "digest": {"sha256": self.digest(component, name)}} for name in sorted(OUTPUTS[component])]

    def provenance(self, component: str, sandbox: str = "bubblewrap") -> Json:
        locked, builder = LOCK.components[component], LOCK.builders[BUILDER[component]]
        outputs = [
            {"path": name, "kind": kind, "size": len(self.packed(component, name))}
            for name, (kind, _) in sorted(OUTPUTS[component].items())
        ]
        conditions = {
            "sandbox": sandbox,
            "build_path": "/build",
            "hostname": "kubewright",
            "locale": "C.UTF-8",
            "timezone": "UTC",
        }
        return {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": self.subjects(component),
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "urn:kubewright:build:v1",
                    "externalParameters": {
                        "component": component,
                        "version": locked.version,
                        "platform": PLATFORM,
                        "key": build_key(component),
                        "recipe": f"recipes/{component}/recipe.toml",
                        "builder": BUILDER[component],
                        "lock": {"component": encode(locked), "builder": encode(builder)},
                    },
                    "internalParameters": {
                        "conditions": {**conditions, "uid": 1000, "umask": 18, "cpus": 2, "cold": False, "enforced": ["time"]},
                        "steps": [{"argv": ["go", "build"], "cwd": "/build", "env": {"TZ": "UTC"}}],
                        "outputs": outputs,
                    },
                    "resolvedDependencies": [*inputs(component)],
                },
                "runDetails": {
                    "builder": {"id": f"urn:kubewright:builder:{sandbox}:v1", "version": {"kubewright": "0.1.0"}},
                    "metadata": {
                        "invocationId": "urn:kubewright:record:sha256:00",
                        "startedOn": "2026-11-23T15:23:10Z",
                        "finishedOn": "2026-11-23T15:26:08Z",
                        "kubewright_smoked": True,
                    },
                    "byproducts": [{"name": "log", "digest": {"sha256": hexadecimal("log")}, "mediaType": "text/plain"}],
                },
            },
        }

    def sign_provenance(self, component: str, operator: str, change: Change = lambda statement: None, **how: str) -> Path:
        statement = self.provenance(component, **how)
        build = f"urn:kubewright:record:sha256:{hexadecimal(f'{component} by {operator}')}"
        statement["predicate"]["runDetails"]["metadata"]["invocationId"] = build
        change(statement)
        return self.put(self.bundle(component, "provenance", operator), statement, operator)

    def sign_sbom(self, component: str, operator: str = "site", change: Change = lambda statement: None) -> Path:
        licence = [{"license": {"id": "Apache-2.0"}}]
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": self.subjects(component),
            "predicateType": "https://cyclonedx.org/bom",
            "predicate": {
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "metadata": {"component": {"type": "application", "name": component, "licenses": licence}},
                "components": [
                    {"type": "library", "name": "go.uber.org/zap", "version": "v1.27.0", "licenses": [{"expression": "MIT"}]},
                    {"type": "file", "name": "etcd"},
                ],
            },
        }
        change(statement)
        path = self.put(self.bundle(component, "cyclonedx", operator), statement, operator)
        (path.parent / "sbom.cdx.json").write_text(json.dumps(statement["predicate"], indent=1))
        (path.parent / "ATTRIBUTION").write_text("Apache-2.0\n")
        return path

    def release_statement(self, sequence: int = 7) -> Json:
        names = [name for name in ("digests.toml", "lockfile.toml") if (self.release / name).is_file()]
        return {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {"name": name, "digest": {"sha256": hashlib.sha256((self.release / name).read_bytes()).hexdigest()}}
                for name in names
            ],
            "predicateType": "urn:kubewright:release:v1",
            "predicate": {
                "sequence": sequence,
                "components": {component: {PLATFORM: build_key(component)} for component in OUTPUTS},
            },
        }

    def sign_release(self, operator: str = "site", change: Change = lambda statement: None, sequence: int = 7) -> Path:
        statement = self.release_statement(sequence)
        change(statement)
        return self.put(self.release_bundle(operator), statement, operator)

    def put(self, path: Path, statement: Json, operator: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(signed(canonical_json(statement), operator))
        return path

    # -- policy and verification ---------------------------------------------------------------------------------------

    def write_policy(self, **changes: str) -> None:
        """The policy with lines replaced: ``write_policy(threshold="threshold = 3")``."""
        self.policy.write_text(self.policy_text(**changes))

    def policy_text(self, **changes: str) -> str:
        text = policy_text(f"sha256:{hashlib.sha256((self.release / 'lockfile.toml').read_bytes()).hexdigest()}")
        for key, line in changes.items():
            lines = text.split("\n")
            found = [index for index, each in enumerate(lines) if each.split(" = ")[0] == key]
            assert found, f"the policy has no line {key}"
            lines[found[0]] = line
            text = "\n".join(lines)
        return text

    def verify(self, path: Path | None = None, **options: Any) -> Report:
        options = {"now": lambda: self.now, "watch": self.watch, **options}
        return verify_set(path or self.set, load_policy(self.policy), self.policy, Options(**options))

    @property
    def state(self) -> Path:
        return self.root / "last-seen.json"


def inputs(component: str) -> list[Json]:
    """resolvedDependencies as trust.provenance writes them."""
    locked, builder = LOCK.components[component], LOCK.builders[BUILDER[component]]
    found: list[Json] = []

    def add(kind: str, name: str, digest: Json, uri: str = "", **notes: object) -> None:
        annotations = {"kubewright_kind": kind, **{f"kubewright_{key}": value for key, value in notes.items()}}
        found.append({"name": name, **({"uri": uri} if uri else {}), "digest": digest, "annotations": annotations})

    for source in locked.sources:
        if source.form == "module":
            uri = f"pkg:golang/{source.module}@{source.version}"
            add("source", source.name, {"dirHash1": from_h1(source.h1)}, uri, form="module", source_date=1, sumdb=True)
            git = {"gitCommit": source.commit, "gitTree": source.tree}
            add("commit", source.name, git, f"git+{source.git}@refs/tags/{source.tag}")
        elif source.form == "tree":
            git = {"gitCommit": source.commit, "gitTree": source.tree}
            add(
                "source",
                source.name,
                git,
                f"git+{source.git}@refs/tags/{source.tag}",
                form="tree",
                tree=f"sha256:{source.sha256}",
            )
        else:
            add("source", source.name, {"sha256": source.sha256}, source.url, form="archive")
    for file in locked.files:
        add("patch" if file.path.startswith("patches/") else "file", file.path, {"sha256": file.sha256})
    if component == "etcd":
        add("module", "go.uber.org/zap@v1.27.0", {"dirHash1": hexadecimal("zap")}, "pkg:golang/go.uber.org/zap@v1.27.0")
    uri = "pkg:golang/golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64"
    add("toolchain", "go1.26.8.linux-amd64", {"dirHash1": from_h1(h1("toolchain"))}, uri)
    for package in builder.packages:
        label = f"{package.name}_{package.version}_{package.architecture}"
        add("package", label, {"sha256": package.sha256}, "pkg:deb/debian/gcc@12.2?arch=amd64&distro=bookworm")
    if builder.root:
        add("root", BUILDER[component], {"kubewrightTree1": builder.root.removeprefix("sha256:")})
    add("recipe", f"recipes/{component}/recipe.toml", {"sha256": hexadecimal("recipe")})
    return found


def signed(payload: bytes, operator: str, payload_type: str = "application/vnd.in-toto+json") -> bytes:
    """A bundle over a payload as it is: trust.sign, but for the key, which is made from the operator's name."""
    from kubewright.trust.keys import SigningKey
    from kubewright.trust.sign import sign_payload

    return sign_payload(payload, SigningKey(private_key(operator), public_key(operator)), payload_type)


def signature(payload: bytes, operator: str) -> bytes:
    from kubewright.trust.keys import SigningKey

    key = SigningKey(private_key(operator), public_key(operator))
    return key.sign(pae("application/vnd.in-toto+json", payload))


def policy_text(lock: str) -> str:
    keys = "".join(
        f'[[key]]\noperator = "{operator}"\npublic_key = """\n{public_key(operator).pem}"""\n'
        for operator in ("site", "second", "third")
    )
    return f"""version = 1
revoked = []
{keys}
[release]
operators = ["site"]
minimum_sequence = 1
unlisted = "refuse"
[provenance]
operators = ["site"]
builders = ["urn:kubewright:builder:bubblewrap:v1", "urn:kubewright:builder:docker:v1"]
[sources]
locks = ["{lock}"]
allow = ["module:go.etcd.io/etcd/*", "module:go.uber.org/*", "module:golang.org/toolchain", "git:https://github.com/*", "url:https://example.com/*", "deb:*"]
[rebuilds]
threshold = 2
operators = ["site", "second"]
silence = "allow"
[sbom]
required = true
formats = ["cyclonedx"]
[licences]
deny = ["AGPL-3.0-only"]
unknown = "refuse"
[state]
file = "last-seen.json"
"""  # noqa: E501
