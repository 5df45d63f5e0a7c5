"""The scripts of one listener: loaded in their order, given to its server, and loaded again while it runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..._connection import Connection
from ..._framing_pair import FramingFor
from ..._server import TheServer
from .chain import chained
from .script import Script, imported_anew
from .source import ScriptError, Source, Stamp, stamp_of
from .values import Given, check_known

_logger = logging.getLogger("interpose.script")


class Scripts:
    """The scripts of one listener. Raises ScriptError or ConfigError if one cannot be loaded."""

    def __init__(self, sources: Sequence[Source], given: Sequence[Given]) -> None:
        self._given = given
        self.has_ended = False
        self._server: TheServer | None = None
        self._filters_before: list[Any] = []
        self._filters_now: list[Any] = []
        self._threads = threading.enumerate()
        # Files of the last reload, if it has failed: a change of one is tried, too.
        self._wrong: frozenset[Path] = frozenset()
        self._loaded: list[Script] = self._load(sources)
        self._framing = _framing_of(self._loaded)
        # The server was made with this one; another is set on each connection.
        self._first_framing = self._framing

    def keywords(self) -> dict[str, Any]:
        """Return the arguments of TheServer that the scripts stand for."""
        found: dict[str, Any] = dict(self._hooks())
        if self._framing is not None:
            found["framing"] = self._framing
        if filters := self._filters():
            found["filters"] = filters
        return found

    def attach(self, server: TheServer, filters: Sequence[Any] = ()) -> None:
        """Take the server that was made with keywords() and with `filters` before those: a reload changes it."""
        self._server = server
        self._filters_before = [*filters]
        self._filters_now = [*filters, *self._filters()]

    @property
    def filters_before(self) -> list[Any]:
        """The filters of the command's."""
        return [*self._filters_before]

    def put_filters(self, filters: Sequence[Any]) -> None:
        """Put other filters before those of the scripts, for the clients to come."""
        server: Any = self._server
        server.filters = now = [*filters, *self._filters()]
        self._filters_before, self._filters_now = [*filters], now

    def files(self) -> set[Path]:
        """Return the files whose change means a reload: those of the scripts, and modules beside them."""
        return {file for script in self._loaded for file in script.files} | self._wrong

    def stamps(self) -> dict[Path, Stamp]:
        """Return the stamps of the files, as they were when each was loaded."""
        loaded = {file: stamp for script in self._loaded for file, stamp in script.stamps.items()}
        return {file: stamp_of(file) for file in self.files()} | loaded

    def names(self) -> str:
        """Return the names of the scripts, for a line of the log."""
        return ", ".join(script.source.name for script in self._loaded)

    def names_of(self, files: set[Path]) -> list[str]:
        """Return the names of the scripts that one of these files belongs to."""
        return [script.source.name for script in self._loaded if script.files & files]

    def reload(self, changed: set[Path] | None = None) -> list[str]:
        """Load the scripts of the `changed` files again; all without that. Return their names.

        Live connections go on, and call the new hooks from the next chunk on. Raises ScriptError, and then the scripts
        in force stay.
        """
        everything = changed is None or changed & self._wrong
        old = [script for script in self._loaded if everything or script.files & (changed or set())]
        if not old:
            return []
        beside = (changed or set()) - {script.source.path for script in old}
        try:
            with ExitStack() as stack:
                if beside:
                    stack.enter_context(imported_anew(beside))
                new = self._load([script.source for script in old], [one for one in self._loaded if one not in old])
        except ScriptError as error:
            self._wrong = error.files
            raise
        self._wrong = frozenset()
        pairs = dict(zip(map(id, old), new, strict=True))
        before, self._loaded = self._loaded, [pairs.get(id(script), script) for script in self._loaded]
        try:
            self._put()
        except BaseException:
            self._loaded = before
            self._put()
            _unload(new)
            raise
        _unload(old)
        return [script.source.name for script in new]

    def end(self) -> None:
        """Unload each, once; say which threads of theirs keep the process alive after that."""
        if self.has_ended:
            return
        self.has_ended = True
        self.unload()
        begun = [one for one in threading.enumerate() if one not in self._threads]
        left = [one.name for one in begun if not one.daemon]
        if left:
            _logger.warning(
                "script %s: the thread %s goes on, and the command ends when it does; "
                "end it in unload(), or make it daemon=True",
                self.names(),
                ", ".join(left),
            )

    def unload(self) -> None:
        """Unload each, the last one first. What one raises is logged."""
        _unload(self._loaded[::-1])

    def _load(self, sources: Sequence[Source], others: Sequence[Script] = ()) -> list[Script]:
        loaded: list[Script] = []
        try:
            for source in sources:
                loaded.append(Script(source, self._given))
            check_known(self._given, [(script.source.stem, script.options) for script in (*others, *loaded)])
            _framing_of([*others, *loaded])
        except BaseException as error:
            _logger.debug("the script that cannot be loaded:", exc_info=error.__cause__ or error)
            _unload(loaded)
            raise
        return loaded

    def _hooks(self) -> dict[str, Callable[..., Any]]:
        return chained([script.hooks for script in self._loaded])

    def _filters(self) -> list[Any]:
        return [one for script in self._loaded for one in script.filters]

    def _put(self) -> None:
        """Put hooks, framing and filters of the scripts in force on the server."""
        server = self._server
        if server is None:
            return
        self._framing, before = _framing_of(self._loaded), self._framing
        hooks = self._hooks()
        if self._framing != self._first_framing:
            hooks["on_connect"] = _framed(_pair(self._framing), hooks.get("on_connect"))
        if self._framing != before:
            for connection in server.connections:
                if connection.upstream is not None:
                    _set_framing(connection, _pair(self._framing))
        server._callbacks.replace(hooks)  # pyright: ignore[reportPrivateUsage]
        filters = [*self._filters_before, *self._filters()]
        if filters != self._filters_now:
            attributes: Any = server
            attributes.filters = self._filters_now = filters


def _framing_of(scripts: Sequence[Script]) -> FramingFor:
    """Return the framing of the one script that has one. Raises ScriptError if two have."""
    having = [script for script in scripts if script.framing is not None]
    if len(having) > 1:
        first, second = having[0].source.name, having[1].source.name
        raise ScriptError(f"{second}: framing: {first} has one already; one script of a listener may cut messages")
    return having[0].framing if having else None


def _pair(framing: FramingFor) -> tuple[Any, Any]:
    return framing if isinstance(framing, tuple) else (framing, framing)


def _set_framing(connection: Connection, pair: tuple[Any, Any]) -> None:
    connection.client.framing = pair[0]
    if connection.upstream is not None:
        connection.upstream.framing = pair[1]


def _framed(pair: tuple[Any, Any], then: Callable[..., Any] | None) -> Callable[..., Any]:
    def on_connect(conn: Connection) -> Any:
        _set_framing(conn, pair)
        return None if then is None else then(conn)

    return on_connect


def _unload(scripts: Sequence[Script]) -> None:
    for script in scripts:
        try:
            script.unload()
        except ScriptError as error:
            _logger.error("%s", error)
            _logger.debug("its unload():", exc_info=error.__cause__)
