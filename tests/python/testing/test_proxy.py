"""A proxy for tests: where it is, what it does to connections, what it keeps, and how it leaves."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Callable

import pytest
from interpose import Callbacks, CloseReason, ConfigError, ExpectationError, InterposeError, Side, TheServer, framing
from interpose.testing import Proxy
from interpose.testing._keywords import ServerKeywords
from support.peers import Echo, connect, read_exactly


def test_its_address_is_a_tuple_and_a_text(proxy: Proxy) -> None:
    assert (proxy.host, proxy.port) == proxy.address == proxy.server.address
    assert str(proxy) == str(proxy.address) == f"127.0.0.1:{proxy.port}"
    assert repr(proxy).startswith(f"<Proxy 127.0.0.1:{proxy.port} -> ")


def test_its_settings_are_those_of_the_server() -> None:
    of_server = inspect.signature(TheServer.__init__).parameters
    own = {"self", "host", "port", "forward_to", "drain", "old"}
    assert set(ServerKeywords.__annotations__) == set(of_server) - own


def test_a_unix_socket_is_refused() -> None:
    with pytest.raises(ConfigError, match="host: a proxy for tests listens on a port"):
        Proxy("127.0.0.1:1", host="unix:/tmp/x")


@pytest.mark.parametrize("direction", ["to_upstream", "to_client", "both"])
def test_a_pause_stops_reading_and_the_source_meets_backpressure(proxy: Proxy, direction: str) -> None:
    with connect(proxy.address) as client:
        client.sendall(b"before")
        assert read_exactly(client, 6) == b"before"
        proxy.pause(direction)  # type: ignore[arg-type]
        client.sendall(b"held")
        proxy.wait_for(b"held")
        assert proxy.stats.to_client.delivered == 6
        if direction != "to_client":
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                # More than the buffers of both sockets and one read.
                client.sendall(bytes(64 * 1024 * 1024))
            return
        proxy.resume()
        assert read_exactly(client, 4) == b"held"


def test_a_connection_to_come_is_paused_too_and_goes_on(proxy: Proxy) -> None:
    proxy.pause()
    with connect(proxy.address) as client:
        client.sendall(b"held")
        client.shutdown(socket.SHUT_WR)
        proxy.wait_for(b"held")
        assert proxy.stats.to_upstream.delivered == 0
        proxy.resume()
        assert read_exactly(client, 5) == b"held"


def test_clients_are_refused_for_a_while_and_the_port_is_kept(proxy: Proxy) -> None:
    with connect(proxy.address) as before:
        with proxy.refuse(), pytest.raises(ConnectionRefusedError):
            connect(proxy.address)
        proxy.refuse()
        proxy.listen()
        with connect(proxy.address) as client, proxy.pause():
            client.sendall(b"x")
            proxy.wait_for(b"x")
        before.sendall(b"y")
        assert read_exactly(before, 1) == b"y"
    notes = [event.text for event in proxy.transcript if event.kind == "note"]
    assert notes == [*["clients are refused", "clients are accepted again"] * 2, "paused", "resumed"]


def test_all_are_ended_in_order_or_reset(proxy: Proxy) -> None:
    with connect(proxy.address) as one, connect(proxy.address) as two:
        proxy.wait_for_connections(2)
        assert proxy.drop_all() == 2
        assert (one.recv(1), two.recv(1)) == (b"", b"")
    proxy.wait_closed()
    with connect(proxy.address) as client:
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
        assert proxy.reset_all() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert [one.reason for one in proxy.connections] == [CloseReason.CLOSED] * 2 + [CloseReason.ABORTED]


def test_ended_connections_are_kept_with_the_state_that_callbacks_left(make: Callable[..., Proxy], echo: Echo) -> None:
    def count(side: Side, data: bytes) -> None:
        side.connection.state = (side.connection.state or 0) + len(data)

    proxy = make(echo.address, on_client_recv=count)
    for size in (1, 2, 3):
        with connect(proxy.address) as client:
            client.sendall(b"x" * size)
            read_exactly(client, size)
    proxy.wait_closed()
    assert [(one.id, one.state, one.to_client.delivered) for one in proxy.connections] == [
        (1, 1, 1),
        (2, 2, 2),
        (3, 3, 3),
    ]


def test_hooks_are_decorators_and_attributes_as_of_a_server(proxy: Proxy) -> None:
    @proxy.on_client_recv
    def louder(side: Side, data: bytes) -> bytes:
        return data.upper()

    with connect(proxy.address) as client:
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"HELLO"
        proxy.on_client_recv = lambda side, data: data[::-1]
        client.sendall(b"abc")
        assert read_exactly(client, 3) == b"cba"
        del proxy.on_client_recv
        client.sendall(b"abc")
        assert read_exactly(client, 3) == b"abc"


def test_what_a_callback_raises_comes_out_with_its_traceback(echo: Echo) -> None:
    def fail(side: Side, data: bytes) -> None:
        assert data == b"other"

    with (
        pytest.raises(AssertionError) as caught,
        Proxy(echo.address, on_client_recv=fail) as proxy,
        connect(proxy.address) as client,
    ):
        client.sendall(b"this")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert caught.traceback[-1].name == "fail"


def test_asynchronous_callbacks_run_on_the_loop_of_the_test(echo: Echo) -> None:
    async def answer(proxy: Proxy) -> bytes:
        reader, writer = await asyncio.open_connection(*proxy.address)
        writer.write(b"hello")
        await proxy.aio.wait_for(b"hello", direction="to_client")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(5), 0.02)
        gates[0].set()
        data = await reader.read(5)
        writer.close()
        await writer.wait_closed()
        return data

    gates: list[asyncio.Event] = []

    async def hold(side: Side, data: bytes) -> None:
        await gates[0].wait()

    async def test() -> list[bytes]:
        gates.append(asyncio.Event())
        async with Proxy(echo.address, on_upstream_recv=hold) as proxy:
            first = await answer(proxy)
        gates[0].clear()
        proxy = Proxy(echo.address).start()
        proxy.on_upstream_recv(hold)
        second = await answer(proxy)
        await proxy.aio.wait_closed()
        proxy.stop()
        return [first, second]

    assert asyncio.run(test()) == [b"hello", b"hello"]


@pytest.mark.parametrize("is_made_here", [True, False])
def test_a_callback_whose_loop_stands_still_holds_up_no_end(echo: Echo, is_made_here: bool) -> None:
    async def never(side: Side, data: bytes) -> None:
        await asyncio.Event().wait()

    async def begin() -> tuple[Proxy, socket.socket]:
        proxy = made if made is not None else Proxy(echo.address).start()
        proxy.on_client_recv = never
        client = connect(proxy.address)
        client.sendall(b"hello")
        await proxy.aio.wait_for(b"hello")
        return proxy, client

    made = Proxy(echo.address).start() if is_made_here else None
    loop = asyncio.new_event_loop()
    try:
        proxy, client = loop.run_until_complete(begin())
        with client:
            began = time.monotonic()
            proxy.stop()
            assert time.monotonic() - began < 0.5
            with pytest.raises(ConnectionRefusedError):
                connect(proxy.address)
            proxy.check()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_a_callback_that_raises_fails_also_where_other_callbacks_settings_are_given(echo: Echo) -> None:
    def fail(side: Side, data: bytes) -> None:
        raise RuntimeError("failed")

    with (
        pytest.raises(RuntimeError, match="failed"),
        Proxy(echo.address, on_client_recv=fail, callbacks=Callbacks(threads=2)) as proxy,
        connect(proxy.address) as client,
    ):
        client.sendall(b"this")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_expectations_are_checked_at_the_end(echo: Echo) -> None:
    with Proxy(echo.address) as proxy:
        proxy.expect.connections(1)
        proxy.expect.bytes_to_upstream(5)
        proxy.expect.bytes_to_client(gt=4, le=5)
        with connect(proxy.address) as client:
            client.sendall(b"hello")
            read_exactly(client, 5)
    text = "expect: connections is 0, not exactly 2; bytes_to_client is 0, not more than 0 and at least 1"
    with pytest.raises(ExpectationError, match=f"^{text}$"), Proxy(echo.address) as proxy:
        proxy.expect.connections(2)
        proxy.expect.bytes_to_upstream(lt=1)
        proxy.expect.bytes_to_client(gt=0, ge=1)


@pytest.mark.parametrize(
    ("name", "bounds", "answer"),
    [
        ("connections", {"min": 2}, "min: there is no such argument; did you mean ge\\?"),
        ("bytes_to_client", {"atmost": 2}, "atmost: there is no such argument; did you mean le\\?"),
        ("connection", {"ge": 2}, "'Expect' object has no attribute .*; did you mean connections"),
        ("sent", {"ge": 2}, "did you mean bytes_to_upstream\\(\\)\\?"),
        ("connections", {"ge": -1}, "expect.connections: it is below 0"),
    ],
)
def test_slips_of_expectations_are_answered(proxy: Proxy, name: str, bounds: dict[str, int], answer: str) -> None:
    with pytest.raises((InterposeError, AttributeError), match=answer):
        getattr(proxy.expect, name)(**bounds)


def test_an_expectation_without_a_number_is_refused(proxy: Proxy) -> None:
    with pytest.raises(TypeError, match=r"expect.connections: no number is given; write connections\(2\)"):
        proxy.expect.connections()
    with pytest.raises(ConfigError, match="expect.connections: an exact number has no bounds beside it"):
        proxy.expect.connections(2, gt=1)


def test_a_reset_begins_anew_and_lets_connections_live(make: Callable[..., Proxy], echo: Echo) -> None:
    seen: list[bytes] = []

    def see(side: Side, data: bytes) -> None:
        seen.append(data)

    proxy = make(echo.address, on_client_recv=see)
    with connect(proxy.address) as client, connect(proxy.address) as other:
        client.sendall(b"first")
        assert read_exactly(client, 5) == b"first"
        proxy.wait_for_connections(2)
        other.close()
        proxy.wait_closed(2)
        proxy.on_client_recv = lambda side, data: b"changed"
        proxy.expect.connections(9)
        proxy.pause()
        proxy.reset()
        assert (proxy.transcript.to_upstream(), proxy.connections) == (b"", [])
        proxy.wait_closed(timeout=0)
        client.sendall(b"second")
        assert read_exactly(client, 6) == b"second"
        with pytest.raises(TimeoutError, match="0 connections came"):
            proxy.wait_for_connections(1, timeout=0)
        assert proxy.wait_for(b"second", timeout=0).offset == 5
        assert [one.id for one in proxy.connections] == [1]
        proxy.expect.connections(0)
        proxy.expect.bytes_to_upstream(6)
        proxy.check()
    assert seen == [b"first", b"second"]


def test_messages_are_recorded_whole_where_there_is_a_framing(make: Callable[..., Proxy], echo: Echo) -> None:
    proxy = make(echo.address, framing=framing.lines())
    with connect(proxy.address) as client:
        client.sendall(b"one\ntwo\nthr")
        client.sendall(b"ee\n")
        assert read_exactly(client, 14) == b"one\ntwo\nthree\n"
    proxy.wait_closed()
    sent = [
        event.data
        for event in proxy.transcript
        if event.direction == "to_upstream" and event.data and not event.sent_on
    ]
    assert sent == [b"one\n", b"two\n", b"three\n"]
