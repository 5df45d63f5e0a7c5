"""Expectations of a test, checked when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from .._checks import MOST_COUNT, count
from .._exceptions import ArgumentTypeError, ConfigError, ExpectationError
from .._names import names_checked, nearest, no_such, table

if TYPE_CHECKING:
    from .._native import Transcript as NativeTranscript

# Bytes that are on their way when a test ends are given as long to arrive.
_GRACE_SECONDS = 0.25
_STEP_SECONDS = 0.005
_MOST = 2**63 - 1
_BOUNDS = table(
    {
        "exactly": "number equal equals eq count n",
        "ge": "min minimum least atleast gte",
        "le": "max maximum most atmost lte",
        "gt": "above over morethan",
        "lt": "below under lessthan",
    }
)
_NAMES = table(
    {
        "connections()": "connection clients accepted count",
        "bytes_to_upstream()": "bytessent sent upstream toupstream bytesupstream",
        "bytes_to_client()": "bytesreceived received client toclient bytesclient",
        "check()": "verify assert",
    }
)


@dataclass(frozen=True, slots=True)
class _Expectation:
    name: str
    read: Callable[[], int]
    exactly: int | None
    gt: int | None
    ge: int | None
    lt: int | None
    le: int | None

    def unmet(self) -> str:
        """Return what is not as it should be; empty if all is."""
        value = self.read()
        unmet = [
            f"{word} {bound:,}"
            for word, bound, is_met in (
                ("exactly", self.exactly, value == self.exactly),
                ("more than", self.gt, self.gt is None or value > self.gt),
                ("at least", self.ge, self.ge is None or value >= self.ge),
                ("less than", self.lt, self.lt is None or value < self.lt),
                ("at most", self.le, self.le is None or value <= self.le),
            )
            if bound is not None and not is_met
        ]
        return f"{self.name} is {value:,}, not {' and '.join(unmet)}" if unmet else ""


class Expect:
    """Expectations, checked when the test is over. Each method may be called with a number, or with bounds.

    `gt`, `ge`, `lt` and `le` are bounds: more than, at least, less than, at most. The figures count from the beginning
    of the test. Raises ArgumentTypeError and ConfigError; the check raises ExpectationError.

    >>> from interpose import ExpectationError
    >>> from interpose.testing import Proxy
    >>> try:
    ...     with Proxy("127.0.0.1:7070") as proxy:
    ...         proxy.expect.connections(2)
    ... except ExpectationError as error:
    ...     print(error)
    expect: connections is 0, not exactly 2
    """

    def __init__(self, native: NativeTranscript, figures: Callable[[], tuple[int, int, int]]) -> None:
        self._native = native
        self._figures = figures
        self._expected: list[_Expectation] = []

    @names_checked(_BOUNDS)
    def connections(
        self,
        exactly: int | None = None,
        *,
        gt: int | None = None,
        ge: int | None = None,
        lt: int | None = None,
        le: int | None = None,
    ) -> None:
        """Expect a number of connections that were accepted."""
        self._add("connections", 0, exactly, gt, ge, lt, le)

    @names_checked(_BOUNDS)
    def bytes_to_upstream(
        self,
        exactly: int | None = None,
        *,
        gt: int | None = None,
        ge: int | None = None,
        lt: int | None = None,
        le: int | None = None,
    ) -> None:
        """Expect a number of bytes that were delivered to upstreams."""
        self._add("bytes_to_upstream", 1, exactly, gt, ge, lt, le)

    @names_checked(_BOUNDS)
    def bytes_to_client(
        self,
        exactly: int | None = None,
        *,
        gt: int | None = None,
        ge: int | None = None,
        lt: int | None = None,
        le: int | None = None,
    ) -> None:
        """Expect a number of bytes that were delivered to clients."""
        self._add("bytes_to_client", 2, exactly, gt, ge, lt, le)

    def check(self) -> None:
        """Check everything now, as the end of the test does. Raises ExpectationError."""
        end = time.monotonic() + _GRACE_SECONDS
        while (unmet := [text for one in self._expected if (text := one.unmet())]) and time.monotonic() < end:
            self._native.wait(self._native.count, _STEP_SECONDS)
        if unmet:
            raise ExpectationError(f"expect: {'; '.join(unmet)}")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            public = [one for one in dir(type(self)) if not one.startswith("_")]
            meant = None if name.startswith("_") else nearest(name, public, _NAMES)
            raise AttributeError(no_such(name, "'Expect' object", meant))

    def _add(self, name: str, place: int, exactly: int | None, *bounds: int | None) -> None:
        given = [
            None if value is None else count(f"expect.{name}", value, 0, MOST_COUNT if place == 0 else _MOST)
            for value in (exactly, *bounds)
        ]
        if all(value is None for value in given):
            raise ArgumentTypeError(f"expect.{name}: no number is given; write {name}(2) or {name}(gt=0)")
        if given[0] is not None and any(value is not None for value in given[1:]):
            raise ConfigError(f"expect.{name}: an exact number has no bounds beside it; give one of them")
        self._expected.append(_Expectation(name, lambda: self._figures()[place], *given))

    def _forget(self) -> None:
        self._expected.clear()
