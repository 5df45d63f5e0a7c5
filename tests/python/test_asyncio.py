"""The server in an event loop: asyncio's own and, where it is installed, uvloop's."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from interpose import CloseReason, RuntimeStartError, ServerStoppedError, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Echo, connect, ending
from support.peers import echo as echoed

Run = Callable[[Coroutine[Any, Any, object]], object]


def new_uvloop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    return loop


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("no uvloop: pip install uvloop")
    factory = new_uvloop if request.param == "uvloop" else asyncio.new_event_loop

    def bounded(main: Coroutine[Any, Any, object]) -> object:
        with asyncio.Runner(loop_factory=factory, debug=True) as runner:
            return runner.run(asyncio.wait_for(main, 30))

    return bounded


async def through(server: TheServer, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address_of(server))
    writer.write(data)
    writer.write_eof()
    back = await reader.read()
    writer.close()
    await writer.wait_closed()
    return back


def test_async_with(run: Run, echo: Echo) -> None:
    async def main() -> TheServer:
        async with TheServer("", 0, echo.address) as server:
            assert await through(server, b"hello") == b"hello"
        return server

    server = run(main())
    assert repr(server).endswith("closed>")


def test_serve_forever_until_it_is_cancelled(run: Run, echo: Echo) -> None:
    async def main() -> None:
        server = TheServer("", 0, echo.address)
        task = asyncio.create_task(server.serve_forever())
        assert await through(server, b"served") == b"served"
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"x")
        await reader.readexactly(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert repr(server).endswith("closed>")
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        writer.close()

    run(main())


def test_serve_forever_ends_with_the_server(run: Run) -> None:
    async def main() -> None:
        server = TheServer("", 0, "example.org:80")
        task = asyncio.create_task(server.serve_forever())
        await asyncio.to_thread(poll, lambda: "started" in repr(server), 10.0, "started")
        await asyncio.to_thread(server.stop)
        await asyncio.wait_for(task, 5)

    run(main())


def test_serve_forever_after_the_stop(run: Run) -> None:
    async def main() -> None:
        server = TheServer("", 0, "example.org:80")
        server.stop()
        with pytest.raises(ServerStoppedError):
            await server.serve_forever()
        with pytest.raises(ServerStoppedError):
            async with server:
                pass

    run(main())


def test_a_deadline_around_serve_forever(run: Run) -> None:
    async def main() -> TheServer:
        server = TheServer("", 0, "example.org:80")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await server.serve_forever()
        return server

    assert repr(run(main())).endswith("closed>")


def test_many_tasks_wait_for_the_end(run: Run) -> None:
    async def main() -> None:
        server = TheServer("", 0, "example.org:80").start()
        waiting = [asyncio.create_task(server.wait_closed()) for _ in range(20)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(server.stop)
        await asyncio.gather(*waiting)
        await server.wait_closed()

    run(main())


def test_wait_closed_with_an_open_connection_ends_with_the_drain(run: Run, echo: Echo) -> None:
    """PY-21: Waiting for the end has an end though a connection is open."""

    async def main() -> None:
        server = TheServer("", 0, echo.address).start()
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"x")
        await reader.readexactly(1)
        begin = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(server.stop, 0.3))
        await server.wait_closed()
        assert 0.2 < time.monotonic() - begin < 1.3
        await stopping
        writer.close()

    run(main())


def test_a_cancelled_wait_leaves_the_server_running(run: Run, echo: Echo) -> None:
    async def main() -> None:
        async with TheServer("", 0, echo.address) as server:
            task = asyncio.create_task(server.wait_closed())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await through(server, b"still") == b"still"

    run(main())


def test_leaving_drains_without_blocking_the_loop(run: Run, echo: Echo) -> None:
    async def main() -> TheServer:
        server = TheServer("", 0, echo.address)
        async with server:
            reader, writer = await asyncio.open_connection(*address_of(server))
            writer.write(b"x")
            await reader.readexactly(1)

            async def finish() -> None:
                await asyncio.to_thread(poll, lambda: "stopping" in repr(server), 10.0, "the drain begins")
                writer.write(b"the end")
                assert await reader.readexactly(7) == b"the end"
                writer.close()
                await writer.wait_closed()

            finishing = asyncio.create_task(finish())
        await finishing
        return server

    server = run(main())
    assert isinstance(server, TheServer)
    assert server.stats.closed[CloseReason.FINISHED] == 1


def test_leaving_by_an_exception_stops_at_once(run: Run, echo: Echo) -> None:
    async def main() -> None:
        begin = time.monotonic()
        server = TheServer("", 0, echo.address)
        reader, writer = await asyncio.open_connection(*address_of(server))
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012
            async with server:
                writer.write(b"x")
                await reader.readexactly(1)
                raise KeyError("mine")
        assert time.monotonic() - begin < 2.0
        assert server.stats.closed[CloseReason.STOPPED] == 1
        writer.close()

    run(main())


def test_a_loop_that_ends_first_leaves_the_server_alone(run: Run, echo: Echo) -> None:
    server = TheServer("", 0, echo.address).start()

    async def main() -> None:
        abandoned.append(asyncio.create_task(server.wait_closed()))
        await asyncio.sleep(0)

    abandoned: list[asyncio.Task[None]] = []
    run(main())
    assert abandoned[0].cancelled()
    with connect(address_of(server)) as client:
        assert echoed(client, b"without a loop") == b"without a loop"
    server.stop()


def test_two_loops_in_two_threads(run: Run, echo: Echo) -> None:
    """PY-12: Servers on two loops in two threads keep to their own."""
    server = TheServer("", 0, echo.address).start()
    both = threading.Barrier(3)
    ended: list[object] = []

    def loop() -> None:
        async def main() -> bool:
            assert await through(server, b"here") == b"here"
            both.wait(10)
            await server.wait_closed()
            return True

        ended.append(run(main()))

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    both.wait(10)
    server.stop()
    for thread in threads:
        thread.join(10)
    assert ended == [True, True]


def test_a_hundred_servers_in_one_loop(run: Run, echo: Echo) -> None:
    async def one() -> None:
        async with TheServer("", 0, echo.address) as server:
            assert await through(server, b"one of many") == b"one of many"

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(100)))

    run(main())


def test_the_reset_of_a_stop_reaches_a_blocking_client(run: Run, echo: Echo) -> None:
    async def main() -> None:
        server = TheServer("", 0, echo.address)
        task = asyncio.create_task(server.serve_forever())
        client = await asyncio.to_thread(connect, address_of(server))
        assert await asyncio.to_thread(echoed, client, b"x") == b"x"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await asyncio.to_thread(ending, client) == ("reset", b"")
        client.close()

    run(main())


BLOCKS: dict[str, Callable[[TheServer], Coroutine[Any, Any, object]]] = {
    "async with": lambda server: server.__aenter__(),
    "serve_forever": lambda server: server.serve_forever(),
    "wait_closed": lambda server: server.wait_closed(),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_loop_that_is_not_asyncios_is_refused_before_the_block(block: str, echo: Echo) -> None:
    """Driven by hand, as by a loop of another library."""
    server = TheServer("", 0, echo.address)
    with pytest.raises(RuntimeStartError, match=r"needs a running loop of asyncio's.*`with server:`"):
        BLOCKS[block](server).send(None)
    assert repr(server).endswith("listening>")
    with server:
        pass


def test_it_serves_under_trio(echo: Echo) -> None:
    """PY-11: It serves under asyncio, uvloop and trio, without a loop beside the one that runs.

    As the refusal says: in the background, or with the main loop in a thread.
    """
    trio: Any = pytest.importorskip("trio", reason="no trio: pip install trio")

    async def refused() -> None:
        async with TheServer("", 0, echo.address):
            raise AssertionError("the block runs")

    async def served() -> list[bytes]:
        server = TheServer("", 0, echo.address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(functools.partial(trio.to_thread.run_sync, server.main_loop, abandon_on_cancel=True))
            first = await trio.to_thread.run_sync(once, server)
            server.stop()
        with TheServer("", 0, echo.address) as other:
            return [first, await trio.to_thread.run_sync(once, other)]

    def once(server: TheServer) -> bytes:
        with connect(address_of(server)) as client:
            return echoed(client, b"abc")

    with pytest.raises(RuntimeStartError):
        trio.run(refused)
    assert trio.run(served) == [b"abc", b"abc"]
