"""Callbacks that come late: given while connections live, or still due when the server stops."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest
from conftest import Serve
from interpose import Connection, LaneError, Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import wait_until_idle
from support.peers import Echo, connect, echo
from support.scripts import passes


def test_the_first_callback_sees_connections_that_live_already() -> None:
    seen: list[tuple[bool, bytes]] = []

    def see(side: Side, data: bytes) -> None:
        seen.append((side.is_client, data))

    with Echo() as upstream, TheServer("", 0, upstream.address) as server, connect(address_of(server)) as client:
        assert echo(client, b"before") == b"before"
        server.on_recv = see
        assert echo(client, b"after") == b"after"
        del server.on_recv
        assert echo(client, b"again") == b"again"
    assert seen == [(True, b"after"), (False, b"after")]


def test_the_first_callback_during_a_main_loop(tmp_path: Path) -> None:
    text = """
        import threading
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        with Echo() as upstream:
            server = TheServer("", 0, upstream.address)
            def steer():
                with connect(server.address) as client:
                    print(echo(client, b"before"))
                    server.on_client_recv = lambda side, data: data.upper()
                    print(echo(client, b"after"))
                server.stop()
            threading.Thread(target=steer).start()
            server.main_loop()
    """
    assert passes(tmp_path, text) == "b'before'\nb'AFTER'\n"


def test_every_end_is_told_though_that_takes_longer_than_the_stop(echo: Echo) -> None:
    """Three seconds of on_close wait in the lane when the server is stopped at once."""
    count = 150
    told: list[int] = []

    def slow(conn: Connection) -> None:
        time.sleep(0.02)  # the work of the callback; nothing waits for anything here
        told.append(conn.id)

    server = TheServer("", 0, echo.address, on_close=slow).start()
    with contextlib.ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(connect(address_of(server)))
        poll(lambda: server.stats.active == count, 10, "all are there")
        begin = time.monotonic()
        server.stop(0)
        assert time.monotonic() - begin < 2.5
    poll(lambda: len(told) == count, 20, "every end was told")
    assert sorted(told) == list(range(1, count + 1))


def test_main_loop_in_a_callback_leaves_the_other_server_alone(serve: Serve, echo: Echo) -> None:
    other = TheServer("", 0, echo.address)
    raised: list[BaseException] = []

    def run(conn: Connection) -> None:
        try:
            other.main_loop()
        except LaneError as error:
            raised.append(error)

    server = serve(echo.address, on_accept=run)
    with connect(address_of(server)):
        poll(lambda: raised, 5, "it is refused")
    wait_until_idle(server)
    with other.start(), connect(address_of(other)):
        poll(lambda: other.stats.active == 1, 5, "the other one serves")


@pytest.mark.parametrize("native", [False, True], ids=["callbacks", "native direction"])
def test_other_threads_get_the_interpreter(native: bool) -> None:
    """A lane that is busy all the time lets it go: a thread that counts gets on."""
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1
            done.wait(0.0001)

    def seen(side: Side, data: bytes) -> None: ...

    hook = "on_client_recv" if native else "on_recv"
    with Echo() as upstream, TheServer("", 0, upstream.address, **{hook: seen}) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=count)
        thread.start()
        with connect(address_of(server)) as client:
            sender = threading.Thread(target=client.sendall, args=(bytes(64 << 20),))
            sender.start()
            left = 64 << 20
            while left:
                left -= len(client.recv(1 << 20))
            sender.join(20)
        done.set()
        thread.join(20)
    assert counted[0] > 10
