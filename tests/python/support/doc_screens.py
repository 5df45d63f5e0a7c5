"""Pictures of terminals, from the runs of the pages that show them.

An image of `screens/` on a page depicts the block of `console` before it: the command, and what it said in its run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from pathlib import Path

from .doc_blocks import VARIES, Block, blocks_of, typed

IMAGE = re.compile(r"^!\[[^\]]*\]\(([^)]*\bscreens/[\w-]+\.svg)\)$", re.MULTILINE)
SGR = re.compile(r"\x1b\[([\d;]*)m|\x1b\[[0-9;?]*[A-Za-ln-z]")
# A cell of the terminal, and what is around all of them.
WIDTH, HEIGHT, MARGIN, BAR = 8.4, 18, 16, 30
PAPER, INK = "#16181d", "#d7dae0"
COLOURS = ["#5c6370", "#f2777a", "#8fd694", "#f0c674", "#7aa2f7", "#d09ce0", "#66c6cc", "#d7dae0"]
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Style:
    """How a character looks."""

    colour: str = INK
    bold: bool = False
    faint: bool = False


def screens_of(page: Path) -> list[tuple[Block, Path]]:
    """Return the blocks that the page has pictures of, with the pictures' files."""
    text = page.read_text(encoding="utf-8")
    found: list[tuple[Block, Path]] = []
    for image in IMAGE.finditer(text):
        line = text.count("\n", 0, image.start())
        before = [block for block in blocks_of(page) if block.language == "console" and block.line < line]
        found.append((before[-1], (page.parent / image[1]).resolve()))
    return found


def pictures(page: Path, said: Mapping[str, str]) -> dict[Path, str]:
    """Return the pictures of a page that was run, by their files. `said` is what each of its commands said."""
    return {path: picture(typed(block)[0].command, said[typed(block)[0].command]) for block, path in screens_of(page)}


def picture(command: str, said: str) -> str:
    """Return a terminal with a command and what it said. Times and ports are as in every other run."""
    lines = list(_lines(f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m\n{_always(said)}"))
    width = MARGIN * 2 + WIDTH * max(60, *(len(line) for line in lines))
    height = BAR + MARGIN + HEIGHT * len(lines)
    rows = "".join(_row(line, BAR + HEIGHT * (number + 0.75)) for number, line in enumerate(lines))
    dots = "".join(f'<circle cx="{MARGIN + 16 * number}" cy="15" r="4.5" fill="#3b3f48"/>' for number in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'font-family="{FONT}" font-size="14">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>{dots}\n{rows}</svg>\n'
    )


def _always(said: str) -> str:
    """Return the text with the times, dates, ports and processes of one run, whichever it was."""

    def same(found: re.Match[str]) -> str:
        text = found[0]
        if text.isdigit():
            return "50314"
        return "2026-11-27" if "-" in text else "12:00:00" + re.sub(r"\d", "0", text[8:] if len(text) > 8 else "")

    return VARIES.sub(same, re.sub(r"\(pid \d+\)", "(pid 4711)", said.replace("\r\n", "\n")))


def _lines(text: str) -> Iterator[list[tuple[str, Style]]]:
    """Return each line as its characters with their styles."""
    style = Style()
    for line in text.rstrip("\n").split("\n"):
        cells: list[tuple[str, Style]] = []
        end = 0
        for escaped in SGR.finditer(line):
            cells += [(character, style) for character in line[end : escaped.start()]]
            end = escaped.end()
            style = _styled(style, escaped[1]) if escaped[1] is not None else style
        yield cells + [(character, style) for character in line[end:]]


def _styled(style: Style, codes: str) -> Style:
    for code in map(int, (codes or "0").split(";")):
        if code == 0:
            style = Style()
        elif code in (1, 2):
            style = replace(style, bold=code == 1, faint=code == 2)
        elif code == 22:
            style = replace(style, bold=False, faint=False)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, colour=COLOURS[code % 10])
        elif code == 39:
            style = replace(style, colour=INK)
    return style


def _row(cells: list[tuple[str, Style]], y: float) -> str:
    pieces: list[str] = []
    column = 0
    for style, group in groupby(cells, key=lambda cell: cell[1]):
        text = "".join(character for character, _ in group)
        if text.strip():
            look = f' fill="{style.colour}"' + ' font-weight="bold"' * style.bold + ' opacity="0.6"' * style.faint
            pieces.append(
                f'<text xml:space="preserve" x="{MARGIN + column * WIDTH:g}" y="{y:g}" '
                f'textLength="{len(text) * WIDTH:g}"{look}>{escape(text)}</text>\n'
            )
        column += len(text)
    return "".join(pieces)
