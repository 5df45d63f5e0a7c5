"""Exceptions of callbacks: whole in the log, and raised out of the server where that is asked for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, Side, TheServer
from support.callbacks import CloseRecorder, without_arguments
from support.deadline import poll
from support.exchanges import exchange, in_thread, served_by_main_loop
from support.peers import Echo


class Keep(logging.Handler):
    """A handler as an error tracker's: it looks at the exception, and formats as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def record(self) -> logging.LogRecord:
        """Return the one record. A thread carries it here, and the client may know of the end before."""
        # A machine that has much else to do makes callbacks slow, which is logged as well.
        (record,) = poll(self._raised, 10.0, "the exception is logged")
        return record

    def _raised(self) -> list[logging.LogRecord]:
        return [one for one in self.records if one.levelno >= logging.ERROR]

    def text(self) -> str:
        """Return the one record as the default formatter shows it."""
        return logging.Formatter().format(self.record())


@pytest.fixture
def kept() -> Iterator[Keep]:
    logger, handler = logging.getLogger("interpose.callback"), Keep()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def in_with(server: TheServer) -> None:
    with server:
        exchange(server)


def by_stop(server: TheServer) -> None:
    exchange(server.start())
    server.stop()


def by_main_loop(server: TheServer) -> None:
    thread = in_thread(lambda: exchange(server))
    try:
        server.main_loop()
    finally:
        thread.join(10.0)


def in_async_with(server: TheServer) -> None:
    async def main() -> None:
        async with server:
            await asyncio.to_thread(exchange, server)

    asyncio.run(main())


def by_serve_forever(server: TheServer) -> None:
    async def main() -> None:
        async with asyncio.timeout(10.0):
            await asyncio.gather(server.serve_forever(), asyncio.to_thread(exchange, server))

    asyncio.run(main())


WAYS = [in_with, by_stop, by_main_loop, in_async_with, by_serve_forever]


def chained(side: Side, data: bytes) -> NoReturn:
    try:
        try:
            raise KeyError("the context")
        except KeyError:
            raise OSError("the cause")  # noqa: B904
    except OSError as error:
        failed = ValueError("the exception")
        failed.add_note("the note")
        raise failed from error


def grouped(side: Side, data: bytes) -> NoReturn:
    raise ExceptionGroup("the group", [ValueError("first inside"), ExceptionGroup("inner", [KeyError("deepest")])])


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (chained, ["the context", "the cause", "direct cause", "ValueError: the exception", "the note"]),
        (grouped, ["the group", "first inside", "inner", "deepest"]),
    ],
)
def test_the_log_has_all_that_led_to_it(
    callback: Callable[..., Any], words: list[str], echo: Echo, serve: Serve, kept: Keep
) -> None:
    exchange(serve(echo.address, on_client_recv=callback))
    text = kept.text()
    for word in words:
        assert word in text, text
    assert "/interpose/" not in text.replace(__file__, "")


def test_the_record_has_the_exception(echo: Echo, serve: Serve, kept: Keep) -> None:
    lanes: list[threading.Thread] = []

    def on_client_recv(side: Side, data: bytes) -> NoReturn:
        lanes.append(threading.current_thread())
        raise LookupError("of the user's")

    exchange(serve(echo.address, on_client_recv=on_client_recv))
    record = kept.record()
    assert record.exc_info is not None
    kind, error, trace = record.exc_info
    assert (kind, str(error)) == (LookupError, "of the user's")
    assert trace is not None
    assert trace.tb_frame.f_code is on_client_recv.__code__
    assert record.threadName == lanes[0].name
    # Once: its text is not there a second time because the exception is.
    assert kept.text().count("raise LookupError") == 1


