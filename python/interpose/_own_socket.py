"""Connected sockets of a script's own, taken over as upstreams.

The script's object stays the one it is, under its own hash: its class becomes one whose methods go to the side that has
taken the socket over. So whatever refers to it, refers to that side.
"""

from __future__ import annotations

import os
import socket
import sys
import weakref
from typing import Any, NoReturn

from . import _native
from ._connection import Connection, Side
from ._exceptions import ArgumentTypeError, ConfigError, printable
from ._outgoing import Outgoing


class TakenOver(Outgoing):
    """The side that has taken over a socket of the script's own, which it is equal to."""

    __slots__ = ("_hash", "_own")

    def __init__(self, native: _native.Outgoing, own: socket.socket) -> None:
        super().__init__(native)
        self._own = weakref.ref(own)
        self._hash = hash(own)
        self.timeout = own.gettimeout()

    @property
    def face(self) -> object:
        """The object by which the script knows the side: its own socket while that lives, else the side."""
        own = self._own()
        return self if own is None else own

    def __eq__(self, other: object) -> bool:
        return self is other or other is self._own()

    def __hash__(self) -> int:
        return self._hash


# By the script's socket, the side that has taken it over.
_sides: weakref.WeakKeyDictionary[Any, TakenOver] = weakref.WeakKeyDictionary()


class _Away:
    """The methods of a socket that was taken over. All others find a socket that is closed."""

    __slots__ = ()

    @property
    def is_client(self) -> bool:
        return False

    @property
    def connection(self) -> Connection:
        return _sides[self].connection

    @property
    def other(self) -> Side | None:
        return _sides[self].other

    def send(self, data: Any, flags: int = 0) -> int:
        del flags
        return _sides[self].send(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        del flags
        _sides[self].send(data)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        del flags
        return _sides[self].recv(bufsize)

    def getpeername(self) -> Any:
        return _sides[self].getpeername()

    def getsockname(self) -> Any:
        return _sides[self].getsockname()

    def half_close(self) -> None:
        _sides[self].half_close()

    def passthrough(self) -> None:
        _sides[self].passthrough()

    def shutdown(self, how: int) -> None:
        _sides[self].shutdown(how)

    def close(self) -> None:
        _sides[self].close()

    def setsockopt(self, *arguments: Any) -> None:
        _sides[self].setsockopt(*arguments)

    def settimeout(self, value: float | None) -> None:
        _sides[self].settimeout(value)

    def gettimeout(self) -> float | None:
        return _sides[self].gettimeout()

    def setblocking(self, flag: bool) -> None:
        _sides[self].setblocking(flag)

    def fileno(self) -> int:
        # As of a socket that is closed, and without an exception: repr() asks for it, too.
        return -1

    def detach(self) -> NoReturn:
        raise ConfigError("detach: the server has taken this socket over; close() it, or leave it")

    def __repr__(self) -> str:
        return repr(_sides[self])

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, TakenOver) and other is _sides.get(self))

    def __hash__(self) -> int:
        return object.__hash__(self)


_classes: dict[type, type] = {}


def _away(kind: type) -> type:
    """Return the class of a socket of this class once it was taken over."""
    known = _classes.get(kind)
    if known is None:
        known = _classes[kind] = type(kind.__name__, (_Away, kind), {"__slots__": (), "__module__": kind.__module__})
    return known


def side_of(one: object) -> TakenOver | None:
    """Return the side that has taken the socket `one` over, else None."""
    return _sides.get(one) if isinstance(one, _Away) else None


def take_over(own: socket.socket) -> TakenOver:
    """Take over a connected stream socket, or raise ArgumentTypeError or ConfigError for one that is none."""
    check_own(own)
    native = _native.Outgoing.take_over(own.fileno())
    side = TakenOver(native, own)
    fd = own.detach()
    try:
        own.__class__ = _away(type(own))
    except TypeError:
        native.close()
        raise ArgumentTypeError(
            f"socket: a {printable(type(own).__name__)} cannot be taken over; "
            "give a socket.socket, or one of a subclass in Python"
        ) from None
    finally:
        os.close(fd)
    _sides[own] = side
    return side


def check_own(own: socket.socket) -> None:
    """Raise ArgumentTypeError or ConfigError for a socket that cannot be taken over."""
    # There is no such socket before its module was imported, which takes 15 ms.
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(own, ssl.SSLSocket):
        raise ArgumentTypeError(
            "socket: it is an ssl.SSLSocket, whose TLS is read above the socket, where the server does not look; "
            "connect in plain and let the client's own TLS pass through, or go through a TLS client such as stunnel"
        )
    if own.fileno() == -1:
        raise ConfigError("socket: it is closed; pair it before close()")
    if own.type != socket.SOCK_STREAM or own.family not in _families():
        raise ConfigError(
            "socket: it is no stream of TCP or Unix; give a connected one, as socket.create_connection() does"
        )
    if own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError("socket: it listens; give a connected one, as its accept() does")
    # One whose peer has ended or reset it since is as good: what came before is read, and then its end.
    if not _native.Outgoing.has_been_connected(own.fileno()):
        raise ConfigError("socket: it is not connected; connect() it before it is paired")


def _families() -> tuple[int, ...]:
    return (socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", socket.AF_INET))
