"""What a policy's licence list makes of the expressions in an SBOM: every rule of docs/policy.md, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from setbuilder import SetBuilder

from kubewright.verify import errors, expression
from kubewright.verify.licences import Terms, licences

AGPL = frozenset({"agpl-3.0-only"})


@pytest.mark.parametrize(
    "text",
    [
        "AGPL-3.0-only",
        "agpl-3.0-ONLY",
        "AGPL-3.0-only+",
        " ( AGPL-3.0-only ) ",
        "MIT AND AGPL-3.0-only",
        "MIT AND (ISC AND AGPL-3.0-only)",
        "AGPL-3.0-only WITH Some-exception",
        "AGPL-3.0-only OR AGPL-3.0-only",
        "AGPL-3.0-only OR (MIT AND AGPL-3.0-only)",
        "AGPL-3.0-only OR LicenseRef-unknown-0123456789abcdef",
        "MIT AND (AGPL-3.0-only OR NOASSERTION)",
        "MIT OR ISC AND AGPL-3.0-only OR",  # cannot be read: whatever is named counts
        "MIT OR, AGPL-3.0-only",
        "MIT or\u00a0AGPL-3.0-only",
    ],
)
def test_what_is_denied(text: str) -> None:
    assert {each.lower().rstrip("+") for each in expression.denied(text, AGPL)} == {"agpl-3.0-only"}


@pytest.mark.parametrize(
    "text",
    [
        "MIT",
        "MIT OR AGPL-3.0-only",
        "AGPL-3.0-only OR (MIT AND ISC)",
        "MIT AND (ISC OR AGPL-3.0-only)",
        "AGPL-3.0-only or MIT",
        "AGPL-3.0-or-later",
        "LicenseRef-AGPL-3.0-only",
        "MIT AND AGPL-3.0-only OR ISC",  # AND binds tighter
    ],
)
def test_what_is_not(text: str) -> None:
    assert expression.denied(text, AGPL) == frozenset()


def test_and_binds_tighter_than_or() -> None:
    assert expression.denied("MIT AND (AGPL-3.0-only OR AGPL-3.0-only)", AGPL)
    assert expression.denied("(MIT OR ISC) AND AGPL-3.0-only", AGPL)


def test_an_exception_can_be_denied_alone_or_with_its_licence() -> None:
    text = "MIT AND GPL-2.0-only WITH Classpath-exception-2.0"
    assert expression.denied(text, frozenset({"gpl-2.0-only with classpath-exception-2.0"}))
    assert expression.denied(text, frozenset({"classpath-exception-2.0"}))
    assert not expression.denied("GPL-2.0-only", frozenset({"gpl-2.0-only with classpath-exception-2.0"}))


@pytest.mark.parametrize(
    "text",
    [
        "LicenseRef-unknown-0123456789abcdef",
        "licenseref-UNKNOWN-0123456789abcdef",
        "MIT AND LicenseRef-unknown-0123456789abcdef",
        "MIT OR LicenseRef-unknown-0123456789abcdef",
        "MIT WITH LicenseRef-unknown-0123456789abcdef",
        "(MIT AND (ISC OR (LicenseRef-unknown-0)))",
        "DocumentRef-other:LicenseRef-unknown-0",
        "MIT AND NOASSERTION",
        "NONE",
        "",
        "MIT ISC",
        "MIT AND",
        "AND MIT",
        "(MIT",
        "MIT)",
        "MIT WITH (ISC)",
        "see the file LICENSE!",
        "(" * 200 + "MIT" + ")" * 200,
        "MIT AND " * 20_000 + "MIT",
    ],
)
def test_what_is_unknown(text: str) -> None:
    assert expression.unknown(text)


@pytest.mark.parametrize(
    "text", ["MIT", "MIT OR ISC", "(MIT)", "LicenseRef-licensecheck-X", "GPL-2.0+ WITH Bison-exception-2.2"]
)
def test_what_is_known(text: str) -> None:
    assert not expression.unknown(text)


@given(st.text())
def test_nothing_that_somebody_writes_breaks_it(text: str) -> None:
    expression.unknown(text)
    expression.denied(text, AGPL)


LEAVES = st.sampled_from(["MIT", "ISC", "AGPL-3.0-only", "Apache-2.0", "LicenseRef-unknown-0"])
TREES = st.recursive(LEAVES, lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)))


def written(tree: Any) -> str:
    return tree if isinstance(tree, str) else "(" + f" {tree[0]} ".join(map(written, tree[1])) + ")"


def may_be_used(tree: Any) -> bool:
    """Whether somebody can choose among the alternatives so that only known and allowed licences apply."""
    if isinstance(tree, str):
        return tree not in ("AGPL-3.0-only", "LicenseRef-unknown-0")
    return (all if tree[0] == "AND" else any)(map(may_be_used, tree[1]))


@given(TREES)
def test_what_may_be_chosen_is_never_denied_and_what_is_denied_may_not_be_chosen(tree: Any) -> None:
    text = written(tree)
    if may_be_used(tree):
        assert not expression.denied(text, AGPL)
    elif "unknown" not in text:
        assert expression.denied(text, AGPL)


# -- documents ----------------------------------------------------------------------------------------------------


def cyclonedx(*components: dict[str, Any]) -> dict[str, Terms]:
    return licences({"bomFormat": "CycloneDX", "components": list(components)}, "cyclonedx", "sbom")


def spdx(**package: str) -> Terms:
    found = licences({"spdxVersion": "SPDX-2.3", "packages": [{"name": "x", **package}]}, "spdx", "sbom")
    return found["x"]


def test_all_entries_of_a_cyclonedx_component_apply() -> None:
    choices = [{"license": {"id": "MIT"}}, {"license": {"id": "AGPL-3.0-only"}}]
    terms = cyclonedx({"type": "library", "name": "x", "licenses": choices})["x"]
    assert terms.denied(AGPL)
    assert not terms.unknown


def test_a_licence_that_has_only_a_name_is_unknown_even_beside_a_known_one() -> None:
    choices = [{"license": {"id": "MIT"}}, {"license": {"name": "our own"}}]
    assert cyclonedx({"type": "library", "name": "x", "licenses": choices})["x"].unknown


def test_a_twin_of_the_same_name_hides_nothing() -> None:
    known = {"type": "library", "name": "x", "licenses": [{"expression": "MIT"}]}
    for other in ({"type": "library", "name": "x"}, {"type": "library", "name": "x", "licenses": []}):
        assert cyclonedx(other, known)["x"].unknown
        assert cyclonedx(known, other)["x"].unknown


def test_a_file_may_be_silent_but_not_denied() -> None:
    assert cyclonedx({"type": "file", "name": "x"}) == {}
    said = cyclonedx({"type": "file", "name": "x", "licenses": [{"expression": "AGPL-3.0-only"}]})
    assert said["x"].denied(AGPL)


def test_components_inside_components_count() -> None:
    inner = {"type": "library", "name": "inner", "licenses": [{"expression": "AGPL-3.0-only"}]}
    assert cyclonedx({"type": "file", "name": "outer", "components": [inner]})["inner"].denied(AGPL)


def test_of_spdx_both_what_is_concluded_and_what_is_declared_count() -> None:
    assert spdx(licenseConcluded="MIT", licenseDeclared="AGPL-3.0-only").denied(AGPL)
    assert not spdx(licenseConcluded="NOASSERTION", licenseDeclared="MIT").unknown
    assert spdx(licenseConcluded="NOASSERTION").unknown
    assert spdx(licenseDeclared="MIT", licenseConcluded="LicenseRef-unknown-0").unknown


# -- the policy ---------------------------------------------------------------------------------------------------


def with_licence(made: SetBuilder, text: str) -> None:
    def change(statement: dict) -> None:
        statement["predicate"]["components"][0]["licenses"] = [{"expression": text}]

    made.sign_sbom("etcd", change=change)


def test_verify_takes_what_leaves_a_choice(tmp_path: Path) -> None:
    made = SetBuilder(tmp_path)
    with_licence(made, "MIT OR AGPL-3.0-only")
    assert made.verify().artifacts
    with_licence(made, "AGPL-3.0-only OR LicenseRef-unknown-0123456789abcdef")
    made.write_policy(unknown='unknown = "allow"')
    with pytest.raises(errors.LicenceError, match=r"AGPL-3\.0-only, which the policy denies"):
        made.verify()


def test_an_unknown_text_inside_an_expression_is_refused_or_allowed_as_the_policy_says(tmp_path: Path) -> None:
    made = SetBuilder(tmp_path)
    with_licence(made, "MIT AND LicenseRef-unknown-0123456789abcdef")
    with pytest.raises(errors.LicenceError, match=r"nobody knows .* \(MIT AND LicenseRef-unknown-0123456789abcdef\)"):
        made.verify()
    made.write_policy(unknown='unknown = "allow"')
    assert made.verify().artifacts


@pytest.mark.parametrize("entry", ["MIT OR ISC", "GPL 2", "(MIT)", ""])
def test_a_deny_list_has_identifiers_and_nothing_that_could_never_match(tmp_path: Path, entry: str) -> None:
    made = SetBuilder(tmp_path)
    made.write_policy(deny=f'deny = ["{entry}"]')
    with pytest.raises(errors.PolicyError, match="deny"):
        made.verify()
