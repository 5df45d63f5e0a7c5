"""Leaving a proxy leaves nothing behind, whatever its clients do. How long it takes, benches.fixture measures."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from interpose import Connection, Side, faults
from interpose.testing import Proxy
from support.deadline import poll
from support.peers import Address, Echo, connect, ending, listener, read_exactly

Leave = Callable[[Proxy, list[socket.socket]], None]


def _asked(clients: list[socket.socket], question: bytes = b"hello") -> None:
    for client in clients:
        client.sendall(question)
        assert read_exactly(client, len(question)) == question


def _fill(clients: list[socket.socket]) -> None:
    for client in clients:
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            while True:
                client.sendall(bytes(1 << 20))


def _pool(_: Proxy, clients: list[socket.socket]) -> None:
    _asked(clients)


def _unread(_: Proxy, clients: list[socket.socket]) -> None:
    _asked(clients)
    _fill(clients[:1])


def _half_open(proxy: Proxy, clients: list[socket.socket]) -> None:
    with proxy.fault(faults.Stall(direction="to_client")):
        for client in clients:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
        proxy.wait_for_connections(len(clients))
        proxy.wait_for(b"hello")


def _gone(_: Proxy, clients: list[socket.socket]) -> None:
    _asked(clients)
    for client in clients:
        client.close()


def _paused(proxy: Proxy, clients: list[socket.socket]) -> None:
    _asked(clients)
    proxy.pause()
    for client in clients:
        client.sendall(b"question")


def _delayed(proxy: Proxy, clients: list[socket.socket]) -> None:
    _asked(clients)
    proxy.add(faults.Latency(60))
    for client in clients:
        client.sendall(b"question")


def _refused(proxy: Proxy, clients: list[socket.socket]) -> None:
    _asked(clients)
    proxy.refuse()


def _connecting(proxy: Proxy, clients: list[socket.socket]) -> None:
    _asked(clients)
    proxy.add(faults.SlowConnect(60))
    clients.extend(connect(proxy.address) for _ in range(2))
    proxy.wait_for_connections(len(clients))


# What clients do when the proxy is left, and whether they are ended in order.
LEAVES: dict[str, tuple[Leave, bool]] = {
    "open pool": (_pool, True),
    "unread": (_unread, False),
    "half open": (_half_open, False),
    "gone": (_gone, False),
    "paused": (_paused, False),
    "delayed": (_delayed, False),
    "refused": (_refused, True),
    "connecting": (_connecting, False),
}


def _kept() -> tuple[int, int, int]:
    """Return the number of descriptors, of threads, and of those threads that Python knows."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), threading.active_count()


def _same(_: Side, data: bytes) -> bytes:
    return data


def _closed(_: Connection) -> None:
    """Be called, as hooks of a test are."""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("with_callbacks", [False, True], ids=["native", "callbacks"])
@pytest.mark.parametrize("leaves", LEAVES)
def test_nothing_is_left_whatever_clients_do(echo: Echo, leaves: str, with_callbacks: bool) -> None:
    leave, is_in_order = LEAVES[leaves]

    def once() -> None:
        proxy = Proxy(echo.address).start()
        if with_callbacks:
            proxy.on_recv, proxy.on_close = _same, _closed
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(proxy.address)) for _ in range(4)]
            leave(proxy, clients)
            for client in clients:
                stack.callback(client.close)
            proxy.stop()
            assert proxy.server.connections == []
            for client in clients if is_in_order else ():
                assert client.recv(1) == b"", "it is ended in order"
            with pytest.raises(ConnectionRefusedError):
                connect(proxy.address)

    once()
    before = _kept()
    for _ in range(3):
        once()
    poll(lambda: all(now <= then for now, then in zip(_kept(), before, strict=True)), 10, f"no more than {before}")


@pytest.fixture
def silent() -> Iterator[Address]:
    """A server that accepts, and does nothing ever."""
    with listener() as server:
        yield server.getsockname()


def test_an_upstream_that_never_reads_is_left_too(make: Callable[..., Proxy], silent: Address) -> None:
    proxy = make(silent)
    with connect(proxy.address) as client:
        _fill([client])
        proxy.stop()
        assert proxy.server.connections == []
        assert ending(client)[0] in ("eof", "reset")


def test_an_upstream_that_has_ended_its_direction_is_left_too(make: Callable[..., Proxy]) -> None:
    with listener() as server:
        proxy = make(server.getsockname())
        with connect(proxy.address) as client:
            upstream, _ = server.accept()
            with upstream:
                upstream.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
                proxy.stop()
                assert proxy.server.connections == []
                upstream.settimeout(10)
                assert upstream.recv(1) == b"", "it is ended in order"
