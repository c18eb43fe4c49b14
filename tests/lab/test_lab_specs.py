"""Lists of conformance specs: read, compared with what the tests have, dealt to processes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.lab.errors import ConformanceError
from kubewright.lab.prepare import SPECS
from kubewright.lab.specs import conformance_specs, dealt, focus, is_serial, read_list, require_known

ROOT = Path(__file__).parents[2]
SAID = """\
- testname: DNS, cluster
  codename: '[sig-network] DNS should provide DNS for the cluster  [Conformance]'
  description: When a Pod is created, the pod MUST be able to resolve.
  release: v1.9
  file: test/e2e/network/dns.go
- testname: Taint, multiple
  codename: '[sig-node] NoExecuteTaintManager Multiple Pods [Serial] evicts pods [Disruptive]
    [Conformance]'
  release: v1.16
  file: test/e2e/node/taints.go
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "list.txt").write_text(text)
    return tmp_path / "list.txt"


def test_the_committed_list_has_what_is_promised() -> None:
    specs = read_list(ROOT / SPECS)
    assert len(specs) >= 30
    assert all("[Conformance]" in spec and not is_serial(spec) for spec in specs)
    assert {spec.partition("]")[0] for spec in specs} >= {"[sig-network", "[sig-storage", "[sig-apps", "[sig-node"}
    assert sum("DNS" in spec for spec in specs) >= 5


def test_comments_and_blank_lines_are_none(tmp_path: Path) -> None:
    assert read_list(written(tmp_path, "# names\n\n  [sig-x] one \n[sig-x] two\n")) == ("[sig-x] one", "[sig-x] two")


@pytest.mark.parametrize(("text", "said"), [("a\nb\na\n", "'a' is there twice"), ("# nothing\n", "it lists nothing")])
def test_a_list_that_counts_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConformanceError, match=said):
        read_list(written(tmp_path, text))


def test_names_of_several_lines_are_one() -> None:
    assert (
        conformance_specs(SAID)[1]
        == "[sig-node] NoExecuteTaintManager Multiple Pods [Serial] evicts pods [Disruptive] [Conformance]"
    )


@pytest.mark.parametrize(
    "said", ["", "[]", "- testname: x\n", "- codename: 1\n", "codename: x", "- codename: x\n- codename: x\n", "{", "a: &a [*a]"]
)
def test_what_the_tests_never_say_is_refused(said: str) -> None:
    with pytest.raises(ConformanceError, match="does not say which"):
        conformance_specs(said)


def test_a_renamed_spec_is_an_error_that_says_the_new_name() -> None:
    known = conformance_specs(SAID)
    require_known(known, known)
    with pytest.raises(ConformanceError) as caught:
        require_known((known[0].replace("cluster ", "clusters"), known[1]), known)
    assert known[0] in caught.value.remedy


TEXTS = st.text(alphabet=st.sampled_from("ab [](){}.*+?^$|\\'`:/-_,=<>\"é"), min_size=1, max_size=30)


@given(st.lists(TEXTS, min_size=1, max_size=5), TEXTS)
def test_a_focus_matches_its_specs_and_nothing_else(specs: list[str], other: str) -> None:
    expression = re.compile(focus(specs))  # what it uses means the same in Go
    for spec in {*specs, other}:
        assert bool(expression.search(f"Kubernetes e2e suite {spec}")) == (spec in specs)


def test_a_focus_escapes_only_what_go_lets_be_escaped() -> None:
    assert focus(["[sig-x] it's a-b, #c"]) == r"^Kubernetes e2e suite (?:\[sig-x\] it's a-b, #c)$"


@given(st.lists(st.integers(), max_size=20), st.integers(1, 6))
def test_every_spec_is_dealt_once(specs: list[int], hands: int) -> None:
    shares = dealt([str(spec) for spec in specs], hands)
    assert sorted(spec for share in shares for spec in share) == sorted(map(str, specs))
    assert all(shares)
    assert len(shares) <= hands
