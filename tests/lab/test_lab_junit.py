"""Reports of e2e.test, counted. The samples are of real runs, cut down to a few cases, with the machine's paths replaced:
a share of specs that passed, one spec that failed, one that skipped itself, and a suite that failed before its specs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.lab.conformance import outcomes, table
from kubewright.lab.e2e import Ran, Watcher
from kubewright.lab.errors import ConformanceError
from kubewright.lab.junit import Case, judge, parse_report, read_report

DATA = Path(__file__).parents[1] / "data" / "conformance"
REPLICAS = "[sig-apps] ReplicaSet should list and delete a collection of ReplicaSets [Conformance]"
VERSION = "[sig-cli] Kubectl client Kubectl version should check is all data is printed [Conformance]"
RESTART = (
    "[sig-apps] DaemonRestart [Provider:gce,aws,local,azure] Kube-proxy should recover after being killed accidentally"
    " [Disruptive]"
)


def sample(name: str) -> list[Case]:
    return read_report(DATA / f"{name}.xml")


def problems(wanted: list[str], cases: list[Case]) -> list[str]:
    return [each.problem for each in judge(wanted, cases, {})]


# -- real reports ----------------------------------------------------------------------------------------------------------


def test_specs_that_passed_are_counted_and_timed() -> None:
    cases = sample("passed")
    specs = [case.spec for case in cases if case.spec and case.ran]
    assert len(specs) == 11
    found = judge(specs, cases, {})
    assert [each.problem for each in found] == [""] * 11
    assert all(0.3 < each.seconds < 120 for each in found)


def test_what_the_focus_left_out_did_not_run() -> None:
    cases = sample("passed")
    left = next(case.spec for case in cases if case.spec and not case.ran)
    assert problems([left], [case for case in cases if not case.ran]) == ["it did not run: no report has it"]


def test_what_a_suite_does_besides_is_no_spec() -> None:
    assert sum(not case.spec for case in sample("passed")) == 7
    assert problems([], [case for case in sample("passed") if not case.spec]) == []


def test_a_spec_that_failed_says_why() -> None:
    said = problems([REPLICAS, VERSION], sample("failed"))
    assert said[0] == ""
    assert said[1].startswith("failed: [FAILED] error starting /nonexistent")


def test_a_spec_that_skipped_itself_is_not_well() -> None:
    said = problems([REPLICAS, RESTART], sample("skipped"))
    assert said == ["", "skipped: skipped - Only supported for providers [gce aws local azure] (not skeleton)"]


def test_a_suite_that_failed_has_run_nothing() -> None:
    log = {REPLICAS: "its process ended with status 1: 1.log"}
    assert [each.problem for each in judge([REPLICAS], sample("suite"), log)] == [f"it did not run: {log[REPLICAS]}"]


def test_a_spec_that_ran_and_is_not_listed_is_said() -> None:
    cases = sample("skipped")
    assert problems([], cases) == ["it ran, and nobody asked for it"] * 2


def test_a_spec_of_two_reports_is_not_well() -> None:
    assert (
        problems([REPLICAS], sample("failed") + sample("suite") + [Case(f"[It] {REPLICAS}", "passed", 1.0)])[0]
        == "it ran 2 times"
    )


# -- several processes -------------------------------------------------------------------------------------------------------


def test_a_process_that_fails_with_all_its_specs_passed_fails_the_run() -> None:
    passed = Case(f"[It] {REPLICAS}", "passed", 5.0)
    found = outcomes([REPLICAS], [Ran((REPLICAS,), 1, (passed,), "its process ended with status 1: 1.log")])
    assert [bool(each.problem) for each in found] == [False, True]
    assert outcomes([REPLICAS], [Ran((REPLICAS,), 0, (passed,), "")])[-1].problem == ""


def test_the_table_counts_what_passed() -> None:
    text = table(judge([REPLICAS, VERSION], sample("failed"), {}))
    assert text.splitlines()[0].startswith("ok          5.4 s  [sig-apps] ReplicaSet")
    assert text.splitlines()[1].startswith("FAILED")
    assert f"{VERSION}: failed: [FAILED] error starting /nonexistent" in text.splitlines()[1]
    assert text.splitlines()[-1].startswith("1 of 2 passed")


# -- reports that are none ---------------------------------------------------------------------------------------------------

WHOLE = (DATA / "passed.xml").read_bytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no element found"),
        (b"<html/>", "it begins with 'html'"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuites/>', "document type"),
        (
            b'<testsuites><testcase name="[It] x" status="passed"><testcase name="y"/></testcase></testsuites>',
            "inside of another",
        ),
        (b'<testsuites><testcase status="passed"/></testsuites>', "no name or no status"),
        (b'<testsuites><testcase name="[It] x"/></testsuites>', "no name or no status"),
        (b'<testsuites><testcase name="[It] x" status="passed" time="long"/></testsuites>', "'long' seconds"),
        (b'<testsuites><testcase name="a" name="b" status="passed"/></testsuites>', "duplicate attribute"),
        (b"<testsuites>" * 20, "nested too deep"),
        (b'<testsuites><testcase name="[It] x" status="passed" time="nan"/></testsuites>', "'nan' seconds"),
        (b"<testsuites>\xff</testsuites>", "invalid token"),
    ],
)
def test_what_is_no_report_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ConformanceError, match=said):
        parse_report(data)


@given(st.integers(0, len(WHOLE) - 20))
def test_a_report_that_is_cut_off_counts_nothing(size: int) -> None:
    with pytest.raises(ConformanceError, match="cannot be read"):
        parse_report(WHOLE[:size])


@given(st.binary(max_size=300))
def test_whatever_it_is_it_is_read_or_refused(data: bytes) -> None:
    try:
        parse_report(b"<testsuites>" + data + b"</testsuites>")
    except ConformanceError:
        return


def test_a_missing_or_giant_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match="there is no report"):
        read_report(tmp_path / "junit_1_01.xml")
    with (tmp_path / "giant.xml").open("wb") as out:
        out.truncate(65 << 20)
    with pytest.raises(ConformanceError, match="larger than 64 MiB"):
        read_report(tmp_path / "giant.xml")


# -- progress ----------------------------------------------------------------------------------------------------------------


def test_specs_are_told_as_they_end() -> None:
    told: list[tuple[str, str]] = []
    watcher = Watcher([REPLICAS, VERSION], lambda *each: told.append(each))
    for line in (
        "[SynchronizedBeforeSuite] PASSED [0.746 seconds]\n",
        f"{REPLICAS} [sig-apps, Conformance]\n",
        "  STEP: Create a ReplicaSet @ 11/23/26 22:55:57.139\n",
        "• [5.427 seconds]\n",
        "------------------------------\n",
        f"{VERSION} [sig-cli, Conformance]\n",
        "• [FAILED] [0.565 seconds]\n",
        "[AfterSuite] PASSED [0.000 seconds]\n",
    ):
        watcher.line(line)
    assert told == [(REPLICAS, "5.427 seconds"), (VERSION, "FAILED 0.565 seconds")]
