"""`./doit image`: made once, known in a moment, compared with digests.toml, accepted when two assemblies agree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from image_workshop import workshop
from project_builder import ProjectBuilder

from kubewright.errors import IrreproducibleError
from kubewright.gc.collect import gc
from kubewright.images.accept import accept_images
from kubewright.images.place import make_image, up_to_date
from kubewright.images.plan import directory, plan_image
from kubewright.images.record import ImageRecord
from kubewright.oci.reading import open_directory
from kubewright.report import Progress

QUIET = Progress("test")


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    return workshop(tmp_path / "checkout")


def make(made: ProjectBuilder) -> ImageRecord:
    project = made.project()
    return make_image(project, plan_image(project, "server"), QUIET)


def place(made: ProjectBuilder) -> Path:
    project = made.project()
    return directory(project, plan_image(project, "server"))


def current(made: ProjectBuilder) -> bool:
    project = made.project()
    return up_to_date(project, plan_image(project, "server"))


def accept(made: ProjectBuilder) -> None:
    project = made.project()
    accept_images(project, project.component("server"), QUIET)


def test_it_is_where_people_look_for_it(made: ProjectBuilder) -> None:
    make(made)
    assert place(made) == made.root / "artifacts/images/server/1.2.3/linux-amd64"
    with open_directory(place(made)) as opened:
        opened.check()
    assert current(made)


def test_nothing_is_done_twice(made: ProjectBuilder) -> None:
    first = make(made)
    before = {path: path.stat() for path in place(made).rglob("*")}
    assert make(made) == first
    assert {path: path.stat() for path in place(made).rglob("*")} == before


def _missing(path: Path) -> None:
    next((path / "blobs/sha256").iterdir()).unlink()


def _changed(path: Path) -> None:
    blob = max((path / "blobs/sha256").iterdir(), key=lambda each: each.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")


def _extra(path: Path) -> None:
    (path / "blobs/sha256" / ("a" * 64)).write_bytes(b"")


def _index(path: Path) -> None:
    (path / "index.json").write_text("{}")


def _link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("change", [_missing, _changed, _extra, _index, _link], ids=lambda each: each.__name__[1:])
def test_what_somebody_changed_is_noticed_and_made_again(made: ProjectBuilder, change: object) -> None:
    first = make(made)
    change(place(made))  # type: ignore[operator]
    assert not current(made)
    assert make(made) == first
    assert current(made)
    with open_directory(place(made)) as opened:
        opened.check()


def test_only_touched_files_are_hashed_again(made: ProjectBuilder) -> None:
    make(made)
    for path in (place(made) / "blobs/sha256").iterdir():
        os.utime(path)
    assert current(made)


def test_other_inputs_are_another_image(made: ProjectBuilder) -> None:
    make(made)
    recipe = made.root / "recipes/server/recipe.toml"
    recipe.write_text(recipe.read_text().replace('["--port=53"]', '["--port=5353"]'))
    assert not current(made)


def test_the_image_is_no_part_of_the_build_key(made: ProjectBuilder) -> None:
    before = made.project().component("server").key
    recipe = made.root / "recipes/server/recipe.toml"
    recipe.write_text(recipe.read_text().replace('["--port=53"]', '["--port=5353"]'))
    assert made.project().component("server").key == before


# -- accepting ----------------------------------------------------------------------------------------------------


def test_accepted_digests_are_the_manifests_and_their_keys(made: ProjectBuilder) -> None:
    accept(made)
    project = made.project()
    entry = project.digests.find("server", "linux/amd64")
    assert entry is not None
    assert entry.images == {"server": make(made).manifest}
    assert entry.image_keys == {"server": plan_image(project, "server").key}
    assert (made.root / "digests.toml").read_text().count("server") >= 2


def test_other_bytes_for_the_same_key_are_an_error_and_not_in_artifacts(made: ProjectBuilder) -> None:
    accept(made)
    path = made.root / "digests.toml"
    manifest = make(made).manifest
    subprocess.run(["rm", "-r", made.root / "artifacts", made.root / "store/refs/image"], check=True)
    path.write_text(path.read_text().replace(manifest, "sha256:" + "0" * 64))
    with pytest.raises(IrreproducibleError, match=r"digests\.toml has sha256:000"):
        make(made)
    assert not place(made).exists()
    assert not current(made)


def test_digests_of_another_key_bind_nobody(made: ProjectBuilder) -> None:
    accept(made)
    path = made.root / "digests.toml"
    manifest, key = make(made).manifest, plan_image(made.project(), "server").key
    text = path.read_text().replace(manifest, "sha256:" + "0" * 64)
    path.write_text(text.replace(key, "sha256:" + "1" * 64))
    assert make(made).manifest == manifest


def test_images_of_outputs_that_nobody_accepted_are_not_accepted(made: ProjectBuilder) -> None:
    (made.root / "digests.toml").unlink()
    with pytest.raises(IrreproducibleError, match=r"not in digests\.toml") as caught:
        accept(made)
    assert "./doit build:" in caught.value.remedy


def test_two_assemblies_that_differ_are_not_accepted(made: ProjectBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The umask of the second one reaches a layer: the base layer is made to depend on it here."""
    from kubewright.images import layers
    from kubewright.oci.layer import Entry, file

    honest = layers.base_entries

    def depends(**what: Any) -> list[Entry]:
        mask = os.umask(0)
        os.umask(mask)
        return [*honest(**what), file("etc/umask", str(mask).encode())]

    monkeypatch.setattr(layers, "base_entries", depends)
    before = (made.root / "digests.toml").read_text()
    with pytest.raises(IrreproducibleError, match="layer base base"):
        accept(made)
    assert (made.root / "digests.toml").read_text() == before


