"""A server's settings, and the checks every argument passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._exceptions import AddressError, ConfigError, wrong_type
from ._names import LIMITS_ARGUMENTS, TIMEOUTS_ARGUMENTS, names_checked

# Thirty years. It keeps a slip such as milliseconds or 1e300 out of arithmetic on clocks.
MOST_SECONDS = 1_000_000_000
MOST_COUNT = 2**31 - 1
# A name has 253 characters at most, a path 107 bytes. Errors quote the text, so it must not be a megabyte.
MOST_TEXT = 300


def seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return `value` as a number of seconds, or raise; 0 passes only with `zero`.

    >>> seconds("drain", 3)
    3.0
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(name, value, "a number of seconds", "give a float such as 10.0")
    if value != value:
        raise ConfigError(f"{name}: it is not a number (NaN); give a float such as 10.0")
    if value < 0:
        raise ConfigError(f"{name}: it is negative; give a float such as 10.0")
    if value > MOST_SECONDS:
        raise ConfigError(f"{name}: it is more than {MOST_SECONDS:,} seconds; give less")
    # Below a millisecond no timer can keep its word, and 1e-300 becomes 0 on the way.
    if value < 0.001 and not (zero and value == 0):
        raise ConfigError(f"{name}: it is less than a millisecond; give a float such as 10.0")
    return float(value)


def optional_seconds(name: str, value: object) -> float | None:
    """Return `value` as a number of seconds, or None for no limit, or raise."""
    return None if value is None else seconds(name, value)


def count(name: str, value: object, low: int, high: int = MOST_COUNT) -> int:
    """Return `value` as an integer from `low` to `high`, or raise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, value, "an int", f"give a whole number from {low} on")
    if value < low:
        raise ConfigError(f"{name}: it is below {low}; give at least {low}")
    if value > high:
        raise ConfigError(f"{name}: it is above {high:,}; give less")
    return int(value)


def flag(name: str, value: object) -> bool:
    """Return `value` if it is a bool, or raise."""
    if not isinstance(value, bool):
        raise wrong_type(name, value, "a bool", "give True or False")
    return value


def port_number(value: object) -> int:
    """Return `value` as a TCP port, or raise."""
    if isinstance(value, bool) or not isinstance(value, int):
        digits = value.strip() if isinstance(value, str) else ""
        number = digits if digits.isascii() and digits.isdigit() and len(digits) <= 5 else "9090"
        raise wrong_type("port", value, "an int", f"give a number without quotes, such as {number}")
    if not 0 <= value <= 65535:
        raise ConfigError("port: it is not between 0 and 65535; give 0 for any free port")
    return int(value)


def port_text(value: int) -> str:
    """Write `value` if it is a port, else one that is.

    >>> port_text(80)
    '80'
    """
    return str(int(value)) if 0 <= value <= 65535 else "9090"


def host_text(name: str, value: object) -> str:
    """Return `value` if it is text that can be an address, or raise."""
    if not isinstance(value, str):
        advice = 'give a host such as "127.0.0.1" and a port such as 9090'
        if isinstance(value, (bytes, bytearray)):
            advice = "give text, such as host.decode()"
        elif isinstance(value, int) and not isinstance(value, bool):
            advice = f'a port stands behind its host, as in ("127.0.0.1", {port_text(value)})'
        raise wrong_type(name, value, "a str", advice)
    if len(value) > MOST_TEXT:
        raise AddressError(f"{name}: it is longer than any address ({len(value):,} characters); give a shorter one")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise AddressError(f"{name}: {value!r} has a lone surrogate; give plain text") from None
    return value


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection may stay without progress. Seconds; None is no limit.

    * `half_close`: after one direction has ended, how long the other may stand still.
    * `idle`: how long both directions may stand still. None by default, because a relay cannot know what
      silence means.
    * `unacknowledged`: how long sent bytes may stay unacknowledged, or wait for a peer that does not read.

    Raises ArgumentTypeError for what is no number and ConfigError for NaN, a negative number, less than a
    millisecond or more than 1,000,000,000 seconds.

    >>> from interpose import Timeouts
    >>> Timeouts(idle=300)
    Timeouts(half_close=120.0, idle=300.0, unacknowledged=None)
    """

    half_close: float | None = 120.0
    idle: float | None = None
    unacknowledged: float | None = None

    def __post_init__(self) -> None:
        for name in ("half_close", "idle", "unacknowledged"):
            object.__setattr__(self, name, optional_seconds(name, getattr(self, name)))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server may take.

    * `max_connections`: connections at once; more wait in the listener's backlog. None is half of the
      descriptors that this process may open, less a reserve, and at most 10,000.

    Raises ArgumentTypeError for what is no int and ConfigError for less than 1 or more than 2,147,483,647.

    >>> from interpose import Limits
    >>> Limits(max_connections=500)
    Limits(max_connections=500)
    """

    max_connections: int | None = None

    def __post_init__(self) -> None:
        if self.max_connections is not None:
            count("max_connections", self.max_connections, 1)


_kinds: dict[Any, dict[str, str]] = {Timeouts: TIMEOUTS_ARGUMENTS, Limits: LIMITS_ARGUMENTS}
for _kind, _others in _kinds.items():
    _kind.__init__ = names_checked(_others)(_kind.__init__)
