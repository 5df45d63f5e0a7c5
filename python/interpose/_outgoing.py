"""An upstream's side that a script has connected by itself."""

from __future__ import annotations

from typing import Any, NoReturn

from . import _native
from ._config import seconds
from ._connection import Buffer, Connection, Side
from ._exceptions import SendTimeoutError
from ._forward import SocketName, host_port

# How long a peer that does not read may hold up what is sent to it before its connection takes over.
_SEND_SECONDS = 10.0


class Outgoing(Side):
    """An upstream's side that was connected before it belongs to a connection."""

    __slots__ = ("native",)

    def __init__(self, native: _native.Outgoing) -> None:
        self.native = native
        self._client = False

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: this side belongs to no connection until on_accept has paired it in channel")

    @property
    def _paired(self) -> bool:
        return hasattr(self, "_connection")

    @property
    def other(self) -> Side | Any:
        """The client's side; None until it belongs to a connection."""
        return super().other if self._paired else None

    def pair(self, connection: Connection) -> None:
        """Become the upstream's side of `connection`."""
        super().__init__(connection, False)

    def getsockname(self) -> tuple[str, int]:
        """Return our own address on this side."""
        return host_port(self.native.local)

    def _peer(self) -> SocketName:
        return self.native.peer

    def send(self, data: Buffer, timeout: float | None = None) -> int:
        """Send all of `data` to the upstream; return its length.

        Before it belongs to a connection it waits until the system has taken it, at most 10 seconds by default.
        """
        if self._paired:
            return super().send(data, timeout)
        limit = _SEND_SECONDS if timeout is None else seconds("timeout", timeout, zero=True)
        sent = self.native.send(data, limit)
        if sent is None:
            raise SendTimeoutError(
                f"send: {self!r} had no room for all of it in {limit:g} s, because its peer does not read; "
                "close it, for part of it may be on its way, or give it longer"
            )
        return sent

    def close(self) -> None:
        """Close it, with its connection once it has one."""
        if self._paired:
            super().close()
        else:
            self.native.close()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) if self._paired else self is other

    def __hash__(self) -> int:
        return super().__hash__() if self._paired else id(self)
