"""An upstream's side that a script has connected by itself."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Any, Literal, NoReturn

# Loaded for what it has called after a fork and at exit: an upstream may be connected before there is a server.
from . import (
    _logging,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    _native,
)
from ._addresses import SocketName, host_port
from ._checks import seconds
from ._connection import Connection, Side
from ._exceptions import ConfigError, ConnectError, ConnectionClosedError, RecvTimeoutError, SendTimeoutError
from ._script_side import Script, ScriptSide
from ._side import Buffer

# How long a peer that does not read may hold up what is sent to it before its connection takes over.
_SEND_SECONDS = 10.0


class _Started(threading.local):
    """The upstreams that the method running on this thread has connected so far."""

    sides: list[weakref.ref[Outgoing]] | None = None


_started = _Started()


def swap_started(sides: list[weakref.ref[Outgoing]] | None) -> list[weakref.ref[Outgoing]] | None:
    """Have what this thread connects from here on noted in `sides`; return what it was noted in."""
    before, _started.sides = _started.sides, sides
    return before


def close_unpaired(started: list[weakref.ref[Outgoing]]) -> None:
    """Close those that belong to no connection."""
    for side in filter(None, (one() for one in started)):
        if not side.is_paired:
            side.close()


class Outgoing(ScriptSide):
    """An upstream's side that was connected before it belongs to a connection."""

    __slots__ = ("native",)

    native: _native.Outgoing | None
    """The socket, until it belongs to a connection; None for one that the server has connected."""

    def __init__(self, native: _native.Outgoing | None) -> None:
        self.native = native
        self._client = False
        self._begin(None)
        if _started.sides is not None:
            _started.sides.append(weakref.ref(self))

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: this side belongs to no connection until on_accept has paired it in channel")

    @property
    def is_paired(self) -> bool:
        """True if it belongs to a connection."""
        return hasattr(self, "_connection")

    @property
    def other(self) -> Side | Any:
        """The client's side; None until it belongs to a connection."""
        return super().other if self.is_paired else None

    def check_free(self) -> None:
        """Raise ConfigError if it belongs to a connection, ConnectionClosedError if it is closed."""
        if self.is_paired:
            raise ConfigError(
                f"on_accept: {self!r} belongs to connection {self.connection.id} already; "
                "connect another for each client"
            )
        if self.is_closed:
            raise ConnectionClosedError(f"pair: {self!r} is closed; pair it before close()")

    def pair(self, connection: Connection, script: Script | None = None) -> None:
        """Become the upstream's side of `connection`, which `script` has where that is this upstream's alone."""
        Side.__init__(self, connection, False)
        self.script = script
        connection._upstream_side = weakref.ref(self)  # pyright: ignore[reportPrivateUsage]

    def getsockname(self) -> tuple[str, int]:
        """Return our own address on this side."""
        return super().getsockname() if self.native is None else host_port(self.native.local)

    def _peer(self) -> SocketName:
        return super()._peer() if self.native is None else self.native.peer

    def send(self, data: Buffer, timeout: float | None = None) -> int:
        """Send all of `data` to the upstream; return its length.

        Before it belongs to a connection it waits until the system has taken it, at most 10 seconds by default.
        """
        if self.native is None or self.is_paired:
            return super().send(data, timeout)
        limit = _SEND_SECONDS if timeout is None else seconds("timeout", timeout, zero=True)
        sent = self.native.send(data, limit)
        if sent is None:
            raise SendTimeoutError(
                f"send: {self!r} had no room for all of it in {limit:g} s, because its peer does not read; "
                "close it, for part of it may be on its way, or give it longer"
            )
        return sent

    def recv(self, most: int, timeout: float | None = None) -> bytes:
        """Receive at most `most` bytes, and at most 1 MiB, before it belongs to a connection; `b""` is the end.

        Waits `timeout` seconds, or as settimeout() says. What is not read here comes to on_recv. Raises
        RecvTimeoutError, RecvError once it belongs to a connection, and ConnectionClosedError after close().
        """
        if self.native is None or self.is_paired:
            return super().recv(most, timeout)
        limit = self.timeout if timeout is None else seconds("timeout", timeout, zero=True)
        begin = time.monotonic()
        data = self.native.recv(most, limit)
        if data is None:
            raise RecvTimeoutError(
                f"recv: {self!r} sent nothing in {time.monotonic() - begin:.3g} s; give it longer, or close it"
            )
        return data

    def shutdown(self, how: int) -> None:
        """Send an end of stream, for SHUT_WR and SHUT_RDWR."""
        if self.native is None or self.is_paired:
            super().shutdown(how)
        else:
            self.native.half_close()

    def close(self) -> None:
        """Close it, with its connection once it has one."""
        if self.native is None or self.is_paired:
            super().close()
        else:
            self.native.close()
            self.is_closed = True


def connected(forward: _native.Forward) -> Outgoing | Literal[False]:
    """Connect now. Return the side, or False after logging why that failed."""
    try:
        return Outgoing(_native.Outgoing(forward))
    except ConnectError as error:
        logging.getLogger("interpose.connection").warning("%s", error)
        return False
