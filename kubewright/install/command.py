"""``install`` and what belongs to it as commands: of ``kubewright``, and of the stand-alone kubewright-install.pyz."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kubewright.errors import KubewrightError
from kubewright.install import audit, preflight, proof, run, show, state, status
from kubewright.install.bundle import Bundle, open_bundle
from kubewright.install.content import Content
from kubewright.install.errors import DriftError, InstallError, JournalError, SiteError
from kubewright.install.host import Host, read_facts, require_root
from kubewright.install.join import load_join, new_join
from kubewright.install.journal import opened, read
from kubewright.install.settings import ROLES, Cluster, load_cluster
from kubewright.install.uninstall import uninstall
from kubewright.verify.report import to_json

NAME: Final = "kubewright-install"
_LONGEST_FACTS: Final = 1 << 20
#: words of the command line -> what to do
COMMANDS: Final = ("install", "preflight", "join-token", "node", "uninstall")


def main(words: Sequence[str] | None = None) -> int:
    """The stand-alone command; returns the exit code (docs/errors.md)."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    arguments = _parser().parse_args(words)
    try:
        arguments.do(arguments)
    except KubewrightError as error:
        _show(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this stopped", file=sys.stderr)
        return 130
    return 0


def _show(error: KubewrightError) -> None:
    for line in error.details.splitlines():
        print(f"    {line}", file=sys.stderr)
    print(f"error: {error.message}", file=sys.stderr)
    if error.remedy:
        print(f"  what to do: {error.remedy}", file=sys.stderr)


# -- what each does ------------------------------------------------------------------------------------------------------


def _install(found: argparse.Namespace) -> None:
    if found.facts and not found.dry_run:
        raise SiteError("--facts is for --dry-run: only the host itself can be installed on", remedy="leave --facts out")
    host = Host(found.root)
    cluster = load_cluster(found.cluster) if found.cluster else Cluster()
    join = load_join(found.join) if found.join else None
    watch = _progress(found.quiet or found.json)
    watch("verifying")
    options = run.Options(found.node, found.role, join, _allowed(found), found.older_because, watch=watch)

    def installed(content: Content) -> bool:
        return not found.dry_run and run.is_installed(host, content, cluster, options)

    with open_bundle(found.bundle, found.policy, older=found.older_because, installed=installed) as bundle:
        if found.dry_run:
            _dry_run(host, bundle, cluster, options, found)
            return
        outcome = run.install(host, bundle.content, bundle.source, cluster, replace(options, evidence=bundle.evidence))
    node = outcome.plan.node
    if found.json:
        sys.stdout.write(to_json({"changed": outcome.changed, "node": node.name, "role": node.role, "cluster": cluster.name}))
    watch(f"{node.name} is a {node.role} of {cluster.name}")


def _dry_run(host: Host, bundle: Bundle, cluster: Cluster, options: run.Options, found: argparse.Namespace) -> None:
    """The plan; for another host, whose facts are given, also what would be done there."""
    there = _facts(found.facts) if found.facts else None
    plan = run.make_plan(bundle.content, cluster, options, there.facts if there else read_facts(host))
    to_do = state.to_do(plan, bundle.content.release, there) if there else None
    if found.json:
        sys.stdout.write(to_json({**show.plan_data(plan), **({} if to_do is None else {"to_do": to_do})}))
    else:
        sys.stdout.write(show.plan_text(plan) + ("" if to_do is None else f"to do there: {', '.join(to_do) or 'nothing'}\n"))


def _facts(path: Path) -> state.State:
    if str(path) == "-":
        return state.load_state(sys.stdin.buffer.read(_LONGEST_FACTS), "standard input")
    try:
        with path.open("rb") as stream:
            return state.load_state(stream.read(_LONGEST_FACTS), str(path))
    except OSError as reason:
        raise SiteError(f"{path}: {reason.strerror}", remedy="kubewright node facts, on the host, writes it") from None


def _preflight(found: argparse.Namespace) -> None:
    host = Host(found.root)
    cluster = load_cluster(found.cluster) if found.cluster else Cluster()
    with open_bundle(found.bundle, found.policy) as bundle:
        findings = _examined(host, bundle, cluster, found)
    if found.json:
        sys.stdout.write(to_json([{"level": each.level, "name": each.name, "message": each.message} for each in findings]))
    else:
        sys.stdout.write(preflight.as_text(findings))
    preflight.require(findings)


def _examined(host: Host, bundle: Bundle, cluster: Cluster, found: argparse.Namespace) -> list[preflight.Finding]:
    facts = read_facts(host)
    plan = run.make_plan(bundle.content, cluster, run.Options(found.node, found.role), facts)
    seen = preflight.Examined(host, plan, facts, read(host), time.time(), _allowed(found), bundle.content.built)
    return preflight.examine(seen)


def _join_token(found: argparse.Namespace) -> None:
    host = Host(found.root)
    require_root(host)
    new_join(host, _endpoint(read(host).plan), found.minutes, found.out)
    print(f"{found.out}: good for {found.minutes} minutes; whoever has it can join", file=sys.stderr)


def _endpoint(plan: dict[str, Any]) -> str:
    for step in plan.get("steps", []):
        for document in step.get("documents", []):
            if "controlPlaneEndpoint" in document:
                return str(document["controlPlaneEndpoint"])
    raise JournalError("no control plane is installed here", remedy="join-token runs on the machine with --role control-plane")


def _node_facts(found: argparse.Namespace) -> None:
    sys.stdout.write(to_json(state.state_data(state.read_state(Host(found.root)))))


def _status(found: argparse.Namespace) -> None:
    host = Host(found.root)
    journal = read(host)
    differences = status.drift(host, journal)
    if found.json:
        sys.stdout.write(to_json([{"kind": each.kind, "what": each.what, "note": each.note} for each in differences]))
    else:
        sys.stdout.write(status.as_text(differences, journal))
    if differences:
        raise DriftError(
            f"{len(differences)} differences from what was installed",
            remedy="the same kubewright install, again, puts them right; kubewright node audit says what runs",
        )


def _audit(found: argparse.Namespace) -> None:
    host = Host(found.root)
    require_root(host)
    programs = audit.audit(host, read(host), found.packages)
    if found.json:
        rows = [{"pid": each.pid, "path": each.path, "digest": each.digest, "origin": each.origin} for each in programs]
        sys.stdout.write(to_json(rows))
    else:
        sys.stdout.write(audit.as_text(programs))
    audit.require_known(programs)


def _check_pulls(found: argparse.Namespace) -> None:
    host = Host(found.root)
    require_root(host)
    print(proof.prove(host, read(host)))


def _uninstall(found: argparse.Namespace) -> None:
    host = Host(found.root)
    require_root(host)
    with opened(host, "uninstalling") as journal:
        if not journal.exists:
            raise JournalError("nothing of kubewright's is installed here", remedy="there is nothing to do")
        if not found.yes:
            raise InstallError(
                f"this ends {journal.plan['node']['name']} as a node, with all that runs on it",
                remedy="if that is meant: --yes",
            )
        uninstall(host, journal, _progress(found.quiet))


def _allowed(found: argparse.Namespace) -> frozenset[str]:
    return frozenset(name for name in preflight.ALLOWABLE if getattr(found, f"allow_{_option(name)}"))


def _option(name: str) -> str:
    return preflight.ALLOWABLE[name].removeprefix("--allow-").replace("-", "_")


def _progress(quiet: bool) -> Callable[[str], None]:
    begin = time.monotonic()

    def watch(what: str) -> None:
        if not quiet:
            print(f"{time.monotonic() - begin:7.1f} s  {what}", file=sys.stderr, flush=True)

    return watch


# -- the command line ------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubewright", description="From a verified bundle to a running node, with no network (docs/install.md)."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    install = commands.add_parser("install", help="make this host a node; the same command again goes on, or changes nothing")
    _of_bundle(install)
    install.add_argument("--join", type=Path, metavar="FILE", help="join material of the control plane (worker)")
    install.add_argument("--dry-run", action="store_true", help="show the plan and touch nothing")
    install.add_argument(
        "--facts", type=Path, metavar="FILE", help="with --dry-run: plan for the host that wrote it (- for stdin)"
    )
    install.add_argument("--older-because", default="", metavar="REASON", help="install an older release, and log why")
    install.set_defaults(do=_install)
    check = commands.add_parser("preflight", help="what this host lacks, each with the remedy; changes nothing")
    _of_bundle(check)
    check.set_defaults(do=_preflight)
    token = commands.add_parser("join-token", help="on the control plane: write join material for a worker")
    token.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file; it gets mode 0600")
    token.add_argument("--minutes", type=int, default=30, metavar="N", help="how long it is good (default: 30)")
    _common(token)
    token.set_defaults(do=_join_token)
    _node(commands)
    remove = commands.add_parser("uninstall", help="end this host as a node and remove what was installed")
    remove.add_argument("--yes", action="store_true", help="what runs here may end")
    _common(remove)
    remove.set_defaults(do=_uninstall)
    return parser


def _node(commands: Any) -> None:
    node = commands.add_parser("node", help="what this node is made of").add_subparsers(required=True, metavar="COMMAND")
    drift = node.add_parser("status", help="what is no longer as it was installed")
    _common(drift)
    drift.set_defaults(do=_status)
    facts = node.add_parser("facts", help="what a plan has to know of this host, as JSON for install --dry-run elsewhere")
    _common(facts)
    facts.set_defaults(do=_node_facts)
    origins = node.add_parser("audit", help="where every running executable comes from")
    origins.add_argument("--packages", type=Path, metavar="FILE", help="JSON: SHA-256 -> PACKAGE/PATH of files of the host")
    _common(origins)
    origins.set_defaults(do=_audit)
    check = node.add_parser("check-pulls", help="show that containerd pulls what is signed, and nothing else")
    _common(check)
    check.set_defaults(do=_check_pulls)


def _of_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle: a file or a directory")
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="what you trust; never a file of the bundle")
    parser.add_argument("--cluster", type=Path, metavar="FILE", help="site settings, cluster.toml (default: all defaults)")
    parser.add_argument("--role", choices=ROLES, help="what this host becomes, if the site settings do not list it")
    parser.add_argument("--node", default="", metavar="NAME", help="which node this host is (default: its host name)")
    for name, option in preflight.ALLOWABLE.items():
        parser.add_argument(option, action="store_true", help=f"go on where preflight refuses for {name}")
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="another root than /: for tests and images")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
