"""The kinds of values that settings have: how one is checked, read from a text, and shown.

What a check or a reading needs is imported there: `interpose --help`, which shows defaults only, must not wait for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

# Type checkers take this as True; the module typing would cost more than the rest of this file.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_HOW_TIME = "write seconds, or 200ms, 10s, 5m or 1h30m"
NO_LIMIT = ("none", "no", "off", "never", "inf", "infinite", "infinity", "unlimited")
_YES, _NO = ("yes", "on", "true", "1"), ("no", "off", "false", "0")


class Kind(ABC):
    """The kind of a setting's values. `metavar` stands for one in a usage, `sample` is one."""

    metavar = ""
    sample = ""
    # True if the option may be given several times; its values are tuples then.
    repeats = False
    # The words that it may be, if these are all.
    words: tuple[str, ...] = ()
    # True if None is a value of its own, and not the lack of one.
    none_counts = False

    @abstractmethod
    def check(self, name: str, value: object) -> object:
        """Return `value` as a setting keeps it; raise ArgumentTypeError or ConfigError, which begin with `name`."""

    @abstractmethod
    def read(self, name: str, text: str) -> object:
        """Return the value that `text` means; raise ConfigError, which begins with `name`."""

    def show(self, value: object) -> str:
        """Return `value` as one writes it on the command line, or in words if that has no text for it."""
        return f"{value}"


class Seconds(Kind):
    """A time, at least a millisecond. `zero`: 0 passes as well, and means at once.

    `none`: None passes as well; `meaning` is its purpose, in an error.
    """

    metavar = "SECONDS"
    sample = "10"
    none_counts = True

    def __init__(self, *, none: bool = False, zero: bool = False, meaning: str = "for no limit") -> None:
        self.none = none
        self.meaning = meaning
        self.zero = zero

    def check(self, name: str, value: object) -> float | None:
        """Return `value` as a float, or None."""
        from ._checks import seconds

        return None if value is None and self.none else seconds(name, value, zero=self.zero)

    def read(self, name: str, text: str) -> float | None:
        """Read a number of seconds, or one with units."""
        import re

        if self.none:
            if text == "none":
                return None
            if text in NO_LIMIT or (re.fullmatch(r"[+-]?0*\.?0*(ms|s|m|h|d)?|-1", text) and text):
                refuse(name, f"{text!r} is not a time to wait; write none {self.meaning}")
        elif self.zero and text in NO_LIMIT:
            refuse(name, f"{text!r} would never end; write a time, such as 1h, or 0 to stop at once")
        try:
            value = float(text)
        except ValueError:
            if not re.fullmatch(rf"(?:{_TIME})+", text):
                refuse(name, f"{text!r} is not a time; {_HOW_TIME}")
            value = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_TIME, text))
        # As times are written in a text, and not as Python does.
        if not value >= 0 or (value < 0.001 and not (self.zero and value == 0)):
            wrong = "less than a millisecond" if value >= 0 else "negative" if value < 0 else "not a number"
            refuse(name, f"{text!r} is {wrong}; {_HOW_TIME}")
        return self.check(name, value)

    def show(self, value: object) -> str:
        """Return a number in the largest of d, h and m that divides it, else in seconds, below one in milliseconds."""
        if value is None:
            return "none"
        if value == 0:
            return "0"
        assert isinstance(value, (int, float))
        unit = next((unit for unit in ("d", "h", "m") if value % _UNITS[unit] == 0), "s" if value >= 1 else "ms")
        return f"{value / _UNITS[unit]:.12g}{unit}"


class Count(Kind):
    """A whole number from `low` to `high`. `none` says in words what None, or leaving it out, stands for."""

    metavar = "N"
    sample = "1024"

    def __init__(self, low: int, high: int | None = None, *, none: str = "") -> None:
        self.low = low
        self.high = high
        self.none = none

    def check(self, name: str, value: object) -> int | None:
        """Return `value` as an int, or None."""
        from ._checks import MOST_COUNT, count

        return None if value is None and self.none else count(name, value, self.low, self.high or MOST_COUNT)

    def read(self, name: str, text: str) -> int | None:
        """Read a whole number in digits."""
        try:
            value = int(text)
        except ValueError:
            refuse(name, f"{text!r} is not a whole number; {self._advice(text)}")
        return self.check(name, value)

    def show(self, value: object) -> str:
        """Return the digits, or the words for None."""
        return self.none if value is None else f"{value}"

    def _advice(self, text: str) -> str:
        """Say how the number is written that `text` may mean."""
        import re

        if thousands := re.fullmatch(r"(\d{1,7})[kK]", text):
            return f"write {thousands[1]}000"
        if re.fullmatch(r"\d{1,3}([,.' ]\d{3})+", text):
            return f"write {re.sub('[^0-9]', '', text)}"
        if text in NO_LIMIT and self.none:
            return f"leave it out for {self.none}, or give one such as 50000"
        return f"give one such as {self.sample}"


class Switch(Kind):
    """On or off: an option without a value."""

    def check(self, name: str, value: object) -> bool:
        """Return `value`, which must be a bool."""
        from ._checks import flag

        return flag(name, value)

    def read(self, name: str, text: str) -> bool:
        """Read yes or no, on or off, true or false, 1 or 0."""
        word = text.strip().lower()
        if word not in _YES + _NO:
            refuse(name, f"{text!r} is neither yes nor no; write yes or no")
        return word in _YES

    def show(self, value: object) -> str:
        """Return yes or no, as a variable has it."""
        return "yes" if value else "no"


class Choice(Kind):
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar = "|".join(words)
        self.sample = words[0]

    def check(self, name: str, value: object) -> str:
        """Return `value`, which must be one of the words."""
        from ._checks import choice

        return choice(name, value, self.words)

    def read(self, name: str, text: str) -> str:
        """Read one of the words as it stands."""
        return self.check(name, text)


