"""Facts of a host, for a plan that is made on another machine; and what such a plan would do there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contents import CLUSTER, Shelf, content
from hypothesis import given
from hypothesis import strategies as st

from kubewright.canonical import canonical_digest
from kubewright.install import run
from kubewright.install.errors import SiteError
from kubewright.install.host import Host
from kubewright.install.kubernetes import plan_kubernetes
from kubewright.install.settings import Cluster, Network
from kubewright.install.state import State, load_state, read_state, state_data, to_do


def over_the_wire(host: Host) -> State:
    return load_state(json.dumps(state_data(read_state(host))).encode(), "facts")


def to_do_for(host: Host, source: Shelf, cluster: Cluster = CLUSTER) -> list[str]:
    there, found = over_the_wire(host), content(source)
    node = cluster.node("one")
    assert node is not None
    return to_do(plan_kubernetes(found, cluster, node, there.facts), found.release, there)


def install(host: Host, source: Shelf) -> run.Outcome:
    return run.install(host, content(source), source, CLUSTER, run.Options(node="one"))


def test_what_was_written_is_read(host: Host) -> None:
    assert over_the_wire(host) == read_state(host)


def test_a_bare_host_gets_everything(host: Host, source: Shelf) -> None:
    found = to_do_for(host, source)
    assert found[0] == "files and settings"
    assert found.index("images") < found.index("kubeadm init") < found.index("objects of coredns")
    assert not state_data(read_state(host))["joined"]


def test_an_installed_host_gets_nothing(host: Host, source: Shelf) -> None:
    assert install(host, source).changed
    assert to_do_for(host, source) == []
    assert state_data(read_state(host))["joined"]
    assert not install(host, source).changed


def test_what_has_drifted_is_to_be_put_right(host: Host, source: Shelf) -> None:
    install(host, source)
    host.path("/etc/systemd/system/kubelet.service").write_text("[Service]\nExecStart=/bin/evil\n")
    assert to_do_for(host, source) == ["1 differences from what was installed"]
    assert install(host, source).changed


def test_an_install_that_was_cut_off_goes_on(host: Host, source: Shelf) -> None:
    (host.root / "fail-import-once").touch()
    with pytest.raises(Exception, match="images import"):
        install(host, source)
    found = to_do_for(host, source)
    assert "containerd starts" not in found
    assert {"images", "kubeadm init"} <= set(found)


def test_settings_that_a_running_cluster_keeps_are_refused_before(host: Host, source: Shelf) -> None:
    install(host, source)
    found = to_do_for(host, source, replace(CLUSTER, network=Network(pods="10.9.0.0/16")))
    assert "kubeadm init: refused, since it was done with other settings" in found


def test_facts_hold_no_plan_and_no_secret(host: Host, source: Shelf) -> None:
    install(host, source)
    data = state_data(read_state(host))
    assert set(data) == {"version", "facts", "phase", "plan", "done", "drift", "joined"}
    assert data["plan"] == canonical_digest(json.loads(host.path("/var/lib/kubewright/install.json").read_text())["plan"])


GOOD: dict[str, Any] = {
    "version": 1,
    "facts": {"hostname": "one", "address": "192.0.2.10", "platform": "linux/amd64", "cgroup": 2, "adjust_oom": True},
    "phase": "",
    "plan": "sha256:" + "0" * 64,
    "done": {},
    "drift": 0,
    "joined": False,
}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"facts": {}},
        {"facts": {**GOOD["facts"], "cgroup": 3}},
        {"facts": {**GOOD["facts"], "cgroup": True}},
        {"facts": {**GOOD["facts"], "more": 1}},
        {"done": {"images": 1}},
        {"done": []},
        {"drift": False},
        {"phase": None},
        {"plan": 1},
    ],
)
def test_other_facts_are_refused(change: dict[str, Any]) -> None:
    load_state(json.dumps(GOOD).encode(), "facts")
    with pytest.raises(SiteError):
        load_state(json.dumps({**GOOD, **change}).encode(), "facts")


@given(st.binary(max_size=300))
def test_bytes_of_anybody_are_refused(data: bytes) -> None:
    with pytest.raises(SiteError, match="facts"):
        load_state(data, "facts")


def test_facts_are_for_a_dry_run_only(tmp_path: Path) -> None:
    from kubewright.install import command

    (tmp_path / "facts").write_text(json.dumps(GOOD))
    words = ["install", "b.oci", "--policy", "p.toml", "--facts", str(tmp_path / "facts")]
    assert command.main(words) == SiteError.exit_code
