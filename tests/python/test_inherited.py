"""Listeners that a process is started with: `fd:3`. And how long connections have lived, with the log of their ends."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import AddressError, BindError, ConfigError, Forward, Listen, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Echo, bound_address, connect, listener
from support.peers import echo as echoed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_server_takes_over_from_another_without_losing_a_client(kind: str, echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listener() if kind == "tcp" else socket.socket(socket.AF_UNIX) as given:
        if kind == "unix":
            given.bind(str(path))

        def client() -> socket.socket:
            if kind == "tcp":
                return connect(bound_address(given))
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(10.0)
            sock.connect(str(path))
            return sock

        with TheServer(f"fd:{given.fileno()}", forward_to=echo.address) as first:
            assert first.unix_path == (str(path) if kind == "unix" else None)
            assert kind == "unix" or first.address == bound_address(given)
            with client() as one:
                assert echoed(one, b"first") == b"first"
        # Nobody serves it now, and it listens all the same.
        with client() as waiting:
            waiting.sendall(b"second")
            with TheServer(f"fd:{given.fileno()}", forward_to=echo.address):
                assert waiting.recv(6) == b"second"
        assert not os.get_inheritable(given.fileno())
    assert path.exists() == (kind == "unix")


def test_what_cannot_be_listened_on() -> None:
    with contextlib.ExitStack() as stack:
        pair = socket.socketpair()
        stack.enter_context(pair[0])
        stack.enter_context(pair[1])
        datagram = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        file = stack.enter_context(tempfile.TemporaryFile())
        with listener() as closed:
            number = closed.fileno()
        wrong = {
            pair[0].fileno(): "it is a connection, not a listener; in a socket unit, leave out Accept=yes",
            datagram.fileno(): "it is no stream socket; in a socket unit, write ListenStream=",
            file.fileno(): "it is no socket",
        }
        for descriptor, why in wrong.items():
            with pytest.raises(BindError, match=re.escape(f"cannot listen on fd:{descriptor}: {why}")):
                TheServer(f"fd:{descriptor}", forward_to="127.0.0.1:7070")
        assert pair[0].fileno() > 0
        os.fstat(file.fileno())
    with pytest.raises(BindError, match="started with no such descriptor; start it from a socket unit"):
        TheServer("fd:999999", forward_to="127.0.0.1:7070")
    assert number > 0


@pytest.mark.parametrize("text", ["fd:", "fd:x", "fd:1", "fd:-3", "fd:99999999999", "fd:3:80"])
def test_what_is_no_descriptor(text: str) -> None:
    with pytest.raises(AddressError, match="behind fd: stands the number of a descriptor"):
        TheServer(text, forward_to="127.0.0.1:7070")


def test_a_descriptor_is_no_target() -> None:
    with pytest.raises(ConfigError, match="forward_to fd:3: a descriptor is for listening"):
        TheServer("", 0, forward_to=Forward("fd:3"))
    with pytest.raises(ConfigError, match="port: a descriptor has none; leave it out"):
        TheServer("fd:3", 80, forward_to="127.0.0.1:7070")


@pytest.fixture
def access() -> Iterator[logging.Logger]:
    logger = logging.getLogger("interpose.access")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


@pytest.mark.usefixtures("access")
def test_a_line_for_each_connection_that_ends(echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    with TheServer("", 0, forward_to=echo.address, listen=Listen(log_connections=True)) as server:
        with connect(address_of(server)) as client:
            echoed(client, b"12345")
            name = f"127.0.0.1:{client.getsockname()[1]}"
            (connection,) = server.connections
            young = connection.age
        poll(lambda: server.stats.active == 0, 10.0, "the end")
        assert 0 < young < connection.age == connection.age
        server.forward_to = Forward("127.0.0.1", 1)
        assert exchange(server) == ("reset", b"")
        poll(lambda: server.stats.active == 0 and server.stats.accepted == 2, 10.0, "the refusal")
    lines = [record.getMessage() for record in caplog.records if record.name == "interpose.access"]
    first = rf"id=1 client={name} listener=127\.0\.0\.1:{server.address[1]} upstream=127\.0\.0\.1:{echo.address[1]}"
    assert len(lines) == 2
    assert re.fullmatch(rf"{first} seconds=\d+\.\d{{3}} to_upstream=5 to_client=5 reason=finished", lines[0]), lines
    end = r'seconds=\d+\.\d{3} to_upstream=0 to_client=0 reason=refused error="[^"]+"'
    assert re.fullmatch(rf"id=2 client=\S+ listener=\S+ {end}", lines[1]), lines


@pytest.mark.usefixtures("access")
def test_no_line_where_none_is_asked_for(echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    with TheServer("", 0, forward_to=echo.address) as server, connect(address_of(server)) as client:
        echoed(client, b"12345")
    assert not [record for record in caplog.records if record.name == "interpose.access"]
