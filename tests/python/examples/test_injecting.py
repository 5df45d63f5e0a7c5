"""The example that speaks up by itself: a real Redis hears it, its client does not."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.deadline import poll
from support.example_scripts import address_text
from support.peers import Address, Served, connect, free_port, read_exactly
from support.processes import Child, program

from .conftest import Start


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Address]:
    server = program("redis-server", "redis-server")
    port = free_port()
    argv = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with Child([*argv, "--dir", str(tmp_path)], tmp_path) as child:
        child.wait_for("Ready to accept connections")
        yield "127.0.0.1", port


def pings(redis: Address) -> int:
    """How many PINGs it has answered, asked on the direct way."""
    with connect(redis) as direct:
        direct.sendall(b"INFO commandstats\r\n")
        size = read_exactly(direct, 1)
        while not size.endswith(b"\r\n"):
            size += direct.recv(1)
        found = re.search(rb"cmdstat_ping:calls=(\d+)", read_exactly(direct, int(size[1:-2])))
        return int(found[1]) if found else 0


def pinged(redis: Address, times: int) -> bool:
    return pings(redis) >= times


def test_redis_is_pinged_and_the_client_sees_its_own_answers_only(start: Start, redis: Address) -> None:
    example = start("keep_alive", address_text(redis), "0.1")
    with connect(example.address) as client:
        client.sendall(b"SET key value\r\n")
        assert read_exactly(client, 5) == b"+OK\r\n"
        for wanted in (2, 4):
            poll(partial(pinged, redis, wanted), 5, "it is pinged")
            client.sendall(b"GET key\r\n")
            assert read_exactly(client, 11) == b"$5\r\nvalue\r\n"
        client.sendall(b"QUIT\r\n")
        assert read_exactly(client, 6) == b"+OK\r\n"


def test_an_answer_in_pieces_is_taken_out_whole(start: Start) -> None:
    """Between other bytes, byte by byte, with beginnings that turn out to be something else."""

    def server(sock: socket.socket) -> None:
        asked = read_exactly(sock, len(b"*2\r\n$4\r\nPING\r\n$32\r\n") + 34)
        sock.sendall(b"$32\r\nsomething else$3")
        for index in range(len(asked) - 39, len(asked)):
            sock.sendall(asked[index : index + 1])
        sock.sendall(b"$32\r\nthe end")

    with Served(server) as upstream:
        example = start("keep_alive", address_text(upstream.address), "0.05")
        with connect(example.address) as client:
            wanted = b"$32\r\nsomething else$3$32\r\nthe end"
            assert read_exactly(client, len(wanted) + 1) == wanted
