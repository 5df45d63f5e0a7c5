"""What the old tutorial's proxy could not do: many connections, slow peers, peers that reset."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest
from conftest import Serve
from interpose import CloseReason
from support.addresses import address_of
from support.deadline import poll
from support.peers import Echo, Served, connect, ending, reset
from support.peers import echo as echoed
from support.scripts import passes


def test_more_connections_than_select_can_watch(tmp_path: Path) -> None:
    # Four descriptors for each: the client's, the proxy's two and the upstream's.
    text = """
        import resource, sys
        from interpose import Limits, TheServer
        from support.peers import Echo, connect, echo
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        count = 1200
        with Echo() as upstream, TheServer("", 0, upstream.address, limits=Limits(count)) as server:
            clients = [connect(server.address) for _ in range(count)]
            for number, client in enumerate(clients):
                assert echo(client, b"%04d" % number) == b"%04d" % number
            print(server.stats.active, max(client.fileno() for client in clients) > 1024)
            assert echo(clients[0], b"first") == b"first"
            for client in clients:
                client.close()
    """
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 6000:
        pytest.skip("the hard limit of descriptors is below 6000: ulimit -Hn")
    assert passes(tmp_path, text, seconds=60.0) == "1200 True\n"


@pytest.mark.parametrize("slow", ["upstream", "client"])
def test_no_byte_is_lost_to_a_peer_that_reads_slowly(slow: str, serve: Serve) -> None:
    data = os.urandom(4 << 20)
    digests: list[bytes] = []

    def write(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        ending(sock)

    def read(sock: socket.socket) -> None:
        # A small window and small reads make every write on the way a partial one.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        digest = hashlib.sha256()
        while chunk := sock.recv(3001):
            digest.update(chunk)
        digests.append(digest.digest())

    upstream_does, client_does = (read, write) if slow == "upstream" else (write, read)
    with Served(upstream_does) as upstream, connect(address_of(serve(upstream.address)), 60.0) as client:
        client_does(client)
        client.close()
        poll(lambda: digests, 30.0, "everything is read")
    assert digests == [hashlib.sha256(data).digest()]


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_a_peer_that_resets_ends_its_own_connection_only(side: str, echo: Echo, serve: Serve) -> None:
    def fail(sock: socket.socket) -> None:
        sock.recv(1)
        reset(sock)

    with Served(fail) as broken:
        server = serve(echo.address if side == "client" else broken.address)
        healthy = serve(echo.address)
        with connect(address_of(healthy)) as witness:
            for _ in range(50):
                client = connect(address_of(server))
                client.sendall(b"x" * 100_000)
                if side == "client":
                    reset(client)
                else:
                    assert ending(client)[0] == "reset"
                    client.close()
                assert echoed(witness, b"alive") == b"alive"
        reason = CloseReason.CLIENT_RESET if side == "client" else CloseReason.UPSTREAM_RESET
        # A client that resets before its upstream is connected is gone instead.
        poll(lambda: sum(server.stats.closed.values()) == 50, 10.0, "every connection ends")
        assert server.stats.closed[reason] + server.stats.closed[CloseReason.CLIENT_GONE] == 50


def test_a_client_that_never_reads_holds_up_nobody(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with connect(address_of(server), 30.0) as stuck, connect(address_of(server)) as other:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        stop = threading.Event()

        def offer() -> None:
            while not stop.is_set():
                try:
                    stuck.send(bytes(65536))
                except OSError:
                    return

        writer = threading.Thread(target=offer, daemon=True)
        writer.start()
        for _ in range(200):
            assert echoed(other, b"not held up") == b"not held up"
        stop.set()
        stuck.shutdown(socket.SHUT_RDWR)
        writer.join(10)
        assert not writer.is_alive()
