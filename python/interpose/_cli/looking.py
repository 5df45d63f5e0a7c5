"""The settings of looking and replacing, made filters."""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import filters, framing
from .._exceptions import ConfigError, printable
from .._groups import Looking
from .._replacements import pairs_of, regex_pair
from .._sizes import Size
from ..framing import Framing
from .combinations import STANDARD_OUTPUT

# What shows, by its settings.
_open: weakref.WeakValueDictionary[Looking, filters.Filter] = weakref.WeakValueDictionary()
_COLORS = {"auto": None, "always": True, "never": False}
_WITH_ARGUMENT: dict[str, Callable[[str], Framing]] = {
    "length": lambda argument: framing.length_prefixed(int(argument)),
    "fixed": lambda argument: framing.fixed(Size().read("--framing", argument) or 1),
    "delimited": lambda argument: framing.delimited(bytes.fromhex(argument)),
}


def filters_of(looking: Looking) -> list[filters.Filter]:
    """Return the filters that `looking` means, or raise ConfigError: what shows first, then what replaces."""
    _check(looking)
    shows = _shared(looking)
    return [*([shows] if shows is not None else []), *_replaces(looking)]


def check_looking(looking: Looking) -> None:
    """Raise ConfigError where filters_of() would, and open no file."""
    _check(looking)
    if looking.output not in (None, STANDARD_OUTPUT):
        refuse_unwritable("--output", looking.output)
    if looking.grep:
        with _said_of("--grep"), Path(os.devnull).open("w", encoding="ascii") as nowhere:
            _grep(looking, filters.Text(nowhere))
    list(_replaces(looking))


def refuse_unwritable(option: str, path: str) -> None:
    """Raise ConfigError if a file could not be made, or written."""
    file = Path(path)
    if file.is_dir():
        why = "it is a folder; give a file"
    elif not file.parent.is_dir():
        why = f"there is no folder {file.parent}; make it first"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        why = "it may not be written; give a file in a folder that you may write to"
    else:
        return
    raise ConfigError(printable(f"{option} {path}: {why}"))


def _grep(looking: Looking, shows: filters.Filter) -> filters.Grep:
    return filters.Grep([one.encode("utf-8", "surrogateescape") for one in looking.grep], shows)


def _shared(looking: Looking) -> filters.Filter | None:
    """Return what shows: one filter for all listeners that show alike, so that it tells their connections apart."""
    default = Looking()
    alike = dataclasses.replace(
        looking,
        replace=default.replace,
        replace_regex=default.replace_regex,
        replace_direction=default.replace_direction,
        framing_errors=default.framing_errors,
    )
    made = _open.get(alike)
    if made is None:
        try:
            made = _shows(looking)
        except OSError as error:
            raise ConfigError(
                f"--output {looking.output}: {error.strerror}; give a file that can be written"
            ) from error
        if made is not None and looking.grep:
            # Both directions are looked through: an answer may match as well as a question.
            with _said_of("--grep"):
                made = _grep(looking, made)
        if made is not None:
            _open[alike] = made
    return made


def server_framing(looking: Looking) -> Framing | None:
    """Return the framing of the server: whole messages are replaced in, with their lengths set right."""
    return framing_of(looking.framing) if looking.replace or looking.replace_regex else None


def _shows(looking: Looking) -> filters.Filter | None:
    output = None if looking.output == STANDARD_OUTPUT else looking.output
    direction, frames = looking.direction, framing_of(looking.framing)
    truncate, color = looking.truncate, _COLORS[looking.color]
    if looking.hexdump:
        width = looking.width
        return filters.Hexdump(output, width=width, truncate=truncate, color=color, direction=direction, framing=frames)
    if looking.text:
        return filters.Text(output, truncate=truncate, color=color, direction=direction, framing=frames)
    return filters.JsonLines(output, direction=direction, framing=frames) if looking.json else None


def _replaces(looking: Looking) -> Iterator[filters.Filter]:
    if looking.replace:
        pairs = pairs_of("--replace", looking.replace, "'old=new'")
        with _said_of("--replace"):
            yield filters.Replace(pairs, direction=looking.replace_direction)
    for text in looking.replace_regex:
        pattern, replacement = regex_pair("--replace-regex", text, "'pattern=new'")
        with _said_of("--replace-regex"):
            yield filters.ReplaceRegex(pattern, replacement, direction=looking.replace_direction)


@contextmanager
def _said_of(option: str) -> Generator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None


def _check(looking: Looking) -> None:
    """Raise ConfigError for two ways to look, and for a setting of looking without one."""
    ways = [f"--{name}" for name in ("hexdump", "text", "json") if getattr(looking, name)]
    if len(ways) > 1:
        raise ConfigError(f"{ways[1]}: it is not allowed with {ways[0]}; give one of them")
    default, replaces = Looking(), looking.replace or looking.replace_regex
    if looking.framing_errors != default.framing_errors and not (replaces and looking.framing):
        raise ConfigError("--framing-errors: it is about replacing in whole messages; add --replace and --framing")
    if looking.replace_direction != default.replace_direction and not replaces:
        raise ConfigError("--replace-direction: nothing is replaced; add --replace OLD=NEW")
    if ways:
        return
    for name in ("output", "width", "truncate", "grep", "direction", *(() if replaces else ("framing",))):
        if getattr(looking, name) != getattr(default, name):
            other = "; or write --replace-direction" if replaces and name == "direction" else ""
            raise ConfigError(f"--{name}: it says how to show what passes; add --hexdump, --text or --json{other}")


def framing_of(text: str | None) -> Framing | None:
    """Return the framing that `--framing` names."""
    if text is None:
        return None
    word, _, argument = text.partition(":")
    if word in _WITH_ARGUMENT:
        return _WITH_ARGUMENT[word](argument)
    made: Framing = getattr(framing, word)()
    return made
