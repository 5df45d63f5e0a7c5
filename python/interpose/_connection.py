"""Connections, their two sides, and what is counted about them."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from . import _native
from ._exceptions import ArgumentTypeError, ForkError
from ._forward import SocketName, address_text


class ConnectionState(enum.StrEnum):
    """Where a connection is in its life.

    >>> from interpose import ConnectionState
    >>> ConnectionState.OPEN == "open"
    True
    """

    CONNECTING = "connecting"
    """The client is there, the upstream is not yet."""
    OPEN = "open"
    """Both sides are there and bytes flow."""
    CLOSED = "closed"
    """Over; the reason and the counters are final."""


class CloseReason(enum.StrEnum):
    """The one recorded cause of a connection's end. The first cause wins.

    >>> from interpose import CloseReason
    >>> CloseReason("client_reset") is CloseReason.CLIENT_RESET
    True
    """

    FINISHED = "finished"
    """Both sides ended in order, and everything was delivered."""
    CLIENT_RESET = "client_reset"
    """The client reset the connection, or closed it while data was on its way to it."""
    UPSTREAM_RESET = "upstream_reset"
    """The upstream reset the connection, or closed it while data was on its way to it."""
    CLIENT_LOST = "client_lost"
    """The kernel gave the client up: it no longer answered, or the route went away."""
    UPSTREAM_LOST = "upstream_lost"
    """The kernel gave the upstream up: it no longer answered, or the route went away."""
    HALF_CLOSE_TIMEOUT = "half_close_timeout"
    """One direction had ended and the other stood still for `Timeouts.half_close`."""
    IDLE_TIMEOUT = "idle_timeout"
    """Both directions stood still for `Timeouts.idle`."""
    CLOSED = "closed"
    """`Connection.close()` was called."""
    ABORTED = "aborted"
    """`Connection.abort()` was called."""
    STOPPED = "stopped"
    """The server stopped, and the connection had not finished when the drain was over."""
    REFUSED = "refused"
    """Nobody listens at the upstream's address."""
    UNREACHABLE = "unreachable"
    """There is no route to the upstream, or it is forbidden."""
    CONNECT_TIMEOUT = "connect_timeout"
    """The upstream was not connected within `Forward.connect_timeout`."""
    NAME_NOT_FOUND = "name_not_found"
    """The upstream's name does not exist."""
    RESOLVE_FAILED = "resolve_failed"
    """The resolver gave no answer for the upstream's name."""
    FD_EXHAUSTED = "fd_exhausted"
    """No descriptor was left for the upstream's socket."""
    PORT_EXHAUSTED = "port_exhausted"
    """No local port was left for the upstream's socket."""
    CONNECT_FAILED = "connect_failed"
    """Connecting failed in another way; `Connection.error` says how."""
    LOOP_DETECTED = "loop_detected"
    """The connection leads back to this proxy."""
    CLIENT_GONE = "client_gone"
    """The client reset the connection before the upstream was connected."""
    INTERNAL_ERROR = "internal_error"
    """A defect of interpose; the log has it."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The bytes of one direction. Once the connection is closed, `read == delivered + undeliverable`.

    * `read`: bytes taken from the sending side.
    * `delivered`: bytes that the receiving side's kernel accepted.
    * `undeliverable`: bytes that were read and could not be delivered any more.

    >>> from interpose import Ledger
    >>> Ledger(read=10, delivered=8, undeliverable=2)
    Ledger(read=10, delivered=8, undeliverable=2)
    """

    read: int
    delivered: int
    undeliverable: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a server has done so far: a snapshot.

    * `accepted`: connections ever accepted. `active`: those that live.
    * `closed`: how many ended for each CloseReason, zeros included.
    * `to_upstream`, `to_client`: the Ledger of each direction, live connections included.
    * `accept_errors`: accepts that failed. `accept_paused`: whether accepting waits for descriptors or memory.
    * `max_connections`: the limit in force.

    >>> from interpose import CloseReason, TheServer
    >>> server = TheServer("", 0, "example.org:80")
    >>> server.stats.accepted, server.stats.closed[CloseReason.FINISHED]
    (0, 0)
    >>> server.stop()
    """

    accepted: int
    active: int
    closed: Mapping[CloseReason, int]
    to_upstream: Ledger
    to_client: Ledger
    accept_errors: int
    accept_paused: bool
    max_connections: int


def stats_of(values: dict[str, Any]) -> Stats:
    """Return the Stats that the native side's dictionary means."""
    return Stats(
        accepted=values["accepted"],
        active=values["active"],
        closed={CloseReason(word): number for word, number in values["closed"].items()},
        to_upstream=Ledger(**values["to_upstream"]),
        to_client=Ledger(**values["to_client"]),
        accept_errors=values["accept_errors"],
        accept_paused=values["accept_paused"],
        max_connections=values["max_connections"],
    )


