"""A listener on `localhost` is on both loopbacks: whichever address a client gets for the name, it is served."""

from __future__ import annotations

import socket

import pytest
from interpose import BindError, CloseReason, ConfigError, TheServer
from support.addresses import address_of, refuses, turned_away
from support.deadline import poll
from support.peers import Address, Echo, connect, echo, free_port, listener


def has_ipv6() -> bool:
    """Tell whether this machine has ::1."""
    try:
        listener("::1").close()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="this machine has one loopback only")


def loopbacks(server: TheServer) -> list[Address]:
    """Return both addresses of a server on localhost."""
    host, port = address_of(server)
    assert host == "127.0.0.1"
    return [(host, port), ("::1", port)]


@pytest.mark.parametrize("host", ["localhost", "LocalHost.", "localhost:0"])
def test_both_loopbacks_are_served_until_the_stop(echo_upstream: Echo, host: str) -> None:
    with TheServer(host, None if ":" in host else 0, echo_upstream.address) as server:
        for address in loopbacks(server):
            poll(lambda: server.stats.active == 0, 5, "the last one has ended")
            with connect(address) as client:
                assert echo(client, b"here") == b"here"
                assert server.connections[-1].client.getsockname() == address
    assert all(refuses(address) for address in loopbacks(server))


def test_clients_of_both_wait_in_the_backlog_until_the_start(echo_upstream: Echo) -> None:
    server = TheServer("localhost", 0, echo_upstream.address)
    clients = [connect(address) for address in loopbacks(server) for _ in range(3)]
    with server:
        assert [echo(client, b"waited") for client in clients] == [b"waited"] * 6
        for client in clients:
            client.close()


def test_a_port_that_is_taken_on_one_is_refused_on_both(echo_upstream: Echo) -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with socket.socket(family) as taken:
            taken.bind((host, free_port()))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(BindError, match=f"localhost:{port}: .*this process"):
                TheServer("localhost", port, echo_upstream.address)
        with TheServer("localhost", port, echo_upstream.address):
            pass


def test_neither_address_is_a_target() -> None:
    port = free_port()
    for host in ("127.0.0.1", "::1"):
        with pytest.raises(ConfigError, match="the listener's own address"):
            TheServer("localhost", port, (host, port))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_callback_that_names_either_is_found_out(host: str) -> None:
    with TheServer("localhost", 0, on_accept=lambda connection: (host, connection.client.getsockname()[1])) as server:
        for address in loopbacks(server):
            assert turned_away(address)
        poll(lambda: server.stats.closed[CloseReason.LOOP_DETECTED] >= 2, 5, "both have been found out")


def test_other_names_and_addresses_have_one_listener(echo_upstream: Echo) -> None:
    with TheServer("127.0.0.1", 0, echo_upstream.address) as server:
        assert refuses(loopbacks(server)[1])
