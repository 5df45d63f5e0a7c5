"""Callbacks that use the server they are called by: connections through it, its hooks exchanged, locks of others."""

from __future__ import annotations

import functools
import logging
import threading

from conftest import Serve
from interpose import Callbacks, Side, TheServer
from support.addresses import address_of
from support.callbacks import from_data
from support.deadline import poll
from support.exchanges import exchange, in_thread, wait_until_idle
from support.peers import Echo, connect
from support.peers import echo as echoed
from support.rounds import rounds


def test_cb_20_a_connection_through_the_same_server(echo: Echo, serve: Serve) -> None:
    """CB-20: A callback may be a client of its own server.

    As deep as there are threads.
    """
    threads = 6

    def deeper(side: Side, data: bytes) -> bytes:
        left = int(data)
        if left:
            with connect(address_of(server)) as client:
                assert echoed(client, b"%d" % (left - 1)) == b"%d" % (left - 1)
        return data

    server = serve(echo.address, on_client_recv=deeper, callbacks=Callbacks(threads=threads))
    assert exchange(server, b"%d" % (threads - 1)) == ("eof", b"%d" % (threads - 1))
    assert wait_until_idle(server).stats.accepted == threads


def test_cb_26_servers_come_and_go_in_callbacks(echo: Echo, serve: Serve) -> None:
    """CB-26: A callback may start and stop other servers."""
    others: list[TheServer] = []

    def on_client_recv(side: Side, data: bytes) -> bytes:
        while others:
            others.pop().stop()
        others.append(TheServer("", 0, echo.address, on_client_recv=from_data(lambda data: data.upper())).start())
        return b"%d" % address_of(others[0])[1]

    server = serve(echo.address, on_client_recv=on_client_recv)
    for _ in range(20):
        _, port = exchange(server)
        assert exchange(others[0]) == ("eof", b"ABC")
        assert int(port) == address_of(others[0])[1]
    others.pop().stop()


def test_cb_30_exchanged_many_times_under_load(echo: Echo, serve: Serve) -> None:
    """CB-30: Callbacks may be exchanged, taken away and assigned again under load; no byte is lost or mixed.

    Each chunk has one answer whole, of one of the versions there were.
    """
    size, swaps = 500, rounds(2_000)
    versions = [from_data(lambda data: b"1" * len(data)), from_data(lambda data: b"2" * len(data))]
    server = serve(echo.address, on_client_recv=versions[0])
    seen: list[set[int]] = [set(), set()]
    over = threading.Event()

    def load(marks: set[int]) -> None:
        with connect(address_of(server)) as client:
            while not over.is_set():
                answer = set(echoed(client, b"0" * size))
                assert len(answer) == 1
                marks |= answer

    threads = [in_thread(functools.partial(load, marks)) for marks in seen]
    for number in range(swaps):
        server.on_client_recv = versions[number % 2]
    poll(lambda: all(len(marks) == 2 for marks in seen), 20.0, f"both versions were in force: {seen}")
    over.set()
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()
    assert seen == [set(b"12"), set(b"12")]
    assert wait_until_idle(server).stats.callback_errors == 0


def test_cb_30_taken_away_and_given_again_under_load(echo: Echo, serve: Serve) -> None:
    """The connections move from the lane to the native side and back, and lose nothing."""

    def mark(side: Side, data: bytes) -> bytes:
        return b"1" * len(data)

    server = serve(echo.address, on_client_recv=mark)
    over = threading.Event()
    seen: list[set[int]] = [set(), set()]

    def load(marks: set[int]) -> None:
        with connect(address_of(server)) as client:
            while not over.is_set():
                answer = set(echoed(client, b"0" * 500))
                assert len(answer) == 1
                marks |= answer

    threads = [in_thread(functools.partial(load, marks)) for marks in seen]
    for _ in range(1000):
        del server.on_client_recv
        server.on_client_recv = mark
    poll(lambda: all(set(b"1") <= marks for marks in seen), 20.0, "the callback is in force")
    del server.on_client_recv
    poll(lambda: all(set(b"0") <= marks for marks in seen), 20.0, "it is not")
    over.set()
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()
    assert wait_until_idle(server).stats.callback_errors == 0


def test_a_callback_replaces_itself(echo: Echo, serve: Serve) -> None:
    def second(side: Side, data: bytes) -> bytes:
        return data[::-1]

    def first(side: Side, data: bytes) -> bytes:
        server.on_client_recv = second
        return data.upper()

    server = serve(echo.address, on_client_recv=first)
    with connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"ABC"
        assert echoed(client, b"abc") == b"cba"


def test_a_callback_takes_itself_away(echo: Echo, serve: Serve) -> None:
    def once(side: Side, data: bytes) -> bytes:
        del server.on_recv
        return data.upper()

    server = serve(echo.address, on_recv=once)
    with connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"ABC"
        assert echoed(client, b"abc") == b"abc"


def test_cb_24_a_lock_that_a_log_handler_takes_too(echo: Echo, serve: Serve) -> None:
    """CB-24: A lock of the script's, taken in a log handler too, cannot lock the server up.

    Nothing of ours is locked while the interpreter is waited for, so no two locks can be taken crosswise.
    """
    lock = threading.RLock()
    handled: list[str] = []

    class Locking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with lock:
                handled.append(record.getMessage())

    logger, handler = logging.getLogger("interpose"), Locking()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:

        def on_client_recv(side: Side, data: bytes) -> bytes:
            with lock:
                assert exchange(plain) == ("eof", b"abc")
                assert server.stats.active == 1
                return repr(server.connections[0]).encode()

        plain = serve(echo.address)
        server = serve(echo.address, on_client_recv=on_client_recv)
        for _ in range(20):
            assert exchange(server)[1].startswith(b"<Connection ")
        assert handled
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
