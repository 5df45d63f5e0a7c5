"""The files of scripts, looked at for changes: of one listener, and of all that are served."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ..._exceptions import InterposeError
from ..served import Served
from .scripts import Scripts
from .server import ScriptedServer
from .source import Stamp, stamp_of

_logger = logging.getLogger("interpose.script")


class Watch:
    """Loads the scripts of one listener again when their files have changed, and stand still."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        # Of the time at which they were loaded: what has changed since is seen.
        self._stamps = scripts.stamps()
        self._moving: dict[Path, Stamp] | None = None

    def look(self, *, asked: bool) -> None:
        """Load what has changed since the last look but one; all at once where it is `asked`."""
        now = _stamps(self._scripts.files())
        changed = {file for file, stamp in now.items() if stamp != self._stamps.get(file, stamp)}
        if not asked:
            if not changed:
                self._stamps, self._moving = now, None
                return
            # A file that is being written is looked at once more.
            if now != self._moving:
                self._moving = now
                return
        self._stamps, self._moving = now, None
        gone = sorted(str(file.name) for file in changed if now[file] is None)
        if gone and not asked:
            _logger.warning("script %s: the file is gone; what was loaded of it goes on", ", ".join(gone))
            return
        self._reload(None if asked else changed)
        self._stamps = _stamps(self._scripts.files()) | self._stamps

    def _reload(self, changed: set[Path] | None) -> None:
        try:
            names = self._scripts.reload(changed)
        except InterposeError as error:
            _logger.error("%s; what was loaded before goes on", error)
        else:
            if names:
                _logger.info("script %s: loaded again", ", ".join(names))


class ScriptWatch:
    """Watches the scripts of all servers, also of those that a reload adds, until each has ended."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._watched: dict[ScriptedServer, Watch] = {}

    def has_some(self) -> bool:
        """Return whether a server has scripts now."""
        self._follow()
        return bool(self._watched)

    def look(self) -> None:
        """Load what has changed, and unload the scripts of servers that have ended."""
        self._follow()
        for server, watch in list(self._watched.items()):
            if server._native.is_closed:  # pyright: ignore[reportPrivateUsage]
                del self._watched[server]
                server.scripts.end()
            else:
                watch.look(asked=False)

    def load_all(self) -> None:
        """Load everything again at once."""
        self._follow()
        for watch in self._watched.values():
            watch.look(asked=True)

    def end(self) -> None:
        """Unload all."""
        self._follow()
        while self._watched:
            server, _ = self._watched.popitem()
            server.scripts.end()

    def _follow(self) -> None:
        for server in self._served.servers():
            if isinstance(server, ScriptedServer) and server not in self._watched and not server.scripts.has_ended:
                self._watched[server] = Watch(server.scripts)


def _stamps(files: Iterable[Path]) -> dict[Path, Stamp]:
    return {file: stamp_of(file) for file in files}
