"""The script of 2012, in its own form."""

from __future__ import annotations

import socket
import threading

from support.example_scripts import address_text
from support.peers import Address, Echo, Served, connect, ending, fate, read_exactly

from .conftest import Start


def test_it_forwards_prints_and_forgets(start: Start, echo: Echo) -> None:
    example = start("tutorial", address_text(echo.address))
    with connect(example.address) as client:
        name = f"\\('127.0.0.1', {client.getsockname()[1]}\\)"
        example.says(f"{name} is here")
        for text in (b"EHLO me\r\n", b"QUIT\r\n"):
            client.sendall(text)
            assert read_exactly(client, len(text)) == text
    example.says(f"{name} has left")
    output = example.end()
    assert output.count(repr(b"EHLO me\r\n")) == 2
    assert output.count("has left") == 1


def test_each_client_has_its_own_upstream(start: Start) -> None:
    numbers = iter(range(10))

    def server(sock: socket.socket) -> None:
        number = next(numbers)
        while data := sock.recv(100):
            sock.sendall(b"%d:%b" % (number, data))

    with Served(server) as upstream:
        example = start("tutorial", address_text(upstream.address))
        with connect(example.address) as first, connect(example.address) as second:
            answers: set[bytes] = set()
            for client in (first, second, first):
                client.sendall(b"x")
                answers.add(read_exactly(client, 3))
            assert answers == {b"0:x", b"1:x"}


def test_the_upstream_may_leave_first(start: Start) -> None:
    """Then on_close closes both, at once and in order."""
    got: list[tuple[str, bytes]] = []
    over = threading.Event()

    def server(sock: socket.socket) -> None:
        sock.sendall(b"bye")
        sock.shutdown(socket.SHUT_WR)
        got.append(ending(sock))
        over.set()

    with Served(server) as upstream:
        example = start("tutorial", address_text(upstream.address))
        with connect(example.address) as client:
            assert ending(client) == ("eof", b"bye")
            example.says(r".* has left")
            assert over.wait(5)
    assert got == [("eof", b"")]


def test_a_client_without_an_upstream_is_told(start: Start, refusing: Address) -> None:
    example = start("tutorial", address_text(refusing))
    # As in the article: the script closes the client, in order.
    assert fate(lambda: connect(example.address)) == ("eof", b"")
    example.says(r"\('127\.0\.0\.1', \d+\) finds no upstream")
