"""Masks: regular expressions of bytes that differ from one time to the next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, cast

from .. import _native
from .._exceptions import ConfigError, wrong_type
from .._expressions import compiled_or_error, core_expression

Mask: TypeAlias = bytes | str | re.Pattern[bytes]
"""A regular expression of bytes."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of what is expected, from `begin` to `end`: bytes that are to come as they are, or what a mask matches."""

    begin: int
    end: int
    data: bytes
    mask: Expression | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """A mask, which is matched in time in proportion to the bytes."""

    pattern: bytes
    native: _native.Expression


def masks_of(value: object) -> tuple[Expression, ...]:
    """Return the masks that `value` means: one or several. Raises ArgumentTypeError and ConfigError."""
    if isinstance(value, (bytes, str, re.Pattern)):
        return (_mask_of(cast("object", value)),)
    if not isinstance(value, Iterable):
        raise wrong_type("mask", value, "a list of regular expressions", r'write [rb"id=\d+"]')
    return tuple(_mask_of(one) for one in cast("Iterable[object]", value))


def _mask_of(value: object) -> Expression:
    if isinstance(value, re.Pattern):
        pattern = cast("re.Pattern[bytes]", value)
        # One of text is another type to checkers alone.
        if not isinstance(cast("object", pattern.pattern), bytes):
            raise wrong_type("mask", cast("object", pattern.pattern), "bytes", r'write re.compile(rb"id=\d+")')
        return _made(pattern)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        raise wrong_type("mask", value, "a regular expression of bytes", r'write rb"id=\d+"')
    if not value:
        raise ConfigError(r'mask: it is empty, and would match nothing; write one such as rb"id=\d+"')
    return _made(compiled_or_error("mask", value))


def _made(compiled: re.Pattern[bytes]) -> Expression:
    return Expression(compiled.pattern, _native.Expression("mask", core_expression("mask", compiled)))


def segments(expected: bytes, turns: Iterable[int], masks: tuple[Expression, ...]) -> list[Segment]:
    """Return the parts of what is expected; none reaches over the end of a turn."""
    found: list[Segment] = []
    begin = 0
    for end in turns:
        for start, stop, mask in _matches(expected, begin, end, masks):
            if start > begin:
                found.append(Segment(begin, start, expected[begin:start]))
            found.append(Segment(start, stop, expected[start:stop], mask))
            begin = stop
        if end > begin:
            found.append(Segment(begin, end, expected[begin:end]))
        begin = end
    return found


def _matches(
    expected: bytes, begin: int, end: int, masks: tuple[Expression, ...]
) -> Iterator[tuple[int, int, Expression]]:
    """Yield the matches of all masks in their order; of those that overlap, the one that begins first."""
    every = [
        (start, number, stop, mask)
        for number, mask in enumerate(masks)
        for start, stop in mask.native.find_all(expected, begin, end)
    ]
    for start, _, stop, mask in sorted(every, key=lambda one: one[:2]):
        if start >= begin:
            yield start, stop, mask
            begin = stop
