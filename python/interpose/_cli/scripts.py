"""`interpose scripts`: the ready scripts, listed or printed to be copied."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Sequence
from typing import NoReturn

from .._exceptions import ConfigError, printable
from .arguments import read_words
from .commands import command_of
from .console import OK, say, take_output
from .scripting.source import READY, ready_names

_INDENT = 18


def run(words: Sequence[str]) -> int:
    """List the ready scripts, or print one, and return the exit code."""
    places = read_words(command_of(["scripts"]), words).places
    if places and places[0] not in ("show", "list"):
        _refuse(places[0], "it is neither list nor show", places[0])
    take_output()
    if places[:1] == ["show"]:
        if len(places) < 2:
            raise ConfigError("scripts show: the name is missing; write interpose scripts show count")
        say(_text_of(places[1]).rstrip("\n"))
        return OK
    if len(places) > 1:
        _refuse(places[1], "list takes no name", places[1])
    say("Ready scripts, for --script NAME. Options are set with --set NAME=VALUE.")
    for name in ready_names():
        line, options = _described(_text_of(name))
        say(f"  {name.replace('_', '-'):<{_INDENT - 3}} {line}")
        if options:
            say(f"{'':<{_INDENT}}{options}")
    say("interpose scripts show NAME prints one, to be copied and changed.")
    return OK


def _text_of(name: str) -> str:
    plain = name.removesuffix(".py").replace("-", "_")
    if plain not in ready_names():
        _refuse(name, "there is no such ready script", name)
    return (READY / f"{plain}.py").read_text(encoding="utf-8")


def _described(text: str) -> tuple[str, str]:
    """Return the first line of a script's docstring, and its options with their defaults. It is not run."""
    tree = ast.parse(text)
    line = (ast.get_docstring(tree) or "").partition("\n")[0]
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "options" and statement.value:
            defaults: dict[str, object] = ast.literal_eval(statement.value)
            return line, "  ".join(f"{name}={_shown(value)}" for name, value in defaults.items())
    return line, ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value == () else f"{value}"


def _refuse(what: str, why: str, name: str) -> NoReturn:
    plain = name.removesuffix(".py").replace("_", "-")
    names = [one.replace("_", "-") for one in ready_names()]
    near = difflib.get_close_matches(plain, names, 1, 0.6)
    advice = f"did you mean interpose scripts show {near[0]}?" if near else "see interpose scripts"
    raise ConfigError(printable(f"scripts {what}: {why}; {advice}"))
