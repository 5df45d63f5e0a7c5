"""Connections that scripts make to listeners of their own process: one client never becomes many."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from interpose import CloseReason, Forward, Limits, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Address, Echo, connect, echo, fate

# The eight that one connection may pass, and the one that is refused.
MOST = 9

# Of several scripts with sockets of their own: one thread may accept what another has connected and not entered yet.
MOST_OF_SEVERAL = 40

# For each server of a loop that is not cut.
BOUND = Limits(max_connections=60)


class Tutorial(TheServer):
    """Connects to its target by itself, as scripts of 2012 do."""

    target: Any = None

    def on_accept(self) -> None:
        side = Forward().start(*self.target)
        client, _ = self.server.accept()
        if side:
            self.input_list += [client, side]
            self.channel[client] = side
            self.channel[side] = client
        else:
            client.close()

    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)


class Own(Tutorial):
    """Connects to its target with a socket of its own."""

    def on_accept(self) -> None:
        own = socket.create_connection(self.target)
        client, _ = self.server.accept()
        self.input_list += [client, own]
        self.channel[client] = own
        self.channel[own] = client


class Late(TheServer):
    """Connects with a socket of its own once a client has spoken."""

    target: Any = None

    def on_accept(self) -> None:
        client, _ = self.server.accept()
        self.input_list.append(client)

    def on_recv(self) -> None:
        if self.s not in self.channel:
            own: Any = socket.create_connection(self.target)
            self.channel[self.s] = own
            self.channel[own] = self.s
            self.input_list.append(own)
        self.channel[self.s].send(self.data)


SCRIPTS = pytest.mark.parametrize("script", [Tutorial, Own])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def assert_cut(servers: list[TheServer], address: Address, said: bytes = b"") -> None:
    def speak() -> socket.socket:
        client = connect(address)
        client.sendall(said)
        return client

    kind, data = fate(speak)
    assert (kind, data) != ("timeout", b"")
    poll(lambda: all(server.stats.active == 0 for server in servers), 10.0, "everything has ended")
    scripts = [type(server) for server in servers if isinstance(server, Tutorial)]
    several = len(scripts) > 1 and Own in scripts
    assert sum(server.stats.accepted for server in servers) <= (MOST_OF_SEVERAL if several else MOST)
    assert sum(server.stats.closed[CloseReason.LOOP_DETECTED] for server in servers) >= 1


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.0.0.7", "localhost", "0.0.0.0", "::ffff:127.0.0.1"])
def test_a_loop_of_connects_that_a_script_makes_is_cut(stack: ExitStack, spelling: str) -> None:
    first = stack.enter_context(Tutorial("0.0.0.0", 0, public=True))
    _, port = address_of(first)
    second = stack.enter_context(TheServer("0.0.0.0", 0, (spelling, port), public=True))
    first.target = (spelling, address_of(second)[1])
    assert_cut([first, second], ("127.0.0.1", port))


@SCRIPTS
def test_a_loop_of_a_script_and_a_server_is_cut(stack: ExitStack, script: type[Tutorial]) -> None:
    first = stack.enter_context(script("", 0, limits=BOUND))
    second = stack.enter_context(TheServer("", 0, first.address, limits=BOUND))
    first.target = second.address
    assert_cut([first, second], address_of(first))


@pytest.mark.parametrize("scripts", [[Tutorial, Own], [Own, Tutorial], [Own, Own]])
def test_a_loop_of_two_scripts_is_cut(stack: ExitStack, scripts: list[type[Tutorial]]) -> None:
    first, second = (stack.enter_context(script("", 0, limits=BOUND)) for script in scripts)
    first.target, second.target = second.address, first.address
    assert_cut([first, second], address_of(first))


def test_a_loop_of_sockets_that_a_script_connects_when_a_client_speaks_is_cut(stack: ExitStack) -> None:
    first = stack.enter_context(Late("", 0, limits=BOUND))
    second = stack.enter_context(TheServer("", 0, first.address, limits=BOUND))
    first.target = second.address
    assert_cut([first, second], address_of(first), b"hello")


@SCRIPTS
def test_a_ring_of_scripts_is_cut(stack: ExitStack, script: type[Tutorial]) -> None:
    ring = [stack.enter_context(script("", 0, limits=BOUND)) for _ in range(3)]
    for server, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        server.target = following.address
    assert_cut(list(ring), address_of(ring[0]))


@SCRIPTS
def test_a_chain_of_scripts_is_none(stack: ExitStack, script: type[Tutorial]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        target: Any = upstream.getsockname()
        for _ in range(4):
            server = stack.enter_context(script("", 0))
            server.target = target
            target = server.address
        with connect(target) as client:
            client.sendall(b"hello")
            side, _ = upstream.accept()
            with side:
                side.settimeout(10.0)
                assert side.recv(5) == b"hello"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_clients_without_a_name_of_their_own_are_none_of_ours(stack: ExitStack, tmp_path: Path) -> None:
    """A script's Unix socket has no name, as those of all other clients have none."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")

    def unix(path: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10.0)
        sock.connect(path)
        return sock

    with Echo() as upstream:
        stack.enter_context(TheServer(f"unix:{second}", forward_to=upstream.address))
        stack.enter_context(TheServer(f"unix:{first}", on_accept=lambda conn: unix(second)))
        for path in [first] * MOST + [second]:
            assert echo(stack.enter_context(unix(path)), b"hello") == b"hello"
