"""The tutorial's form: subclasses whose hooks take no arguments run as in 2012.

Then a server had its sockets in `input_list`, the pairs of them in `channel`, and the one at hand, with what it had
received, in `self.s` and `self.data`. All of that is here again, over connections that the native side carries: each
socket is one of its own, and nothing is forwarded unless a method sends it.
"""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from . import _native
from ._connection import Connection, Side
from ._exceptions import ConfigError, ConnectError, printable
from ._forward import Forward, native_forward
from ._hook_decorators import method_of
from ._hooks import TUTORIAL_HOOKS, takes_nothing
from ._lost_output import lost_output
from ._outgoing import Outgoing
from ._script import Listener, Sides
from ._script_side import ScriptSide
from ._stats import CloseReason

if TYPE_CHECKING:
    from ._server import TheServer


class TutorialAttributes:
    """What methods of the tutorial's form find on their server."""

    s: Side
    """The side at hand."""
    data: bytes
    """What it has sent, in `on_recv`."""
    channel: dict[Any, Any]
    """The other side of each: entering a pair pairs, deleting it unpairs."""
    input_list: list[Any]
    """The listener and every side that is read."""
    server: Listener
    """The listener; `self.server.accept()` gives the client, in `on_accept`."""


def connect(forward: Forward) -> Outgoing | Literal[False]:
    """Connect now. Return the side, or False after saying why in the log."""
    try:
        return Outgoing(_native.Outgoing(native_forward(forward)))
    except ConnectError as error:
        logging.getLogger("interpose.connection").warning("%s", error)
        return False


def forms(server: TheServer) -> list[str]:
    """Return the hooks for which the class of `server` has a method of the tutorial's form."""
    return [name for name in TUTORIAL_HOOKS if takes_nothing(server, name)]


def sides_of(server: TheServer) -> Sides:
    """Return what the server of a script knows of its sides."""
    return cast("Sides", vars(server)["_sides"])


def adapt(server: TheServer, methods: list[str], hooks: dict[str, Callable[..., Any]]) -> None:
    """Give `server` the tutorial's attributes, and put its `methods` behind the hooks that call them.

    A callback of our form that stands in the place of a method, or beside it, is called as ever.
    """
    if "_sides" not in vars(server):
        vars(server)["_sides"] = sides = Sides(server)
        server._lanes.on_start = sides.begin  # pyright: ignore[reportPrivateUsage]
    # A callback takes the place of a method, but for on_close: ours sees connections, the script's sees sides.
    own = [name for name in methods if name == "on_close" or name not in vars(server)]
    script = _Methods(server, own, dict(hooks))
    if "on_accept" in methods or "on_accept" in hooks:
        hooks["on_accept"] = script.on_accept
    hooks["on_connect"] = script.on_connect
    hooks["on_eof"] = script.on_eof
    hooks["on_close"] = script.on_close
    for name in ("on_recv", "on_client_recv", "on_upstream_recv"):
        if name in hooks:
            hooks[name] = script.passing(name, hooks[name])
    hooks.setdefault("on_recv", script.on_recv)


