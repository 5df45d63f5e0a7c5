"""A sequence diagram of a transcript, as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .._exceptions import printable
from ._events import Event

# Bytes of data that a row shows, the characters that they take at most, and reads in a row that are shown one by one.
_SHOWN = 40
_LONGEST = 60
_ONE_BY_ONE = 3
# Rows of a diagram: its beginning, and its end, where a test has failed.
_FIRST, _LAST = 20, 60
# What goes on as it came, and later than this, has two rows.
_AT_ONCE_SECONDS = 0.002
_WIDTH = 17

_RESETS = {
    "client_reset": "client",
    "client_lost": "client",
    "client_gone": "client",
    "upstream_reset": "upstream",
    "upstream_lost": "upstream",
}
_IN_ORDER = ("finished", "closed")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a time, a connection, an arrow on either side of the proxy, and a text.

    `client` and `upstream` are the arrows between that side and the proxy: `""` for none, `">"` to the upstream, `"<"`
    to the client. `label` stands on them. `mark` is what happens to the lifelines: `""`, `"o"` where one begins, `"x"`
    where all end, `"*"` where a fault
    strikes, `"!"` for a note.
    """

    at: float
    connection: int
    client: str
    upstream: str
    label: str
    text: str
    mark: str = ""
    reads: int = 1
    size: int = 0


def rows_of(events: Iterable[Event]) -> list[Row]:
    """Return the rows of events: a read that goes on as it came is one arrow, and many in a row are one row."""
    rows: list[Row] = []
    # The data that has come on each connection and is still to go on, with the row that it has.
    coming: dict[tuple[int, str], list[tuple[bytes, int]]] = {}
    for event in events:
        if event.kind != "data":
            rows.append(_row(event))
            continue
        waiting = coming.setdefault((event.connection, event.direction), [])
        if not event.sent_on:
            waiting.append((event.data, len(rows)))
            rows.append(_data(event, came=True))
        elif waiting and waiting[0][0] == event.data and event.at - rows[waiting[0][1]].at < _AT_ONCE_SECONDS:
            at = waiting.pop(0)[1]
            way = rows[at].client or rows[at].upstream
            rows[at] = replace(rows[at], client=way, upstream=way)
        else:
            waiting.clear()
            rows.append(_data(event, came=False))
    return _joined(rows)


def _data(event: Event, *, came: bool) -> Row:
    arrow = ">" if event.direction == "to_upstream" else "<"
    is_of_client = (event.direction == "to_upstream") == came
    label = _bytes_text(len(event.data))
    return Row(
        event.at,
        event.connection,
        arrow if is_of_client else "",
        "" if is_of_client else arrow,
        label,
        _content(event.data),
        size=len(event.data),
    )


def _row(event: Event) -> Row:
    at, number = event.at, event.connection
    if event.kind == "opened":
        return Row(at, number, ">", "", "connect", f"client {event.text}", "o")
    if event.kind == "connected":
        return Row(at, number, "", ">", "connect", f"upstream {event.text}", "o")
    if event.kind == "end":
        arrow = ">" if event.direction == "to_upstream" else "<"
        is_of_client = (event.direction == "to_upstream") != event.sent_on
        return Row(at, number, arrow if is_of_client else "", "" if is_of_client else arrow, "FIN", "")
    if event.kind == "closed":
        return _closed(event)
    if event.kind == "fault":
        return Row(at, number, "", "", "", printable(f"{event.text} strikes {event.direction}"), "*")
    text = f"{event.text} events found no room" if event.kind == "missed" else event.text
    return Row(at, number, "", "", "", printable(text), "!")


def _closed(event: Event) -> Row:
    text = f"{event.text}: {event.detail}" if event.detail else event.text
    if event.text == "fault" and event.detail:
        text = event.detail
    if event.text in _IN_ORDER or (event.text == "fault" and not re.search("Reset|how='reset'", text)):
        return Row(event.at, event.connection, "", "", "", printable(text), "x")
    by = _RESETS.get(event.text, "")
    client, upstream = (">", ">") if by == "client" else ("<", "<") if by == "upstream" else ("<", ">")
    return Row(event.at, event.connection, client, upstream, "RST", printable(text), "x")


