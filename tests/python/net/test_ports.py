"""Source ports and source addresses."""

from __future__ import annotations

from contextlib import ExitStack

from support.deadline import poll
from support.namespaces import Network
from support.peers import Echo, echo, fate, reset

from .conftest import Start

FEW_PORTS = "40000 40009"
OTHER_SOURCE = "10.77.0.50"


def test_out_of_source_ports_is_named_and_passes(net: Network, start: Start) -> None:
    """CN-15: A lack of local ports is reported by name, harms no connection that lives, and passes.

    Ten ports, and an eleventh connection.
    """
    with Echo(net.far.listener(net.far_address)) as upstream, ExitStack() as stack:
        proxy = start({"forward": upstream.address, "listen": [net.near_address, 0]}, prefix=net.near.prefix)
        net.near.sysctl("ipv4.ip_local_port_range", FEW_PORTS)
        clients = [stack.enter_context(net.far.connect(proxy.address)) for _ in range(10)]
        for sock in clients:
            assert echo(sock, b"hello") == b"hello"
        assert fate(lambda: net.far.connect(proxy.address)) == ("reset", b"")
        poll(lambda: proxy.closed("port_exhausted") == 1, 5, "the reason is counted")
        lines = proxy.warned("ip_local_port_range")
        assert len(lines) == 1, lines
        for sock in clients:
            assert echo(sock, b"still here") == b"still here"
        # A reset leaves no TIME_WAIT behind, so its port is free at once.
        reset(clients.pop())
        poll(lambda: proxy.closed("client_reset") == 1, 5, "one port is free")
        with net.far.connect(proxy.address) as lucky:
            assert echo(lucky, b"lucky") == b"lucky"


def test_source_address_is_used(net: Network, start: Start) -> None:
    """CN-16: A source address is the one that the upstream sees, and takes no port from other upstreams.

    The upstream sees it.
    """
    net.near.ip("address", "add", f"{OTHER_SOURCE}/24", "dev", "veth0")
    with net.far.listener(net.far_address) as listening:
        target = listening.getsockname()
        proxy = start({"forward": target}, {"forward": target, "source": OTHER_SOURCE}, prefix=net.near.prefix)
        for address, expected in zip(proxy.addresses, (net.near_address, OTHER_SOURCE), strict=True):
            with net.near.connect(address):
                accepted, (host, _) = listening.accept()
                accepted.close()
            assert host == expected


def test_source_address_shares_ports_between_upstreams(net: Network, start: Start) -> None:
    """CN-16, between upstreams: 24 connections over ten ports (IP_BIND_ADDRESS_NO_PORT)."""
    with ExitStack() as stack:
        upstreams = [stack.enter_context(Echo(net.far.listener(net.far_address))) for _ in range(3)]
        servers = [
            {"forward": upstream.address, "source": net.near_address, "listen": [net.near_address, 0]}
            for upstream in upstreams
        ]
        proxy = start(*servers, prefix=net.near.prefix)
        net.near.sysctl("ipv4.ip_local_port_range", FEW_PORTS)
        for number in range(24):
            client = stack.enter_context(net.far.connect(proxy.addresses[number % 3]))
            assert echo(client, b"hello") == b"hello"
        assert sum(proxy.stats(index)["active"] for index in range(3)) == 24


def test_source_address_that_is_not_ours(net: Network, start: Start) -> None:
    proxy = start({"forward": [net.far_address, 9], "source": "192.0.2.1"}, prefix=net.near.prefix)
    assert fate(lambda: net.near.connect(proxy.address)) == ("reset", b"")
    poll(lambda: proxy.closed("connect_failed") == 1, 5, f"the reason is counted: {proxy.stats()['closed']}")
    assert len(proxy.warned("192.0.2.1")) == 1
