"""What `./doit list` and `./doit help NAME` say of each task group."""

from __future__ import annotations

#: `./doit help NAME`; the first line is the menu's
HELP = {
    "build": """build components from pinned source, in a sandbox without a network, into artifacts/

    ./doit build                       the components of the default stack (settings: stack = "kubernetes")
    ./doit build:kubectl               one component, and what it needs
    ./doit build:etcd@linux-arm64      for another platform than this machine's
    ./doit -n 2 build                  two at a time

Fetches what is absent, verifies every input against the lock, builds in the sandbox, runs the smoke checks, and compares with
digests.toml. What the store holds is not built again. A failure prints the end of the log and the log's path.""",
    "rebuild": """build again, cold and under varied conditions, and compare byte by byte

    ./doit rebuild:etcd

The second build sees neither outputs nor caches of the first. Other paths, uid, host name, CPU count, umask, locale and time
zone; the other sandbox where it is set up. Identical, or which file and which section differs first.""",
    "accept": """write digests.toml for components on which two independent builds agree

    ./doit build:etcd rebuild:etcd accept:etcd

The component's images are assembled twice and written as well. digests.toml is committed: from then on every build of the same
key, anywhere, is compared with it.""",
    "image": """assemble container images of what is built, as OCI layouts; no daemon

    ./doit image                       the images of the default stack's components
    ./doit image:coredns               artifacts/images/coredns/VERSION/OS-ARCH/

Layers: one for each locked package and each component, uncompressed, byte for byte reproducible; compared with digests.toml.
skopeo reads them as they are: skopeo copy oci:DIR:REFERENCE docker-daemon:REFERENCE (docs/images.md).""",
    "sbom": """write SBOMs (CycloneDX, SPDX) and ATTRIBUTION for what is built

    ./doit sbom:kubectl                artifacts/attestations/kubectl/VERSION/OS-ARCH/

From what is really linked, compared with the lock. `./doit sign` makes and signs them too.""",
    "sign": """sign what is built: provenance, SBOMs, and the release as a whole

    kubewright key new --out site.key
    KUBEWRIGHT_SIGNING_KEY=site.key ./doit sign
    ./doit sign:kubectl                one component; without a name: the default stack, and what else is in artifacts/
    ./doit sign:release                lockfile.toml, digests.toml and the sequence number of release.toml

Into artifacts/attestations/ and artifacts/release/. What is signed already with the same content is not written again.
Settings: signing_key; the passphrase from the terminal or KUBEWRIGHT_KEY_PASSPHRASE.""",
    "attest": """sign what your own rebuild gave, for others to count, whether it agrees or not

    ./doit rebuild:etcd attest:etcd

Needs the lock and the inputs, and nobody's artifacts. Where others in artifacts/attestations/ say something else about the same
inputs, the statement is written all the same and the exit code says so (104).""",
    "fetch": """fetch and verify inputs only: toolchains, packages, sources, modules

    ./doit fetch:kubectl""",
    "bundle": """write everything that a stack needs, signed, as one file and as a directory

    export KUBEWRIGHT_SIGNING_KEY=site.key
    ./doit bundle:kubernetes           artifacts/bundles/kubernetes-VERSION-OS-ARCH.oci.tar.zst and .oci/
    kubewright verify artifacts/bundles/kubernetes-1.37.2-linux-amd64.oci.tar.zst --policy site.toml

Builds, images and signatures that are missing come first. In it: programs, images, upstream's manifests with image references
rewritten to digests, SBOMs, provenance, rebuilds of others, licences, verifier, installer, release (docs/bundle.md). The same
content gives the same bytes; an interrupted run leaves the old bundle or none. `kubewright bundle --help`: ls, show, extract,
split, join.""",
    "mirror": """write a mirror: every input of a stack, to build all of it again with no network

    ./doit mirror:kubernetes           into artifacts/mirror (settings: mirror_to)
    KUBEWRIGHT_MIRROR_TO=/media/usb/mirror ./doit mirror
    KUBEWRIGHT_MIRROR=/media/usb/mirror ./doit build          at the other side: nobody else is asked

Sources, modules, packages, toolchains, Python packages and this checkout at its commit. What is there already is not written
again. Signed where signing_key is set. docs/mirror.md; `kubewright mirror check`, `serve` and `prune`.""",
    "lock": """resolve versions to pins in lockfile.toml; shows what changes before it writes

    ./doit lock                        every builder, then every component
    ./doit lock:kubectl                one component (or builder: lock:cgo)
    ./doit lock:kubectl --dry-run      show the difference only

Asks origins and the Go checksum database, and runs nothing of what it fetches. Writes recipes/NAME/go.mod and go.sum too. What
could not be confirmed is said, and is not in the lock.""",
    "outdated": """list newer upstream releases, and the origins that could not be asked""",
    "gc": """shrink the store to what the lock needs

    ./doit gc
    ./doit gc --dry-run                say what would go

What lockfile.toml and the recipes of this checkout name stays, logs of failed builds for a week. The rest goes.
`./doit clean` is another thing: it removes artifacts/ and leaves the store alone.""",
    "clean": """remove artifacts; the store keeps what was built

    ./doit clean                       all artifacts
    ./doit clean kubectl               those of one component; `./doit build` puts them back without building""",
    "test": """set up the test environment, then run the quality gate: format, lint, types, tests

    ./doit test

Afterwards `.venv/bin/pytest tests/test_store.py` runs a part.""",
    "generate": """write what is generated from sources and records: schemas/, tables in README.md and docs/""",
    "verifier": """write the stand-alone verifier and installer: one file each for any Python from 3.10 on

    ./doit verifier
    python3 -I dist/kubewright-verify.pyz artifacts --policy site.toml
    python3 -I dist/kubewright-install.pyz --help

The same sources give the same bytes. Give its SHA-256 to whoever verifies, over another channel (docs/security.md).""",
    "lab": """milestones on this machine: clusters in containers, installed from a bundle and checked by doing

    ./doit lab:m1                      one control plane and two workers; every check of milestone 1 (docs/lab.md)
    ./doit lab:m1:down                 take it away, by the ids that were written down when it was made

Needs root, dockerd (docker.io), the bundle of the stack kubernetes and a policy for it: KUBEWRIGHT_LAB_BUNDLE,
KUBEWRIGHT_LAB_POLICY; else artifacts/bundles/ and site.toml. Results: .kubewright/lab/results/ (JUnit, table).""",
    "conformance": """Kubernetes' own conformance specs against the lab that runs

    ./doit bundle:conformance          the tests and the images that they run, signed; once
    ./doit lab:m1 && ./doit conformance:kubernetes
    ./doit conformance:kubernetes --all    all that e2e.test has, instead of those of recipes/e2e-test/conformance.txt

Every spec that is named has to run and to pass: one that fails, skips itself or no longer exists is an error (184). Settings:
KUBEWRIGHT_CONFORMANCE_BUNDLE, KUBEWRIGHT_CONFORMANCE_SPECS (another list), KUBEWRIGHT_LAB_POLICY. Results:
.kubewright/lab/results/conformance/ (JUnit, table, logs).""",
    "requirements": """resolve requirements/*.in to hash-locked requirements/*.txt""",
}


def doc(group: str) -> str:
    """The menu's line for a group."""
    return HELP[group].splitlines()[0]
