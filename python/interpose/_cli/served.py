"""The servers of the command: bound together, started together, stopped together."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Protocol

from .._addresses import address_text
from .._exceptions import ServerStoppedError
from .._server import TheServer
from .._threads import start_thread

_logger = logging.getLogger("interpose.listener")


class Listening(Protocol):
    """A listener to serve: `bind` listens, `what` describes it."""

    @property
    def what(self) -> str:
        """Return the words for the first line, behind the address."""
        ...

    @property
    def shows(self) -> bool:
        """Return whether standard output belongs to what it shows."""
        ...

    def bind(self) -> TheServer:
        """Return a server that listens and is not started."""
        ...


class Companion(Protocol):
    """Another listener of the command, whose clients ask for servers."""

    @property
    def line(self) -> str:
        """Return the line that says where it listens."""
        ...

    @property
    def is_over(self) -> bool:
        """Return whether it answers no more."""
        ...

    def bind(self) -> None:
        """Listen, and serve."""
        ...

    def servers(self) -> list[TheServer]:
        """Return the servers that clients have asked for."""
        ...

    def wait(self) -> None:
        """Return when it answers no more."""
        ...

    def begin_stop(self, drain: float) -> None:
        """Answer no more, and begin to stop all its servers."""
        ...

    def finish(self, drain: float) -> None:
        """Stop what is left, and return when all is closed."""
        ...


class Served:
    """Some listeners and their servers. A reload exchanges them; a stop ends all, and those that were taken away."""

    def __init__(self, listeners: Sequence[Listening], drain: float, companion: Companion | None = None) -> None:
        self.drain = drain
        self._companion = companion
        self._listeners = list(listeners)
        self._servers: list[TheServer] = []
        # Servers that a reload has taken away, whose connections may live on.
        self._leaving: list[TheServer] = []
        self._watched: weakref.WeakSet[TheServer] = weakref.WeakSet()
        self._stopping = False
        # Set when all are started; a reload waits for that.
        self.ready = threading.Event()
        self._lock = threading.Lock()

    def keeps_standard_output(self) -> bool:
        """Return whether standard output belongs to what a listener shows, and to no line of the command's."""
        return any(listener.shows for listener in self._listeners)

    def bind(self) -> None:
        """Listen everywhere, or raise: then nothing listens."""
        self._servers = bound(self._listeners)
        if self._companion is not None:
            try:
                self._companion.bind()
            except BaseException:
                for server in self._servers:
                    server.stop(0.0)
                raise

    def start(self) -> Iterator[str]:
        """Start each server, and yield its line."""
        for server, listener in zip(self._servers, self._listeners, strict=True):
            line = started(server, listener)
            self._watch(server)
            yield line
        if self._companion is not None:
            yield self._companion.line
        self.ready.set()

    def _watch(self, server: TheServer) -> None:
        """Stop all once a server has ended that nobody has stopped: wait() is with another one, perhaps."""
        native = server._native  # pyright: ignore[reportPrivateUsage]
        # What a callback raises to end its listener ends it here, as in main_loop().
        server._callbacks.reports.ends = native  # pyright: ignore[reportPrivateUsage]

        def watch() -> None:
            native.wait(None)
            with self._lock:
                is_alone = server in self._servers and not self._stopping
            if is_alone:
                _logger.error("listener %s: it has ended by itself, and with it all end", address_text(server.address))
                self.begin_stop(self.drain)

        self._watched.add(server)
        start_thread("interpose-watch", watch)

    def wait(self) -> None:
        """Return when a server has ended that no reload has taken away: then all are to end."""
        waited: list[TheServer] = []
        while True:
            with self._lock:
                left = [one for one in (*self._servers, *self._leaving) if one not in waited]
            if not left:
                if self._companion is not None:
                    self._companion.wait()
                return
            try:
                left[0].main_loop()
                is_stopped = False
            except ServerStoppedError:
                is_stopped = True
            if is_stopped:
                # It ended before it was waited for. What a callback raised to end it ends the command all the same.
                left[0]._raise_ended(None)  # pyright: ignore[reportPrivateUsage]
            waited.append(left[0])
            with self._lock:
                if left[0] in self._servers and not self._stopping:
                    return

    def finish(self) -> None:
        """Stop what is left, and return when all is closed."""
        self.begin_stop(self.drain)
        for server in (*self._servers, *self._leaving):
            server.stop(self.drain)
        if self._companion is not None:
            self._companion.finish(self.drain)

    def begin_stop(self, drain: float) -> None:
        """Begin to stop all servers, without waiting for them."""
        with self._lock:
            self._stopping = True
            for server in (*self._servers, *self._leaving):
                server._native.stop(drain)  # pyright: ignore[reportPrivateUsage]
            if self._companion is not None:
                self._companion.begin_stop(drain)

    def counts(self) -> tuple[int, int]:
        """Return the connections that live, and those that were accepted since the start."""
        stats = [server.stats for server in self.servers()]
        return sum(one.active for one in stats), sum(one.accepted for one in stats)

    def servers(self) -> list[TheServer]:
        """Return all servers, also those that were taken away and whose connections may live on."""
        with self._lock:
            asked = [] if self._companion is None else self._companion.servers()
            return [*self._servers, *self._leaving, *asked]

    @property
    def is_over(self) -> bool:
        """True once no server listens any more."""
        if self._companion is not None and not self._companion.is_over:
            return False
        return all(server._native.is_closed for server in self.servers())  # pyright: ignore[reportPrivateUsage]

    def pairs(self) -> list[tuple[Listening, TheServer]]:
        """Return the listeners with their servers."""
        with self._lock:
            return list(zip(self._listeners, self._servers, strict=True))

    def exchange(self, pairs: Sequence[tuple[Listening, TheServer]], leaving: Sequence[TheServer]) -> bool:
        """Put `pairs` in the place of those before, of which `leaving` go; return False if all is being stopped."""
        with self._lock:
            if self._stopping:
                return False
            self._listeners = [listener for listener, _ in pairs]
            self._servers = [server for _, server in pairs]
            self._leaving = [one for one in self._leaving if not one._native.is_closed]  # pyright: ignore[reportPrivateUsage]
            self._leaving += leaving
        for server in self.servers():
            if server not in self._watched:
                self._watch(server)
        return True


def bound(listeners: Sequence[Listening]) -> list[TheServer]:
    """Return a server for each listener, or raise: then none of them listens."""
    servers: list[TheServer] = []
    try:
        for listener in listeners:
            servers.append(listener.bind())
    except BaseException:
        for server in servers:
            server.stop(0.0)
        raise
    return servers


def _note_one_loopback(listener: Listening) -> None:
    """Log that `localhost` is one address on this machine, where it is two elsewhere."""
    if getattr(listener, "address", "").rpartition(":")[0].rstrip(".").lower() != "localhost":
        return
    for host in ("127.0.0.1", "::1"):
        if not has_address(host):
            _logger.info("listener localhost: this machine has no %s; it listens on the other loopback address", host)


def has_address(host: str) -> bool:
    """Return whether this machine has the IP address `host`."""
    import socket

    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            sock.bind((host, 0))
    except OSError:
        return False
    return True


def started(server: TheServer, listener: Listening) -> str:
    """Start the server, and return the line that says so."""
    server.start()
    _note_one_loopback(listener)
    return f"listening on {address_text(server.address)}, {listener.what}"
