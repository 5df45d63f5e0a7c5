"""The framing of each direction of a connection, checked: what may be given to a server or assigned to a side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NoReturn, TypeAlias, cast

from . import _native, framing
from ._exceptions import ArgumentTypeError, ConfigError, printable, wrong_type
from ._groups import Relay
from ._names import FRAMINGS, nearest
from .framing import Framing

FramingFor: TypeAlias = Framing | tuple[Framing | None, Framing | None] | None
"""The types of a server's `framing`: one for both directions, or one for each, the client's first."""

_ADVICE = "give one such as framing.lines(), a pair (of_client, of_upstream), or None"
_FUNCTIONS = {name: getattr(framing, name) for name in framing.__all__ if name != "Framing"}


@dataclass(frozen=True, slots=True)
class Framings:
    """The framing of each direction of a connection, the limits of its messages, and the TLS of its server."""

    of_client: Framing | None = None
    of_upstream: Framing | None = None
    max_message: int = 16 * 1024 * 1024
    unframes: bool = False
    """True if an error ends the framing of its direction, and not the connection."""

    tls: object = None
    """The `tls` of the server: what start_tls() takes for True."""

    def of(self, is_client: bool) -> Framing | None:
        """Return the framing of what one side sends."""
        return self.of_client if is_client else self.of_upstream

    def pair(self) -> tuple[_native.Framing | None, _native.Framing | None]:
        """Return the native side's twins of both."""
        return native_framing(self.of_client), native_framing(self.of_upstream)


def framings_of(value: object, relay: Relay, *, inherited: object = None, tls: object = None) -> Framings:
    """Return what a server's `framing` and `relay` say, or raise ArgumentTypeError or ConfigError.

    A pair of None is for a class that has a framing to take away, `inherited`; elsewhere it is a slip.
    """
    pair = _pair_of(value)
    if value is not None and pair == (None, None) and inherited is None:
        raise ConfigError(
            "framing: it frames neither side; leave it out for chunks, or write (framing.lines(), None) for one side"
        )
    return Framings(*pair, relay.max_message, relay.framing_errors == "chunk", tls)


def _pair_of(value: object) -> tuple[Framing | None, Framing | None]:
    if isinstance(value, (tuple, list)):
        items = cast("Sequence[object]", value)
        if len(items) != 2:
            raise ConfigError(
                f"framing: the {type(items).__name__} has {len(items)} items, not 2; give (of_client, of_upstream), "
                "None where a side has no framing"
            )
        return framing_of(items[0]), framing_of(items[1])
    one = framing_of(value)
    return one, one


def framing_of(value: object) -> Framing | None:
    """Return `value`, which must be a Framing or None, or raise ArgumentTypeError."""
    return value if value is None or isinstance(value, Framing) else _refuse(value)


def native_framing(value: Framing | None) -> _native.Framing | None:
    """Return the native side's twin of `value`."""
    return None if value is None else value._native  # pyright: ignore[reportPrivateUsage]


def _refuse(value: object) -> NoReturn:
    """Say what `value` is, and what was probably meant by it."""
    name = next((name for name, function in _FUNCTIONS.items() if value is function), None)
    if name is not None:
        raise ArgumentTypeError(f"framing: framing.{name} is the function that makes one; call it: {_call(name)}")
    if value is Framing:
        raise ArgumentTypeError("framing: Framing is the class of all; call a function, such as framing.lines()")
    if isinstance(value, ModuleType):
        raise ArgumentTypeError("framing: it is a module; call one of its functions, such as framing.lines()")
    advice = _ADVICE
    if isinstance(value, str):
        meant = nearest(value, _FUNCTIONS, FRAMINGS)
        advice = f"did you mean {_call(meant)}?" if meant else _ADVICE
    elif isinstance(value, bytes):
        shown = printable(repr(value)) if 0 < len(value) <= 8 else "delimiter"
        advice = f"did you mean framing.delimited({shown})?"
    elif isinstance(value, int) and not isinstance(value, bool):
        advice = f"did you mean framing.fixed({value})?" if 0 < value < 2**31 else _ADVICE
    elif callable(value):
        advice = "for a function that cuts, write framing.custom(function)"
    raise wrong_type("framing", value, "a Framing", advice)


def _call(name: str) -> str:
    """Return the call of the function `name`, with arguments where it needs some."""
    arguments = {"delimited": 'b"\\r\\n"', "fixed": "16", "length_prefixed": "2", "custom": "function"}
    return f"framing.{name}({arguments.get(name, '')})"
