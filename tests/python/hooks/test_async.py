"""Callbacks that are `async def`: on the loop that serves, or on one of ours, in order, and beside plain ones."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import importlib.util
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, CloseReason, Connection, Side, TheServer
from support.addresses import address_of
from support.callbacks import CloseRecorder, upper
from support.deadline import poll
from support.exchanges import exchange, served_by_main_loop, wait_until_idle
from support.peers import Echo, connect, read_exactly


async def slow_upper(side: Side, data: bytes) -> bytes:
    async with asyncio.timeout(10):
        await asyncio.sleep(0.001)
    return data.upper()


def new_uvloop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    return loop


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": new_uvloop,
}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, object]], object]:
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("no uvloop: pip install uvloop")

    def bounded(main: Coroutine[Any, Any, object]) -> object:
        with asyncio.Runner(loop_factory=LOOPS[request.param], debug=True) as runner:
            return runner.run(asyncio.wait_for(main, 30))

    return bounded


Run = Callable[[Coroutine[Any, Any, object]], object]


class Recorded:
    """All hooks as coroutine functions; `calls` has the name of each, the thread, and a context variable's value."""

    variable = contextvars.ContextVar("variable", default="outside")

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.contexts: set[str] = set()
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.closed: list[Connection] = []

    async def note(self, name: str) -> None:
        await asyncio.sleep(0)
        self.calls.append(name)
        self.threads.add(threading.get_ident())
        self.contexts.add(self.variable.get())
        self.tasks.add(asyncio.current_task())

    async def on_accept(self, conn: Connection) -> None:
        await self.note("accept")

    async def on_connect(self, conn: Connection) -> None:
        await self.note("connect")

    async def on_recv(self, side: Side, data: bytes) -> bytes:
        await self.note("client" if side.is_client else "upstream")
        return data

    async def on_eof(self, side: Side) -> None:
        await self.note("eof")

    async def on_close(self, conn: Connection) -> None:
        await self.note("close")
        self.closed.append(conn)

    def hooks(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("on_accept", "on_connect", "on_recv", "on_eof", "on_close")}


CALLS = ["accept", "connect", "client", "eof", "upstream", "eof", "close"]


def test_all_hooks_run_on_the_loop_that_serves(run: Run, echo: Echo) -> None:
    recorded = Recorded()

    async def main() -> None:
        recorded.variable.set("where the server was made")
        async with TheServer("", 0, echo.address, **recorded.hooks()) as server:
            recorded.variable.set("later")
            assert await asyncio.to_thread(exchange, server) == ("eof", b"abc")
        assert recorded.threads == {threading.get_ident()}
        assert asyncio.current_task() not in recorded.tasks
        assert len(asyncio.all_tasks()) <= 2

    run(main())
    assert sorted(recorded.calls) == sorted(CALLS)
    assert (recorded.calls[:3], recorded.calls[-1]) == (CALLS[:3], "close")
    assert recorded.contexts == {"where the server was made"}
    assert [conn.reason for conn in recorded.closed] == [CloseReason.FINISHED]


def test_serve_forever_gives_its_loop(run: Run, echo: Echo) -> None:
    async def main() -> None:
        recorded = Recorded()
        server = TheServer("", 0, echo.address, **recorded.hooks())
        serving = asyncio.create_task(server.serve_forever())
        assert await asyncio.to_thread(exchange, server) == ("eof", b"abc")
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert recorded.threads == {threading.get_ident()}
        assert recorded.calls[-1] == "close"

    run(main())


def names() -> list[str]:
    """Return the names of all threads."""
    return [thread.name for thread in threading.enumerate()]


def by_with(server: TheServer, work: Callable[[], object]) -> None:
    with server:
        work()


def by_main_loop(server: TheServer, work: Callable[[], object]) -> None:
    assert served_by_main_loop(server, work) == []


@pytest.mark.parametrize("serving", [by_with, by_main_loop])
def test_without_a_loop_of_the_script_s_own_there_is_one_in_a_thread(
    serving: Callable[[TheServer, Callable[[], object]], None], echo: Echo
) -> None:
    recorded = Recorded()
    before = set(threading.enumerate())
    server = TheServer("", 0, echo.address, **recorded.hooks())

    def work() -> None:
        assert exchange(server) == ("eof", b"abc")
        wait_until_idle(server)
        assert "interpose-loop" in names()
        assert all(not thread.name.startswith("interpose-lane") for thread in set(threading.enumerate()) - before)

    serving(server, work)
    assert sorted(recorded.calls) == sorted(CALLS)
    assert len(recorded.threads) == 1
    assert threading.get_ident() not in recorded.threads
    poll(lambda: "interpose-loop" not in names(), 10.0, "the loop's thread has ended")


