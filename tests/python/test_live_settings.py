"""Settings that are assigned to a server: for the clients to come, at once, and never half."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from interpose import (
    ArgumentTypeError,
    Callbacks,
    ConfigError,
    Forward,
    Limits,
    Listen,
    Relay,
    ServerStoppedError,
    TheServer,
    Timeouts,
)
from support.peers import Address, Served, connect, ending


def greeter(word: bytes) -> Served:
    """An upstream that greets each client with a word, and echoes."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(word)
        while data := sock.recv(100):
            sock.sendall(data)

    return Served(serve)


@pytest.fixture
def upstreams() -> Iterator[tuple[Address, Address]]:
    with greeter(b"1") as first, greeter(b"2") as second:
        yield first.address, second.address


def word(server: TheServer) -> bytes:
    with connect(server.address) as client:
        return client.recv(1)


class Script(TheServer):
    """The tutorial's form, whose on_accept is the tutorial's."""

    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)


@pytest.mark.parametrize("kind", [TheServer, Script])
def test_a_new_target_is_for_the_next_client_and_live_ones_keep_theirs(
    kind: type[TheServer], upstreams: tuple[Address, Address]
) -> None:
    first, second = upstreams
    with kind("", 0, first) as server, connect(server.address) as live:
        assert live.recv(1) == b"1"
        server.forward_to = second
        assert server.forward_to == Forward(*second)
        assert word(server) == b"2"
        live.sendall(b"x")
        assert live.recv(1) == b"x"


def test_settings_may_change_before_the_start(upstreams: tuple[Address, Address]) -> None:
    server = TheServer("", 0, upstreams[0])
    server.forward_to, server.timeouts, server.limits = upstreams[1], Timeouts(idle=5), Limits(max_connections=7)
    with server:
        assert word(server) == b"2"
        assert (server.timeouts, server.limits) == (Timeouts(idle=5), Limits(max_connections=7))
        assert server.stats.max_connections == 7


@pytest.mark.parametrize("where", ["callback", "thread"])
def test_a_new_target_may_be_set_in_a_callback_and_a_thread(where: str, upstreams: tuple[Address, Address]) -> None:
    with TheServer("", 0, upstreams[0]) as server:

        def change(_: object = None) -> None:
            server.forward_to = upstreams[1]

        if where == "thread":
            thread = threading.Thread(target=change)
            thread.start()
            thread.join(5)
        else:
            server.on_accept = change
            # Accepted before the change, so it goes to the target of then.
            assert word(server) == b"1"
        assert word(server) == b"2"


def test_new_timeouts_hold_for_the_next_client(upstreams: tuple[Address, Address]) -> None:
    with TheServer("", 0, upstreams[0]) as server, connect(server.address) as live:
        assert live.recv(1) == b"1"
        server.timeouts = Timeouts(idle=0.05)
        with connect(server.address) as client:
            assert ending(client)[0] == "reset"
        live.sendall(b"x")
        assert live.recv(1) == b"x"


def test_a_lower_limit_ends_nobody_and_a_higher_one_lets_the_next_in(upstreams: tuple[Address, Address]) -> None:
    with (
        TheServer("", 0, upstreams[0], limits=Limits(max_connections=2)) as server,
        connect(server.address) as one,
        connect(server.address) as two,
    ):
        assert (one.recv(1), two.recv(1)) == (b"1", b"1")
        server.limits = Limits(max_connections=1)
        assert server.stats.max_connections == 1
        one.sendall(b"x")
        assert one.recv(1) == b"x"
        with connect(server.address) as third:
            third.settimeout(0.05)
            with pytest.raises(TimeoutError):
                third.recv(1)
            server.limits = Limits(max_connections=3)
            third.settimeout(10)
            assert third.recv(1) == b"1"


BAD: list[tuple[str, Any, type[Exception]]] = [
    ("forward_to", 5, ArgumentTypeError),
    ("forward_to", None, ConfigError),
    ("forward_to", "host:0", ConfigError),
    ("timeouts", 5, ArgumentTypeError),
    ("timeouts", None, ArgumentTypeError),
    ("limits", Timeouts(), ArgumentTypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD)
def test_a_bad_value_changes_nothing(
    name: str, value: object, error: type[Exception], upstreams: tuple[Address, Address]
) -> None:
    with TheServer("", 0, upstreams[0]) as server:
        before = server.forward_to, server.timeouts, server.limits
        with pytest.raises(error):
            setattr(server, name, value)
        with pytest.raises(ConfigError, match="listener's own"):
            server.forward_to = server.address
        assert (server.forward_to, server.timeouts, server.limits) == before
        assert word(server) == b"1"


def test_a_stopped_server_takes_no_settings(upstreams: tuple[Address, Address]) -> None:
    server = TheServer("", 0, upstreams[0]).start()
    server.stop()
    with pytest.raises(ServerStoppedError, match="forward_to"):
        server.forward_to = upstreams[1]
    assert server.forward_to == Forward(*upstreams[0])


def test_a_script_may_have_attributes_of_its_own_by_the_names_of_settings(upstreams: tuple[Address, Address]) -> None:
    class Own(Script):
        limits: Any = ()

        def __init__(self, forward_to: Address) -> None:
            self.timeouts: Any = {}
            super().__init__("", 0, forward_to)
            self.timeouts[1] = 2

    with Own(upstreams[0]) as server:
        server.limits = 3
        assert (server.timeouts, server.limits) == ({1: 2}, 3)
        server.timeouts = Timeouts(idle=9)
        assert server.timeouts == Timeouts(idle=9)
        assert word(server) == b"1"


FIXED: dict[str, Any] = {"relay": Relay(splice=False), "listen": Listen(public=True), "callbacks": Callbacks(threads=2)}


@pytest.mark.parametrize("name", FIXED)
def test_a_group_that_cannot_change_is_refused_instead_of_kept_without_effect(name: str) -> None:
    with TheServer("", 0, ("127.0.0.1", 9)) as server:
        with pytest.raises(AttributeError, match=f"^{name}: it is fixed once the server listens; make a new TheServer"):
            setattr(server, name, FIXED[name])
        setattr(server, name, "a script's own")


@pytest.mark.parametrize("name", ["inspect_limit", "callback_timeout", "preread_limit", "preread_timeout"])
def test_a_setting_of_hooks_is_refused_instead_of_kept_without_effect(name: str) -> None:
    with (
        TheServer("", 0, ("127.0.0.1", 9)) as server,
        pytest.raises(AttributeError, match=f"^{name}: it is fixed once the server listens; make a new TheServer"),
    ):
        setattr(server, name, 1)


def test_the_timeouts_of_a_server_are_those_in_force_whatever_its_class_has() -> None:
    class Descendant(TheServer):
        timeouts = Timeouts(idle=1)
        limits: Any = "its own"

    with Descendant("", 0, ("127.0.0.1", 9)) as server:
        assert server.timeouts == Timeouts()
        assert server.limits == "its own"
