"""The answers of asynchronous callbacks: in order, with backpressure, one direction apart from the other."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from typing import Any

from conftest import Serve
from interpose import CloseReason, Connection, Forward, Relay, Side, TheServer
from support.connection_pairs import Site
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Echo, ending, read_exactly


def test_di_13_answers_keep_the_order_of_their_direction(echo: Echo, serve: Serve) -> None:
    """DI-13: Output is in the order of the input, however long each answer takes."""

    async def on_recv(side: Side, data: bytes) -> bytes:
        await asyncio.sleep(random.random() * 0.002)
        return data

    server = serve(echo.address, on_recv=on_recv, relay=Relay(buffer_size=64))
    data = random.randbytes(6400)
    assert exchange(server, data) == ("eof", data)


def test_directions_and_connections_run_at_the_same_time(serve: Serve) -> None:
    """P6: A callback that hangs holds up its own direction only."""
    hangs = threading.Event()

    async def on_recv(side: Side, data: bytes) -> None:
        if data == b"hang":
            hangs.set()
            await asyncio.sleep(60)

    with Site(lambda address: serve(address, on_recv=on_recv), True) as site:
        pair, other = site.pair(), site.pair()
        pair.near.sendall(b"hang")
        assert hangs.wait(10)
        pair.far.sendall(b"answer")
        assert read_exactly(pair.near, 6) == b"answer"
        for one, two in [(other.near, other.far), (other.far, other.near)]:
            one.sendall(b"echo")
            assert read_exactly(two, 4) == b"echo"


def test_bp_08_a_direction_is_not_read_while_its_callback_is_awaited(serve: Serve) -> None:
    """BP-08: While an asynchronous callback is awaited, its direction is not read: its source meets backpressure."""
    released = threading.Event()

    async def on_recv(side: Side, data: bytes) -> None:
        await asyncio.to_thread(released.wait, 10)

    with Site(lambda address: serve(address, on_recv=on_recv), True) as site:
        pair = site.pair()
        pair.near.setblocking(False)
        sent = 0
        while True:
            try:
                sent += pair.near.send(bytes(65536))
            except BlockingIOError:
                if pair.conn.to_upstream.read:
                    break
        assert pair.conn.to_upstream.read <= 262_144 < sent
        released.set()
        pair.near.setblocking(True)
        pair.near.shutdown(socket.SHUT_WR)
        assert ending(pair.far) == ("eof", bytes(sent))


def test_on_accept_decides_after_it_has_awaited(echo: Echo, serve: Serve) -> None:
    async def on_accept(conn: Connection) -> Any:
        await asyncio.sleep(0.001)
        return answers.pop(0)

    answers: list[Any] = [echo.address, Forward(*echo.address), False, Forward.NOWHERE, None]
    server = serve(("127.0.0.1", 1), on_accept=on_accept)
    assert exchange(server) == ("eof", b"abc")
    assert exchange(server) == ("eof", b"abc")
    assert exchange(server)[0] == "reset"
    poll(lambda: server.stats.closed[CloseReason.REJECTED] == 1, 10.0, "refused")


def test_on_close_is_called_once_and_awaited_before_the_server_is_closed(echo: Echo) -> None:
    closed: list[int] = []

    async def on_close(conn: Connection) -> None:
        await asyncio.sleep(0.05)
        closed.append(conn.id)

    with TheServer("", 0, echo.address, on_close=on_close) as server:
        for _ in range(5):
            exchange(server)
    assert sorted(closed) == [1, 2, 3, 4, 5]


def test_a_view_lives_as_long_as_it_is_kept(echo: Echo, serve: Serve) -> None:
    kept: list[memoryview] = []

    async def on_client_recv(side: Side, data: memoryview) -> memoryview:
        await asyncio.sleep(0)
        kept.append(data)
        return data

    server = serve(echo.address, on_client_recv=on_client_recv, relay=Relay(buffer="view"))
    data = random.randbytes(100_000)
    assert exchange(server, data) == ("eof", data)
    assert b"".join(kept) == data
