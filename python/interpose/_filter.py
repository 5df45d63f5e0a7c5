"""The base of all filters."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn, TypeAlias

from ._checks import choice, seconds
from ._exceptions import ArgumentTypeError
from ._outputs import is_drained
from ._settling import register
from ._waiting import wait_for

if TYPE_CHECKING:
    from ._native import Filter as NativeFilter

Direction: TypeAlias = Literal["both", "to_upstream", "to_client"]
"""The directions that a filter concerns."""

_DIRECTIONS = ("both", "to_upstream", "to_client")
# Taps whose outputs are to have everything before the process ends.
_LOOKING: weakref.WeakSet[Filter] = weakref.WeakSet()


class Filter:
    """A filter. Made by the classes of `interpose.filters`; it cannot be changed.

    >>> from interpose import filters
    >>> isinstance(filters.Hexdump(), filters.Filter)
    True
    """

    __slots__ = ("__weakref__", "_arguments", "_given", "_kept", "_native")

    _given: tuple[object, ...]
    _arguments: dict[str, object]
    _native: NativeFilter
    # What has to live as long as the filter.
    _kept: object

    _defaults: ClassVar[dict[str, object]] = {}
    # False for filters that change what passes, and show nothing.
    _looks: ClassVar[bool] = True
    # True for outputs that end with something of their own.
    _has_end: ClassVar[bool] = False

    def __init__(self, *_: object, **__: object) -> None:
        raise ArgumentTypeError("Filter: give one of its kinds, such as filters.Hexdump()")

    def _made(self, native: NativeFilter, kept: object, *given: object, **arguments: object) -> None:
        self._native, self._kept, self._given = native, kept, given
        self._arguments = {name: value for name, value in arguments.items() if value != self._defaults.get(name)}
        _LOOKING.add(self)

    @property
    def missed_events(self) -> int:
        """The number of events that were left out because they came faster than they could be written."""
        return self._native.missed[0]

    @property
    def missed_bytes(self) -> int:
        """The bytes of those events."""
        return self._native.missed[1]

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until everything that it has seen so far is written, at most `timeout` seconds; return whether it is.

        Stopping a server, and the end of the process, do so by themselves.
        """
        end = time.monotonic() + seconds("timeout", timeout, zero=True)
        if not self._native.settle(timeout):
            return False
        return wait_for(lambda _: is_drained(self._kept), max(0.0, end - time.monotonic()))

    def __repr__(self) -> str:
        shown = [*map(repr, self._given), *(f"{name}={value!r}" for name, value in self._arguments.items())]
        return f"filters.{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError("filter: it cannot be pickled or copied, it holds an open output; make another one")


def directions_of(direction: object) -> tuple[bool, bool]:
    """Return whether a filter concerns what the client sends, and what the upstream sends; or raise ConfigError."""
    chosen = choice("direction", direction, _DIRECTIONS)
    return chosen != "to_client", chosen != "to_upstream"


def _settle_all(limit: float) -> bool:
    """Wait until all outputs have what was seen so far, at most `limit` seconds together; return whether they have."""
    end = time.monotonic() + limit
    # Each is asked, also behind one that has not everything.
    settled = [one.flush(max(0.0, end - time.monotonic())) for one in list(_LOOKING)]
    return all(settled)


def _finish_all(limit: float) -> None:
    """End the outputs that have something to write behind everything, within `limit` seconds together."""
    end = time.monotonic() + limit
    for one in list(_LOOKING):
        if one._has_end:  # pyright: ignore[reportPrivateUsage]
            one._native.finish(max(0.0, end - time.monotonic()))  # pyright: ignore[reportPrivateUsage]


def _missed_of_all() -> tuple[int, int]:
    """Return the number of the events that outputs have missed so far, and of their bytes."""
    return sum(one.missed_events for one in _LOOKING), sum(one.missed_bytes for one in _LOOKING)


register(_settle_all, _finish_all, _missed_of_all)
