"""Leaving the servers of a test: in order, and at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .._waiting import wait_at_most
from ._keeping_server import KeepingServer

# Peers that do not take what is on its way to them have as long; then they are reset.
_STUCK_SECONDS = 0.010
# Connections that have had no turn yet, on a machine that has much else to do, have as long.
_TURN_SECONDS = 1.0
_STEP_SECONDS = 0.001


def leave(servers: Sequence[KeepingServer]) -> None:
    """Close all connections of these servers in order, reset those whose peers take no more, and wait for the end."""
    ends = _begin(servers)
    for server in servers:
        wait_at_most(server._native, max(0.0, ends - time.monotonic()))  # pyright: ignore[reportPrivateUsage]
    while not _may_reset(servers) and time.monotonic() < ends + _TURN_SECONDS:
        time.sleep(_STEP_SECONDS)
    for server in servers:
        server.end_at_last()


async def leave_async(server: KeepingServer) -> None:
    """Do what leave() does, without blocking the loop of asyncio."""
    import asyncio

    ends, native = _begin([server]), server._native  # pyright: ignore[reportPrivateUsage]
    await native.closed(_STUCK_SECONDS)
    while not _may_reset([server]) and time.monotonic() < ends + _TURN_SECONDS:  # noqa: ASYNC110 (nothing tells it)
        await asyncio.sleep(_STEP_SECONDS)
    await server._stop_async(0.0)  # pyright: ignore[reportPrivateUsage]


def _begin(servers: Sequence[KeepingServer]) -> float:
    """Ask for the end of all, and return when those whose peers take no more are reset."""
    for server in servers:
        native = server._native  # pyright: ignore[reportPrivateUsage]
        native.stop(_TURN_SECONDS, leave=True)
        for connection in native.connections():
            connection.close_now()
    return time.monotonic() + _STUCK_SECONDS


def _may_reset(servers: Sequence[KeepingServer]) -> bool:
    """Return whether all that are left have had their turn; those that have just come are asked to end, too."""
    left = [one for server in servers for one in server._native.connections()]  # pyright: ignore[reportPrivateUsage]
    for connection in left:
        connection.close_now()
    return all(connection.closes for connection in left)