def test_formatting_asks_a_hostile_exception_for_nothing(echo: Echo, serve: Serve, kept: Keep) -> None:
    asked: list[str] = []

    class HostileError(Exception):
        def __str__(self) -> str:
            asked.append("str")
            raise SystemError

        def __repr__(self) -> str:
            asked.append("repr")
            raise SystemError

    def on_client_recv(side: Side, data: bytes) -> NoReturn:
        raise HostileError

    exchange(serve(echo.address, on_client_recv=on_client_recv))
    before = len(asked)
    assert "HostileError" in kept.text()
    assert len(asked) == before


def deep(side: Side, data: bytes) -> NoReturn:
    error: Exception = ValueError("first")
    for number in range(5000):
        following = ValueError(f"number {number}")
        following.__context__ = error
        error = following
    raise error


def wide(side: Side, data: bytes) -> NoReturn:
    raise ExceptionGroup("many", [ValueError("x" * 1000) for _ in range(5000)])


def long(side: Side, data: bytes) -> NoReturn:
    raise ValueError("x\n" * 100_000)


@pytest.mark.parametrize("callback", [deep, wide, long])
def test_what_is_written_of_it_is_bounded(callback: Callable[..., Any], echo: Echo, serve: Serve, kept: Keep) -> None:
    exchange(serve(echo.address, on_client_recv=callback))
    assert len(kept.text()) < 70_000
    assert f"in {callback.__name__}" in kept.text()


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_assertion_comes_out(way: Callable[[TheServer], None], echo: Echo) -> None:
    def on_client_recv(side: Side, data: bytes) -> None:
        assert data == b"something else", "not what was sent"

    ends = CloseRecorder()
    server = TheServer(
        "", 0, echo.address, on_client_recv=on_client_recv, on_close=ends, callbacks=Callbacks(errors="raise")
    )
    with pytest.raises(AssertionError, match="not what was sent") as raised:
        way(server)
    assert raised.traceback[-1].name == "on_client_recv"
    assert ends.wait().reason is CloseReason.CALLBACK_ERROR
    # Once.
    server.stop()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_comes_out_where_nothing_is_raised(way: Callable[[TheServer], None], echo: Echo) -> None:
    server = TheServer("", 0, echo.address, on_client_recv=lambda side, data: None, callbacks=Callbacks(errors="raise"))
    if way in (by_main_loop, by_serve_forever):
        # They go on until they are stopped.
        server.on_close = without_arguments(lambda: server.stop(0))
    way(server)


def test_several_come_out_as_a_group_and_the_server_serves_on(echo: Echo) -> None:
    def on_client_recv(side: Side, data: bytes) -> None:
        raise ValueError(data.decode())

    server = TheServer("", 0, echo.address, on_client_recv=on_client_recv, callbacks=Callbacks(errors="raise")).start()
    for number in range(40):
        exchange(server, b"%d" % number)
    with pytest.raises(ExceptionGroup, match=r"16 exceptions, and 24 more") as raised:
        server.stop()
    assert [str(one) for one in raised.value.exceptions] == [str(number) for number in range(16)]


def test_an_exception_on_its_way_is_not_masked(echo: Echo) -> None:
    server = TheServer("", 0, echo.address, on_client_recv=chained, callbacks=Callbacks(errors="raise"))
    with pytest.raises(KeyError, match="mine") as raised, server:  # noqa: PT012
        exchange(server)
        raise KeyError("mine")
    assert any("ValueError: the exception" in note for note in raised.value.__notes__)


def test_what_is_no_exception_comes_out_too(echo: Echo) -> None:
    """pytest.fail() and others raise what `except Exception` does not see."""

    def on_client_recv(side: Side, data: bytes) -> None:
        pytest.fail("of the callback's")

    server = TheServer("", 0, echo.address, on_client_recv=on_client_recv, callbacks=Callbacks(errors="raise"))
    with pytest.raises(BaseException, match="of the callback's"):
        in_with(server)


def test_without_being_asked_nothing_comes_out(echo: Echo) -> None:
    server = TheServer("", 0, echo.address, on_client_recv=chained)
    assert served_by_main_loop(server, lambda: exchange(server)) == []
    in_with(TheServer("", 0, echo.address, on_client_recv=chained))