class LocalAddress(Kind):
    """An IP address of this machine; None lets the kernel choose. The native side reads it."""

    metavar = "IP"
    sample = "192.0.2.1"

    def check(self, name: str, value: object) -> str | None:
        """Return `value`, which must be a text, or None."""
        from ._addresses import host_text

        return None if value is None else host_text(name, value)

    def read(self, name: str, text: str) -> str | None:
        """Return the text as it stands."""
        return self.check(name, text)

    def show(self, value: object) -> str:
        """Return the address, or who chooses it."""
        return "the kernel's choice" if value is None else f"{value}"


class Targets(Kind):
    """Some addresses to connect to, as texts. A variable has commas between them."""

    metavar = "ADDRESS"
    sample = "standby:80"
    repeats = True

    def check(self, name: str, value: object) -> tuple[str, ...]:
        """Return `value` as a tuple; it must be a list or tuple of texts that are addresses."""
        from ._exceptions import wrong_type

        if not isinstance(value, (list, tuple)):
            raise wrong_type(name, value, "a list", 'write ["standby:80"]')
        # typing, which has cast(), is not imported with the command.
        texts: tuple[object, ...] = tuple(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return tuple(_address(name, text) for text in texts)

    def read(self, name: str, text: str) -> tuple[str, ...]:
        """Read addresses with commas between them."""
        return self.check(name, [part.strip() for part in text.split(",")])

    def show(self, value: object) -> str:
        """Return the addresses, or that there are none."""
        texts: tuple[object, ...] = value if isinstance(value, tuple) else ()  # pyright: ignore[reportUnknownVariableType]
        return ",".join(f"{text}" for text in texts) or "none"


class Texts(Kind):
    """Some texts. A variable has `separator` between them; without one it is one text."""

    repeats = True

    def __init__(self, metavar: str, sample: str, *, separator: str = ",") -> None:
        self.metavar = metavar
        self.sample = sample
        self.separator = separator

    def check(self, name: str, value: object) -> tuple[str, ...]:
        """Return `value` as a tuple; it must be a list or tuple of texts."""
        from ._exceptions import wrong_type

        if not isinstance(value, (list, tuple)):
            raise wrong_type(name, value, "a list", f"write [{self.sample!r}]")
        texts: tuple[object, ...] = tuple(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        found = tuple(text for text in texts if isinstance(text, str))
        if len(found) < len(texts):
            wrong = next(text for text in texts if not isinstance(text, str))
            raise wrong_type(name, wrong, "a str", f"write [{self.sample!r}]")
        if not all(text.strip() for text in found):
            refuse(name, f"it is empty; write {self.sample}")
        return found

    def read(self, name: str, text: str) -> tuple[str, ...]:
        """Read texts with the separator between them."""
        return self.check(name, [part.strip() for part in text.split(self.separator)] if self.separator else [text])

    def show(self, value: object) -> str:
        """Return the texts, or that there are none."""
        texts: tuple[object, ...] = value if isinstance(value, tuple) else ()  # pyright: ignore[reportUnknownVariableType]
        return (self.separator or " ").join(f"{text}" for text in texts) or "none"


class Target(Kind):
    """An address to connect to, as a text, or None."""

    metavar = "ADDRESS"
    sample = "shadow:80"
    # True if it may begin with tls://.
    may_have_tls = True

    def check(self, name: str, value: object) -> str | None:
        """Return `value`, which must be the text of an address, or None."""
        return None if value is None else _address(name, value, may_have_tls=self.may_have_tls)

    def read(self, name: str, text: str) -> str | None:
        """Return the text as it stands."""
        return self.check(name, text)

    def show(self, value: object) -> str:
        """Return the address, or that there is none."""
        return "none" if value is None else f"{value}"


class ListenAddress(Target):
    """An address to listen on, as a text, or None. A port alone is one of this machine only."""

    metavar = "[HOST:]PORT"
    may_have_tls = False

    def __init__(self, sample: str) -> None:
        self.sample = sample


def _address(name: str, value: object, *, may_have_tls: bool = True) -> str:
    """Return `value`, which must be the text of an address."""
    from . import _native
    from ._addresses import host_text, named, without_tls
    from ._exceptions import AddressError
    from ._service_names import numbered

    text = host_text(name, value)
    plain, is_secure = without_tls(text) if may_have_tls else (text, False)
    try:
        plain = numbered(plain)
        _native.parse_address(plain)
    except AddressError as error:
        raise named(name, error) from None
    return f"tls://{plain}" if is_secure else plain


class FileName(Kind):
    """The name of a file, or None. Nothing is opened here."""

    metavar = "FILE"

    def __init__(self, sample: str = "FILE") -> None:
        self.sample = sample

    def check(self, name: str, value: object) -> str | None:
        """Return `value`, which must be a text that can be a file's name, or None."""
        from ._exceptions import wrong_type

        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong_type(name, value, "a str", f'write "{self.sample}"')
        if not value or "\0" in value:
            refuse(name, f"{'it has a NUL character' if value else 'it is empty'}; write {self.sample}")
        return value

    def read(self, name: str, text: str) -> str | None:
        """Return the text as it stands."""
        return self.check(name, text)

    def show(self, value: object) -> str:
        """Return the name, or that there is none."""
        return "none" if value is None else f"{value}"


class ServerName(FileName):
    """The name that a certificate is for, or None."""

    metavar = "NAME"

    def __init__(self) -> None:
        super().__init__("db.example.com")


def refuse(name: str, why: str) -> NoReturn:
    """Raise the ConfigError of a text that is no value."""
    from ._exceptions import ConfigError

    raise ConfigError(f"{name}: {why}")
