"""The documents of facts that no small build has: patches, packages, unknown licences, other components, odd names."""

from __future__ import annotations

import dataclasses

import pytest
from documents import check_cyclonedx, check_spdx, parts, properties
from hypothesis import given, settings
from hypothesis import strategies as st
from test_licencetext import MIT

from kubewright.sbom import attribution
from kubewright.sbom.cyclonedx import document as cyclonedx
from kubewright.sbom.facts import Change, Facts, Ingredient, OutputFacts, Unused
from kubewright.sbom.licences import Licence, LicenceFile
from kubewright.sbom.spdx import document as spdx
from kubewright.sbom.write import _json

UNKNOWN = LicenceFile("", "LICENSE", "ab" * 32, False, (), "ask me first")
KNOWN = LicenceFile("", "COPYING", "cd" * 32, False, ("MIT",))
NOTICE = LicenceFile("", "NOTICE", "ef" * 32, True, ())


def ingredient(ref: str, expression: str = "MIT", files: tuple[LicenceFile, ...] = (KNOWN,), **more: object) -> Ingredient:
    name, _, version = ref.partition(":")[2].partition("@")
    return dataclasses.replace(
        Ingredient(ref, "module", name, version or "1", f"pkg:golang/{name}@{version or '1'}", Licence(expression, files)),
        **more,  # type: ignore[arg-type]
    )


PATCHED = ingredient(
    "module:example.org/patched@v1.0.0",
    h1="h1:abc=",
    git="https://git.example.org/patched",
    commit="12" * 20,
    patches=(Change("patches/x/0001-x.patch", "34" * 32, "because"),),
)
STRANGE = ingredient("module:example.org/strange@v1.0.0", f"MIT AND {UNKNOWN.reference}", (KNOWN, UNKNOWN, NOTICE))
NAMELESS = ingredient("module:example.org/clause@v1", "LicenseRef-licensecheck-X", (
    dataclasses.replace(UNKNOWN, ids=("LicenseRef-licensecheck-X",), unexplained=""),))  # fmt: skip
BARE = ingredient("module:example.org/bare@v1.0.0", "", ())
PACKAGE = dataclasses.replace(ingredient("package:libc6-dev@2.36", "LGPL-2.1-or-later", ()), kind="package", sha256="56" * 32)
OTHER = dataclasses.replace(ingredient("built:runc@1.4.2", "Apache-2.0", ()), kind="component")
SOURCE = dataclasses.replace(ingredient("source:x@1", "MIT"), kind="source", git="https://git.example.org/x", commit="78" * 20)


def facts(*ingredients: Ingredient, unused: tuple[Unused, ...] = (), complete: bool = False, path: str = "x") -> Facts:
    found = ingredients or (PATCHED, STRANGE, NAMELESS, BARE, PACKAGE, OTHER, SOURCE)
    contains = tuple(each.ref for each in found)
    output = OutputFacts(path, "program", "9a" * 32, 123, contains, complete, (("needs-shared-library", "libc.so.6"),))
    return Facts(
        name="x",
        version="1.0.0",
        platform="linux/amd64",
        summary="An x",
        licence="Apache-2.0",
        homepage="https://x.example.org",
        key="sha256:" + "0" * 64,
        source_date=1_700_000_000,
        tool="0.1.0",
        purl="pkg:generic/x@1.0.0",
        outputs=(output,),
        ingredients=found,
        unused=unused,
        texts={UNKNOWN.sha256: "Ask me first.", KNOWN.sha256: MIT, NOTICE.sha256: "Thanks."},
    )


def test_both_are_valid_with_everything_in_them() -> None:
    made = facts(unused=(Unused("example.org/spare", "v1.0.0", "h1:spare="),))
    check_cyclonedx(_json(cyclonedx(made)))
    check_spdx(_json(spdx(made)))


def test_both_are_valid_with_nothing_in_them() -> None:
    made = dataclasses.replace(
        facts(), ingredients=(), outputs=(dataclasses.replace(facts().outputs[0], contains=()),), homepage=""
    )
    check_cyclonedx(_json(cyclonedx(made)))
    check_spdx(_json(spdx(made)))


