"""The command ``kubewright``: questions about a project and its recipes. Building is doit's (``./doit list``).

Commands are thin: they read a project, ask ``kubewright.views``, print. What they need is imported inside of them, so that
``kubewright --help`` starts at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubewright import __version__
from kubewright.bundle_commands import bundle
from kubewright.errors import RecipeError, UsageError
from kubewright.report import reporting_errors

if TYPE_CHECKING:
    from kubewright.project import Project
    from kubewright.report import Progress

_EPILOG = """\b
Examples:
  kubewright why kubectl                    where it comes from, to the last module
  kubewright why artifacts/renamed-file     the same for a file, by its SHA-256
  kubewright status                         what is locked, built, reproduced, accepted
  kubewright plan etcd                      every step and input of a build, without building
  kubewright verify artifacts --policy P    who signed what, and whether your policy is satisfied
  kubewright diff RELEASE-41 RELEASE-42     what changed: sources, modules, licences, outputs
  kubewright mirror check DIR --policy P    every file of a mirror, against its lock
  kubewright recipe check recipes/etcd      what is wrong with a recipe, and where

\b
Building, locking and cleaning up: ./doit list
"""

_platform = click.option(
    "--platform", metavar="OS/ARCH", help="The platform to ask about; default: that of the settings, else this machine's."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--project", "directory", type=click.Path(path_type=Path), metavar="DIR", help="The checkout; default: the one around you."
)
@click.version_option(__version__, prog_name="kubewright")
@click.pass_context
def cli(context: click.Context, directory: Path | None) -> None:
    """Kubernetes, wrought from source: ask what an artifact is made of, how it is built, and who agreed on it."""
    context.obj = directory


cli.add_command(bundle)


def main() -> None:
    """Entry point: a failure ends with its exit code (docs/errors.md) and without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without UTF-8 still gets the text
    with reporting_errors():
        try:
            cli(standalone_mode=False)
        except click.ClickException as error:
            error.show()
            raise SystemExit(error.exit_code) from None
        except click.Abort:
            raise KeyboardInterrupt from None
        except BrokenPipeError:
            # whoever read our output (head, less) has enough; what is still buffered must not fail again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


def _project(context: click.Context) -> Project:
    from kubewright.project import Project

    directory: Path | None = context.obj
    return Project.find(directory or Path.cwd())


# -- questions ----------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("what", metavar="NAME|FILE|DIGEST")
@_platform
@click.option("--modules", is_flag=True, help="Show each Go module and Debian package, not only how many.")
@_json
@click.pass_context
def why(context: click.Context, what: str, platform: str | None, modules: bool, as_json: bool) -> None:
    """Where a component or a built file comes from.

    Sources and what confirmed their pins, patches with their reasons, Go modules, builder, commands, key, outputs, and the
    builds that agreed. A file is known by its SHA-256, whatever it is called now.

    \b
    kubewright why kubectl
    kubewright why ./kubectl                  a file called like a component
    kubewright why etcd --platform linux/arm64 --modules
    kubewright why kubectl --json | jq -r '.modules[].path'
    """
    from kubewright.views.known import explain_any
    from kubewright.views.text import to_json
    from kubewright.views.why_text import as_text

    facts = explain_any(_project(context), what, platform)
    click.echo(to_json(facts) if as_json else as_text(facts, everything=modules), nl=as_json)


@cli.command()
@click.option("--markdown", is_flag=True, help="README's table: from committed files only, the same on every machine.")
@_json
@click.pass_context
def status(context: click.Context, markdown: bool, as_json: bool) -> None:
    """What is locked, built, reproduced and accepted.

    "Builds that agree" counts kinds of builds of what recipe and lock say now: those that digests.toml names, and those in
    this machine's store. "varied" are rebuilds: cold, under another path, uid, host name, locale and CPU count.
    """
    from kubewright.views import status as view
    from kubewright.views.text import to_json

    project = _project(context)
    if markdown:
        click.echo(view.readme_table(project))
        return
    rows = view.rows(project)
    click.echo(to_json(view.as_data(rows)) if as_json else view.as_text(rows), nl=as_json)


@cli.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--dot", is_flag=True, help="Print it as graphviz reads it.")
@click.pass_context
def graph(context: click.Context, names: tuple[str, ...], dot: bool) -> None:
    """What components are built from.

    Sources, patches, builders, and what components take from each other. Default: all components.

    \b
    kubewright graph kubernetes
    kubewright graph --dot | dot -Tsvg > graph.svg
    """
    from kubewright.views import graph as view

    project = _project(context)
    wanted = names or tuple(project.recipes)
    click.echo(view.as_dot(project, wanted) if dot else view.as_tree(project, wanted), nl=False)


