"""`interpose echo`: an upstream to try things with. It sends back what it gets."""

from __future__ import annotations

from typing import Literal

from .._connection import Connection, Side
from .._exceptions import ConnectionClosedError
from .._forward import Forward
from .._server import TheServer

DEFAULT_LISTEN = "7070"


class EchoServer(TheServer):
    """Sends every byte back to the client it came from, then the end of its stream.

    A client that does not read is not read from either: what waits for it is bounded.
    """

    def on_accept(self, conn: Connection) -> Forward:  # noqa: ARG002 (the hook's argument)
        """Connect nowhere. The client's end of stream is then answered with one, behind all that is sent to it."""
        return Forward.NOWHERE

    def on_client_recv(self, side: Side, data: bytes) -> Literal[b""]:
        """Send the chunk back; it goes nowhere else."""
        try:
            side.send(data)
        except ConnectionClosedError:
            pass  # it has just reset; its end comes by itself
        return b""
