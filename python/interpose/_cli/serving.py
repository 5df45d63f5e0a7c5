"""Serving until a signal ends it, after the command line was parsed."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from signal import Signals
from threading import Lock

from .._exceptions import ServerStoppedError
from .._groups import CommandSettings
from .._signals import SignalThread, stop_signals
from .._threads import start_thread
from .console import FAILED, OK, complain, say, take_output
from .output import LogHandler, Output
from .served import Served

# How long the first line may take before the command goes on without it.
_FIRST_LINE_SECONDS = 0.25


def serve(served: Served, command: CommandSettings, reload: Callable[[], None] | None = None) -> int:
    """Serve until a signal ends it, and return the exit code. With `reload`, SIGHUP calls that in a thread."""
    outputs = take_output()
    _log_to(outputs.err, command)
    _raise_descriptor_limit()
    served.bind()
    # The handlers are there before a client is served, or the first line is, so a signal may follow either.
    signals = _Signals(served, reload, quiet=command.quiet)
    signals.begin()
    try:
        for line in served.start():
            if not command.quiet:
                say(f"interpose: {line}")
        # Before any word on stderr, where both lead to the same place. Clients are served meanwhile.
        outputs.flush(_FIRST_LINE_SECONDS)
        served.wait()
    except ServerStoppedError:
        pass  # a signal can come before the loop does
    # A stop that a signal began must complete; after wait() it has.
    served.finish()
    if signals.asked == 0:
        complain("listener: it ended by itself; see the messages above, then start again")
        return FAILED
    return OK


def set_level(command: CommandSettings) -> None:
    """Let the log say as much as `command` wants."""
    level = logging.DEBUG if command.verbose else logging.ERROR if command.quiet else logging.WARNING
    logging.getLogger("interpose").setLevel(level)


class _Signals:
    """Acts on signals: the first that asks for an end drains, the next one stops at once; others report or reload."""

    def __init__(self, served: Served, reload: Callable[[], None] | None, *, quiet: bool) -> None:
        self.asked = 0
        self._served = served
        self._reload = reload
        self._reloading = Lock()
        self._quiet = quiet

    def begin(self) -> None:
        """Take the signals, until the process ends."""
        self._ending = stop_signals()
        asking = [] if sys.platform == "win32" else [signal.SIGUSR1, signal.SIGUSR2]
        SignalThread([*self._ending, *asking], self._act).begin()

    def _act(self, number: Signals) -> None:
        if self._reload and number.name == "SIGHUP":
            # A name that is looked up may take long, and the next signal must find this thread free.
            start_thread("interpose-reload", self._reload_once)
            return
        active, accepted = self._served.counts()
        connections = "1 connection" if active == 1 else f"{active} connections"
        if number not in self._ending:
            self._tell(f"{number.name}: {connections} now, {accepted} since the start")
            return
        self.asked += 1
        drain = self._served.drain if self.asked == 1 else 0.0
        if self.asked > 1:
            self._tell("stopping at once")
        elif active and drain:
            self._tell(f"draining: {connections} left, for {drain:g} s at most; signal again to stop at once")
        else:
            self._tell(f"stopping: {connections} left")
        # Only begins it, for the same reason.
        self._served.begin_stop(drain)

    def _reload_once(self) -> None:
        self._served.ready.wait()
        with self._reloading:
            if self._reload and not self.asked:
                self._reload()

    def _tell(self, text: str) -> None:
        if not self._quiet:
            complain(text)


def _log_to(output: Output | None, command: CommandSettings) -> None:
    set_level(command)
    logger = logging.getLogger("interpose")
    logger.addHandler(LogHandler(output) if output else logging.NullHandler())
    # A terminal that has gone away must not fill up with tracebacks about itself.
    logging.raiseExceptions = False


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system lets this process have. A command may; a library must not."""
    if sys.platform == "win32":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS reports no limit and then accepts only what its kernel can do; the default stays
