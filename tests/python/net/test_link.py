"""Bad wires: small packets, a size that changes on the way, loss. What arrives is what was sent."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from collections.abc import Callable

from support.deadline import poll
from support.namespaces import Network
from support.peers import Served, bound_address

from .conftest import Start


def exchange(sock: socket.socket, payload: bytes, halfway: Callable[[], None] | None = None) -> str:
    """Send *payload* while reading to the end; the digest of what was read."""

    def send() -> None:
        middle = len(payload) // 2
        sock.sendall(payload[:middle])
        if halfway is not None:
            halfway()
        sock.sendall(payload[middle:])
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    digest = hashlib.sha256()
    while chunk := sock.recv(65536):
        digest.update(chunk)
    sender.join(5.0)
    return digest.hexdigest()


def both_ways(net: Network, start: Start, size: int, halfway: Callable[[], None] | None = None) -> None:
    """Random bytes both ways at once, client and upstream both beyond the wire, digests equal."""
    chance = random.Random(size)
    up, down = chance.randbytes(size), chance.randbytes(size)
    seen: list[str] = []
    listening = net.far.listener(net.far_address)
    with Served(lambda sock: seen.append(exchange(sock, down)), listening):
        proxy = start({"forward": bound_address(listening), "listen": [net.near_address, 0]}, prefix=net.near.prefix)
        with net.far.connect(proxy.address, 40.0) as client:
            assert exchange(client, up, halfway) == hashlib.sha256(down).hexdigest()
        poll(lambda: seen, 10, "the upstream has read to the end")
    assert seen == [hashlib.sha256(up).hexdigest()]


def test_small_packets(net: Network, start: Start) -> None:
    """DI-07: Small packets, and a packet size that changes on the way, lose no byte.

    An MTU of 296.
    """
    net.set_mtu(296)
    both_ways(net, start, 3_000_000)


def test_packet_size_changes_on_the_way(net: Network, start: Start) -> None:
    """DI-07, with 1500 at first, 576 in the middle."""
    both_ways(net, start, 8_000_000, lambda: net.set_mtu(576))


def test_loss(net: Network, start: Start) -> None:
    """DI-08: Lost packets lose no byte.

    One packet in twenty is lost, each way.
    """
    for side in (net.near, net.far):
        side.firewall("iifname veth0 numgen random mod 100 < 5 drop")
    both_ways(net, start, 1_000_000)
