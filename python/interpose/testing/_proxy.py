"""A proxy for a test."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from .._addresses import Address
from .._checks import count, instance
from .._connection import Connection
from .._exceptions import ConfigError
from .._forward import ForwardTo
from .._groups import Callbacks
from .._native import on_lane
from ._expect import Expect
from ._keeping_server import KeepingServer
from ._keywords import ServerKeywords
from ._leaving import leave, leave_async
from ._looking_filters import Gates, Recording
from ._proxy_faults import ProxyFaults
from ._proxy_names import ProxyNames
from ._proxy_records import ProxyRecords
from ._searching import Direction, direction_of
from ._transcript import Transcript
from ._undo import Undo
from ._waiting import wait
from ._waits import AsyncWaits, Waits
from ._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._filter import Filter
    from .._stats import Stats

# The memory of the transcript.
KEEP = 8 * 1024 * 1024
# Connections that were reset are gone in less than a millisecond.
_GONE_SECONDS = 1.0


class Proxy(Waits, ProxyFaults, ProxyRecords, ProxyNames):
    """A proxy for a test. It listens from the constructor on, on a free port, and serves from `with` or start() on.

    * `forward_to`: the server that the client under test is for, as TheServer has it. None needs an `on_accept`.
    * `host`, `port`: where to listen; 0 is any free port.
    * `keep`: the bytes of memory that the transcript may take.
    * hooks, `faults`, `seed`, `framing`, `filters`, `timeouts`, `limits` and so on: as TheServer has them. A callback
      that is `async def` runs on the loop of asyncio in which the proxy was started, or the callback was given; else on
      one of its own.

    What a callback raises, a failed `assert` too, comes out when `with` is left, and fails the test. Leaving takes
    20 ms at most, whatever clients do: their connections are ended in order, and reset if they do not end. Raises what
    TheServer raises.

    >>> import socket
    >>> from interpose.testing import Proxy
    >>> with Proxy("127.0.0.1:7070") as proxy:
    ...     proxy.expect.connections(1)
    ...     with socket.create_connection(proxy.address) as client:
    ...         client.sendall(b"hello")
    ...         answer = client.recv(5)
    ...     reason = proxy.wait_closed()[0].reason
    >>> print(reason, proxy.transcript.to_client())
    finished b'hello'
    """

    def __init__(
        self,
        forward_to: ForwardTo | None = None,
        *,
        host: str = "",
        port: int = 0,
        keep: int = KEEP,
        **settings: Unpack[ServerKeywords],
    ) -> None:
        if str(host).startswith(("unix:", "fd:")):
            raise ConfigError("host: a proxy for tests listens on a port; use TheServer for a Unix socket")
        recording, self._gates = Recording(count("keep", keep, 1024)), Gates()
        callbacks = instance("callbacks", settings.get("callbacks", Callbacks()), Callbacks)
        if callbacks.errors == "close":
            settings["callbacks"] = replace(callbacks, errors="raise")
        looking: list[Filter] = [recording, self._gates]
        filters: Sequence[Filter] | None = settings.get("filters")
        settings["filters"] = looking if filters is None else [*looking, *filters]
        self.server = self._server = KeepingServer(host, port, forward_to, **settings)
        self._recorded = recording.transcript
        self._hooks = dict(self._server._callbacks._given)  # pyright: ignore[reportPrivateUsage]
        self._given_faults = self._server.faults
        # One that outlives a test must not have its loop.
        self._takes_loop = True
        self.serves_several = False
        """True if it serves several tests."""
        self._watch = Watch(self._recorded, self._server)
        self._before = self.stats
        self.transcript: Transcript = Transcript(self._recorded, self._server.still)
        """The record of what has passed."""
        self.expect: Expect = Expect(self._recorded, self._figures)
        """Expectations, checked when the test is over."""
        self.aio: AsyncWaits = AsyncWaits(self._watch)
        """The waits for `async def` tests."""

    @property
    def address(self) -> Address:
        """Where it listens: the tuple that sockets take; its text is `host:port`."""
        return Address(*self._server.address)

    @property
    def host(self) -> str:
        """The host that it listens on."""
        return self.address.host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.address.port

    @property
    def stats(self) -> Stats:
        """The counters of the server."""
        return self._server.stats

    @property
    def connections(self) -> list[Connection]:
        """The connections since the beginning of the test, in the order in which they were accepted: ended ones too.

        Of those that have ended, the last 10,000.
        """
        return self._server.all_connections()

    def pause(self, direction: Direction = "both") -> Undo:
        """Read nothing more, of connections to come neither: their sources meet backpressure, until resume().

        Of each connection one read may already be under way; it waits here. `with proxy.pause():` resumes at its end.
        """
        self._shut(direction, is_shut=True)
        return Undo(lambda: self.resume(direction))

    def resume(self, direction: Direction = "both") -> None:
        """Read again after pause()."""
        self._shut(direction, is_shut=False)

    def _shut(self, direction: Direction, *, is_shut: bool) -> None:
        way = direction_of(direction)
        for is_up, name in ((True, "to_upstream"), (False, "to_client")):
            if way in ("both", name):
                self._gates.native.shut(is_up, is_shut)
        self._server._native.wake_all()  # pyright: ignore[reportPrivateUsage]
        self.transcript.note(f"{'paused' if is_shut else 'resumed'}{'' if way == 'both' else f' {way}'}")

    def refuse(self) -> Undo:
        """Refuse clients until listen(), as if nothing listened here; the port is kept, and connections live on.

        `with proxy.refuse():` listens again at its end. Raises BindError where the system cannot keep the port.
        """
        self._server.pause_listening()
        self.transcript.note("clients are refused")
        return Undo(self.listen)

    def listen(self) -> None:
        """Listen again after refuse(): when this returns, clients can connect."""
        self._server.resume_listening()
        self.transcript.note("clients are accepted again")

    def drop_all(self) -> int:
        """End all connections in order: what was read is delivered, then both sides get an end of stream.

        It returns at once, with their number.
        """
        natives = self._server._native.connections()  # pyright: ignore[reportPrivateUsage]
        self.transcript.note(f"all {len(natives)} connections are ended in order")
        for native in natives:
            native.close()
        return len(natives)

    def reset_all(self) -> int:
        """Reset all connections, both ways. Return their number when they are gone."""
        natives = self._server._native.connections()  # pyright: ignore[reportPrivateUsage]
        self.transcript.note(f"all {len(natives)} connections are reset")
        for native in natives:
            native.abort()
        if not on_lane():
            wait(self._recorded, lambda: all(one.reason is not None for one in natives) or None, _GONE_SECONDS)
        return len(natives)

    def reset(self) -> None:
        """Begin anew, for the next test: nothing has passed or is expected, hooks and faults are as they were given.

        Faults count their strikes anew, and draw for the connections to come as they did for the first ones: a test
        that shares the proxy with others draws what it draws alone.

        Connections that live go on, and count for the next test once something comes on them. A proxy that serves
        several tests is reset between them by the pytest plugin.
        """
        self.end_records()
        if self._server._native.stopping:  # pyright: ignore[reportPrivateUsage]
            return
        self.resume()
        self._server.resume_listening()
        for one in self._given_faults:
            one._native.begin_anew()  # pyright: ignore[reportPrivateUsage]
        self._server.faults = self._given_faults
        self._server._native.draw_anew()  # pyright: ignore[reportPrivateUsage]
        self._server._callbacks.replace(self._hooks)  # pyright: ignore[reportPrivateUsage]
        self._server._callbacks.reports.take()  # pyright: ignore[reportPrivateUsage]
        self._watch.forget()
        self._server.begin_anew()
        self.transcript._forget()  # pyright: ignore[reportPrivateUsage]
        self.expect._forget()  # pyright: ignore[reportPrivateUsage]
        self._before = self.stats

    def check(self, *, expects: bool = True) -> None:
        """Raise what callbacks have raised, and ExpectationError for what is not as expected, unless not `expects`."""
        __tracebackhide__ = True
        self._server.settle()
        self._server._raise_ended(None)  # pyright: ignore[reportPrivateUsage]
        if expects:
            self.expect.check()

    def start(self) -> Self:
        """Serve in the background, and return the proxy. A second call does nothing."""
        self._offer_loop()
        self._server.start()
        return self

    def stop(self) -> None:
        """End all connections in order, reset those whose peers take no more, and close the port.

        Raises nothing of the test's: check() does. It may be called more than once.
        """
        self.end_records()
        leave([self._server])

    def __enter__(self) -> Self:
        """Serve in the background."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; without an exception, raise what check() raises."""
        self.stop()
        if error is None:
            self.check()
        else:
            self._server._raise_ended(error)  # pyright: ignore[reportPrivateUsage]

    async def __aenter__(self) -> Self:
        """Serve in the background."""
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do what the end of `with` does, without blocking the loop of asyncio."""
        self.end_records()
        await leave_async(self._server)
        self.__exit__(kind, error, trace)

    def _offer_loop(self) -> None:
        if self._takes_loop:
            self._server.offer_loop()

    def __str__(self) -> str:
        return str(self.address)

    def __repr__(self) -> str:
        return f"<Proxy {repr(self._server).partition(' ')[2]}"

    def _figures(self) -> tuple[int, int, int]:
        now, before = self.stats, self._before
        return (
            now.accepted - before.accepted,
            now.to_upstream.delivered - before.to_upstream.delivered,
            now.to_client.delivered - before.to_client.delivered,
        )


def stop_all(proxies: Iterable[Proxy]) -> None:
    """Stop proxies as Proxy.stop() does, all at the same time."""
    stopped = list(proxies)
    for proxy in stopped:
        proxy.end_records()
    leave([proxy._server for proxy in stopped])  # pyright: ignore[reportPrivateUsage]
