"""The waits of a proxy, as they are called."""

from __future__ import annotations

from .._connection import Connection
from .._names import names_checked
from ._proxy_names import CLOSED_ARGUMENTS, CONNECTIONS_ARGUMENTS, WAIT_FOR_ARGUMENTS
from ._searching import Direction, Seen, Wanted
from ._watch import Watch

_SECONDS = 2.0


class AsyncWaits:
    """The waits of a proxy for `async def` tests, under asyncio and trio: `await proxy.aio.wait_for(b"COMMIT")`.

    >>> import asyncio
    >>> from interpose.testing import Proxy
    >>> async def test(proxy):
    ...     _, writer = await asyncio.open_connection(*proxy.address)
    ...     writer.write(b"hello")
    ...     seen = await proxy.aio.wait_for(b"hello")
    ...     writer.close()
    ...     return seen.offset
    >>> with Proxy("127.0.0.1:7070") as proxy:
    ...     asyncio.run(test(proxy))
    0
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @names_checked(WAIT_FOR_ARGUMENTS)
    async def wait_for(
        self,
        data: Wanted,
        *,
        direction: Direction = "both",
        connection: Connection | int | None = None,
        timeout: float = _SECONDS,  # noqa: ASYNC109 (the error says what was seen instead)
    ) -> Seen:
        """Do what Proxy.wait_for() does."""
        __tracebackhide__ = True
        return await self._watch.later(self._watch.for_bytes(data, direction, connection, timeout))

    @names_checked(CONNECTIONS_ARGUMENTS)
    async def wait_for_connections(self, number: int, *, timeout: float = _SECONDS) -> list[Connection]:  # noqa: ASYNC109
        """Do what Proxy.wait_for_connections() does."""
        __tracebackhide__ = True
        return await self._watch.later(self._watch.for_connections(number, timeout))

    @names_checked(CLOSED_ARGUMENTS)
    async def wait_closed(
        self,
        connection: Connection | Seen | int | None = None,
        *,
        timeout: float = _SECONDS,  # noqa: ASYNC109
    ) -> list[Connection]:
        """Do what Proxy.wait_closed() does."""
        __tracebackhide__ = True
        return await self._watch.later(self._watch.for_closed(connection, timeout))


class Waits:
    """The base of a proxy: the waits that block."""

    _watch: Watch

    @names_checked(WAIT_FOR_ARGUMENTS)
    def wait_for(
        self,
        data: Wanted,
        *,
        direction: Direction = "both",
        connection: Connection | int | None = None,
        timeout: float = _SECONDS,
    ) -> Seen:
        """Wait until one side has sent these bytes, however they were cut; return where they were seen.

        A compiled regular expression of bytes is searched for. What was sent before the call counts as well, from the
        beginning of the test on, but not what an earlier call has returned, nor what was before it in the same
        direction of its connection: so the second call for the same bytes waits for the second time that they come.
        Calls that wait at once, in threads or tasks, take nothing from each other; of several for the same bytes, each
        gets its own. Raises WaitTimeoutError, whose text has what was seen
        instead, ArgumentTypeError and ConfigError, and RuntimeStartError on an event loop: use `aio` there.
        """
        __tracebackhide__ = True
        return self._watch.block(self._watch.for_bytes(data, direction, connection, timeout))

    @names_checked(CONNECTIONS_ARGUMENTS)
    def wait_for_connections(self, number: int, *, timeout: float = _SECONDS) -> list[Connection]:
        """Wait until `number` connections were accepted since the beginning of the test; return the first of them.

        Raises what wait_for() raises.
        """
        __tracebackhide__ = True
        return self._watch.block(self._watch.for_connections(number, timeout))

    @names_checked(CLOSED_ARGUMENTS)
    def wait_closed(
        self, connection: Connection | Seen | int | None = None, *, timeout: float = _SECONDS
    ) -> list[Connection]:
        """Wait until the connection has ended, without one until all have; return those that were waited for.

        Callbacks for their ends have returned by then, or have had a second. Raises what wait_for() raises.
        """
        __tracebackhide__ = True
        return self._watch.block(self._watch.for_closed(connection, timeout))
