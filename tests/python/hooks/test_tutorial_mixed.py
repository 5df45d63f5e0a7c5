"""The tutorial's form beside ours, in one class and while it serves."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from interpose import ArgumentTypeError, Callbacks, CloseReason, ConfigError, TheServer
from support.addresses import address_of
from support.callbacks import CloseRecorder, from_data
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Echo, connect, ending, read_exactly
from support.peers import echo as echoed
from support.tutorial_scripts import BOTH, OnlyRecv, unpaired


@BOTH
def test_more_threads_than_one_are_refused(kind: type[TheServer], echo: Echo) -> None:
    with pytest.raises(ConfigError, match=r"threads: methods without arguments share self\.s"):
        kind("", 0, echo.address, callbacks=Callbacks(threads=2))


def test_with_callbacks_of_our_form_beside_it(echo: Echo) -> None:
    """on_eof and on_close by keyword, on_recv as a method without arguments."""
    ends, calls = CloseRecorder(), list[Any]()
    with OnlyRecv("", 0, echo.address, on_eof=lambda side: calls.append(side.is_client), on_close=ends) as server:
        assert exchange(server) == ("eof", b"ABC")
        assert ends.wait().reason is CloseReason.FINISHED
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
    assert calls == [True, False]


def test_our_form_for_one_direction_goes_before_it(echo: Echo) -> None:
    with OnlyRecv("", 0, echo.address, on_upstream_recv=from_data(lambda data: data + b"!")) as server:
        assert exchange(server) == ("eof", b"ABC!")


def test_an_assigned_callback_takes_its_place_and_gives_it_back(echo: Echo) -> None:
    with OnlyRecv("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"ABC"
        setattr(server, "on_recv", from_data(lambda data: data * 2))  # noqa: B010
        client.sendall(b"abc")
        assert read_exactly(client, 12) == b"abcabc" * 2
        with connect(address_of(server)) as meanwhile:
            meanwhile.sendall(b"abc")
            assert read_exactly(meanwhile, 12) == b"abcabc" * 2
            del server.on_recv
            assert echoed(client, b"abc") == b"ABC"
            assert echoed(meanwhile, b"abc") == b"ABC"
    poll(lambda: unpaired(server), 10.0, "all are unpaired")


def test_any_other_callback_may_change_while_it_serves(echo: Echo) -> None:
    """What is connected stays paired."""
    with OnlyRecv("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"ABC"
        ends = CloseRecorder()
        server.on_close = ends
        server.on_upstream_recv = from_data(lambda data: data + b"!")
        assert read_after(client) == b"ABC!"
        del server.on_upstream_recv
        assert echoed(client, b"abc") == b"ABC"
        client.close()
        ends.wait()
        assert server.stats.callback_errors == 0


def read_after(client: socket.socket) -> bytes:
    client.sendall(b"abc")
    return read_exactly(client, 4)


@BOTH
def test_a_decorated_function_takes_a_method_s_place_and_gives_it_back(kind: type[TheServer], echo: Echo) -> None:
    ends = CloseRecorder()
    with kind("", 0, echo.address) as server:
        server.on_recv(from_data(lambda data: data * 2))
        server.on_close(ends)
        with connect(address_of(server)) as client:
            client.sendall(b"abc")
            assert read_exactly(client, 12) == b"abc" * 4
        ends.wait()
        del server.on_recv
        with connect(address_of(server)) as client:
            assert echoed(client, b"ABC") == b"ABC"
        assert server.stats.callback_errors == 0


class Base(TheServer):
    """Does with each hook what the tutorial does."""

    def on_accept(self) -> None:
        super().on_accept()

    def on_recv(self) -> None:
        super().on_recv()

    def on_close(self) -> None:
        super().on_close()


class OurRecv(Base):
    def on_recv(self, side: Any, data: Any) -> None:  # type: ignore[override] # pyright: ignore
        super().on_recv()


class OurAccept(Base):
    def on_accept(self, conn: Any) -> None:  # type: ignore[override] # pyright: ignore
        super().on_accept()


class OurClose(Base):
    def on_close(self, conn: Any) -> None:  # type: ignore[override] # pyright: ignore
        super().on_close()


class AllOurs(OurRecv, OurAccept, OurClose): ...  # pyright: ignore


@pytest.mark.parametrize(
    ("kind", "hook", "takes"),
    [
        (OurRecv, "on_recv", r"\(side.*, data.*\).*"),
        (OurAccept, "on_accept", r"\(conn.*\).*"),
        (OurClose, "on_close", r"\(conn.*\).*"),
        (AllOurs, "on_recv", r"\(side.*, data.*\).*"),
    ],
)
def test_super_of_the_other_form_is_answered_with_that(
    kind: type[TheServer], hook: str, takes: str, echo: Echo
) -> None:
    """Check that the message names the call that failed, and not how to decorate."""
    with kind("", 0, echo.address) as server, pytest.raises(ArgumentTypeError) as raised:
        getattr(kind, hook)(server, *[None] * (2 if hook == "on_recv" else 1))
    said = rf"{hook}: super\(\)\.{hook}\(\) without arguments .* and {kind.__name__}\.{hook} takes {takes}; write"
    assert re.match(said, str(raised.value))


class Quits(TheServer):
    """Hangs up on whoever says so."""

    def on_recv(self) -> None:
        if self.data == b"quit":
            self.on_close()
        else:
            self.channel[self.s].send(self.data)


class QuitsByItself(Quits):
    """The same with a method for that."""

    def on_close(self) -> None:
        self.channel[self.s].close()
        del self.channel[self.channel.pop(self.s)]
        self.input_list[1:] = []


@pytest.mark.parametrize("kind", [Quits, QuitsByItself])
@pytest.mark.parametrize("given", [True, False], ids=["given", "assigned"])
def test_on_close_hangs_up_beside_one_of_our_form(kind: type[TheServer], given: bool, echo: Echo) -> None:
    """Called by a method without arguments it is the tutorial's; ours is told of the end."""
    ends = CloseRecorder()
    with kind("", 0, echo.address, on_close=ends if given else None) as server, connect(address_of(server)) as client:
        if not given:
            server.on_close = ends
        assert echoed(client, b"abc") == b"abc"
        client.sendall(b"quit")
        assert ending(client) == ("eof", b"")
        client.close()
        assert ends.wait().reason is CloseReason.CLOSED
        assert unpaired(server)
        assert server.stats.callback_errors == 0
