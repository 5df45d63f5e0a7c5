"""Callbacks that take long, or do not return at all: they hold up their own lane, and nothing else."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, Connection, Relay, Side, TheServer
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import from_data
from support.deadline import poll
from support.exchanges import exchange
from support.heavy_load import upstream_process
from support.peers import Echo, connect, ending
from support.peers import echo as echoed
from support.processes import Child, run
from support.scripts import python_argv


class Stuck:
    """A callback that waits, for the client that says so, until the test is over."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.left = threading.Event()

    def on_client_recv(self, side: Side, data: bytes) -> None:
        if data == b"stick":
            self.entered.set()
            self.wait_inside()
            self.left.set()

    def wait_inside(self) -> None:
        self.let_go.wait(30.0)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    made = Stuck()
    yield made
    made.let_go.set()
    if made.entered.is_set():
        assert made.left.wait(10.0)


def stick(server: TheServer, stuck: Stuck) -> Any:
    client = connect(address_of(server))
    client.sendall(b"stick")
    assert stuck.entered.wait(10.0)
    return client


def test_cb_09_stop_returns_though_a_callback_does_not(stuck: Stuck, echo: Echo, serve: Serve) -> None:
    """CB-09: stop() returns in time though a callback does not."""
    server = serve(echo.address, on_client_recv=stuck.on_client_recv)
    with stick(server, stuck):
        begin = time.monotonic()
        server.stop(0)
        assert time.monotonic() - begin < 2.0


def test_cb_09_stop_with_a_drain_returns_within_it_and_a_second(stuck: Stuck, echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_client_recv=stuck.on_client_recv)
    with stick(server, stuck):
        begin = time.monotonic()
        server.stop(0.5)
        assert time.monotonic() - begin < 2.5


def test_the_connection_ends_when_the_callback_returns_after_the_stop(stuck: Stuck, echo: Echo, serve: Serve) -> None:
    ends: list[Connection] = []
    server = serve(echo.address, on_client_recv=stuck.on_client_recv, on_close=ends.append)
    with stick(server, stuck) as client:
        server.stop(0)
        stuck.let_go.set()
        assert ending(client) == ("reset", b"")
        poll(lambda: ends, 10.0, "on_close was called")
        assert ends[0].reason is CloseReason.STOPPED
        poll(lambda: repr(server).endswith("closed>"), 10.0, "it is closed")


def test_cb_08_others_go_on(stuck: Stuck, echo: Echo, serve: Serve) -> None:
    """CB-08: A callback that does not return holds up its own lane only, and is reported with its stack.

    Another server's callbacks, native connections of another, and native ones of the same.
    """
    server = serve(echo.address, on_client_recv=stuck.on_client_recv)
    hooked, native = serve(echo.address, on_recv=from_data(lambda data: data.upper())), serve(echo.address)
    with connect(address_of(server)) as native_one:
        assert echoed(native_one, b"x") == b"x"
        server.connections[0].passthrough()
        assert echoed(native_one, b"x") == b"x"
        with stick(server, stuck):
            for _ in range(100):
                assert exchange(hooked) == ("eof", b"ABC")
                assert exchange(native) == ("eof", b"abc")
                assert echoed(native_one, b"x") == b"x"
            assert server.stats.active == 2
            assert len(server.connections) == 2


def test_cb_08_another_lane_of_the_same_server_goes_on(stuck: Stuck, echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_client_recv=stuck.on_client_recv, callbacks=Callbacks(threads=2))
    with stick(server, stuck), connect(address_of(server)) as client:
        for _ in range(20):
            assert echoed(client, b"abc") == b"abc"


