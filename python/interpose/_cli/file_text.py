"""The text of a settings file, and errors that show their place in it."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from .._exceptions import ConfigError, printable
from .key_places import Keys, places_of

# Far beyond what anybody writes; a device must not be read for ever.
_MOST_BYTES = 1024 * 1024
_WIDEST = 100

# tomllib's words for a slip, and the way it is done.
_SLIPS = (
    ("Invalid value", 'a text stands in quotes, as in listen = "9090"'),
    ("Expected '=' after a key", "write key = value"),
    ("Cannot overwrite a value", "the key is given twice; give it once"),
    ("Cannot declare", "the table is given twice; write [[listener]] for each listener, and other tables once"),
    ("Cannot mutate immutable namespace", "the table is given twice; give it once"),
    ("Expected ']'", "close the bracket"),
    ("Unclosed array", "close the bracket"),
    ("Unclosed inline table", "close the brace"),
    ("Illegal character '\\n'", "close the quote"),
    ("Unterminated string", "close the quote"),
    ("Expected newline or end of document", "one line has one key; write what follows in a line of its own"),
    ("Unescaped '\\' in a string", "write the path in single quotes, or each backslash twice"),
)


class FileError(ConfigError):
    """An error with its place. `excerpt` are two more lines: the line of the file, and a caret below it."""

    def __init__(self, text: str, excerpt: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.excerpt = excerpt


class FileText:
    """A settings file that was read: `data` is what tomllib makes of it. Raises FileError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = _read(name)
        try:
            self.data: dict[str, Any] = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            self._refuse_syntax(str(error))
        except RecursionError:
            raise FileError(f"{printable(name)}: its values are nested too deep; no setting needs that") from None
        self._places = places_of(self.text)

    def refuse(self, path: Keys, why: str, *, of_value: bool = False) -> NoReturn:
        """Raise a FileError that points to the key at `path`, or to its value."""
        begin, end = self._span(path, of_value=of_value)
        self._refuse_at(begin, end, why)

    def has(self, path: Keys) -> bool:
        """Return whether the file has a key at `path`."""
        return path in self._places

    def place(self, path: Keys) -> str:
        """Return the file's name, and the line of the key at `path`."""
        return f"{self.name}:{self._line_of(self._span(path)[0])}"

    def _span(self, path: Keys, *, of_value: bool = False) -> tuple[int, int]:
        while path and path not in self._places:
            path = path[:-1]
        if path not in self._places:
            return 0, 0
        spot = self._places[path]
        return spot.value if of_value else spot.key

    def _line_of(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def _refuse_at(self, begin: int, end: int, why: str) -> NoReturn:
        number = self._line_of(begin)
        raise FileError(printable(f"{self.name}:{number}: {why}"), self._excerpt(begin, end))

    def _refuse_syntax(self, words: str) -> NoReturn:
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", words)
        what = (found[1] if found else words.removesuffix(" (at end of document)")).rstrip(".")
        # The names of a key are a tuple there.
        what = re.sub(r"\('[^()]*\)", lambda names: ".".join(re.findall(r"'([^']*)'", names[0])), what)
        advice = next((advice for begin, advice in _SLIPS if what.startswith(begin)), "mend it as TOML has it")
        begin = len(self.text.rstrip())
        if found:
            lines = self.text.replace("\r\n", "\n").split("\n")
            # One file may have both ends of lines: the offset is that of the text as it stands.
            begin = len(self.text) - len(self.text.split("\n", int(found[2]) - 1)[-1]) + int(found[3]) - 1
            if int(found[3]) > len(lines[int(found[2]) - 1]):
                begin = max(begin - 1, 0)
        self._refuse_at(begin, begin + 1, f"{what[:1].lower()}{what[1:]}; {advice}")

    def _excerpt(self, begin: int, end: int) -> tuple[str, ...]:
        if not self.text.strip():
            return ()
        first = self.text.rfind("\n", 0, begin) + 1
        last = self.text.find("\n", begin)
        line = self.text[first : len(self.text) if last < 0 else last].rstrip("\r")
        before, below = line[: begin - first], line[begin - first : max(end - first, begin - first + 1)]
        cut = max(0, len(before) - _WIDEST // 2)
        before, line = before[cut:], line[cut : cut + _WIDEST]
        below = below[: max(1, _WIDEST - len(before))]
        # What is left out in front is marked, without moving the rest.
        mark = "..." if cut else ""
        line, before = mark + line[len(mark) :], mark + before[len(mark) :]
        shown = [printable(part.replace("\t", " ")) for part in (line, before, below)]
        return f"    {shown[0]}", f"    {' ' * len(shown[1])}{'^' * max(1, len(shown[2]))}"


def _read(name: str) -> str:
    shown = printable(name)
    try:
        with Path(name).open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise FileError(f"{shown}: there is no such file; {_nearest(name)}") from None
    except IsADirectoryError:
        raise FileError(f"{shown}: it is a folder; give the name of a file in it") from None
    except OSError as error:
        raise FileError(f"{shown}: it cannot be read ({error.strerror}); give a file that this user may read") from None
    if len(raw) > _MOST_BYTES:
        raise FileError(f"{shown}: it is longer than 1 MiB, and no settings file is; give another file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise FileError(f"{shown}:{number}: it is not UTF-8, which TOML has to be; save it as UTF-8") from None


def _nearest(name: str) -> str:
    """Say which file may be meant."""
    folder, base = os.path.split(name)
    try:
        near = difflib.get_close_matches(base, os.listdir(folder or "."), 1, 0.7)
    except OSError:
        return f"the folder {printable(folder)} cannot be read" if folder else "give the name of a file"
    if near:
        return f"did you mean {printable(str(Path(folder, near[0])))}?"
    return "give the name of a file of settings in TOML"
