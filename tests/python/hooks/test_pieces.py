"""Many small pieces, and a head before its body: they go out together, in whatever way they were cut."""

from __future__ import annotations

import itertools
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Serve
from interpose import Connection, Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import bound_address, connect, listener, read_exactly

PARTS = 20_000
# In tcp_info of linux/tcp.h: segments with data that have come.
DATA_SEGMENTS_IN = 152

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts segments as Linux does")


def segments(sock: socket.socket) -> int:
    """Return the number of segments with data that have come in: no fewer writes were made at the other end."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_IN + 4)
    return int(struct.unpack_from("=I", info, DATA_SEGMENTS_IN)[0])


def numbered(count: int = PARTS) -> Iterator[bytes]:
    """Return one byte after the other."""
    return (bytes([number % 251]) for number in range(count))


def parts(side: Side, data: bytes) -> list[bytes]:
    return list(numbered())


def mixed_parts(side: Side, data: bytes) -> tuple[Any, ...]:
    kinds: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview)
    return tuple(kind(part) for kind, part in zip(itertools.cycle(kinds), numbered(), strict=False))


def calls(side: Side, data: bytes) -> bytes:
    other = side.other
    assert other is not None
    for part in numbered():
        other.send(part)
        other.send(b"")
    return b""


Ends = tuple[socket.socket, socket.socket, Connection]


def ends(server: TheServer, listening: socket.socket, to_upstream: bool) -> Ends:
    """Return the source and the destination of a new connection, and the connection."""
    client = connect(address_of(server), 30.0)
    upstream = listening.accept()[0]
    upstream.settimeout(30.0)
    conn = poll(lambda: [conn for conn in server.connections if conn.phase == "open"], 10.0, "it is open")[0]
    return (client, upstream, conn) if to_upstream else (upstream, client, conn)


@pytest.mark.parametrize("to_upstream", [True, False], ids=["to upstream", "to client"])
@pytest.mark.parametrize("answer", [parts, mixed_parts, calls], ids=lambda answer: answer.__name__)
def test_many_small_pieces_of_a_callback_are_few_writes(answer: Any, to_upstream: bool, serve: Serve) -> None:
    with listener() as listening:
        server = serve(bound_address(listening), on_recv=answer)
        source, destination, _ = ends(server, listening, to_upstream)
        with source, destination:
            source.sendall(b"abc")
            assert read_exactly(destination, PARTS) == b"".join(numbered())
            assert segments(destination) < PARTS / 100


@pytest.mark.parametrize("body", [100, 8192, 40_000])
def test_a_head_goes_out_with_its_body(body: int, serve: Serve) -> None:
    def answer(side: Side, data: bytes) -> list[bytes]:
        return [b"h" * 64, data[:1] * body]

    with listener() as listening:
        server = serve(bound_address(listening), on_client_recv=answer)
        client, upstream, _ = ends(server, listening, True)
        with client, upstream:
            for number in range(20):
                client.sendall(bytes([number]))
                assert read_exactly(upstream, 64 + body) == b"h" * 64 + bytes([number]) * body
            assert segments(upstream) <= 25


def test_a_million_parts_are_delivered_whole(serve: Serve) -> None:
    count = 1_000_000

    def answer(side: Side, data: bytes) -> list[bytes]:
        return [data] * count

    with listener() as listening:
        server = serve(bound_address(listening), on_client_recv=answer)
        client, upstream, conn = ends(server, listening, True)
        with client, upstream:
            client.sendall(b"x")
            assert read_exactly(upstream, count) == b"x" * count
            ledger = conn.to_upstream
            assert (ledger.read, ledger.added, ledger.dropped) == (1, count, 1)
            assert segments(upstream) < count / 100
