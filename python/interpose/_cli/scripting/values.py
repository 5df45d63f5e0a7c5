"""The values of a script's options: from the texts of `--set`, by the types of their defaults."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..._exceptions import ConfigError, printable
from ..._kinds import Seconds, Switch
from ..._sizes import Size


@dataclass(frozen=True, slots=True)
class Given:
    """One `--set`: for the option `key` of all scripts that have it, or of the one named `script` alone."""

    script: str
    key: str
    text: str

    @property
    def shown(self) -> str:
        """The part before the =."""
        return f"--set {self.script}.{self.key}" if self.script else f"--set {self.key}"

    def is_for(self, script: str, options: Mapping[str, object]) -> bool:
        """Return whether it sets an option of that script."""
        return self.key in options and self.script in ("", script)


def read_given(texts: Iterable[str]) -> list[Given]:
    """Return what `--set` says. Raises ConfigError for a text without an equals sign."""
    found: list[Given] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            wrong = "the name is missing" if equals else "the = is missing"
            example = f"{key.strip() or 'name'}=VALUE"
            raise ConfigError(printable(f"--set {text}: {wrong}; write --set {example}"))
        script, _, name = key.strip().rpartition(".")
        found.append(Given(script.replace("-", "_"), name.replace("-", "_"), value))
    return found


def settled(script: str, options: Mapping[str, object], given: Sequence[Given]) -> dict[str, object]:
    """Return the options of one script with what is `given` in the place of defaults. Raises ConfigError."""
    values = dict(options)
    for one in given:
        if one.is_for(script, options):
            values[one.key] = _converted(one.shown, options[one.key], one.text)
    return values


def check_known(given: Iterable[Given], scripts: Sequence[tuple[str, Mapping[str, object]]]) -> None:
    """Raise ConfigError for what is `given` and no script has. `scripts` are their names and options."""
    for one in given:
        if any(one.is_for(script, options) for script, options in scripts):
            continue
        names = [name for script, options in scripts if one.script in ("", script) for name in options]
        if one.script and one.script not in (script for script, _ in scripts):
            scripts_near = difflib.get_close_matches(one.script, [script for script, _ in scripts], 1)
            advice = f"did you mean {scripts_near[0]}?" if scripts_near else "leave it out before the dot"
            raise ConfigError(printable(f"{one.shown}: there is no script {one.script}; {advice}"))
        near = difflib.get_close_matches(one.key, names, 1, 0.6)
        advice = f"there are {', '.join(sorted(set(names)))}" if names else "the script has no options"
        advice = f"did you mean {near[0]}?" if near else advice
        raise ConfigError(printable(f"{one.shown}: no script has this option; {advice}"))


def _size(name: str, default: int, text: str) -> object:
    if text[-1:] in ("b", "B"):
        return Size(0).read(name, text)
    raise ConfigError(printable(f"{name}: {text!r} is not a whole number; write one such as {default}")) from None


def _converted(name: str, default: object, text: str) -> Any:
    if isinstance(default, bool):
        return Switch().read(name, text)
    if isinstance(default, int):
        try:
            return int(text.replace("_", ""), 0)
        except ValueError:
            return _size(name, default, text)
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            return Seconds(zero=True).read(name, text)
    if default is None or isinstance(default, str):
        return text
    if isinstance(default, bytes):
        try:
            return codecs.escape_decode(text.encode("utf-8", "surrogateescape"))[0]
        except ValueError:
            raise ConfigError(printable(f"{name}: {text!r} has a broken escape; write \\x00, \\r\\n or \\\\")) from None
    if isinstance(default, (tuple, list)):
        items: Sequence[object] = cast("Sequence[object]", default)
        first = items[0] if items else ""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        values = [_converted(name, first, part) for part in parts]
        return tuple(values) if isinstance(default, tuple) else values
    kind = type(default).__name__
    raise ConfigError(
        printable(
            f"{name}: its default is of the type {kind}, which no text stands for; "
            "give it a text, number, bool, bytes, list or None"
        )
    )
