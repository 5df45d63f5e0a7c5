"""Sockets of a script's own that have ended before they are entered: as those that end right after."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interpose import CloseReason, Connection, Forward, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import wait_until_idle
from support.peers import bound_address, connect, listener, read_exactly, reset

LAST = b"last words"

TCP = "tcp"
UNIX = pytest.param(
    "unix", marks=pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
)
FAMILIES = pytest.mark.parametrize("family", [TCP, UNIX])


@contextmanager
def dialled(family: str, folder: Path) -> Generator[tuple[socket.socket, socket.socket]]:
    """Connect two sockets: the script's own, and its peer."""
    if family == TCP:
        upstream = listener()
        own = socket.create_connection(upstream.getsockname(), 10.0)
    else:
        upstream = socket.socket(socket.AF_UNIX)
        upstream.bind(str(folder / "upstream"))
        upstream.listen()
        own = socket.socket(socket.AF_UNIX)
        own.settimeout(10.0)
        own.connect(upstream.getsockname())
    with upstream:
        peer, _ = upstream.accept()
        with peer:
            yield own, peer


def reset_by_its_peer(family: str, folder: Path) -> socket.socket:
    with dialled(family, folder) as (own, peer):
        own.sendall(b"unread")
        assert select.select([peer], [], [], 10.0)[0]
        peer.sendall(LAST)
        if family == TCP:
            reset(peer)
    # POLLERR: the reset has come.
    return waited(own, select.POLLERR)


def closed_by_its_peer(family: str, folder: Path) -> socket.socket:
    with dialled(family, folder) as (own, peer):
        peer.sendall(LAST)
    return waited(own, select.POLLRDHUP)


def shut_both_ways(family: str, folder: Path) -> socket.socket:
    """Shut by the script, and then closed by its peer."""
    with dialled(family, folder) as (own, peer):
        peer.sendall(LAST)
        assert select.select([own], [], [], 10.0)[0]
        own.shutdown(socket.SHUT_RDWR)
        assert peer.recv(1) == b""
    return waited(own, select.POLLHUP)


def waited(own: socket.socket, event: int) -> socket.socket:
    looks = select.poll()
    looks.register(own, event)
    assert looks.poll(10_000)[0][1] & event
    return own


class Own(TheServer):
    """Enters what `made` has made in the tutorial's form, and notes all that comes."""

    def __init__(self, own: Any) -> None:
        super().__init__("", 0)
        self.own = own
        self.seen: list[Any] = []

    def on_accept(self) -> None:
        client, _ = self.server.accept()
        self.input_list += [client, self.own]
        self.channel[client], self.channel[self.own] = self.own, client

    def on_recv(self) -> None:
        self.seen.append((self.s is self.own, self.data))
        super().on_recv()

    def on_close(self) -> None:
        self.seen.append(("close", self.s is self.own))
        super().on_close()


needs_poll = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="POLLRDHUP is Linux's")


@needs_poll
@FAMILIES
@pytest.mark.parametrize("end", [reset_by_its_peer, closed_by_its_peer, shut_both_ways])
def test_in_the_tutorial_s_form_its_last_words_come_and_then_on_close(family: str, end: Any, tmp_path: Path) -> None:
    own = end(family, tmp_path)
    with Own(own) as server, connect(address_of(server)) as client:
        assert read_exactly(client, len(LAST)) == LAST
        assert client.recv(1) == b""
        poll(lambda: ("close", True) in server.seen, 10.0, "on_close is called")
        client.close()
        wait_until_idle(server)
    assert server.seen == [(True, LAST), ("close", True)]
    assert server.stats.callback_errors == 0


@needs_poll
@FAMILIES
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (reset_by_its_peer, CloseReason.UPSTREAM_RESET),
        (closed_by_its_peer, None),
        (shut_both_ways, None),
    ],
)
def test_in_our_form_the_client_gets_its_last_words_and_its_end(
    family: str, end: Any, reason: CloseReason | None, tmp_path: Path
) -> None:
    own = end(family, tmp_path)
    ended: list[Connection] = []
    # A reset that comes at once may be what connecting ends with.
    connected = threading.Event()

    def on_accept(conn: Connection) -> Any:
        assert connected.wait(10.0)
        return own

    with (
        TheServer("", 0, on_accept=on_accept, on_close=ended.append) as server,
        connect(address_of(server)) as client,
    ):
        connected.set()
        assert read_exactly(client, len(LAST)) == LAST
        if reason is None:
            assert client.recv(1) == b""
        else:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        client.close()
        poll(lambda: len(ended) == 1, 10.0, "it has ended")
    assert reason is None or ended[0].reason is reason
    assert server.stats.callback_errors == 0


@needs_poll
def test_of_one_whose_peer_is_forgotten_the_name_says_nothing(tmp_path: Path) -> None:
    own = reset_by_its_peer(TCP, tmp_path)
    local = own.getsockname()
    with Own(own) as server, connect(address_of(server)) as client:
        assert read_exactly(client, len(LAST)) == LAST
        poll(lambda: ("close", True) in server.seen, 10.0, "on_close is called")
        assert (own.getpeername(), own.getsockname()) == (("0.0.0.0", 0), local)


@needs_poll
def test_a_side_that_was_started_and_reset_before_it_is_entered_says_its_last_words() -> None:
    with listener() as upstream:
        side = Forward(*bound_address(upstream)).start()
        peer, _ = upstream.accept()
        peer.sendall(LAST)
        reset(peer)
        with Own(side) as server, connect(address_of(server)) as client:
            assert read_exactly(client, len(LAST)) == LAST
            poll(lambda: ("close", True) in server.seen, 10.0, "on_close is called")
            assert server.seen == [(True, LAST), ("close", True)]
            assert server.stats.callback_errors == 0
