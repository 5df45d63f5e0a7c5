"""The tables of docs/reference that come from the table of settings.

`PYTHONPATH=tests/python python -m support.reference_tables` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from interpose._cli.commands import COMMANDS, Command
from interpose._settings_and_help import GROUPS, Setting, rows_of

REFERENCE = Path(__file__).resolve().parents[3] / "docs/reference"
# A table stands between a line of this form and the next empty line.
MARK = re.compile(r"(?<=\n)<!-- settings: (\w+) -->\n(?:.+\n)*")


def pages() -> dict[Path, str]:
    """Return the pages of the reference that have a place for tables, with their text."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("*.md"))}
    return {path: text for path, text in texts.items() if MARK.search(text)}


def written(page: str) -> str:
    """Return the text of the page with its tables as the settings are now."""
    return MARK.sub(lambda found: f"<!-- settings: {found[1]} -->\n{_table(found[1])}", page)


def marked(page: str) -> list[str]:
    """Return the tables that the page has a place for."""
    return MARK.findall(page)


def _table(name: str) -> str:
    if name == "options":
        lines = ["| option | variable | default | meaning |", "|---|---|---|---|", *map(_option, _with_option())]
        lines += ["| `--version` | | | show the version |", "| `-h`, `--help` | | | show the options |"]
    elif name == "commands":
        lines = [
            "| command | option | meaning |",
            "|---|---|---|",
            *(line for row in COMMANDS for line in _command(row)),
        ]
    elif name == "keys":
        lines = ["| key | option | default |", "|---|---|---|", *map(_key, (row for row in rows_of() if row.in_file))]
    else:
        group = next(group for group in GROUPS if group.name == name)
        lines = ["| field | default | meaning |", "|---|---|---|"]
        lines += [f"| `{row.name}` | `{_literal(row.default)}` | {row.meaning} |" for row in group.rows]
    return "".join(f"{line}\n" for line in lines)


def _with_option() -> Iterable[Setting]:
    return (row for row in rows_of() if row.flag)


def _option(row: Setting) -> str:
    # A bar would end the cell.
    option = f"`{row.flag} {row.kind.metavar.replace('|', ' or ')}".rstrip() + "`"
    if row.short:
        option = f"`{row.short}`, {option}"
    return f"| {option} | `{row.variable}` | {row.shown_default} | {row.help} |"


def _command(row: Command) -> Iterable[str]:
    yield f"| `{_cell(row.written)}` | | {_cell(row.line)} |"
    for option in row.options:
        usage = f"{option.flag} {option.metavar}".rstrip()
        yield f"| | {f'`{option.short}`, ' if option.short else ''}`{_cell(usage)}` | {_cell(option.help)} |"


def _cell(text: str) -> str:
    # A bar would end the cell.
    return text.replace(" | ", " or ").replace("|", " or ")


def _key(row: Setting) -> str:
    option = f"`{row.flag}`" if row.flag else ""
    return f"| `{row.key}` | {option} | {row.shown_default} |"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(written(text), encoding="utf-8")