class _Methods:
    """The hooks of a script: `own` names the methods that its class has, `given` are callbacks of our form."""

    def __init__(self, server: TheServer, own: list[str], given: dict[str, Callable[..., Any]]) -> None:
        self._server = server
        self._own = own
        self._given = given
        self._sides = sides_of(server)
        # Looked up once, for a read of a hook takes as long as a short method.
        self._accepts = method_of(server, "on_accept")
        self._receives = method_of(server, "on_recv") if "on_recv" in own else functools.partial(send_on, server)
        self.on_eof = self._on_eof
        if "on_close" in own and "on_eof" not in given:
            # This calls the script's on_close, so its exceptions are logged as those of on_close.
            self.on_eof = functools.partial(self._on_eof)
            self.on_eof.shown = "on_close"  # type: ignore[attr-defined]

    def on_accept(self, conn: Connection) -> object:
        """Have the script accept a client, or ask the callback of our form."""
        if "on_accept" not in self._own:
            return self._given_accept(conn)
        sides = self._sides
        listener = sides.listener
        listener.offer(conn)
        try:
            sides.run(self._accepts, listener)
        except BaseException:
            if (client := sides.of(conn)) is not None:
                sides.be_rid(client)
            listener.withdraw()
            raise
        accepted = listener.withdraw()
        if isinstance(accepted, ScriptSide) and accepted.is_closed:
            # It goes nowhere, and ends in order.
            return Forward.NOWHERE
        # From here on only the script refers to it.
        del accepted
        return self._kept(conn)

    def _given_accept(self, conn: Connection) -> object:
        callback = self._given.get("on_accept")
        answer = None if callback is None else callback(conn)
        sides = self._sides
        if answer is Forward.NOWHERE:
            sides.input_list.append(sides.accepted(conn))
        elif isinstance(answer, (Outgoing, socket.socket)):
            sides.pair(sides.accepted(conn), answer)
            return Forward.NOWHERE
        return answer

    def _kept(self, conn: Connection) -> object:
        """Say what becomes of a client that on_accept was called for."""
        client = self._sides.of(conn)
        if client is None:
            logging.getLogger("interpose.callback").warning(
                "%s: on_accept kept the client neither in self.input_list nor in self.channel, so it is refused", conn
            )
            return False
        if not self._sides.is_read(client):
            self._sides.unlisted(client)
        return Forward.NOWHERE

    def on_connect(self, conn: Connection, native: _native.Connection) -> None:
        """Pair a client with its upstream."""
        self._sides.connected(conn, native)
        if (callback := self._given.get("on_connect")) is not None:
            callback(conn)

    def on_recv(self, side: ScriptSide, data: bytes) -> None:
        """Have the script see a chunk. What it does not send goes nowhere."""
        sides = self._sides
        if side.passes:
            self._pass_on(side, data)
            return
        sides.at_hand, sides.has_sent = side, False
        vars(self._server)["data"] = data
        partner = sides.partner(side)
        try:
            sides.run(self._receives, sides.face(side))
        except Exception as error:
            if not self._goes_on("on_recv", error, side, data):
                self._abandon(partner)
                raise
        finally:
            sides.at_hand = None

    def _goes_on(self, name: str, error: Exception, side: ScriptSide, data: bytes) -> bool:
        """Pass on what a method had only begun to see, where its failure ends nothing. Return whether it is said."""
        gone = self._lost(name, error)
        passes = gone or self._server._passes_errors  # pyright: ignore[reportPrivateUsage]
        if passes and not self._sides.has_sent:
            self._pass_on(side, data)
        return gone

    def _abandon(self, partner: ScriptSide | None) -> None:
        """Reset what a method that fails was called with a partner of, where it has begun to unpair the two.

        A pair that is whole ends with the side at hand.
        """
        ends = not self._server._passes_errors  # pyright: ignore[reportPrivateUsage]
        if ends and partner is not None and self._sides.partner(partner) is None:
            self._sides.be_rid(partner)

    @staticmethod
    def _lost(name: str, error: Exception) -> bool:
        """Say that a method's own output is gone, if that is it: looking ends nothing."""
        gone = lost_output(error)
        if gone:
            logging.getLogger("interpose.callback").warning("%s: %s", name, gone)
        return bool(gone)

    def passing(self, name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return a hook that does with a chunk what a callback of our form answers."""

        @functools.wraps(callback)
        def on_recv(side: ScriptSide, data: bytes) -> None:
            sides = self._sides
            sides.at_hand = side
            sides.has_sent = False
            partner = sides.partner(side)
            try:
                answer = None if side.passes else callback(side, data)
                for part in parts_of(name, answer, data):
                    self._pass_on(side, part)
            except Exception as error:
                if not self._goes_on(name, error, side, data):
                    self._abandon(partner)
                    raise
            finally:
                sides.at_hand = None

        return on_recv

    def _pass_on(self, side: ScriptSide, data: bytes) -> None:
        other = self._sides.other(side)
        if other is not None and data:
            other.send(data)

    def _on_eof(self, side: ScriptSide) -> object:
        """See an end of stream: it is passed on, unless the script has an on_close, which is called then."""
        callback = self._given.get("on_eof")
        answer = None if callback is None else callback(side)
        if answer is False:
            return False
        for part in parts_of("on_eof", answer, b""):
            self._pass_on(side, part)
        if "on_close" in self._own:
            self._tell(side)
        else:
            side.is_told = side.loses = True
            self._pass_end(side)
        return None

    def _pass_end(self, side: ScriptSide) -> None:
        """Pass an end of stream on, as between the two sides of one connection."""
        partner = self._sides.partner(side)
        if partner is None:
            self._sides.forget(side)
            side.close()
            side.loses = True
            return
        if not partner.is_shut:
            partner.half_close()
            partner.loses = True
        if partner.is_told:
            for one in (side, partner):
                # It ends by itself, once all is delivered.
                one.is_closed = True
                self._sides.forget(one)

    def _tell(self, side: ScriptSide) -> None:
        """Have the script's on_close called for a side that has ended, once, unless it has let go of it before."""
        sides = self._sides
        if side.is_told or side.is_closed or not sides.is_read(side):
            return
        side.is_told = True
        partner = sides.partner(side)
        try:
            sides.run(functools.partial(cast("Any", type(self._server)).on_close, self._server), sides.face(side))
        except BaseException as error:
            if isinstance(error, Exception) and self._lost("on_close", error):
                sides.hang_up(side)
                return
            sides.be_rid(side)
            if partner is not None:
                sides.be_rid(partner)
            raise

    def on_close(self, conn: Connection) -> None:
        """See the end of a side's connection, however it came."""
        side = self._sides.of(conn)
        try:
            if side is not None:
                self._ended(side, conn)
        finally:
            if side is not None:
                self._sides.forget(side)
            callback = self._given.get("on_close")
            if callback is not None and not conn._native.is_adopted:  # pyright: ignore[reportPrivateUsage]
                callback(conn)

    def _ended(self, side: ScriptSide, conn: Connection) -> None:
        reason = conn.reason
        partner = self._sides.partner(side)
        if partner is not None and reason is CloseReason.CALLBACK_ERROR:
            partner._native.fail(conn._native)  # pyright: ignore[reportPrivateUsage]
        if "on_close" in self._own:
            self._tell(side)
            return
        side.loses = side.loses or not side.is_closed
        if partner is None:
            return
        self._sides.forget(partner)
        if reason in (CloseReason.FINISHED, CloseReason.CLOSED):
            partner.close()
        else:
            partner._native.fail(conn._native)  # pyright: ignore[reportPrivateUsage]
        partner.loses = True


def parts_of(name: str, answer: object, data: bytes) -> list[Any]:
    """Return what a callback of our form wants sent in the place of `data`."""
    if answer is None:
        return [data]
    parts: list[Any] = list(cast("list[Any]", answer)) if isinstance(answer, (list, tuple)) else [answer]
    for part in parts:
        if isinstance(part, (str, int)) or part is None:
            raise TypeError(
                f"{name} returned {printable(type(part).__name__)}, not None (pass it on), bytes or a list of bytes "
                '(send that instead; b"" drops it)'
            )
    return parts


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


def accept(server: TheServer) -> None:
    """Accept the client, connect to `forward_to`, and pair the two: the tutorial's on_accept."""
    forward = server.forward_to
    if not isinstance(forward, Forward):
        raise ConfigError("forward_to: super().on_accept() connects to it, and it is missing; give it to the server")
    upstream = forward.start()
    client, _ = sides_of(server).listener.accept()
    if upstream:
        sides_of(server).pair(client, upstream)
    else:
        client.close()


def send_on(server: TheServer) -> None:
    """Send what was received to the other side, if there is one: the tutorial's on_recv."""
    if (other := server.channel.get(server.s)) is not None:
        other.send(server.data)


def hang_up(server: TheServer) -> None:
    """Close the side at hand and its other one, and forget both: the tutorial's on_close."""
    sides = sides_of(server)
    if (side := sides.known(server.s)) is not None:
        sides.hang_up(side)


# The methods without arguments that `super()` finds, by hook.
METHODS: dict[str, Callable[[TheServer], None]] = {"on_accept": accept, "on_recv": send_on, "on_close": hang_up}