class Side:
    """One end of a connection: the client's or the upstream's. Two Sides of the same end are equal.

    It comes from `Connection.client` or `Connection.upstream` and stays valid after the end.
    """

    __slots__ = ("_client", "_native", "_pid")

    def __init__(self, native: _native.Connection, pid: int, is_client: bool) -> None:
        self._native = native
        self._pid = pid
        self._client = is_client

    @property
    def is_client(self) -> bool:
        """True for the client's side, False for the upstream's."""
        return self._client

    @property
    def connection(self) -> Connection:
        """The connection this is a side of."""
        return Connection(self._native, self._pid)

    @property
    def other(self) -> Side | None:
        """The opposite side; None for the client's while there is no upstream yet."""
        connection = self.connection
        return connection.upstream if self._client else connection.client

    def getpeername(self) -> SocketName:
        """Return the peer's address: `(host, port)`, or `"unix:/path"` (`"unix:"` if it has no name)."""
        name = self._native.client_peer if self._client else self._native.upstream_peer
        return "unix:" if name is None else name

    def getsockname(self) -> SocketName:
        """Return our own address on this side, in the form of getpeername()."""
        name = self._native.client_local if self._client else self._native.upstream_local
        return "unix:" if name is None else name

    def __repr__(self) -> str:
        return f"<{'client' if self._client else 'upstream'} {address_text(self.getpeername())}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Side):
            return NotImplemented
        return self._client == other._client and self._native == other._native

    def __hash__(self) -> int:
        return hash((self._native, self._client))

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError("side: it cannot be pickled or copied, it names a live socket; send its getpeername()")


class Connection:
    """A client's side and its upstream's side. Two Connections of the same id of a server are equal.

    It comes from `TheServer.connections` and stays valid after the end; its reason and counters are final then.
    """

    __slots__ = ("_native", "_pid")

    def __init__(self, native: _native.Connection, pid: int) -> None:
        self._native = native
        self._pid = pid

    @property
    def id(self) -> int:
        """A number that no other connection of this server has."""
        return self._native.id

    @property
    def client(self) -> Side:
        """The client's side."""
        return Side(self._native, self._pid, True)

    @property
    def upstream(self) -> Side | None:
        """The upstream's side; None until it is connected."""
        return None if self._native.upstream_peer is None else Side(self._native, self._pid, False)

    @property
    def state(self) -> ConnectionState:
        """Connecting, open or closed."""
        return ConnectionState(self._native.state)

    @property
    def reason(self) -> CloseReason | None:
        """Why it ended; None while it lives."""
        word = self._native.reason
        return None if word is None else CloseReason(word)

    @property
    def error(self) -> str | None:
        """One line about the end where there is more to say: the operating system's words, an address, a time."""
        return self._native.error

    @property
    def to_upstream(self) -> Ledger:
        """The bytes from the client to the upstream, so far."""
        return Ledger(*self._native.ledger(True))

    @property
    def to_client(self) -> Ledger:
        """The bytes from the upstream to the client, so far."""
        return Ledger(*self._native.ledger(False))

    def close(self) -> None:
        """End it in order: what was read is delivered, then both sides get an end of stream.

        It returns at once. Raises ForkError.
        """
        self._check_process()
        self._native.close()

    def abort(self) -> None:
        """Reset both sides now; what was read and not delivered is undeliverable. Raises ForkError."""
        self._check_process()
        self._native.abort()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkError("connection: it belongs to the process this one was forked from; end it there")

    def __repr__(self) -> str:
        upstream = self.upstream
        names = f"{self.client!r} {'' if upstream is None else f'{upstream!r} '}"
        return f"<Connection {self.id} {names}{self.reason or self.state}>"

    def __eq__(self, other: object) -> bool:
        return self._native == other._native if isinstance(other, Connection) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._native)

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError("connection: it cannot be pickled or copied, it holds sockets; send its id and stats")
