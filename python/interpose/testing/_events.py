"""The events of a transcript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from .._native import Transcript as NativeTranscript

Kind: TypeAlias = Literal["opened", "connected", "data", "end", "closed", "missed", "fault", "note"]
"""The kinds of events."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    * `at`: the time, in seconds since 1970. `connection`: the number of the connection, 0 for none.
    * `kind`: `"opened"` (a client was accepted), `"connected"` (the upstream is there), `"data"`, `"end"` (a side has
      ended in order what it sends), `"closed"`, `"missed"` (events found no room), `"fault"` (one has struck), `"note"`
      (something was done to the proxy).
    * `direction`: `"to_upstream"` or `"to_client"`, for data, ends and faults; else empty.
    * `sent_on`: False for what a side has sent, True for the bytes that callbacks and filters have made of it.
    * `offset`, `data`: the place in the stream, and the bytes: of one read, or of one message where there is a framing.
    * `text`: an address, a close reason, a fault, a note. `detail`: one line more, if there is any.

    >>> from interpose.testing import Event
    >>> Event(0.0, 1, "data", "to_upstream", data=b"PING").data
    b'PING'
    """

    at: float
    connection: int
    kind: Kind
    direction: str = ""
    sent_on: bool = False
    offset: int = 0
    data: bytes = b""
    text: str = ""
    detail: str = ""


def events_of(native: NativeTranscript, since: int) -> tuple[int, list[Event]]:
    """Return the events from the number `since` on that are kept, and the number of the first."""
    first, listed = native.events(since)
    events: list[Event] = []
    for at, connection, kind, direction, sent_on, offset, what, detail in listed:
        data = what if isinstance(what, bytes) else b""
        text = "" if what is None or isinstance(what, bytes) else str(what)
        events.append(
            Event(
                at,
                connection,
                cast("Kind", kind),
                direction,
                sent_on,
                offset,
                data,
                text,
                "" if detail is None else detail,
            )
        )
    return first, events
