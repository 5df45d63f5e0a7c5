"""Records of made-up conversations."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from interpose.replay import Conversation, Event, Recording

HEADER = '{"interpose": "record", "version": 1}'
DIRECTIONS = {">": "to_upstream", "<": "to_client"}
Turn = tuple[str, bytes | None]
"""`">"` is the client, `"<"` the server; None is an end of stream."""


def talk(
    number: int, *turns: Turn, reason: str | None = "finished", began: int = 0, pause: float = 0.0
) -> Conversation:
    """A conversation whose events have lines of the record from `began` on, and `pause` seconds between them."""
    events: list[Event] = []
    for place, (way, data) in enumerate(turns, 1):
        assert way in DIRECTIONS
        at, line = pause * place, began + place
        if way == ">":
            events.append(Event(at, line, "to_upstream", data or b"", data is None))
        else:
            events.append(Event(at, line, "to_client", data or b"", data is None))
    closed = pause * (len(turns) + 1)
    return Conversation(
        number, "127.0.0.1:5", "127.0.0.1:6", began, 0.0, closed, reason, changed=False, events=tuple(events)
    )


def record_of(*conversations: Conversation) -> Recording:
    return Recording(conversations)


def opened(number: int = 1) -> str:
    return json.dumps({"connection": number, "event": "open", "client": "a"})


def written(path: Path, lines: Iterable[str], *, header: str = HEADER, end: str = "\n") -> Path:
    """A file with a header and these lines."""
    path.write_text("\n".join([header, *lines]) + end)
    return path
