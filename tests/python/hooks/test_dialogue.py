"""Words before relaying: what async callbacks read of a side and send to it before its bytes are relayed."""

from __future__ import annotations

import asyncio
import gc
import select
import socket
import threading
import weakref
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    Callbacks,
    CloseReason,
    Connection,
    Forward,
    ReadError,
    Side,
    TheServer,
    framing,
)
from support.addresses import address_of
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.exchanges import Sink, exchange, wait_until_idle
from support.peers import Echo, Served, connect, ending, read_exactly, reset

SECONDS = 10.0


def test_what_is_peeked_is_relayed_and_what_is_read_is_not(serve: Serve) -> None:
    seen: list[bytes] = []

    async def on_accept(conn: Connection) -> None:
        client = conn.client
        seen.append(await client.peek(4))
        seen.append(await client.read_until(b"\r\n"))
        seen.append(await client.read_exactly(3))
        seen.append(await client.read(2))
        seen.append(await client.peek(3))
        seen.append(await client.read_exactly(0))

    ends = CloseRecorder()
    with Sink() as upstream:
        server = serve(upstream.address, on_accept=on_accept, on_close=ends)
        with connect(address_of(server)) as client:
            for part in (b"HE", b"LLO\r", b"\nabcdefgh", b"ij"):
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)
            assert upstream.wait() == ("eof", b"fghij")
        assert seen == [b"HELL", b"HELLO\r\n", b"abc", b"de", b"fgh", b""]
        ledger = ends.wait().to_upstream
        assert (ledger.read, ledger.dropped, ledger.delivered) == (17, 12, 5)


def test_words_to_the_client_go_out_at_once(echo: Echo, serve: Serve) -> None:
    async def on_accept(conn: Connection) -> None:
        conn.client.send(b"220 who?\r\n")
        name = await conn.client.read_until(b"\r\n", timeout=SECONDS)
        conn.client.send(b"250 " + name)
        assert await conn.client.read_exactly(2) == b"go"

    server = serve(echo.address, on_accept=on_accept)
    with connect(address_of(server)) as client:
        assert read_exactly(client, 10) == b"220 who?\r\n"
        client.sendall(b"me\r\n")
        assert read_exactly(client, 8) == b"250 me\r\n"
        client.sendall(b"go and more")
        assert read_exactly(client, 9) == b" and more"


@pytest.mark.parametrize("reads_client", [True, False])
def test_on_connect_speaks_with_both_sides(reads_client: bool, serve: Serve) -> None:
    async def on_connect(conn: Connection) -> None:
        side = conn.client if reads_client else conn.upstream
        assert side is not None
        line = await side.read_until(b"\n", timeout=SECONDS)
        side.send(b"you said " + line)
        side.other.send(b"it said " + line)

    def say(sock: socket.socket) -> None:
        sock.sendall(b"me\nand the rest")
        sock.shutdown(socket.SHUT_WR)
        got.append(ending(sock))

    got: list[tuple[str, bytes]] = []
    with Served(say) as upstream, connect(address_of(serve(upstream.address, on_connect=on_connect))) as client:
        client.sendall(b"me\nand the rest")
        client.shutdown(socket.SHUT_WR)
        seen = ending(client)
        poll(lambda: got, SECONDS, "the upstream has ended")
    # The speaker's line is gone; the answer is before the other's bytes.
    spoken, other = (seen, got[0]) if reads_client else (got[0], seen)
    assert spoken == ("eof", b"you said me\nme\nand the rest")
    assert other == ("eof", b"it said me\nand the rest")


def test_an_own_handshake_with_the_upstream(serve: Serve) -> None:
    def challenge(sock: socket.socket) -> None:
        sock.sendall(b"password?\n")
        assert read_exactly(sock, 7) == b"secret\n"
        sock.sendall(b"ok\n")
        sock.sendall(read_exactly(sock, 5))

    async def on_connect(conn: Connection) -> None:
        upstream = conn.upstream
        assert upstream is not None
        assert await upstream.read_until(b"\n") == b"password?\n"
        upstream.send(b"secret\n")
        assert await upstream.read_until(b"\n") == b"ok\n"

    with Served(challenge) as upstream:
        assert exchange(serve(upstream.address, on_connect=on_connect), b"12345") == ("eof", b"12345")


