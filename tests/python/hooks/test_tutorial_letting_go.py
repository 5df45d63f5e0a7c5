"""A script in the tutorial's form lets sides go: clients that it closes at once, and pairs that it parts."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest
from interpose import CloseReason, ConfigError, Forward, Side, TheServer
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.deadline import poll
from support.exchanges import exchange, wait_until_idle
from support.peers import Address, Echo, bound_address, connect, ending, listener, read_exactly, reset
from support.peers import echo as echoed
from support.tutorial_scripts import unpaired

SIDES = pytest.mark.parametrize("sender", ["client", "upstream"])


class Super(TheServer):
    def on_accept(self) -> None:
        super().on_accept()


class Closes(TheServer):
    def on_accept(self) -> None:
        client, _ = self.server.accept()
        client.close()


class KeepsAndCloses(TheServer):
    def on_accept(self) -> None:
        self.kept, _ = self.server.accept()
        self.kept.close()


class SaysAndCloses(TheServer):
    def on_accept(self) -> None:
        client, _ = self.server.accept()
        client.send(b"no upstream\n")
        client.close()


@pytest.mark.parametrize("kind", [Super, Closes, KeepsAndCloses, SaysAndCloses])
def test_a_client_that_on_accept_closes_ends_in_order(
    kind: type[TheServer], refusing: Address, callback_log: CallbackLog
) -> None:
    with kind("", 0, refusing) as server:
        assert exchange(server) == ("eof", b"no upstream\n" if kind is SaysAndCloses else b"")
        assert wait_until_idle(server).stats.closed[CloseReason.CLOSED] == 1
        assert unpaired(server)
    assert callback_log.lines() == []


class Parts(TheServer):
    """Unpairs at that word, and else does what it overrides."""

    def on_recv(self) -> None:
        if self.data != b"part":
            super().on_recv()
            return
        other = self.channel.pop(self.s)
        del self.channel[other]
        self.s.send(b"parted")


class Relays(TheServer):
    """A script with on_close alone, so that the server sends on the bytes that come."""

    def on_close(self) -> None:
        super().on_close()


def ends_of(server: TheServer, listening: socket.socket, sender: str) -> tuple[socket.socket, socket.socket]:
    """Return the sockets of the one who sends and of the other."""
    client = connect(address_of(server))
    upstream, _ = listening.accept()
    upstream.settimeout(10.0)
    return (client, upstream) if sender == "client" else (upstream, client)


@SIDES
@pytest.mark.parametrize("kind", [Parts, Relays])
def test_sides_that_were_unpaired_live_on(kind: type[Parts | Relays], sender: str, callback_log: CallbackLog) -> None:
    with listener() as listening, kind("", 0, bound_address(listening)) as server:
        near, far = ends_of(server, listening, sender)
        with near, far:
            near.sendall(b"x")
            assert read_exactly(far, 1) == b"x"
            if kind is Parts:
                near.sendall(b"part")
                assert read_exactly(near, 6) == b"parted"
            else:
                server.channel.clear()
            sides = server.input_list[1:]
            near.sendall(b"to nobody")
            poll(lambda: server.stats.to_client.read + server.stats.to_upstream.read >= 10, 10.0, "it is read")
            for side in sides:
                side.send(b"alive")
            assert [read_exactly(near, 5), read_exactly(far, 5)] == [b"alive", b"alive"]
            assert server.input_list[1:] == sides
    assert callback_log.lines() == []


LINES = range(5)


class Failing(TheServer):
    """Unpairs line by line, and fails behind one of them."""

    line = 0

    def on_recv(self) -> None:
        self.fails(0)
        side, other = self.s, self.channel[self.s]
        del self.channel[other]
        self.fails(1)
        del self.channel[side]
        self.fails(2)
        self.input_list.remove(other)
        self.fails(3)
        self.input_list.remove(side)
        self.fails(4)

    def fails(self, line: int) -> None:
        if line == self.line:
            raise LookupError(line)


@SIDES
@pytest.mark.parametrize("line", LINES)
def test_on_recv_that_fails_while_it_unpairs_leaves_no_side_behind(
    sender: str, line: int, callback_log: CallbackLog
) -> None:
    with listener() as listening, Failing("", 0, bound_address(listening)) as server:
        server.line = line
        near, far = ends_of(server, listening, sender)
        with near, far:
            near.sendall(b"x")
            assert [ending(near)[0], ending(far)[0]] == ["reset", "reset"]
            callback_log.wait(f"on_recv raised LookupError: {line}")
            assert wait_until_idle(server).stats.callback_errors == 1
            poll(lambda: unpaired(server), 10.0, "nothing is left")


class Controllers(TheServer):
    """One client, and three upstreams that all get what it says."""

    def on_accept(self) -> None:
        self.client, _ = self.server.accept()
        assert isinstance(self.forward_to, Forward)
        host, port = self.forward_to.address
        self.upstreams: list[Any] = [Forward().start(host, port) for _ in range(3)]
        self.input_list += [self.client, *self.upstreams]
        for upstream in self.upstreams:
            self.channel[upstream] = self.client
        self.channel[self.client] = self.upstreams[0]

    def on_recv(self) -> None:
        for one in self.upstreams if self.s is self.client else [self.client]:
            one.send(self.data)


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_what_is_sent_to_one_that_has_ended_is_lost_where_no_on_close_says_so(
    how: str, callback_log: CallbackLog
) -> None:
    with listener() as listening, Controllers("", 0, bound_address(listening)) as server, ExitStack() as stack:
        client = stack.enter_context(connect(address_of(server)))
        upstreams = [stack.enter_context(listening.accept()[0]) for _ in range(3)]
        for upstream in upstreams:
            upstream.settimeout(10.0)
        # Not before they are all entered.
        client.sendall(b"all")
        assert [read_exactly(upstream, 3) for upstream in upstreams] == [b"all"] * 3
        if how == "reset":
            reset(upstreams[1])
        else:
            upstreams[1].close()
        poll(lambda: len(server.input_list) == 4, 10.0, "its end is seen")
        for word in (b"one", b"two"):
            client.sendall(word)
            assert [read_exactly(upstreams[number], 3) for number in (0, 2)] == [word, word]
        upstreams[2].sendall(b"answer")
        assert read_exactly(client, 6) == b"answer"
    assert callback_log.lines() == []


def test_a_client_that_was_closed_is_not_entered_again(echo: Echo, callback_log: CallbackLog) -> None:
    class Again(TheServer):
        def on_recv(self) -> None:
            self.s.close()
            self.input_list.remove(self.s)
            self.channel[self.s] = self.s

    with Again("", 0, echo.address) as server:
        exchange(server)
        assert "it is closed; pair it before close()" in callback_log.wait("on_recv raised ConnectionClosedError")
        wait_until_idle(server)
        poll(lambda: unpaired(server), 10.0, "nothing is left")


def test_a_side_of_another_server_is_not_entered(echo: Echo) -> None:
    with Super("", 0, echo.address) as one, Super("", 0, echo.address) as other, connect(address_of(one)) as client:
        assert echoed(client, b"1") == b"1"
        side = one.input_list[1]
        with pytest.raises(ConfigError, match="another server's"):
            other.input_list.append(side)
        with pytest.raises(ConfigError, match="another server's"):
            other.channel["new"] = side
        assert unpaired(other)
        assert echoed(client, b"2") == b"2"


def test_an_upstream_that_is_carried_alone_is_shown_as_one_side(echo: Echo) -> None:
    with Super("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"1") == b"1"
        upstream = server.input_list[2]
        own = Side.connection.fget(upstream)  # type: ignore[attr-defined] # pyright: ignore
        assert repr(own) == f"<Connection {own.id} {upstream!r} open>"
