"""The JSON Schemas: committed as generated, and of one mind with the decoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from kubewright.fetch import mirrorindex
from kubewright.mirror import statement
from kubewright.model.decode import decode
from kubewright.model.schema_json import DOCUMENTS, schema_of, write_schemas
from kubewright.verify import schemas

ROOT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "data" / "project"
FILES = {
    "recipe": [*FIXTURES.glob("recipes/*/recipe.toml"), *ROOT.glob("recipes/*/recipe.toml")],
    "builder": [*FIXTURES.glob("builders/*.toml"), *ROOT.glob("builders/*.toml")],
    "stack": [*FIXTURES.glob("stacks/*.toml"), *ROOT.glob("stacks/*.toml")],
    "settings": [FIXTURES / "settings.toml"],
    "lockfile": [FIXTURES / "lockfile.toml"],
    "digests": [FIXTURES / "digests.toml"],
}


def test_the_committed_schemas_are_the_generated_ones(tmp_path: Path) -> None:
    for path in write_schemas(tmp_path):
        committed = ROOT / "schemas" / path.name
        assert committed.read_text() == path.read_text(), "run: python -m kubewright.model.reference"
    assert {path.stem for path in (ROOT / "schemas").iterdir()} == {
        *DOCUMENTS,
        *schemas.DOCUMENTS,
        *mirrorindex.DOCUMENTS,
        *statement.DOCUMENTS,
        "cluster",
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_another_checker_accepts_schemas_and_files(name: str) -> None:
    def check(*arguments: str | Path) -> None:
        command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    schema = ROOT / "schemas" / f"{name}.json"
    check("--check-metaschema", schema)
    check("--schemafile", schema, *FILES[name])


def accepted_by_schema(name: str, data: object) -> bool:
    schema = schema_of(DOCUMENTS[name], name)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(data))


def accepted_by_decoder(name: str, data: object) -> bool:
    return decode(DOCUMENTS[name], data, []) is not None


def variations(value: Any) -> list[Any]:
    """``value`` with one thing at a time left out, replaced by another type, or added."""
    found: list[Any] = [1, "x y", [], {}, True, ["x y"], {"x y": 1}]
    if isinstance(value, dict):
        found += [{key: item for key, item in value.items() if key != left} for left in value]
        found += [{**value, key: changed} for key, item in value.items() for changed in variations(item)]
        found += [{**value, "unknown": 1}, {**value, "url": "https://x/y"}, {**value, "run": ["x"]}]
    if isinstance(value, list):
        found += [[*value[:at], changed, *value[at + 1 :]] for at, item in enumerate(value) for changed in variations(item)]
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_and_decoder_agree_on_everything_that_is_nearly_right(name: str) -> None:
    """But for what a schema cannot say: variables in strings, and texts of nothing but spaces."""
    data = tomli.loads(min(FILES[name], key=lambda path: path.stat().st_size).read_text())
    assert accepted_by_decoder(name, data)
    validator = jsonschema.Draft202012Validator(schema_of(DOCUMENTS[name], name))
    changed = variations(data)
    assert len(changed) > 20
    for variation in changed:
        assert validator.is_valid(variation) == accepted_by_decoder(name, variation), variation
