"""The table, for the terminal and for docs/explanation/reliability.md."""

from __future__ import annotations

from pathlib import Path

from .scenes import Outcome

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->\n", "<!-- faults: end -->\n"


def table(outcomes: list[Outcome]) -> str:
    """Return a line for each outcome."""
    lines: list[str] = []
    for it in outcomes:
        what = f"{it.kind} ({it.reason})" if it.reason else it.kind
        wrong = f"   WRONG: {'; '.join(it.problems)}" if it.problems else ""
        lines.append(
            f"{it.row.label:32} {it.error:16} {what:34} {it.calls:5} calls {it.cpu:4.0%} CPU {it.lines:2} lines{wrong}"
        )
    return "\n".join(lines)


def _rows(outcomes: list[Outcome]) -> str:
    """Return the page's table: errors of a call that come to the same are one line."""
    lines = ["| call | error | what becomes of it |", "|---|---|---|"]
    groups: dict[tuple[str, str], list[str]] = {}
    for it in outcomes:
        what = f"{it.kind} (`{it.reason}`)" if it.reason else it.kind
        groups.setdefault((it.row.label, f"WRONG: {what}" if it.problems else what), []).append(it.error)
    lines += [f"| {label} | {' '.join(errors)} | {what} |" for (label, what), errors in groups.items()]
    return "\n".join(lines) + "\n"


def write(outcomes: list[Outcome]) -> None:
    """Put the table into the page."""
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}{_rows(outcomes)}{END}{tail}")
