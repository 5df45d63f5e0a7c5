"""Connections and their two sides."""

from __future__ import annotations

import weakref
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from . import _native
from ._exceptions import ArgumentTypeError, ReadError
from ._faulting import put_own_faults
from ._filter_list import filters_or_none, native_filters
from ._framing_pair import Framings, framing_of, native_framing
from ._names import ConnectionNames
from ._side import SideMethods
from ._start_tls import ClientTls, UpstreamTls, begin
from ._stats import CloseReason, ConnectionPhase, Ledger
from ._tls import TlsInfo, info_of
from .framing import Framing

if TYPE_CHECKING:
    from ._tls_exceptions import TlsError
    from .faults import Fault
    from .filters import Filter

_UNFRAMED = Framings()
_NO_FILTERS: Mapping[bool, list[Filter]] = MappingProxyType({})
_NO_FAULTS: Mapping[bool, list[Fault]] = {}


class Side(SideMethods):
    """One end of a connection: the client's or the upstream's. Two Sides of the same end are equal.

    It comes to callbacks, or from `Connection.client` and `Connection.upstream`, and stays valid after the end.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection, is_client: bool) -> None:
        self._connection = connection
        self._native = connection._native  # pyright: ignore[reportPrivateUsage]
        self._client = is_client

    @property
    def connection(self) -> Connection:
        """The connection this is a side of."""
        return self._connection

    @property
    def other(self) -> Side | Any:
        """The opposite side; None for the client's while there is no upstream.

        In on_connect, and in the hooks for what was received, both are there, unless `on_accept` answered
        `Forward.NOWHERE`. So type checkers do not insist on asking; `Connection.upstream` is the one that they do.
        """
        return self._connection.upstream if self._client else self._connection.client

    @property
    def tls(self) -> TlsInfo | None:
        """The properties of the TLS that this side speaks; None without TLS, and before its handshake is done."""
        return info_of(self._native, self._client)

    @property
    def framing(self) -> Framing | None:
        """Where the messages that this side sends end; None where callbacks get chunks.

        Assigned, another one holds from the next byte on that no callback has seen: in a callback, from the end of the
        message at hand. Raises ArgumentTypeError and ForkError.
        """
        return self._connection._framings.of(self._client)  # pyright: ignore[reportPrivateUsage]

    @framing.setter
    def framing(self, value: Framing | None) -> None:
        framing_of(value)
        self._connection._set_framing(self._client, value)  # pyright: ignore[reportPrivateUsage]

    @property
    def filters(self) -> list[Filter] | None:
        """The filters that were assigned for what this side sends; None while it has those of the server.

        Assigned, they take the places of the server's from the next read on. Raises ArgumentTypeError and ForkError.
        """
        return self._connection._own_filters.get(self._client)  # pyright: ignore[reportPrivateUsage]

    @filters.setter
    def filters(self, value: Sequence[Filter]) -> None:
        chosen = filters_or_none(value)
        _native.set_filters(self._native, self._client, native_filters(chosen))
        # Another dictionary, because most connections share the empty one.
        own = self._connection._own_filters  # pyright: ignore[reportPrivateUsage]
        self._connection._own_filters = {**own, self._client: chosen}  # pyright: ignore[reportPrivateUsage]

    @property
    def faults(self) -> list[Fault] | None:
        """The faults that were assigned for what this side sends; None while it has those of the server.

        Assigned, they take the places of the server's from the next read on, for good. Raises ArgumentTypeError,
        ForkError, and ConnectionClosedError once nothing more comes.
        """
        return self._connection._own_faults.get(self._client)  # pyright: ignore[reportPrivateUsage]

    @faults.setter
    def faults(self, value: Sequence[Fault]) -> None:
        chosen = put_own_faults(self._native, self._client, value)
        own = self._connection._own_faults  # pyright: ignore[reportPrivateUsage]
        self._connection._own_faults = {**own, self._client: chosen}  # pyright: ignore[reportPrivateUsage]

    def read_message(self, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """Take and return the next whole message that this side sends, by the framing of the server.

        The relay goes on behind it with that framing. Raises ReadLimitError for more than `Relay.max_message` bytes,
        ReadEndError if the stream ends before, and ReadError for bytes that break the protocol, where there is no
        framing, and where it is a function of your own; all else is as with peek().
        """
        connection = self._connection
        if connection._is_reframed:  # pyright: ignore[reportPrivateUsage]
            raise ReadError(
                "read_message: side.framing was set on this connection, which counts from the relay on; "
                "give the framing to the server, or use read_until()"
            )
        most = connection._framings.max_message  # pyright: ignore[reportPrivateUsage]
        return self._ask("read_message", "message", most, b"", timeout)


def side_of(connection: Connection, is_client: bool) -> Side | None:
    """Return a side of `connection`, as callbacks get it."""
    # Nobody has an object of either side that it would have to be.
    if connection._client_side is None and connection._upstream_side is None:  # pyright: ignore[reportPrivateUsage]
        is_there = is_client or connection._native.has_upstream  # pyright: ignore[reportPrivateUsage]
        return Side(connection, is_client) if is_there else None
    return connection.client if is_client else connection.upstream


class Connection(ConnectionNames):
    """A client's side and its upstream's side.

    It comes to callbacks, or from `TheServer.connections`, as one object for each connection; it stays valid
    after the end, and its reason and counters are final then.
    """

    __slots__ = (
        "__weakref__",
        "_client_side",
        "_framings",
        "_is_reframed",
        "_native",
        "_other_framer",
        "_own_faults",
        "_own_filters",
        "_upstream_side",
        "state",
    )

    state: Any
    """Yours: whatever you want to keep with the connection. None at first."""

    def __init__(self, native: _native.Connection, framings: Framings = _UNFRAMED) -> None:
        self._native = native
        self._framings = framings
        self._is_reframed = False
        self._other_framer: _native.OtherFramer | None = None
        self._own_filters: Mapping[bool, list[Filter]] = _NO_FILTERS
        self._own_faults: Mapping[bool, list[Fault]] = _NO_FAULTS
        # The objects that a script has of its sides, for as long as it has them.
        self._client_side: weakref.ref[Side] | None = None
        self._upstream_side: weakref.ref[Side] | None = None
        self.state = None

    @property
    def id(self) -> int:
        """A number that no other connection of this server has."""
        return self._native.id

    @property
    def client(self) -> Side:
        """The client's side."""
        side = None if self._client_side is None else self._client_side()
        return Side(self, True) if side is None else side

    @property
    def upstream(self) -> Side | None:
        """The upstream's side; None until it is connected, and for good if the client goes nowhere."""
        side = None if self._upstream_side is None else self._upstream_side()
        if side is None and self._client_side is not None and (client := self._client_side()) is not None:
            # The one that a script has paired it with.
            side = client.other
        if side is not None or not self._native.has_upstream:
            return side
        return Side(self, False)

    @property
    def phase(self) -> ConnectionPhase:
        """Connecting, open or closed."""
        return ConnectionPhase(self._native.phase)

    @property
    def age(self) -> float:
        """The seconds since it was accepted, until now or its end."""
        return self._native.age

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
    def tls_error(self) -> TlsError | None:
        """The exception for the reasons `client_tls_failed` and `upstream_tls_failed`, not raised; else None.

        It is a TlsCertificateError, and so an `ssl.SSLCertVerificationError`, where a certificate was not accepted.
        """
        if self._native.reason not in ("client_tls_failed", "upstream_tls_failed"):
            return None
        # Only where somebody asks, because the module ssl takes long to load.
        from ._tls_exceptions import tls_error_of

        return tls_error_of(self._native.error or "", self._native.certificate_fault)

    @property
    def to_upstream(self) -> Ledger:
        """The bytes from the client to the upstream, so far."""
        return Ledger(*self._native.ledger(True))

    @property
    def to_client(self) -> Ledger:
        """The bytes from the upstream to the client, so far."""
        return Ledger(*self._native.ledger(False))

    def passthrough(self) -> None:
        """Show nothing more of it to callbacks: it is relayed natively from here on, as if nobody had asked.

        Only `on_close` is still called. It returns at once. Raises ForkError.
        """
        self._native.pass_through(True)
        self._native.pass_through(False)

    def start_tls(self, *, client: ClientTls = None, upstream: UpstreamTls = None, early: bytes = b"") -> None:
        """Begin TLS amid the connection (STARTTLS): with one side or with both, behind what is written to each.

        For callbacks that see what is received; what the callback answers, and what was sent before, goes out in plain
        first. So a callback that passes the server's "220 go ahead" on begins TLS behind that. It returns at once; no
        side is read until the handshakes are done, the upstream's first, and from then on callbacks see what is said
        under TLS. What was read and is not yet a message that a callback has seen belongs to the session of the side
        that has sent it, never to the plaintext under it.

        * `client`: a Tls, an Intercept, which reads the client's hello first and asks the upstream as that does, or
          True for the `tls` of the server.
        * `upstream`: a TlsUpstream, or True for that of the Intercept, if there is one, else `TlsUpstream()`.
        * `early`: without a framing, the bytes behind the client's request that the callback was called with, and does
          not answer: the beginning of its hello.

        A handshake that fails resets both, `client_tls_failed` or `upstream_tls_failed`. Raises StartTlsError for a
        side that speaks TLS already, without an upstream, and outside of callbacks, ConnectionClosedError for a side
        that takes nothing more, ConfigError, ArgumentTypeError and ForkError.
        """
        begin(self._native, self._framings.tls, client, upstream, early)

    def _set_framing(self, is_client: bool, value: Framing | None) -> None:
        """Frame what one side sends by `value` from the next byte on."""
        framings = self._framings
        self._is_reframed = True
        native, limits = native_framing(value), (framings.max_message, framings.unframes)
        self._other_framer = _native.set_framing(self._native, is_client, native, self._other_framer, limits)
        self._framings = replace(framings, of_client=value) if is_client else replace(framings, of_upstream=value)

    def close(self) -> None:
        """End it in order: what was read is delivered, then both sides get an end of stream.

        It returns at once. In a callback, the chunk that it was called for is delivered as its answer says,
        and no other callback but `on_close` is called any more; with a framing, messages that were read with that one
        come to callbacks still. Raises ForkError.
        """
        self._native.close()

    def abort(self) -> None:
        """Reset both sides now; what was read and not delivered is undeliverable. Raises ForkError."""
        self._native.abort()

    def __repr__(self) -> str:
        upstream = self.upstream
        # An upstream that is carried alone has no client.
        client = "" if self._native.is_adopted else f"{self.client!r} "
        names = f"{client}{'' if upstream is None else f'{upstream!r} '}"
        return f"<Connection {self.id} {names}{self.reason or self.phase}>"

    def __eq__(self, other: object) -> bool:
        return self._native == other._native if isinstance(other, Connection) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._native)

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError("connection: it cannot be pickled or copied, it holds sockets; send its id and stats")


class KnownConnections(dict[int, Connection]):
    """The connections of one server that callbacks or the server's user have seen, by id: one object for each."""

    framings = _UNFRAMED
    """The framings with which each begins."""

    def of(self, native: _native.Connection) -> Connection:
        """Return the object of a connection."""
        return self.get(native.id) or self.setdefault(native.id, self.made(native))

    def made(self, native: _native.Connection) -> Connection:
        """Return a new object of a connection."""
        return Connection(native, self.framings)

    def live(self, natives: list[_native.Connection], *, waits: bool) -> list[Connection]:
        """Return the objects of `natives` that live, and forget those that have ended.

        Where it `waits`, an ended one is kept until its last callback has returned.
        """
        found = [self.of(native) for native in natives]
        for connection in [*self.values()]:
            if connection.reason is not None and (connection._native.close_notified or not waits):  # pyright: ignore[reportPrivateUsage]
                self.pop(connection.id, None)
        # One that has ended meanwhile may have been forgotten before it was entered: as another object than before.
        return [connection for connection in found if connection.reason is None]
