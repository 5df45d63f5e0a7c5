"""Sides in the hands of a script of the tutorial's form: one object for each socket, with what scripts use of it."""

from __future__ import annotations

import contextlib
import io
import socket
import weakref
from typing import Any, NoReturn, Protocol

from ._connection import Connection, Side
from ._exceptions import ConnectionClosedError, RecvError
from ._side import Buffer


class Script(Protocol):
    """The part of its script that a side knows."""

    at_hand: ScriptSide | None
    """The side whose data a method sees just now."""
    has_sent: bool
    """True once the method has sent something."""

    def other(self, side: ScriptSide) -> Side | None:
        """Return the side that is paired with it."""


class ScriptSide(Side):
    """A side that is a connection of its own: it lives, and ends, without the one it is paired with.

    It is the same object for as long as the script has it, so it is a key of the script's own dictionaries.
    """

    __slots__ = (
        "__weakref__",
        "is_closed",
        "is_over",
        "is_shut",
        "loses",
        "passes",
        "script",
        "shown",
        "timeout",
        "was_read",
    )

    script: Script | None
    """The script that has it; None for one that has none, and for the upstream of a connection of our form."""
    is_over: bool
    """True once nothing more is to be called for its end."""
    is_closed: bool
    """True once the script has closed it."""
    is_shut: bool
    """True once its peer was sent an end of stream."""
    loses: bool
    """True if bytes sent to it after its end are lost in silence: no on_close of the script reports that it ended."""
    was_read: bool
    """True once the server has read from it."""
    passes: bool
    """True if its bytes are passed on without a callback."""
    shown: int
    """Bytes of it that the script has seen, where their number is limited."""
    timeout: float | None
    """Seconds set by settimeout()."""

    __eq__ = object.__eq__  # pyright: ignore[reportAssignmentType]
    __hash__ = object.__hash__

    def _begin(self, script: Script | None) -> None:
        self.script = script
        self.is_over = self.is_closed = self.is_shut = self.was_read = self.passes = False
        self.loses = False
        self.shown = 0
        self.timeout = None

    @property
    def other(self) -> Side | Any:
        """The side that it is paired with in `channel`; None if it is with none."""
        return super().other if self.script is None else self.script.other(self)

    @property
    def connection(self) -> Connection:
        """The client's connection; for an upstream that is paired with no client, its own."""
        other = None if self._client or self.script is None else self.script.other(self)
        return super().connection if other is None or not other.is_client else other.connection

    def send(self, data: Buffer, timeout: float | None = None) -> int:
        """Do what Side.send() does. In a method it never fails for want of room because of what is forwarded.

        While too much waits for this peer, the side at hand, whose data the method was called for, is not read.
        An upstream that belongs to no connection yet waits until the system has taken all of it, at most 10 seconds by
        default.
        """
        if timeout is not None or (script := self.script) is None or (source := script.at_hand) is None:
            return self._send_alone(data, timeout)
        script.has_sent = True
        try:
            sent = self._native.send_for(data, source._native)
            # None: it is not the method that sends, but another thread meanwhile.
            return super().send(data) if sent is None else sent
        except ConnectionClosedError:
            if not self.loses and (self.is_over or self.is_closed or self.is_shut):
                raise
            # It has just failed, which on_close is about to see, where there is one; a method that sends to many is not
            # to fail for one.
            return memoryview(data).nbytes

    def _send_alone(self, data: Buffer, timeout: float | None) -> int:
        """Send what no method sends for the side at hand."""
        return super().send(data, timeout)

    def half_close(self) -> None:
        """Send this peer an end of stream after all that is on its way to it; it is read on."""
        super().half_close()
        self.is_shut = True

    def close(self) -> None:
        """End it in order, after all that was sent to it. What it is paired with lives on."""
        self.is_closed = True
        super().close()

    def passthrough(self) -> None:
        """Pass on what this side sends to the one that it is paired with, without calling a method, from here on."""
        if self.script is None:
            super().passthrough()
        else:
            self.passes = True

    def recv(self, most: int, timeout: float | None = None) -> bytes:
        """Raise RecvError: its data comes to on_recv."""
        del most, timeout
        raise RecvError(f"recv: what {self!r} sends comes to on_recv, as self.data; read before it is paired or listed")

    def shutdown(self, how: int) -> None:
        """Send this peer an end of stream, for SHUT_WR and SHUT_RDWR; SHUT_RD does nothing."""
        if how != socket.SHUT_RD:
            self.half_close()

    def setsockopt(self, *arguments: Any) -> None:
        """Do nothing: a socket's options are the server's business, and TCP_NODELAY is set."""

    def settimeout(self, value: float | None) -> None:
        """Set how long recv() waits; None is no limit. Sending in a method never waits."""
        self.timeout = value

    def gettimeout(self) -> float | None:
        """Return what settimeout() has set."""
        return self.timeout

    def setblocking(self, flag: bool) -> None:
        """Do what settimeout() does with None, or 0.0."""
        self.timeout = None if flag else 0.0

    def fileno(self) -> NoReturn:
        """Raise UnsupportedOperation, an OSError and ValueError: no descriptor is there for select() or the like."""
        raise io.UnsupportedOperation(f"fileno: {self!r} has none to give; the server waits for it, and calls on_recv")

    def __del__(self) -> None:
        # As a socket that nobody refers to any more. One that is read is in the server's hands.
        if getattr(self, "script", None) is not None and not self.is_closed and hasattr(self, "_native"):
            with contextlib.suppress(Exception):
                self._native.close()


class Accepted(ScriptSide):
    """A client's side, as `self.server.accept()` returns it."""

    __slots__ = ()

    def __init__(self, connection: Connection, script: Script) -> None:
        super().__init__(connection, True)
        self._begin(script)
        connection._client_side = weakref.ref(self)  # pyright: ignore[reportPrivateUsage]
