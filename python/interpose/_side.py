"""One end of a connection: who is there, and what is sent to it.

The way from a side to its connection and to its other side is in `_connection`.
"""

from __future__ import annotations

from typing import NoReturn, TypeAlias

from ._addresses import SocketName, address_text, host_port, unix_path
from ._checks import seconds
from ._exceptions import ArgumentTypeError, SendTimeoutError
from ._reads import SideReads
from ._threads import is_cooperative
from ._waiting import wait_for

Buffer: TypeAlias = bytes | bytearray | memoryview
"""The types that can be sent."""


class SideMethods(SideReads):
    """The part of a Side that needs its end of the connection alone."""

    __slots__ = ("_client", "_native")

    @property
    def is_client(self) -> bool:
        """True for the client's side, False for the upstream's."""
        return self._client

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's address: `(host, port)`; where `unix_path` is not None, `"unix:/path"` or `"unix:"`."""
        return host_port(self._peer())

    def getsockname(self) -> tuple[str, int]:
        """Return our own address on this side, in the form of getpeername()."""
        native = self._native
        name = native.client_local if self._client else native.upstream_local
        return host_port("unix:" if name is None else name)

    @property
    def unix_path(self) -> str | None:
        """The path of the peer's Unix socket, `""` if it has no name; None where the peer has `(host, port)`."""
        return unix_path(self._peer())

    def _peer(self) -> SocketName:
        native = self._native
        name = native.client_peer if self._client else native.upstream_peer
        return "unix:" if name is None else name

    def send(self, data: Buffer, timeout: float | None = None) -> int:
        """Send `data` to this peer, whole, behind what goes there already; return its length.

        Of several calls, from whatever threads, none is mixed with another or with a chunk. In a callback it
        returns at once, and the data goes out after the chunk that the callback was called for; when 1 MiB
        waits for a peer that does not read, SendBufferFullError. In other threads it waits while 256 KiB or
        more are on their way to the peer, at most `timeout` seconds (None is no limit), then SendTimeoutError.
        It does not wait for the peer to receive anything. Raises ConnectionClosedError, ArgumentTypeError,
        ForkError.

        >>> import socket
        >>> from interpose import Forward, TheServer
        >>> def greet(conn):
        ...     conn.client.send(b"hello")
        ...     return Forward.NOWHERE
        >>> with TheServer("", 0, on_accept=greet) as server:
        ...     with socket.create_connection(server.address) as client:
        ...         client.recv(5)
        b'hello'
        """
        limit = None if timeout is None else seconds("timeout", timeout, zero=True)
        sent = (
            self._send_from_greenlet(data, limit)
            if is_cooperative()
            else self._native.send(not self._client, data, limit)
        )
        if sent is None:
            raise SendTimeoutError(
                f"send: {self!r} had no room for it in {limit:g} s, because its peer does not read; "
                "give it longer, or close the connection"
            )
        return sent

    def _send_from_greenlet(self, data: Buffer, limit: float | None) -> int | None:
        """Send as send() does, and let other greenlets run while there is no room."""
        sent: int | None = None

        def is_sent(wait: float) -> bool:
            nonlocal sent
            sent = self._native.send(not self._client, data, wait)
            return sent is not None

        wait_for(is_sent, limit)
        return sent

    def sendall(self, data: Buffer, timeout: float | None = None) -> None:
        """Do what send() does, under the name that sockets have for it."""
        self.send(data, timeout)

    @property
    def partial(self) -> bool:
        """True while a callback is called with bytes of this side that are no whole message.

        That is the rest at the end of its stream, what comes behind bytes that broke the protocol, and every chunk
        without a framing.
        """
        return self._native.is_partial(self._client)

    def half_close(self) -> None:
        """Send this peer an end of stream after all that is on its way to it; the other direction lives on.

        No more is read from the other side. It returns at once. Raises ForkError.
        """
        self._native.half_close(not self._client)

    def passthrough(self) -> None:
        """Show no more of what this side sends to any callback: that direction is relayed natively from here on.

        It returns at once; the chunk that a callback was called for just now is still subject to its answer.
        Raises ForkError.
        """
        self._native.pass_through(self._client)

    def close(self) -> None:
        """End the connection in order, as Connection.close() does."""
        self._native.close()

    def __repr__(self) -> str:
        return f"<{'client' if self._client else 'upstream'} {address_text(self.getpeername())}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SideMethods):
            return NotImplemented
        return self._client == other._client and self._native == other._native

    def __hash__(self) -> int:
        return hash((self._native, self._client))

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError("side: it cannot be pickled or copied, it names a live socket; send its getpeername()")
