"""The sides of a script in the tutorial's form: any number of them, paired as `channel` says, one object for each."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from interpose import Connection, Forward, Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import exchange, wait_until_idle
from support.peers import Address, Echo, Served, connect, ending, listener, read_exactly
from support.peers import bound_address as name_of
from support.peers import echo as echoed
from support.tutorial_scripts import Chat, OnlyRecv, WholeTutorial, unpaired


def both(server: Any, client: Any, upstream: Any) -> None:
    server.input_list += [client, upstream]
    server.channel[client], server.channel[upstream] = upstream, client


class Logged(TheServer):
    """Calls what it overrides, with a note before each."""

    def __init__(self, address: Address) -> None:
        self.notes: list[Any] = []
        self.msg_count = 0
        super().__init__("", 0, address)

    def on_accept(self) -> None:
        self.notes.append("accept")
        super().on_accept()

    def on_recv(self) -> None:
        self.msg_count += 1
        super().on_recv()

    def on_close(self) -> None:
        self.notes.append(("close", self.s in self.channel))
        super().on_close()


def test_each_method_may_call_the_one_it_overrides(echo: Echo) -> None:
    with Logged(echo.address) as server:
        with connect(address_of(server)) as client:
            assert echoed(client, b"abc") == b"abc"
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        wait_until_idle(server)
    assert server.notes == ["accept", ("close", True)]
    assert server.msg_count == 2
    assert server.stats.callback_errors == 0


def test_an_override_in_our_form_may_call_it_too(echo: Echo) -> None:
    class Ours(TheServer):
        def on_accept(self, conn: Connection) -> Any:
            return super().on_accept(conn)

        def on_recv(self, side: Side, data: bytes) -> Any:
            return super().on_recv(side, data)

        def on_close(self, conn: Connection) -> None:
            super().on_close(conn)

    with Ours("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"abc")
        assert wait_until_idle(server).stats.callback_errors == 0


def test_a_side_is_one_object_for_its_whole_life(echo: Echo) -> None:
    names: dict[Any, str] = {}
    seen: list[Any] = []

    class Named(WholeTutorial):
        def on_accept(self) -> None:
            upstream = Forward().start(*echo.address)
            client, _ = self.server.accept()
            assert upstream
            names[client], names[upstream] = "client", "upstream"
            both(self, client, upstream)

        def on_recv(self) -> None:
            seen.append((names[self.s], names[self.channel[self.s]], self.s.connection.client is self.s))
            super().on_recv()

        def on_close(self) -> None:
            seen.append(names[self.s])
            super().on_close()

    with Named("", 0, echo.address) as server:
        with connect(address_of(server)) as client:
            assert echoed(client, b"abc") == b"abc"
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        wait_until_idle(server)
    assert seen[0] == ("client", "upstream", True)
    assert seen[-1] == "client"
    assert {names[side] for side in list(names)} == {"client", "upstream"}
    assert len({*names, *names}) == 2
    assert server.stats.callback_errors == 0


class Late(TheServer):
    """Connects a client when it says so, as often as that takes."""

    target: Address

    def on_accept(self) -> None:
        client, _ = self.server.accept()
        self.input_list.append(client)

    def on_recv(self) -> None:
        if self.s in self.channel:
            self.channel[self.s].send(self.data)
        elif upstream := Forward().start(*self.target):
            both(self, self.s, upstream)
            self.s.send(b"yes")
        else:
            self.s.send(b"no")

    def on_close(self) -> None:
        other = self.channel.pop(self.s, None)
        if other is not None:
            del self.channel[other]
        if other is not None and self.s.is_client:
            self.input_list.remove(other)
            other.close()
        self.input_list.remove(self.s)
        self.s.close()


def test_a_client_may_live_without_an_upstream_and_get_one_later(refusing: Address) -> None:
    with listener() as upstream, Late("", 0) as server, connect(address_of(server)) as client:
        server.target = refusing
        for _ in range(2):
            assert echoed(client, b"hi") == b"no"
        server.target = name_of(upstream)
        for _ in range(2):
            client.sendall(b"hi")
            assert read_exactly(client, 3) == b"yes"
            peer, _ = upstream.accept()
            with peer:
                client.sendall(b"there")
                assert read_exactly(peer, 5) == b"there"
                peer.sendall(b"here")
                assert read_exactly(client, 4) == b"here"
            poll(lambda: server.channel == {}, 10.0, "it is unpaired")
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", b"")
        poll(lambda: unpaired(server), 10.0, "all are gone")
        assert wait_until_idle(server).stats.callback_errors == 0
        assert server.stats.accepted == 1


def test_one_client_and_three_upstreams(serve: Any) -> None:
    """Bytes go where the script sends them."""

    def controller(number: int) -> Any:
        def run(sock: socket.socket) -> None:
            while data := sock.recv(100):
                sock.sendall(b"%d:%b" % (number, data))

        return run

    class Switch(TheServer):
        def on_accept(self) -> None:
            client, _ = self.server.accept()
            self.input_list.append(client)
            self.controllers: list[Any] = []
            for address in addresses:
                one = Forward().start(*address)
                assert one
                self.controllers.append(one)
                self.input_list.append(one)
                self.channel[one] = client

        def on_recv(self) -> None:
            if self.s in self.controllers:
                self.channel[self.s].send(self.data)
            else:
                for one in self.controllers:
                    one.send(self.data)

    with Served(controller(1)) as one, Served(controller(2)) as two, Served(controller(3)) as three:
        addresses = [one.address, two.address, three.address]
        with Switch("", 0) as server:
            with connect(address_of(server)) as client:
                client.sendall(b"x")
                assert sorted([read_exactly(client, 3) for _ in range(3)]) == [b"1:x", b"2:x", b"3:x"]
                assert server.stats.active == 1
                assert len(server.connections) == 1
            poll(lambda: server.stats.active == 0, 10.0, "the client is gone")
            assert server.stats.callback_errors == 0
            server.stop(drain=0.0)


def test_a_broadcast_to_all_of_input_list() -> None:
    with (
        Chat("", 0) as server,
        connect(address_of(server)) as a,
        connect(address_of(server)) as b,
        connect(address_of(server)) as c,
    ):
        poll(lambda: len(server.input_list) == 4, 10.0, "all are there")
        a.sendall(b"hello")
        assert [read_exactly(one, 5) for one in (b, c)] == [b"hello"] * 2
        b.close()
        poll(lambda: len(server.input_list) == 3, 10.0, "one has left")
        c.sendall(b"again")
        assert read_exactly(a, 5) == b"again"
        assert server.stats.callback_errors == 0


def test_a_pair_that_is_deleted_lives_on_unpaired(echo: Echo) -> None:
    got: list[Any] = []

    class Parting(OnlyRecv):
        def on_recv(self) -> None:
            other: Any = self.channel.get(self.s)
            if self.data == b"part":
                del self.channel[self.s]
                del self.channel[other]
                self.s.send(b"parted")
            elif other is None:
                got.append(self.data)
                self.s.send(b"alone")
            else:
                other.send(self.data)

    with Parting("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"abc"
        client.sendall(b"part")
        assert read_exactly(client, 6) == b"parted"
        assert echoed(client, b"alone") == b"alone"
        assert got == [b"alone"]
        assert len(server.input_list) == 3
        assert server.stats.callback_errors == 0
        server.stop(drain=0.0)


def test_a_side_out_of_input_list_is_not_read_until_it_is_back(echo: Echo) -> None:
    class Held(TheServer):
        held: Any = None

        def on_recv(self) -> None:
            if self.data == b"hold":
                self.held = self.s
                self.input_list.remove(self.s)
                self.s.send(b"held")
            else:
                self.channel[self.s].send(self.data)

    with Held("", 0, echo.address) as server, connect(address_of(server)) as client:
        client.sendall(b"hold")
        assert read_exactly(client, 4) == b"held"
        before = server.stats.to_upstream.read
        client.sendall(b"abc")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert server.stats.to_upstream.read == before
        client.settimeout(10)
        server.input_list.append(server.held)
        assert read_exactly(client, 3) == b"abc"


def test_a_client_that_the_script_refers_to_no_more_is_closed() -> None:
    class Forgetful(TheServer):
        def on_accept(self) -> None:
            client, _ = self.server.accept()
            self.input_list.append(client)

        def on_recv(self) -> None:
            self.s.send(b"bye")
            self.input_list.remove(self.s)

    with Forgetful("", 0) as server, connect(address_of(server)) as client:
        client.sendall(b"abc")
        assert ending(client) == ("eof", b"bye")
        assert wait_until_idle(server).stats.callback_errors == 0


def test_one_kept_outside_of_input_list_is_not_read_and_not_closed() -> None:
    kept: list[Any] = []

    class Keeps(TheServer):
        def on_accept(self) -> None:
            kept.append(self.server.accept()[0])

        def on_recv(self) -> None:
            self.s.send(self.data)

    with Keeps("", 0) as server, connect(address_of(server)) as client:
        client.sendall(b"abc")
        poll(lambda: kept, 10.0, "it was accepted")
        kept[0].send(b"wait")
        assert read_exactly(client, 4) == b"wait"
        assert server.stats.to_upstream.read == 0
        server.input_list.append(kept[0])
        assert read_exactly(client, 3) == b"abc"


def test_upstreams_that_were_entered_before_the_start(echo: Echo) -> None:
    got = threading.Event()

    class Early(TheServer):
        def __init__(self) -> None:
            super().__init__("", 0, echo.address)
            self.early: Any = Forward().start(*echo.address)
            self.input_list.append(self.early)

        def on_recv(self) -> None:
            if self.s is self.early and self.data == b"hello":
                got.set()

    server = Early()
    server.early.send(b"hello")
    with server:
        assert got.wait(10)
        server.early.send(b"more")
        server.stop(drain=0.0)


def test_a_whole_new_channel_and_list(echo: Echo) -> None:
    class Anew(OnlyRecv):
        def on_recv(self) -> None:
            if self.data == b"anew":
                a, b = self.s, self.channel[self.s]
                self.channel = {a: b, b: a}
                self.input_list = [self.server, a, b]
                a.send(b"done")
            elif self.data == b"none":
                self.channel = {}
                self.input_list = []
            else:
                super().on_recv()

    with Anew("", 0, echo.address) as server, connect(address_of(server)) as client:
        client.sendall(b"anew")
        assert read_exactly(client, 4) == b"done"
        assert echoed(client, b"abc") == b"ABC"
        client.sendall(b"none")
        assert ending(client) == ("eof", b"")
        assert wait_until_idle(server).stats.callback_errors == 0
