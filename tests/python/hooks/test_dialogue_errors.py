"""Words before relaying: reads that fail, each with one line that says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    ConfigError,
    Connection,
    ConnectionClosedError,
    ReadEndError,
    ReadError,
    ReadLimitError,
    ReadTimeoutError,
    Side,
)
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.exchanges import Sink, exchange
from support.peers import Echo, connect, read_exactly

SECONDS = 10.0


class Asked:
    """An async on_accept that runs `read` with the client's side, and keeps what it returns or raises."""

    def __init__(self, read: Callable[[Side], Awaitable[object]]) -> None:
        self._read = read
        self.results: list[object] = []

    async def __call__(self, conn: Connection) -> None:
        try:
            self.results.append(await self._read(conn.client))
        except Exception as error:  # noqa: BLE001
            self.results.append(error)

    def result(self) -> object:
        return poll(lambda: self.results, SECONDS, "it was read")[0]

    def error(self, kind: type[Exception]) -> str:
        """Return the text of the error, which must be one line of that type."""
        error = self.result()
        assert type(error) is kind, error
        assert "\n" not in str(error)
        return str(error)


def test_an_end_of_stream(echo: Echo, serve: Serve) -> None:
    async def on_accept(conn: Connection) -> None:
        client = conn.client
        seen.append(await client.peek(10))
        with pytest.raises(
            ReadEndError, match=r"read_exactly: .* after 3 bytes, before 4 bytes; read\(n\) takes those"
        ):
            await client.read_exactly(4)
        with pytest.raises(ReadEndError, match=r"before b'\\n'"):
            await client.read_until(b"\n")
        seen.append(await client.read(1))
        seen.append(await client.peek(10))

    seen: list[bytes] = []
    assert exchange(serve(echo.address, on_accept=on_accept)) == ("eof", b"bc")
    assert seen == [b"abc", b"a", b"bc"]


def test_the_end_itself(serve: Serve) -> None:
    async def read(client: Side) -> object:
        return await client.peek(3), await client.read(3)

    asked = Asked(read)
    with Sink() as upstream:
        exchange(serve(upstream.address, on_accept=asked), b"")
        assert (asked.result(), upstream.wait()) == ((b"", b""), ("eof", b""))


def test_a_read_that_is_late(echo: Echo, serve: Serve) -> None:
    asked = Asked(lambda client: client.read_exactly(4, timeout=0.05))
    server = serve(echo.address, on_accept=asked)
    with connect(address_of(server)) as client:
        client.sendall(b"abc")
        text = asked.error(ReadTimeoutError)
        assert text.startswith("read_exactly: <client 127.0.0.1:")
        assert "has not sent it within 0.05 s; give it longer" in text
        assert read_exactly(client, 3) == b"abc"


def test_too_much_without_an_end(echo: Echo, serve: Serve) -> None:
    asked = Asked(lambda client: client.read_until(b"\r\n", limit=8))
    server = serve(echo.address, on_accept=asked)
    assert exchange(server, b"x" * 20) == ("eof", b"x" * 20)
    assert r"has sent 8 bytes without b'\r\n'; refuse it" in asked.error(ReadLimitError)
    asked = Asked(lambda client: client.read_exactly(17 * 2**20))
    server.on_accept = asked
    assert exchange(server) == ("eof", b"abc")
    assert "no more than 16777216 bytes" in asked.error(ReadLimitError)


def test_two_reads_of_one_side_at_once(echo: Echo, serve: Serve) -> None:
    async def read(client: Side) -> None:
        first = asyncio.create_task(client.read_exactly(4))
        await asyncio.sleep(0)
        try:
            await client.read(1)
        finally:
            first.cancel()

    asked = Asked(read)
    with connect(address_of(serve(echo.address, on_accept=asked))) as client:
        # The error comes out once the first read has its bytes.
        client.sendall(b"abc")
        assert "another read of <client 127.0.0.1:" in asked.error(ReadError)


def test_once_bytes_are_relayed_a_side_is_not_read(echo: Echo, serve: Serve) -> None:
    errors: list[str] = []

    async def on_recv(side: Side, data: bytes) -> None:
        with pytest.raises(ReadError) as caught:
            await side.read(1)
        errors.append(str(caught.value))

    assert exchange(serve(echo.address, on_recv=on_recv)) == ("eof", b"abc")
    assert "read: what <client 127.0.0.1:" in errors[0]
    assert "comes to on_recv now, or is relayed; read in an `async def` on_accept or on_connect" in errors[0]
    assert "read: what <upstream 127.0.0.1:" in errors[1]


