"""Policies: everything has to be said, and what is wrong is said with file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from setbuilder import SetBuilder, policy_text, public_key

from kubewright.model.schema import fields_of
from kubewright.verify.errors import PolicyError, PolicySectionError, SharedKeyError
from kubewright.verify.newpolicy import new_policy
from kubewright.verify.policy import SECTIONS, Policy, load_policy, parse_policy

TEXT = policy_text("sha256:" + "a" * 64)


def test_the_policy_of_the_tests_is_valid() -> None:
    policy = parse_policy(TEXT)
    assert policy.rebuilds.threshold == 2
    assert policy.key_of(public_key("site").fingerprint) is not None


def test_every_section_and_key_is_required() -> None:
    assert set(SECTIONS) == fields_of(Policy).keys() - {"version"}
    assert all(field.required for field in fields_of(Policy).values())
    for name in ("release", "provenance", "sources", "rebuilds", "sbom", "licences", "state"):
        assert all(field.required for field in fields_of(fields_of(Policy)[name].hint).values()), name


@pytest.mark.parametrize("section", [name for name in SECTIONS if name not in ("key", "revoked")])
def test_a_missing_section_is_an_error_of_its_own(section: str) -> None:
    text = re.sub(rf"\[{section}\]\n(?:[a-z_]+ = .*\n)+", "", TEXT)
    assert text != TEXT
    with pytest.raises(PolicySectionError, match=section):
        parse_policy(text)


@pytest.mark.parametrize("line", [line for line in TEXT.split("\n") if re.match(r"[a-z_]+ = ", line)])
def test_no_line_can_be_left_out(line: str) -> None:
    text = TEXT.replace(line + "\n", "", 1)
    if line.startswith("public_key"):
        text = TEXT.replace(f'{line}\n{public_key("site").pem}"""\n', "", 1)
    with pytest.raises(PolicyError):
        parse_policy(text)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("threshold = 2", "threshold = 3", r"policy.toml:\d+: rebuilds.threshold: 3 can never be met by 2"),
        ("threshold = 2", "threshold = 0", r"rebuilds.threshold: 0 is less than 1"),
        ('operators = ["site", "second"]', 'operators = ["site", "site"]', r"rebuilds.operators\[1\]: 'site' is there twice"),
        ('operators = ["site"]', 'operators = ["nobody"]', r"release.operators\[0\]: 'nobody' has no \[\[key\]\]"),
        ('operators = ["site"]', "operators = []", r"release.operators: is empty"),
        ("required = true", 'required = "yes"', r"sbom.required: expected true or false"),
        ('silence = "allow"', 'silence = "ignore"', r'rebuilds.silence: expected "allow" or "refuse"'),
        ("threshold = 2", "threshold = 2\nthreshhold = 1", r"rebuilds.threshhold: unknown key"),
        ('"deb:*"', '"*"', r"sources.allow\[5\]"),
        ('"deb:*"', '"git:https://*/x"', r"sources.allow\[5\]"),
        ("-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", r"key\[0\].public_key: not a public key in PEM"),
        ("version = 1", "version = 2", r"version"),
        ("[state]", "[state", r"not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, what: str) -> None:
    with pytest.raises(PolicyError, match=what):
        parse_policy(TEXT.replace(old, new, 1))


def test_a_policy_that_allows_no_source_is_refused() -> None:
    text = re.sub(r"locks = .*", "locks = []", re.sub(r"allow = \[.*", "allow = []", TEXT))
    with pytest.raises(PolicyError, match="allows nothing"):
        parse_policy(text)


def test_an_operator_whose_only_key_is_revoked_cannot_be_needed() -> None:
    revoked = f'revoked = [{{ fingerprint = "{public_key("second").fingerprint}", reason = "x" }}]'
    with pytest.raises(PolicyError, match="'second' has no"):
        parse_policy(TEXT.replace("revoked = []", revoked))


def test_one_key_under_two_names_is_an_error_even_within_one_operator() -> None:
    for operator in ("second", "site"):
        text = TEXT.replace(public_key("third").pem, public_key("site").pem).replace('"third"', f'"{operator}"')
        with pytest.raises(SharedKeyError, match="is there already"):
            parse_policy(text)


def test_a_new_policy_is_valid_strict_and_commented() -> None:
    text = new_policy([("site", public_key("site")), ("second", public_key("second"))], "sha256:" + "b" * 64, 4)
    policy = parse_policy(text)
    assert policy.sources.locks == ("sha256:" + "b" * 64,)
    assert policy.release.minimum_sequence == 4
    assert policy.release.unlisted == "refuse"
    assert policy.release.operators == ("second", "site")
    assert text.count("#") > 10


def test_a_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    made = SetBuilder(tmp_path)
    made.policy.write_text(made.policy.read_text().replace("threshold = 2", "threshold = 9"))
    with pytest.raises(PolicyError, match=r"site.toml:\d+: rebuilds.threshold"):
        load_policy(made.policy)
