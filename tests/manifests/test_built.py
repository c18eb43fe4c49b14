"""The manifests that the component addons really is, from the store: what they name, and what rewriting does to them."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml

from kubewright import record
from kubewright.manifests.counterparts import Image, counterparts
from kubewright.manifests.errors import NoCounterpartError
from kubewright.manifests.rewriting import rewrite
from kubewright.model.recipe import Manifest
from kubewright.project import Project

PROJECT = Project(Path(__file__).parents[2])
DIGEST = "sha256:" + "d" * 64

#: manifest -> the images that upstream names in it, in order; {NAME}: the version in the recipe of NAME
NAMED = {
    "coredns.yaml": ["registry.k8s.io/coredns/coredns:v{coredns}"],
    "flannel.yaml": [
        "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3",
        "ghcr.io/flannel-io/flannel:v{flannel}",
        "ghcr.io/flannel-io/flannel:v{flannel}",
    ],
    "kube-proxy.yaml": ["registry.k8s.io/kube-proxy:v{kubernetes}"],
    "local-path-provisioner.yaml": ["rancher/local-path-provisioner:v{local-path-provisioner}", "busybox"],
    "metallb.yaml": ["quay.io/metallb/controller:v{metallb}", "quay.io/metallb/speaker:v{metallb}"],
    "metrics-server.yaml": ["registry.k8s.io/metrics-server/metrics-server:v{metrics-server}"],
}


def named(manifest: Manifest) -> list[str]:
    versions = {name: recipe.version for name, recipe in PROJECT.recipes.items()}
    return [reference.format(**versions) for reference in NAMED[manifest.output]]


def ours(manifest: Manifest) -> dict[str, Image]:
    """Images as if ours went by the names of upstream, but for those that the recipe replaces."""
    same = [each for each in named(manifest) if each.partition(":")[0] not in manifest.replace]
    wanted = [*(each if ":" in each else f"{each}:latest" for each in same), *manifest.replace.values()]
    return counterparts([Image(each, DIGEST) for each in wanted], manifest.replace, "recipes/addons")


@pytest.fixture(scope="module")
def built() -> dict[str, bytes]:
    component = PROJECT.component("addons")
    found = record.load(PROJECT.store, component.key)
    if found is None:
        pytest.skip("addons is not in the store: ./doit build:addons")
    return {output.path: PROJECT.store.read(output.sha256) for output in found.outputs}


def test_every_output_is_a_manifest() -> None:
    recipe = PROJECT.recipe("addons")
    assert [each.output for each in recipe.manifests] == [each.path for each in recipe.outputs] == sorted(NAMED)


@pytest.mark.parametrize("manifest", PROJECT.recipe("addons").manifests, ids=lambda manifest: manifest.output)
def test_a_manifest_of_upstream(manifest: Manifest, built: dict[str, bytes]) -> None:
    text = built[manifest.output]
    done = rewrite(manifest.output, text, ours(manifest))
    assert [each.found for each in done.references] == named(manifest)
    assert [each.found for each in done.references if each.replaced] == [
        each for each in named(manifest) if each.partition(":")[0] in manifest.replace
    ]
    assert done.policies == ()
    before, after = text.decode().split("\n"), done.text.decode().split("\n")
    lines = [each for each in difflib.ndiff(before, after) if each.startswith("+ ")]
    assert len(before) == len(after)
    assert len(lines) == len(done.references)
    assert all("image: " in line and line.endswith(f"@{DIGEST}") for line in lines)
    assert list(yaml.safe_load_all(done.text)) != list(yaml.safe_load_all(text))
    again = rewrite(manifest.output, done.text, ours(manifest))
    assert again.text == done.text


@pytest.mark.parametrize("manifest", PROJECT.recipe("addons").manifests, ids=lambda manifest: manifest.output)
def test_an_image_that_is_not_ours_fails_it(manifest: Manifest, built: dict[str, bytes]) -> None:
    with pytest.raises(NoCounterpartError, match=f"{manifest.output}: .*: no image of ours stands for"):
        rewrite(manifest.output, built[manifest.output], {})


def test_flannel_s_configuration_is_one_that_our_plugin_speaks(built: dict[str, bytes]) -> None:
    assert b'"cniVersion": "0.3.1"' in built["flannel.yaml"]
