"""The line of a key path in a TOML text. tomli gives none, and only failures ask, so this runs late and only on valid TOML."""

from __future__ import annotations

import re

from kubewright.model.schema import KeyPath

_SPACE = re.compile(r"[ \t\r\n]*(?:#[^\n]*\n?[ \t\r\n]*)*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"{3,5}' r"|'''[\s\S]*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")


def line_of(text: str, path: KeyPath) -> int:
    """The line (from 1) where ``path`` is set, else where its nearest parent is; 1 when nothing of it is found."""
    lines = _Scanner(text).scan()
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


class _Scanner:
    """Walks a text that tomli accepted and notes the line of every key and array item, first mention wins."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}  # array of tables -> its last index
        self.counted = (0, 1)

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._space()
        while self.at < len(self.text):
            start = self.at
            if self.text.startswith("[[", start):
                table = self._header(2)
            elif self.text.startswith("[", start):
                table = self._header(1)
            else:
                self._pair(table)
            self._space()
            if self.at == start:  # cannot be, as the text is valid; never loop for ever over an error message
                break
        return self.lines

    def _header(self, brackets: int) -> KeyPath:
        line = self._line()
        self.at += brackets
        path = self._resolve(self._keys())
        self._skip(r"[ \t]*\]\]?" if brackets == 2 else r"[ \t]*\]")
        if brackets == 2:
            self.lines.setdefault(path, line)
            self.tables[path] = self.tables.get(path, -1) + 1
            path = (*path, self.tables[path])
        self.lines.setdefault(path, line)
        return path

    def _resolve(self, keys: list[str]) -> KeyPath:
        """Dotted keys of a header go through the last table of each array on the way."""
        path: KeyPath = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            if position < len(keys) - 1 and path in self.tables:
                path = (*path, self.tables[path])
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._skip(r"[ \t]*=[ \t]*")
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(r"[ \t]*")
            token = _STRING.match(self.text, self.at) or _BARE.match(self.text, self.at)
            if token is None:
                return keys
            self.at = token.end()
            keys.append(_unquoted(token.group()))
            self._skip(r"[ \t]*")
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._items("]", path)
        elif opening == "{":
            self._items("}", path)
        else:
            token = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
            self.at = token.end() if token else self.at

    def _items(self, closing: str, path: KeyPath) -> None:
        """The items of an array or the pairs of an inline table."""
        self.at += 1
        index = 0
        while True:
            self._space()
            start = self.at
            if start >= len(self.text) or self.text[start] == closing:
                self.at += 1
                return
            if closing == "}":
                self._pair(path)
            else:
                self.lines.setdefault((*path, index), self._line())
                self._value((*path, index))
            index += 1
            self._space()
            if self.text.startswith(",", self.at):
                self.at += 1
            if self.at == start:
                return

    def _space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _skip(self, regex: str) -> None:
        found = re.compile(regex).match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _line(self) -> int:
        at, line = self.counted
        line += self.text.count("\n", at, self.at)
        self.counted = (self.at, line)
        return line


def _unquoted(token: str) -> str:
    if token[0] == "'":
        return token[1:-1]
    if token[0] == '"':
        import tomli

        return str(tomli.loads(f"key = {token}")["key"])
    return token
