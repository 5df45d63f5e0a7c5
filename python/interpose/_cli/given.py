"""Values of settings as they were given, each with its place: an option, a variable, a line of a file."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from .._exceptions import ConfigError
from .._kinds import Switch
from .._settings_and_help import GROUPS, Setting, rows_of
from . import environment

# What goes before what: the higher one.
FILE, LISTENER, VARIABLE, OPTION = range(4)


@dataclass(frozen=True, slots=True)
class Given:
    """A value. `name` is the setting's name there, `place` where that is, `rank` says what it goes before."""

    value: object
    name: str
    place: str
    rank: int


Values: TypeAlias = dict[Setting, Given]


def of_options(found: Mapping[str, Any]) -> Values:
    """Return the values of the parser's result, by the keys of their settings."""
    values: Values = {}
    for row in rows_of():
        value = found.get(row.key)
        if value is None:
            continue
        if row.kind.repeats:
            value = row.kind.check(row.flag, value)
        elif not isinstance(row.kind, Switch):
            value = row.kind.read(row.flag, value)
        values[row] = Given(value, row.flag, _written(row, value), OPTION)
    return values


def of_variables(variables: Mapping[str, str], but: Collection[Setting]) -> Values:
    """Return the values of `variables`. Those of the settings `but` are not even read."""
    texts = {row: text for row, text in environment.texts(variables).items() if row not in but}
    return {
        row: Given(row.kind.read(row.variable, text), row.variable, row.variable, VARIABLE)
        for row, text in texts.items()
    }


def settled(*layers: Values) -> Values:
    """Return the values of all `layers`; a later one goes before an earlier one."""
    values = {row: given for layer in layers for row, given in layer.items()}
    both = [row for row in rows_of("command") if row.name in ("verbose", "quiet") and row in values]
    if len(both) == 2 and all(values[row].value for row in both):
        lower, higher = sorted(both, key=lambda row: values[row].rank)
        if values[lower].rank == values[higher].rank:
            first, second = (values[row].name for row in both)
            raise ConfigError(f"{second}: it is not allowed with {first}; give one of them")
        values[lower] = Given(False, values[higher].name, values[higher].place, values[higher].rank)
    return values


def groups_of(values: Values) -> dict[str, Any]:
    """Return the groups with `values`, by name; what is not given has its default."""
    return {
        group.name: group.kind(**{row.name: values[row].value for row in group.rows if row in values})
        for group in GROUPS
    }


@contextmanager
def placed(values: Values) -> Generator[None]:
    """Let a ConfigError about an option name the place where the setting was given, if that is not an option."""
    try:
        yield
    except ConfigError as error:
        flags = {row.flag: row for row in rows_of() if row.flag}
        found = re.match(r"(--[a-z-]+)[ :]", f"{error}")
        given = values.get(flags[found[1]]) if found and found[1] in flags else None
        if given is None or given.place == given.name:
            raise
        # The others that it names are meant by their keys, too.
        text = re.sub(r"--[a-z-]+", lambda flag: flags[flag[0]].key if flag[0] in flags else flag[0], f"{error}")
        raise ConfigError(f"{given.place}: {text}") from error


def _written(row: Setting, value: object) -> str:
    """Return the option that was given: a switch has one for each of its values."""
    if isinstance(row.kind, Switch):
        return row.flag if value is not row.default else f"--{row.long}" if value else f"--no-{row.long}"
    return row.flag
