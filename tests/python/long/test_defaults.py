"""The default bounds at their full length: two minutes each."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest
from support.deadline import poll
from support.namespaces import network, require_root
from support.peers import Echo, connect, echo, ending, fate, listener
from support.proxies import ProxyProcess


@pytest.mark.timeout(200)
def test_silent_dead_peer_is_found_by_keepalive(tmp_path: Path) -> None:
    """BP-13 with the default and nothing in flight: 60 s of silence, then six probes, 10 s apart."""
    require_root("nft")
    with network() as net, Echo(net.far.listener(net.far_address)) as upstream:
        servers = [{"forward": upstream.address}]
        with ProxyProcess(tmp_path, servers, prefix=net.near.prefix) as proxy:
            with net.near.connect(proxy.address, 150.0) as client:
                assert echo(client, b"hello") == b"hello"
                net.far.firewall("iifname veth0 drop")
                begin = time.monotonic()
                assert ending(client) == ("reset", b"")
                assert 110 <= time.monotonic() - begin <= 130
            poll(lambda: proxy.closed("upstream_lost") == 1, 5, "the reason is counted")


@pytest.mark.timeout(240)
def test_dead_peer_with_bytes_in_flight_is_found_in_minutes(tmp_path: Path) -> None:
    """BP-13 with bytes in flight, where keepalive is silent, and the kernel alone would try for 15 minutes."""
    require_root("nft")
    with network() as net, Echo(net.far.listener(net.far_address)) as upstream:
        servers = [{"forward": upstream.address}]
        with ProxyProcess(tmp_path, servers, prefix=net.near.prefix) as proxy:
            with net.near.connect(proxy.address, 200.0) as client:
                assert echo(client, b"hello") == b"hello"
                net.far.firewall("iifname veth0 drop")
                begin = time.monotonic()
                client.sendall(b"is anybody there?")
                assert ending(client) == ("reset", b"")
                assert 115 <= time.monotonic() - begin <= 160
            poll(lambda: proxy.closed("upstream_lost") == 1, 5, "the reason is counted")


@pytest.mark.timeout(240)
def test_peer_that_does_not_read_is_no_dead_peer(tmp_path: Path) -> None:
    """Its kernel answers that it has no room, for longer than one that is dead would be given."""
    with (
        listener() as listening,
        ProxyProcess(tmp_path, [{"forward": listening.getsockname()}]) as proxy,
        connect(proxy.address, 1.0) as client,
    ):
        accepted, _ = listening.accept()
        with accepted:
            sent = 0
            with contextlib.suppress(TimeoutError):
                while True:
                    sent += client.send(bytes(65536))
            begin = time.monotonic()
            poll(lambda: time.monotonic() - begin > 170, 180, "the time has passed")
            client.settimeout(10.0)
            client.shutdown(socket.SHUT_WR)
            accepted.settimeout(10.0)
            kind, received = ending(accepted)
            assert (kind, len(received)) == ("eof", sent)


@pytest.mark.timeout(200)
def test_half_closed_for_ever_ends_after_two_minutes(tmp_path: Path) -> None:
    """HC-07 with the default: the client has ended its half, the upstream never answers and never ends."""
    with listener() as listening, ProxyProcess(tmp_path, [{"forward": listening.getsockname()}]) as proxy:
        with connect(proxy.address, 150.0) as client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            accepted, _ = listening.accept()
            with accepted:
                accepted.settimeout(150.0)
                assert ending(accepted) == ("eof", b"question")
                begin = time.monotonic()
                assert ending(client) == ("reset", b"")
                assert 115 <= time.monotonic() - begin <= 130
        poll(lambda: proxy.closed("half_close_timeout") == 1, 5, "the reason is counted")


@pytest.mark.timeout(100)
def test_connect_is_given_up_after_ten_seconds(tmp_path: Path) -> None:
    """CN-02 with the default."""
    require_root()
    with network() as net:
        servers = [{"forward": [net.dead_address, 80]}]
        with ProxyProcess(tmp_path, servers, prefix=net.near.prefix) as proxy:
            begin = time.monotonic()
            assert fate(lambda: net.near.connect(proxy.address, 20.0)) == ("reset", b"")
            assert 9.8 <= time.monotonic() - begin <= 11.5
            poll(lambda: proxy.closed("connect_timeout") == 1, 5, "the reason is counted")
