"""Connections that scripts make to listeners of their own process: one client never becomes many."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from deadline import poll
from inet import where
from interpose import CloseReason, Forward, TheServer
from peers import Address, connect, fate

# The eight that one connection may pass, and the one that is refused.
MOST = 9


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


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def assert_cut(servers: list[TheServer], address: Address) -> None:
    kind, data = fate(lambda: connect(address))
    assert (kind, data) != ("timeout", b"")
    poll(lambda: all(server.stats.active == 0 for server in servers), 10.0, "everything has ended")
    assert sum(server.stats.accepted for server in servers) <= MOST
    assert sum(server.stats.closed[CloseReason.LOOP_DETECTED] for server in servers) >= 1


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.0.0.7", "localhost", "0.0.0.0", "::ffff:127.0.0.1"])
def test_a_loop_of_connects_that_a_script_makes_is_cut(stack: ExitStack, spelling: str) -> None:
    first = stack.enter_context(Tutorial("0.0.0.0", 0, public=True))
    _, port = where(first)
    second = stack.enter_context(TheServer("0.0.0.0", 0, (spelling, port), public=True))
    first.target = (spelling, where(second)[1])
    assert_cut([first, second], ("127.0.0.1", port))


def test_a_ring_of_scripts_is_cut(stack: ExitStack) -> None:
    ring = [stack.enter_context(Tutorial("", 0)) for _ in range(3)]
    for server, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        server.target = following.address
    assert_cut(list(ring), where(ring[0]))


def test_a_chain_of_scripts_is_none(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        target: Any = upstream.getsockname()
        for _ in range(4):
            server = stack.enter_context(Tutorial("", 0))
            server.target = target
            target = server.address
        with connect(target) as client:
            client.sendall(b"hello")
            side, _ = upstream.accept()
            with side:
                side.settimeout(10.0)
                assert side.recv(5) == b"hello"
