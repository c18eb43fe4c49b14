"""JSON Schemas (draft 2020-12) of every TOML file, from the dataclasses that decode them: for editors and other checkers.

They say what types, patterns and conditions on one table can say; rules between tables are only in ``recipe_rules``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from kubewright.model.builder import Builder
from kubewright.model.digestsfile import Digests
from kubewright.model.lockfile import Lock
from kubewright.model.recipe import Recipe
from kubewright.model.schema import Field, cases_of, choice_of, fields_of, split
from kubewright.model.settings import SettingsFile
from kubewright.model.stack import Stack
from kubewright.model.tomlwrite import encode

Schema = dict[str, Any]

#: schemas/NAME.json -> what it describes
DOCUMENTS: Mapping[str, type] = {
    "recipe": Recipe,
    "builder": Builder,
    "stack": Stack,
    "settings": SettingsFile,
    "lockfile": Lock,
    "digests": Digests,
}


def write_schemas(directory: Path) -> list[Path]:
    """Write a schema per document into ``directory``; gives their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / f"{name}.json" for name in DOCUMENTS]
    for path in written:
        path.write_text(schema_text(path.stem), encoding="utf-8")
    return written


def schema_text(name: str) -> str:
    """The file's text: the same for the same definitions."""
    return as_text(schema_of(DOCUMENTS[name], name))


def as_text(schema: Mapping[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_of(cls: type, title: str) -> Schema:
    """The schema of one document; tables within it are under ``$defs``, by class name."""
    definitions: dict[str, Schema] = {}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_table(cls, definitions)}
    return {**schema, "$defs": dict(sorted(definitions.items()))} if definitions else schema


def _table(cls: type, definitions: dict[str, Schema]) -> Schema:
    fields = fields_of(cls)
    schema: Schema = {
        "description": _first_line(cls),
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _property(field, definitions) for key, field in fields.items()},
    }
    required = [key for key, field in fields.items() if field.required]
    choice = choice_of(cls)
    return {
        **schema,
        **({"required": required} if required else {}),
        **({"oneOf": [{"required": [key]} for key in choice]} if choice else {}),
        **_conditions(cls),
    }


def _conditions(cls: type) -> Schema:
    cases = cases_of(cls)
    if cases is None:
        return {}
    conditions = [
        {
            "if": {"properties": {cases.key: {"const": value}}, "required": [cases.key]},
            "then": {"required": list(case.required), "properties": dict.fromkeys(case.refused, False)},
        }
        for value, case in cases.cases.items()
    ]
    return {"allOf": conditions}


def _property(field: Field, definitions: dict[str, Schema]) -> Schema:
    schema = {"description": field.doc} if field.doc else {}
    schema |= _value(field.hint, field.metadata, definitions)
    default = encode(field.default) if not field.required else None
    return {**schema, "default": default} if default not in (None, "", [], {}) else schema


def _value(hint: Any, metadata: tuple[Any, ...], definitions: dict[str, Schema]) -> Schema:
    keywords: Schema = {}
    for item in metadata:
        if hasattr(item, "keywords"):
            # two patterns for one string: both hold
            clash = keywords.keys() & item.keywords().keys()
            keywords = {**keywords, "allOf": [item.keywords()]} if clash else {**keywords, **item.keywords()}
    return {**_type(hint, definitions), **keywords}


def _type(hint: Any, definitions: dict[str, Schema]) -> Schema:
    origin = get_origin(hint)
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if origin is tuple:
        return {"type": "array", "items": _annotated(get_args(hint)[0], definitions)}
    if origin in (Mapping, dict):
        key, value = get_args(hint)
        names = _annotated(key, definitions)
        names.pop("type")
        return {
            "type": "object",
            **({"propertyNames": names} if names else {}),
            "additionalProperties": _annotated(value, definitions),
        }
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # taken, should it hold itself
            definitions[hint.__name__] = _table(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return {"type": {str: "string", int: "integer", bool: "boolean"}[hint]}


def _annotated(annotated: Any, definitions: dict[str, Schema]) -> Schema:
    return _value(*split(annotated), definitions)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0]
