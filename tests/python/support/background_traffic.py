"""Clients that echo without end, in daemon threads: for tests that stop, fork or leave under load."""

from __future__ import annotations

import contextlib
import os
import threading

from interpose import TheServer

from .addresses import address_of
from .deadline import poll
from .peers import Echo, connect, echo


class BackgroundTraffic:
    """An echo upstream, a started server in front of it, and clients that never rest."""

    def __init__(self, clients: int = 4, size: int = 60_000) -> None:
        self.upstream = Echo()
        self.server = TheServer("", 0, self.upstream.address).start()
        self._size = size
        for _ in range(clients):
            threading.Thread(target=self._run, daemon=True).start()
        poll(lambda: self.server.stats.active == clients, 20.0, "every client connected")
        self.flow()

    def _run(self) -> None:
        data = os.urandom(self._size)
        with contextlib.suppress(OSError), connect(address_of(self.server)) as sock:
            while echo(sock, data) == data:
                pass

    def flow(self) -> None:
        """Wait until more bytes have come back."""
        before = self.server.stats.to_client.delivered
        poll(lambda: self.server.stats.to_client.delivered > before + 10 * self._size, 20.0, "bytes come back")
