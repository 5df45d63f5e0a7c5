"""A million asynchronous callbacks: they leave no task, no object and no memory."""

from __future__ import annotations

import asyncio
import gc
import resource
from pathlib import Path
from typing import Any

from interpose import Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Echo

CALLS = 1_000_000
CLIENTS = 32


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def living() -> int:
    """Return the number of objects that a callback needs."""
    gc.collect()
    kinds = ("Asking", "Task", "coroutine", "Context", "Side", "Connection")
    return sum(type(one).__name__ in kinds for one in gc.get_objects())


async def rounds(address: Any, count: int) -> None:
    reader, writer = await asyncio.open_connection(*address)
    for _ in range(count):
        writer.write(b"x" * 64)
        await reader.readexactly(64)
    writer.close()
    await writer.wait_closed()


def test_a_million_asynchronous_callbacks_leave_nothing() -> None:
    seen = 0

    async def on_recv(side: Side, data: bytes) -> bytes:
        nonlocal seen
        seen += 1
        if seen % 64 == 0:
            await asyncio.sleep(0)
        return data

    async def main(server: TheServer, count: int) -> None:
        address = address_of(server)
        await asyncio.gather(*[rounds(address, count // CLIENTS) for _ in range(CLIENTS)])

    with Echo() as echo, TheServer("", 0, echo.address, on_recv=on_recv) as server:

        def call(count: int) -> tuple[int, int]:
            # Each byte passes twice.
            asyncio.run(main(server, count // 2))
            poll(lambda: server.stats.active == 0, 10.0, "all have ended")
            return living(), resident()

        objects, memory = call(CALLS // 10)
        objects_after, memory_after = call(CALLS)
        assert seen >= CALLS
        assert objects_after <= objects + 8
        assert memory_after - memory < 4 << 20
    assert server.stats.callback_errors == 0
