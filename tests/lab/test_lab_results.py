"""What a lab says of itself."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kubewright.lab.errors import LabCheckError
from kubewright.lab.results import Results


@pytest.fixture
def results() -> Results:
    found = Results("lab:test")
    with found.doing("DNS") as notes:
        notes.append("10.96.0.10 <&> \x1b[1m")
    with pytest.raises(LabCheckError), found.doing("volume"):
        raise LabCheckError("the volume holds ''", details="line one\nline two")
    with pytest.raises(ZeroDivisionError), found.doing("a mistake of ours"):
        _ = 1 / 0
    found.leave_out("nfs", "no NFS here")
    return found


def test_junit_has_a_case_for_each(results: Results) -> None:
    suite = ElementTree.fromstring(results.junit())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    failure = suite.find("testcase[@name='volume']/failure")
    assert failure is not None
    assert failure.text == "the volume holds ''\nline one\nline two"


def test_the_table_is_one_line_each(results: Results) -> None:
    lines = results.table().splitlines()
    assert [line.split()[0] for line in lines] == ["DNS", "volume", "a", "nfs"]
    assert "FAILED" in lines[1]
    assert lines[3].endswith("no NFS here")


def test_both_are_written(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "results")
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"junit.xml", "table.txt"}
