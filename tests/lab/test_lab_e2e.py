"""Processes that run specs: a small program stands for e2e.test, with real processes, reports and logs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kubewright.lab.e2e import Tools, run_side_by_side
from kubewright.lab.errors import ConformanceError

PROGRAM = """\
#!/bin/sh
for word in "$@"; do
    case $word in
    --report-dir=*) folder=${word#*=} ;;
    --report-prefix=*) prefix=${word#*=} ;;
    --ginkgo.focus=*) focus=${word#*=} ;;
    esac
done
echo $$ >"$folder/$prefix.pid"
env >"$folder/$prefix.env"
spec=${focus#*:}
spec=${spec%??}
"""
PASSES = """\
cat >"$folder/junit_${prefix}01.xml" <<END
<testsuites><testsuite><testcase name="[It] $spec" status="passed" time="1.5"/></testsuite></testsuites>
END
echo "$spec [labels]"
echo "• [1.500 seconds]"
"""


pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    (tmp_path / "out").mkdir()
    (tmp_path / "private").mkdir()
    return Tools(tmp_path / "e2e.test", tmp_path / "kubectl", tmp_path / "private" / "admin.conf", tmp_path / "out")


def write_program(tools: Tools, rest: str) -> None:
    tools.program.write_text(PROGRAM + rest)
    tools.program.chmod(0o755)


def test_each_share_has_its_own_process_and_report(tools: Tools) -> None:
    write_program(tools, PASSES)
    told: list[tuple[str, str]] = []
    ran = run_side_by_side(tools, [("1", ("one",)), ("2", ("two",))], lambda *each: told.append(each))
    assert [(each.status, [(case.spec, case.status) for case in each.cases]) for each in ran] == [
        (0, [("one", "passed")]),
        (0, [("two", "passed")]),
    ]
    assert sorted(told) == [("one", "1.500 seconds"), ("two", "1.500 seconds")]
    assert "• [1.500 seconds]" in (tools.folder / "2.log").read_text()


def test_nothing_of_the_users_environment_gets_in(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("KUBECONFIG", "/home/user/.kube/config")
    write_program(tools, PASSES)
    run_side_by_side(tools, [("1", ("one",))], lambda *each: None)
    said = (tools.folder / "1_.env").read_text()
    assert "proxy.example" not in said
    assert "/home/user" not in said
    assert f"HOME={tools.kubeconfig.parent}\n" in said


def test_a_process_that_dies_says_where_its_log_is(tools: Tools) -> None:
    write_program(tools, "echo something; exit 3")
    (ran,) = run_side_by_side(tools, [("1", ("one",))], lambda *each: None)
    assert (ran.status, ran.cases) == (3, ())
    assert ran.lost.startswith(f"its process ended with status 3: {tools.folder}/1.log")
    assert (tools.folder / "1.log").read_text() == "something\n"


def test_an_old_report_does_not_count(tools: Tools) -> None:
    write_program(tools, PASSES)
    run_side_by_side(tools, [("1", ("one",))], lambda *each: None)
    write_program(tools, "exit 0")
    (ran,) = run_side_by_side(tools, [("1", ("one",))], lambda *each: None)
    assert ran.cases == ()


def test_when_one_share_cannot_go_on_no_process_is_left(tools: Tools) -> None:
    write_program(
        tools, 'if [ "$prefix" = 2_ ]; then exec sleep 600; fi; while [ ! -e "$folder/2_.pid" ]; do sleep 0.1; done\n' + PASSES
    )

    def told(spec: str, how: str) -> None:
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(tools, [("1", ("one",)), ("2", ("two",))], told)
    assert time.monotonic() - begin < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tools.folder / "2_.pid").read_text()), 0)


def test_what_a_program_says_without_a_cluster(tools: Tools) -> None:
    write_program(tools, "exit 0")
    tools.program.write_text('#!/bin/sh\n[ "$1" = --list-images ] && echo pause || { echo "no such flag" >&2; exit 2; }\n')
    assert tools.say("--list-images") == "pause\n"
    with pytest.raises(ConformanceError, match="ended with status 2") as caught:
        tools.say("--list")
    assert "no such flag" in caught.value.details


def test_the_program_is_told_to_run_these_specs_only(tools: Tools) -> None:
    words = tools.command("3", ["[sig-x] one", "[sig-x] two"], 900)
    assert r"--ginkgo.focus=^Kubernetes e2e suite (?:\[sig-x\] one|\[sig-x\] two)$" in words
