from __future__ import annotations

import gzip
import io
import itertools
import lzma
import tarfile
from pathlib import Path

import pytest

from kubewright.errors import UnsafeArchiveError
from kubewright.files.deb import extract_deb, merged, unpack_root
from kubewright.files.digest import tree_digest, walk


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def build_deb(path: Path, files: dict[str, bytes | str | None], suffix: str = "xz") -> Path:
    """``files``: bytes are a file, a text is a link, None is a directory; a name that ends in ``*`` is executable."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo("./" + name.rstrip("*"))
            info.mode = 0o4755 if name.endswith("*") else 0o640
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    packed = {"xz": lzma.compress, "gz": gzip.compress}.get(suffix, bytes)(data.getvalue())
    name = f"data.tar.{suffix}" if suffix else "data.tar"
    path.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.xz": b"odd", name: packed}))
    return path


@pytest.mark.parametrize("suffix", ["xz", "gz", ""])
def test_a_package_unpacks_whatever_its_compression(tmp_path: Path, suffix: str) -> None:
    deb = build_deb(tmp_path / "a.deb", {"": None, "lib/": None, "lib/so.1": b"x", "lib/so": "so.1", "bin/run*": b"#!"}, suffix)
    extract_deb(deb, tmp_path / "t")
    assert [(entry.path, entry.kind) for entry in walk(tmp_path / "t")] == [
        ("bin", "directory"),
        ("bin/run", "file"),
        ("lib", "directory"),
        ("lib/so", "link"),
        ("lib/so.1", "file"),
    ]
    assert (tmp_path / "t/bin/run").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an ar archive"),
        (b"PK\x03\x04", "not an ar archive"),
        (b"!<arch>\nshort", "damaged ar header"),
        (b"!<arch>\n" + b"x" * 60, "damaged ar header"),
        (ar({"debian-binary": b"2.0\n"}), "no data.tar"),
        (ar({"data.tar.xz": lzma.compress(b"x" * 100)[:-8]}), "damaged"),
        (ar({"data.tar.zst": b"\x28\xb5\x2f\xfd" + bytes(9)}), "zstd"),
    ],
)
def test_what_is_no_package_is_said(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.deb").write_bytes(data)
    for unpack in (
        lambda: extract_deb(tmp_path / "a.deb", tmp_path / "t"),
        lambda: unpack_root([tmp_path / "a.deb"], tmp_path / "t"),
    ):
        with pytest.raises(UnsafeArchiveError, match=reason):
            unpack()
        assert not (tmp_path / "t").exists()


def test_paths_of_merged_usr() -> None:
    assert [merged(name) for name in ("./lib/x", "./usr/lib/x", "lib64", "./library/x", "./etc/lib/x", "./")] == [
        "usr/lib/x",
        "usr/lib/x",
        "usr/lib64",
        "library/x",
        "etc/lib/x",
        "",
    ]


def test_a_root_has_merged_usr_and_does_not_depend_on_the_order(tmp_path: Path) -> None:
    debs = [
        build_deb(
            tmp_path / "a.deb", {"lib/": None, "lib/x/one": b"1", "usr/share/doc/same": b"same", "etc/abs": "/usr/bin/sh"}
        ),
        build_deb(
            tmp_path / "b.deb",
            {"usr/lib/x/two": b"2", "bin/sh*": b"sh", "usr/share/doc/same": b"same", "etc/abs": "/usr/bin/sh"},
        ),
        build_deb(tmp_path / "c.deb", {"lib": "usr/lib", "lib32/three": b"3", "tmp/": None}),
    ]
    digests = set()
    for number, order in enumerate(itertools.permutations(debs)):
        unpack_root(order, tmp_path / f"root{number}")
        digests.add(tree_digest(tmp_path / f"root{number}"))
    assert len(digests) == 1
    root = tmp_path / "root0"
    assert {name: str((root / name).readlink()) for name in ("bin", "sbin", "lib", "lib64", "lib32")} == {
        name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64", "lib32")
    }
    assert sorted(path.name for path in (root / "lib/x").iterdir()) == ["one", "two"]
    assert (root / "lib32/three").read_bytes() == b"3"
    assert str((root / "etc/abs").readlink()) == "/usr/bin/sh"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"f": b"1"}, {"f": b"2"}),
        ({"f": b"1"}, {"f*": b"1"}),
        ({"f": b"1"}, {"f": "x"}),
        ({"f": "x"}, {"f": "y"}),
        ({"f": "x"}, {"f": b"1"}),
        ({"lib/f": b"1"}, {"usr/lib/f": b"2"}),
    ],
)
def test_packages_that_disagree_are_named(
    tmp_path: Path, one: dict[str, bytes | str | None], two: dict[str, bytes | str | None]
) -> None:
    debs = [build_deb(tmp_path / "one.deb", one), build_deb(tmp_path / "two.deb", two)]
    with pytest.raises(UnsafeArchiveError, match=r"two\.deb: member '(usr/lib/)?f' differs from the one of one\.deb"):
        unpack_root(debs, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_package_cannot_write_through_another_one_s_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    debs = [build_deb(tmp_path / "one.deb", {"d": str(tmp_path / "outside")}), build_deb(tmp_path / "two.deb", {"d/f": b"bad"})]
    with pytest.raises(UnsafeArchiveError, match=r"two\.deb: member 'd/f' would be written through 'd'"):
        unpack_root(debs, tmp_path / "root")
    assert list((tmp_path / "outside").iterdir()) == []
