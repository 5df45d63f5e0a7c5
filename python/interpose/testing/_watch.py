"""Waits for what passes through a proxy: each says what is looked for, for how long, and what was seen instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from .._checks import count, seconds
from .._connection import Connection
from .._exceptions import WaitTimeoutError, wrong_type
from .._listening import state_of
from ._searching import Looked, Search, Seen, connections_text, direction_of, wanted_of
from ._waiting import refuse_loop, wait, wait_async

if TYPE_CHECKING:
    from .._native import Transcript as NativeTranscript
    from ._keeping_server import KeepingServer

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Wait(Generic[_Found]):
    """One wait: its method's name, what looks, the seconds, and what says what was seen instead.

    One that `settles` waits for on_close as well.
    """

    name: str
    look: Callable[[], _Found | None]
    limit: float
    instead: Callable[[], str]
    settles: bool = False


class Watch:
    """Makes waits, and waits them."""

    def __init__(self, native: NativeTranscript, server: KeepingServer) -> None:
        self._native = native
        self._server = server
        self._search = Search(native)

    def block(self, one: Wait[_Found]) -> _Found:
        """Wait in the calling thread. Raises WaitTimeoutError, and RuntimeStartError on an event loop."""
        __tracebackhide__ = True
        refuse_loop(one.name)
        found = self._result(one, wait(self._native, one.look, one.limit))
        if one.settles:
            self._server.settle()
        return found

    async def later(self, one: Wait[_Found]) -> _Found:
        """Wait while the event loop goes on. Raises WaitTimeoutError."""
        __tracebackhide__ = True
        found = self._result(one, await wait_async(self._native, one.look, one.limit))
        if one.settles:
            await self._server.settle_async()
        return found

    def _result(self, one: Wait[_Found], found: _Found | None) -> _Found:
        __tracebackhide__ = True
        if found is None:
            state = state_of(self._server._native)  # pyright: ignore[reportPrivateUsage]
            # A proxy that does not serve is most likely the reason.
            reason = {"started": "", "listening": "; the proxy was not started"}.get(state, f"; the proxy is {state}")
            raise WaitTimeoutError(f"{one.name}: {one.instead()}{reason}")
        return found

    def for_bytes(self, data: object, direction: object, connection: object, timeout: object) -> Wait[Seen]:
        """Return the wait for bytes that one side sends."""
        wanted, way, limit = wanted_of(data), direction_of(direction), seconds("timeout", timeout, zero=True)
        number = None if connection is None else _number_of(connection)
        looked = Looked(self._search.begun())

        def look() -> Seen | None:
            found = self._search.find(wanted, way, number, looked)
            if found is None:
                return None
            connection = self._server.connection(found.connection)
            return Seen(connection, found.direction, found.offset, found.data, found.groups)

        def instead() -> str:
            shown = repr(wanted if isinstance(wanted, bytes) else wanted.pattern)
            return f"{shown} was not seen within {limit:g} s: {self._search.described(wanted, way, number)}"

        return Wait("wait_for", look, limit, instead)

    def for_connections(self, number: object, timeout: object) -> Wait[list[Connection]]:
        """Return the wait for a number of connections that were accepted."""
        wanted, limit = count("number", number, 1), seconds("timeout", timeout, zero=True)

        def look() -> list[Connection] | None:
            self._search.take()
            if len(self._search.opened) < wanted:
                return None
            return [self._server.connection(one) for one in self._search.opened[:wanted]]

        def instead() -> str:
            text, closed = connections_text(len(self._search.opened)), len(self._search.closed)
            return f"{text} came within {limit:g} s, not {wanted:,}; {closed:,} of them ended"

        return Wait("wait_for_connections", look, limit, instead)

    def for_closed(self, connection: object, timeout: object) -> Wait[list[Connection]]:
        """Return the wait for the end of one connection, or of all."""
        limit = seconds("timeout", timeout, zero=True)
        one = None if connection is None else self._server.connection(_number_of(connection))

        def waited() -> list[Connection]:
            return self._server.all_connections() if one is None else [one]

        def look() -> list[Connection] | None:
            self._search.take()
            if one is None and not self._search.closed.issuperset(self._search.opened):
                return None
            found = waited()
            return found if all(connection.reason is not None for connection in found) else None

        def instead() -> str:
            left = [connection for connection in waited() if connection.reason is None]
            shown = ", ".join(map(repr, left[:4])) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
            return f"still open after {limit:g} s: {shown}"

        return Wait("wait_closed", look, limit, instead, settles=True)

    def forget(self) -> None:
        """Forget what was seen so far."""
        self._search.forget(one.id for one in self._server.all_connections() if one.reason is None)


def _number_of(value: object) -> int:
    """Return the number of the connection that `value` names, or raise."""
    if isinstance(value, Seen):
        return value.connection.id
    if isinstance(value, Connection):
        return value.id
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise wrong_type("connection", value, "a connection", "give one of proxy.connections, or its id")
