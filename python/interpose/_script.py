"""The sides of a script of the tutorial's form: which there are, which are read, and which are paired."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from . import _native
from ._addresses import host_port
from ._connection import Connection, KnownConnections, Side
from ._containers import Channel, InputList
from ._exceptions import ConfigError, ConnectionClosedError
from ._outgoing import Outgoing, close_unpaired, started_before
from ._own_socket import TakenOver, check_own, side_of, take_over
from ._script_side import Accepted, ScriptSide


class Listener:
    """`self.server` of the tutorial's form: the listening socket, with one client to accept."""

    def __init__(self, native: _native.Server, accepted: Callable[[Connection], Side]) -> None:
        # Not the server's own: a script may have an attribute of that name.
        self._address = host_port(native.address)
        self._accepted = accepted
        self._waiting: Connection | None = None
        # The client that a method has accepted, until the method returns: what became of it is checked then.
        self._taken: Side | None = None

    def accept(self) -> tuple[Side, tuple[str, int]]:
        """Return the client's side and its address. Good once for each call of `on_accept`."""
        if self._waiting is None:
            raise BlockingIOError("accept: no client waits; call it once, in on_accept")
        client, self._waiting = self._accepted(self._waiting), None
        self._taken = client
        return client, client.getpeername()

    def offer(self, connection: Connection) -> None:
        """Let the next accept() return `connection`."""
        self._waiting = connection

    def withdraw(self) -> Side | None:
        """Let the next accept() find no client; return the one that was accepted since offer()."""
        taken, self._waiting, self._taken = self._taken, None, None
        return taken

    def getsockname(self) -> tuple[str, int]:
        """Return where it listens."""
        return self._address


