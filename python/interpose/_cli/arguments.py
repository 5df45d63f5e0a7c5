"""The words behind a subcommand, read by its row of the table of commands: options of its own, and the other words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from .._exceptions import ConfigError, printable
from .commands import Command, Option


@dataclass(slots=True)
class Words:
    """The given words: `places` in their order, and the values of `options` by flag; that of a switch is "".

    `repeated` has all values of an option that may be given more than once.
    """

    places: list[str] = field(default_factory=list[str])
    options: dict[str, str] = field(default_factory=dict[str, str])
    repeated: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


def read_words(command: Command, words: Sequence[str]) -> Words:
    """Return what `words` mean to `command`, or raise ConfigError for the first slip."""
    known: dict[str, Option] = {}
    for option in command.options:
        known.update({name: option for name in (option.flag, option.short) if name})
    found = Words()
    left = iter(words)
    for word in left:
        if word == "--":
            found.places += left
        elif len(word) < 2 or not word.startswith("-"):
            found.places.append(word)
        else:
            name, equals, value = word.partition("=")
            option = known.get(name) or _unknown(command, word, known)
            if option.flag in found.options and not option.repeats:
                _refuse(name, "it is given twice; give it once")
            if not option.metavar:
                if equals:
                    _refuse(name, f"it takes no value, and {value!r} is one; write {name}")
            elif not equals:
                value = next(left, "")
            found.options[option.flag] = _value_of(option, name, value)
            found.repeated.setdefault(option.flag, []).append(found.options[option.flag])
    if len(found.places) > command.places:
        _too_much(command, found.places[command.places])
    return found


def _value_of(option: Option, name: str, value: str) -> str:
    if option.metavar and not value:
        _refuse(name, f"its value is missing; write {name} {'|'.join(option.choices) or option.metavar}")
    if option.choices and value not in option.choices:
        near = difflib.get_close_matches(value, option.choices, 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(option.choices)}"
        _refuse(name, f"there is no {value!r}; {advice}")
    return value


def _unknown(command: Command, word: str, known: dict[str, Option]) -> NoReturn:
    name = word.partition("=")[0]
    near = difflib.get_close_matches("--" + name.lower().lstrip("-").replace("_", "-"), known, 1, 0.7)
    if near:
        _refuse(f"{command.name} {name}", f"there is no such option; did you mean {near[0]}?")
    _too_much(command, word)


def _too_much(command: Command, word: str) -> NoReturn:
    _refuse(command.name, f"it takes no {word!r}; write {command.written}, or see interpose {command.name} --help")


def _refuse(what: str, why: str) -> NoReturn:
    raise ConfigError(printable(f"{what}: {why}"))
