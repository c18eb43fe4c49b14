"""Configuration files as texts."""

from __future__ import annotations

import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewright.install.render import documents, toml, unit

KEYS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=12)
PLAIN = st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
TABLES = st.recursive(
    st.dictionaries(KEYS, st.one_of(PLAIN, st.lists(st.text(max_size=5), max_size=3)), max_size=3),
    lambda inner: st.dictionaries(KEYS, st.one_of(PLAIN, inner), max_size=3),
    max_leaves=8,
)


@given(TABLES)
@settings(suppress_health_check=[HealthCheck.too_slow])  # the first characters take seconds
def test_toml_says_what_was_meant(table: dict[str, object]) -> None:
    assert tomli.loads(toml(table)) == table


def test_a_unit_has_no_line_that_nobody_wrote() -> None:
    with pytest.raises(ValueError, match="several lines"):
        unit({"Service": [("ExecStart", "/bin/true\nExecStartPost=/bin/sh")]})


def test_a_key_of_several_values_is_repeated() -> None:
    assert "Environment=A=1\nEnvironment=B=2\n" in unit({"Service": [("Environment", ["A=1", "B=2"])]})


def test_documents_are_one_stream() -> None:
    import yaml

    values = [{"kind": "A"}, {"kind": "B", "list": [1, "two"]}]
    assert list(yaml.safe_load_all(documents(values))) == values
