"""The checks that arguments pass: each returns the value, or raises what says why not."""

from __future__ import annotations

from typing import TypeVar

from ._exceptions import ConfigError, wrong_type

_Kind = TypeVar("_Kind")

# Thirty years. It keeps a slip such as milliseconds or 1e300 out of arithmetic on clocks.
MOST_SECONDS = 1_000_000_000
MOST_COUNT = 2**31 - 1


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


def choice(name: str, value: object, words: tuple[str, ...]) -> str:
    """Return `value` if it is one of `words`, or raise."""
    if not isinstance(value, str) or value not in words:
        *others, last = (f'"{word}"' for word in words)
        listed = f"neither {others[0]} nor {last}" if len(others) == 1 else f"none of {', '.join(others)} and {last}"
        raise ConfigError(f"{name}: it is {listed}; {_advice(value, words)}")
    return value


def _advice(value: object, words: tuple[str, ...]) -> str:
    import difflib  # which takes its time to be loaded, and a word that is right does not need it

    near = difflib.get_close_matches(value.lower(), words, 1, 0.75) if isinstance(value, str) else []
    return f'did you mean "{near[0]}"?' if near else "give one of them"


def instance(name: str, value: object, kind: type[_Kind]) -> _Kind:
    """Return `value` if it is a `kind`, or raise."""
    if not isinstance(value, kind):
        raise wrong_type(name, value, f"a {kind.__name__}", f"write {kind.__name__}(...)")
    return value