@cli.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_platform
@_json
@click.pass_context
def plan(context: click.Context, names: tuple[str, ...], platform: str | None, as_json: bool) -> None:
    """Every step, input and output, without building.

    Inputs with their pins, commands as they would be run, outputs with the digests that are expected.

    Components that the named ones need come first. Without a name: the default stack.

    \b
    kubewright plan etcd --platform linux/arm64
    kubewright plan kubectl --json | jq '.[-1].commands'
    """
    from kubewright.views import plan as view
    from kubewright.views.text import to_json

    project = _project(context)
    plans = view.make_plans(project, names or project.default_stack.components, platform)
    if as_json:
        click.echo(to_json(plans))
        return
    rule = "-" * 100 + "\n"
    click.echo(rule.join([*map(view.as_text, plans), *([view.summary(plans)] if len(plans) > 1 else [])]), nl=False)


# -- trust --------------------------------------------------------------------------------------------------------


@cli.group()
def key() -> None:
    """Make and show signing keys (docs/trust.md)."""


@key.command("new")
@click.option("--out", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Such as site.key.")
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unencrypted: whoever gets the file can sign.")
def new_key(path: Path, no_passphrase: bool) -> None:
    """Make an ECDSA P-256 key: FILE (private, mode 0600) and FILE's name with .pub (public).

    The passphrase is typed twice, or taken from KUBEWRIGHT_KEY_PASSPHRASE. Nothing is ever overwritten.

    \b
    kubewright key new --out site.key
    """
    from kubewright.trust import keys
    from kubewright.trust.unlock import ask_twice

    keys.check_free(path)  # before somebody types a passphrase twice for nothing
    public = keys.create(path, None if no_passphrase else ask_twice(path))
    click.echo(f"{path} written: private, keep it; {'not encrypted' if no_passphrase else 'encrypted'}")
    click.echo(f"{keys.public_path(path)} written: public, give it to whoever verifies")
    _show_fingerprint(public.fingerprint)
    click.echo("Write the fingerprint down. Who gets the public key compares it with what you say, over another channel.")


@key.command("show")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def show_key(path: Path) -> None:
    """A key's fingerprint and public part. FILE: site.pub, or site.key (asks for its passphrase).

    \b
    kubewright key show site.pub
    """
    from kubewright.trust import keys
    from kubewright.trust.unlock import ask

    private = keys.is_private(path)
    public = keys.load(path, lambda: ask(f"Passphrase of {path}: ")).public if private else keys.load_public(path)
    click.echo(f"{path}: {'private' if private else 'public'} key, ECDSA P-256")
    _show_fingerprint(public.fingerprint)
    click.echo(public.pem, nl=False)


def _show_fingerprint(fingerprint: str) -> None:
    from kubewright.trust.keys import grouped

    click.echo(f"fingerprint  {fingerprint}")
    for line in grouped(fingerprint).splitlines():
        click.echo(f"             {line}")


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@_json
def inspect(path: Path, as_json: bool) -> None:
    """Who says what about which digest. Believes nothing.

    PATH is a bundle, a built file, a component's folder, or a whole signed set. No key is known here and no signature is
    checked: to believe what is shown, verify it under a policy.

    \b
    kubewright inspect artifacts/etcd
    kubewright inspect provenance.0123456789abcdef.sigstore.json --json
    """
    from kubewright.views import inspect as view
    from kubewright.views.text import to_json

    found = view.inspect(path)
    click.echo(to_json(view.as_data(found)) if as_json else view.as_text(found), nl=as_json)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), required=True, metavar="FILE", help="What you trust.")
@click.option("--explain", is_flag=True, help="Say which rule was satisfied by which statement.")
@click.option("--copy-to", type=click.Path(path_type=Path), metavar="DIR", help="Write the very bytes that were verified.")
@click.option(
    "--attestations", type=click.Path(path_type=Path), metavar="DIR", help="Where the statements are, if not above PATH."
)
@click.option("--release", type=click.Path(path_type=Path), metavar="DIR", help="Where the release is, if not above PATH.")
@_json
def verify(
    path: Path,
    policy: Path,
    explain: bool,
    copy_to: Path | None,
    attestations: Path | None,
    release: Path | None,
    as_json: bool,
) -> None:
    """Verify a bundle, a signed set, a component of it or one file.

    Under a policy of your own (docs/policy.md), with no network. Refusals have exit codes 60 to 99, one for each kind
    (docs/errors.md); nothing is written before everything has passed.

    \b
    kubewright verify kubernetes-1.37.2-linux-amd64.oci.tar.zst --policy site.toml
    kubewright verify artifacts --policy site.toml
    kubewright verify artifacts/etcd --policy site.toml --explain
    kubewright verify ./etcd --policy site.toml --attestations S/attestations --release S/release
    kubewright verify /mnt/usb/artifacts --policy site.toml --copy-to /srv/verified
    """
    from kubewright.verify import command

    text = command.verify(command.Arguments(path, policy, attestations, release, copy_to, as_json, explain))
    click.echo(text, nl=False)