def test_cb_08_it_is_told_of_by_name_with_its_stack_once(
    stuck: Stuck, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    server = serve(echo.address, on_client_recv=stuck.on_client_recv)
    begin = time.monotonic()
    with stick(server, stuck):
        line = callback_log.wait("on_client_recv: it has run for")
        assert 0.9 <= time.monotonic() - begin < 5.0
        first, *stack = line.splitlines()
        assert "and the other connections of its lane wait for it" in first
        places = [place for place in stack if place.startswith("  File")]
        assert [place.rpartition(" ")[2] for place in places[:2]] == ["on_client_recv", "wait_inside"]
        assert f'File "{__file__}"' in places[0]
        stuck.let_go.set()
        assert stuck.left.wait(10.0)
        # Told of once while it ran; that it was slow is told of when it has returned.
        assert "it took" in callback_log.wait("on_client_recv: it took")
    assert len(callback_log.lines("it has run for")) == 1


def test_a_slow_one_is_told_of_once(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    def slow(side: Side, data: bytes) -> None:
        time.sleep(0.12)  # what is told of

    server = serve(echo.address, on_client_recv=slow, on_upstream_recv=slow)
    with connect(address_of(server)) as client:
        for _ in range(2):
            assert echoed(client, b"abc") == b"abc"
    callback_log.wait("on_upstream_recv: it took")
    (line,) = callback_log.lines("on_client_recv: it took")
    assert " ms, and the other connections of its lane waited; do slow work in a thread" in line
    assert len(callback_log.lines("it took")) == 2


MEASURE = """
    import json, select, sys, time
    from support.peers import connect, echo
    hooked, native = ((host, port) for host, port in json.loads(sys.argv[1]))
    with connect(native) as free, connect(hooked) as held:
        for _ in range(200):
            assert echo(free, b"warm") == b"warm"
        held.sendall(b"stick")
        begin, count, slowest = time.monotonic(), 0, 0.0
        while not select.select([held], [], [], 0)[0]:
            before = time.monotonic()
            assert echo(free, b"ping") == b"ping"
            slowest = max(slowest, time.monotonic() - before)
            count += 1
        print(json.dumps([time.monotonic() - begin, count, slowest]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="usleep")
def test_cb_10_one_that_keeps_the_interpreter_for_itself_holds_up_no_native_connection(
    serve: Serve, tmp_path: Path
) -> None:
    """CB-10: A callback that keeps the GIL holds up no native connection.

    In C, without releasing the GIL: no Python of this process runs meanwhile, so another one measures.
    """
    import ctypes

    library = ctypes.PyDLL(None)
    seconds = 1.0

    def hold(side: Side, data: bytes) -> None:
        for _ in range(5):
            # Less than a second each: more is not allowed everywhere.
            library.usleep(int(seconds / 5 * 1e6))

    load, address = upstream_process(tmp_path)
    with load:
        hooked, native = serve(address, on_client_recv=hold), serve(address)
        argv = python_argv(MEASURE, json.dumps([address_of(hooked), address_of(native)]))
        taken, count, slowest = json.loads(run(argv, tmp_path, seconds=60.0))
    assert taken >= seconds
    # Thousands, on an idle machine.
    assert count > 200
    assert slowest < seconds / 2


@pytest.mark.skipif(sys.platform == "win32", reason="sessions")
def test_py_13_python_that_never_rests_holds_up_no_native_connection(echo: Echo, tmp_path: Path) -> None:
    """PY-13: Python code that never rests holds up no native connection.

    New ones included, and beside a lane that is stuck. No other thread there gets to run Python meanwhile.
    """
    text = """
        import sys, threading
        from interpose import TheServer
        target = sys.argv[1]
        def stick(conn):
            entered.set()
            threading.Event().wait()
        entered = threading.Event()
        stuck = TheServer("", 0, target, on_accept=stick).start()
        from support.peers import connect
        client = connect(stuck.address)
        entered.wait()
        with TheServer("", 0, target) as server:
            sys.setswitchinterval(1e6)
            print("at", server.address[1], flush=True)
            while True:
                pass
    """
    host, port = echo.address
    with Child(python_argv(text, f"{host}:{port}"), tmp_path) as child:
        address = (host, int(child.wait_for(r"^at (\d+)$")[1]))
        with connect(address) as client:
            for number in range(200):
                data = b"%d" % number * 100
                assert echoed(client, data) == data
                with connect(address) as other:
                    assert echoed(other, data) == data
        assert child.popen.poll() is None


def test_slow_callbacks_of_one_connection_let_another_through_after_five_milliseconds(echo: Echo, serve: Serve) -> None:
    """Each takes a millisecond at least, so that five of them are a turn."""
    seen: list[bytes] = []
    with ExitStack() as clients:

        def on_client_recv(_: Side, data: bytes) -> None:
            seen.append(data)
            if data == b".":
                time.sleep(0.001)
                if len(seen) == 20:
                    second.sendall(b"x")

        server = serve(echo.address, on_client_recv=on_client_recv, relay=Relay(buffer_size=1))
        first, second = (clients.enter_context(connect(address_of(server))) for _ in range(2))
        assert echoed(second, b"!") == b"!"
        first.sendall(b"." * 500)
        assert second.recv(1) == b"x"
        ahead = seen[20:].index(b"x")
        assert ahead < 10, f"{ahead} chunks of the first came before the second's"
