"""JSON of OCI documents, strictly and within bounds: they hold objects, lists, strings, small integers and truth values.

``verify.strictjson`` is for signed statements and stands above this package; here is less to allow, so this is shorter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from kubewright.oci.errors import DocumentError

#: bytes of one document; the largest that registries are asked to take is 4 MiB
DOCUMENT_SIZE: Final = 4 << 20
#: index.json of a bundle lists everything in it
INDEX_SIZE: Final = 16 << 20

_DEPTH: Final = 12
_VALUES: Final = 400_000
#: up to the end of the text where the closing quote is missing: or else each escaped quote would begin a search of its own
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS: Final = re.compile(r"[^\[\]{}]+")
_EMPTY: Final = re.compile(r"\[\]|\{\}")
_LONG_NUMBER: Final = re.compile(r"[0-9]{17,}")
_REMEDY: Final = "take the layout from where it was made; kubewright never writes such a document"


def refused(name: str, reason: str, kind: type[DocumentError] = DocumentError) -> DocumentError:
    """The error for a document called ``name``."""
    return kind(f"{name}: {reason}", remedy=_REMEDY)


def loads(data: bytes, name: str, limit: int = DOCUMENT_SIZE) -> Any:
    """The value of a document; raises DocumentError, which calls it ``name``."""
    if len(data) > limit:
        raise refused(name, f"{len(data)} bytes, more than {limit}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(name, f"byte {error.start} is not UTF-8") from None
    _measure(text, name)

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise refused(name, "a key is there twice in one object")
        return found

    def no_number(written: str) -> NoReturn:
        raise refused(name, f"{written[:24]} is a number that no OCI document has")

    try:
        value = json.loads(text, object_pairs_hook=object_of, parse_constant=no_number, parse_float=no_number)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair has no UTF-8
    except UnicodeEncodeError:
        raise refused(name, "a string has half of a surrogate pair") from None
    except (ValueError, RecursionError) as error:
        raise refused(name, f"not JSON: {error}") from None
    return value


def _measure(text: str, name: str) -> None:
    """Bounds that hold before a parser makes objects of the text."""
    if text.count(",") + text.count("[") + text.count("{") > _VALUES:
        raise refused(name, f"more than {_VALUES} values")
    bare = _STRING.sub("", text)
    if _LONG_NUMBER.search(bare):
        raise refused(name, "a number of more than 16 digits")
    brackets = _NO_BRACKETS.sub("", bare)
    for _ in range(_DEPTH):
        brackets = _EMPTY.sub("", brackets)
    if brackets:
        raise refused(name, f"not JSON, or nested deeper than {_DEPTH} levels")


# -- taking it apart ----------------------------------------------------------------------------------------------


class Table:
    """A JSON object that is taken apart key by key; what nobody asked for at the end is refused."""

    def __init__(self, value: object, name: str, where: str) -> None:
        if not isinstance(value, dict):
            raise refused(name, f"{where or 'the document'} is not an object")
        self.name, self.where, self._left = name, where, dict(value)

    def path(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def refuse(self, key: str, reason: str, kind: type[DocumentError] = DocumentError) -> DocumentError:
        return refused(self.name, f"{self.path(key)} {reason}", kind)

    def has(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str) -> object:
        if key not in self._left:
            raise self.refuse(key, "is missing")
        return self._left.pop(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A string; ``default`` when the key is not there, which is an error without one."""
        if default is not None and key not in self._left:
            return default
        value = self.take(key)
        if not isinstance(value, str):
            raise self.refuse(key, "is not a string")
        return value

    def number(self, key: str) -> int:
        value = self.take(key)
        if type(value) is not int or value < 0:
            raise self.refuse(key, "is not a whole number of 0 or more")
        return value

    def texts(self, key: str) -> Mapping[str, str]:
        """An object of strings; empty when the key is not there."""
        value = self._left.pop(key, {})
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise self.refuse(key, "is not an object of strings")
        return value

    def items(self, key: str) -> list[object]:
        value = self.take(key)
        if not isinstance(value, list):
            raise self.refuse(key, "is not a list")
        return value

    def end(self) -> None:
        """Refuse every key that has not been taken."""
        if self._left:
            raise refused(self.name, f"{self.path(min(self._left))[:200]} is a key that has no meaning here")
