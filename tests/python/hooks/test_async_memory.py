"""What asynchronous callbacks leave behind: nothing. Tasks, objects and cycles."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import weakref
from typing import Any

import pytest
from interpose import Connection, Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Echo
from support.rounds import rounds


class Application:
    """Has a server whose callbacks are its own methods: a cycle through the native side."""

    def __init__(self, target: Any) -> None:
        self.server = TheServer("", 0, target, on_accept=self.on_conn, on_recv=self.on_recv, on_close=self.on_conn)
        self.seen = 0

    async def on_conn(self, conn: Connection) -> None:
        conn.state = (self, asyncio.current_task())

    async def on_recv(self, side: Side, data: bytes) -> None:
        self.seen += len(data)


def test_a_cycle_is_collected_after_the_stop(echo: Echo) -> None:
    application = Application(echo.address)
    with application.server as server:
        for _ in range(5):
            exchange(server)
    assert application.seen == 5 * 6
    gone = weakref.ref(application), weakref.ref(server)
    del application, server
    poll(lambda: gc.collect() >= 0 and gone[0]() is None and gone[1]() is None, 10.0, "both are collected")


def test_a_callback_that_is_cancelled_before_it_begins_is_forgotten(echo: Echo) -> None:
    """Its question and its cancellation wait in the queue when the loop looks."""
    began: list[bytes] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        began.append(data)

    async def main() -> None:
        async with TheServer("", 0, echo.address, on_client_recv=on_client_recv) as server:
            for _ in range(20):
                reader, writer = await asyncio.open_connection(*address_of(server))
                await asyncio.to_thread(poll, lambda: server.connections, 10.0, "it is there")
                writer.write(b"x")
                # The loop stands still until both wait in its queue.
                poll(lambda: server.connections[0].to_upstream.read, 10.0, "it was asked")
                server.connections[0].abort()
                poll(lambda: server.stats.active == 0, 10.0, "it has ended")
                with contextlib.suppress(OSError):
                    await reader.read()
                writer.close()
            await asyncio.sleep(0.01)
            gc.collect()
            assert [one for one in gc.get_objects() if type(one).__name__ == "Asking"] == []

    asyncio.run(main())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_a_stopped_server_holds_no_descriptor_and_no_thread(echo: Echo) -> None:
    kept: list[TheServer] = []
    before = -1
    for _ in range(3):
        application = Application(echo.address)
        with application.server as server:
            exchange(server)
        kept.append(server)
        poll(lambda: "interpose-loop" not in [thread.name for thread in threading.enumerate()], 10.0, "it has ended")
        before = descriptors() if before < 0 else before
    poll(lambda: descriptors() <= before, 10.0, f"no more than {before} descriptors are left")


async def exchanges(server: TheServer, count: int) -> None:
    """Send `count` messages, each after the answer to the one before it."""
    reader, writer = await asyncio.open_connection(*address_of(server))
    for _ in range(count):
        writer.write(b"x")
        await reader.readexactly(1)
    writer.close()
    await writer.wait_closed()


def living(*kinds: str) -> int:
    """Return the number of objects of these classes."""
    gc.collect()
    return sum(type(one).__name__ in kinds for one in gc.get_objects())


def test_py_15_many_asynchronous_callbacks_leave_no_task_and_no_object(echo: Echo) -> None:
    seen, each = 0, rounds(150)

    async def on_recv(side: Side, data: bytes) -> bytes:
        nonlocal seen
        seen += 1
        if seen % 10 == 0:
            await asyncio.sleep(0)
        return data

    async def main() -> None:
        async with TheServer("", 0, echo.address, on_recv=on_recv) as server:
            await asyncio.gather(*[exchanges(server, 50) for _ in range(4)])
            kinds = ("Asking", "Task", "coroutine", "Context", "Side", "Connection")
            before = living(*kinds)
            for _ in range(4):
                await asyncio.gather(*[exchanges(server, each) for _ in range(4)])
            await asyncio.to_thread(poll, lambda: server.stats.active == 0, 10.0, "all have ended")
            await asyncio.sleep(0.01)
            assert living(*kinds) <= before + 8
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert seen >= 4 * 4 * each * 2
