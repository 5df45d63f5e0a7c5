"""The tutorial's form: subclasses whose hooks take no arguments run as in 2012.

Then a server had its sockets in `input_list`, the pairs of them in `channel`, and the one at hand, with what it had
received, in `self.s` and `self.data`. All of that is here again, over connections that the native side carries:
nothing is forwarded unless a method sends it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from . import _native
from ._connection import Connection, Side
from ._exceptions import ConnectError
from ._forward import Forward, native_forward
from ._hooks import TUTORIAL_HOOKS, takes_nothing
from ._outgoing import Outgoing

if TYPE_CHECKING:
    from ._server import TheServer


class Listener:
    """What `self.server` is in the tutorial's form: the listening socket, with one client to accept."""

    def __init__(self, server: TheServer) -> None:
        self._address = server.address
        self._waiting: Connection | None = None

    def accept(self) -> tuple[Side, tuple[str, int]]:
        """Return the client's side and its address. Good once for each call of `on_accept`."""
        if self._waiting is None:
            raise BlockingIOError("accept: no client waits; call it once, in on_accept")
        client, self._waiting = self._waiting.client, None
        return client, client.getpeername()

    def offer(self, connection: Connection | None) -> None:
        """Have `connection` accepted next, or nobody."""
        self._waiting = connection

    def getsockname(self) -> tuple[str, int]:
        """Return where it listens."""
        return self._address


class TutorialAttributes:
    """What methods of the tutorial's form find on their server."""

    s: Side
    """The side at hand."""
    data: bytes
    """What it has sent, in `on_recv`."""
    channel: dict[Side, Side]
    """The other side of each."""
    input_list: list[Any]
    """The listener and every side."""
    server: Listener
    """The listener; `self.server.accept()` gives the client, in `on_accept`."""


def connect(forward: Forward) -> Side | Literal[False]:
    """Connect now. Return the side, or False after saying why in the log."""
    try:
        return Outgoing(_native.Outgoing(native_forward(forward)))
    except ConnectError as error:
        logging.getLogger("interpose.connection").warning("%s", error)
        return False


def forms(server: TheServer) -> list[str]:
    """Return the hooks for which the class of `server` has a method of the tutorial's form."""
    return [name for name in TUTORIAL_HOOKS if takes_nothing(server, name)]


def adapt(server: TheServer, methods: list[str], hooks: dict[str, Callable[..., Any]]) -> None:
    """Give `server` the tutorial's attributes, and put its `methods` behind the hooks that call them.

    What is connected is paired also while a callback of its own takes the place of a method: that may go again.
    """
    own = [name for name in methods if name not in vars(server)]
    if "server" not in vars(server):
        server.server = Listener(server)
        server.channel = {}
        server.input_list = [server.server]

    def on_accept(conn: Connection) -> object:
        return _accept(server, conn)

    def on_connect(conn: Connection) -> None:
        _pair(server, conn)

    def on_recv(side: Side, data: bytes) -> bytes:
        return _recv(server, side, data)

    def on_close(conn: Connection) -> None:
        _close(server, conn, "on_close" in own)

    if "on_accept" in own:
        hooks["on_accept"] = on_accept
    else:
        hooks["on_connect"] = _both(on_connect, hooks.get("on_connect"))
    if "on_recv" in own:
        hooks["on_recv"] = on_recv
    hooks["on_close"] = _both(on_close, hooks.get("on_close"))


def _both(first: Callable[[Connection], None], second: Callable[..., Any] | None) -> Callable[[Connection], None]:
    def both(conn: Connection) -> None:
        first(conn)
        if second is not None:
            second(conn)

    return first if second is None else both


def closing(server: TheServer, callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return an on_close that tells `callback` of an end, and called without arguments hangs up as a method would."""

    @functools.wraps(callback)
    def on_close(*conn: Connection) -> object:
        if conn:
            return callback(*conn)
        if takes_nothing(server, "on_close"):
            return cast("Any", type(server)).on_close(server)
        hang_up(server)
        return None

    return on_close


def _pair(server: TheServer, conn: Connection) -> None:
    client, upstream = conn.client, Side(conn, False)
    server.input_list += [client, upstream]
    server.channel[client] = upstream
    server.channel[upstream] = client


def _unpair(server: TheServer, side: Side) -> bool:
    """Forget a side and its other one. Return whether they were paired."""
    other = server.channel.pop(side, None)
    if other is not None:
        server.channel.pop(other, None)
    items = server.input_list
    items[:] = _without(items, side) if other is None else _without(_without(items, side), other)
    return other is not None


def _without(items: list[Any], side: Side) -> list[Any]:
    """Return `items` without what is equal to `side`. A connection is one object, so nothing has to be compared."""
    connection = getattr(side, "connection", None)
    if connection is None:
        return [one for one in items if one is not side]
    is_client = side.is_client
    return [one for one in items if getattr(one, "connection", None) is not connection or one.is_client != is_client]


def _accept(server: TheServer, conn: Connection) -> object:
    server.server.offer(conn)
    # As then: the side at hand is the listener.
    vars(server)["s"] = server.server
    server.on_accept()
    server.server.offer(None)
    client = conn.client
    upstream = server.channel.get(client)
    if not isinstance(upstream, Outgoing):
        _unpair(server, client)
        if conn.reason is None:
            logging.getLogger("interpose.callback").warning(
                "%s: on_accept paired no upstream with the client in self.channel, so the client is refused", conn
            )
        return False
    # Its hash is another one from now on, so it is taken out of the dictionary before.
    server.channel.pop(upstream, None)
    upstream.pair(conn)
    server.channel[upstream] = client
    return upstream.native


def _recv(server: TheServer, side: Side, data: bytes) -> bytes:
    server.s, server.data = side, data
    server.on_recv()
    return b""


def _close(server: TheServer, conn: Connection, own: bool) -> None:
    client = conn.client
    upstream = server.channel.get(client)
    # A method that has unpaired them has closed the connection itself, and knows.
    if upstream is None:
        return
    ended_by_upstream = str(conn.reason).startswith("upstream")
    server.s = upstream if ended_by_upstream else client
    if own:
        server.on_close()
    _unpair(server, client)


def hang_up(server: TheServer) -> None:
    """Close the side at hand and its other one, as the tutorial's `on_close` does."""
    side = server.s
    _unpair(server, side)
    side.close()


# What `super()` finds without arguments, by hook.
METHODS: dict[str, Callable[[TheServer], None]] = {"on_close": hang_up}
