"""What ends a server: KeyboardInterrupt and SystemExit in a callback, and stop() in one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, Connection, Side, TheServer
from support.addresses import address_of, refuses
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder, from_data, without_arguments
from support.deadline import poll
from support.exchanges import exchange, served_by_main_loop, wait_until_idle
from support.peers import Echo, connect, ending
from support.peers import echo as echoed
from support.scripts import python

HOOKS = ("on_accept", "on_connect", "on_client_recv", "on_upstream_recv", "on_eof", "on_close")


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def callback(*_: Any) -> NoReturn:
        raise error

    return callback


@pytest.mark.parametrize("error", [KeyboardInterrupt("mine"), SystemExit(7)], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("hook", HOOKS)
def test_cb_03_they_come_out_of_main_loop(hook: str, error: BaseException, echo: Echo) -> None:
    """CB-03: SystemExit and KeyboardInterrupt close everything and come out of what runs the server.

    The very object, and everything is closed by then.
    """
    hooks: dict[str, Any] = {hook: raising(error)}
    server = TheServer("", 0, echo.address, **hooks)
    thread = threading.Thread(target=exchange, args=(server,))
    thread.start()
    with pytest.raises(type(error)) as caught:
        server.main_loop()
    assert caught.value is error
    thread.join(10.0)
    assert not thread.is_alive()
    assert repr(server).endswith("closed>")
    assert server.stats.active == 0
    assert refuses(address_of(server))


@pytest.mark.parametrize("hook", ["on_client_recv", "on_close"])
def test_cb_03_every_connection_is_reset(hook: str, echo: Echo, callback_log: CallbackLog) -> None:
    ends = CloseRecorder()

    def exit_on_request(side: Side, data: bytes) -> None:
        if data == b"exit":
            raise SystemExit

    server = TheServer("", 0, echo.address, on_client_recv=exit_on_request, on_close=ends)

    def work() -> None:
        with connect(address_of(server)) as bystander, connect(address_of(server)) as client:
            echoed(bystander, b"x")
            client.sendall(b"exit")
            assert ending(client) == ("reset", b"")
            assert ending(bystander) == ("reset", b"")

    (failure,) = served_by_main_loop(server, work)
    assert type(failure) is SystemExit
    ends.wait(2)
    assert {conn.reason for conn in ends.all} == {CloseReason.STOPPED}
    callback_log.wait("on_client_recv raised SystemExit: the server stops")
    assert server.stats.callback_errors == 0


def test_cb_07_a_callback_that_ends_its_thread_ends_the_server(echo: Echo) -> None:
    """CB-07: A callback that ends its thread ends the server in order.

    _thread.exit() is SystemExit.
    """
    import _thread

    server = TheServer("", 0, echo.address, on_client_recv=from_data(lambda data: _thread.exit()))
    (failure,) = served_by_main_loop(server, lambda: exchange(server))
    assert type(failure) is SystemExit


@pytest.mark.parametrize("policy", ["close", "pass"])
def test_cb_03_one_that_comes_while_an_exception_is_told_of(policy: Literal["close", "pass"], echo: Echo) -> None:
    """As Ctrl-C may, in a storm of exceptions: it is not lost."""
    interrupt = KeyboardInterrupt()

    class ToldError(Exception):
        def __str__(self) -> str:
            raise interrupt

    server = TheServer("", 0, echo.address, on_client_recv=raising(ToldError()), callbacks=Callbacks(errors=policy))
    (failure,) = served_by_main_loop(server, lambda: exchange(server))
    assert failure is interrupt


def test_cb_03_a_server_in_the_background_stops(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    server = serve(echo.address, on_client_recv=raising(SystemExit(3)))
    assert exchange(server) == ("reset", b"")
    poll(lambda: repr(server).endswith("closed>"), 10.0, "it is closed")
    callback_log.wait("on_client_recv raised SystemExit: the server stops")
    server.stop()


def test_cb_03_they_come_out_of_serve_forever(echo: Echo) -> None:
    error = SystemExit(3)
    server = TheServer("", 0, echo.address, on_client_recv=raising(error))

    async def main() -> BaseException | None:
        task = asyncio.ensure_future(asyncio.to_thread(exchange, server))
        try:
            await server.serve_forever()
        except SystemExit as caught:
            return caught
        finally:
            await task
        return None

    assert asyncio.run(main()) is error


def test_cb_03_exit_codes(tmp_path: Path) -> None:
    text = """
        import sys, threading
        from interpose import TheServer
        from support.peers import Echo, connect, ending
        upstream = Echo()
        def on_client_recv(side, data):
            raise {error}
        server = TheServer("", 0, upstream.address, on_client_recv=on_client_recv)
        def run():
            with connect(server.address) as client:
                client.sendall(b"x")
                ending(client)
        threading.Thread(target=run).start()
        server.main_loop()
    """
    ended = python(tmp_path, text.replace("{error}", "SystemExit(5)"))
    assert (ended.code, ended.out) == (5, "")
    assert "Traceback" not in ended.err
    ended = python(tmp_path, text.replace("{error}", "SystemExit('a message')"))
    assert ended.code == 1
    assert "a message\n" in ended.err
    ended = python(tmp_path, text.replace("{error}", "KeyboardInterrupt"))
    assert ended.code in (-2, 130)
    # The log's line about it comes from another thread, before or after.
    assert "\nKeyboardInterrupt\n" in ended.err
    assert "in on_client_recv" in ended.err


@pytest.mark.parametrize("hook", HOOKS)
def test_cb_19_stop_in_a_callback_returns_at_once(hook: str, echo: Echo, serve: Serve) -> None:
    """CB-19: stop() in a callback returns at once, and the server ends."""
    taken: list[float] = []

    def stop(*_: Any) -> None:
        begin = time.monotonic()
        server.stop()
        taken.append(time.monotonic() - begin)

    hooks: dict[str, Any] = {hook: stop}
    server = serve(echo.address, **hooks)
    # The drain lets this connection finish.
    assert exchange(server) == ("eof", b"abc")
    poll(lambda: repr(server).endswith("closed>"), 10.0, "it is closed")
    server.stop()
    assert max(taken) < 0.5


@pytest.mark.parametrize("drain", [0.0, 5.0])
def test_cb_19_stop_in_a_callback_ends_main_loop(drain: float, echo: Echo) -> None:
    def on_client_recv(side: Side, data: bytes) -> None:
        if data == b"stop":
            server.stop(drain)

    ends = CloseRecorder()
    server = TheServer("", 0, echo.address, on_client_recv=on_client_recv, on_close=ends)

    def work() -> None:
        with connect(address_of(server)) as client:
            assert echoed(client, b"hello") == b"hello"
            client.sendall(b"stop")
            if drain:
                assert client.recv(4) == b"stop"
            else:
                assert ending(client)[0] == "reset"
        # Before what ends main_loop() anyway.
        ends.wait()

    assert served_by_main_loop(server, work) == []
    assert ends.wait().reason is (CloseReason.FINISHED if drain else CloseReason.STOPPED)


def test_cb_19_leaving_with_in_a_callback(echo: Echo) -> None:
    """`with` ends with stop(), so it may end in a callback too."""
    others: list[TheServer] = []

    def on_client_recv(side: Side, data: bytes) -> bytes:
        with TheServer("", 0, echo.address) as other:
            others.append(other)
        return data.upper()

    with TheServer("", 0, echo.address, on_client_recv=on_client_recv) as server:
        assert exchange(server) == ("eof", b"ABC")
    poll(lambda: repr(others[0]).endswith("closed>"), 10.0, "the other is closed")


def test_main_loop_in_a_callback_is_refused(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    def on_accept(conn: Connection) -> None:
        other = TheServer("", 0, echo.address, on_recv=print)
        try:
            other.main_loop()
        finally:
            other.stop()

    assert exchange(serve(echo.address, on_accept=on_accept)) == ("reset", b"")
    assert "start() the other" in callback_log.wait("on_accept raised LaneError")


def test_close_and_abort_of_its_own_connection(echo: Echo, serve: Serve) -> None:
    """After either, nothing but on_close is called."""
    calls: list[bytes] = []
    ends = CloseRecorder()

    def on_client_recv(side: Side, data: bytes) -> None:
        calls.append(data)
        (side.connection.close if data == b"close" else side.connection.abort)()

    server = serve(
        echo.address,
        on_client_recv=on_client_recv,
        on_eof=without_arguments(lambda: calls.append(b"eof")),
        on_close=ends,
    )
    with connect(address_of(server)) as client:
        client.sendall(b"close")
        assert ending(client)[0] == "eof"
    assert ends.wait().reason is CloseReason.CLOSED
    with connect(address_of(server)) as client:
        client.sendall(b"abort")
        assert ending(client) == ("reset", b"")
    ends.wait(2)
    assert ends.all[1].reason is CloseReason.ABORTED
    assert calls == [b"close", b"abort"]


def test_close_in_a_callback_delivers_its_chunk(serve: Serve) -> None:
    from support.exchanges import Sink

    def last_words(side: Side, data: bytes) -> bytes:
        side.connection.close()
        side.send(b"goodbye")
        return data.upper()

    with Sink() as upstream:
        server = serve(upstream.address, on_client_recv=last_words)
        assert exchange(server) == ("eof", b"goodbye")
        assert upstream.wait() == ("eof", b"ABC")


@pytest.mark.parametrize("way", ["close", "abort"])
@pytest.mark.parametrize("hook", ["on_accept", "on_connect", "on_eof", "on_close"])
def test_cb_18_ending_in_any_other_callback(hook: str, way: str, echo: Echo, serve: Serve) -> None:
    """CB-18: A callback may end its own connection, or another."""

    def end(argument: Connection | Side) -> None:
        conn = argument if isinstance(argument, Connection) else argument.connection
        getattr(conn, way)()

    ends = CloseRecorder()
    server = serve(echo.address, **{"on_close": ends, hook: end})
    how, _ = exchange(server)
    wait_until_idle(server)
    assert server.stats.callback_errors == 0
    if hook != "on_close":
        assert ends.wait().reason is (CloseReason.CLOSED if way == "close" else CloseReason.ABORTED)
        assert how == ("eof" if way == "close" else "reset")


def test_cb_18_another_connection(echo: Echo, serve: Serve) -> None:
    def end_the_others(side: Side, data: bytes) -> None:
        if data == b"alone":
            for conn in server.connections:
                if conn is not side.connection:
                    conn.abort()

    server = serve(echo.address, on_client_recv=end_the_others)
    with connect(address_of(server)) as victim, connect(address_of(server)) as client:
        assert echoed(victim, b"x") == b"x"
        assert echoed(client, b"alone") == b"alone"
        assert ending(victim) == ("reset", b"")
        assert echoed(client, b"y") == b"y"
