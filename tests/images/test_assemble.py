"""What is in an image: one layer for each input, and nothing that its inputs do not decide."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from image_workshop import PACKAGES, PEM, deb, workshop
from project_builder import SOURCE_DATE, ProjectBuilder

from kubewright import record as records
from kubewright.errors import BuildError, IntegrityError, StoreCorruptError
from kubewright.images.assemble import KEPT, KNOWN, assemble
from kubewright.images.packages import certificate_entries
from kubewright.images.plan import plan_image
from kubewright.images.record import ImageRecord
from kubewright.oci.errors import LayerError
from kubewright.oci.reading import open_directory
from kubewright.report import Progress

QUIET = Progress("test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ProjectBuilder:
    return workshop(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def layout(made: ProjectBuilder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImageRecord]:
    target = tmp_path_factory.mktemp("image") / "layout"
    return target, put(made, target)


def put(made: ProjectBuilder, target: Path) -> ImageRecord:
    project = made.project()
    return assemble(project, plan_image(project, "server"), target, QUIET)


def layers(path: Path, record: ImageRecord) -> dict[str, dict[str, tarfile.TarInfo]]:
    """Layer's name -> path -> member."""
    found = {}
    for layer in record.layers:
        with tarfile.open(path / "blobs/sha256" / layer.digest[7:]) as tar:
            found[layer.name] = {member.name: member for member in tar}
    return found


def content(path: Path, record: ImageRecord, layer: str, name: str) -> bytes:
    digest = next(each.digest for each in record.layers if each.name == layer)
    with tarfile.open(path / "blobs/sha256" / digest[7:]) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def config(path: Path, record: ImageRecord) -> Any:
    return json.loads((path / "blobs/sha256" / record.config[7:]).read_bytes())


def files(members: dict[str, tarfile.TarInfo]) -> set[str]:
    return {name for name, member in members.items() if not member.isdir()}


# -- layers -------------------------------------------------------------------------------------------------------


def test_the_layout_is_whole(layout: tuple[Path, ImageRecord]) -> None:
    with open_directory(layout[0]) as opened:
        opened.check()
        assert opened.index.manifests[0].digest == layout[1].manifest


def test_one_layer_for_each_input_lowest_first(layout: tuple[Path, ImageRecord]) -> None:
    assert [(layer.kind, layer.name) for layer in layout[1].layers] == [
        ("base", "base"),
        ("certificates", "ca-certificates"),
        ("package", "libtables"),
        ("package", "tables"),
        ("component", "helper"),
        ("component", "server"),
        ("links", "links"),
    ]


def test_packages_come_without_documentation_but_say_whose_they_are(layout: tuple[Path, ImageRecord]) -> None:
    found = layers(*layout)
    assert files(found["tables"]) == {
        "etc/tables.conf",
        "usr/sbin/tables-nft",
        "usr/share/doc/tables/copyright",
        "var/lib/dpkg/status.d/tables",
    }
    assert found["libtables"]["usr/share/doc/libtables"].linkname == "tables"
    assert content(*layout, "tables", "var/lib/dpkg/status.d/tables").startswith(b"Package: tables\nVersion: 12-1\n")


def test_nothing_of_a_package_is_setuid_and_its_script_is_not_run(layout: tuple[Path, ImageRecord]) -> None:
    assert layers(*layout)["tables"]["usr/sbin/tables-nft"].mode == 0o755


def test_packages_land_in_the_merged_usr(layout: tuple[Path, ImageRecord]) -> None:
    found = layers(*layout)
    assert {name: found["base"][name].linkname for name in ("bin", "sbin", "lib", "lib64")} == {
        "bin": "usr/bin",
        "sbin": "usr/sbin",
        "lib": "usr/lib",
        "lib64": "usr/lib64",
    }
    for name, members in found.items():
        through = {path for path in members if path.split("/")[0] in ("bin", "sbin", "lib", "lib64") and "/" in path}
        assert through == set(), f"layer {name} writes through a link of the base"
    assert "usr/lib/x86_64-linux-gnu/libtables.so.1" in found["libtables"]
    assert "usr/bin/helper" in found["helper"]