def test_refused_after_words(echo: Echo, serve: Serve) -> None:
    async def on_accept(conn: Connection) -> bool:
        await conn.client.read_until(b"\n")
        conn.client.send(b"no\n")
        return False

    assert exchange(serve(echo.address, on_accept=on_accept), b"me\nand more") == ("eof", b"no\n")


def test_a_cancelled_read_loses_no_byte(serve: Serve) -> None:
    """Also where the bytes are there at the moment at which it is cancelled."""

    async def on_accept(conn: Connection) -> None:
        client = conn.client
        taken = b""
        for delay in range(200):
            try:
                async with asyncio.timeout(delay * 20e-6):
                    taken += await client.read(3)
            except TimeoutError:
                cut.set()
        await asyncio.sleep(0)
        reading = asyncio.create_task(client.read_exactly(1000))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        got.append(taken if reading.cancelled() else taken + reading.result())

    got: list[bytes] = []
    cut = threading.Event()
    data = bytes(range(256)) * 8
    with Sink() as upstream:
        server = serve(upstream.address, on_accept=on_accept)
        with connect(address_of(server)) as client:
            # Nothing has come for the first read, so it is cut whatever the machine does.
            assert cut.wait(SECONDS)
            for first in range(0, len(data), 32):
                client.sendall(data[first : first + 32])
            client.shutdown(socket.SHUT_WR)
            assert upstream.wait()[0] == "eof"
        assert got[0] + upstream.got[0][1] == data


def waker_of(server: TheServer) -> int:
    """Return the descriptor that is readable while something waits for the loop."""
    held: Any = server
    calls = held._callbacks.bridge._calls
    number: int = calls._bridge.fileno()
    return number


def test_bytes_that_have_come_for_a_cancelled_read_are_read_again() -> None:
    """The loop is held up, so that it sees the read's result after it has cancelled the read."""
    seen: list[object] = []

    async def main() -> None:
        async def on_accept(conn: Connection) -> None:
            reading = asyncio.create_task(conn.client.read_exactly(3))
            await asyncio.sleep(0)
            client.sendall(b"abcd")
            # They are taken by the connection's thread, which does not say so: this waits for what it does next.
            select.select([conn_waker], [], [], SECONDS)
            reading.cancel()
            await asyncio.wait([reading])
            seen.append((reading.cancelled(), await conn.client.read(2)))

        with Sink() as upstream, socket.socket() as client:
            async with TheServer("", 0, upstream.address, on_accept=on_accept) as server:
                conn_waker = waker_of(server)
                client.connect(address_of(server))
                await asyncio.to_thread(poll, lambda: seen, SECONDS, "it was read again")
                client.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(upstream.wait) == ("eof", b"cd")

    asyncio.run(main())
    assert seen == [(True, b"ab")]


@pytest.mark.parametrize("cancels", [True, False])
def test_a_read_beside_one_whose_bytes_are_on_their_way_is_refused(cancels: bool) -> None:
    """It would take what is behind them, and they come back in front if the first one is cancelled."""
    seen: list[object] = []

    async def main() -> None:
        async def on_accept(conn: Connection) -> None:
            reading = asyncio.create_task(conn.client.read_exactly(3))
            await asyncio.sleep(0)
            client.sendall(b"abcdef")
            select.select([conn_waker], [], [], SECONDS)
            with pytest.raises(ReadError, match=r"^read: another read of <client .* waits; await it first"):
                await conn.client.read(2)
            if cancels:
                reading.cancel()
            await asyncio.wait([reading])
            seen.append(await conn.client.read_exactly(3))

        with Sink() as upstream, socket.socket() as client:
            async with TheServer("", 0, upstream.address, on_accept=on_accept) as server:
                conn_waker = waker_of(server)
                client.connect(address_of(server))
                await asyncio.to_thread(poll, lambda: seen, SECONDS, "it was read again")
                client.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(upstream.wait) == ("eof", b"def" if cancels else b"")

    asyncio.run(main())
    assert seen == [b"abc" if cancels else b"def"]


