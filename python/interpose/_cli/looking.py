"""The settings of looking, made filters."""

from __future__ import annotations

from collections.abc import Callable

from .. import filters, framing
from .._exceptions import ConfigError
from .._groups import Looking
from ..framing import Framing

_COLORS = {"auto": None, "always": True, "never": False}
_WITH_ARGUMENT: dict[str, Callable[[str], Framing]] = {
    "length": lambda argument: framing.length_prefixed(int(argument)),
    "fixed": lambda argument: framing.fixed(int(argument)),
    "delimited": lambda argument: framing.delimited(bytes.fromhex(argument)),
}


def filters_of(looking: Looking) -> list[filters.Filter]:
    """Return the filters that `looking` means, or raise ConfigError."""
    _check(looking)
    frames = _framing_of(looking.framing)
    color = _COLORS[looking.color]
    try:
        if looking.hexdump:
            made: filters.Filter = filters.Hexdump(
                looking.output, width=looking.width, truncate=looking.truncate, color=color, framing=frames
            )
        elif looking.text:
            made = filters.Text(looking.output, truncate=looking.truncate, color=color, framing=frames)
        elif looking.json:
            made = filters.JsonLines(looking.output, framing=frames)
        else:
            return []
    except OSError as error:
        raise ConfigError(f"--output {looking.output}: {error.strerror}; give a file that can be written") from error
    return [made]


def _check(looking: Looking) -> None:
    """Raise ConfigError for two ways to look, and for a setting of looking without one."""
    ways = [f"--{name}" for name in ("hexdump", "text", "json") if getattr(looking, name)]
    if len(ways) > 1:
        raise ConfigError(f"{ways[1]}: it is not allowed with {ways[0]}; give one of them")
    if ways:
        return
    default = Looking()
    for name in ("output", "width", "truncate", "framing"):
        if getattr(looking, name) != getattr(default, name):
            raise ConfigError(f"--{name}: it says how to show what passes; add --hexdump, --text or --json")


def _framing_of(text: str | None) -> Framing | None:
    if text is None:
        return None
    word, _, argument = text.partition(":")
    if word in _WITH_ARGUMENT:
        return _WITH_ARGUMENT[word](argument)
    made: Framing = getattr(framing, word)()
    return made
