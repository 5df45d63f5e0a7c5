"""The table of promises in docs/explanation/reliability.md."""

from __future__ import annotations

from .catalogue import FAMILIES, TESTS, Documented, Promise

PAGE = TESTS.parent / "docs" / "explanation" / "reliability.md"
BEGIN, END = "<!-- promises: begin -->\n", "<!-- promises: end -->\n"


def _link(it: Documented) -> str:
    """Return a link to the file of a test, with the test's name; a file that keeps a promise as a whole has its own."""
    return f"[{it.name.removeprefix('test_') or it.path}](../../tests/{it.path})"


def rows(promises: list[Promise]) -> str:
    """Return the table's lines, with one for each family in between."""
    lines = ["| id | promise | tests |", "|---|---|---|"]
    family = ""
    for promise in promises:
        if promise.id[:2] != family:
            family = promise.id[:2]
            lines.append(f"| **{family}** | **{FAMILIES[family]}** | |")
        lines.append(f"| {promise.id} | {' '.join(promise.texts)} | {', '.join(map(_link, promise.shown()))} |")
    return "\n".join(lines) + "\n"


def on_page() -> str:
    """Return the table as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def write(table: str) -> None:
    """Put the table into the page."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{table}{END}{rest.split(END)[1]}", encoding="utf-8")
