"""Looking for bytes in the streams of a proxy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from .._checks import choice
from .._exceptions import ConfigError, wrong_type
from .._threads import ReentrantLock
from ._events import Event, events_of

if TYPE_CHECKING:
    from .._connection import Connection
    from .._native import Transcript as NativeTranscript

Direction: TypeAlias = Literal["both", "to_upstream", "to_client"]
"""The directions in which something is looked for."""
Wanted: TypeAlias = bytes | re.Pattern[bytes]
"""The bytes that are looked for, or a regular expression of bytes."""

DIRECTIONS = ("both", "to_upstream", "to_client")
# The most bytes of one stream in which something is looked for: the last ones.
_MOST = 8 * 1024 * 1024
# Of those that a match has passed, to be named in an error.
_PASSED = 64 * 1024
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Seen:
    """A find of wait_for().

    * `connection`: the connection that has it. `direction`: `"to_upstream"` or `"to_client"`.
    * `offset`: the place of the first byte in that stream. `data`: the bytes.
    * `groups`: the groups of a regular expression; empty for plain bytes.

    >>> from interpose.testing import Proxy
    >>> with Proxy("127.0.0.1:7070") as proxy:
    ...     proxy.transcript.events
    []
    """

    connection: Connection
    direction: str
    offset: int
    data: bytes
    groups: tuple[bytes | None, ...] = ()


@dataclass(slots=True)
class Found:
    """A match: where it begins in its stream, its bytes and its groups."""

    connection: int
    direction: str
    offset: int
    data: bytes
    groups: tuple[bytes | None, ...]


@dataclass(slots=True)
class _Stream:
    """The last bytes of one side of one connection."""

    data: bytearray = field(default_factory=bytearray)
    """Those from `begin` on."""
    begin: int = 0
    total: int = 0
    """The number of bytes that the side has sent."""
    passed: int = 0
    """The place behind the last match: a wait that begins looks from there on."""
    taken: set[tuple[Wanted, int]] = field(default_factory=set["tuple[Wanted, int]"])
    """The matches that were returned: what was looked for, and where it was."""

    def add(self, offset: int, data: bytes) -> None:
        if offset != self.begin + len(self.data):
            # What came before is not there any more.
            self.data.clear()
            self.begin = offset
        self.data += data
        self.total = offset + len(data)
        if (more := len(self.data) - _MOST) > 0:
            del self.data[:more]
            self.begin += more
            self.taken = {one for one in self.taken if one[1] >= self.begin}

    def find(self, wanted: Wanted, begun: int, start: int) -> tuple[int, bytes, tuple[bytes | None, ...]] | None:
        """Return the place of the first match that no wait has had, its bytes and its groups, and pass it.

        `begun` is where the wait has begun to look; from there to `start` there is no match.
        """
        for place, found, groups in self._matches(wanted, begun, start):
            if (wanted, place) not in self.taken:
                self.taken.add((wanted, place))
                self.passed = max(self.passed, place + len(found))
                return place, found, groups
        return None

    def _matches(self, wanted: Wanted, begun: int, start: int) -> Iterator[tuple[int, bytes, tuple[bytes | None, ...]]]:
        if isinstance(wanted, bytes):
            at = self.data.find(wanted, max(0, start - self.begin))
            while at >= 0:
                yield self.begin + at, wanted, ()
                at = self.data.find(wanted, at + len(wanted))
            return
        # An expression sees the bytes from the wait's beginning on, and no others.
        before = max(0, begun - self.begin)
        for match in _matches(wanted, bytes(self.data[before:])):
            yield self.begin + before + match.start(), match.group(), match.groups()

    def forget(self) -> None:
        """Forget the bytes so far."""
        self.begin = self.passed = self.begin + len(self.data)
        self.data.clear()
        self.taken.clear()

    def has_passed(self, wanted: Wanted) -> bool:
        """Return whether it was there before the last match."""
        before = self.data[max(0, self.passed - _PASSED - self.begin) : max(0, self.passed - self.begin)]
        return wanted in before if isinstance(wanted, bytes) else any(_matches(wanted, bytes(before)))

    def described(self) -> str:
        shown = f", ending in {bytes(self.data[-_SHOWN:])!r}" if self.data else ""
        return f"{self.total:,} B{shown}"


@dataclass(slots=True)
class Looked:
    """How far one wait has looked, by stream: from where, and up to where it has found nothing."""

    begun: dict[tuple[int, str], int]
    upto: dict[tuple[int, str], int] = field(default_factory=dict["tuple[int, str]", int])


class Search:
    """The streams of a proxy's connections, and how far each was looked through."""

    def __init__(self, native: NativeTranscript) -> None:
        self._native = native
        # Several threads may wait.
        self._lock: AbstractContextManager[Any] = ReentrantLock()
        self._streams: dict[tuple[int, str], _Stream] = {}
        self._next = 0
        self.opened: list[int] = []
        """The numbers of the connections that were accepted."""
        self.closed: set[int] = set()
        """Those that have ended."""

    def take(self) -> None:
        """Take what has come since the last call."""
        with self._lock:
            first, events = events_of(self._native, self._next)
            self._next = first + len(events)
            for event in events:
                self._see(event)

    def forget(self, live: Iterable[int]) -> None:
        """Forget what was seen so far; the connections `live` are not accepted anew."""
        with self._lock:
            self.take()
            kept = set(live)
            self.opened, self.closed = [], set()
            self._streams = {key: stream for key, stream in self._streams.items() if key[0] in kept}
            for stream in self._streams.values():
                stream.forget()

    def begun(self) -> dict[tuple[int, str], int]:
        """Return where a wait that begins now looks from, by stream; in others it looks from their beginning.

        Matches of other waits that are under way take nothing away from it.
        """
        with self._lock:
            return {key: stream.passed for key, stream in self._streams.items()}

    def find(self, wanted: Wanted, direction: str, connection: int | None, looked: Looked) -> Found | None:
        """Return the first match of a wait: none that another wait for the same has had."""
        with self._lock:
            self.take()
            for key, stream in self._of(direction, connection):
                begun = looked.begun.get(key, 0)
                found = stream.find(wanted, begun, max(begun, looked.upto.get(key, 0)))
                if found is not None:
                    offset, data, groups = found
                    return Found(*key, offset, data, groups)
                if isinstance(wanted, bytes):
                    looked.upto[key] = stream.begin + max(0, len(stream.data) - len(wanted) + 1)
        return None

    def described(self, wanted: Wanted, direction: str, connection: int | None) -> str:
        """Say in one line what was seen instead."""
        with self._lock:
            return self._described(wanted, direction, connection)

    def _described(self, wanted: Wanted, direction: str, connection: int | None) -> str:
        seen = [f"#{key[0]} {key[1]} {stream.described()}" for key, stream in self._of(direction, connection)]
        streams = "; ".join(seen[:8]) + (f"; and {len(seen) - 8} more" if len(seen) > 8 else "")
        of = "" if connection is None else f" of connection {connection}"
        text = f"{connections_text(len(self.opened))}, {len(self.opened) - len(self.closed)} open"
        text += f"; seen{of}: {streams}" if seen else f", and no byte{of} was seen"
        if (missed := self._native.missed[0]) > 0:
            text += f"; {missed:,} events before are not kept, for which keep= is too small"
        passed = any(stream.has_passed(wanted) for _, stream in self._of(direction, connection))
        return text + ("; it was there before, and an earlier wait_for() has passed it" if passed else "")

    def _of(self, direction: str, connection: int | None) -> list[tuple[tuple[int, str], _Stream]]:
        return [
            (key, stream)
            for key, stream in self._streams.items()
            if connection in (None, key[0]) and direction in ("both", key[1])
        ]

    def _see(self, event: Event) -> None:
        if event.kind == "opened":
            self.opened.append(event.connection)
        elif event.kind == "closed":
            self.closed.add(event.connection)
        elif event.kind == "data" and not event.sent_on:
            self._streams.setdefault((event.connection, event.direction), _Stream(begin=event.offset)).add(
                event.offset, event.data
            )


def _matches(wanted: re.Pattern[bytes], data: bytes) -> Iterator[re.Match[bytes]]:
    """Return the matches that are not empty: one that is would be found for ever."""
    return (match for match in wanted.finditer(data) if match.end() > match.start())


def connections_text(number: int) -> str:
    """Return a number of connections in words."""
    return f"{number:,} connection{'' if number == 1 else 's'}"


def wanted_of(value: object) -> Wanted:
    """Return what is looked for, or raise ArgumentTypeError or ConfigError."""
    if isinstance(value, re.Pattern):
        pattern = cast("re.Pattern[bytes]", value)
        # One of text is another type to checkers alone.
        if isinstance(pattern.pattern, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            return pattern
    if not isinstance(value, (bytes, bytearray)):
        advice = f"write {value.encode()!r}" if isinstance(value, str) else "write b'...', or re.compile(rb'...')"
        raise wrong_type("data", cast("Any", value), "bytes", advice)
    if not value:
        raise ConfigError("data: it is empty, which would be found at once; give at least a byte")
    return bytes(value)


def direction_of(value: object) -> str:
    """Return the direction, or raise ConfigError."""
    return choice("direction", value, DIRECTIONS)
