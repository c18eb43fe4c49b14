"""``kubewright mirror``: check, serve and prune. Thin, like ``cli``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubewright.command_line import project_of
from kubewright.errors import UsageError

if TYPE_CHECKING:
    from kubewright.report import Progress


@click.group()
def mirror() -> None:
    """Check, serve and prune mirrors; `./doit mirror` writes one (docs/mirror.md)."""


_folder = click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="[DIR]", required=False)


def _mirror(context: click.Context, directory: Path | None) -> Path:
    return directory or project_of(context).settings.mirror_to


@mirror.command("check")
@_folder
@click.option(
    "--policy", type=click.Path(path_type=Path), metavar="FILE", help="What you trust: who signed it, how old it may be."
)
@click.pass_context
def check_mirror(context: click.Context, directory: Path | None, policy: Path | None) -> None:
    """Hash all of a mirror again; compare with its index and with every pin of its lock.

    With a policy: its release and its index have to be signed, and no release older than one seen before is taken. Default
    DIR: where `./doit mirror` writes. No network.

    \b
    kubewright mirror check /media/usb/mirror --policy site.toml
    """
    from kubewright.mirror import check

    root = _mirror(context, directory)
    with _progress("mirror check") as report:
        found = check.check_mirror(root, report, policy)
    click.echo(f"{root}: {found.files} files, {found.bytes / 1e6:.1f} MB, all as the index says")
    click.echo(f"{found.modules} Go modules and {found.packages} packages of the lock are there and have their pins")
    for release in found.releases:
        click.echo(f"{release.folder}: stack {release.stack}, sequence {release.sequence}, lock {release.lock[:16]}")
    click.echo(f"signed by {', '.join(found.by)}" if found.by else "no policy given: who made it was not asked")


@mirror.command("serve")
@_folder
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8642, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.pass_context
def serve_mirror(context: click.Context, directory: Path | None, address: str, port: int) -> None:
    """Offer a mirror over HTTP, read only, until interrupted.

    For kubewright (KUBEWRIGHT_MIRROR=URL), go, git and pip. Whoever fetches verifies, so plain HTTP will do.

    \b
    kubewright mirror serve /media/usb/mirror --address 0.0.0.0
    """
    from kubewright.mirror import serve

    root = _mirror(context, directory)
    if not (root / "index.json").is_file():
        raise UsageError(f"there is no mirror at {root}", remedy="name one, or make one with ./doit mirror")
    with serve.make_server(root, address, port) as server:
        click.echo(f"{root} is at http://{address}:{server.server_address[1]}")
        sys.stdout.flush()
        server.serve_forever()


@mirror.command("prune")
@_folder
@click.option(
    "--keep", default=1, show_default=True, type=click.IntRange(min=1), help="How many releases stay, the newest first."
)
@click.pass_context
def prune_mirror(context: click.Context, directory: Path | None, keep: int) -> None:
    """Drop what no release kept names.

    \b
    kubewright mirror prune --keep 2          the current release, and the one before it
    """
    from kubewright.mirror import prune

    root = _mirror(context, directory)
    with _progress("mirror prune") as report:
        done = prune.prune(project_of(context), root, keep, report)
    click.echo(f"{root}: {done.files} files removed, {done.bytes / 1e6:.1f} MB; {len(done.releases)} releases stay")
    if not done.signed:
        click.echo("the index is not signed, for want of a key (signing_key)")


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """Progress on standard error, for commands that take a while."""
    from kubewright.report import Display

    display = Display(sys.stderr)
    display.begin(name)
    try:
        yield display.progress(name)
    finally:
        display.end(name, "done")
        display.close()