def test_a_message_that_has_come_for_a_cancelled_read_comes_to_on_recv_as_it_was() -> None:
    """Its framer has passed the untyped start-up, and would refuse it now."""
    start_up = b"\0\0\0\x10\0\3\0\0user\0x\0\0"
    query = b"Q\0\0\0\x061\0"
    shown: list[bytes] = []

    async def main() -> None:
        async def on_accept(conn: Connection) -> None:
            reading = asyncio.create_task(conn.client.read_message())
            await asyncio.sleep(0)
            client.sendall(start_up + query)
            select.select([conn_waker], [], [], SECONDS)
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()

        async def on_recv(side: Side, message: bytes) -> None:
            shown.append(message)

        pair = (framing.postgres(), None)
        with Sink() as upstream, socket.socket() as client:
            hooks: Any = {"on_accept": on_accept, "on_client_recv": on_recv}
            async with TheServer("", 0, upstream.address, framing=pair, **hooks) as server:
                conn_waker = waker_of(server)
                client.connect(address_of(server))
                await asyncio.to_thread(poll, lambda: len(shown) == 2, SECONDS, "both are shown")
                client.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(upstream.wait) == ("eof", start_up + query)

    asyncio.run(main())
    assert shown == [start_up, query]


def test_a_client_that_leaves_cancels_the_read(echo: Echo, serve: Serve) -> None:
    async def on_accept(conn: Connection) -> None:
        entered.set()
        try:
            await conn.client.read(1)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    entered, cancelled = threading.Event(), threading.Event()
    ends = CloseRecorder()
    client = connect(address_of(serve(echo.address, on_accept=on_accept, on_close=ends)))
    assert entered.wait(SECONDS)
    reset(client)
    assert ends.wait().reason is CloseReason.CLIENT_GONE
    assert cancelled.wait(SECONDS)


@pytest.mark.parametrize("on_timeout", ["close", "pass"])
def test_a_dialogue_that_takes_longer_than_callbacks_may(on_timeout: Any, echo: Echo, serve: Serve) -> None:
    """Its read is cancelled, and what has come is relayed if the connection goes on."""

    async def on_accept(conn: Connection) -> None:
        await conn.client.read_exactly(1000)

    ends = CloseRecorder()
    callbacks = Callbacks(callback_timeout=0.05, on_timeout=on_timeout)
    server = serve(echo.address, on_accept=on_accept, on_close=ends, callbacks=callbacks)
    with connect(address_of(server)) as client:
        client.sendall(b"abc")
        if on_timeout == "close":
            assert ending(client) == ("reset", b"")
            assert ends.wait().reason is CloseReason.CALLBACK_TIMEOUT
        else:
            assert read_exactly(client, 3) == b"abc"
    assert server.stats.callback_errors == 0


def test_dialogues_leave_nothing_behind(serve: Serve) -> None:
    async def on_accept(conn: Connection) -> bool:
        async with asyncio.timeout(10):
            await conn.client.read_until(b"\n")
        refs.append(weakref.ref(conn))
        return False

    refs: list[weakref.ref[Connection]] = []
    server = serve(None, on_accept=on_accept)
    for _ in range(20):
        exchange(server, b"me\n")
    wait_until_idle(server)
    held: Any = server
    calls = held._callbacks.bridge._calls
    poll(lambda: not calls._tasks, SECONDS, "no task is left")
    assert not calls._reads
    gc.disable()
    try:
        poll(lambda: all(ref() is None for ref in refs), SECONDS, "no connection is kept, also without a collection")
    finally:
        gc.enable()


def test_many_dialogues_at_once(serve: Serve) -> None:
    async def on_accept(conn: Connection) -> Forward:
        while (line := await conn.client.read_until(b"\n")) != b"end\n":
            conn.client.send(line.upper())
        conn.client.send(b"bye\n")
        conn.client.half_close()
        return Forward.NOWHERE

    def talk(number: int) -> None:
        with connect(address_of(server)) as client:
            for turn in range(20):
                line = b"%d of %d\n" % (turn, number)
                client.sendall(line)
                assert read_exactly(client, len(line)) == line.upper()
            client.sendall(b"end\n")
            assert ending(client) == ("eof", b"bye\n")
        done.append(number)

    done: list[int] = []
    server = serve(None, on_accept=on_accept)
    threads = [threading.Thread(target=talk, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert sorted(done) == list(range(20))
