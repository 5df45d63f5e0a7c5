"""The server of a listener that has scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..._groups import ScriptSettings
from ..._server import TheServer
from .scripts import Scripts
from .source import Source, of_code, of_text
from .values import read_given

if TYPE_CHECKING:
    from ..._filter import Filter


class ScriptedServer(TheServer):
    """A server whose hooks are those of scripts."""

    def __init__(self, scripts: Scripts, address: str, **settings: Any) -> None:
        keywords = scripts.keywords()
        own: list[Any] = [*settings.pop("filters", ())]
        if filters := [*own, *keywords.pop("filters", ())]:
            keywords["filters"] = filters
        # The framing of a script goes before that of the command.
        super().__init__(address, **{**settings, **keywords})
        self.scripts = scripts
        scripts.attach(self, own)


def put_filters(server: TheServer, own: Sequence[Filter]) -> None:
    """Put filters of the command's in force on a server, before those of its scripts, for the clients to come."""
    if isinstance(server, ScriptedServer):
        server.scripts.put_filters(own)
    else:
        server.filters = [*own]


def filters_of(server: TheServer) -> list[Filter]:
    """Return the filters of the command's that a server has, without those of its scripts."""
    return server.scripts.filters_before if isinstance(server, ScriptedServer) else [*server.filters]


def check(settings: ScriptSettings) -> None:
    """Raise ScriptError for a script that is missing or no Python. Nothing of them is run."""
    read_given(settings.set)
    for source in _sources(settings):
        source.compiled()


def _sources(settings: ScriptSettings) -> list[Source]:
    return [*map(of_text, settings.script), *map(of_code, settings.code)]


def bind(settings: ScriptSettings, address: str, **arguments: Any) -> TheServer:
    """Return a server that listens and is not started: with scripts, if there are some. Raises ScriptError."""
    given = read_given(settings.set)
    sources = _sources(settings)
    if not sources:
        return TheServer(address, **arguments)
    scripts = Scripts(sources, given)
    try:
        return ScriptedServer(scripts, address, **arguments)
    except BaseException:
        scripts.unload()
        raise
