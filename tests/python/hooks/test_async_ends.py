"""The ends of asynchronous callbacks: failed, cancelled, late, and left by their loop or their server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, Callbacks, CloseReason, Connection, Side, TheServer, Timeouts
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.exchanges import exchange, served_by_main_loop
from support.peers import Echo, connect, ending, read_exactly


class Hanging:
    """A callback that waits until it is cancelled, and notes that."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self, side: Side, data: bytes) -> None:
        self.began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def test_a_callback_is_cancelled_when_its_connection_ends(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    hanging, ends = Hanging(), CloseRecorder()
    server = serve(echo.address, on_client_recv=hanging, on_close=ends)
    with connect(address_of(server)) as client:
        client.sendall(b"a")
        assert hanging.began.wait(10)
        server.connections[0].abort()
        assert hanging.cancelled.wait(10)
        assert ending(client)[0] == "reset"
    assert ends.wait().reason is CloseReason.ABORTED
    assert (callback_log.lines(), server.stats.callback_errors) == ([], 0)


def test_on_close_comes_after_what_was_cancelled(echo: Echo, serve: Serve) -> None:
    steps: list[str] = []
    began = threading.Event()

    async def on_recv(side: Side, data: bytes) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            steps.append("cancelled")

    async def on_close(conn: Connection) -> None:
        steps.append("close")

    server = serve(echo.address, on_recv=on_recv, on_close=on_close)
    with connect(address_of(server)) as client:
        client.sendall(b"a")
        assert began.wait(10)
        server.connections[0].abort()
        poll(lambda: len(steps) == 2, 10.0, "both have ended")
    assert steps == ["cancelled", "close"]


async def raises(side: Side, data: bytes) -> None:
    await asyncio.sleep(0)
    raise LookupError("not here")


async def cancels_itself(side: Side, data: bytes) -> None:
    raise asyncio.CancelledError


async def answers_nonsense(side: Side, data: bytes) -> Any:
    return 7


FAILING = {
    "LookupError: not here": raises,
    "CancelledError": cancels_itself,
    "on_client_recv returned int": answers_nonsense,
}


@pytest.mark.parametrize("words", FAILING)
def test_a_failure_ends_its_own_connection_only(
    words: str, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_close=ends)
    with connect(address_of(server)) as other:
        other.sendall(b"a")
        read_exactly(other, 1)
        server.on_client_recv = FAILING[words]
        assert exchange(server)[0] == "reset"
        assert words in callback_log.wait(words)
        del server.on_client_recv
        other.sendall(b"b")
        assert read_exactly(other, 1) == b"b"
        assert ends.wait().reason is CloseReason.CALLBACK_ERROR
    assert server.stats.callback_errors == 1


def test_errors_that_pass_count_as_none(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_client_recv=raises, callbacks=Callbacks(errors="pass"))
    assert exchange(server) == ("eof", b"abc")
    assert server.stats.callback_errors == 1


def test_errors_that_are_raised_come_out_of_with(echo: Echo) -> None:
    with (
        pytest.raises(LookupError, match="not here"),
        TheServer("", 0, echo.address, on_client_recv=raises, callbacks=Callbacks(errors="raise")) as server,
    ):
        exchange(server)


def test_system_exit_ends_main_loop(echo: Echo) -> None:
    async def on_recv(side: Side, data: bytes) -> None:
        raise SystemExit(3)

    server = TheServer("", 0, echo.address, on_client_recv=on_recv)
    failures = served_by_main_loop(server, lambda: exchange(server))
    assert [getattr(error, "code", error) for error in failures] == [3]


def test_cb_19_stop_returns_at_once_in_a_callback(echo: Echo) -> None:
    took: list[float] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        await asyncio.sleep(0)
        began = time.monotonic()
        server.stop()
        took.append(time.monotonic() - began)

    server = TheServer("", 0, echo.address, on_client_recv=on_client_recv)
    assert served_by_main_loop(server, lambda: exchange(server)) == []
    assert len(took) == 1
    assert took[0] < 1

    async def main() -> None:
        nonlocal server
        async with TheServer("", 0, echo.address, on_client_recv=on_client_recv) as server:
            await asyncio.to_thread(exchange, server)
            await asyncio.wait_for(server.wait_closed(), 10)

    asyncio.run(main())
    assert len(took) == 2


def test_send_never_blocks_the_loop(echo: Echo, serve: Serve) -> None:
    kinds: list[type[BaseException]] = []

    async def on_connect(conn: Connection) -> None:
        try:
            for _ in range(100):
                conn.client.send(bytes(100_000))
        except Exception as error:  # noqa: BLE001
            kinds.append(type(error))

    server = serve(echo.address, on_connect=on_connect)
    with connect(address_of(server)):
        poll(lambda: kinds, 10.0, "there was no room")
    assert [kind.__name__ for kind in kinds] == ["SendBufferFullError"]


def test_cb_12_a_callback_that_keeps_the_loop_is_logged_by_name_with_its_stack(
    echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    """CB-12: An asynchronous callback that keeps its loop, because it never awaits, is logged with its stack, once."""
    released = threading.Event()

    async def on_client_recv(side: Side, data: bytes) -> None:
        released.wait(20)

    server = serve(echo.address, on_client_recv=on_client_recv)
    with connect(address_of(server)) as client:
        client.sendall(b"a")
        try:
            line = callback_log.wait("on_client_recv: it has kept its event loop for")
        finally:
            released.set()
        assert "released.wait(20)" in line
        assert "_async_calls" not in line
        assert read_exactly(client, 1) == b"a"
    assert len(callback_log.lines("kept its event loop")) == 1


TIMED: dict[str, tuple[str, CloseReason]] = {
    "close": ("reset", CloseReason.CALLBACK_TIMEOUT),
    "pass": ("eof", CloseReason.FINISHED),
    "drop": ("eof", CloseReason.FINISHED),
}


@pytest.mark.parametrize("on_timeout", TIMED)
def test_a_late_answer_has_the_effect_that_was_chosen(
    on_timeout: Any, echo: Echo, serve: Serve, callback_log: CallbackLog, caplog: pytest.LogCaptureFixture
) -> None:
    hanging, ends = Hanging(), CloseRecorder()
    settings = Callbacks(callback_timeout=0.05, on_timeout=on_timeout)
    server = serve(echo.address, on_client_recv=hanging, on_close=ends, callbacks=settings)
    how, reason = TIMED[on_timeout]
    seen = exchange(server)
    assert seen[0] == how
    assert seen[1] == (b"abc" if on_timeout == "pass" else b"")
    assert hanging.cancelled.wait(10)
    assert ends.wait().reason is reason
    assert server.stats.callback_timeouts == 1
    callback_log.wait("on_client_recv", "has not answered within 50ms")
    if on_timeout == "close":
        closed = [one.getMessage() for one in caplog.records if one.name == "interpose.connection"]
        assert any("closed (callback_timeout): on_client_recv: it has not answered" in line for line in closed), closed


def test_a_client_whose_on_accept_is_late_is_treated_as_chosen(echo: Echo, serve: Serve) -> None:
    async def on_accept(conn: Connection) -> None:
        await asyncio.sleep(60)

    expected = {"close": CloseReason.CALLBACK_TIMEOUT, "pass": CloseReason.FINISHED, "drop": CloseReason.REJECTED}
    for word, reason in expected.items():
        settings: Any = Callbacks(callback_timeout=0.02, on_timeout=word)  # type: ignore[arg-type] # pyright: ignore
        server = serve(echo.address, on_accept=on_accept, callbacks=settings)
        exchange(server)
        poll(lambda: server.stats.closed[reason] == 1, 10.0, word)  # noqa: B023


def test_an_on_close_that_is_late_is_cancelled(echo: Echo, serve: Serve) -> None:
    async def on_close(conn: Connection) -> None:
        await asyncio.sleep(60)

    server = serve(echo.address, on_close=on_close, callbacks=Callbacks(callback_timeout=0.02))
    exchange(server)
    poll(lambda: server.stats.callback_timeouts == 1, 10.0, "it was late")


def test_silence_of_a_callback_is_no_idleness(echo: Echo, serve: Serve) -> None:
    async def on_client_recv(side: Side, data: bytes) -> None:
        await asyncio.sleep(0.2)

    server = serve(echo.address, on_client_recv=on_client_recv, timeouts=Timeouts(idle=0.05))
    assert exchange(server) == ("eof", b"abc")


def quiet(run: Callable[[], object]) -> list[str]:
    """Return the warnings of Python, and what the loop's exception handler was called with, while `run` runs."""
    said: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda args: said.append(repr(args))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
            gc.collect()
    finally:
        sys.unraisablehook = before
    # The sockets of a loop that a test leaves open are the test's.
    return said + [str(one.message) for one in caught if not issubclass(one.category, ResourceWarning)]


def leave_by_asyncio_run(server: TheServer, ready: Callable[[], object]) -> None:
    async def main() -> None:
        await server.__aenter__()
        await asyncio.to_thread(ready)

    asyncio.run(main())


def leave_by_closing_the_loop(server: TheServer, ready: Callable[[], object]) -> None:
    async def main() -> None:
        await server.__aenter__()
        await asyncio.to_thread(ready)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.parametrize("leave", [leave_by_asyncio_run, leave_by_closing_the_loop])
def test_cb_13_a_loop_that_closes_ends_connections_and_warns_of_nothing(
    leave: Callable[[TheServer, Callable[[], object]], None],
    echo: Echo,
    callback_log: CallbackLog,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """CB-13: A loop that is closed during traffic ends its connections, and leaves no task and no coroutine."""
    began = threading.Event()

    async def on_client_recv(side: Side, data: bytes) -> None:
        if data == b"hang":
            began.set()
            await asyncio.sleep(60)

    server = TheServer("", 0, echo.address, on_client_recv=on_client_recv)
    with contextlib.ExitStack() as clients:
        sockets: list[socket.socket] = []

        def ready() -> None:
            for word in (b"hang", b"idle"):
                sockets.append(clients.enter_context(connect(address_of(server))))
                sockets[-1].sendall(word)
            assert read_exactly(sockets[1], 4) == b"idle"
            assert began.wait(10)

        assert quiet(lambda: leave(server, ready)) == []
        assert ending(sockets[1]) == ("eof", b"")
        assert ending(sockets[0]) == ("reset", b"")
    server.stop()
    callback_log.wait("the event loop of its async callbacks was closed")
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    assert server.stats.closed[CloseReason.CLOSED] == 1


def test_questions_after_the_loop_was_closed_end_their_connections(echo: Echo) -> None:
    """CB-14: What a callback is to be asked after its loop was closed ends its connection in order."""

    async def on_client_recv(side: Side, data: bytes) -> None: ...

    server = TheServer("", 0, echo.address, on_client_recv=on_client_recv)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(server.__aenter__())
    with connect(address_of(server)) as client:
        poll(lambda: server.stats.active, 10.0, "accepted")
        loop.close()
        with contextlib.suppress(OSError):
            client.sendall(b"a")
        ending(client)
    server.stop()


def test_async_def_beside_methods_without_arguments_is_refused(echo: Echo) -> None:
    class Script(TheServer):
        def on_recv(self) -> None:
            self.channel[self.s].send(self.data)

    class Later(TheServer):
        async def on_recv(self) -> None: ...  # type: ignore[override] # pyright: ignore

    async def on_connect(conn: Connection) -> None: ...

    with pytest.raises(ArgumentTypeError, match=r"on_connect: it is async def, and methods without .* share self\.s"):
        Script("", 0, echo.address, on_connect=on_connect)
    with pytest.raises(ArgumentTypeError, match=r"on_recv: it is async def, and methods without .* share self\.s"):
        Later("", 0, echo.address)
