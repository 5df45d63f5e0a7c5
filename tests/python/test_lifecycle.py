"""Start and stop: always possible, never twice, from anywhere; and nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import Serve
from interpose import CloseReason, ServerStoppedError, TheServer
from support.addresses import address_of, refuses
from support.background_traffic import BackgroundTraffic
from support.deadline import poll
from support.peers import Echo, connect, ending, read_exactly
from support.peers import echo as echoed
from support.scripts import passes


def test_stop_before_start() -> None:
    server = TheServer("", 0, "example.org:80")
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 1.0
    assert refuses(address_of(server))


def test_stop_twice_and_with_another_drain() -> None:
    server = TheServer("", 0, "example.org:80").start()
    server.stop()
    server.stop(0)
    server.stop(100)


def test_start_twice_is_one_start(echo: Echo) -> None:
    server = TheServer("", 0, echo.address)
    assert server.start() is server.start() is server
    with server, connect(address_of(server)) as client:
        assert echoed(client, b"once") == b"once"


def test_many_threads_stop_at_once(echo: Echo) -> None:
    server = TheServer("", 0, echo.address).start()
    barrier = threading.Barrier(8)
    ended: list[float] = []

    def stop() -> None:
        barrier.wait(10)
        begin = time.monotonic()
        server.stop(0.3)
        ended.append(time.monotonic() - begin)

    with connect(address_of(server)) as client:
        echoed(client, b"x")
        threads = [threading.Thread(target=stop) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(ended) == 8
    assert max(ended) < 1.3
    assert server.stats.closed[CloseReason.STOPPED] == 1


def test_a_shorter_drain_wins(echo: Echo) -> None:
    server = TheServer("", 0, echo.address).start()
    with connect(address_of(server)) as client:
        echoed(client, b"x")
        long = threading.Thread(target=server.stop, args=(60,))
        long.start()
        poll(lambda: "stopping" in repr(server), 10.0, "the drain begins")
        begin = time.monotonic()
        server.stop(0)
        long.join(5)
        assert not long.is_alive()
        assert time.monotonic() - begin < 1.0
        assert ending(client)[0] == "reset"


@pytest.mark.parametrize("use", ["start", "main_loop", "__enter__"])
def test_use_after_stop(use: str) -> None:
    server = TheServer("", 0, "example.org:80").start()
    server.stop()
    with pytest.raises(ServerStoppedError, match="server: it was stopped; make a new TheServer"):
        getattr(server, use)()


def test_a_stopped_server_still_says_what_it_did(echo: Echo) -> None:
    with TheServer("", 0, echo.address) as server, connect(address_of(server)) as client:
        echoed(client, b"12345")
    assert server.stats.to_client.delivered == 5
    assert address_of(server)[1] > 0
    assert server.connections == []


def test_a_drain_loses_nothing(echo: Echo) -> None:
    """Twenty transfers are in the middle when the stop begins; all of them finish, and nobody new gets in."""
    half = os.urandom(300_000)
    server = TheServer("", 0, echo.address).start()
    clients = [connect(address_of(server), 30.0) for _ in range(20)]
    for client in clients:
        assert echoed(client, half) == half
    stopping = threading.Thread(target=server.stop, args=(30,))
    stopping.start()
    poll(lambda: refuses(address_of(server)), 10.0, "the listener is closed")
    assert stopping.is_alive()
    for client in clients:
        client.sendall(half)
        client.shutdown(socket.SHUT_WR)
        back = ending(client)
        assert (back[0], hashlib.sha256(back[1]).digest()) == ("eof", hashlib.sha256(half).digest())
        client.close()
    stopping.join(10)
    assert not stopping.is_alive()
    stats = server.stats
    assert stats.closed[CloseReason.FINISHED] == stats.accepted
    assert stats.to_client.undeliverable == stats.to_upstream.undeliverable == 0


def test_the_drains_end_resets_what_is_left(echo: Echo) -> None:
    server = TheServer("", 0, echo.address).start()
    with connect(address_of(server)) as endless:
        echoed(endless, b"x")
        begin = time.monotonic()
        server.stop(0.3)
        assert 0.25 < time.monotonic() - begin < 1.3
        assert ending(endless)[0] == "reset"
    assert server.stats.closed[CloseReason.STOPPED] == 1


def test_stop_at_once_under_load() -> None:
    traffic = BackgroundTraffic(clients=8)
    begin = time.monotonic()
    traffic.server.stop(0)
    assert time.monotonic() - begin < 1.0
    assert traffic.server.stats.active == 0
    traffic.upstream.close()


def test_clients_in_the_backlog_are_served_by_a_drain(echo: Echo) -> None:
    server = TheServer("", 0, echo.address)
    clients = [connect(address_of(server)) for _ in range(50)]
    for client in clients:
        client.sendall(b"queued")
        client.shutdown(socket.SHUT_WR)
    server.start()
    server.stop(10)
    assert [ending(client) for client in clients] == [("eof", b"queued")] * 50
    for client in clients:
        client.close()


def test_with_keeps_the_exception_and_stops_at_once(echo: Echo) -> None:
    begin = time.monotonic()
    server = TheServer("", 0, echo.address)
    client = connect(address_of(server))
    with client, pytest.raises(KeyError, match="mine"), server:  # noqa: PT012
        echoed(client, b"x")
        raise KeyError("mine")
    assert time.monotonic() - begin < 2.0
    assert repr(server).endswith("closed>")
    assert server.stats.closed[CloseReason.STOPPED] == 1


def test_a_forgotten_server_warns_and_ends(echo: Echo) -> None:
    server = TheServer("", 0, echo.address).start()
    address = address_of(server)
    with connect(address) as client:
        echoed(client, b"x")
        begin = time.monotonic()
        told = rf"unstopped <TheServer 127\.0\.0\.1:{address[1]} .*; call stop\(\)"
        with pytest.warns(ResourceWarning, match=told):  # noqa: PT031 (forgetting takes two)
            del server
            gc.collect()
        assert time.monotonic() - begin < 1.0
        assert ending(client)[0] == "reset"
    poll(lambda: refuses(address), 10.0, "the listener is closed")


def test_a_forgotten_server_that_never_started_is_silent() -> None:
    server = TheServer("", 0, "example.org:80")
    address = address_of(server)
    del server
    gc.collect()
    poll(lambda: refuses(address), 10.0, "the listener is closed")


def test_main_loop_off_the_main_thread(echo: Echo) -> None:
    server = TheServer("", 0, echo.address)
    thread = threading.Thread(target=server.main_loop)
    thread.start()
    with connect(address_of(server)) as client:
        assert echoed(client, b"elsewhere") == b"elsewhere"
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_main_loop_of_a_started_server_waits_for_its_stop(serve: Serve) -> None:
    server = serve("example.org:80")

    def loop() -> None:
        # A thread that comes too late is told so.
        with contextlib.suppress(ServerStoppedError):
            server.main_loop()

    threads = [threading.Thread(target=loop) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.stop()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_several_servers_share_the_threads(echo: Echo, serve: Serve) -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc to count threads in")
    serve(echo.address)
    before = len(os.listdir("/proc/self/task"))
    servers = [serve(echo.address) for _ in range(5)]
    assert len(os.listdir("/proc/self/task")) == before
    for server in servers:
        with connect(address_of(server)) as client:
            assert echoed(client, b"shared") == b"shared"


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_two_hundred_lives_leave_nothing_behind(tmp_path: Path) -> None:
    text = """
        import os
        from support.deadline import poll
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        def used():
            return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        def live(times):
            for _ in range(times):
                with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
                    assert echo(client, b"x") == b"x"
        with Echo() as upstream:
            live(5)
            poll(lambda: len(upstream._selector.get_map()) == 2, 10, "the upstream is idle")
            before = used()
            live(200)
            poll(lambda: used() == before, 10, f"back from {used()} to {before}")
    """
    passes(tmp_path, text, seconds=60.0)


def test_a_port_is_free_again_after_the_stop(echo: Echo) -> None:
    server = TheServer("", 0, echo.address).start()
    with connect(address_of(server)) as client:
        echoed(client, b"x")
        server.stop(0)
    with TheServer("", address_of(server)[1], echo.address) as again, connect(address_of(again)) as client:
        client.sendall(b"again")
        assert read_exactly(client, 5) == b"again"
