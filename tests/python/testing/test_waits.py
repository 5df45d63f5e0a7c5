"""Waits end with what they wait for, and else say what was seen instead."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from interpose import ArgumentTypeError, ConfigError, Connection, RuntimeStartError, WaitTimeoutError
from interpose.testing import Proxy
from support.peers import Echo, connect, read_exactly


def test_bytes_are_found_however_they_were_cut_and_in_either_direction(proxy: Proxy) -> None:
    with connect(proxy.address) as client:
        for piece in (b"BEG", b"IN; COM", b"MIT;"):
            client.sendall(piece)
            assert read_exactly(client, len(piece)) == piece
        seen = proxy.wait_for(b"COMMIT")
        assert (seen.connection.id, seen.direction, seen.offset, seen.data) == (1, "to_upstream", 7, b"COMMIT")
        back = proxy.wait_for(b"COMMIT", direction="to_client")
        assert (back.direction, back.offset) == ("to_client", 7)


def test_what_was_sent_before_counts_and_each_time_only_once(proxy: Proxy) -> None:
    with connect(proxy.address) as client:
        client.sendall(b"PING PING")
        assert read_exactly(client, 9) == b"PING PING"
        places = [proxy.wait_for(b"PING", direction="to_upstream", timeout=0).offset for _ in range(2)]
        assert places == [0, 5]
        with pytest.raises(WaitTimeoutError, match="an earlier wait_for\\(\\) has passed it"):
            proxy.wait_for(b"PING", direction="to_upstream", timeout=0)


def test_a_wait_ends_when_the_bytes_come(proxy: Proxy) -> None:
    with connect(proxy.address) as client:
        sender = threading.Timer(0.05, client.sendall, (b"late",))
        sender.start()
        assert proxy.wait_for(b"late", timeout=20).offset == 0
        sender.join()


def test_a_regular_expression_has_groups(proxy: Proxy) -> None:
    with connect(proxy.address) as client:
        client.sendall(b"SET key value\r\n")
        seen = proxy.wait_for(re.compile(rb"SET (\w+) (\w+)?"), direction="to_upstream")
        assert (seen.data, seen.groups) == (b"SET key value", (b"key", b"value"))


def test_one_connection_alone_is_looked_at(proxy: Proxy) -> None:
    with connect(proxy.address) as one, connect(proxy.address) as two:
        first, second = proxy.wait_for_connections(2)
        peers = {first.client.getpeername(): one, second.client.getpeername(): two}
        peers[first.client.getpeername()].sendall(b"same")
        peers[second.client.getpeername()].sendall(b"same")
        assert proxy.wait_for(b"same", connection=second, direction="to_upstream").connection == second
        assert proxy.wait_for(b"same", connection=first.id, direction="to_upstream").connection == first


@pytest.mark.parametrize("is_async", [False, True])
def test_the_end_is_seen_when_callbacks_have_seen_it(make: Callable[..., Proxy], echo: Echo, is_async: bool) -> None:
    ended: list[int] = []

    def see(conn: Connection) -> None:
        time.sleep(0.05)
        ended.append(conn.id)

    async def see_later(conn: Connection) -> None:
        await asyncio.sleep(0.05)
        ended.append(conn.id)

    proxy = make(echo.address, on_close=see_later if is_async else see)
    connect(proxy.address).close()
    proxy.wait_for_connections(1)
    proxy.wait_closed()
    assert ended == [1]
    connect(proxy.address).close()

    async def wait() -> None:
        await proxy.aio.wait_for_connections(2)
        await proxy.aio.wait_closed()

    asyncio.run(wait())
    assert ended == [1, 2]


def test_each_deadline_says_what_was_seen_instead(proxy: Proxy) -> None:
    with connect(proxy.address) as client:
        client.sendall(b"ROLLBACK")
        assert read_exactly(client, 8) == b"ROLLBACK"
        expected = (
            "wait_for: b'COMMIT' was not seen within 0 s: 1 connection, 1 open; seen: "
            "#1 to_upstream 8 B, ending in b'ROLLBACK'; #1 to_client 8 B, ending in b'ROLLBACK'"
        )
        with pytest.raises(WaitTimeoutError, match=re.escape(expected)):
            proxy.wait_for(b"COMMIT", timeout=0)
        with pytest.raises(
            WaitTimeoutError, match="wait_for_connections: 1 connection came within 0.01 s, not 2; 0 of"
        ):
            proxy.wait_for_connections(2, timeout=0.01)
        with pytest.raises(WaitTimeoutError, match=r"wait_closed: still open after 0 s: <Connection 1 .* open>"):
            proxy.wait_closed(timeout=0)
    with pytest.raises(WaitTimeoutError, match="of connection 1 was seen|seen of connection 1"):
        proxy.wait_for(b"COMMIT", connection=1, timeout=0)


def test_nothing_seen_is_said(proxy: Proxy) -> None:
    with pytest.raises(WaitTimeoutError, match="0 connections, 0 open, and no byte was seen$"):
        proxy.wait_for(b"x", timeout=0)


def test_a_deadline_says_that_the_proxy_does_not_serve(echo: Echo) -> None:
    proxy = Proxy(echo.address)
    with pytest.raises(WaitTimeoutError, match="no byte was seen; the proxy was not started$"):
        proxy.wait_for(b"x", timeout=0)
    with proxy:
        with pytest.raises(WaitTimeoutError, match="no byte was seen$"):
            proxy.wait_for(b"x", timeout=0)
        with proxy.refuse(), pytest.raises(WaitTimeoutError, match="; the proxy is refusing clients$"):
            proxy.wait_for_connections(1, timeout=0)
    with pytest.raises(WaitTimeoutError, match="; the proxy is closed$"):
        proxy.wait_for_connections(1, timeout=0)


def test_the_end_of_one_connection_and_of_all(proxy: Proxy) -> None:
    one, two = connect(proxy.address), connect(proxy.address)
    first, second = proxy.wait_for_connections(2)
    ended = one if first.client.getpeername() == one.getsockname() else two
    ended.close()
    assert [found.reason for found in proxy.wait_closed(first)] == ["finished"]
    assert second.reason is None
    one.close()
    two.close()
    assert proxy.wait_closed() == [first, second] == proxy.connections


BAD: list[tuple[Callable[[Any], object], type[Exception], str]] = [
    (lambda proxy: proxy.wait_for("x"), ArgumentTypeError, "data: it is str, not bytes; write b'x'"),
    (lambda proxy: proxy.wait_for(3), ArgumentTypeError, "data: it is int, not bytes; write b'...'"),
    (lambda proxy: proxy.wait_for(re.compile("x")), ArgumentTypeError, "data: it is Pattern, not bytes"),
    (lambda proxy: proxy.wait_for(b""), ConfigError, "data: it is empty, which would be found at once"),
    (lambda proxy: proxy.wait_for(b"x", direction="up"), ConfigError, 'direction: it is none of "both"'),
    (lambda proxy: proxy.wait_for(b"x", timeout=-1), ConfigError, "timeout: it is negative"),
    (lambda proxy: proxy.wait_for(b"x", connection="1"), ArgumentTypeError, "connection: it is str"),
    (lambda proxy: proxy.wait_for(b"x", side="client"), ArgumentTypeError, "did you mean direction?"),
    (lambda proxy: proxy.wait_closed(conn=1), ArgumentTypeError, "did you mean connection?"),
    (lambda proxy: proxy.wait_for_connections(count=1), ArgumentTypeError, "did you mean number?"),
    (lambda proxy: proxy.wait_for_data(b"x"), AttributeError, "no attribute 'wait_for_data'; did you mean wait_for()?"),
    (lambda proxy: proxy.abort_all(), AttributeError, "no attribute 'abort_all'; did you mean reset_all()?"),
    (lambda proxy: proxy.trancsript, AttributeError, "no attribute 'trancsript'; did you mean transcript?"),
    (lambda proxy: proxy.wait_for_connections(0), ConfigError, "number: it is below 1"),
    (lambda proxy: proxy.wait_closed(7), ConfigError, "connection: there is no connection 7 here"),
]


@pytest.mark.parametrize(("call", "kind", "text"), BAD)
def test_bad_arguments_are_answered_at_once(
    proxy: Proxy, call: Callable[[Proxy], object], kind: type[Exception], text: str
) -> None:
    began = time.monotonic()
    with pytest.raises(kind, match=re.escape(text)):
        call(proxy)
    assert time.monotonic() - began < 1


def test_the_waits_of_asyncio_let_the_client_go_on(proxy: Proxy) -> None:
    async def test() -> list[object]:
        reader, writer = await asyncio.open_connection(*proxy.address)
        waiting = asyncio.create_task(proxy.aio.wait_for(b"later", timeout=20))
        await asyncio.sleep(0.01)
        writer.write(b"later")
        seen = await waiting
        (connection,) = await proxy.aio.wait_for_connections(1)
        with pytest.raises(WaitTimeoutError, match="wait_closed: still open after 0.01 s"):
            await proxy.aio.wait_closed(connection, timeout=0.01)
        writer.close()
        (ended,) = await proxy.aio.wait_closed(seen, timeout=20)
        return [seen.data, ended.reason, await reader.read()]

    assert asyncio.run(test()) == [b"later", "finished", b"later"]


def test_the_waits_are_those_of_any_loop_of_asyncio(proxy: Proxy) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def test() -> bytes:
        _, writer = await asyncio.open_connection(*proxy.address)
        writer.write(b"hello")
        seen = await proxy.aio.wait_for(b"hello", timeout=20)
        writer.close()
        return seen.data

    assert uvloop.run(test()) == b"hello"


def test_a_wait_that_is_cancelled_leaves_nothing(proxy: Proxy) -> None:
    async def test() -> None:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await proxy.aio.wait_for(b"never", timeout=20)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(test())


def test_the_waits_of_trio_let_the_client_go_on(proxy: Proxy) -> None:
    trio = pytest.importorskip("trio")

    async def test() -> bytes:
        stream = await trio.open_tcp_stream(*proxy.address)
        async with stream, trio.open_nursery() as nursery:

            async def send() -> None:
                await trio.sleep(0.01)
                await stream.send_all(b"later")

            nursery.start_soon(send)
            seen = await proxy.aio.wait_for(b"later", timeout=20)
        await proxy.aio.wait_closed(timeout=20)
        return seen.data

    assert trio.run(test) == b"later"


def test_a_wait_that_would_stop_an_event_loop_is_refused(proxy: Proxy) -> None:
    async def test() -> None:
        with pytest.raises(RuntimeStartError, match=r"write `await proxy.aio.wait_for\(...\)`"):
            proxy.wait_for(b"x")

    asyncio.run(test())


def test_many_waits_at_once_all_end(make: Callable[..., Proxy], echo: Echo) -> None:
    proxy = make(echo.address)

    async def test() -> int:
        waits = [asyncio.create_task(proxy.aio.wait_for_connections(1, timeout=20)) for _ in range(200)]
        await asyncio.sleep(0)
        _, writer = await asyncio.open_connection(*proxy.address)
        found = await asyncio.gather(*waits)
        writer.close()
        return len(found)

    assert asyncio.run(test()) == 200


def test_several_threads_wait_on_one_proxy_and_each_gets_its_own(make: Callable[..., Proxy], echo: Echo) -> None:
    def told(conn: Connection) -> None:
        conn.state = "told"

    proxy = make(echo.address, on_close=told)
    words = [b"<%d>" % number for number in range(16)]
    watch = proxy._watch  # pyright: ignore[reportPrivateUsage]
    # All have begun before the first byte comes, whenever their threads run.
    own = [watch.for_bytes(word, "to_upstream", None, 20) for word in words]
    same = [watch.for_bytes(b"same", "to_client", None, 20) for _ in words]

    def ended() -> tuple[list[Connection], list[Connection]]:
        return proxy.wait_for_connections(4, timeout=20), proxy.wait_closed(timeout=20)

    with ThreadPoolExecutor(3 * len(words)) as pool:
        own_found = [pool.submit(watch.block, one) for one in own]
        same_found = [pool.submit(watch.block, one) for one in same]
        ends = [pool.submit(ended) for _ in words]
        clients = [connect(proxy.address) for _ in range(4)]
        for number, word in enumerate(words):
            clients[number % 4].sendall(b"same" + word)
        for client in clients:
            assert read_exactly(client, 4 * 4 + sum(map(len, words[clients.index(client) :: 4])))
            client.close()
        assert [one.result(20).data for one in own_found] == words
        # Each occurrence is one thread's.
        places = sorted((one.result(20).connection.id, one.result(20).offset) for one in same_found)
        assert len(set(places)) == len(words)
        for one in ends:
            accepted, closed = one.result(20)
            assert len(accepted) == len(closed) == 4
            assert all(conn.state == "told" for conn in closed)


def test_a_thread_whose_wait_is_over_leaves_the_others_waiting(proxy: Proxy) -> None:
    with ThreadPoolExecutor(2) as pool:
        late = pool.submit(proxy.wait_for, b"late", timeout=20)
        with pytest.raises(WaitTimeoutError, match="b'never' was not seen within 0.05 s"):
            pool.submit(proxy.wait_for, b"never", timeout=0.05).result(20)
        assert not late.done()
        with connect(proxy.address) as client:
            client.sendall(b"late")
            assert late.result(20).offset == 0


def test_waits_that_are_under_way_take_nothing_from_each_other(proxy: Proxy) -> None:
    async def test() -> list[tuple[bytes, int]]:
        wanted: list[bytes | re.Pattern[bytes]] = [b"second", b"first", re.compile(rb"fi\w+"), b"first"]
        waits = [asyncio.create_task(proxy.aio.wait_for(one, direction="to_upstream", timeout=20)) for one in wanted]
        await asyncio.sleep(0)
        _, writer = await asyncio.open_connection(*proxy.address)
        writer.write(b"first second first")
        found = await asyncio.gather(*waits)
        with pytest.raises(WaitTimeoutError, match="an earlier wait_for\\(\\) has passed it"):
            await proxy.aio.wait_for(b"first", direction="to_upstream", timeout=0)
        writer.close()
        return [(seen.data, seen.offset) for seen in found]

    second, *firsts = asyncio.run(test())
    assert second == (b"second", 6)
    # Each of those for the same bytes has its own; an expression is another search.
    assert sorted(firsts) == [(b"first", 0), (b"first", 0), (b"first", 13)]
