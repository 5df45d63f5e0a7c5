"""An upstream's side that a script has connected by itself."""

from __future__ import annotations

import itertools
import logging
import threading
import time
import weakref
from typing import Any, Literal

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


# The upstreams that belong to no connection yet, by their number and the thread that has connected them.
_unpaired: weakref.WeakValueDictionary[tuple[int, int], Outgoing] = weakref.WeakValueDictionary()
_number = itertools.count()

started_before = _number.__next__
"""Return a number greater than those of all upstreams so far: methods are called too often to have a list for each."""


def close_unpaired(since: int) -> None:
    """Close those without a connection that this thread has connected since started_before() returned `since`."""
    here = threading.get_ident()
    for (number, thread), side in list(_unpaired.items()):
        if number > since and thread == here:
            side.close()


class Outgoing(ScriptSide):
    """An upstream's side that was connected before it belongs to a connection."""

    __slots__ = ("_number", "native")

    native: _native.Outgoing | None
    """The socket, until it belongs to a connection; None for one that the server has connected."""

    def __init__(self, native: _native.Outgoing | None) -> None:
        self.native = native
        self._client = False
        self._begin(None)
        if native is not None:
            self._number = next(_number), threading.get_ident()
            _unpaired[self._number] = self

    # Not a __getattr__, which would slow down each attribute that is there.
    def _check_paired(self, name: str) -> None:
        if not self.is_paired:
            raise AttributeError(f"{name}: this side belongs to no connection until on_accept has paired it in channel")

    @property
    def connection(self) -> Connection:
        """The client's connection; for an upstream that is paired with no client, its own."""
        self._check_paired("connection")
        return super().connection

    def half_close(self) -> None:
        """Send this peer an end of stream after all that is on its way to it; it is read on."""
        self._check_paired("half_close")
        super().half_close()

    def passthrough(self) -> None:
        """Pass on what this side sends without calling a method, from here on."""
        self._check_paired("passthrough")
        super().passthrough()

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
        if self.native is not None:
            _unpaired.pop(self._number, None)
        connection._upstream_side = weakref.ref(self)  # pyright: ignore[reportPrivateUsage]

    def getsockname(self) -> tuple[str, int]:
        """Return our own address on this side."""
        return super().getsockname() if self.native is None else host_port(self.native.local)

    def _peer(self) -> SocketName:
        return super()._peer() if self.native is None else self.native.peer

    def _send_alone(self, data: Buffer, timeout: float | None) -> int:
        if self.native is None or self.is_paired:
            return super()._send_alone(data, timeout)
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
