"""The stack k3s, from the stand-in: bill of materials, bundle, images under k3s' names for them, and the plan to install it."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standin import VERSION, Standin, document
from standin_stack import STACK, add_stack, requested
from workshop import REPOSITORY

sys.path += [str(REPOSITORY / "tests/sbom"), str(REPOSITORY / "tests/install")]

from contents import FACTS
from documents import check_cyclonedx, check_spdx, parts, properties

from kubewright.install.state import State, state_data

pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("k3s")]
GOLDEN = REPOSITORY / "tests/data/install"
CLUSTER = """
name = "site"
[load_balancer]
addresses = ["192.0.2.200-192.0.2.220"]
[[node]]
name = "one"
address = "192.0.2.10"
role = "control-plane"
[[node]]
name = "two"
address = "192.0.2.11"
role = "worker"
"""


@dataclass(frozen=True)
class Bundled:
    """The bundle's single file, and a policy that believes it."""

    standin: Standin
    file: Path
    policy: Path


@pytest.fixture(scope="session")
def bundled(k3s: Standin) -> Bundled:
    shop = k3s.shop
    add_stack(k3s)
    shop.doit(*(f"lock:{name}" for name in document(STACK)["components"] if name != "k3s"))
    key, policy = shop.folder / "site.key", shop.folder / "policy.toml"
    shop.kubewright("key", "new", "--no-passphrase", "--out", str(key))
    shop.doit("bundle:k3s", KUBEWRIGHT_SIGNING_KEY=str(key))
    shop.kubewright("policy", "new", "--key", f"site={key.with_suffix('.pub')}", "--out", str(policy))
    policy.write_text(policy.read_text().replace('unlisted = "refuse"', 'unlisted = "allow"'))
    return Bundled(k3s, shop.root / f"artifacts/bundles/k3s-{VERSION}-linux-amd64.oci.tar.zst", policy)


# -- names --------------------------------------------------------------------------------------------------------


def test_the_stack_has_every_image_that_k3s_asks_for_or_says_what_is_done_without() -> None:
    stack = document(STACK)
    images = [
        (image["name"], image["reference"].format(version=recipe["version"]))
        for recipe in (document(REPOSITORY / f"recipes/{name}/recipe.toml") for name in stack["components"])
        for image in recipe.get("image", ())
    ]
    assert set(stack["names"].values()) <= {name for name, _ in images}
    ours = {reference for _, reference in images} | set(stack["names"])
    assert requested() - ours == set(stack["not_built"])
    assert requested() & ours == requested() - set(stack["not_built"])


# -- bill of materials --------------------------------------------------------------------------------------------


def test_its_bill_of_materials(bundled: Bundled) -> None:
    shop = bundled.standin.shop
    folder = shop.root / f"artifacts/attestations/k3s/{VERSION}/linux-amd64"
    found = check_cyclonedx((folder / "sbom.cdx.json").read_bytes())
    check_spdx((folder / "sbom.spdx.json").read_bytes())
    named = parts(found)
    main, fork = named["github.com/k3s-io/k3s"], named["github.com/k3s-io/cri-dockerd"]
    commit = shop.pin("k3s").commit
    assert (main["version"], main["pedigree"]["commits"]) == (f"v{VERSION}", [{"uid": commit}])
    assert main["purl"].endswith(f"%40{commit}")
    assert properties(fork, "replaces") == ["github.com/Mirantis/cri-dockerd@v0.3.19"]
    assert "github.com/Mirantis/cri-dockerd" not in named
    assert any(
        each.startswith("cni-plugins git+") for each in properties(named["github.com/vishvananda/netlink"], "vendored-in")
    )
    assert named["runc"]["type"] == "application", "it has a bill of its own"
    assert {"busybox-static", "libseccomp-dev", "iptables"} <= set(named)


