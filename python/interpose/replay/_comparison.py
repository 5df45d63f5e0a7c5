"""Comparing what a peer sends with what it sent in the record, as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._exceptions import printable
from ._masks import Expression, Segment, segments

# Bytes of a peer that a mask may match beyond those that it has matched in the record.
_MOST_MASKED = 64 * 1024
# Bytes behind a mask by which its end is known.
_BEHIND = 64
_SHOWN = 40
# Streams without masks are compared in pieces of this many bytes.
_AT_ONCE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference: its place in the recorded stream, what was expected there and what came, as texts."""

    offset: int
    expected: str
    got: str


class Comparison:
    """Follows a stream through what is expected of it. `matched` is the place in the record up to which both agree."""

    def __init__(self, expected: bytes, turns: Iterable[int], masks: tuple[Expression, ...] = ()) -> None:
        self._expected = expected
        self._turns = frozenset(turns)
        self._segments = segments(expected, sorted(self._turns), masks)
        self._next = 0
        # The place within a segment without a mask, and the bytes that have come for one with a mask.
        self._within = 0
        self._held: bytes = b""
        self.matched = 0
        self.difference: Difference | None = None

    @property
    def is_complete(self) -> bool:
        """True once everything has come."""
        return self.matched == len(self._expected)

    @property
    def left(self) -> int:
        """The number of recorded bytes that have not come."""
        return len(self._expected) - self.matched

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer, until they differ."""
        if self._differs():
            return
        rest, self._held = self._held + data, b""
        while not self._differs() and self._next < len(self._segments):
            segment = self._segments[self._next]
            used = self._plain(segment, rest) if segment.mask is None else self._masked(segment, segment.mask, rest)
            if used is None:
                self._held = rest
                self.matched = self._matched_within(segment)
                return
            rest = rest[used:]
        if rest and not self._differs():
            self.difference = Difference(self.matched, "nothing more", shown(rest))

    def _differs(self) -> bool:
        return self.difference is not None

    def expected_next(self) -> str:
        """Return what is expected now, as a text."""
        if self.is_complete:
            return "nothing more"
        if self._segments[self._next].mask is not None:
            return _mask_text(self._segments[self._next])
        return self._expected_from(self.matched)

    def held(self) -> str:
        """Return what has come for a mask and does not fit so far, as a text; empty if nothing has."""
        return shown(self._held) if self._held else ""

    def _expected_from(self, place: int) -> str:
        return shown(self._expected[place : place + _SHOWN + 1])

    def _plain(self, segment: Segment, rest: bytes) -> int | None:
        """Compare bytes that are to come as they are; return how many are used, or None for none."""
        if not rest:
            return None
        wanted = segment.data
        length = min(len(wanted) - self._within, len(rest))
        if rest[:length] != wanted[self._within : self._within + length]:
            at = _first_difference(rest, wanted, self._within, length)
            place = segment.begin + self._within + at
            self.matched = place
            self.difference = Difference(place, self._expected_from(place), shown(rest[at : at + _SHOWN + 1]))
            return length
        self._within += length
        self.matched = segment.begin + self._within
        if self._within == len(wanted):
            self._next, self._within = self._next + 1, 0
        return length

    def _masked(self, segment: Segment, mask: Expression, rest: bytes) -> int | None:
        """Find the end of what a mask matches; return it, or None while more bytes may move it."""
        used = self._end_of(segment, mask, rest)
        if used is not None and self.difference is None:
            self._next, self.matched = self._next + 1, segment.end
        return used

    def _end_of(self, segment: Segment, mask: Expression, rest: bytes) -> int | None:
        behind, wanted = self._behind(), len(segment.data)
        end = mask.native.end_before(rest, behind)
        # Without bytes behind it, more may belong to it than has come.
        if end is not None and (behind or end < len(rest)):
            return end
        if behind:
            too_much = (behind in rest and len(rest) >= wanted + len(behind)) or len(rest) > wanted + _MOST_MASKED
        else:
            too_much = end is None and len(rest) >= wanted
        if too_much or (end is None and mask.native.is_hopeless(rest, behind)):
            self.matched = segment.begin
            self.difference = Difference(segment.begin, _mask_text(segment), shown(rest))
            return 0
        return None

    def _behind(self) -> bytes:
        """Return the bytes that are to come behind the mask that is next."""
        if self._next + 1 == len(self._segments):
            return b""
        following = self._segments[self._next + 1]
        return b"" if following.mask is not None else following.data[:_BEHIND]

    def _matched_within(self, segment: Segment) -> int:
        """Return the place up to which all is the same, while a segment is under way."""
        if segment.mask is None:
            return segment.begin + self._within
        # What ends a turn may be all of it: the peer waits for an answer then.
        may_be_whole = segment.end in self._turns and len(self._held) > 0
        is_whole = may_be_whole and segment.mask.native.is_whole(self._held)
        return segment.end if is_whole else segment.begin


def _first_difference(rest: bytes, wanted: bytes, begin: int, length: int) -> int:
    for start in range(0, length, _AT_ONCE):
        stop = min(start + _AT_ONCE, length)
        if rest[start:stop] != wanted[begin + start : begin + stop]:
            return next(at for at in range(start, stop) if rest[at] != wanted[begin + at])
    return length


def _mask_text(segment: Segment) -> str:
    pattern = segment.mask.pattern if segment.mask is not None else b""
    return f"a match of the mask {printable(repr(pattern))}, as {shown(segment.data)} is"


def shown(data: bytes) -> str:
    """Return bytes as a text of bounded length.

    >>> shown(b"GET a")
    "b'GET a'"
    """
    return f"{data[:_SHOWN]!r}..." if len(data) > _SHOWN else f"{data!r}"
