"""What is kept of nodes when a lab fails: each of them is asked, and one that does not answer keeps nobody from it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from kubewright.lab import support
from kubewright.lab.errors import LabError
from kubewright.lab.machines import Machines, Said, State


class Here:
    """This machine as a node, and one that is gone."""

    def __init__(self, state: State) -> None:
        self.state = state

    def run(self, node: str, argv: Sequence[str]) -> Said:
        if node == "gone":
            raise LabError("no such container")
        ended = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        return Said(ended.returncode, ended.stdout)


def test_every_node_that_answers_is_asked_everything(tmp_path: Path) -> None:
    old = tmp_path / "support/here/of-last-time.txt"
    old.parent.mkdir(parents=True)
    old.touch()
    machines = Here(State(tmp_path / "m1.json", nodes={"gone": "1", "here": "2"}))
    support.collect(cast(Machines, machines), tmp_path / "support")
    assert not list((tmp_path / "support/gone").iterdir())
    found = {path.name: path.read_text() for path in (tmp_path / "support/here").iterdir()}
    assert {"journal.txt", "processes.txt", "network.txt", "disk.txt", "pods.txt", "pod-logs.txt"} < set(found)
    assert "PID" in found["processes.txt"]
    assert "127.0.0.1" in found["network.txt"]
    assert not old.exists()
