"""Forged packets: an attacker who knows the addresses and the ports, and guesses the rest."""

from __future__ import annotations

import socket
import struct

import pytest
from support.deadline import poll
from support.namespaces import Network
from support.peers import Echo, echo

from .conftest import Start

RST = 0x04
# linux/tcp.h
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_SEND_QUEUE, TCP_REPAIR_OFF_NO_WP = 19, 20, 21, 2, -1


def reset_segment(source: tuple[str, int], target: tuple[str, int], sequence: int) -> bytes:
    """A TCP segment (RFC 9293 section 3.1) that says RST, with its checksum."""
    header = struct.pack("!HHIIBBHHH", source[1], target[1], sequence, 0, 5 << 4, RST, 1024, 0, 0)
    pseudo = socket.inet_aton(source[0]) + socket.inet_aton(target[0]) + struct.pack("!BBH", 0, 6, len(header))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(header)) // 2}H", pseudo + header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", ~total & 0xFFFF) + header[18:]


def next_sequence(client: socket.socket) -> int:
    """The sequence number of the next byte that this socket sends: the kernel tells root (TCP_REPAIR)."""
    try:
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)
        sequence = client.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ)
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)
    except OSError as error:
        pytest.skip(f"this kernel does not tell sequence numbers: {error}")
    return sequence & 0xFFFFFFFF


def test_only_a_reset_with_the_right_number_counts(net: Network, start: Start) -> None:
    """RS-11: A forged RST with a wrong sequence number, near or far off, leaves the connection alone.

    RFC 5961 section 3.2.
    """
    with Echo(net.far.listener(net.far_address)) as upstream:
        proxy = start({"forward": upstream.address, "listen": [net.near_address, 0]}, prefix=net.near.prefix)
        with net.far.connect(proxy.address) as client:
            assert echo(client, b"before") == b"before"
            right = next_sequence(client)
            with net.far.entered(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:

                def forge(sequence: int) -> None:
                    segment = reset_segment(client.getsockname(), proxy.address, sequence % 2**32)
                    raw.sendto(segment, (proxy.address[0], 0))

                for distance in (2**31, -(2**30), -1, 1, 1000):
                    forge(right + distance)
                assert echo(client, b"after") == b"after"
                assert proxy.closed("client_reset") == 0
                # The same packet with the right number is a reset, so the others were no accident.
                forge(right + len(b"after"))
            poll(lambda: proxy.closed("client_reset") == 1, 10, "the right one counts")
