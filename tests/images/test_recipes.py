"""What a recipe may say of images, and how it is told that it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_workshop import IMAGE, workshop
from real import ROOT

from kubewright.errors import KubewrightError, LockOutdatedError, RecipeError, UsageError
from kubewright.images.plan import check_references, images, plan_image
from kubewright.project import Project

#: a change of the image -> what is said about it
WRONG = {
    ('= "server",', '= "serber",'): r"image\[0\].files.*server has no output 'serber' that is a file",
    ('"helper:helper"', '"helper:other"'): r"image\[0\].files.*helper has no output 'other' that is a file",
    ('"helper:helper"', '"hepler:helper"'): "there is no recipes/hepler",
    ('"/usr/local/bin/server" = "server"', '"usr/local/bin/server" = "server"'): "not an absolute path",
    ('"/usr/local/bin/server" = "server"', '"/usr/../bin/server" = "server"'): "not an absolute path",
    ('"/usr/local/bin/server" = "server"', '"/usr/.wh.bin/server" = "server"'): "not an absolute path",
    ('capabilities = { "/usr/local/bin/server"', 'capabilities = { "/sbin/tables"'): "is not in `files`",
    ('["net_bind_service"]', '["sys_admin"]'): "expected",
    ('"65532:65532"', '"nonroot"'): "UID:GID",
    ('root = "image-tools"', 'root = "image-tolls"'): "there is no builders/image-tolls.toml",
    ('"53/udp"', '"53"'): "a port such as 53/udp",
    ('server:v{version}"', 'server"'): "a full reference",
    ('server:v{version}"', 'server:{commit}"'): "unknown variable",
    ("links = { ", 'links = { "/usr/bin/helper" = "other", '): "/usr/bin/helper is there twice, in `files` and in `links`",
    ("links = {", 'links = { "/bin/cp" = "helper",'): "/bin/cp is there twice",
    ("[[image]]", "[[image]]\nentrypiont = []"): "entrypiont: unknown key",
    ('entrypoint = ["/usr/local/bin/server"]\ncommand = ["--port=53"]', ""): "neither `entrypoint` nor `command`",
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: WRONG[change][:40])
def test_refused_with_file_and_key(change: tuple[str, str], tmp_path: Path) -> None:
    assert change[0] in IMAGE
    made = workshop(tmp_path / "checkout")
    recipe = made.root / "recipes/server/recipe.toml"
    recipe.write_text(recipe.read_text().replace(*change))
    with pytest.raises(RecipeError, match=WRONG[change]) as caught:
        check_references(made.project())
    assert "recipes/server/recipe.toml" in caught.value.message


def test_an_image_of_packages_alone_says_its_own_version_and_licence(tmp_path: Path) -> None:
    image = IMAGE.replace('files = { "/usr/local/bin/server" = "server", "/bin/helper" = "helper:helper" }\n', "")
    image = image.replace('capabilities = { "/usr/local/bin/server" = ["net_bind_service"] }\n', "")
    with pytest.raises(RecipeError, match="version and licence are not the component's"):
        workshop(tmp_path / "checkout", image)


def test_image_names_are_unique_over_all_recipes(tmp_path: Path) -> None:
    made = workshop(tmp_path / "checkout")
    recipe = made.root / "recipes/helper/recipe.toml"
    recipe.write_text(
        recipe.read_text() + IMAGE.replace('"helper:helper"', '"helper"').replace('= "server",', '= "server:server",')
    )
    with pytest.raises(RecipeError, match="is an image of"):
        check_references(made.project())


def test_an_unknown_image_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        plan_image(workshop(tmp_path / "checkout").project(), "sever")
    assert caught.value.remedy == "did you mean 'server'?"


def test_packages_of_another_architecture_are_refused(tmp_path: Path) -> None:
    made = workshop(tmp_path / "checkout")
    lock = made.root / "lockfile.toml"
    lock.write_text(lock.read_text().replace('architecture = "amd64"', 'architecture = "arm64"'))
    with pytest.raises(LockOutdatedError, match="for arm64, and the image is for linux/amd64"):
        plan_image(made.project(), "server")


def test_the_key_is_pinned(tmp_path: Path) -> None:
    """A change of it makes everybody assemble again: a decision."""
    key = plan_image(workshop(tmp_path / "checkout").project(), "server").key
    assert key == "sha256:a95358b8124df95f27b7026e9aff211c5da5e76e53103da824c600290c364920"


@pytest.mark.parametrize(
    "change",
    [
        ('command = ["--port=53"]', 'command = ["--port=54"]'),
        ('user = "65532:65532"', 'user = "0:0"'),
        ('"/sbin/tables" = "tables-nft"', '"/sbin/tables" = "tables-legacy"'),
        ("certificates = true", "certificates = false"),
        ('root = "image-tools"\n', ""),
        ('licence = "Apache-2.0"', 'licence = "MIT"'),
    ],
)
def test_what_decides_bytes_is_in_the_key(change: tuple[str, str], tmp_path: Path) -> None:
    made = workshop(tmp_path / "checkout")
    before = plan_image(made.project(), "server").key
    recipe = made.root / "recipes/server/recipe.toml"
    assert change[0] in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(*change))
    assert plan_image(made.project(), "server").key != before


# -- this checkout's ----------------------------------------------------------------------------------------------


def test_every_image_of_the_issue_is_there() -> None:
    project = Project(ROOT, {})
    check_references(project)
    wanted = {
        "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns", "pause", "flannel",
        "flannel-cni-plugin", "metallb-controller", "metallb-speaker", "metrics-server", "local-path-provisioner", "busybox",
        "registry",
    }  # fmt: skip
    assert wanted <= images(project).keys()


@pytest.mark.parametrize("name", images(Project(ROOT, {})))
def test_what_digests_toml_has_is_of_the_key_of_now(name: str) -> None:
    project = Project(ROOT, {"KUBEWRIGHT_PLATFORM": "linux/amd64"})
    try:
        plan = plan_image(project, name)
    except KubewrightError as error:
        pytest.skip(error.message)
    accepted = project.digests.find(plan.component.name, plan.platform)
    assert accepted is not None
    assert accepted.image_keys.get(name) == plan.key
