"""What a lab wrote down of what it made: taken away by it, whatever else is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.lab.errors import LabError
from kubewright.lab.machines import State, load_state
from kubewright.lab.milestone1 import down


def test_what_was_written_is_read(tmp_path: Path) -> None:
    state = State(tmp_path / "m1.json", "unix:///x", 7, "image", "network", {"one": "id"}, {"kernel/panic": "0"})
    state.save()
    assert load_state(tmp_path / "m1.json") == state


def test_where_there_is_no_lab_nothing_is_taken_away(tmp_path: Path) -> None:
    assert not down(tmp_path)


def test_a_lab_whose_daemon_is_gone_is_forgotten(tmp_path: Path) -> None:
    State(tmp_path / "m1.json", f"unix://{tmp_path}/nobody.sock", nodes={"one": "id"}).save()
    assert down(tmp_path)
    assert load_state(tmp_path / "m1.json") is None


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "m1.json").write_text("{")
    with pytest.raises(LabError, match="is damaged"):
        load_state(tmp_path / "m1.json")
