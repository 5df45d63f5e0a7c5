"""`interpose echo`: every byte comes back, then the end of the stream."""

from __future__ import annotations

import random
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from interpose import TheServer, _cli
from interpose._cli.echo import EchoServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Address, connect, ending, reset
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import command as command_argv
from support.scripts import command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def started(folder: Path, *words: str) -> tuple[Child, Address]:
    child = Child([*command_argv(), "echo", *words], folder, name="echo")
    try:
        found = child.wait_for(r"^interpose: listening on 127\.0\.0\.1:(\d+), sending back what comes$")
        return child, ("127.0.0.1", int(found[1]))
    except BaseException:
        child.kill()
        raise


def nothing_lives(child: Child) -> bool:
    """Ask for the number of connections; a client may know of its end a moment before it is counted."""
    child.popen.send_signal(signal.SIGUSR1)
    return "SIGUSR1: 0 connections now, 1 since the start" in child.output()


def test_every_byte_comes_back_and_then_the_end(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3_000_000)
    child, address = started(tmp_path, "0")
    with child, connect(address) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert ending(client) == ("eof", data)
        sender.join(10)
        poll(lambda: nothing_lives(child), 10.0, "the connection is counted as over")
        assert child.stop() == 0
        assert child.output().endswith("\ninterpose: stopping: 0 connections left\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_ends_at_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    child, address = started(tmp_path, "0")
    with child, connect(address) as client:
        assert echoed(client, b"hello") == b"hello"
        begin = time.monotonic()
        assert child.stop(number) == 0
        assert time.monotonic() - begin < 5


def test_it_stands_between_a_proxy_and_its_clients_as_an_upstream() -> None:
    with (
        EchoServer("0") as upstream,
        TheServer("", 0, upstream.address) as server,
        connect(address_of(server)) as client,
    ):
        assert echoed(client, b"through the proxy") == b"through the proxy"
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", b"")


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    with EchoServer("0") as server, connect(address_of(server)) as client:
        client.settimeout(0.5)
        sent = 0
        with suppress(TimeoutError):
            while sent < 1 << 30:
                sent += client.send(bytes(1 << 16))
        assert sent < 1 << 30
        held = server.stats.to_client.added - server.stats.to_client.delivered
        assert held < 2 << 20
        assert server.stats.callback_errors == 0
        client.settimeout(10)
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", bytes(sent))


def test_clients_that_reset_are_no_errors() -> None:
    with EchoServer("0") as server:
        for _ in range(20):
            client = connect(address_of(server))
            client.sendall(bytes(100_000))
            reset(client)
        poll(lambda: server.stats.active == 0, 10.0, "all have ended")
        assert server.stats.callback_errors == 0


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["7070", "8080"], _cli.USAGE, "'8080'"),
        (["--verbose"], _cli.USAGE, "'--verbose'"),
        (["70700"], _cli.USAGE, "70700"),
        ([""], _cli.USAGE, "the port is missing"),
        (["192.0.2.1:7070"], _cli.CANNOT_BIND, "192.0.2.1"),
    ],
)
def test_what_it_cannot_do_is_one_line(words: list[str], code: int, what: str, tmp_path: Path) -> None:
    ended = command(tmp_path, "echo", *words)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.count("\n") == 1
    assert what in ended.err
