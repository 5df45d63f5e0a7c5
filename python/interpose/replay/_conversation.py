"""A conversation of a record: what the two ends of one connection have sent each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["to_upstream", "to_client"]
"""The directions of a connection."""

# The reasons of ends that a client itself has made, and an upstream.
BY_CLIENT = ("client_reset", "client_lost", "client_gone")
BY_UPSTREAM = ("upstream_reset", "upstream_lost")
# Those behind which both sides have got an end of stream, and those that only say that nobody recorded any more.
IN_ORDER = ("finished", "closed")
STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a side has sent: bytes, or an end of stream (`is_end`).

    `at` is the time in seconds since 1970, `line` the line of the record. `sent_on`: as it was sent on, behind what may
    change it.
    """

    at: float
    line: int
    direction: Direction
    data: bytes = b""
    is_end: bool = False
    sent_on: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """One recorded connection. Two are equal if the client saw the same: bytes, their order and the end, not times.

    * `number`: the connection's number in the record. `client`, `upstream`: their names; None where none was connected.
    * `began`, `closed`: when its client was accepted, and when it ended; in seconds since 1970. `line`: its first line.
    * `reason`: the close reason; None if it was still open when the record ended.
    * `changed`: whether something may have changed what passed. Then the two ends have seen different bytes.

    >>> from interpose.replay import Conversation
    >>> Conversation(1) == Conversation(2)
    True
    """

    number: int
    client: str | None = None
    upstream: str | None = None
    line: int = 1
    began: float = 0.0
    closed: float | None = None
    reason: str | None = None
    changed: bool = False
    events: tuple[Event, ...] = field(default=(), repr=False)

    @property
    def to_upstream(self) -> bytes:
        """All bytes that the client has sent."""
        return b"".join(event.data for event in self.as_client_saw() if event.direction == "to_upstream")

    @property
    def to_client(self) -> bytes:
        """All bytes that the client has got."""
        return b"".join(event.data for event in self.as_client_saw() if event.direction == "to_client")

    @property
    def turns(self) -> list[tuple[Direction, bytes]]:
        """The bytes in their order, as the client saw them: neighbours of one direction are one turn."""
        found: list[tuple[Direction, bytes]] = []
        for event in self.as_client_saw():
            if event.data and found and found[-1][0] == event.direction:
                found[-1] = (event.direction, found[-1][1] + event.data)
            elif event.data:
                found.append((event.direction, event.data))
        return found

    def as_client_saw(self) -> Iterator[Event]:
        """Yield the events between the client and interpose."""
        return self._at("to_client")

    def as_upstream_saw(self) -> Iterator[Event]:
        """Yield the events between interpose and the upstream."""
        return self._at("to_upstream")

    def _at(self, was_sent_on: Direction) -> Iterator[Event]:
        for event in self.events:
            if event.sent_on == (self.changed and event.direction == was_sent_on):
                yield event

    def _seen(self) -> tuple[object, ...]:
        ends = [event.direction for event in self.as_client_saw() if event.is_end]
        return (self.turns, ends, self.reason)

    def __eq__(self, other: object) -> bool:
        return self._seen() == other._seen() if isinstance(other, Conversation) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.to_upstream, self.reason))
