"""The fenced blocks of a page, and what its readers type and see.

* `console`: a terminal. Lines behind `$ ` are typed, those below are what is shown then. Without any `$ ` every line is
  a command to try, each by itself.
* Any language with `title="NAME"`: a file that the reader saves.
* `python` without a title: a script that the reader runs as it stands.
* `text`, `diff`, `toml`, `ini` and `dockerfile` without a title are to be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w+)?([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run: times, dates, and ports that the system has chosen.
VARIES = re.compile(r"(\.\.\.|\d+:\d\d:\d\d(?:[.,]\d+)?|\d{4}-\d\d-\d\d|(?<![\d.])\d{5}(?!\d))")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its fence."""

    page: Path
    line: int
    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Typed:
    """A command, and the lines that the page shows below it."""

    command: str
    shown: tuple[str, ...]


def blocks_of(page: Path) -> list[Block]:
    """Return the page's blocks in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1] or "", _title(found[2]), found[3])
        for found in FENCE.finditer(text)
    ]


def _title(words: str) -> str:
    found = re.search(r'title="([^"]+)"', words)
    return found[1] if found else ""


def is_session(block: Block) -> bool:
    """Whether the block shows a terminal, rather than commands to try."""
    return re.search(r"^\$ ", block.text, re.MULTILINE) is not None


def typed(block: Block) -> list[Typed]:
    """Return what is typed in a block of `console`."""
    lines = block.text.replace("\\\n", "").splitlines()
    if not is_session(block):
        return [Typed(line, ()) for line in lines if line]
    found: list[Typed] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Typed(line.removeprefix("$ "), ()))
        else:
            assert found, f"{block.page}:{block.line}: a block begins with a command"
            found[-1] = Typed(found[-1].command, (*found[-1].shown, line))
    return found


def is_shown(shown: tuple[str, ...], said: str, *, whole: bool) -> bool:
    """Whether a terminal has said what the page shows: all of it, or as its beginning.

    `...` stands for any text, and as a line of its own for any lines. Times, dates and ports of five digits stand for
    any other.
    """
    lines = "".join(rf"{_pattern(line)}[ ]*\n" if line.strip() != "..." else r"(?:.*\n)*?" for line in shown)
    text = ESCAPES.sub("", said.replace("\r\n", "\n"))
    text = text if not text or text.endswith("\n") else text + "\n"
    return (re.fullmatch if whole else re.match)(lines, text) is not None


def _pattern(line: str) -> str:
    def piece(text: str) -> str:
        if text == "...":
            return ".*?"
        if VARIES.fullmatch(text):
            return r"\d+" if text.isdigit() else re.sub(r"\d+", r"\\d+", re.escape(text).replace(r"\-", "-"))
        return re.escape(text)

    return "".join(map(piece, VARIES.split(line.rstrip())))
