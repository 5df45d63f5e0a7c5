"""Kinds of settings that are amounts of bytes: sizes, and rates.

What a check or a reading needs is imported there, as in _kinds.
"""

from __future__ import annotations

from ._kinds import NO_LIMIT, Kind, refuse

_THOUSANDS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_BINARY = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_UNITS = {**_THOUSANDS, **_BINARY}
_HOW = "write bytes, or 500kB, 64KiB, 10MB or 1GiB"
_HOW_FAST = "write bytes a second, or 500kB/s, 64KiB/s, 10MB/s or 1GiB/s"
# Below the largest integer that a float has exactly, and any disk.
MOST_BYTES = 2**50


class Size(Kind):
    """A number of bytes from `low` to `high`. `none` says in words what None, or leaving it out, stands for."""

    metavar = "SIZE"
    sample = "64KiB"

    def __init__(self, low: int = 1, high: int = MOST_BYTES, *, none: str = "") -> None:
        self.low = low
        self.high = high
        self.none = none

    def check(self, name: str, value: object) -> int | None:
        """Return `value` as an int, or None."""
        from ._checks import count

        return None if value is None and self.none else count(name, value, self.low, self.high)

    def read(self, name: str, text: str) -> int | None:
        """Read a number of bytes, or one with a unit."""
        if self.none and text == "none":
            return None
        if self.none and text in (*NO_LIMIT, "all"):
            refuse(name, f"{text!r} is not a size; write none for {self.none}, or a size such as 64KiB")
        return self.check(name, _bytes_of(name, text, "a size", _HOW))

    def show(self, value: object) -> str:
        """Return the size in the largest unit that has it whole, or the words for None."""
        return self.none if value is None else _shown(value)


class Rate(Kind):
    """A number of bytes a second, at least one. `none` says in words what None, or leaving it out, stands for."""

    metavar = "RATE"
    sample = "10MB/s"

    def __init__(self, *, none: str = "") -> None:
        self.none = none

    def check(self, name: str, value: object) -> int | None:
        """Return `value` as an int, or None."""
        from ._checks import count

        return None if value is None and self.none else count(name, value, 1, MOST_BYTES)

    def read(self, name: str, text: str) -> int | None:
        """Read a number of bytes a second, or one with a unit, which has /s behind it."""
        import re

        if self.none and text == "none":
            return None
        if bits := re.fullmatch(
            r"(\d+(?:\.\d+)?) ?([kMG]?)bit(?:/s)?|(\d+(?:\.\d+)?) ?([kMG]?)bps", text, re.IGNORECASE
        ):
            number, unit = bits[1] or bits[3], bits[2] or bits[4] or ""
            unit = "k" if unit in "kK" and unit else unit.upper()
            refuse(name, f"{text!r} is in bits, eight to a byte; write {float(number) / 8:g}{unit}B/s")
        amount, slash, second = text.partition("/")
        if slash and second not in ("s", "sec", "second"):
            refuse(name, f"{text!r} is not by the second; {_HOW_FAST}")
        if not slash and amount.rstrip()[-1:].isalpha() and any(amount.endswith(unit) for unit in _UNITS):
            refuse(name, f"{text!r} is a size, not a rate; write {amount}/s")
        return self.check(name, _bytes_of(name, text, "a rate", _HOW_FAST, amount))

    def show(self, value: object) -> str:
        """Return the rate in the largest unit that has it whole, or the words for None."""
        if value is None:
            return self.none
        shown = _shown(value)
        return f"{shown}{'' if shown[-1].isalpha() else 'B'}/s"


def _bytes_of(name: str, text: str, what: str, how: str, amount: str | None = None) -> int:
    """Return the bytes that `amount`, which is a part of `text`, or all of it, stands for."""
    import re

    amount = text if amount is None else amount
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-zA-Z]*)", amount)
    if not found:
        refuse(name, f"{text!r} is not {what}; {how}")
    number, unit = found[1], found[2] or "B"
    if unit not in _UNITS:
        behind = text.removeprefix(amount)
        near = [right for right in _UNITS if right.lower() == unit.lower() or right.lower().startswith(unit.lower())]
        if near:
            refuse(name, f"{text!r} has no unit known here; write {' or '.join(number + one + behind for one in near)}")
        refuse(name, f"{text!r} has no unit known here; {how}")
    value = float(number) * _UNITS[unit]
    if value != int(value):
        refuse(name, f"{text!r} is not a whole number of bytes; {how}")
    # Digits alone are exact, whatever a float would make of them.
    return int(number) if unit == "B" and number.isdecimal() else int(value)


def _shown(value: object) -> str:
    number = value if isinstance(value, int) else 0
    for units in (_BINARY, _THOUSANDS):
        for unit, size in reversed(units.items()):
            if size > 1 and number and number % size == 0:
                return f"{number // size}{unit}"
    return f"{number}"
