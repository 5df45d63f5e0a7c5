"""The transcript: what has passed through a proxy, in order and in bounds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from ._diagram import diagram, rows_of
from ._drawing import drawing
from ._events import Event, events_of

if TYPE_CHECKING:
    from .._native import Transcript as NativeTranscript

# Notes of what was done to the proxy; a test that does more keeps the last.
_MOST_NOTES = 1000


class Transcript:
    """A record of what has passed: the events of all connections in order, from the beginning of the test on.

    Events are there before what they tell of goes on: who has got an answer through the proxy finds it here. The last
    ones are kept, in the memory that the proxy was given for them; `missed_events` counts those before.

    Its text is a sequence diagram, which a failing test shows too.

    >>> from interpose.testing import Proxy
    >>> with Proxy("127.0.0.1:7070") as proxy:
    ...     len(proxy.transcript), proxy.transcript.to_upstream()
    (0, b'')
    """

    def __init__(self, native: NativeTranscript, still: Callable[[], set[int]]) -> None:
        self._native = native
        # The connections of an earlier test on which nothing has come in this one.
        self._still = still
        self._notes: list[Event] = []

    @property
    def events(self) -> list[Event]:
        """The events that are kept, oldest first."""
        events, still = events_of(self._native, 0)[1], self._still()
        if still:
            events = [event for event in events if event.connection not in still]
        return sorted([*events, *self._notes], key=attrgetter("at"))

    @property
    def missed_events(self) -> int:
        """The number of events that are not kept any more."""
        return self._native.missed[0]

    @property
    def missed_bytes(self) -> int:
        """The bytes of those events."""
        return self._native.missed[1]

    def to_upstream(self, connection: int | None = None) -> bytes:
        """Return what clients have sent, as far as it is kept; of one connection, by its number, or of all."""
        return self._bytes("to_upstream", connection)

    def to_client(self, connection: int | None = None) -> bytes:
        """Return what upstreams have sent, as far as it is kept; of one connection, by its number, or of all."""
        return self._bytes("to_client", connection)

    def _bytes(self, direction: str, connection: int | None) -> bytes:
        return b"".join(
            event.data
            for event in self.events
            if event.direction == direction and not event.sent_on and connection in (None, event.connection)
        )

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __str__(self) -> str:
        """Return the sequence diagram."""
        return diagram(rows_of(self.events), self.missed_events)

    def __repr__(self) -> str:
        return f"<Transcript of {len(self)} events>"

    def write_capture(self, path: str | os.PathLike[str]) -> None:
        """Write what is kept as packets (pcapng), for Wireshark and `interpose inspect`. Raises ConfigError."""
        self._native.write_capture(os.fspath(path))

    def write_svg(self, path: str | os.PathLike[str]) -> None:
        """Write the sequence diagram as a picture. Raises OSError."""
        text = drawing(rows_of(self.events), self.missed_events)
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 (takes any path)
            file.write(text)

    def note(self, text: str) -> None:
        """Put a line of your own in, which the diagram shows at its time."""
        self._notes.append(Event(time.time(), 0, "note", text=text))
        del self._notes[:-_MOST_NOTES]

    def _forget(self) -> None:
        self._native.forget()
        self._notes.clear()
