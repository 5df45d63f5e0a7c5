"""The hooks that call a script's methods of the tutorial's form, and what they do where a script has none."""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, cast

from . import _native
from ._connection import Connection
from ._exceptions import printable
from ._forward import Forward
from ._lost_output import lost_output
from ._outgoing import Outgoing
from ._script import Sides
from ._script_side import ScriptSide
from ._stats import CloseReason


class ScriptHooks:
    """The hooks of a script.

    `methods` are those without arguments that its class has, `given` are callbacks of our form, by hook. `send_on`
    is called where there is no on_recv at all.
    """

    def __init__(
        self,
        sides: Sides,
        methods: Mapping[str, Callable[..., Any]],
        given: Mapping[str, Callable[..., Any]],
        send_on: Callable[[], None],
        *,
        passes_errors: bool,
        inspect_limit: int | None,
    ) -> None:
        self._sides = sides
        self._own = methods
        self._given = given
        self._passes_errors = passes_errors
        self._inspect_limit = inspect_limit
        self._attributes = sides.attributes
        self._receives = methods.get("on_recv", send_on)

    def on_accept(self, conn: Connection) -> object:
        """Call the script's on_accept for a client, or the callback of our form."""
        if "on_accept" not in self._own:
            return self._given_accept(conn)
        sides = self._sides
        listener = sides.listener
        listener.offer(conn)
        try:
            sides.run(self._own["on_accept"], None)
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
        """Return the answer for a client that the script's on_accept was called for."""
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
        """Call the script's on_recv with a chunk. Bytes that it does not send go nowhere."""
        sides = self._sides
        if not self._shows(side, data):
            self._pass_on(side, data)
            return
        sides.at_hand, sides.has_sent = side, False
        self._attributes["data"] = data
        partner = sides.partner(side)
        try:
            sides.run(self._receives, side)
        except Exception as error:
            if not self._goes_on("on_recv", error, side, data):
                self._abandon(partner)
                raise
        finally:
            sides.at_hand = None

    def _shows(self, side: ScriptSide, data: bytes) -> bool:
        """Return whether the script is to see this chunk of the side's. Bytes that it sees count towards the limit."""
        if side.passes:
            return False
        if self._inspect_limit is not None:
            side.shown += memoryview(data).nbytes
            side.passes = side.shown >= self._inspect_limit
        return True

    def _goes_on(self, name: str, error: Exception, side: ScriptSide, data: bytes) -> bool:
        """Pass on what a method had only begun to see, where its failure ends nothing. Return whether it is said."""
        gone = self._lost(name, error)
        passes = gone or self._passes_errors
        if passes and not self._sides.has_sent:
            self._pass_on(side, data)
        return gone

    def _abandon(self, partner: ScriptSide | None) -> None:
        """Reset `partner`, the other side when a method that fails was called, if the method has unpaired the two.

        A pair that is whole ends with the side at hand.
        """
        ends = not self._passes_errors
        if ends and partner is not None and self._sides.partner(partner) is None:
            self._sides.be_rid(partner)

    @staticmethod
    def _lost(name: str, error: Exception) -> bool:
        """Log that a method's own output is gone, if that is the failure: lost output ends no connection."""
        gone = lost_output(error)
        if gone:
            logging.getLogger("interpose.callback").warning("%s: %s", name, gone)
        return bool(gone)

    def passing(self, name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return a hook that treats a chunk as the answer of a callback of our form says."""

        @functools.wraps(callback)
        def on_recv(side: ScriptSide, data: bytes) -> None:
            sides = self._sides
            sides.at_hand = side
            sides.has_sent = False
            partner = sides.partner(side)
            try:
                answer = callback(side, data) if self._shows(side, data) else None
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

    def on_eof(self, side: ScriptSide) -> object:
        """See an end of stream: it is passed on, unless the script has an on_close, which is called then."""
        callback = self._given.get("on_eof")
        answer = None if callback is None else callback(side)
        if answer is False:
            return False
        for part in parts_of("on_eof", answer, b""):
            self._pass_on(side, part)
        if "on_close" in self._own:
            self._call_on_close(side)
        else:
            side.is_over = side.loses = True
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
        if partner.is_over:
            for one in (side, partner):
                # It ends by itself, once all is delivered.
                one.is_closed = True
                self._sides.forget(one)

    def _call_on_close(self, side: ScriptSide) -> None:
        """Call the script's on_close for a side that has ended, once, unless the script has let go of it before."""
        sides = self._sides
        if side.is_over or side.is_closed or not sides.is_read(side):
            return
        side.is_over = True
        partner = sides.partner(side)
        try:
            sides.run(self._own["on_close"], side)
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
            self._call_on_close(side)
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
    """Return the parts that a callback of our form wants sent in the place of `data`."""
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
