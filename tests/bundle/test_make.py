"""``./doit bundle:STACK``: what gets in, when there is nothing to do, and what interruptions leave."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stackbuilder import POD, REFERENCE, StackBuilder

from kubewright.bundle.listing import lines
from kubewright.bundle.make import Made, up_to_date
from kubewright.errors import BuildError
from kubewright.manifests.errors import NoCounterpartError
from kubewright.oci.opening import open_layout
from kubewright.trust import keys
from kubewright.trust.publish import sign_component
from kubewright.trust.setfolder import attestation_directory
from kubewright.verify.bundle_check import BundleOptions, verify_bundle
from kubewright.verify.policy import load_policy

HERE = Path(__file__).parent


@pytest.fixture
def stack(tmp_path: Path) -> StackBuilder:
    made = StackBuilder(tmp_path / "checkout")
    made.assemble()
    return made


def names(made: Made) -> set[str]:
    with open_layout(made.file) as layout:
        return {line.name for line in lines(layout, statements=True)}


def fresh(stack: StackBuilder) -> bool:
    project = stack.project()
    return up_to_date(project, project.stacks["tiny"], "linux/amd64")


def snapshot(made: Made) -> dict[str, bytes]:
    files = [made.file, *(path for path in made.directory.rglob("*") if path.is_file())]
    return {str(path.relative_to(made.file.parent)): path.read_bytes() for path in sorted(files)}


# -- what gets in -------------------------------------------------------------------------------------------------


def test_a_stack_s_bundle_satisfies_a_policy(stack: StackBuilder) -> None:
    made = stack.make()
    assert made.file.name == "tiny-1.2.3-linux-amd64.oci.tar.zst", "the version of the first component"
    for path in (made.file, made.directory):
        with verify_bundle(path, load_policy(stack.policy()), stack.policy(), BundleOptions()) as bundle:
            assert {(each.component, each.path) for each in bundle.files} == {
                ("client", "client"),
                ("addons", "addons"),
                ("addons", "server.yaml"),
            }
            assert [each.reference for each in bundle.images] == [REFERENCE]
            named = f"{REFERENCE}@{bundle.images[0].digest}"
            assert bundle.read(bundle.manifests["server.yaml"]).decode() == POD.replace(REFERENCE, named)
            assert set(bundle.licences) == {
                f"{name}/ATTRIBUTION" for name in ("server", "client", "addons", "images/server")
            } | {"kubewright/LICENSE"}
            assert "kubewright-verify.pyz" in bundle.installer
            assert bundle.stack_definition() == (stack.root / "stacks/tiny.toml").read_bytes()


def test_statements_are_referrers_of_what_they_are_about(stack: StackBuilder) -> None:
    found = names(stack.make())
    key = stack.key.key_id
    assert {f"components/client/{kind}.{key}.sigstore.json" for kind in ("provenance", "cyclonedx", "spdx")} <= found
    assert f"images/server/provenance.{key}.sigstore.json" in found
    assert {f"release/release.{key}.sigstore.json", f"bundle.{key}.sigstore.json"} <= found


def test_rebuilds_of_others_get_in(stack: StackBuilder) -> None:
    keys.create(stack.root.parent / "second.key", None)
    second = keys.load(stack.root.parent / "second.key", lambda: "")
    project = stack.project()
    from stackbuilder import describe

    sign_component(project, project.component("client"), second, describe)
    assert f"components/client/provenance.{second.key_id}.sigstore.json" in names(stack.make())


def test_what_is_not_there_names_the_task(tmp_path: Path) -> None:
    stack = StackBuilder(tmp_path / "checkout")
    with pytest.raises(BuildError) as found:
        stack.make()
    assert "./doit image:server" in found.value.remedy
    shutil.rmtree(stack.root / "store" / "refs" / "record")
    with pytest.raises(BuildError) as found:
        stack.make()
    assert "./doit build:server" in found.value.remedy


def test_a_manifest_with_an_image_of_nobody_stops_the_bundle(stack: StackBuilder) -> None:
    stack.pod = POD.replace(REFERENCE, "registry.example/stranger:v1")
    stack.record("addons")
    with pytest.raises(NoCounterpartError):
        stack.make()
    assert not (stack.root / "artifacts" / "bundles").exists()


# -- nothing to do ------------------------------------------------------------------------------------------------


def test_a_second_run_writes_nothing_and_is_quick(stack: StackBuilder) -> None:
    made = stack.make()
    before = made.file.stat().st_mtime_ns
    start = time.process_time()
    assert fresh(stack)
    again = stack.make()
    assert time.process_time() - start < 1
    assert again.written is None
    assert made.file.stat().st_mtime_ns == before


def test_every_change_is_a_reason_to_write_again(stack: StackBuilder) -> None:
    made = stack.make()

    def client_is_built_anew() -> None:
        stack.record("client", content="another")
        shutil.rmtree(attestation_directory(stack.project(), stack.project().component("client")))
        shutil.rmtree(stack.root / "artifacts" / "client")

    changes = {
        "file touched": lambda: os.utime(made.file),
        "file gone": made.file.unlink,
        "blob gone": lambda: next((made.directory / "blobs" / "sha256").iterdir()).unlink(),
        "something in the directory": lambda: (made.directory / "more").write_text("x"),
        "statement added": lambda: shutil.copy(
            next(attestation_directory(stack.project(), stack.project().component("client")).glob("provenance*")),
            attestation_directory(stack.project(), stack.project().component("client")) / "note.0123456789abcdef.sigstore.json",
        ),
        "statement taken away": lambda: (
            attestation_directory(stack.project(), stack.project().component("client")) / "note.0123456789abcdef.sigstore.json"
        ).unlink(),
        "stack": lambda: stack.write("stacks/tiny.toml", (stack.root / "stacks/tiny.toml").read_text() + "\n"),
        "built anew": client_is_built_anew,
    }
    for what, change in changes.items():
        assert fresh(stack), f"before: {what}"
        change()
        assert not fresh(stack), what
        stack.make()


def test_damage_is_repaired_to_the_same_bytes(stack: StackBuilder) -> None:
    made = stack.make()
    good = snapshot(made)
    made.file.write_bytes(b"damaged")
    (made.directory / "index.json").write_bytes(b"damaged")
    assert snapshot(stack.make()) == good


def test_two_places_give_the_same_bytes(stack: StackBuilder, tmp_path: Path) -> None:
    """Another checkout, another store, the same key and builds."""
    shutil.copy(stack.key_path, tmp_path / "other.key")
    other = StackBuilder(tmp_path / "other")
    other.assemble()
    assert snapshot(other.make()) == snapshot(stack.make())


# -- ends in the middle -------------------------------------------------------------------------------------------

FORK = """
import os, random, signal, sys, time, json
sys.path[:0] = {paths!r}
from pathlib import Path
from stackbuilder import StackBuilder
stack = StackBuilder.__new__(StackBuilder)
stack.root, stack.key_path = Path({root!r}), Path({key!r})
"""


def script(stack: StackBuilder, body: str) -> list[str]:
    paths = [str(HERE), str(HERE.parent), str(HERE.parent / "verify")]
    return [sys.executable, "-c", FORK.format(paths=paths, root=str(stack.root), key=str(stack.key_path)) + body]


def test_a_hundred_kills(stack: StackBuilder) -> None:
    """Killed at random moments of signing, gathering and writing: the old bundle or the new one, and the next run finishes."""
    stack.record("client", content="".join(str(random.Random(number).random()) for number in range(60_000)))
    good = snapshot(stack.make())
    shutil.rmtree(stack.root / "artifacts" / "bundles")
    shutil.rmtree(stack.root / ".kubewright")
    body = """
