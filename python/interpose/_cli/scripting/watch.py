"""The files of scripts, looked at for changes: of one listener, and of all that are served."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from ..._exceptions import InterposeError
from ..._server import TheServer
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

    def look(self, stamps: _Stamps | None = None, *, asked: bool) -> None:
        """Load what has changed since the last look but one; all at once where it is `asked`.

        `stamps` are those of all listeners in this round.
        """
        stamps = stamps or _Stamps()
        now = stamps.of(self._scripts.files())
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
            stamps.say(logging.WARNING, f"script {', '.join(gone)}: the file is gone; what was loaded of it goes on")
            return
        # What is loaded may be older than the last look.
        loaded = self._scripts.stamps()
        fresh = self._scripts.names_of({file for file, stamp in now.items() if stamp != loaded.get(file, stamp)})
        self._reload(None if asked else changed, fresh if asked else None, stamps)
        self._stamps = stamps.of(self._scripts.files()) | self._stamps

    def _reload(self, changed: set[Path] | None, fresh: list[str] | None, stamps: _Stamps) -> None:
        try:
            names = self._scripts.reload(changed)
        except InterposeError as error:
            stamps.say(logging.ERROR, f"{error}; what was loaded before goes on")
            return
        again = names if fresh is None else [name for name in names if name in fresh]
        same = [name for name in names if name not in again]
        if again:
            stamps.say(logging.INFO, f"script {', '.join(again)}: loaded again")
        if same:
            stamps.say(logging.INFO, f"script {', '.join(same)}: unchanged; loaded again all the same")


class _Stamps:
    """The files as they are in one round, and what the log was given in it: each line once, for all listeners."""

    def __init__(self) -> None:
        self._found: dict[Path, Stamp] = {}
        self._said: set[str] = set()

    def of(self, files: Iterable[Path]) -> dict[Path, Stamp]:
        """Return the stamps of `files`."""
        for file in files:
            if file not in self._found:
                self._found[file] = stamp_of(file)
        return {file: self._found[file] for file in files}

    def say(self, level: int, line: str) -> None:
        """Log a line, unless it was logged in this round."""
        if line not in self._said:
            self._said.add(line)
            _logger.log(level, "%s", line)


class Servers(Protocol):
    """The servers whose scripts are watched."""

    def servers(self) -> Sequence[TheServer]:
        """Return all of them, with those that come and go."""
        ...


class ScriptWatch:
    """Watches the scripts of all servers, also of those that a reload adds, until each has ended."""

    def __init__(self, served: Servers) -> None:
        self._served = served
        self._watched: dict[ScriptedServer, Watch] = {}

    def has_some(self) -> bool:
        """Return whether a server has scripts now."""
        self._follow()
        return bool(self._watched)

    def look(self) -> None:
        """Load what has changed, and unload the scripts of servers that have ended."""
        self._follow()
        stamps = _Stamps()
        for server, watch in list(self._watched.items()):
            if server._native.is_closed:  # pyright: ignore[reportPrivateUsage]
                del self._watched[server]
                server.scripts.end()
            else:
                watch.look(stamps, asked=False)

    def load_all(self) -> None:
        """Load everything again at once."""
        self._follow()
        stamps = _Stamps()
        for watch in self._watched.values():
            watch.look(stamps, asked=True)

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
