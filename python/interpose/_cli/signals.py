"""The signals that the command acts on while it serves."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

from .._addresses import address_text
from .._server import TheServer
from .._signals import SignalThread, stop_signals
from .log_format import REPORTS
from .reloading import Reloads
from .served import Served

_logger = logging.getLogger("interpose.command")
# The answers to signals that ask for one: they come with --quiet, too.
_reports = logging.getLogger(REPORTS)


def counts_text(active: int, accepted: int) -> str:
    """Return the numbers of connections in words."""
    return f"{_counted(active)} now, {accepted} since the start"


def _counted(active: int) -> str:
    return "1 connection" if active == 1 else f"{active} connections"


class Signals:
    """Acts on signals: the first that asks for an end drains, the next one stops at once; others report or reload.

    `ending` is called once an end was asked for.
    """

    def __init__(self, served: Served, reloads: Reloads, ending: Callable[[], None]) -> None:
        self.asked = 0
        self._served = served
        self._reloads = reloads
        self._ending = ending
        self._stops: list[signal.Signals] = []

    def begin(self) -> None:
        """Take the signals, until the process ends."""
        self._stops, others = stop_signals(), list[signal.Signals]()
        if sys.platform != "win32":
            others = [signal.SIGUSR1, signal.SIGUSR2]
            if self._reloads.has_some:
                # Also where nohup has had it ignored.
                others.append(signal.SIGHUP)
                self._stops = [number for number in self._stops if number != signal.SIGHUP]
        SignalThread([*self._stops, *others], self._act).begin()

    def _act(self, number: signal.Signals) -> None:
        if number in self._stops:
            self._stop()
        elif number.name == "SIGHUP":
            self._reloads.ask()
        else:
            self._report(number)

    def _stop(self) -> None:
        active, _ = self._served.counts()
        self.asked += 1
        drain = self._served.drain if self.asked == 1 else 0.0
        if self.asked > 1:
            _logger.info("stopping at once")
        elif active and drain:
            _logger.info("draining: %s left, for %g s at most; signal again to stop at once", _counted(active), drain)
        else:
            _logger.info("stopping: %s left", _counted(active))
        self._reloads.stop()
        self._ending()
        # Only begins it: the next signal must find this thread free.
        self._served.begin_stop(drain)

    def _report(self, number: signal.Signals) -> None:
        _reports.info("%s: %s", number.name, counts_text(*self._served.counts()))
        if number.name == "SIGUSR1":
            servers = self._served.servers()
            for server in servers:
                for line in _lines_of(server, with_listener=len(servers) > 1):
                    _reports.info("%s", line)


def _lines_of(server: TheServer, *, with_listener: bool) -> list[str]:
    """Return a line for each living connection: number, addresses, age, bytes delivered each way, state."""
    lines: list[str] = []
    # The native ones: to make an object of each for Python would cost more than the line.
    native = server._native  # pyright: ignore[reportPrivateUsage]
    listener = f" at {address_text(native.address)}" if with_listener else ""
    for connection in native.connections():
        upstream = connection.upstream_peer
        there = "nowhere yet" if upstream is None else address_text(upstream)
        up, down = connection.ledger(True)[2], connection.ledger(False)[2]
        lines.append(
            f"{connection.id}{listener}: client {address_text(connection.client_peer)}, upstream {there}, "
            f"{connection.age:.1f} s, {up} bytes to the upstream, {down} to the client, {connection.phase}"
        )
    return lines
