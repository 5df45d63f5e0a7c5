"""Phases, close reasons and counters of connections."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


class ConnectionPhase(enum.StrEnum):
    """Where a connection is in its life.

    >>> from interpose import ConnectionPhase
    >>> ConnectionPhase.OPEN == "open"
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
    CLIENT_TRUNCATED = "client_truncated"
    """The client ended its TLS stream without the notice of its end (close_notify): the rest may be missing."""
    UPSTREAM_TRUNCATED = "upstream_truncated"
    """The upstream ended its TLS stream without the notice of its end (close_notify): the rest may be missing."""
    CLIENT_TLS_FAILED = "client_tls_failed"
    """TLS with the client failed; `Connection.error` names the alert, or says what was wrong."""
    UPSTREAM_TLS_FAILED = "upstream_tls_failed"
    """TLS with the upstream failed; `Connection.error` names the alert, or says what was wrong."""
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    """A side had not finished its TLS handshake within `handshake_timeout`."""
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
    REJECTED = "rejected"
    """`on_accept`, `on_client_hello` or `on_preread` refused the client."""
    UNKNOWN_NAME = "unknown_name"
    """The client asked in TLS for a name that has no target."""
    UNDECIDED = "undecided"
    """`on_preread` had not decided within `preread_limit` bytes and `preread_timeout` seconds."""
    MESSAGE_TOO_LONG = "message_too_long"
    """A message was longer than `Relay.max_message`; `Connection.error` has its place in the stream."""
    PROTOCOL_ERROR = "protocol_error"
    """Bytes broke the protocol of a framing; `Connection.error` has their place, and what was expected there."""
    CALLBACK_ERROR = "callback_error"
    """A callback raised an exception, or gave an answer that means nothing; the log has it."""
    CALLBACK_TIMEOUT = "callback_timeout"
    """An asynchronous callback did not answer within `Callbacks.callback_timeout`."""
    FAULT = "fault"
    """A fault ended the connection, as it was asked to; `Connection.error` names it."""
    INTERNAL_ERROR = "internal_error"
    """A defect of interpose; the log has it."""


class _Figures:
    """The base of dataclasses whose repr() leaves out zeros."""

    __slots__ = ()

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items() if not _is_zero(value))
        return f"{type(self).__name__}({shown})"


class _Closed(dict[CloseReason, int]):
    """How many connections ended for each reason; its repr() leaves out zeros."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr({str(reason): number for reason, number in self.items() if number})


def _is_zero(value: object) -> bool:
    return value == Ledger() or (not any(value.values()) if isinstance(value, _Closed) else not value)


@dataclass(frozen=True, slots=True, repr=False)
class Ledger(_Figures):
    """The bytes of one direction. Its repr() shows the figures that are not zero.

    * `read`: bytes taken from the sending side.
    * `added`: bytes that a callback put in the place of others, or that were sent from outside.
    * `delivered`: bytes that the receiving side's kernel accepted.
    * `dropped`: bytes that were read, and that a callback dropped or replaced.
    * `undeliverable`: bytes that could not be delivered any more.

    Once the connection is closed, `read + added == delivered + dropped + undeliverable`.

    >>> from interpose import Ledger
    >>> Ledger(read=10, added=0, delivered=8, dropped=0, undeliverable=2)
    Ledger(read=10, delivered=8, undeliverable=2)
    """

    read: int = 0
    added: int = 0
    delivered: int = 0
    dropped: int = 0
    undeliverable: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Stats(_Figures):
    """A snapshot of what a server has done so far. Its repr() shows the figures that are not zero.

    * `accepted`: connections ever accepted. `active`: those that live.
    * `closed`: how many ended for each CloseReason, zeros included.
    * `to_upstream`, `to_client`: the Ledger of each direction, live connections included.
    * `accept_errors`: accepts that failed. `accept_paused`: whether accepting waits for descriptors or memory, or is
      tried again later for another reason, which the log has.
    * `callback_errors`: callbacks that raised an exception, or gave an answer that means nothing.
    * `callback_timeouts`: asynchronous callbacks that did not answer within `Callbacks.callback_timeout`.
    * `max_connections`: the limit in force. `max_connections_reached`: times that all of them were taken while a
      client waited for the next that ends.
    * `mirror_bytes`: bytes of clients that the system of `mirror_to` accepted. `mirror_missed_bytes`: those that it
      missed.

    >>> from interpose import CloseReason, Limits, TheServer
    >>> server = TheServer("", 0, "example.org:80", limits=Limits(max_connections=500))
    >>> server.stats.accepted, server.stats.closed[CloseReason.FINISHED]
    (0, 0)
    >>> server.stats
    Stats(max_connections=500)
    >>> server.stop()
    """

    accepted: int
    active: int
    closed: Mapping[CloseReason, int]
    to_upstream: Ledger
    to_client: Ledger
    accept_errors: int
    accept_paused: bool
    callback_errors: int
    callback_timeouts: int
    max_connections: int
    max_connections_reached: int
    mirror_bytes: int
    mirror_missed_bytes: int


def stats_of(values: dict[str, Any]) -> Stats:
    """Return the Stats that the native side's dictionary means."""
    closed = _Closed({CloseReason(word): number for word, number in values.pop("closed").items()})
    to_upstream, to_client = Ledger(**values.pop("to_upstream")), Ledger(**values.pop("to_client"))
    return Stats(closed=closed, to_upstream=to_upstream, to_client=to_client, **values)
