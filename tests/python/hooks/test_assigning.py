"""Hooks that are assigned and deleted anywhere: in signal handlers, threads and finalizers, also all at once."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import Callbacks, RuntimeStartError, Side, TheServer
from support.addresses import address_of
from support.callbacks import upper, without_arguments
from support.exchanges import exchange, in_thread
from support.peers import Echo, connect
from support.peers import echo as echoed
from support.scripts import passes


def is_called(server: TheServer, echo: Echo) -> bool:
    """Return whether a chunk comes to on_client_recv: `upper` is the only callback of these tests."""
    return exchange(server) == ("eof", b"ABC")


@pytest.mark.skipif(sys.platform == "win32", reason="interval timers")
@pytest.mark.parametrize("started", [False, True], ids=["before the start", "while it serves"])
def test_a_signal_handler_assigns_in_the_middle_of_an_assignment(started: bool, tmp_path: Path) -> None:
    text = """
        import random, signal, sys, time
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        with Echo() as upstream:
            server = TheServer("", 0, upstream.address, on_close=lambda conn: None)
            if sys.argv[1] == "True":
                server.start()
            handled = 0
            def handler(*_):
                global handled
                handled += 1
                if handled % 2:
                    server.on_client_recv = lambda side, data: data.upper()
                else:
                    server.on_client_recv = None
                if handled < 1000:
                    signal.setitimer(signal.ITIMER_REAL, 1e-4 + 4e-4 * random.random())
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
            while handled < 1000:
                server.on_upstream_recv = lambda side, data: None
                server.on_client_recv = None
            server.start()
            given = isinstance(server.on_client_recv, type(handler))
            with connect(server.address) as client:
                print(echo(client, b"abc") == (b"ABC" if given else b"abc"))
            server.stop(0)
    """
    assert passes(tmp_path, text, str(started)) == "True\n"


@pytest.fixture
def switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_threads_that_assign_at_once_leave_what_the_attribute_says(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    for _ in range(60):
        gate = threading.Barrier(2)

        def put(gate: threading.Barrier = gate) -> None:
            gate.wait(10.0)
            server.on_client_recv = upper

        def take(gate: threading.Barrier = gate) -> None:
            gate.wait(10.0)
            server.on_client_recv = None

        for thread in [in_thread(put), in_thread(take)]:
            thread.join(10.0)
        assert is_called(server, echo) is (server.on_client_recv is upper)
        assert ("on_client_recv" in vars(server)) is (server.on_client_recv is upper)


def test_a_finalizer_assigns(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)

    class Last:
        def __call__(self, side: Side, data: bytes) -> None: ...

        def __del__(self) -> None:
            server.on_client_recv = upper

    # Its last reference goes when the next takes its place.
    server.on_upstream_recv = Last()
    server.on_upstream_recv = None
    gc.collect()
    assert is_called(server, echo)


def test_a_finalizer_stops_and_starts(echo: Echo, serve: Serve) -> None:
    server, second = serve(echo.address), TheServer("", 0, echo.address)

    class Last:
        def __call__(self, side: Side, data: bytes) -> None: ...

        def __del__(self) -> None:
            second.start().stop(0)

    server.on_recv = Last()
    del server.on_recv
    gc.collect()
    assert repr(second).endswith("closed>")


def test_an_assignment_that_finds_no_thread_is_undone(
    echo: Echo, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(echo.address)
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with pytest.raises(RuntimeStartError, match="interpose-lane-0"):
            server.on_client_recv = upper
    assert server.on_client_recv is not upper
    assert not is_called(server, echo)
    server.on_client_recv = upper
    assert is_called(server, echo)


def refuse_threads(patch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("interpose-lane"):
            raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", refuse)


@pytest.mark.skipif(sys.platform == "win32", reason="interval timers")
def test_an_assignment_that_a_signal_ends_is_made_or_is_not(echo: Echo, serve: Serve) -> None:
    """An exception of a handler may come at any line of it."""
    server = serve(echo.address, on_close=without_arguments(lambda: None))

    class EndedError(Exception):
        pass

    def end(*_: Any) -> None:
        raise EndedError

    before = signal.signal(signal.SIGALRM, end)
    try:
        for number in range(1, 60):
            try:
                signal.setitimer(signal.ITIMER_REAL, number * 5e-6)
                while True:
                    server.on_client_recv = upper
                    server.on_client_recv = None
            except EndedError:
                pass
            assert is_called(server, echo) is (server.on_client_recv is upper)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_hooks_given_later_see_connections_that_live_without_any(echo: Echo, serve: Serve) -> None:
    """There was no lane when these were accepted."""
    server = serve(echo.address, callbacks=Callbacks(threads=2))
    clients = [connect(address_of(server)) for _ in range(4)]
    for client in clients:
        assert echoed(client, b"abc") == b"abc"
    server.on_client_recv = upper
    for client in clients:
        assert echoed(client, b"abc") == b"ABC"
        client.close()