def _joined(rows: Sequence[Row]) -> list[Row]:
    """Join many reads of one way in a row to one row, and an end that has come to the same that goes on."""
    joined: list[Row] = []
    run: list[Row] = []
    for row in rows:
        if run and not _is_like(run[-1], row):
            joined += _of_run(run)
            run = []
        if row.label == "FIN" and joined and not run and _is_half_of(joined[-1], row):
            joined[-1] = replace(
                joined[-1], client=joined[-1].client or row.client, upstream=joined[-1].upstream or row.upstream
            )
        elif row.size:
            run.append(row)
        else:
            joined.append(row)
    return joined + _of_run(run)


def _is_like(one: Row, other: Row) -> bool:
    return bool(other.size) and (one.connection, one.client, one.upstream) == (
        other.connection,
        other.client,
        other.upstream,
    )


def _is_half_of(one: Row, other: Row) -> bool:
    """Return whether one row is an end that has come, and the other the same that goes on."""
    arrows = {one.client, other.client} - {""} | {one.upstream, other.upstream} - {""}
    is_apart = bool(one.client) != bool(one.upstream) and bool(one.client) != bool(other.client)
    return one.label == "FIN" and one.connection == other.connection and is_apart and len(arrows) == 1


def _of_run(run: list[Row]) -> list[Row]:
    if len(run) <= _ONE_BY_ONE:
        return run
    size = sum(row.size for row in run)
    return [
        replace(
            run[0],
            label=_bytes_text(size),
            text=f"{run[0].text.removesuffix('...')}... ({len(run)} reads)",
            reads=len(run),
            size=size,
        )
    ]


def _bytes_text(size: int) -> str:
    return f"{size:,} B"


def _content(data: bytes) -> str:
    """Return the first bytes as they would be written in Python."""
    shown = data[:_SHOWN]
    while len(text := repr(shown)[1:]) > _LONGEST:
        shown = shown[:-1]
    return f"{text}..." if len(data) > len(shown) else text


def shown_rows(rows: Sequence[Row]) -> tuple[Sequence[Row], int, Sequence[Row]]:
    """Return the rows at the beginning, how many are left out, and those at the end."""
    if len(rows) <= _FIRST + _LAST:
        return rows, 0, ()
    return rows[:_FIRST], len(rows) - _FIRST - _LAST, rows[-_LAST:]


def diagram(rows: Sequence[Row], missed: int) -> str:
    """Return the diagram of rows: a line for each, with the lifelines of client, proxy and upstream."""
    if not rows:
        return "nothing has passed"
    began = rows[0].at
    first, left_out, last = shown_rows(rows)
    lines = [f"{'ms':>10}    #  {'client':<{_WIDTH}}{'proxy':^5}{'upstream':>{_WIDTH}}"]
    if missed:
        lines.append(f"{'':10}       ({missed:,} events before are not kept)")
    lines += [_line(row, began) for row in first]
    if left_out:
        lines += [f"{'':10}       ({left_out:,} rows are left out)", *(_line(row, began) for row in last)]
    return "\n".join(lines)


def _line(row: Row, began: float) -> str:
    when = f"{(row.at - began) * 1000:10.3f}"
    if row.mark == "!":
        return f"{when}  {row.connection or '':>3}  {'--':<4}{row.text}"
    passes = row.client == row.upstream != "" and row.label != "RST"
    left = _arrow(row.client, row.label, has_head=not (passes and row.client == ">"))
    right = _arrow(row.upstream, "" if passes else row.label, has_head=not (passes and row.upstream == "<"))
    client, proxy, upstream = _lifelines(row, passes=passes)
    return f"{when}  {row.connection:>3}  {client}{left}{proxy}{right}{upstream}  {row.text}".rstrip()


def _lifelines(row: Row, *, passes: bool) -> tuple[str, str, str]:
    if row.mark == "x":
        return "x", "x", "x"
    if row.mark == "*":
        return "|", "*", "|"
    if row.mark == "o":
        return ("o", "|", " ") if row.client else ("|", "|", "o")
    return "|", "+" if passes else "|", "|"


def _arrow(way: str, label: str, *, has_head: bool) -> str:
    """Return an arrow of a lifeline's distance, with its label in the middle."""
    if not way:
        return " " * _WIDTH
    body = (f" {label} " if label else "").center(_WIDTH - 1, "-")
    if not has_head:
        return f"{body}-"
    return f"{body}>" if way == ">" else f"<{body}"
