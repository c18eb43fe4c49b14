"""Texts of configuration files from typed data. JSON is YAML; containerd wants TOML, systemd its units."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Section = Sequence[tuple[str, str | Sequence[str]]]


def json_text(value: object) -> str:
    """Indented JSON with a final newline."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def documents(values: Iterable[Mapping[str, Any]]) -> str:
    """Several documents in one YAML stream, each as JSON."""
    return "---\n".join(json_text(value) for value in values)


def unit(sections: Mapping[str, Section]) -> str:
    """A systemd unit (systemd.syntax(7)); a key with several values is repeated."""
    lines = ["# written by kubewright; a change of it is drift (kubewright node status)"]
    for name, entries in sections.items():
        lines += ["", f"[{name}]"]
        for key, value in entries:
            for each in [value] if isinstance(value, str) else value:
                if "\n" in each:
                    raise ValueError(f"a unit's {key} of several lines: {each!r}")
                lines.append(f"{key}={each}")
    return "\n".join(lines) + "\n"


def toml(table: Mapping[str, Any]) -> str:
    """A TOML document of strings, integers, booleans, lists of strings and tables."""
    return "\n".join(_table((), table)).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = ["", f"[{'.'.join(_key(part) for part in path)}]"] if path and (plain or not inner) else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in inner.items():
        lines += _table((*path, key), value)
    return lines


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _json(key)


def _value(value: str | int | bool | Sequence[str]) -> str:
    if isinstance(value, (bool, str, int)):
        return _json(value)
    return "[" + ", ".join(_value(each) for each in value) + "]"


def _json(value: str | int | bool) -> str:
    """A JSON string is a TOML basic string (toml.io, "String"), but for one control character and pairs of surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def sysctl(settings: Iterable[tuple[str, str]]) -> str:
    """A file of /etc/sysctl.d."""
    return "".join(f"{key} = {value}\n" for key, value in settings)
