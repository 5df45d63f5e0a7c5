"""Connections that scripts make to listeners of their own process: one client never becomes many."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from interpose import CloseReason, Connection, Forward, Limits, Listen, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Echo, connect, echo, fate

# The eight that one connection may pass, and the one that is refused.
MOST = 9

# More for each of several scripts, where one has sockets of its own: its thread may have accepted what another has
# connected and not entered yet, before the circle is found and after.
MORE_OF_SEVERAL = 3

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


def dial(target: Any) -> socket.socket:
    """Connect to what `TheServer.address` has said: host and port, or the text of a Unix path."""
    if not isinstance(target, str):
        return socket.create_connection(target, 10.0)
    own = socket.socket(socket.AF_UNIX)
    own.settimeout(10.0)
    own.connect(target.removeprefix("unix:"))
    return own


class Own(Tutorial):
    """Connects to its target with a socket of its own."""

    # How long its shaking of hands takes, in seconds.
    busy = 0.0

    def on_accept(self) -> None:
        own = dial(self.target)
        time.sleep(self.busy)
        client, _ = self.server.accept()
        self.input_list += [client, own]
        self.channel[client] = own
        self.channel[own] = client


class Busy(Own):
    """Takes its time between connecting and entering the socket, longer than the next one takes to be accepted."""

    busy = 0.03


class Ours(TheServer):
    """Connects to its target with a socket of its own, in our form."""

    target: Any = None
    busy = 0.0

    def on_accept(self, conn: Connection) -> Any:
        own = dial(self.target)
        time.sleep(self.busy)
        return own


class OursBusy(Ours):
    """Takes its time, too."""

    busy = 0.03


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


UNIX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux names the other end of a Unix socket"
)
SCRIPTS = pytest.mark.parametrize("script", [Tutorial, Own])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def assert_cut(servers: list[TheServer], said: bytes = b"") -> None:
    def speak() -> socket.socket:
        client = dial(servers[0].address)
        if said:
            client.sendall(said)
        return client

    kind, data = fate(speak)
    assert (kind, data) != ("timeout", b"")
    poll(lambda: all(server.stats.active == 0 for server in servers), 10.0, "everything has ended")
    scripts = [type(server) for server in servers if type(server) is not TheServer]
    late = len(scripts) if len(scripts) > 1 and any(script is not Tutorial for script in scripts) else 0
    assert sum(server.stats.accepted for server in servers) <= MOST + MORE_OF_SEVERAL * late
    assert sum(server.stats.closed[CloseReason.LOOP_DETECTED] for server in servers) >= 1


def ring(stack: ExitStack, scripts: list[Any], listen: list[str]) -> list[TheServer]:
    """Start one server for each script, which connects to the next."""
    servers: list[TheServer] = []
    for script, where in zip(scripts, listen, strict=True):
        servers.append(script(where, 0 if where == "" else None, limits=BOUND))
    for server, following in zip(servers, [*servers[1:], servers[0]], strict=True):
        vars(server)["target"] = following.address
    return [stack.enter_context(server) for server in servers]


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.0.0.7", "localhost", "0.0.0.0", "::ffff:127.0.0.1"])
def test_a_loop_of_connects_that_a_script_makes_is_cut(stack: ExitStack, spelling: str) -> None:
    first = stack.enter_context(Tutorial("0.0.0.0", 0, listen=Listen(public=True)))
    _, port = address_of(first)
    second = stack.enter_context(TheServer("0.0.0.0", 0, (spelling, port), listen=Listen(public=True)))
    first.target = (spelling, address_of(second)[1])
    assert_cut([first, second])


@SCRIPTS
def test_a_loop_of_a_script_and_a_server_is_cut(stack: ExitStack, script: type[Tutorial]) -> None:
    first = stack.enter_context(script("", 0, limits=BOUND))
    second = stack.enter_context(TheServer("", 0, first.address, limits=BOUND))
    first.target = second.address
    assert_cut([first, second])


@pytest.mark.parametrize(
    "scripts", [[Tutorial, Own], [Own, Tutorial], [Own, Own], [Busy, Own], [Busy, Busy], [Ours, Busy]]
)
def test_a_loop_of_two_scripts_is_cut(stack: ExitStack, scripts: list[Any]) -> None:
    assert_cut(ring(stack, scripts, ["", ""]))


@UNIX
@pytest.mark.parametrize("script", [Own, Busy, Ours, OursBusy])
@pytest.mark.parametrize("servers", [1, 2, 3])
def test_a_ring_of_unix_sockets_that_scripts_connect_is_cut(
    stack: ExitStack, script: Any, servers: int, tmp_path: Path
) -> None:
    assert_cut(ring(stack, [script] * servers, [f"unix:{tmp_path / str(number)}" for number in range(servers)]))


@UNIX
@pytest.mark.parametrize("script", [Own, Busy, Ours, OursBusy])
def test_a_ring_of_a_script_s_unix_sockets_and_a_server_is_cut(stack: ExitStack, script: Any, tmp_path: Path) -> None:
    first = stack.enter_context(script(f"unix:{tmp_path / 'first'}", limits=BOUND))
    second = stack.enter_context(TheServer(f"unix:{tmp_path / 'second'}", forward_to=first.address, limits=BOUND))
    first.target = second.address
    assert_cut([first, second])


@UNIX
@pytest.mark.parametrize("script", [Own, Ours])
def test_a_ring_of_both_families_is_cut(stack: ExitStack, script: Any, tmp_path: Path) -> None:
    assert_cut(ring(stack, [script] * 2, ["", f"unix:{tmp_path / 'second'}"]))


def test_a_loop_of_sockets_that_a_script_connects_when_a_client_speaks_is_cut(stack: ExitStack) -> None:
    first = stack.enter_context(Late("", 0, limits=BOUND))
    second = stack.enter_context(TheServer("", 0, first.address, limits=BOUND))
    first.target = second.address
    assert_cut([first, second], b"hello")


@pytest.mark.parametrize("script", [Tutorial, Own, Busy, Ours, OursBusy])
def test_a_ring_of_scripts_is_cut(stack: ExitStack, script: Any) -> None:
    assert_cut(ring(stack, [script] * 3, [""] * 3))


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


@UNIX
@pytest.mark.parametrize("script", [Own, Ours])
def test_a_chain_of_a_script_s_unix_sockets_is_none(stack: ExitStack, script: Any, tmp_path: Path) -> None:
    """Also right after a circle was cut, and for several clients at once."""
    assert_cut(ring(stack, [script], [f"unix:{tmp_path / 'circle'}"]))
    with Echo() as upstream:
        target: Any = upstream.address
        for number in range(6):
            server = stack.enter_context(script(f"unix:{tmp_path / str(number)}"))
            server.target = target
            target = server.address
        clients = [stack.enter_context(dial(target)) for _ in range(5)]
        for client in clients:
            assert echo(client, b"hello") == b"hello"


@UNIX
def test_a_socket_of_ours_that_was_closed_unused_is_not_asked_about_after_a_circle(
    stack: ExitStack, tmp_path: Path
) -> None:
    """Nobody can tell any more whether it has come round. One that has sent something is served."""
    asked: list[Connection] = []

    with Echo() as upstream:
        limits, path = Limits(max_connections=1), f"unix:{tmp_path / 'full'}"
        server = TheServer(path, forward_to=upstream.address, on_accept=asked.append, limits=limits)
        stack.enter_context(server)
        with dial(server.address) as first:
            poll(lambda: len(asked) == 1, 10.0, "there is room for no other")
            dial(server.address).close()
            with dial(server.address) as client:
                client.sendall(b"hello")
            assert_cut(ring(stack, [Ours], [f"unix:{tmp_path / 'circle'}"]))
            first.shutdown(socket.SHUT_WR)
            poll(lambda: server.stats.accepted == 3 and server.stats.active == 0, 10.0, "all three are over")
    assert (len(asked), server.stats.closed[CloseReason.CLIENT_GONE]) == (2, 1)


@UNIX
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
