"""Connected sockets of a script's own as upstreams, taken over where they are entered, or returned from on_accept."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from interpose import Connection, Side, TheServer
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.deadline import poll
from support.exchanges import exchange, wait_until_idle
from support.peers import Address, Echo, Served, connect, listener, read_exactly
from support.peers import bound_address as name_of
from support.peers import echo as echoed
from support.tutorial_scripts import unpaired


class Attributed(socket.socket):
    """As a SOCKS library's: a subclass with attributes of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.proxy = "mine"

    def greet(self) -> str:
        return self.proxy


def plain(address: Address) -> Any:
    return socket.create_connection(address, 5)


def blocking(address: Address) -> Any:
    sock = socket.create_connection(address)
    sock.settimeout(None)
    return sock


def attributed(address: Address) -> Any:
    sock = Attributed()
    sock.connect(address)
    return sock


KINDS = pytest.mark.parametrize("make", [plain, blocking, attributed])


@KINDS
def test_it_is_the_same_key_for_its_whole_life(make: Callable[[Address], Any], echo: Echo) -> None:
    names: dict[Any, str] = {}
    seen: list[Any] = []

    class Own(TheServer):
        def on_accept(self) -> None:
            upstream = make(echo.address)
            names[upstream] = "upstream"
            client, _ = self.server.accept()
            self.input_list += [client, upstream]
            self.channel[client], self.channel[upstream] = upstream, client

        def on_recv(self) -> None:
            other = self.channel[self.s]
            name = names.get(self.s, "client")
            seen.append((name, other == self.s.other, self.channel[other] is self.s, self.s in self.input_list))
            other.sendall(self.data)

        def on_close(self) -> None:
            seen.append([names.get(one) for one in (self.s, self.channel[self.s])])
            super().on_close()

    with Own("", 0) as server:
        with connect(address_of(server)) as client:
            assert echoed(client, b"abc") == b"abc"
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        wait_until_idle(server)
    (upstream,) = names
    assert names[upstream] == "upstream"
    assert upstream.fileno() == -1
    assert upstream.getpeername() == echo.address
    assert seen == [("client", True, True, True), ("upstream", True, True, True), [None, "upstream"]]
    assert isinstance(upstream, socket.socket)
    assert not isinstance(upstream, Attributed) or upstream.greet() == "mine"
    assert server.stats.callback_errors == 0


@KINDS
def test_in_our_form_too(make: Callable[[Address], Any], echo: Echo) -> None:
    given: list[Any] = []
    seen: list[Any] = []

    def on_accept(conn: Connection) -> Any:
        given.append(make(echo.address))
        return given[0]

    def on_recv(side: Side, data: bytes) -> None:
        if not side.is_client:
            seen.append((side == given[0], given[0] == side, {given[0]: 1}[side], hash(side) == hash(given[0])))

    with TheServer("", 0, on_accept=on_accept, on_recv=on_recv) as server:
        assert exchange(server) == ("eof", b"abc")
        assert wait_until_idle(server).stats.callback_errors == 0
    assert seen == [(True, True, 1, True)]


def test_what_came_before_it_was_paired_is_not_lost_and_its_own_methods_work(serve: Any) -> None:
    def greeting(sock: socket.socket) -> None:
        sock.sendall(b"who?and more")
        assert read_exactly(sock, 4) == b"mine"
        while data := sock.recv(100):
            sock.sendall(data)

    sockets: list[Any] = []

    class Own(TheServer):
        def on_accept(self) -> None:
            upstream = socket.create_connection(served.address, 5)
            assert upstream.recv(4) == b"who?"
            client, _ = self.server.accept()
            sockets.append(upstream)
            self.channel[client], self.channel[upstream] = upstream, client
            upstream.send(b"mine")

        def on_recv(self) -> None:
            self.channel[self.s].send(self.data)

    with Served(greeting) as served, Own("", 0) as server, connect(address_of(server)) as client:
        assert read_exactly(client, 8) == b"and more"
        sockets[0].send(b"by hand")
        assert read_exactly(client, 7) == b"by hand"
        sockets[0].close()
        assert client.recv(1) == b""
        assert wait_until_idle(server).stats.callback_errors == 0


def listening() -> Any:
    return listener()


def datagram() -> Any:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", 9))
    return sock


def closed() -> Any:
    sock = socket.socket()
    sock.close()
    return sock


def tls() -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return context.wrap_socket(socket.socket())


WRONG = pytest.mark.parametrize(
    ("make", "says"),
    [
        (socket.socket, "ConfigError: socket: it is not connected; connect() it"),
        (listening, "ConfigError: socket: it listens; give a connected one"),
        (datagram, "ConfigError: socket: it is no stream of TCP or Unix"),
        (closed, "ConfigError: socket: it is closed; pair it before close()"),
        (tls, "ArgumentTypeError: socket: it is an ssl.SSLSocket, whose TLS is read above the socket"),
    ],
)


@WRONG
def test_what_cannot_be_taken_over_is_refused_in_one_line(
    make: Callable[[], Any], says: str, callback_log: CallbackLog
) -> None:
    made: list[Any] = []

    class Own(TheServer):
        def on_accept(self) -> None:
            client, _ = self.server.accept()
            made.append(make())
            self.channel[client] = made[0]

    with Own("", 0) as server:
        assert exchange(server)[0] == "reset"
        callback_log.wait("on_accept raised " + says)
        assert unpaired(server)
        made[0].close()


@WRONG
def test_the_same_in_our_form(make: Callable[[], Any], says: str, callback_log: CallbackLog) -> None:
    made: list[Any] = []

    def on_accept(conn: Connection) -> Any:
        made.append(make())
        return made[0]

    with TheServer("", 0, on_accept=on_accept) as server:
        assert exchange(server)[0] == "reset"
        callback_log.wait("on_accept raised " + says)
        made[0].close()


def test_a_unix_socket(tmp_path: Any) -> None:
    path = str(tmp_path / "upstream")
    with socket.socket(socket.AF_UNIX) as upstream:
        upstream.bind(path)
        upstream.listen()

        class Own(TheServer):
            def on_accept(self) -> None:
                client, _ = self.server.accept()
                one = socket.socket(socket.AF_UNIX)
                one.connect(path)
                self.channel[client], self.channel[one] = one, client

            def on_recv(self) -> None:
                self.channel[self.s].send(self.data)

        with Own("", 0) as server, connect(address_of(server)) as client:
            peer, _ = upstream.accept()
            with peer:
                client.sendall(b"abc")
                assert read_exactly(peer, 3) == b"abc"
                peer.sendall(b"def")
                assert read_exactly(client, 3) == b"def"


def test_one_whose_peer_has_gone_ends_at_once() -> None:
    class Own(TheServer):
        def on_accept(self) -> None:
            client, _ = self.server.accept()
            one = socket.create_connection(name_of(upstream), 5)
            upstream.accept()[0].close()
            self.channel[client], self.channel[one] = one, client

        def on_recv(self) -> None:
            raise AssertionError(self.data)

    with listener() as upstream, Own("", 0) as server, connect(address_of(server)) as client:
        assert client.recv(1) == b""
        client.close()
        assert wait_until_idle(server).stats.callback_errors == 0
