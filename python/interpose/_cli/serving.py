"""Serving until a signal ends it, after the command line was parsed."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from signal import Signals
from typing import Protocol

from .._addresses import address_text
from .._exceptions import ServerStoppedError
from .._groups import CommandSettings
from .._server import TheServer
from .._signals import SignalThread, stop_signals
from .console import FAILED, OK, complain, say, take_output
from .output import LogHandler, Output

# How long the first line may take before the command goes on without it.
_FIRST_LINE_SECONDS = 0.25


class Listening(Protocol):
    """A listener to serve: `bind` listens, `what` describes it."""

    @property
    def what(self) -> str:
        """Return the words for the first line, behind the address."""
        ...

    def bind(self) -> TheServer:
        """Return a server that listens and is not started."""
        ...


def serve(listeners: Sequence[Listening], command: CommandSettings) -> int:
    """Serve until a signal ends it, and return the exit code."""
    outputs = take_output()
    _log_to(outputs.err, verbose=command.verbose, quiet=command.quiet)
    _raise_descriptor_limit()
    servers: list[TheServer] = []
    # The handlers are there before a client is served, or the first line is, so a signal may follow either.
    stop = _Stop(servers, command.drain, quiet=command.quiet)
    try:
        servers += [listener.bind() for listener in listeners]
        stop.handle_signals()
        for server, listener in zip(servers, listeners, strict=True):
            server.start()
            if not command.quiet:
                say(f"interpose: listening on {address_text(server.address)}, {listener.what}")
        # Before any word on stderr, where both lead to the same place. Clients are served meanwhile.
        outputs.flush(_FIRST_LINE_SECONDS)
        for server in servers:
            server.main_loop()
    except ServerStoppedError:
        pass  # a signal can come before the loop does
    # A stop that a signal began must complete; after main_loop() it has.
    for server in servers:
        server.stop(command.drain)
    if stop.asked == 0:
        complain("listener: it ended by itself; see the messages above, then start again")
        return FAILED
    return OK


class _Stop:
    """Acts on signals: the first that asks for an end drains, the next one stops at once; others report."""

    def __init__(self, servers: Sequence[TheServer], drain: float, *, quiet: bool) -> None:
        self.asked = 0
        self._servers = servers
        self._drain = drain
        self._quiet = quiet

    def handle_signals(self) -> None:
        """Take the signals, until the process ends."""
        self._ending = stop_signals()
        asking = [] if sys.platform == "win32" else [signal.SIGUSR1, signal.SIGUSR2]
        SignalThread([*self._ending, *asking], self._act).begin()

    def _act(self, number: Signals) -> None:
        all_stats = [server.stats for server in self._servers]
        active = sum(stats.active for stats in all_stats)
        connections = "1 connection" if active == 1 else f"{active} connections"
        if number not in self._ending:
            self._tell(
                f"{number.name}: {connections} now, {sum(stats.accepted for stats in all_stats)} since the start"
            )
            return
        self.asked += 1
        if self.asked > 1:
            self._tell("stopping at once")
        elif active and self._drain:
            self._tell(f"draining: {connections} left, for {self._drain:g} s at most; signal again to stop at once")
        else:
            self._tell(f"stopping: {connections} left")
        # Only begins it: the next signal must find this thread free.
        for server in self._servers:
            server._native.stop(self._drain if self.asked == 1 else 0.0)  # pyright: ignore[reportPrivateUsage]

    def _tell(self, text: str) -> None:
        if not self._quiet:
            complain(text)


def _log_to(output: Output | None, *, verbose: bool, quiet: bool) -> None:
    logger = logging.getLogger("interpose")
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
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
