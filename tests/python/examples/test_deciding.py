"""Examples that decide where a client goes."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.example_scripts import address_text
from support.peers import Address, Served, connect, ending, fate
from support.processes import Child, program, run

from .conftest import Start


def named(name: bytes) -> Served:
    """An upstream that says its name and ends."""
    return Served(lambda sock: sock.sendall(name))


def told(address: Address, source: str = "127.0.0.1") -> tuple[str, bytes]:
    return fate(lambda: socket.create_connection(address, 5, (source, 0)))


def listener_at(address: Address) -> socket.socket:
    """Somebody listens there now: the fixture `refusing` has the port for this."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen()
    return sock


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_the_clients_network_decides(start: Start) -> None:
    with named(b"all") as everybody, named(b"some") as some:
        networks = [f"127.0.0.2/32={address_text(some.address)}", "127.0.0.128/25="]
        example = start("route_by_client", address_text(everybody.address), *networks)
        assert told(example.address) == ("eof", b"all")
        assert told(example.address, "127.0.0.2") == ("eof", b"some")
        assert told(example.address, "127.0.0.3") == ("eof", b"all")
        assert told(example.address, "127.0.0.200") == ("reset", b"")


def test_turns_leave_out_the_dead(start: Start, refusing: Address) -> None:
    with named(b"one") as one, named(b"two") as two:
        targets = [address_text(address) for address in (refusing, one.address, two.address)]
        example = start("failover", *targets)
        assert told(example.address) == ("reset", b"")
        example.says(r"Forward\('127\.0\.0\.1:\d+', connect_timeout=3\): refused, left out for 5 s")
        served = [told(example.address) for _ in range(6)]
        assert served == [("eof", b"one"), ("eof", b"two")] * 3


def test_one_that_comes_back_is_used(start: Start, refusing: Address) -> None:
    """With nobody else, it is tried although it is left out."""
    example = start("failover", address_text(refusing))
    assert told(example.address) == ("reset", b"")
    example.says(r"Forward.*left out for 5 s")
    with listener_at(refusing) as listening, Served(lambda sock: sock.sendall(b"back"), listening):
        assert told(example.address) == ("eof", b"back")


def test_maintenance_for_curl(start: Start, tmp_path: Path) -> None:
    curl = program("curl", "curl")
    example = start("maintenance", "back at noon")
    url = f"http://{address_text(example.address)}/shop"
    head, _, body = run([curl, "-sS", "-i", url], tmp_path).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 600" in head
    assert body == b"back at noon\n"
    head, _, body = run([curl, "-sS", "--head", url], tmp_path).partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: 13" in head
    assert body == b""
    upload = [curl, "-sS", "--data-binary", "@-", url]
    with Child(upload, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.popen.communicate(b"x" * 100_000, timeout=5)[0] == b"back at noon\n"


def test_maintenance_waits_for_the_whole_head(start: Start) -> None:
    example = start("maintenance", "later")
    with connect(example.address) as client:
        for byte in b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n":
            client.sendall(bytes([byte]))
        how, answer = ending(client)
    assert how == "eof"
    assert answer.endswith(b"\r\n\r\nlater\n")
    assert answer.count(b"HTTP/1.1 503") == 1


def test_maintenance_has_nothing_for_one_that_asks_nothing(start: Start) -> None:
    example = start("maintenance", "later")
    with connect(example.address) as client:
        client.sendall(b"GET /")
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", b"")
