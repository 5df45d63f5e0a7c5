"""Attributes of a subclass's own, under names that the server has for its figures."""

from __future__ import annotations

import time
from typing import Any

import pytest
from interpose import Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Echo, connect
from support.peers import echo as echoed
from support.tutorial_scripts import unpaired

FIGURES = ("connections", "stats", "address", "unix_path")
named = pytest.mark.parametrize("name", FIGURES)


class Script(TheServer):
    """Of the tutorial's form, with an attribute of each name before and after the server is made."""

    def __init__(self, *arguments: Any) -> None:
        for name in FIGURES:
            setattr(self, name, {"before": name})
        super().__init__(*arguments)
        self.found = [getattr(self, name) for name in FIGURES]
        for name in FIGURES:
            setattr(self, name, {"of": name})

    def on_accept(self) -> None:
        super().on_accept()

    def on_recv(self) -> None:
        super().on_recv()


class InTheClass(TheServer):
    """A server with them as attributes of the class."""

    address = unix_path = None  # type: ignore[assignment] # pyright: ignore
    connections = stats = ()  # type: ignore[assignment] # pyright: ignore

    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)


class Ours(TheServer):
    """Of our form."""

    def on_client_recv(self, side: Side, data: bytes) -> bytes:
        return data


@pytest.mark.parametrize("kind", [Script, InTheClass])
def test_a_script_may_use_every_name_and_is_served(kind: type[Script | InTheClass], echo: Echo) -> None:
    with kind("", 0, echo.address) as server:
        with connect(server.server.getsockname()) as client:
            assert echoed(client, b"abc") == b"abc"
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
    assert "127.0.0.1" in repr(server)
    if isinstance(server, Script):
        assert server.found == [{"before": name} for name in FIGURES]
        assert [getattr(server, name) for name in FIGURES] == [{"of": name} for name in FIGURES]


@named
def test_a_subclass_of_our_form_may_as_well_and_has_it_back(name: str, echo: Echo) -> None:
    with Ours("", 0, echo.address) as server:
        address, before = address_of(server), getattr(server, name)
        setattr(server, name, "its own")
        assert getattr(server, name) == "its own"
        with connect(address) as client:
            assert echoed(client, b"abc") == b"abc"
        delattr(server, name)
        assert type(getattr(server, name)) is type(before)
        with pytest.raises(AttributeError):
            delattr(server, name)


@named
def test_a_server_that_is_no_subclass_refuses_them_as_ever(name: str) -> None:
    server = TheServer("", 0, "example.org:80")
    with pytest.raises(AttributeError, match=f"property '{name}' of 'TheServer' object has no setter"):
        setattr(server, name, "its own")
    server.stop()


def test_when_a_script_was_started_may_be_in_start(echo: Echo) -> None:
    """An attribute, as `self.start = time.time()`, is not what `with` calls."""
    server = Ours("", 0, echo.address)
    vars(server)["start"] = time.monotonic()
    with server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"abc"


def test_a_script_may_put_something_else_in_server(echo: Echo) -> None:
    """It only loses its own way to the listener."""
    server = Script("", 0, echo.address)
    address = server.server.getsockname()
    vars(server)["server"] = "its own"
    with server, connect(address) as client:
        assert echoed(client, b"abc") == b"abc"