stack.make()
import shutil
shutil.rmtree(stack.root / ".kubewright")
start = time.monotonic(); stack.make(); took = time.monotonic() - start  # with everything signed, as in the loop
bundles = stack.root / "artifacts" / "bundles"

def writing():
    return any(path.suffix in (".tmp", ".old") for path in bundles.glob("*"))

for number in range(100):
    if number % 2:
        shutil.rmtree(bundles, ignore_errors=True)
    shutil.rmtree(stack.root / ".kubewright", ignore_errors=True)
    child, chance = os.fork(), random.Random(number)
    if not child:
        stack.make()
        os._exit(0)
    if number % 3:  # anywhere: much of it is signing
        time.sleep(chance.uniform(0, 1.1 * took))
    else:  # shortly after the first new file is there
        while not writing() and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(json.dumps(sorted(str(path.relative_to(bundles)) for path in bundles.glob("*")) if bundles.exists() else []))
stack.make()
"""
    result = subprocess.run(script(stack, body), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    seen = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(seen) == 100
    assert sum(any(name.endswith((".tmp", ".old")) for name in each) for each in seen) > 5, "kills in the middle of writing"
    where = stack.root / "artifacts" / "bundles"
    assert sorted(each.name for each in where.iterdir()) == sorted({name.split("/")[0] for name in good})
    assert snapshot(Made(next(where.glob("*.zst")), next(where.glob("*.oci")))) == good


def test_two_writers_at_once(stack: StackBuilder) -> None:
    runs = [subprocess.Popen(script(stack, "stack.make()"), stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], errors
    where = stack.root / "artifacts" / "bundles"
    assert len(list(where.iterdir())) == 2
    with verify_bundle(next(where.glob("*.zst")), load_policy(stack.policy()), stack.policy()) as bundle:
        assert bundle.stack == "tiny"


@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs unshare and root")
def test_a_full_disk_leaves_nothing_new(stack: StackBuilder) -> None:
    """artifacts/bundles is a tmpfs that is too small for either form."""
    stack.record("client", content="x")
    bundles = stack.root / "artifacts" / "bundles"
    bundles.mkdir()
    body = """
from kubewright.errors import StoreError
try:
    stack.make()
except StoreError as error:
    assert "no space left" in error.message, error.message
else:
    raise SystemExit("it was written")
assert not list((stack.root / "artifacts" / "bundles").iterdir())
"""
    mount = f'mount -t tmpfs -o size=64k none {bundles} && exec "$@"'
    result = subprocess.run(["unshare", "-m", "bash", "-c", mount, "-", *script(stack, body)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert stack.make().written is not None
