"""Faults that change while a server runs: exactly, and by several at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from interpose import CloseReason, ConfigError, TheServer, faults, framing
from support.peers import Echo, bound_address, connect, echo, ending, listener, read_exactly

DEADLINE = 10.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def all_within(sock: socket.socket, seconds: float) -> bytes:
    sock.settimeout(seconds)
    came = b""
    with contextlib.suppress(TimeoutError):
        while more := sock.recv(100):
            came += more
    return came


@pytest.mark.parametrize("direction", ["to_upstream", "to_client"])
def test_a_cut_that_comes_later_counts_what_went_out(upstream: Echo, direction: Any) -> None:
    late = faults.Latency(60, direction=direction)
    with TheServer("", 0, upstream.address, faults=[late]) as server, connect(server.address) as client:
        client.sendall(b"0123456789")
        until(lambda: bool(server.connections) and getattr(server.connections[0], direction).read == 10)
        conn = server.connections[0]
        server.add_fault(faults.Cut(4, direction=direction))
        server.remove_fault(late)
        assert ending(client) == ("eof", b"0123" if direction == "to_client" else b"")
        client.close()
        until(lambda: conn.reason is not None)
        assert (conn.reason, getattr(conn, direction).delivered) == (CloseReason.FAULT, 4)


def test_bytes_that_an_async_callback_decides_about_have_not_passed(upstream: Echo) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    async def on_client_recv(side: object, data: bytes) -> None:
        asked.set()
        await asyncio.to_thread(goes_on.wait, DEADLINE)

    server = TheServer("", 0, upstream.address, on_client_recv=on_client_recv)
    with server, connect(server.address) as client:
        client.sendall(b"0123456789")
        assert asked.wait(DEADLINE)
        conn = server.connections[0]
        server.add_fault(faults.Cut(4, direction="to_upstream"))
        goes_on.set()
        assert ending(client)[0] == "eof"
        client.close()
        until(lambda: conn.reason is not None)
        assert conn.to_upstream.delivered == 4


def test_the_beginning_of_a_message_has_not_passed(upstream: Echo) -> None:
    def on_client_recv(side: object, data: bytes) -> None:
        """Have the direction framed."""

    server = TheServer("", 0, upstream.address, on_client_recv=on_client_recv, framing=framing.lines())
    with server, connect(server.address) as client:
        client.sendall(b"01\n34")
        assert read_exactly(client, 3) == b"01\n"
        until(lambda: server.connections[0].to_upstream.read == 5)
        conn = server.connections[0]
        server.add_fault(faults.Cut(4, direction="to_upstream"))
        client.sendall(b"5\n")
        assert ending(client)[0] == "eof"
        client.close()
        until(lambda: conn.reason is not None)
        assert conn.to_upstream.delivered == 4


def test_what_a_delay_holds_goes_at_once_and_in_order_when_it_is_taken_away(upstream: Echo) -> None:
    late = faults.Latency(60, direction="to_upstream")
    with TheServer("", 0, upstream.address, faults=[late]) as server, connect(server.address) as client:
        for number in range(10):
            client.sendall(b"%d" % number)
            until(lambda: bool(server.connections) and server.connections[0].to_upstream.read > number)  # noqa: B023
        server.remove_fault(late)
        assert read_exactly(client, 10) == b"0123456789"
        assert echo(client, b"behind") == b"behind"


@pytest.mark.parametrize(
    "fault",
    [faults.Bandwidth(1, burst=1), faults.Slicer(1, delay=60), faults.Latency(60), faults.Flap([0.001, 60], "link")],
    ids=["bandwidth", "slicer", "latency", "flap"],
)
def test_a_fault_that_waits_for_its_time_takes_no_processor(upstream: Echo, fault: faults.Fault) -> None:
    with TheServer("", 0, upstream.address, faults=[fault], drain=0) as server, connect(server.address) as client:
        time.sleep(0.01)  # the length of a part of the schedule
        client.sendall(b"0123456789")
        until(lambda: bool(server.connections) and server.connections[0].to_upstream.read == 10)
        used = time.process_time()
        assert len(all_within(client, 0.4)) <= 2, "some may come at once"
        assert time.process_time() - used < 0.2


def one_of_own() -> faults.Fault:
    class Own(faults.Scripted):
        def on_data(self, side: Any, data: bytes, actions: faults.Actions) -> None:  # noqa: ARG002
            actions.send(data.upper())

    return Own(direction="to_client")


@pytest.mark.skipif(sys.platform == "win32", reason="a signal of the user's")
@pytest.mark.parametrize("rounds", [1, 3])
def test_a_signal_handler_changes_faults_within_another_change(upstream: Echo, rounds: int) -> None:
    own, stay = one_of_own(), faults.SlowClose(0.001)
    more = [faults.SlowClose(0.001) for _ in range(rounds)]
    with TheServer("", 0, upstream.address, faults=[stay]) as server:
        left, decide = list(more), server._decide  # pyright: ignore[reportPrivateUsage]

        def handler(number: int, frame: object) -> None:
            if left:
                server.add_fault(left.pop(0))

        def interrupted(*arguments: Any) -> None:
            # Between the look at what is in force and the change.
            if left:
                signal.raise_signal(signal.SIGUSR1)
            decide(*arguments)

        before = signal.signal(signal.SIGUSR1, handler)
        server._decide = interrupted  # pyright: ignore[reportPrivateUsage]
        try:
            server.add_fault(own)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert not left
        assert set(server.faults) == {own, stay, *more}
        with connect(server.address) as client:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"HELLO"
        server.remove_fault(own)
        assert set(server.faults) == {stay, *more}


def test_threads_that_change_faults_lose_none_of_them(upstream: Echo) -> None:
    kept: list[list[faults.Fault]] = [[one_of_own() for _ in range(5)] for _ in range(6)]
    with TheServer("", 0, upstream.address) as server:

        def change(own: list[faults.Fault]) -> None:
            for one in own:
                passing = faults.SlowClose(0.001)
                server.add_fault(passing, one)
                with server.fault(faults.SlowClose(0.001)):
                    server.remove_fault(passing)

        threads = [threading.Thread(target=change, args=(own,)) for own in kept]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert set(server.faults) == {one for own in kept for one in own}
        for own in kept:
            assert [one for one in server.faults if one in own] == own
        with connect(server.address) as client:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"HELLO"


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets")
@pytest.mark.parametrize("refusing", [faults.RefuseConnect(), faults.Flap(60), faults.Flap(60, down="entrance")])
def test_a_socket_of_others_cannot_refuse_and_a_change_that_fails_leaves_nothing(
    upstream: Echo, refusing: faults.Fault
) -> None:
    wanted = (
        r"^faults: (RefuseConnect|Flap)\(.*\) refuses clients, and .* is a socket that this process was started with"
    )
    with listener() as given:
        name = f"fd:{given.fileno()}"
        with pytest.raises(ConfigError, match=wanted):
            TheServer(name, forward_to=upstream.address, faults=[refusing])
        stay = faults.SlowClose(0.001)
        with TheServer(name, forward_to=upstream.address, faults=[stay]) as server:
            own = one_of_own()
            gone = weakref.ref(own)
            with pytest.raises(ConfigError, match=wanted):
                server.add_fault(own, refusing)
            assert server.faults == (stay,)
            del own
            gc.collect()
            assert gone() is None
            with connect(bound_address(given)) as client:
                assert echo(client, b"hello") == b"hello"
            server.add_fault(faults.Flap(60, down="link"))


def test_an_outage_is_a_strike_when_it_begins(upstream: Echo) -> None:
    flap = faults.Flap([0.1, 0.05], down="link")
    with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
        assert echo(client, b"x") == b"x"
        with server.fault(flap):
            assert flap.strikes == 0
            begun = time.monotonic()
            # Nothing passes: the link is down all the same. Each direction of a connection is struck.
            until(lambda: flap.strikes >= 2)
            assert time.monotonic() - begun >= 0.09
            until(lambda: flap.strikes >= 6)
            assert time.monotonic() - begun >= 0.35
