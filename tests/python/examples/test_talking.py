"""Examples that listen to a client, or talk with it, before its bytes are relayed."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from real.test_postgres import Postgres
from real.test_tls import Certificate
from support.example_scripts import address_text
from support.peers import Address, Served, connect, ending, fate, read_exactly
from support.processes import program, run

from .conftest import Start

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def answer(sock: socket.socket) -> None:
    """Answer one HTTP request."""
    head = b""
    while b"\r\n\r\n" not in head and (data := sock.recv(65536)):
        head += data
    sock.sendall(ANSWER)


@pytest.fixture
def web() -> Iterator[Address]:
    with Served(answer) as upstream:
        yield upstream.address


def test_socks5_for_curl(start: Start, web: Address, tmp_path: Path) -> None:
    curl = program("curl", "curl")
    example = start("socks5")
    for option in ("--socks5", "--socks5-hostname"):
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{web[1]}/"
            assert run([curl, "-sS", option, address_text(example.address), url], tmp_path) == b"hello"


@pytest.mark.parametrize("request_of", [b"\4\1", b"\5\1\0\5\2\0\1\x7f\0\0\1\0\1", b"\5\1\0\5\1\0\3\0\0\1"])
def test_socks5_refuses_what_it_does_not_do(request_of: bytes, start: Start) -> None:
    """An older version, another command, an empty name."""
    example = start("socks5")
    with connect(example.address) as client:
        client.sendall(request_of)
        client.shutdown(socket.SHUT_WR)
        assert ending(client)[1] in (b"", b"\5\0")


def test_http_connect_for_curl(start: Start, web: Address, tmp_path: Path) -> None:
    curl = program("curl", "curl")
    proxy = f"http://{address_text(start('http_connect').address)}"
    for host in ("127.0.0.1", "localhost"):
        got = run([curl, "-sS", "--proxytunnel", "--proxy", proxy, f"http://{host}:{web[1]}/"], tmp_path)
        assert got == b"hello"


def test_http_connect_with_https(start: Start, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    context = certificate.server_side(ssl.TLSVersion.TLSv1_3)

    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            answer(secure)
            secure.unwrap()

    with Served(serve) as upstream:
        proxy = f"http://{address_text(start('http_connect').address)}"
        argv = [program("curl", "curl"), "-sS", "--cacert", str(certificate.chain), "--proxy", proxy]
        assert run([*argv, f"https://localhost:{upstream.address[1]}/"], tmp_path) == b"hello"


def test_http_connect_answers_what_it_does_not_do(start: Start) -> None:
    example = start("http_connect")
    for request, status in (
        (b"GET / HTTP/1.1\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"400"),
        (b"CONNECT x y\r\n\r\n", b"400"),
    ):
        with connect(example.address) as client:
            client.sendall(request)
            how, head = ending(client)
            assert (how, head.split(b" ")[1]) == ("eof", status)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    # Other users cannot enter pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="interpose-pg-"))
    try:
        server = Postgres(folder, fill=False)
        try:
            yield server
        finally:
            assert server.child.stop(signal.SIGINT) == 0
    finally:
        shutil.rmtree(folder)


def test_psql_is_routed_by_the_database(start: Start, postgres: Postgres, refusing: Address, tmp_path: Path) -> None:
    """Also with a client that asks for encryption first."""
    target = postgres.target_of["tcp"]
    example = start("route_by_database", address_text(refusing), f"template1={target}", f"postgres={target}")
    for database in ("postgres", "template1"):
        argv = [postgres.psql, *postgres.at(*example.address), "-XqAt", "-d"]
        for mode in ("prefer", "disable"):
            text = f"dbname={database} sslmode={mode}"
            assert run([*argv, text, "-c", "SELECT current_database()"], tmp_path).decode().strip() == database


def start_up(*fields: bytes) -> bytes:
    """Return a start-up message of PostgreSQL's."""
    body = struct.pack("!I", 196608) + b"\0".join(fields) + b"\0\0"
    return struct.pack("!I", 4 + len(body)) + body


def named(name: bytes) -> Served:
    """An upstream that says its name and sends back what it gets."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(name)
        while data := sock.recv(65536):
            sock.sendall(data)

    return Served(serve)


def test_a_database_without_a_server_of_its_own(start: Start) -> None:
    with named(b"all ") as everybody, named(b"shop") as shop:
        example = start("route_by_database", address_text(everybody.address), f"shop={address_text(shop.address)}")
        for message, name in (
            (start_up(b"user", b"me", b"database", b"shop"), b"shop"),
            (start_up(b"user", b"shop"), b"shop"),
            (start_up(b"user", b"me", b"database", b"news"), b"all "),
        ):
            with connect(example.address) as client:
                client.sendall(struct.pack("!II", 8, 80877103))
                assert read_exactly(client, 1) == b"N"
                for byte in message:
                    client.sendall(bytes([byte]))
                assert read_exactly(client, 4 + len(message)) == name + message
        with connect(example.address) as client:
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("reset", b"")


def test_curl_is_routed_by_the_name_in_tls(start: Start, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    curl = program("curl", "curl")

    def secure(name: bytes, version: ssl.TLSVersion) -> Served:
        context = certificate.server_side(version)

        def serve(sock: socket.socket) -> None:
            with context.wrap_socket(sock, server_side=True) as wrapped:
                wrapped.recv(65536)
                wrapped.sendall(ANSWER.replace(b"hello", name))
                wrapped.unwrap()

        return Served(serve)

    with secure(b"first", ssl.TLSVersion.TLSv1_3) as first, secure(b"other", ssl.TLSVersion.TLSv1_2) as other:
        example = start("route_by_name", address_text(first.address), f"other.test={address_text(other.address)}")
        port = example.address[1]
        for host, name in (("other.test", b"other"), ("first.test", b"first")):
            argv = [curl, "-sSk", "--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/"]
            assert run(argv, tmp_path) == name
        assert run([curl, "-sSk", f"https://127.0.0.1:{port}/"], tmp_path) == b"first", "without a name"


def test_what_is_no_tls_is_not_routed(start: Start) -> None:
    with named(b"all") as everybody:
        example = start("route_by_name", address_text(everybody.address))

        def speak() -> socket.socket:
            client = connect(example.address)
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return client

        assert fate(speak) == ("reset", b"")
