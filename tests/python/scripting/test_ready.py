"""The ready scripts: each does what its first line says, and `interpose scripts` lists them all."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from interpose import _cli
from interpose._cli.scripting.source import READY, ready_names
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import Sink, exchange
from support.peers import Served, connect, ending, read_exactly
from support.peers import echo as echoed

from .conftest import Scripted

Printed = Callable[[], str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Everything that was printed so far."""
    found = ""

    def read() -> str:
        nonlocal found
        found += capsys.readouterr().out
        return found

    return read


def test_there_are_some_and_each_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["scripts"]) == 0
    listed = capsys.readouterr().out
    assert len(ready_names()) >= 12
    for name in ready_names():
        first = (READY / f"{name}.py").read_text().partition("\n")[0].removeprefix('"""')
        assert f"  {name.replace('_', '-'):<15} {first}\n" in listed
    assert "delay=0.2" in listed
    assert max(map(len, listed.splitlines())) <= 120


@pytest.mark.parametrize("name", ["count", "echo-delay", "echo_delay.py"])
def test_one_is_printed_to_be_copied(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["scripts", "show", name]) == 0
    assert capsys.readouterr().out == (READY / f"{name.removesuffix('.py').replace('-', '_')}.py").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("scripts show", "scripts show: the name is missing; write interpose scripts show count"),
        (
            "scripts show cuont",
            "scripts cuont: there is no such ready script; did you mean interpose scripts show count?",
        ),
        ("scripts count", "scripts count: it is neither list nor show; did you mean interpose scripts show count?"),
        ("scripts list count", "scripts count: list takes no name; did you mean interpose scripts show count?"),
        ("scripts show count twice", "scripts: it takes no 'twice'; write interpose scripts [list | show NAME]"),
    ],
)
def test_what_is_no_ready_script(words: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(words.split()) == 2
    assert capsys.readouterr().err.startswith(f"interpose: {why}")


def test_block(scripted: Scripted, printed: Printed) -> None:
    for given, passes in (("deny=127.0.0.0/8", False), ("allow=127.0.0.1", True), ("allow=::1", False)):
        server, _ = scripted("block", given=(given,))
        assert exchange(server, b"x") == (("eof", b"x") if passes else ("reset", b""))
    assert printed().count("refused 127.0.0.1\n") == 2


def test_limit_clients(scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("limit-clients", given=("most=1",))
    for _ in range(2):
        with connect(address_of(server)) as first:
            assert echoed(first, b"x") == b"x"
            assert exchange(server) == ("reset", b"")
        poll(lambda: server.stats.active == 0, 10.0, "both have ended")
        poll(lambda: not server._callbacks.known, 10.0, "on_close has returned")  # pyright: ignore[reportPrivateUsage]
    assert printed().count("refused 127.0.0.1: it has 1 connections") == 2


@pytest.mark.parametrize(("given", "chunks"), [((), ""), (("chunks=yes",), " in 1 and 1 chunks")])
def test_count(given: tuple[str, ...], chunks: str, scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("count", given=given)
    with connect(address_of(server)) as client:
        assert echoed(client, b"12345") == b"12345"
    poll(lambda: f"1: 5 bytes to the upstream, 5 to the client{chunks}, 0." in printed(), 10.0, "the line")


def test_first_bytes(scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("first_bytes", given=("most=3",))
    with connect(address_of(server)) as client:
        assert echoed(client, b"12345") == b"12345"
        assert echoed(client, b"67890") == b"67890"
    poll(lambda: printed().count(": b'123'\n") == 2, 10.0, "one line for each direction")
    assert "678" not in printed()


@pytest.mark.parametrize(("name", "given"), [("echo-delay", "delay=100ms"), ("throttle", "rate=50")])
def test_it_takes_its_time(name: str, given: str, scripted: Scripted) -> None:
    server, _ = scripted(name, given=(given,))
    with connect(address_of(server)) as client:
        begin = time.monotonic()
        assert echoed(client, b"12345") == b"12345"
        assert time.monotonic() - begin >= 0.1


def test_cut(scripted: Scripted) -> None:
    server, _ = scripted("cut", given=("after=7",))
    with connect(address_of(server)) as client:
        assert echoed(client, b"12345") == b"12345"
        client.sendall(b"67890")
        assert ending(client) == ("reset", b"67")


def test_rewrite_host(scripted: Scripted) -> None:
    server, _ = scripted("rewrite-host", given=("host=there.example",))
    with Sink() as upstream:
        server.forward_to = upstream.address
        with connect(address_of(server)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHOST: here:80\r\nContent-Length: 12\r\n\r\nhost: in bod")
            client.shutdown(socket.SHUT_WR)
            got = b"POST / HTTP/1.1\r\nHOST: there.example\r\nContent-Length: 12\r\n\r\nhost: in bod"
            assert upstream.wait() == ("eof", got)


def answering(answers: list[bytes]) -> Served:
    """An upstream that answers each read with the next of `answers`."""

    def serve(sock: socket.socket) -> None:
        for one in answers:
            if sock.recv(4096):
                sock.sendall(one)
        while sock.recv(4096):
            pass

    return Served(serve)


def test_log_http(scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("log-http")
    with answering([b"HTTP/1.1 204 No Content\r\n\r\n"]) as upstream:
        server.forward_to = upstream.address
        with connect(address_of(server)) as client:
            client.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 204")
    poll(lambda: "1 'GET /a HTTP/1.1' 'HTTP/1.1 204 No Content' 27 bytes 0." in printed(), 10.0, "the line")


def test_redis_commands(scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("redis-commands", given=("refuse=FLUSHALL",))
    with connect(address_of(server)) as client:
        command = b"*2\r\n$3\r\nGET\r\n$1\r\n\xff\r\n"
        assert echoed(client, command) == command
        client.sendall(b"flushall now\r\n")
        assert client.recv(100) == b"-ERR this command is refused here\r\n"
    assert printed() == "1 GET \\xff\n1 flushall now\n"


def test_postgres_queries(scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("postgres-queries")
    with answering([b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"]) as upstream:
        server.forward_to = upstream.address
        with connect(address_of(server)) as client:
            start = b"\0\3\0\0user\0me\0\0"
            client.sendall((len(start) + 4).to_bytes(4) + start)
            assert client.recv(100)[:1] == b"R"
            for kind, body in ((b"Q", b"select\n 1\0"), (b"P", b"name\0select $1\0\0\0")):
                client.sendall(kind + (len(body) + 4).to_bytes(4) + body)
    poll(lambda: printed() == "1 'select 1'\n1 'select $1'\n", 10.0, "both texts")


def test_decode_modbus(scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("decode-modbus")
    request = bytes.fromhex("0007 0000 0006 01 03 006b 0003")
    with answering([bytes.fromhex("0007 0000 0003 01 83 02")]) as upstream:
        server.forward_to = upstream.address
        with connect(address_of(server)) as client:
            client.sendall(request)
            assert read_exactly(client, 9)[7] == 0x83
    assert printed() == (
        "1 -> 7 unit 1: read holding registers: at 107, 3\n"
        "1 <- 7 unit 1: read holding registers: illegal data address\n"
    )


def test_time_answers(scripted: Scripted, printed: Printed) -> None:
    server, _ = scripted("time-answers")
    with connect(address_of(server)) as client:
        assert echoed(client, b"12345") == b"12345"
    poll(lambda: " ms, 5 bytes at once\n" in printed(), 10.0, "the line")


def test_each_has_a_test() -> None:
    names = {name.replace("_", "-") for name in ready_names()}
    text = Path(__file__).read_text()
    assert not [name for name in names if f'"{name}"' not in text and f'"{name.replace("-", "_")}"' not in text]
