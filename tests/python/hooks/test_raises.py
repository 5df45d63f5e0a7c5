"""A callback that raises costs its own connection, is logged with its user's traceback, and is counted."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, Relay, Side
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder, from_data
from support.exchanges import exchange, wait_until_idle
from support.peers import Address, Echo, Served, connect, ending, reset
from support.peers import echo as echoed

HOOKS = ("on_accept", "on_connect", "on_recv", "on_client_recv", "on_upstream_recv", "on_eof")


def blunder(*_: Any) -> NoReturn:
    raise ValueError("of the user's")


class HostileTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class HostileEndError(Exception):
    """Its text raises what is not even an Exception."""

    def __str__(self) -> str:
        raise GeneratorExit


class NoTextError(Exception):
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


class TerminalError(Exception):
    def __str__(self) -> str:
        return "\x1b[2J\nERROR forged" + "x" * 100_000


class HostileNameError(Exception):
    pass


HostileNameError.__name__ = "a\nb\x1bc"


def recursion(*_: Any) -> Any:
    return recursion()


def no_memory(*_: Any) -> Any:
    return bytearray(1 << 62)


def raising(error: BaseException | type[BaseException]) -> Callable[..., NoReturn]:
    def callback(*_: Any) -> NoReturn:
        raise error

    return callback


EXCEPTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "ValueError": (blunder, "ValueError: of the user's"),
    "no text": (raising(ValueError), "ValueError"),
    "hostile text": (raising(HostileTextError), "HostileTextError (whose text cannot be had)"),
    "hostile end": (raising(HostileEndError), "HostileEndError (whose text cannot be had)"),
    "text is no text": (raising(NoTextError), "NoTextError (whose text cannot be had)"),
    "for a terminal": (raising(TerminalError), "TerminalError: \\x1b[2J\\nERROR forged"),
    "hostile name": (raising(HostileNameError), "a\\nb\\x1bc"),
    "RecursionError": (recursion, "RecursionError: maximum recursion depth exceeded"),
    "MemoryError": (no_memory, "MemoryError"),
    "GeneratorExit": (raising(GeneratorExit), "GeneratorExit"),
    "CancelledError": (raising(asyncio.CancelledError("why")), "CancelledError: why"),
    "StopIteration": (raising(StopIteration), "StopIteration"),
    "group": (raising(ExceptionGroup("several", [ValueError("one")])), "ExceptionGroup: several"),
}


@pytest.mark.parametrize(("callback", "words"), EXCEPTIONS.values(), ids=EXCEPTIONS)
def test_cb_06_what_is_raised_costs_that_connection_only(
    callback: Callable[..., Any], words: str, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    """CB-06: Whatever object is raised ends one connection, and cannot harm the log."""
    ends = CloseRecorder()

    def on_client_recv(side: Side, data: bytes) -> Any:
        return callback(side, data) if data == b"abc" else None

    server = serve(echo.address, on_client_recv=on_client_recv, on_close=ends)
    with connect(address_of(server)) as bystander:
        assert echoed(bystander, b"before") == b"before"
        assert exchange(server) == ("reset", b"")
        line = callback_log.wait("on_client_recv raised", words)
        assert "\x1b" not in line
        assert len(line) < 20_000
        conn = ends.wait()
        assert conn.reason is CloseReason.CALLBACK_ERROR
        assert conn.error is not None
        assert words in conn.error
        assert echoed(bystander, b"after") == b"after"
    assert wait_until_idle(server).stats.callback_errors == 1


@pytest.mark.parametrize("hook", HOOKS)
def test_cb_01_the_same_policy_for_every_hook(hook: str, echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    """CB-01: An exception ends its own connection and is counted and logged, whichever callback raises it."""
    ends = CloseRecorder()
    hooks: dict[str, Any] = {hook: blunder, "on_close": ends}
    server = serve(echo.address, **hooks)
    assert exchange(server)[0] == "reset"
    conn = ends.wait()
    assert conn.reason is CloseReason.CALLBACK_ERROR
    assert conn.error == f"{hook} raised ValueError: of the user's"
    assert callback_log.lines(hook, "ValueError: of the user's")
    stats = wait_until_idle(server).stats
    assert (stats.callback_errors, stats.closed[CloseReason.CALLBACK_ERROR]) == (1, 1)


def test_cb_02_on_close_raises_and_the_end_is_complete(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    """CB-02: An exception in on_close changes nothing about the end."""
    server = serve(echo.address, on_close=blunder)
    assert exchange(server) == ("eof", b"abc")
    callback_log.wait("on_close raised ValueError")
    stats = wait_until_idle(server).stats
    assert (stats.callback_errors, stats.closed[CloseReason.FINISHED]) == (1, 1)
    assert server.connections == []


def test_the_third_chunk(echo: Echo, serve: Serve) -> None:
    """What was answered before is delivered."""
    chunks: list[bytes] = []

    def third(side: Side, data: bytes) -> None:
        chunks.append(data)
        if len(chunks) == 3:
            raise ValueError

    with connect(address_of(serve(echo.address, on_client_recv=third))) as client:
        assert [echoed(client, b"%d" % number) for number in (1, 2)] == [b"1", b"2"]
        client.sendall(b"3")
        assert ending(client) == ("reset", b"")


def test_the_traceback_is_the_users(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    def deeper(data: bytes) -> None:
        raise LookupError(data.decode())

    def on_client_recv(side: Side, data: bytes) -> None:
        deeper(data)

    exchange(serve(echo.address, on_client_recv=on_client_recv))
    first, *rest = callback_log.wait("LookupError: abc").splitlines()
    assert first.startswith("<Connection 1 <client 127.0.0.1:")
    places = [line.strip() for line in rest if line.startswith("  File")]
    assert [place.rpartition(" ")[2] for place in places] == ["on_client_recv", "deeper"]
    assert all(f'File "{__file__}"' in place for place in places)
    assert rest[-1].strip() == "raise LookupError(data.decode())" or "^" in rest[-1]


def test_the_traceback_of_on_accept_is_the_users_too(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    exchange(serve(echo.address, on_accept=blunder))
    places = [line for line in callback_log.wait("on_accept raised").splitlines() if line.startswith("  File")]
    assert len(places) == 1
    assert places[0].endswith("in blunder")


def test_errors_pass_if_that_is_wanted(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    hooks: dict[str, Any] = dict.fromkeys((*HOOKS, "on_close"), blunder)
    server = serve(echo.address, **hooks, callbacks=Callbacks(errors="pass"))
    assert exchange(server) == ("eof", b"abc")
    callback_log.wait("on_close raised ValueError")
    stats = wait_until_idle(server).stats
    # Two chunks and two ends; on_recv gives way to those for one direction.
    assert stats.callback_errors == len(("accept", "connect", "up", "down", "eof", "eof", "close"))
    assert stats.closed[CloseReason.FINISHED] == 1
    assert {line.split(": ")[1].split()[0] for line in callback_log.lines()} == {*HOOKS, "on_close"} - {"on_recv"}


def test_cb_04_a_storm_is_counted_and_not_written_out(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    """CB-04: A storm of exceptions is counted in full, and logged in part."""
    chunks = 2000
    server = serve(echo.address, on_client_recv=blunder, callbacks=Callbacks(errors="pass"), relay=Relay(buffer_size=1))
    begin = time.monotonic()
    data = b"x" * chunks
    assert exchange(server, data) == ("eof", data)
    taken = time.monotonic() - begin
    assert wait_until_idle(server).stats.callback_errors == chunks
    assert 1 <= len(callback_log.lines("ValueError")) <= 2 + taken


def test_cb_04_a_storm_of_connections_does_not_hide_another_servers_error(
    echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    def of_another_kind(side: Side, data: bytes) -> NoReturn:
        raise LookupError("of the other server")

    stormy, other = serve(echo.address, on_client_recv=blunder), serve(echo.address, on_client_recv=of_another_kind)
    for _ in range(100):
        assert exchange(stormy)[0] == "reset"
    assert exchange(other)[0] == "reset"
    assert len(callback_log.lines("LookupError: of the other server")) == 1
    assert wait_until_idle(stormy).stats.callback_errors == 100


def test_a_storm_of_one_kind_does_not_hide_another_kind(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    def on_client_recv(side: Side, data: bytes) -> NoReturn:
        raise KeyError if data == b"key" else ValueError

    server = serve(echo.address, on_client_recv=on_client_recv)
    for _ in range(20):
        exchange(server)
    exchange(server, b"key")
    assert len(callback_log.lines("raised KeyError")) == 1


def test_a_log_handler_that_raises_does_not_matter(echo: Echo, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("no space left")

    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger, broken = logging.getLogger("interpose.callback"), Broken()
    logger.addHandler(broken)
    try:
        ends = CloseRecorder()
        server = serve(echo.address, on_client_recv=blunder, on_close=ends)
        assert exchange(server)[0] == "reset"
        assert ends.wait().error == "on_client_recv raised ValueError: of the user's"
    finally:
        logger.removeHandler(broken)


def test_an_exception_that_is_raised_again_and_again_does_not_grow(echo: Echo, serve: Serve) -> None:
    error = ValueError("the same object")
    server = serve(
        echo.address, on_client_recv=raising(error), callbacks=Callbacks(errors="pass"), relay=Relay(buffer_size=1)
    )
    assert exchange(server, b"x" * 500)[0] == "eof"
    length, trace = 0, error.__traceback__
    while trace is not None:
        length, trace = length + 1, trace.tb_next
    # Python itself adds a frame for each raise of one object; nothing adds more.
    assert length <= 500


def test_cb_25_a_callback_whose_end_raises(echo: Echo, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """CB-25: A callback object whose `__del__` raises harms nothing."""
    seen: list[Any] = []

    def note(found: Any) -> None:
        seen.append(found.exc_type)

    monkeypatch.setattr(sys, "unraisablehook", note)

    class Last:
        def __call__(self, side: Side, data: bytes) -> None: ...

        def __del__(self) -> None:
            raise ValueError("in __del__")

    server = serve(echo.address, on_client_recv=Last())
    assert exchange(server) == ("eof", b"abc")
    del server.on_client_recv
    assert exchange(server) == ("eof", b"abc")
    assert seen == [ValueError]


def test_an_upstream_that_is_not_there_is_no_callback_error(refusing: Address, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(refusing, on_recv=blunder, on_close=ends)
    assert exchange(server) == ("reset", b"")
    assert ends.wait().reason is CloseReason.REFUSED
    assert wait_until_idle(server).stats.callback_errors == 0


def test_a_peers_reset_is_no_callback_error(serve: Serve) -> None:
    def read_and_reset(sock: socket.socket) -> None:
        sock.recv(1)
        reset(sock)

    ends = CloseRecorder()
    with Served(read_and_reset) as upstream:
        server = serve(upstream.address, on_recv=from_data(lambda data: None), on_close=ends)
        assert exchange(server)[0] == "reset"
    assert ends.wait().reason is CloseReason.UPSTREAM_RESET


def test_cb_05_a_text_that_does_not_come_is_told_of_as_its_callback(
    echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    """CB-05: An exception whose text takes long is reported as its callback that takes long."""
    let_go = threading.Event()

    class SlowTextError(Exception):
        def __str__(self) -> str:
            let_go.wait(30.0)
            return "at last"

    try:
        server = serve(echo.address, on_client_recv=raising(SlowTextError))
        with connect(address_of(server)) as client:
            client.sendall(b"abc")
            line = callback_log.wait("on_client_recv: it has run for")
            assert "in __str__" in line
            let_go.set()
            assert ending(client) == ("reset", b"")
        callback_log.wait("SlowTextError: at last")
    finally:
        let_go.set()