@pytest.mark.parametrize("is_async", [True, False])
def test_an_upstream_that_is_not_there_yet(is_async: bool, echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    async def reads(conn: Connection) -> None:
        upstream: Any = conn.upstream
        await upstream.read(1)

    def sends(conn: Connection) -> None:
        upstream: Any = conn.upstream
        upstream.send(b"hello")

    word = "read" if is_async else "send"
    ends = CloseRecorder()
    server = serve(echo.address, on_accept=reads if is_async else sends, on_close=ends)
    assert exchange(server)[0] == "reset"
    text = f"{word}: connection 1 has no upstream in on_accept; use it from on_connect on, or look first"
    assert f"raised NoUpstreamError: {text}" in str(ends.wait().error)
    assert "\n" not in str(ends.wait().error)
    assert callback_log.wait("NoUpstreamError")


def test_another_none_is_not_taken_for_an_upstream(echo: Echo, serve: Serve) -> None:
    async def on_accept(conn: Connection) -> None:
        log: Any = conn.state
        log.send(b"hello")

    ends = CloseRecorder()
    exchange(serve(echo.address, on_accept=on_accept, on_close=ends))
    assert "AttributeError: 'NoneType' object has no attribute 'send'" in str(ends.wait().error)


def test_a_task_that_goes_on_reading_after_the_answer(echo: Echo, serve: Serve) -> None:
    tasks: list[asyncio.Task[bytes]] = []

    async def on_accept(conn: Connection) -> None:
        tasks.append(asyncio.create_task(conn.client.read_exactly(100)))
        await asyncio.sleep(0)

    assert exchange(serve(echo.address, on_accept=on_accept)) == ("eof", b"abc")
    poll(lambda: tasks[0].done(), SECONDS, "its read was refused")
    assert isinstance(tasks[0].exception(), (ReadError, ConnectionClosedError))


def test_a_connection_that_has_ended(echo: Echo, serve: Serve) -> None:
    errors: list[Exception] = []

    async def on_close(conn: Connection) -> None:
        with pytest.raises(ConnectionClosedError) as caught:
            await conn.client.peek(1)
        errors.append(caught.value)

    exchange(serve(echo.address, on_close=on_close))
    assert "has ended (finished); look at phase" in str(poll(lambda: errors, SECONDS, "it has ended")[0])


def plain(conn: Connection) -> Any:
    """Read where nothing is awaited."""
    return conn.client.read(1)


async def in_a_thread(conn: Connection) -> None:
    await asyncio.to_thread(plain, conn)


async def in_another_loop(conn: Connection) -> None:
    async def read() -> bytes:
        return await conn.client.read(1)

    await asyncio.to_thread(lambda: asyncio.run(read()))


@pytest.mark.parametrize("on_accept", [plain, in_a_thread, in_another_loop])
def test_a_read_outside_of_the_loop(on_accept: Callable[[Connection], Any], echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_accept=on_accept, on_close=ends)
    assert exchange(server)[0] == "reset"
    error = ends.wait().error
    assert error is not None
    assert "ReadError: read: this is not the loop of an async callback; read in an `async def` on_accept" in error


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda client: client.read(0), "n: it is below 1; give at least 1"),
    (lambda client: client.read_exactly(-1), "n: it is below 0"),
    (lambda client: client.peek("1"), "n: it is str, not an int"),
    (lambda client: client.read_until("\n"), 'delimiter: it is str, not bytes; write b"\\r\\n"'),
    (lambda client: client.read_until(b""), "delimiter: it is empty"),
    (lambda client: client.read_until(b"\n", 0), "limit: it is below 1"),
    (lambda client: client.read(1, timeout="5"), "timeout: it is str, not a number of seconds"),
]


@pytest.mark.parametrize(("read", "text"), WRONG)
def test_wrong_arguments(
    read: Callable[[Any], Coroutine[Any, Any, object]], text: str, echo: Echo, serve: Serve
) -> None:
    async def begin(client: Side) -> object:
        return await read(client)

    asked = Asked(begin)
    exchange(serve(echo.address, on_accept=asked))
    error = asked.result()
    assert isinstance(error, (ConfigError, TypeError))
    assert text in str(error)