def _installer(name: str, text: str) -> None:
    """A command whose words are those of the stand-alone installer (kubewright.install.command)."""

    @cli.command(name, help=text, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def run(words: tuple[str, ...]) -> None:
        from kubewright.install import command

        raise SystemExit(command.main([name, *words]))


_installer("install", "Make this host a node of a cluster, from a verified bundle (docs/install.md).")
_installer("preflight", "What this host lacks before an install, each with the remedy.")
_installer("join-token", "On the control plane: write join material for a worker.")
_installer("node", "What this node is made of: `node status` (drift), `node audit` (where every program comes from).")
_installer("uninstall", "End this host as a node and remove what was installed.")


@cli.group()
def policy() -> None:
    """Write and check policies (docs/policy.md)."""


@policy.command("new")
@click.option("--key", "keys", multiple=True, required=True, metavar="OPERATOR=FILE", help="A public key; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it; default: standard output.")
@click.pass_context
def new_policy(context: click.Context, keys: tuple[str, ...], out: Path | None) -> None:
    """A commented policy that trusts given keys and the current lock.

    \b
    kubewright policy new --key site=site.pub --key second=second.pub --out site.toml
    """
    from kubewright.files.digest import sha256_file
    from kubewright.trust.keys import load_public
    from kubewright.verify.newpolicy import new_policy as text_of
    from kubewright.verify.policy import parse_policy

    pairs = [each.partition("=") for each in keys]
    if not all(file for _, _, file in pairs):
        raise UsageError(f"--key {keys[0]} is not OPERATOR=FILE", remedy="such as --key site=site.pub")
    lock = _project(context).root / "lockfile.toml"
    text = text_of([(name, load_public(Path(file))) for name, _, file in pairs], sha256_file(lock))
    parse_policy(text, str(out or "policy"))  # what is wrong with names and keys is said before anything is written
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{out} exists", remedy="choose another name, or edit the one that is there") from None
    click.echo(f"{out} written; read it, and keep it where only you can write")


@policy.command("check")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def check_policy(path: Path) -> None:
    """Say everything that is wrong with a policy: file and line, key, remedy."""
    from kubewright.verify.policy import load_policy
    from kubewright.views.text import count

    found = load_policy(path)
    operators = sorted({each.operator for each in found.keys})
    rebuilds = f"{found.rebuilds.threshold} of {len(found.rebuilds.operators)} have to agree"
    click.echo(f"{path}: nothing to say; {count(len(found.keys), 'key')} of {', '.join(operators)}, {rebuilds}")


@cli.command()
@click.argument("old", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="A")
@click.argument("new", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="B")
@click.option("--exit-code", is_flag=True, help="End with 1 when something changed.")
@_json
def diff(old: Path, new: Path, exit_code: bool, as_json: bool) -> None:
    """What changed from release A to release B.

    Sources, builders and packages from the lock; linked modules and licences from SBOMs; outputs from digests.toml. A and B are
    signed sets or checkouts. No signature is checked here: verify each side under a policy first.

    \b
    kubewright diff /media/release-41 /media/release-42
    kubewright diff ../yesterday . --json
    """
    from kubewright.views import diff as view
    from kubewright.views.text import to_json

    found = view.compare(old, new)
    click.echo(to_json(found) if as_json else view.as_text(found), nl=as_json)
    if exit_code and not found.empty:
        raise SystemExit(1)


@cli.group()
def keyless() -> None:
    """Sign and verify with an identity (OIDC) instead of a key, through a Sigstore instance (docs/trust.md)."""


_trust = click.option(
    "--trust", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The instance's client trust configuration."
)


@keyless.command("sign")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@_trust
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where the bundle goes.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Default: SIGSTORE_ID_TOKEN.")
def sign_keyless(path: Path, trust: Path, out: Path, token_file: Path | None) -> None:
    """Sign the statement in FILE (one of our bundles, or JSON) as the identity in an OIDC token.

    \b
    kubewright keyless sign provenance.0123456789abcdef.sigstore.json --trust site-sigstore.json --out identity.sigstore.json
    """
    from kubewright.store import replace_file
    from kubewright.trust import keyless as signing

    config, token = signing.load_trust(trust), signing.token(token_file)
    replace_file(out, signing.sign_statement(signing.statement_of(path), config, token))
    click.echo(f"{out} written")


@keyless.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@_trust
@click.option("--identity", required=True, metavar="NAME", help="Who has to have signed: an e-mail address or a URI.")
@click.option("--issuer", required=True, metavar="URL", help="Who has to have vouched for that identity.")
def verify_keyless(bundle: Path, artifact: Path | None, trust: Path, identity: str, issuer: str) -> None:
    """Verify a keyless BUNDLE, and that it speaks of ARTIFACT. No network.

    \b
    kubewright keyless verify identity.sigstore.json runc --trust site-sigstore.json \\
        --identity ci@example.org --issuer https://issuer.example.org
    """
    from kubewright.trust import keyless as signing

    said = signing.verify_file(bundle, artifact, signing.load_trust(trust), identity, issuer)
    for name, digest in said.digests().items():
        click.echo(f"{digest}  {name}")
    click.echo(f"verified: {said.predicate_type}, signed by {identity}" + (f", speaks of {artifact}" if artifact else ""))


# -- mirror -------------------------------------------------------------------------------------------------------


@cli.group()
def mirror() -> None:
    """Check, serve and prune mirrors; `./doit mirror` writes one (docs/mirror.md)."""


_folder = click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="[DIR]", required=False)


