"""The base of all faults, and the conditions under which they strike."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeAlias, TypedDict, cast

from . import _native
from ._checks import MOST_COUNT, choice, count
from ._coroutine_functions import is_async
from ._exceptions import ArgumentTypeError, ConfigError, wrong_type
from ._expressions import core_expression

if TYPE_CHECKING:
    from ._native import Fault as NativeFault

Direction: TypeAlias = Literal["both", "to_upstream", "to_client"]
"""The directions that a fault concerns."""

Pattern: TypeAlias = "bytes | str | re.Pattern[bytes] | re.Pattern[str] | Callable[[bytes], object]"
"""Bytes, text, which stands for its UTF-8, a compiled regular expression, or a function of a message."""

_DIRECTIONS = ("both", "to_upstream", "to_client")
MOST_BYTES = 2**63 - 1


class Conditions(TypedDict, total=False):
    """The conditions that every fault takes. A place in a stream that fits them all is an occurrence."""

    direction: Direction
    probability: float
    on_match: Pattern | None
    nth: int | None
    times: int | None
    only: Callable[[Any], object] | None


class When(Conditions, total=False):
    """The conditions, with the place in the stream."""

    after_bytes: int


WHEN = frozenset(When.__annotations__)


class Fault:
    """A fault. Made by the classes of `interpose.faults`; it cannot be changed, and several servers may share it.

    >>> from interpose import faults
    >>> isinstance(faults.Stall(), faults.Fault)
    True
    """

    __slots__ = ("__weakref__", "_native", "_only", "_predicate", "_recipe", "_shown")

    _native: NativeFault
    _shown: str
    _recipe: tuple[Any, Any, Any, Any, Any]
    _only: Callable[[Any], object] | None
    _predicate: Callable[[bytes], object] | None

    def __init__(self, *_: object, **__: object) -> None:
        raise ArgumentTypeError("Fault: give one of its kinds, such as faults.Stall()")

    def _made(
        self,
        kind: str,
        when: When,
        *,
        given: dict[str, object] | None = None,
        seconds: tuple[float, float] = (0.0, 0.0),
        counts: tuple[int, int] = (0, 0),
        schedule: list[float] | None = None,
        word: str = "",
    ) -> None:
        arguments = {**(given or {}), **when}
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in arguments.items())
        self._shown = f"{type(self).__name__}({shown})"
        self._only, self._predicate = _function("only", when.get("only")), None
        if callable(pattern := when.get("on_match")):
            self._predicate = _function("on_match", pattern)
        directions, condition = _condition(when)
        asks = (self._only is not None, self._predicate is not None)
        self._recipe = (self._shown, (kind, word), (seconds, counts, schedule or []), condition, (directions, asks))
        self._native = _native.Fault(*self._recipe)

    def again(self) -> Self:
        """Return another fault like this one, which has not struck.

        >>> from interpose import faults
        >>> faults.Stall(times=1).again()
        faults.Stall(times=1)
        """
        other = object.__new__(type(self))
        other._shown, other._recipe = self._shown, self._recipe
        other._only, other._predicate = self._only, self._predicate
        other._native = _native.Fault(*self._recipe)
        return other

    @property
    def _begins(self) -> bool:
        """True if its effect is one on the bytes of a direction."""
        return True

    def _asks(self) -> bool:
        """Return whether functions decide for it."""
        return self._only is not None or self._predicate is not None

    def _decide(self, question: int, subject: Any, data: bytes | None) -> object:
        """Answer what the native side asks: about the connection, or about a message."""
        name, function = ("only", self._only) if question == 0 else ("on_match", self._predicate)
        answer = None if function is None else cast("Any", function)(data if question else subject)
        if hasattr(answer, "__await__"):
            raise ArgumentTypeError(f"{name}: it has answered an awaitable; give a function that answers True or False")
        return bool(answer)

    @property
    def strikes(self) -> int:
        """How often it has struck so far, on all connections of all servers that have it."""
        return self._native.strikes

    def __repr__(self) -> str:
        return f"faults.{self._shown}"

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "fault: it cannot be pickled or copied, it counts its strikes; make another one with again()"
        )


def _condition(
    when: When,
) -> tuple[tuple[bool, bool], tuple[float, int, tuple[bytes, bool] | None, int | None, int | None]]:
    chosen = choice("direction", when.get("direction", "both"), _DIRECTIONS)
    after = count("after_bytes", when.get("after_bytes", 0), 0, MOST_BYTES)
    nth, times = _number("nth", when.get("nth")), _number("times", when.get("times"))
    condition = (_probability(when.get("probability", 1.0)), after, _pattern(when.get("on_match")), nth, times)
    return (chosen != "to_client", chosen != "to_upstream"), condition


def _function(name: str, value: object) -> Any:
    if value is None:
        return None
    if not callable(value):
        raise wrong_type(name, value, "a function of the connection", f"write {name}=lambda conn: ...")
    if is_async(value):
        raise ArgumentTypeError(f"{name}: it is async def, and bytes would wait for it; give a plain function")
    return value


def _shown(value: object) -> str:
    """Return a value for people: a function by its name, not by its place in memory."""
    name = getattr(value, "__qualname__", None) if callable(value) else None
    return name if isinstance(name, str) else repr(value)


def _number(name: str, value: object) -> int | None:
    return None if value is None else count(name, value, 1, MOST_COUNT)


def _probability(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type("probability", value, "a number from 0 to 1", "give a float such as 0.1")
    if not 0 <= value <= 1:
        advice = f"; {value} per cent are {value / 100:g}" if 1 < value <= 100 else ""
        raise ConfigError(f"probability: {value} is not between 0 and 1{advice}")
    return float(value)


def _pattern(value: object) -> tuple[bytes, bool] | None:
    """Return the bytes to look for, and whether they are an expression."""
    if value is None:
        return None
    if isinstance(value, re.Pattern):
        compiled = cast("re.Pattern[bytes] | re.Pattern[str]", value)
        return core_expression("on_match", compiled), True
    if isinstance(value, str):
        return value.encode(), False
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", value)), False
    if callable(value):
        return None
    raise wrong_type("on_match", value, "bytes, text, a compiled re.Pattern or a function", 'write on_match=b"..."')