def test_gc_keeps_what_images_of_now_need(made: ProjectBuilder) -> None:
    first = make(made)
    recipe = made.root / "recipes/server/recipe.toml"
    before = recipe.read_text()
    recipe.write_text(before.replace('["--port=53"]', '["--port=5353"]'))
    make(made)
    store = made.project().store
    assert len(store.refs("image")) == 2
    gc(made.project(), QUIET, dry_run=False)
    assert len(store.refs("image")) == 1
    assert len(store.refs("layer")) == 3
    assert all(store.has(digest) for digest in store.refs("layer").values())
    recipe.write_text(before)
    assert make(made) == first


def test_what_is_accepted_comes_from_inputs_and_not_from_remembered_layers(made: ProjectBuilder) -> None:
    """The store's memory is made to say that one package has the layer of another."""
    honest = make(made)
    store = made.project().store
    names = sorted(store.refs("layer"))
    store.set_ref("layer", names[0], store.refs("layer")[names[1]])
    accept(made)
    entry = made.project().digests.find("server", "linux/amd64")
    assert entry is not None
    assert entry.images == {"server": honest.manifest}
    subprocess.run(["rm", "-r", made.root / "artifacts", made.root / "store/refs/image"], check=True)
    with pytest.raises(IrreproducibleError):
        make(made)


# -- ended in the middle ------------------------------------------------------------------------------------------

_MAKE = """
import sys
sys.path[:0] = [{tests!r}, {images!r}]
from pathlib import Path
from project_builder import ProjectBuilder
from test_place import make
made = ProjectBuilder.__new__(ProjectBuilder)
made.root = Path({root!r})
print("ready", flush=True)
make(made)
"""


def test_a_kill_at_any_moment_costs_at_most_the_image_in_flight(made: ProjectBuilder) -> None:
    here = Path(__file__).parent
    code = _MAKE.format(tests=str(here.parent), images=str(here), root=str(made.root))
    environ = {**os.environ, "PYTHONPATH": str(here.parents[1])}
    wanted = make(made)
    for index in range(12):
        subprocess.run(["rm", "-rf", made.root / "artifacts", made.root / "store/refs/image"], check=True)
        with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(index * 0.005)
            process.send_signal(signal.SIGKILL)
        assert not place(made).exists() or _whole(place(made))
        assert make(made) == wanted
        assert [path.name for path in place(made).parent.iterdir()] == ["linux-amd64"]


def _whole(path: Path) -> bool:
    with open_directory(path) as opened:
        opened.check()
    return True
