"""``kubewright bundle``: what is in a bundle, out of it, in parts and together again. Thin, like ``cli``."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubewright.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kubewright.oci.reading import OpenLayout

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_path = click.argument("path", type=click.Path(path_type=Path), metavar="BUNDLE")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group()
def bundle() -> None:
    """Look into bundles, take them apart, bring them across (docs/bundle.md)."""


@bundle.command()
@_path
@click.option("--statements", is_flag=True, help="List each signed statement as well.")
@_json
def ls(path: Path, statements: bool, as_json: bool) -> None:
    """What is in a bundle: size, digest, kind, name. Believes nothing, and reads little of it.

    \b
    kubewright bundle ls kubernetes-1.37.2-linux-amd64.oci.tar.zst
    """
    from kubewright.bundle import listing
    from kubewright.oci.opening import open_layout
    from kubewright.views.text import to_json

    with open_layout(path) as layout:
        found = list(listing.lines(layout, statements=statements))
    click.echo(to_json(listing.as_data(found)) if as_json else listing.as_text(found), nl=as_json)


@bundle.command()
@_path
@click.argument("name", required=False)
@_json
def show(path: Path, name: str | None, as_json: bool) -> None:
    """What a bundle claims to be, or a part of it, or a file's content. Digests are checked, signatures are not.

    \b
    kubewright bundle show B
    kubewright bundle show B components/etcd
    kubewright bundle show B manifests/coredns.yaml
    kubewright bundle show B release/release.0123456789abcdef.sigstore.json | jq .predicate
    """
    from kubewright.bundle import listing
    from kubewright.oci.opening import open_layout
    from kubewright.views.text import to_json

    with open_layout(path) as layout:
        if name is None:
            click.echo(to_json(listing.summary(layout)) if as_json else listing.summary_text(layout), nl=as_json)
            return
        line = listing.find(layout, name)
        data = listing.content(layout, line)
        text = "" if data is not None else listing.part_text(layout, line)
    if as_json:
        click.echo(to_json(listing.as_data([line])[0]))
    elif data is None:
        click.echo(text, nl=False)
    else:
        sys.stdout.buffer.write(data)


@bundle.command()
@_path
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new directory.")
@click.option("--policy", type=click.Path(path_type=Path), metavar="FILE", help="Verify first, under what you trust.")
@click.option("--unverified", is_flag=True, help="Do not verify: to look at, not to use.")
@click.option("--only", multiple=True, metavar="KIND", help="files, images, manifests, release, stack, installer, ...")
def extract(path: Path, target: Path, policy: Path | None, unverified: bool, only: tuple[str, ...]) -> None:
    """Programs, images and manifests as ordinary files.

    DIR/images.tar is what `skopeo copy oci-archive:`, `ctr -n k8s.io images import` and `docker load` take.

    \b
    kubewright bundle extract B --policy site.toml --to /srv/kubernetes
    kubewright bundle extract B --policy site.toml --to out --only images --only manifests
    """
    from kubewright.bundle.extract import KINDS, extract

    unknown = sorted({*only} - {*KINDS})
    if unknown:
        raise UsageError(f"--only {unknown[0]}: there is no such kind", remedy=f"known: {', '.join(KINDS)}")
    if (policy is None) == (not unverified):
        raise UsageError("nothing says what to trust", remedy="name a policy with --policy, or say --unverified")
    with _opened(path, policy) as layout, _metered("written") as told:
        made = extract(layout, target, frozenset(only or KINDS), told)
    click.echo(f"{target}: {made.files} files, {made.images} images" + ("" if policy else "; nobody was asked who signed them"))


@contextmanager
def _opened(path: Path, policy: Path | None) -> Iterator[OpenLayout]:
    from kubewright.oci.opening import open_layout
    from kubewright.verify.bundle_check import verify_bundle
    from kubewright.verify.policy import load_policy

    if policy is None:
        with open_layout(path) as layout:
            yield layout
    else:
        with verify_bundle(path, load_policy(policy), policy) as verified:
            yield verified.layout


@bundle.command()
@_path
@click.option("--size", required=True, metavar="SIZE", help="Of a part at most: 4G, 700M, 4GiB.")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where to write them.")
def split(path: Path, size: str, folder: Path) -> None:
    """A bundle's file in parts, for media that are too small.

    Writes BUNDLE.part-0001 and so on, then BUNDLE.parts.json with their SHA-256. They may go to different media; `join`, or
    `cat` in their order, puts them together.

    \b
    kubewright bundle split kubernetes-1.37.2-linux-amd64.oci.tar.zst --size 4G --to parts
    """
    from kubewright.bundle.parts import load_parts, split

    with _metered("written") as told:
        manifest = split(path, _bytes(size), folder, told)
    click.echo(f"{manifest}: {len(load_parts(manifest).pieces)} parts")


@bundle.command()
@click.argument("manifest", type=click.Path(path_type=Path), metavar="PARTS.JSON")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, metavar="PATH", help="File or folder to write.")
@click.option("--from", "folders", type=click.Path(path_type=Path), multiple=True, metavar="DIR", help="More places of parts.")
@click.option("--available", is_flag=True, help="Join as far as parts are there; the next run goes on.")
def join(manifest: Path, target: Path, folders: tuple[Path, ...], available: bool) -> None:
    """Parts of a bundle, together again.

    Each part is hashed while it is added. What was joined stays when a part is missing or damaged, or after an interruption;
    the next run goes on from there. Then verify the bundle: parts are not signed.

    \b
    kubewright bundle join /mnt/usb/kubernetes-1.37.2-linux-amd64.oci.tar.zst.parts.json --to /srv
    """
    from kubewright.bundle.parts import join

    with _metered("joined") as told:
        parts = join(manifest, target, folders, available=available, progress=told)
    where = target / parts.name if target.is_dir() else target
    click.echo(f"{where}: {parts.size} bytes, sha256 {parts.sha256}")


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]+)(?:([kKmMgG]i?)?[bB]?)", text.strip())
    if found is None or not int(found[1]):
        raise UsageError(f"--size {text}: not a size", remedy="such as 4G (4000000000 bytes) or 4GiB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


@contextmanager
def _metered(what: str) -> Iterator[Callable[[int], None]]:
    """Bytes on a terminal, while they go by; nothing elsewhere."""
    from kubewright.report import Display, Meter, Progress

    if not sys.stderr.isatty():
        yield lambda done: None
        return
    display = Display(sys.stderr)
    display.begin(what)
    progress: Progress = display.progress(what)
    meter, total = Meter(progress, what), 0

    def told(done: int) -> None:
        nonlocal total
        total += done
        meter.at(what, total, None)

    try:
        yield told
    finally:
        display.close()
