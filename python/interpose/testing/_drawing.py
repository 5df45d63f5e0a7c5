"""A sequence diagram as a picture (SVG)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ._diagram import Row, shown_rows

_CLIENT, _PROXY, _UPSTREAM = 150, 330, 510
_WIDTH, _TOP, _STEP = 1000, 50, 22
_ENDS = {"client": (_CLIENT, _PROXY), "upstream": (_PROXY, _UPSTREAM)}
_INK = {"RST": "#b00020", "FIN": "#8a6d00"}


def drawing(rows: Sequence[Row], missed: int) -> str:
    """Return the picture of rows."""
    first, left_out, last = shown_rows(rows)
    began = rows[0].at if rows else 0.0
    parts: list[str] = []
    y = _TOP
    for text in [f"{missed:,} events before are not kept"] if missed else []:
        parts.append(_text(_UPSTREAM + 20, y, text))
        y += _STEP
    for row in first:
        parts += _drawn(row, y, began)
        y += _STEP
    if left_out:
        parts.append(_text(_UPSTREAM + 20, y, f"{left_out:,} rows are left out"))
        y += _STEP
    for row in last:
        parts += _drawn(row, y, began)
        y += _STEP
    lines = [
        f'<line x1="{x}" y1="{_TOP - 20}" x2="{x}" y2="{y}" stroke="#999"/>{_text(x, _TOP - 28, name, "middle")}'
        for x, name in ((_CLIENT, "client"), (_PROXY, "proxy"), (_UPSTREAM, "upstream"))
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 10}" '
        'font-family="monospace" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *lines, *parts, "</svg>\n"])


def _drawn(row: Row, y: int, began: float) -> list[str]:
    ink = _INK.get(row.label, "#b00020" if row.mark in ("!", "*") else "#1a4f8b")
    number = f"#{row.connection}" if row.connection else ""
    found = [_text(90, y, f"{(row.at - began) * 1000:.3f} ms", "end"), _text(100, y, number)]
    one_way = bool(row.client) and row.client == row.upstream and row.label != "RST"
    for side, way in (("client", row.client), ("upstream", row.upstream)):
        left, right = _ENDS[side]
        if way:
            found.append(_arrow(left, right, y, way, ink))
        if way and not (one_way and side == "upstream"):
            found.append(_text((left + right) // 2, y - 8, row.label, "middle", ink))
    if row.mark == "*":
        found.append(_text(_PROXY, y, "*", "middle", ink))
    if row.mark == "x":
        found += [_text(x, y, "x", "middle", ink) for x in (_CLIENT, _PROXY, _UPSTREAM)]
    found.append(_text(_UPSTREAM + 20, y, row.text, ink=ink if row.mark in ("!", "*") else "#222"))
    return found


def _arrow(left: int, right: int, y: int, way: str, ink: str) -> str:
    start, end, back = (left, right, -7) if way == ">" else (right, left, 7)
    return (
        f'<line x1="{start}" y1="{y - 4}" x2="{end}" y2="{y - 4}" stroke="{ink}"/>'
        f'<path d="M{end},{y - 4} l{back},-4 v8 z" fill="{ink}"/>'
    )


def _text(x: int, y: int, text: str, anchor: str = "start", ink: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{ink}">{escape(text)}</text>' if text else ""
