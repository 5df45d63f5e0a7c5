"""`interpose echo`: an upstream to try things with. It sends back what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .. import _native
from .._addresses import host_text
from .._connection import Connection, Side
from .._exceptions import ConnectionClosedError
from .._forward import Forward
from .._groups import CommandSettings
from .._server import TheServer
from .._service_names import numbered
from .arguments import read_words
from .commands import command_of
from .served import Served
from .serving import serve

DEFAULT_LISTEN = "7070"
_DRAIN_SECONDS = 1.0


def run(words: Sequence[str]) -> int:
    """Serve until a signal ends it, and return the exit code."""
    listen = (read_words(command_of(["echo"]), words).places or [DEFAULT_LISTEN])[0]
    _native.parse_address(numbered(host_text("LISTEN", listen)))
    command = CommandSettings(drain=_DRAIN_SECONDS)
    return serve(Served([_Echo(listen)], command.drain), command)


class _Echo:
    """The one listener of the command."""

    what = "sending back what comes"
    shows = False

    def __init__(self, address: str) -> None:
        self._address = address

    def bind(self) -> TheServer:
        """Return a server that listens and is not started."""
        return EchoServer(self._address)


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
