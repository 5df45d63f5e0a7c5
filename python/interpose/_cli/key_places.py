"""Where the keys and values of a TOML text stand, which tomllib does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

# Keys from the outside in; an array of tables has the number of its table behind its name.
Keys: TypeAlias = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
# Longer quotes first. A basic text has escapes, a literal one has none.
_TEXTS = [
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL),
    re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
]
_PLAIN = re.compile(r"[^,\]}#\r\n]+")


class Spot(NamedTuple):
    """Offsets in the text: a key's begin and end, and its value's."""

    key: tuple[int, int]
    value: tuple[int, int]


def places_of(text: str) -> Mapping[Keys, Spot]:
    """Return the places in `text`, which tomllib has accepted."""
    return _Scan(text).run()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Keys, Spot] = {}
        # How many tables each array of tables has, so far.
        self.counts: dict[Keys, int] = {}

    def run(self) -> Mapping[Keys, Spot]:
        table: Keys = ()
        while True:
            self._skip(_BLANK)
            if self.at >= len(self.text):
                return self.found
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Keys:
        """Read `[a.b]` or `[[a.b]]`, and return the path of the table."""
        begin = self.at
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        keys = self._key()
        self._skip(_SPACE)
        self.at += 2 if is_array else 1
        path = (*self._inside(tuple(key for key, _ in keys[:-1])), keys[-1][0])
        if is_array:
            number = self.counts[path] = self.counts.get(path, -1) + 1
            self.found.setdefault(path, Spot(keys[-1][1], (begin, self.at)))
            path = (*path, number)
        elif path in self.counts:
            path = (*path, self.counts[path])
        self.found[path] = Spot(keys[-1][1], (begin, self.at))
        return path

    def _inside(self, keys: Keys) -> Keys:
        """Return the path of the table that `keys` lead to: in an array, that of its last one."""
        path: Keys = ()
        for key in keys:
            path = (*path, key)
            if path in self.counts:
                path = (*path, self.counts[path])
        return path

    def _pair(self, table: Keys) -> None:
        """Read `key = value`, and enter it and the keys within the value."""
        keys = self._key()
        self._skip(_SPACE)
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        begin = self.at
        path = table
        for key, span in keys:
            path = (*path, key)
            self.found.setdefault(path, Spot(span, span))
        self._value(path)
        self.found[path] = Spot((keys[0][1][0], keys[-1][1][1]), (begin, self.at))

    def _key(self) -> list[tuple[str, tuple[int, int]]]:
        """Read a key with its dots; return the parts, each with its begin and end."""
        parts: list[tuple[str, tuple[int, int]]] = []
        while True:
            self._skip(_SPACE)
            begin = self.at
            if self.text[begin] in "\"'":
                self._text()
                part = self.text[begin + 1 : self.at - 1]
            else:
                self._skip(_BARE)
                part = self.text[begin : self.at]
            parts.append((part, (begin, self.at)))
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                # Without the blanks behind it.
                self.at = parts[-1][1][1]
                return parts
            self.at += 1

    def _value(self, path: Keys) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._text()
        elif first == "[":
            self._items(path, "]")
        elif first == "{":
            self._items(path, "}")
        else:
            self._skip(_PLAIN)
            self.at -= len(self.text[: self.at]) - len(self.text[: self.at].rstrip(" \t"))

    def _items(self, path: Keys, end: str) -> None:
        """Read the values of an array, or the pairs of an inline table."""
        self.at += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self.text[self.at] == end:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif end == "}":
                self._pair(path)
            else:
                begin = self.at
                self._value((*path, number))
                self.found[*path, number] = Spot((begin, self.at), (begin, self.at))
                number += 1

    def _text(self) -> None:
        for pattern in _TEXTS:
            if found := pattern.match(self.text, self.at):
                self.at = found.end()
                return
        raise ValueError(f"no text at offset {self.at}")

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