def test_certificates_are_one_sorted_file(layout: tuple[Path, ImageRecord]) -> None:
    bundle = content(*layout, "ca-certificates", "etc/ssl/certs/ca-certificates.crt")
    assert bundle == PEM + PEM.replace(b"AAAA", b"BBBB")
    assert files(layers(*layout)["ca-certificates"]) == {
        "etc/ssl/certs/ca-certificates.crt",
        "usr/share/doc/ca-certificates/copyright",
        "var/lib/dpkg/status.d/ca-certificates",
    }


@pytest.mark.parametrize("odd", [b"", b"not a certificate", PEM + PEM, PEM + b"-----BEGIN PRIVATE KEY-----"])
def test_what_is_not_one_certificate_is_refused(odd: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(deb("ca-certificates", {**PACKAGES["ca-certificates"],
                                                             "usr/share/ca-certificates/C.crt": odd}))  # fmt: skip
    with pytest.raises(IntegrityError, match=r"C\.crt"):
        certificate_entries(tmp_path / "a.deb", tmp_path / "scratch")


def test_a_layers_time_is_its_inputs(layout: tuple[Path, ImageRecord]) -> None:
    """So that a new version of the component leaves the layers of packages as they are."""
    times = {name: {member.mtime for member in members.values()} for name, members in layers(*layout).items()}
    assert times.pop("server") == times.pop("helper") == {SOURCE_DATE}
    assert all(found == {315_532_800} for found in times.values())


def test_links_aliases_and_folders(layout: tuple[Path, ImageRecord]) -> None:
    found = layers(*layout)["links"]
    assert {name: found[name].linkname for name in files(found)} == {
        "usr/bin/cp": "helper",
        "usr/bin/sh": "helper",
        "usr/sbin/tables": "tables-nft",
    }
    assert {"data", "var/lib/server"} < found.keys()


def test_a_capability_is_as_setcap_writes_it(layout: tuple[Path, ImageRecord]) -> None:
    """cap_net_bind_service=ep: revision 2, effective; bit 10 permitted (linux/capability.h: struct vfs_cap_data)."""
    pax = layers(*layout)["server"]["usr/local/bin/server"].pax_headers
    assert pax["SCHILY.xattr.security.capability"].encode().hex() == "0100000200040000000000000000000000000000"


def test_the_configuration_is_what_the_recipe_says(layout: tuple[Path, ImageRecord]) -> None:
    found = config(*layout)
    assert found["config"] == {
        "User": "65532:65532",
        "Entrypoint": ["/usr/local/bin/server"],
        "Cmd": ["--port=53"],
        "Env": ["MODE=production", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "WorkingDir": "/var/lib/server",
        "ExposedPorts": {"53/udp": {}},
        "Volumes": {"/data": {}},
    }
    assert found["created"] == "2023-11-14T22:13:20Z"
    assert found["rootfs"]["diff_ids"] == [layer.digest for layer in layout[1].layers]


def test_annotations_say_what_it_is_and_no_commit_that_nobody_confirmed(made: ProjectBuilder, tmp_path: Path) -> None:
    def annotations(record: ImageRecord, path: Path) -> Any:
        return json.loads((path / "blobs/sha256" / record.manifest[7:]).read_bytes())["annotations"]

    found = annotations(put(made, tmp_path / "a"), tmp_path / "a")
    assert found["org.opencontainers.image.version"] == "1.2.3"
    assert found["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert found["org.opencontainers.image.source"] == "https://git.example.org/server"
    assert "org.opencontainers.image.revision" not in found


# -- the same bytes -----------------------------------------------------------------------------------------------

_ELSEWHERE = """
import os, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {images!r}]
from project_builder import ProjectBuilder
from test_assemble import put
os.umask(0o077)
os.chdir("/")
made = ProjectBuilder.__new__(ProjectBuilder)
made.root = Path({root!r})
if os.geteuid() == 0:
    os.setgid(4321), os.setuid(4321)
print(put(made, Path({target!r})).manifest)
"""


def test_another_place_user_umask_and_time_zone_give_the_same_bytes(layout: tuple[Path, ImageRecord]) -> None:
    """A second checkout with a store of its own, assembled by another process."""
    here = Path(__file__).parent
    other = Path(tempfile.mkdtemp(prefix="kubewright another place "))
    try:
        made = workshop(other / "checkout")
        for path in [other, *other.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o666)
        code = _ELSEWHERE.format(
            tests=str(here.parent), images=str(here), root=str(made.root), target=str(other / "out" / "layout")
        )
        (other / "out").mkdir(mode=0o777)
        (other / "out").chmod(0o777)
        environ = {**os.environ, "TZ": "XYZ-13:45", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONPATH": str(here.parents[1])}
        result = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert snapshot(other / "out" / "layout") == snapshot(layout[0])
    finally:
        shutil.rmtree(other)


def snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(each.relative_to(path)): (stat.S_IMODE(each.stat().st_mode), each.read_bytes() if each.is_file() else b"")
        for each in sorted(path.rglob("*"))
    }


def test_a_new_version_of_the_component_leaves_the_other_layers(layout: tuple[Path, ImageRecord], tmp_path: Path) -> None:
    made = workshop(tmp_path / "checkout")
    made.record("server", content="another build")
    record = put(made, tmp_path / "layout")
    changed = [one.name for one, other in zip(record.layers, layout[1].layers, strict=True) if one.digest != other.digest]
    assert changed == ["server"]


def test_layers_are_the_same_whether_remembered_or_not(tmp_path: Path) -> None:
    made = workshop(tmp_path / "checkout")
    project = made.project()
    plan = plan_image(project, "server")
    afresh = assemble(project, plan, tmp_path / "afresh", QUIET, remembered=False)
    assert project.store.refs(KEPT) == {}
    for name in ("first", "again"):
        assert assemble(project, plan, tmp_path / name, QUIET) == afresh
        assert snapshot(tmp_path / name) == snapshot(tmp_path / "afresh")
    assert len(project.store.refs(KEPT)) == 3
    assert len(project.store.refs(KNOWN)) == 2


def test_a_remembered_layer_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    made = workshop(tmp_path / "checkout")
    first = put(made, tmp_path / "layout")
    store = made.project().store
    for digest in store.refs(KEPT).values():
        store.path(digest).chmod(0o644)
        store.path(digest).write_bytes(b"damaged")
    assert put(made, tmp_path / "layout") == first
    assert all(store.read(digest) for digest in store.refs(KEPT).values())


@pytest.mark.parametrize("remembered", [True, False])
def test_an_output_that_is_damaged_later_is_noticed(tmp_path: Path, remembered: bool) -> None:
    made = workshop(tmp_path / "checkout")
    put(made, tmp_path / "layout")
    project = made.project()
    found = records.load(project.store, plan_image(project, "server").component.key)
    assert found is not None
    blob = project.store.path(found.outputs[0].sha256)
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    with pytest.raises(LayerError, match="server"):
        assemble(project, plan_image(project, "server"), tmp_path / "again", QUIET, remembered=remembered)


# -- what goes wrong ----------------------------------------------------------------------------------------------


def test_a_component_that_is_not_built(tmp_path: Path) -> None:
    made = workshop(tmp_path / "checkout")
    for path in (made.root / "store/refs/record").iterdir():
        path.unlink()
    with pytest.raises(BuildError, match="has not been built") as caught:
        put(made, tmp_path / "layout")
    assert "./doit build:" in caught.value.remedy
    assert not (tmp_path / "layout").exists()


@pytest.mark.parametrize("kind", ["output", "package"])
def test_a_damaged_input_leaves_no_image(tmp_path: Path, kind: str) -> None:
    made = workshop(tmp_path / "checkout")
    project = made.project()
    plan = plan_image(project, "server")
    digest = made.record("server").outputs[0].sha256 if kind == "output" else f"sha256:{plan.packages[0].sha256}"
    blob = project.store.path(digest)
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    with pytest.raises((LayerError, StoreCorruptError)):
        put(made, tmp_path / "layout")
    assert list(tmp_path.iterdir()) == [tmp_path / "checkout"]


def test_a_tar_reader_sees_what_was_written(layout: tuple[Path, ImageRecord]) -> None:
    for layer in layout[1].layers:
        data = (layout[0] / "blobs/sha256" / layer.digest[7:]).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = tar.getnames()
        assert names == sorted(set(names), key=str.encode)
