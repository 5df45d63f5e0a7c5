"""Peers that die without a word, links that go away, and connections killed from outside."""

from __future__ import annotations

import time

import pytest
from support.deadline import poll
from support.namespaces import Network
from support.peers import Echo, echo, ending

from .conftest import Start

QUICK = {"unacknowledged": 1.0}
# TCP looks at the limit when it retransmits, so the end comes with the first retransmission after it.
NOTICED_WITHIN = 4.0


def test_connection_killed_from_outside_resets_the_client(net: Network, start: Start) -> None:
    """RS-09: A connection that an administrator kills (`ss -K`) is reset at the other side.

    The upstream's socket.
    """
    with Echo(net.far.listener(net.far_address)) as upstream:
        proxy = start({"forward": upstream.address}, prefix=net.near.prefix)
        with net.near.connect(proxy.address) as client:
            assert echo(client, b"hello") == b"hello"
            host, port = upstream.address
            killed = net.near.run("ss", "-Htn", "-K", "dst", host, "dport", "=", str(port))
            if not killed.strip():
                pytest.skip("this kernel cannot kill sockets (CONFIG_INET_DIAG_DESTROY)")
            assert ending(client) == ("reset", b"")
        poll(lambda: proxy.stats()["active"] == 0, 5, "the connection is over")
        assert set(proxy.stats()["closed"]) <= {"upstream_reset", "upstream_lost"}


def test_client_connection_killed_from_outside_resets_the_upstream(net: Network, start: Start) -> None:
    """RS-09 with the sides swapped."""
    with net.far.listener(net.far_address) as listening:
        proxy = start({"forward": listening.getsockname()}, prefix=net.near.prefix)
        with net.near.connect(proxy.address) as client:
            client.sendall(b"hello")
            accepted, _ = listening.accept()
            accepted.settimeout(5.0)
            assert accepted.recv(16) == b"hello"
            host, port = proxy.address
            killed = net.near.run("ss", "-Htn", "-K", "src", host, "sport", "=", str(port))
            if not killed.strip():
                pytest.skip("this kernel cannot kill sockets (CONFIG_INET_DIAG_DESTROY)")
            with accepted:
                assert ending(accepted) == ("reset", b"")
        poll(lambda: proxy.stats()["active"] == 0, 5, "the connection is over")
        assert set(proxy.stats()["closed"]) <= {"client_reset", "client_lost"}


def test_dead_upstream_with_bytes_in_flight(net: Network, start: Start) -> None:
    """BP-13: A peer that is gone without a word is noticed within its limit, and the other one is reset.

    Every packet is dropped, so that what was sent is never acknowledged.
    """
    with Echo(net.far.listener(net.far_address)) as upstream:
        proxy = start({"forward": upstream.address, "timeouts": QUICK}, prefix=net.near.prefix)
        with net.near.connect(proxy.address) as client:
            assert echo(client, b"hello") == b"hello"
            net.far.firewall("iifname veth0 drop")
            begin = time.monotonic()
            client.sendall(b"is anybody there?")
            assert ending(client) == ("reset", b"")
            assert 0.9 <= time.monotonic() - begin <= NOTICED_WITHIN
        poll(lambda: proxy.closed("upstream_lost") == 1, 5, f"the reason: {proxy.stats()['closed']}")
        # Seventeen bytes were read and handed to the kernel; the ledger says what became of all of them.
        read, delivered, undeliverable = proxy.stats()["to_upstream"]
        assert read == 22
        assert delivered + undeliverable == read


def test_dead_client_with_bytes_in_flight(net: Network, start: Start) -> None:
    """BP-13 with the sides swapped: an answer on its way to a client that is no more."""
    with net.near.listener("127.0.0.1") as listening:
        proxy = start(
            {"forward": listening.getsockname(), "listen": [net.near_address, 0], "timeouts": QUICK},
            prefix=net.near.prefix,
        )
        with net.far.connect(proxy.address) as client:
            accepted, _ = listening.accept()
            with accepted:
                accepted.settimeout(10.0)
                client.sendall(b"hello")
                assert accepted.recv(16) == b"hello"
                net.far.firewall("iifname veth0 drop")
                begin = time.monotonic()
                accepted.sendall(b"is anybody there?")
                assert ending(accepted) == ("reset", b"")
                assert 0.9 <= time.monotonic() - begin <= NOTICED_WITHIN
        poll(lambda: proxy.closed("client_lost") == 1, 5, f"the reason: {proxy.stats()['closed']}")


def test_interface_goes_away_under_listener_and_connections(net: Network, start: Start) -> None:
    """AC-17: An interface that goes away ends its own connections; the listener and others live.

    Connections over the loopback interface are those that live.
    """
    with Echo(net.near.listener("127.0.0.1")) as upstream:
        proxy = start(
            {"forward": upstream.address, "listen": ["0.0.0.0", 0], "timeouts": QUICK}, prefix=net.near.prefix
        )
        _, port = proxy.address
        with net.far.connect((net.near_address, port)) as remote, net.near.connect(("127.0.0.1", port)) as local:
            assert echo(remote, b"hello") == b"hello"
            assert echo(local, b"hello") == b"hello"
            net.near.ip("link", "delete", "veth0")
            assert echo(local, b"still here") == b"still here"
            with net.near.connect(("127.0.0.1", port)) as later:
                assert echo(later, b"hello") == b"hello"


def test_link_down_for_a_moment_loses_nothing(net: Network, start: Start) -> None:
    """The cable is pulled and put back: TCP repairs it, and the proxy has no opinion about it."""
    with Echo(net.far.listener(net.far_address)) as upstream:
        proxy = start({"forward": upstream.address}, prefix=net.near.prefix)
        with net.near.connect(proxy.address) as client:
            assert echo(client, b"before") == b"before"
            net.far.ip("link", "set", "veth0", "down")
            client.sendall(b"during")
            poll(lambda: proxy.stats()["to_upstream"][0] == 12, 5, "the proxy has taken it")
            net.far.ip("link", "set", "veth0", "up")
            assert client.recv(16) == b"during"
