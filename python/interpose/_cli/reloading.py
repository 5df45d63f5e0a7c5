"""Reloads while the command serves: in a thread of their own, when SIGHUP asks for one or files have changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from .._threads import start_thread

# How often files are looked at. A change is in force after twice that.
_LOOK_SECONDS = 0.25

_logger = logging.getLogger("interpose.command")


class Reloads:
    """Calls reloads in the order in which they were added, never two at once, and none before `ready` is set.

    `begin` and `end` are called around those that SIGHUP asks for.
    """

    def __init__(self, ready: threading.Event, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._ready = ready
        self._begin = begin
        self._end = end
        self._all: list[Callable[[], None]] = []
        self._wanted = threading.Semaphore(0)
        self._over = False
        self.look: Callable[[], None] | None = None
        """Called a few times a second: for files that are loaded again without being asked."""

    @property
    def has_some(self) -> bool:
        """True if there is something to load again, so that SIGHUP does not end the command."""
        return bool(self._all)

    def add(self, reload: Callable[[], None]) -> None:
        """Call `reload` when SIGHUP asks for it. It logs what is wrong, and what was in force goes on."""
        self._all.append(reload)

    def start(self) -> None:
        """Start the thread, if there is something to load again."""
        if self._all:
            start_thread("interpose-reload", self._run)

    def ask(self) -> None:
        """Load everything again soon. Return at once: the next signal must find its thread free."""
        self._wanted.release()

    def stop(self) -> None:
        """Load nothing again from here on."""
        self._over = True
        self._wanted.release()

    def _run(self) -> None:
        self._ready.wait()
        while True:
            asked = self._wanted.acquire(timeout=_LOOK_SECONDS)
            if self._over:
                return
            if asked:
                self._begin()
                for reload in self._all:
                    self._call(reload)
                self._end()
            elif self.look:
                self._call(self.look)

    @staticmethod
    def _call(reload: Callable[[], None]) -> None:
        try:
            reload()
        except Exception:
            # A defect of ours must not end the reloads to come.
            with suppress(Exception):
                _logger.exception("reload: it has failed, and what was in force goes on")
