"""The command ``kubewright``: questions about a project and its recipes. Building is doit's (``./doit list``).

Commands are thin: they read a project, ask ``kubewright.views``, print. What they need is imported inside of them, so that
``kubewright --help`` starts at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from kubewright import __version__
from kubewright.bundle_commands import bundle
from kubewright.command_line import project_of
from kubewright.errors import RecipeError, UsageError
from kubewright.mirror_commands import mirror
from kubewright.report import reporting_errors
from kubewright.trust_commands import key, keyless, policy

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


for _group in (bundle, mirror, key, policy, keyless):
    cli.add_command(_group)


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

    facts = explain_any(project_of(context), what, platform)
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

    project = project_of(context)
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

    project = project_of(context)
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

    project = project_of(context)
    plans = view.make_plans(project, names or project.default_stack.components, platform)
    if as_json:
        click.echo(to_json(plans))
        return
    rule = "-" * 100 + "\n"
    click.echo(rule.join([*map(view.as_text, plans), *([view.summary(plans)] if len(plans) > 1 else [])]), nl=False)


# -- trust --------------------------------------------------------------------------------------------------------


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

    paths = [_recipe_path(context, file) for file in files] or sorted(project_of(context).root.glob("recipes/*/recipe.toml"))
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
        named = project_of(context).root / "recipes" / text / name
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

    project = project_of(context)
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

    project = project_of(context)
    for path in write_schemas(project.root / "schemas"):
        click.echo(f"{path.relative_to(project.root)} written")


if __name__ == "__main__":
    main()
