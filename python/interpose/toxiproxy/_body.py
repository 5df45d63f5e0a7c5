"""The JSON that clients send, and the values of its fields."""

from __future__ import annotations

import json
from typing import NoReturn, TypeAlias, cast

from .._addresses import MOST_TEXT
from .._exceptions import printable
from ._refusal import among, bad_body

Fields: TypeAlias = dict[str, object]

# A boolean of Python's is an int as well.
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


def value_of(body: bytes) -> object:
    """Return the JSON of a body, or raise RefusedError."""
    if not body.strip():
        raise bad_body("it is empty; send JSON")
    try:
        return json.loads(body, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise bad_body(f"it is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except UnicodeDecodeError:
        raise bad_body("it is not UTF-8") from None
    except RecursionError:
        raise bad_body("it is nested too deeply") from None
    except ValueError as error:
        raise bad_body(f"it is not JSON: {error}") from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def fields_of(value: object, known: tuple[str, ...], what: str) -> Fields:
    """Return the fields of a JSON object by their names in small letters, without those that are null.

    Raises RefusedError for what is no object, and for a field that is none of `known`.
    """
    if not isinstance(value, dict):
        sample = f'{{"{known[0]}": ...}}' if known else "{}"
        raise bad_body(f"{what}: it is {_kind_of(value)}, not an object; send {sample}")
    found: Fields = {}
    for name, one in cast("dict[str, object]", value).items():
        plain = name.lower()
        if plain not in known:
            raise bad_body(f"{what}: there is no {printable(name[:40])!r}; {among(plain, known)}")
        if one is not None:
            found[plain] = one
    return found


def text_of(fields: Fields, name: str, default: str = "") -> str:
    """Return the text of a field, or raise RefusedError."""
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise bad_body(f"{name} is {_kind_of(value)}, not a string")
    if len(value) > MOST_TEXT:
        raise bad_body(f"{name} is longer than {MOST_TEXT} characters; give a shorter one")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise bad_body(f"{name} has a lone surrogate; give plain text")
    return value


def switch_of(fields: Fields, name: str, default: bool) -> bool:
    """Return the truth of a field, or raise RefusedError."""
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise bad_body(f"{name} is {_kind_of(value)}, not a boolean; give true or false")
    return value


def share_of(fields: Fields, name: str, default: float) -> float:
    """Return a number from 0 to 1, or raise RefusedError."""
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad_body(f"{name} is {_kind_of(value)}, not a number")
    if not 0 <= value <= 1:
        advice = f"; {value} per cent are {value / 100:g}" if 1 < value <= 100 else ""
        raise bad_body(f"{name} is not between 0 and 1{advice}")
    return float(value)


def whole_of(fields: Fields, name: str, what: str) -> int:
    """Return a whole number from 0 on, or raise RefusedError."""
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad_body(f"{name} of {what} is {_kind_of(value)}, not a whole number")
    if value < 0:
        raise bad_body(f"{name} of {what} is negative; give 0 or more")
    return value


def _kind_of(value: object) -> str:
    """Return the word for a value of JSON."""
    for kinds, word in _KINDS:
        if isinstance(value, kinds):
            return word
    return "null"
