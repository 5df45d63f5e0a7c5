"""A server that is left: connections in which nothing is under way are closed in order at once, the others drain."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from interpose import CloseReason, Connection, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Address, Echo, bound_address, connect, echo, ending, listener

# Far less than any drain here, and far more than a busy machine takes.
SOON = 2.0
LONG = 60.0


def by_with(server: TheServer) -> None:
    with server:
        pass


def by_async_with(server: TheServer) -> None:
    async def leave() -> None:
        async with server:
            pass

    asyncio.run(leave())


LEAVING: list[Callable[[TheServer], None]] = [by_with, by_async_with, TheServer.stop]


def left_after(leave: Callable[[TheServer], None], server: TheServer) -> float:
    begin = time.monotonic()
    leave(server)
    return time.monotonic() - begin


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Sides:
    """One connection of `server`, and its two peers; with `swapped` the upstream is the near one."""

    def __init__(self, stack: ExitStack, server: TheServer, listening: socket.socket, *, swapped: bool) -> None:
        client = stack.enter_context(connect(address_of(server)))
        upstream = stack.enter_context(listening.accept()[0])
        upstream.settimeout(10.0)
        self.near, self.far = (upstream, client) if swapped else (client, upstream)


@pytest.mark.parametrize("leave", LEAVING)
def test_pooled_connections_are_closed_in_order_at_once(
    stack: ExitStack, leave: Callable[[TheServer], None], echo_upstream: Echo
) -> None:
    closed: list[Connection] = []
    server = TheServer("", 0, echo_upstream.address, drain=LONG, on_close=closed.append).start()
    clients = [stack.enter_context(connect(address_of(server))) for _ in range(50)]
    for client in clients:
        assert echo(client, b"asked and answered") == b"asked and answered"
    assert left_after(leave, server) < SOON
    assert all(ending(client) == ("eof", b"") for client in clients)
    assert [connection.reason for connection in closed] == [CloseReason.CLOSED] * 50
    assert server.stats.closed[CloseReason.CLOSED] == 50


@pytest.fixture
def echo_upstream() -> Iterator[Echo]:
    with Echo() as upstream:
        yield upstream


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_client_that_only_waits_does_not_hold_up(
    stack: ExitStack, leave: Callable[[TheServer], None], *, swapped: bool
) -> None:
    listening = stack.enter_context(listener())
    server = TheServer("", 0, bound_address(listening), drain=LONG).start()
    sides = Sides(stack, server, listening, swapped=swapped)
    assert left_after(leave, server) < SOON
    assert ending(sides.near) == ("eof", b"")
    assert ending(sides.far) == ("eof", b"")


class Tutorial(TheServer):
    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)


class ClosesBoth(Tutorial):
    def on_close(self) -> None:
        super().on_close()


@pytest.mark.parametrize("kind", [Tutorial, ClosesBoth])
@pytest.mark.parametrize("leave", LEAVING)
def test_pairs_of_the_tutorials_form_are_left_without_waiting_for_their_peers(
    stack: ExitStack, leave: Callable[[TheServer], None], kind: type[Tutorial], echo_upstream: Echo
) -> None:
    server = kind("", 0, echo_upstream.address, drain=LONG).start()
    clients = [stack.enter_context(connect(address_of(server))) for _ in range(50)]
    for client in clients:
        assert echo(client, b"asked") == b"asked"
    # A side that is closed in order is listened to for a second, unless its peer ends first. These do not.
    assert left_after(leave, server) < 0.9
    assert all(ending(client) == ("eof", b"") for client in clients)
    assert server.stats.closed[CloseReason.CLOSED] == 50


@pytest.mark.parametrize("swapped", [False, True])
def test_a_transfer_that_is_under_way_finishes(stack: ExitStack, *, swapped: bool) -> None:
    data = bytes(range(256)) * (128 << 10)
    listening = stack.enter_context(listener())
    server = TheServer("", 0, bound_address(listening), drain=LONG).start()
    sides = Sides(stack, server, listening, swapped=swapped)

    def send() -> None:
        sides.near.sendall(data)
        sides.near.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    got = bytearray(sides.far.recv(1))
    leaving = threading.Thread(target=server.stop, daemon=True)
    leaving.start()
    poll(lambda: "stopping" in repr(server), 10.0, "it stops")
    while len(got) < len(data):
        got += sides.far.recv(1 << 20)
    assert bytes(got) == data
    assert ending(sides.far) == ("eof", b"")
    leaving.join(SOON)
    assert not leaving.is_alive()
    sending.join(10.0)


def test_an_answer_that_takes_a_moment_arrives(stack: ExitStack) -> None:
    listening = stack.enter_context(listener())
    server = TheServer("", 0, bound_address(listening), drain=LONG).start()
    sides = Sides(stack, server, listening, swapped=False)
    sides.near.sendall(b"question")
    assert sides.far.recv(8) == b"question"
    leaving = threading.Thread(target=server.stop, daemon=True)
    leaving.start()
    # As long as the answer takes, nothing else moves.
    leaving.join(0.3)
    assert leaving.is_alive()
    sides.far.sendall(b"answer")
    assert ending(sides.near) == ("eof", b"answer")
    leaving.join(SOON)
    assert not leaving.is_alive()


@pytest.mark.parametrize("swapped", [False, True])
def test_what_trickles_on_is_reset_at_the_drains_end(stack: ExitStack, *, swapped: bool) -> None:
    listening = stack.enter_context(listener())
    server = TheServer("", 0, bound_address(listening), drain=0.6).start()
    sides = Sides(stack, server, listening, swapped=swapped)
    over = threading.Event()

    def trickle() -> None:
        try:
            while not over.wait(0.02):
                sides.near.sendall(b"x")
        except OSError:
            pass

    trickling = threading.Thread(target=trickle, daemon=True)
    trickling.start()
    assert sides.far.recv(1) == b"x"
    # Long enough after the connect for the stream to be one.
    for _ in range(12):
        sides.far.recv(1)
    server.stop()
    assert ending(sides.far)[0] == "reset"
    over.set()
    trickling.join(10.0)
    assert server.stats.closed[CloseReason.STOPPED] == 1


def test_a_drain_that_is_asked_for_keeps_what_is_quiet(stack: ExitStack, echo_upstream: Echo) -> None:
    server = TheServer("", 0, echo_upstream.address).start()
    client = stack.enter_context(connect(address_of(server)))
    assert echo(client, b"before") == b"before"
    stopping = threading.Thread(target=server.stop, args=(LONG,), daemon=True)
    stopping.start()
    poll(lambda: "stopping" in repr(server), 10.0, "it stops")
    stopping.join(0.2)
    assert echo(client, b"after") == b"after"
    client.shutdown(socket.SHUT_WR)
    assert ending(client) == ("eof", b"")
    stopping.join(SOON)
    assert not stopping.is_alive()


def test_unix_sockets_are_closed_at_once(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("s")
    upstream = stack.enter_context(socket.socket(socket.AF_UNIX))
    upstream.bind(str(folder / "u"))
    upstream.listen()
    server = TheServer(f"unix:{folder}/l", forward_to=f"unix:{folder}/u", drain=LONG).start()
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.settimeout(10.0)
    client.connect(str(folder / "l"))
    side = stack.enter_context(upstream.accept()[0])
    assert left_after(by_with, server) < SOON
    assert client.recv(1) == b""
    assert side.recv(1) == b""


def test_a_drain_of_the_constructor_is_checked() -> None:
    address: Address = ("127.0.0.1", 1)
    with pytest.raises(ValueError, match=r"drain: it is negative"):
        TheServer("", 0, address, drain=-1)