def test_the_wrapper_holds_all_that_the_archive_holds(bundled: Bundled) -> None:
    folder = bundled.standin.shop.root / f"artifacts/attestations/k3s/{VERSION}/linux-amd64"
    found = check_cyclonedx((folder / "sbom.cdx.json").read_bytes())
    contains = {each["ref"]: set(each.get("dependsOn", ())) for each in found["dependencies"]}
    assert contains["output:data"] <= contains["output:k3s"]
    assert {"aggregate": "incomplete", "dependencies": ["output:data", "output:k3s"]} in found["compositions"]


# -- the bundle ---------------------------------------------------------------------------------------------------


def test_it_is_verified(bundled: Bundled) -> None:
    shop = bundled.standin.shop
    assert "verified" in shop.kubewright("verify", str(bundled.file), "--policy", str(bundled.policy)).text


def test_it_is_not_written_twice(bundled: Bundled) -> None:
    before = bundled.file.stat().st_mtime_ns
    bundled.standin.shop.doit("bundle:k3s", KUBEWRIGHT_SIGNING_KEY=str(bundled.standin.shop.folder / "site.key"))
    assert bundled.file.stat().st_mtime_ns == before


def test_the_air_gap_tar_has_every_image_by_the_name_that_k3s_asks_for(bundled: Bundled, tmp_path: Path) -> None:
    shop = bundled.standin.shop
    words = ["--policy", str(bundled.policy), "--to", str(tmp_path / "out"), "--only", "images"]
    shop.kubewright("bundle", "extract", str(bundled.file), *words)
    with tarfile.open(tmp_path / "out/images.tar") as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        docker = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        blobs = {name for name in tar.getnames() if name.startswith("blobs/")}
    by_name = {each["annotations"]["io.containerd.image.name"]: each["digest"] for each in index["manifests"]}
    assert requested() - set(document(STACK)["not_built"]) <= set(by_name)
    assert by_name["docker.io/rancher/mirrored-pause:3.10.2"] == by_name["registry.k8s.io/pause:3.10.2"]
    assert {f"blobs/{digest.replace(':', '/')}" for digest in by_name.values()} <= blobs
    assert {name for each in docker for name in each["RepoTags"]} == set(by_name)


# -- the plan -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("node", "golden"), [("one", "k3s-server"), ("two", "k3s-agent")])
def test_the_plan_to_install_it_is_the_golden_one(bundled: Bundled, tmp_path: Path, node: str, golden: str) -> None:
    """But for digests and sizes, which are those of the stand-in, and its sequence."""
    (tmp_path / "cluster.toml").write_text(CLUSTER)
    (tmp_path / "facts.json").write_text(json.dumps(state_data(State(FACTS, "none", "", {}, 0))))
    words = ["--policy", str(bundled.policy), "--cluster", str(tmp_path / "cluster.toml"), "--node", node]
    words += ["--dry-run", "--facts", str(tmp_path / "facts.json"), "--json"]
    found = json.loads(bundled.standin.shop.kubewright("install", str(bundled.file), *words).out)
    assert found.pop("to_do")
    assert found.pop("sequence") == 1
    expected = json.loads((GOLDEN / f"{golden}.json").read_text())
    del expected["sequence"]
    assert _bare(found) == _bare(expected)


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "..." if key == "size" and "digest" in value else _bare(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_bare(each) for each in value]
    return re.sub(r"[0-9a-f]{64}", "...", value) if isinstance(value, str) else value


@pytest.mark.parametrize("golden", ["k3s-server", "k3s-agent"])
def test_images_lie_where_k3s_imports_them_from(golden: str) -> None:
    (archive,) = json.loads((GOLDEN / f"{golden}.json").read_text())["archives"]
    assert archive["path"] == "/var/lib/rancher/k3s/agent/images/kubewright.tar"
    names = {name for image in archive["images"] for name in (image["reference"], *image.get("names", ()))}
    assert requested() - set(document(STACK)["not_built"]) <= names