class Sides:
    """The sides of a script, as its server knows them. A side is in its hands from `input_list` or `channel` on.

    `attributes` are the server's, `known` its connections by id.
    """

    def __init__(self, attributes: dict[str, Any], native: _native.Server, known: KnownConnections) -> None:
        self.attributes = attributes
        self._native = native
        self._known = known
        self.at_hand: ScriptSide | None = None
        self.has_sent = False
        # Those that are read, and what the script has of each: the side, or its own socket.
        self._read: dict[ScriptSide, object] = {}
        # Those that wait for the server to start.
        self._early: list[Outgoing] = []
        # Sides that were entered while a method runs.
        self._entered: list[ScriptSide] | None = None
        attributes["server"] = listener = Listener(native, self.accepted)
        self.listener = listener
        self.channel = attributes["channel"] = Channel(self)
        self.input_list = attributes["input_list"] = InputList(self, [listener])

    # Calls of the containers.

    def check(self, one: object) -> None:
        """Raise for a side or socket that cannot be entered: ConfigError, ArgumentTypeError, ConnectionClosedError."""
        side = self.known(one)
        if side is None:
            if isinstance(one, socket.socket):
                check_own(one)
            return
        if side.script is not None and side.script is not self:
            raise ConfigError(f"{side!r}: it is another server's; enter it there, or connect another one here")
        if side.is_closed and not side.loses and side not in self._read:
            raise ConnectionClosedError(f"{side!r}: it is closed; pair it before close()")

    def enters(self, one: object, is_listed: bool) -> None:
        """Read a side from here on; take over a socket of the script's own. By `channel` only the first time."""
        side = self.known(one)
        if side is None:
            if not isinstance(one, socket.socket):
                return
            side = take_over(one)
        if side.is_over or side in self._read or (side.script is not None and not is_listed and side.was_read):
            return
        self._take(side)
        self._read[side] = one
        side.was_read = True
        if self._entered is not None:
            self._entered.append(side)
        if hasattr(side, "_native"):
            self._pause(side, paused=False)

    def unlisted(self, one: object) -> None:
        """Read a side no more. What the script closes, or refers to no more, is closed."""
        side = self.known(one)
        if side is not None:
            self._read.pop(side, None)
            self._pause(side, paused=True)

    def _take(self, side: ScriptSide) -> None:
        """Let the server carry an upstream that the script has connected."""
        if not isinstance(side, Outgoing) or side.is_paired or side.native is None:
            return
        if self._native.started:
            self._adopt(side, self._native.adopt(side.native))
        else:
            self._early.append(side)

    def begin(self) -> None:
        """Carry what was entered before the server started."""
        early, self._early = self._early, []
        for side in early:
            if side in self._read and not side.is_closed:
                self._take(side)
                self._pause(side, paused=False)

    def _adopt(self, side: Outgoing, native: _native.Connection) -> None:
        side.pair(self._known.of(native), self)

    @staticmethod
    def _pause(side: ScriptSide, *, paused: bool) -> None:
        if hasattr(side, "_native"):
            side._native.pause(side.is_client, paused)  # pyright: ignore[reportPrivateUsage]

    # Finding sides.

    @staticmethod
    def known(one: object) -> ScriptSide | None:
        """Return `one` if it is a side, else the side that has taken that socket over, else None."""
        return one if isinstance(one, ScriptSide) else side_of(one)

    def other(self, side: ScriptSide) -> Side | None:
        """Return the side that is paired with it."""
        return self.known(self.channel.get(side))

    def partner(self, side: ScriptSide) -> ScriptSide | None:
        """Return the side that is paired with it, where both are each other's."""
        other = self.channel.get(side)
        if other is None or (not isinstance(other, ScriptSide) and (other := side_of(other)) is None):
            return None
        back = self.channel.get(other)
        return other if back is side or self.known(back) is side else None

    def is_read(self, side: ScriptSide) -> bool:
        """Return whether `side` is in the server's hands."""
        return side in self._read

    def accepted(self, connection: Connection) -> Accepted:
        """Return the client's side: one object, as long as something refers to it."""
        side = self.of(connection)
        return side if isinstance(side, Accepted) else Accepted(connection, self)

    @staticmethod
    def of(connection: Connection) -> ScriptSide | None:
        """Return the side of a connection that is carried alone, as long as something refers to it."""
        side = connection.upstream if connection._native.is_adopted else connection.client  # pyright: ignore[reportPrivateUsage]
        return side if isinstance(side, ScriptSide) else None

    def connected(self, client: Connection, native: _native.Connection) -> None:
        """Pair a client with the upstream that the server has connected for it."""
        upstream = Outgoing(None)
        self._adopt(upstream, native)
        self.pair(self.accepted(client), upstream)

    def pair(self, client: object, upstream: object) -> None:
        """Enter both, as the tutorial's on_accept does."""
        self.input_list += [client, upstream]
        self.channel[client] = upstream
        self.channel[upstream] = client

    # Ending sides.

    def forget(self, side: ScriptSide) -> None:
        """Take a side out of the containers."""
        self.channel.without(side)
        if side in self.input_list:
            self.input_list.discard(side)
            self.unlisted(side)
        self._read.pop(side, None)

    def hang_up(self, side: ScriptSide) -> None:
        """Close a side and its other one in order, and forget both."""
        other = self.known(self.channel.get(side))
        for one in (other, side):
            if one is not None:
                self.forget(one)
                one.close()

    def be_rid(self, side: ScriptSide) -> None:
        """Reset a side, and forget it."""
        self.forget(side)
        side.is_over = True
        if hasattr(side, "_native"):
            side._native.abort()  # pyright: ignore[reportPrivateUsage]
        elif isinstance(side, Outgoing):
            side.close()

    def run(self, method: Callable[[], object], side: ScriptSide | None) -> None:
        """Run a method with `side` as `self.s`; None is the listener.

        If it raises, the sides that it has entered or connected are closed.
        """
        attributes = self.attributes
        attributes["s"] = self.listener if side is None else side.face if isinstance(side, TakenOver) else side
        before, self._entered = self._entered, []
        since = started_before()
        try:
            method()
        except BaseException:
            close_unpaired(since)
            for entered in self._entered:
                self.be_rid(entered)
            raise
        finally:
            self._entered = before
            # One that the script refers to no more is closed: the server is not to be what keeps it.
            if side not in self._read:
                attributes["s"] = self.listener
