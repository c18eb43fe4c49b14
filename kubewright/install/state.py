"""What a host says of itself to whoever plans for it on another machine: ``node facts`` there, ``--dry-run --facts`` here.

Facts for the plan, and how far an install has come, without anything secret and without the plan that was installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubewright.canonical import canonical_digest
from kubewright.install import show, start
from kubewright.install.errors import SiteError
from kubewright.install.host import Host, read_facts
from kubewright.install.journal import read
from kubewright.install.plan import Await, Facts, Kubeadm, Plan, Step
from kubewright.install.status import drift
from kubewright.verify import strictjson
from kubewright.verify.errors import VerifyError

FORMAT: Final = 1
_LIMITS: Final = strictjson.Limits(size=1 << 20, string=4096, depth=4, values=10_000)
_FACTS: Final[Mapping[str, type]] = {"hostname": str, "address": str, "platform": str, "cgroup": int, "adjust_oom": bool}
_REMEDY: Final = "kubewright node facts, on the host, writes it"


@dataclass(frozen=True, slots=True)
class State:
    """``plan``: digest of the recorded plan; ``done``: step -> key of what was done; ``drift``: how many differences."""

    facts: Facts
    phase: str
    plan: str
    done: Mapping[str, str]
    drift: int


def read_state(host: Host) -> State:
    """This host's. Raises JournalError."""
    journal = read(host)
    differences = len(drift(host, journal)) if journal.phase == "installed" else 0
    return State(read_facts(host), journal.phase, canonical_digest(journal.plan), journal.done, differences)


def state_data(state: State) -> dict[str, Any]:
    """As JSON. ``joined``: whether the host is a node, for which no join material is needed any more."""
    joined = any(name.startswith("kubeadm ") for name in state.done)
    return {"version": FORMAT, **dataclasses.asdict(state), "joined": joined}


def load_state(data: bytes, name: str) -> State:
    """What ``state_data`` made, on another machine. Raises SiteError."""
    try:
        value = strictjson.loads(data, _LIMITS, name)
    except VerifyError as reason:
        raise SiteError(reason.message, remedy=_REMEDY) from None
    if not isinstance(value, dict) or not strictjson.is_version(value.get("version"), FORMAT):
        raise SiteError(f"{name}: not facts of version {FORMAT}", remedy=_REMEDY)
    facts, done = value.get("facts"), value.get("done")
    fits = (
        isinstance(facts, dict)
        and {key: type(each) for key, each in facts.items()} == _FACTS
        and facts["cgroup"] in (1, 2)
        and isinstance(done, dict)
        and all(isinstance(each, str) for each in (*done.values(), value.get("phase"), value.get("plan")))
        and strictjson.is_integer(value.get("drift"))
    )
    if not fits:
        raise SiteError(f"{name}: damaged", remedy=_REMEDY)
    assert isinstance(facts, dict)
    assert isinstance(done, dict)
    return State(Facts(**facts), value["phase"], value["plan"], done, value["drift"])


def to_do(plan: Plan, release: str, state: State) -> list[str]:
    """What installing ``plan`` would do on a host in that state, by name; nothing where all is as planned."""
    found = []
    if state.plan != canonical_digest(show.recorded(plan, release)):
        found.append("files and settings")
    elif state.drift:
        found.append(f"{state.drift} differences from what was installed")
    found += [name for step in plan.steps if (name := _open(plan, step, state))]
    return found or ([] if state.phase == "installed" else ["checks of the node"])


def _open(plan: Plan, step: Step, state: State) -> str:
    done = state.done.get(step.name)
    if isinstance(step, Await) or done == start.step_key(plan, step):
        return ""
    refused = done is not None and isinstance(step, Kubeadm)
    return f"{step.name}: refused, since it was done with other settings" if refused else step.name
