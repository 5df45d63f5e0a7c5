"""Words before relaying: whole messages, with the framing that the relay goes on with."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    Connection,
    Forward,
    ReadEndError,
    ReadError,
    ReadLimitError,
    Relay,
    Side,
    framing,
)
from support.addresses import address_of
from support.exchanges import exchange
from support.peers import Echo, Served, connect, read_exactly


def test_messages_are_read_and_the_rest_comes_to_on_recv(echo: Echo, serve: Serve) -> None:
    read: list[bytes] = []
    shown: list[tuple[bytes, bool]] = []

    async def on_accept(conn: Connection) -> None:
        read.append(await conn.client.read_message())
        read.append(await conn.client.read_message(timeout=10))

    async def on_client_recv(side: Side, message: bytes) -> None:
        shown.append((message, side.partial))

    server = serve(echo.address, framing=framing.lines(), on_accept=on_accept, on_client_recv=on_client_recv)
    assert exchange(server, b"one\ntwo\nthree\nfo") == ("eof", b"three\nfo")
    assert read == [b"one\n", b"two\n"]
    assert shown == [(b"three\n", False), (b"fo", True)]


def test_a_protocol_with_a_beginning_goes_on_behind_it(echo: Echo, serve: Serve) -> None:
    """The start-up message has no type, and those behind it have one: the relay's framer has seen the first."""
    start_up = struct.pack("!II", 16, 196608) + b"user\0x\0\0"
    query = b"Q" + struct.pack("!I", 6) + b"1\0"
    shown: list[bytes] = []

    async def on_accept(conn: Connection) -> None:
        assert await conn.client.read_message() == start_up

    def on_client_recv(side: Side, message: bytes) -> None:
        shown.append(message)

    server = serve(echo.address, framing=(framing.postgres(), None), on_accept=on_accept, on_client_recv=on_client_recv)
    assert exchange(server, start_up + query * 2) == ("eof", query * 2)
    assert shown == [query, query]


def test_on_connect_reads_messages_of_both_sides(serve: Serve) -> None:
    def greet(sock: socket.socket) -> None:
        sock.sendall(b"220 hello\nmore\n")
        sock.sendall(read_exactly(sock, 5))

    read: list[bytes] = []

    async def on_connect(conn: Connection) -> None:
        assert conn.upstream is not None
        read.append(await conn.upstream.read_message())
        read.append(await conn.client.read_message())

    with Served(greet) as upstream:
        server = serve(upstream.address, framing=framing.lines(), on_connect=on_connect)
        with connect(address_of(server)) as client:
            client.sendall(b"me\nquit\n")
            assert read_exactly(client, 10) == b"more\nquit\n"
    assert read == [b"220 hello\n", b"me\n"]


def cut(buffer: memoryview) -> int | None:
    """Cut messages of three bytes."""
    return 3 if len(buffer) >= 3 else None


@pytest.mark.parametrize(
    ("settings", "data", "kind", "text"),
    [
        ({}, b"abc", ReadError, "has no framing of the core's; give the server one, such as framing=framing.lines()"),
        ({"framing": framing.custom(cut)}, b"abc", ReadError, "has no framing of the core's"),
        ({"framing": framing.lines()}, b"abc", ReadEndError, "after 3 bytes, before the end of a message"),
        (
            {"framing": framing.lines(), "relay": Relay(max_message=4)},
            b"abcdef\n",
            ReadLimitError,
            "a message of more than 4 bytes; refuse it, or raise max_message",
        ),
        ({"framing": framing.tls_records()}, b"GET / HTTP/1.1", ReadError, "read_message: tls_records: expected"),
    ],
)
def test_a_message_that_cannot_be_read(
    settings: dict[str, Any], data: bytes, kind: type[Exception], text: str, serve: Serve
) -> None:
    errors: list[Exception] = []

    async def on_accept(conn: Connection) -> bool:
        with pytest.raises(ReadError) as caught:
            await conn.client.read_message()
        errors.append(caught.value)
        return False

    exchange(serve(None, on_accept=on_accept, **settings), data)
    assert type(errors[0]) is kind
    assert text in str(errors[0])


def test_a_framing_that_was_set_on_the_side(serve: Serve) -> None:
    errors: list[str] = []

    async def on_accept(conn: Connection) -> Forward:
        conn.client.framing = framing.lines()
        with pytest.raises(ReadError) as caught:
            await conn.client.read_message()
        errors.append(str(caught.value))
        conn.close()
        return Forward.NOWHERE

    exchange(serve(None, on_accept=on_accept))
    assert "give the framing to the server, or use read_until()" in errors[0]
