"""An install from beginning to end: choose the node, plan, refuse what must not be, place, start, remember."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubewright.install import preflight
from kubewright.install.content import Content, Source
from kubewright.install.errors import InstallError, RollbackError, SiteError
from kubewright.install.host import Host, read_facts, require_root
from kubewright.install.join import JoinMaterial
from kubewright.install.journal import Journal, highest_sequence, opened, read, remember_sequence
from kubewright.install.k3s import plan_k3s
from kubewright.install.kubernetes import plan_kubernetes
from kubewright.install.place import place, remove_old_releases
from kubewright.install.plan import Facts, Plan
from kubewright.install.settings import Cluster, Node, Role
from kubewright.install.show import recorded
from kubewright.install.start import Tools, start

_PLANS: Mapping[str, Callable[[Content, Cluster, Node, Facts], Plan]] = {"kubernetes": plan_kubernetes, "k3s": plan_k3s}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line adds to content and settings. ``evidence`` goes into the audit log."""

    node: str = ""
    role: Role | None = None
    join: JoinMaterial | None = None
    allowed: frozenset[str] = frozenset()
    older_because: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    now: Callable[[], float] = time.time
    watch: Callable[[str], None] = lambda what: None


def make_plan(content: Content, cluster: Cluster, options: Options, facts: Facts) -> Plan:
    """The plan for this host. Raises ContentError, SiteError."""
    if content.stack not in _PLANS:
        raise InstallError(f"there is no way to install the stack {content.stack}", remedy=f"known: {', '.join(_PLANS)}")
    return _PLANS[content.stack](content, cluster, choose_node(cluster, options, facts), facts)


def choose_node(cluster: Cluster, options: Options, facts: Facts) -> Node:
    """Which node this host is: the one that is listed under its name, else what it says of itself."""
    name = options.node or facts.hostname
    listed = cluster.node(name)
    if listed is not None:
        if options.role and options.role != listed.role:
            raise SiteError(f"{name} is listed as {listed.role}, not {options.role}", remedy="correct one of the two")
        return listed
    if cluster.nodes:
        raise SiteError(f"{name} is none of the listed nodes", remedy="add a [[node]], or say which one this is: --node NAME")
    if options.role is None:
        raise SiteError("which role this host has is not said", remedy="--role control-plane or --role worker")
    return Node(name, facts.address, options.role)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an install ended. ``changed``: whether the host is another one than before."""

    plan: Plan
    changed: bool


def install(host: Host, content: Content, source: Source, cluster: Cluster, options: Options) -> Outcome:
    """Install, or go on with an install; at its end the node is what the plan says. Raises InstallError."""
    facts = read_facts(host)
    plan = make_plan(content, cluster, options, facts)
    require_root(host)
    if plan.stack == "k3s":
        raise InstallError("k3s can be planned and not yet installed", remedy="--dry-run shows the plan")
    with opened(host, f"installing {plan.stack}") as journal:
        _refuse_older(host, plan, options)
        seen = preflight.Examined(host, plan, facts, journal, options.now(), options.allowed, content.built)
        preflight.require(preflight.examine(seen))
        _refuse_other(journal, content)
        _begin(journal, plan, content, options)
        changed = place(host, plan, source, options.watch)
        unfinished = changed or journal.phase != "installed"
        if unfinished:
            journal.phase = "starting"
            journal.save()
        acted = start(journal, plan, Tools(host, content, source, options.join, options.watch), changed=changed)
        _end(journal, plan, options)
    return Outcome(plan, acted or unfinished)


def is_installed(host: Host, content: Content, cluster: Cluster, options: Options) -> bool:
    """Whether the very same was installed here to its end; that nothing has drifted since is for ``install`` to see."""
    journal = read(host)
    plan = make_plan(content, cluster, options, read_facts(host))
    return journal.phase == "installed" and journal.plan == recorded(plan, content.release)


def _refuse_older(host: Host, plan: Plan, options: Options) -> None:
    highest = highest_sequence(host)
    if plan.sequence < highest and not options.older_because:
        raise RollbackError(
            f"release {plan.sequence} is older than {highest}, which was installed here",
            remedy="take the newer one; to go back on purpose: --older-because REASON",
        )


def _refuse_other(journal: Journal, content: Content) -> None:
    """Upgrades in place are not written: another release over a running one would be neither."""
    before = journal.plan.get("release")
    if journal.exists and journal.phase != "placing" and before != content.release:
        raise InstallError(
            f"another release ({before}) is installed here",
            remedy="upgrading in place is not possible yet: kubewright uninstall, then install",
        )


def _begin(journal: Journal, plan: Plan, content: Content, options: Options) -> None:
    data = recorded(plan, content.release)
    if journal.plan != data:
        journal.plan, journal.release = data, plan.release
        journal.phase = "placing"
        journal.audit(
            "install",
            stack=plan.stack,
            role=plan.node.role,
            sequence=plan.sequence,
            release=content.release,
            files=plan.release,
            images={image.reference: image.digest for image in plan.images},
            **({"older_because": options.older_because} if options.older_because else {}),
            **options.evidence,
        )
        journal.save()


def _end(journal: Journal, plan: Plan, options: Options) -> None:
    remove_old_releases(journal.host, plan.release)
    if journal.phase == "installed":
        return
    if plan.sequence != highest_sequence(journal.host):
        remember_sequence(journal.host, plan.sequence)
    journal.phase = "installed"
    journal.save()
    journal.audit("installed", sequence=plan.sequence, files=plan.release)
