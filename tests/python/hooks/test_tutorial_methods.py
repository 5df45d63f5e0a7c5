"""Methods of the tutorial's form: reading before pairing, raising at any line, names of the script's own."""

from __future__ import annotations

import logging
import socket
from typing import Any, cast

import pytest
from interpose import ConfigError, Forward, RecvError, RecvTimeoutError, TheServer
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.deadline import poll
from support.exchanges import exchange, wait_until_idle
from support.peers import Echo, Served, connect, listener, read_exactly
from support.peers import bound_address as name_of
from support.tutorial_scripts import unpaired


def both(server: Any, client: Any, upstream: Any) -> None:
    server.input_list += [client, upstream]
    server.channel[client], server.channel[upstream] = upstream, client


def test_a_side_can_be_read_before_it_is_paired_and_not_after(callback_log: CallbackLog) -> None:
    refused: list[str] = []

    def greeting(sock: socket.socket) -> None:
        sock.sendall(b"who?")
        assert read_exactly(sock, 4) == b"mine"
        sock.sendall(b"welcome, rest")
        sock.recv(1)

    class Greeted(TheServer):
        def on_accept(self) -> None:
            client, _ = self.server.accept()
            upstream: Any = Forward().start(*served.address)
            unread: Any = Forward().start(*silent)
            with pytest.raises(RecvTimeoutError, match="sent nothing in"):
                unread.recv(1, 0.05)
            assert read_exactly(upstream, 4) == b"who?"
            upstream.sendall(b"mine")
            assert upstream.recv(8) == b"welcome,"
            both(self, client, upstream)
            for one in (client, upstream):
                with pytest.raises(RecvError, match="comes to on_recv") as raised:
                    cast(Any, one).recv(1)
                refused.append(str(raised.value))

        def on_recv(self) -> None:
            self.channel[self.s].send(self.data)

    with listener() as quiet, Served(greeting) as served:
        silent = name_of(quiet)
        with Greeted("", 0) as server, connect(address_of(server)) as client:
            assert read_exactly(client, 5) == b" rest"
    assert len(refused) == 2
    assert callback_log.lines(level=logging.ERROR) == []


@pytest.mark.parametrize("line", range(5))
@pytest.mark.parametrize("where_it_raises", ["on_accept", "on_recv", "on_close"])
def test_nothing_is_left_behind_wherever_a_method_raises(
    where_it_raises: str, line: int, echo: Echo, callback_log: CallbackLog
) -> None:
    def step(name: str, number: int) -> None:
        if (name, number) == (where_it_raises, line):
            raise LookupError(name)

    class Fragile(TheServer):
        def on_accept(self) -> None:
            step("on_accept", 0)
            client, _ = self.server.accept()
            step("on_accept", 1)
            upstream = Forward().start(*echo.address)
            assert upstream
            step("on_accept", 2)
            self.input_list.append(client)
            self.input_list.append(upstream)
            step("on_accept", 3)
            self.channel[client] = upstream
            step("on_accept", 4)
            self.channel[upstream] = client

        def on_recv(self) -> None:
            step("on_recv", 0)
            more = Forward().start(*echo.address)
            assert more
            step("on_recv", 1)
            self.input_list.append(more)
            step("on_recv", 2)
            self.channel[more] = self.s
            step("on_recv", 3)
            self.input_list.remove(more)
            step("on_recv", 4)
            del self.channel[more]
            more.close()
            self.channel[self.s].send(self.data)

        def on_close(self) -> None:
            step("on_close", 0)
            other = self.channel[self.s]
            step("on_close", 1)
            self.input_list.remove(self.s)
            step("on_close", 2)
            del self.channel[self.s]
            step("on_close", 3)
            other.close()
            step("on_close", 4)
            self.input_list.remove(other)
            del self.channel[other]
            self.s.close()

    with Fragile("", 0) as server:
        exchange(server)
        callback_log.wait(f"{where_it_raises} raised LookupError")
        poll(lambda: unpaired(server), 10.0, f"{server.input_list}, {server.channel}")
        wait_until_idle(server)
        poll(lambda: echo.open() == 0, 10.0, "every upstream is closed")


def test_names_of_the_script_s_own_are_its_own(echo: Echo) -> None:
    class Own(TheServer):
        target = echo.address
        t: Any = None

        def on_recv(self) -> None:
            self.t = self.target
            self.on_received_mail()
            self.channel[self.s].send(self.data)

        def on_received_mail(self) -> None:
            self.calls = getattr(self, "calls", 0) + 1

    with Own("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"abc")
    assert server.t == echo.address
    assert server.calls == 2


def test_super_on_accept_without_a_target_says_so(callback_log: CallbackLog) -> None:
    class Nowhere(TheServer):
        def on_accept(self) -> None:
            super().on_accept()

    with Nowhere("", 0) as server:
        assert exchange(server)[0] == "reset"
        callback_log.wait("on_accept raised ConfigError: forward_to: super().on_accept() connects to it")
    assert issubclass(ConfigError, ValueError)