def test_a_loop_that_can_watch_no_descriptor_is_helped_by_a_thread(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def refuse(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(loop, "add_reader", refuse)
        async with TheServer("", 0, echo.address, on_recv=slow_upper) as server:
            for _ in range(3):
                assert await asyncio.to_thread(exchange, server) == ("eof", b"ABC")

    asyncio.run(main())
    poll(lambda: "interpose-wake" not in names(), 10.0, "the helper has ended")


class Callables:
    """Coroutine functions in the forms that callbacks have."""

    async def method(self, side: Side, data: bytes) -> bytes:
        return data.upper()

    @classmethod
    async def of_class(cls, side: Side, data: bytes) -> bytes:
        return data.upper()

    async def __call__(self, side: Side, data: bytes) -> bytes:
        return data.upper()


async def with_more(more: bytes, side: Side, data: bytes) -> bytes:
    return data.upper() + more


@functools.wraps(slow_upper)
def wrapper(side: Side, data: bytes) -> Any:
    return slow_upper(side, data)


def plain(side: Side, data: bytes) -> Any:
    return slow_upper(side, data)


FORMS: dict[str, Callable[..., Any]] = {
    "bound method": Callables().method,
    "class method": Callables.of_class,
    "callable object": Callables(),
    "partial": functools.partial(with_more, b""),
    "wrapper": wrapper,
    "plain function": plain,
}


@pytest.mark.parametrize("form", FORMS)
def test_cb_28_whatever_its_form_a_coroutine_function_is_awaited(form: str, echo: Echo, serve: Serve) -> None:
    assert exchange(serve(echo.address, on_client_recv=FORMS[form])) == ("eof", b"ABC")


@pytest.mark.parametrize("hook", ["on_accept", "on_connect", "on_client_recv", "on_eof", "on_close"])
def test_cb_28_a_coroutine_that_a_plain_function_returns_is_awaited(hook: str, echo: Echo, serve: Serve) -> None:
    awaited: list[object] = []

    async def later(*arguments: object) -> None:
        await asyncio.sleep(0)
        awaited.append(arguments)

    def returning(*arguments: object) -> Any:
        return later(*arguments)

    ends = CloseRecorder()
    hooks: dict[str, Any] = {"on_close": ends, hook: returning}
    server = serve(echo.address, **hooks)
    assert exchange(server) == ("eof", b"abc")
    poll(lambda: awaited, 10.0, "it was awaited")
    wait_until_idle(server)
    assert server.stats.callback_errors == 0


def test_a_subclass_s_coroutine_methods(echo: Echo) -> None:
    class Upper(TheServer):
        async def on_recv(self, side: Side, data: bytes) -> bytes:
            return await slow_upper(side, data)

    with Upper("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"ABC")


def test_sync_and_async_hooks_mix(echo: Echo, serve: Serve) -> None:
    states: list[object] = []

    def on_accept(conn: Connection) -> None:
        conn.state = ["accept"]

    async def on_client_recv(side: Side, data: bytes) -> bytes:
        side.connection.state.append("client")
        return await slow_upper(side, data)

    def on_upstream_recv(side: Side, data: bytes) -> bytes:
        side.connection.state.append("upstream")
        return data + b"!"

    async def on_close(conn: Connection) -> None:
        await asyncio.sleep(0)
        states.append([*conn.state, "close"])

    server = serve(
        echo.address,
        on_accept=on_accept,
        on_client_recv=on_client_recv,
        on_upstream_recv=on_upstream_recv,
        on_close=on_close,
    )
    assert exchange(server) == ("eof", b"ABC!")
    assert poll(lambda: states, 10.0, "on_close has ended") == [["accept", "client", "upstream", "close"]]


def test_callbacks_change_between_sync_and_async_while_a_connection_lives(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)

    async def later(side: Side, data: bytes) -> bytes:
        await asyncio.sleep(0)
        return b"later " + data

    with connect(address_of(server)) as client:
        steps: list[tuple[Any, bytes]] = [(upper, b"A"), (later, b"later a"), (upper, b"A"), (None, b"a")]
        for callback, answer in steps * 3:
            server.on_client_recv = callback
            client.sendall(b"a")
            assert read_exactly(client, len(answer)) == answer


async def with_yield(side: Side, data: bytes) -> Any:
    yield data


def test_an_asynchronous_generator_is_refused(echo: Echo) -> None:
    with pytest.raises(ArgumentTypeError, match="on_recv: it is async def with a yield"):
        TheServer("", 0, echo.address, on_recv=with_yield)