def _mirror(context: click.Context, directory: Path | None) -> Path:
    return directory or _project(context).settings.mirror_to


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
        done = prune.prune(_project(context), root, keep, report)
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


# -- recipes ------------------------------------------------------------------------------------------------------


@cli.group()
def recipe() -> None:
    """Write and check recipes (docs/recipes.md)."""


@recipe.command()
@click.argument("files", metavar="[FILE|NAME]...", nargs=-1)
@click.pass_context
def check(context: click.Context, files: tuple[str, ...]) -> None:
    """Say everything that is wrong with recipes: file and line, key, remedy. Default: all of the project.

    \b
    kubewright recipe check recipes/etcd/recipe.toml
    kubewright recipe check etcd
    """
    from kubewright.model.recipe_check import check_recipe

    paths = [_recipe_path(context, file) for file in files] or sorted(_project(context).root.glob("recipes/*/recipe.toml"))
    findings = [finding for path in paths for finding in check_recipe(path)]
    for finding in findings:
        click.echo(str(finding))
    if findings:
        what = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
        raise RecipeError(f"{what} in {len(paths)} recipe{'s' if len(paths) > 1 else ''}")
    click.echo(f"{len(paths)} recipe{'s' if len(paths) != 1 else ''} checked, no problem found")


def _recipe_path(context: click.Context, text: str) -> Path:
    from kubewright.model.recipe import DRAFT, FILE

    path = Path(text)
    if path.exists():
        return path
    for name in (FILE, DRAFT):
        named = _project(context).root / "recipes" / text / name
        if "/" not in text and named.is_file():
            return named
    raise UsageError(f"there is no file {text!r} and no recipes/{text}", remedy="name recipes/NAME/recipe.toml, or NAME")


@recipe.command()
@click.argument("name")
@click.pass_context
def new(context: click.Context, name: str) -> None:
    """Write recipes/NAME/recipe.draft.toml, commented, to start from; it becomes a recipe as recipe.toml."""
    from kubewright.model.recipe import DRAFT, FILE
    from kubewright.model.recipe_check import new_recipe

    project = _project(context)
    path = project.root / "recipes" / name / DRAFT
    text = new_recipe(name)  # before anything is made: it refuses what cannot be a name
    if path.exists() or path.with_name(FILE).exists():
        raise UsageError(f"recipes/{name} has a recipe", remedy="choose another name, or edit the one that is there")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    click.echo(f"{path.relative_to(project.root)} written; fill in what stands in <...>, ask `kubewright recipe check {name}`,")
    click.echo(f"and call it recipes/{name}/{FILE} when there is no problem left")


@recipe.command()
@click.pass_context
def schema(context: click.Context) -> None:
    """Write schemas/*.json: with them, editors complete and check recipes."""
    from kubewright.model.schema_json import write_schemas

    project = _project(context)
    for path in write_schemas(project.root / "schemas"):
        click.echo(f"{path.relative_to(project.root)} written")


if __name__ == "__main__":
    main()