def test_a_patched_module_is_not_the_published_one() -> None:
    found = parts(check_cyclonedx(_json(cyclonedx(facts()))))["example.org/patched"]
    assert found["pedigree"] == {
        "commits": [{"uid": "12" * 20}],
        "patches": [{"type": "unofficial", "diff": {"url": "patches/x/0001-x.patch"}}],
    }
    assert properties(found, "h1-unpatched") == ["h1:abc="]
    assert properties(found, "h1") == []
    assert properties(found, "patch") == [f"patches/x/0001-x.patch sha256:{'34' * 32}: because"]


def test_unknown_is_said_in_every_spelling() -> None:
    made = facts()
    part = parts(check_cyclonedx(_json(cyclonedx(made))))
    assert part["example.org/strange"]["licenses"][0]["expression"] == f"MIT AND {UNKNOWN.reference}"
    assert properties(part["example.org/strange"], "licence-unexplained") == ["LICENSE: ask me first"]
    assert "licenses" not in part["example.org/bare"]
    document = check_spdx(_json(spdx(made)))
    packages = {each["name"]: each for each in document["packages"]}
    assert packages["example.org/bare"]["licenseDeclared"] == "NOASSERTION"
    texts = {each["licenseId"]: each["extractedText"] for each in document["hasExtractedLicensingInfos"]}
    assert texts == {UNKNOWN.reference: "Ask me first.", "LicenseRef-licensecheck-X": "Ask me first."}
    text = attribution.text(made)
    assert "example.org/bare v1.0.0\n    no licence found\n" in text
    assert "Ask me first." in text
    assert "Thanks." in text


def test_what_an_output_holds_concludes_its_licence() -> None:
    document = check_spdx(_json(spdx(facts(PATCHED, PACKAGE))))
    output = document["packages"][1]
    assert output["packageFileName"] == "x"
    assert output["licenseConcluded"] == "LGPL-2.1-or-later AND MIT"
    assert output["licenseDeclared"] == "Apache-2.0"
    assert check_spdx(_json(spdx(facts(PATCHED, BARE))))["packages"][1]["licenseConcluded"] == "NOASSERTION"


def test_relations_name_how_it_got_in() -> None:
    document = check_spdx(_json(spdx(facts())))
    names = {each["SPDXID"]: each["name"] for each in document["packages"]}
    kinds = {names[each["relatedSpdxElement"]]: each["relationshipType"] for each in document["relationships"]}
    assert kinds["libc6-dev"] == kinds["example.org/patched"] == "STATIC_LINK"
    assert kinds["runc"] == "CONTAINS"
    assert kinds["x"] == "GENERATED_FROM"


@pytest.mark.parametrize(("complete", "aggregate"), [(True, "complete"), (False, "incomplete")])
def test_completeness_is_claimed_where_it_is_known(complete: bool, aggregate: str) -> None:
    document = check_cyclonedx(_json(cyclonedx(facts(complete=complete))))
    assert document["compositions"] == [{"aggregate": aggregate, "dependencies": ["output:x"]}]


def test_one_name_in_two_spellings_of_case_stays_two() -> None:
    upper, lower = (
        ingredient("module:github.com/Sirupsen/logrus@v1.0.0"),
        ingredient("module:github.com/sirupsen/logrus@v1.0.0"),
    )
    made = facts(upper, lower)
    assert set(parts(check_cyclonedx(_json(cyclonedx(made))))) == {upper.name, lower.name}
    check_spdx(_json(spdx(made)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.from_regex(r"[a-zA-Z0-9._~+/-]{1,30}", fullmatch=True), min_size=1, max_size=5, unique=True))
def test_any_path_and_name_gives_valid_documents(names: list[str]) -> None:
    made = facts(*(ingredient(f"module:{name}@v1.0.0") for name in names), path=names[0])
    check_cyclonedx(_json(cyclonedx(made)))
    document = check_spdx(_json(spdx(made)))
    assert len({each["SPDXID"] for each in document["packages"]}) == len(document["packages"])


def test_the_identity_is_made_of_the_content() -> None:
    first, second = facts(PATCHED), facts(PATCHED, BARE)
    assert cyclonedx(first) == cyclonedx(first)
    assert cyclonedx(first)["serialNumber"] != cyclonedx(second)["serialNumber"]
    assert spdx(first)["documentNamespace"] != spdx(second)["documentNamespace"]
