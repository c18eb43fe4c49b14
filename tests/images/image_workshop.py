"""A small checkout with an image: outputs of two components, two tiny .debs, certificates; all of it in a real store."""

from __future__ import annotations

import dataclasses
import io
import lzma
import tarfile
from pathlib import Path

from project_builder import ProjectBuilder

from kubewright.model.lockfile import LockedBuilder, dump_lock, load_lock
from kubewright.project import Project

IMAGE = """
[[image]]
name = "server"
reference = "registry.example/team/server:v{version}"
root = "image-tools"
files = { "/usr/local/bin/server" = "server", "/bin/helper" = "helper:helper" }
links = { "/sbin/tables" = "tables-nft" }
aliases = { "/bin/helper" = ["cp", "sh"] }
capabilities = { "/usr/local/bin/server" = ["net_bind_service"] }
certificates = true
user = "65532:65532"
entrypoint = ["/usr/local/bin/server"]
command = ["--port=53"]
env = { MODE = "production" }
workdir = "/var/lib/server"
ports = ["53/udp"]
volumes = ["/data"]
"""
PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

#: package -> its files; bytes are a file, a text is a link, a name that ends in * is executable
PACKAGES: dict[str, dict[str, bytes | str]] = {
    "tables": {
        "sbin/tables-nft*": b"\x7fELF tables",
        "usr/share/man/man8/tables.8.gz": b"manual",
        "usr/share/locale/de/LC_MESSAGES/tables.mo": b"translation",
        "usr/share/doc/tables/copyright": b"whose it is",
        "usr/share/doc/tables/changelog.gz": b"history",
        "usr/share/doc/tables/examples/a": b"example",
        "usr/share/lintian/overrides/tables": b"x",
        "etc/tables.conf": b"conf",
    },
    "libtables": {"lib/x86_64-linux-gnu/libtables.so.1": b"\x7fELF library", "usr/share/doc/libtables": "tables"},
    "ca-certificates": {
        "usr/share/ca-certificates/mozilla/B.crt": PEM.replace(b"AAAA", b"BBBB"),
        "usr/share/ca-certificates/mozilla/A.crt": PEM,
        "usr/share/doc/ca-certificates/copyright": b"Mozilla",
        "usr/sbin/update-ca-certificates*": b"#!/bin/sh",
    },
}


def workshop(root: Path, image: str = IMAGE) -> ProjectBuilder:
    """The checkout at ``root``; both components are built, and accepted by two builds."""
    made = ProjectBuilder(root).component("server", "1.2.3").component("helper").stack("kubernetes", ["server", "helper"])
    recipe = root / "recipes/server/recipe.toml"
    recipe.write_text(recipe.read_text() + image)
    for name, packages in (("image-tools", ["libtables", "tables"]), ("image-certificates", ["ca-certificates"])):
        listed = ", ".join(f'"{each}"' for each in packages)
        text = f'name = "{name}"\nsummary = "For images"\n[debian]\nsuite = "bookworm"\npackages = [{listed}]\n'
        made.builder(name, text)
    made.lock()
    pin_packages(made)
    for name in ("server", "helper"):
        made.accepted(made.record(name))
    return made


def pin_packages(made: ProjectBuilder) -> None:
    """Put real .debs into the store, and their digests into the lock."""
    project = made.project()
    lock = load_lock(made.root / "lockfile.toml")
    builders = {name: _pinned(project, builder) for name, builder in lock.builders.items()}
    made.write("lockfile.toml", dump_lock(dataclasses.replace(lock, builders=builders)))


def _pinned(project: Project, builder: LockedBuilder) -> LockedBuilder:
    packages = []
    for package in builder.packages:
        data = deb(package.name, PACKAGES[package.name])
        digest = project.store.put_bytes(data).removeprefix("sha256:")
        packages.append(dataclasses.replace(package, sha256=digest, size=len(data)))
    return dataclasses.replace(builder, packages=tuple(packages))


def deb(name: str, files: dict[str, bytes | str]) -> bytes:
    """A Debian package."""
    control = f"Package: {name}\nVersion: 12-1\nArchitecture: amd64\n".encode()
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": lzma.compress(_tar({"control": control, "postinst*": b"#!/bin/sh\nexit 1\n"})),
        "data.tar.xz": lzma.compress(_tar(files)),
    }
    out = b"!<arch>\n"
    for member, data in members.items():
        out += f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def _tar(files: dict[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in files.items():
            info = tarfile.TarInfo("./" + path.rstrip("*"))
            info.mode = 0o4755 if path.endswith("*") else 0o640
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
