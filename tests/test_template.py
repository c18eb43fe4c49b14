from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.errors import RecipeError
from kubewright.model.template import EARLY, Template, expand, lock_context, recipe_context, variables


def test_variables_are_replaced_and_doubled_braces_are_braces() -> None:
    context = {"version": "1.2.3", "module:k8s.io/api": "v0.37.2"}
    assert expand("v{version} {{version}} {module:k8s.io/api}", context) == "v1.2.3 {version} v0.37.2"


@pytest.mark.parametrize("text", ["{", "}", "a {version", "version}", "{{}", "{a{b}"])
def test_a_lone_brace_is_an_error(text: str) -> None:
    with pytest.raises(RecipeError, match="a lone"):
        expand(text, {"version": "1"})


def test_an_unknown_variable_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"unknown variable \{vers\} \(known: \{version\}"):
        expand("{vers}", {"version": "1"})


@given(st.text())
def test_any_text_survives_with_its_braces_doubled(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert expand(escaped, {}) == text
    assert variables(escaped) == ()


@pytest.mark.parametrize(
    ("version", "parts"),
    [
        ("1.37.2", {"major": "1", "minor": "37", "patch": "2"}),
        ("1.37.1+k3s1", {"major": "1", "minor": "37", "patch": "1"}),
        ("2.8.0-rc.1", {"major": "2", "minor": "8", "patch": "0"}),
        ("1.7", {"major": "1", "minor": "7"}),
        ("1.7-rc1", {"major": "1", "minor": "7"}),
        ("1.7+k3s1", {"major": "1", "minor": "7"}),
        ("1.7+2", {"major": "1", "minor": "7"}),
        ("1a2", {"major": "1"}),
        ("3.10", {"major": "3", "minor": "10"}),
    ],
)
def test_the_parts_of_a_version(version: str, parts: dict[str, str]) -> None:
    assert recipe_context(version) == {"version": version, **parts}


def test_the_context_of_a_lock() -> None:
    context = lock_context("1.2.3", 1700000000, {"a": "c0ffee", "b": ""}, "a", {"k8s.io/api": "v0.1.0"})
    assert context["commit"] == context["commit:a"] == "c0ffee"
    assert context["commit:b"] == ""
    assert context["source_date"] == "1700000000"
    assert context["source_date_iso"] == "2023-11-14T22:13:20Z"
    assert context["module:k8s.io/api"] == "v0.1.0"


def test_an_unconfirmed_commit_is_empty_and_known() -> None:
    assert expand("[{commit}]", lock_context("1", 0, {}, "a", {})) == "[]"


@pytest.mark.parametrize("text", ["{version}", "{commit:x}", "{module:a/b}", "{source_date_iso}", "{{x}}", ""])
def test_known_variables_pass_the_check(text: str) -> None:
    assert Template().problem(text) is None


@pytest.mark.parametrize("text", ["{versio}", "{commit:}", "{module}", "{x:y}", "{version:}", "{", "{}"])
def test_unknown_variables_do_not(text: str) -> None:
    assert Template().problem(text)


def test_sources_know_the_version_only() -> None:
    assert Template(EARLY, ()).problem("v{major}.{minor}") is None
    assert Template(EARLY, ()).problem("{commit}")
    assert Template(EARLY, ()).problem("{module:a}")
