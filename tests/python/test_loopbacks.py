"""`localhost` as LISTEN: both loopback addresses, and a note with -v where this machine has one of them only."""

from __future__ import annotations

import logging

import pytest
from interpose import TheServer
from interpose._cli import served
from interpose._cli.served import started
from support.addresses import address_of
from support.peers import Echo, connect
from support.peers import echo as echoed


class Listening:
    """A listener of the command."""

    what = "for a test"
    shows = False

    def __init__(self, address: str, target: int) -> None:
        self.address = address
        self._target = target

    def bind(self) -> TheServer:
        return TheServer(self.address, forward_to=f"127.0.0.1:{self._target}")


def notes(caplog: pytest.LogCaptureFixture, address: str, echo: Echo) -> list[str]:
    """Serve `address` for a moment, and return the notes about loopback addresses."""
    caplog.clear()
    listening = Listening(address, echo.address[1])
    with caplog.at_level(logging.INFO, "interpose"), listening.bind() as server:
        assert started(server, listening).startswith("listening on ")
        with connect(("127.0.0.1", address_of(server)[1])) as client:
            assert echoed(client, b"hello") == b"hello"
    return [record.getMessage() for record in caplog.records if "this machine has no" in record.getMessage()]


def test_a_loopback_address_that_is_missing_is_noted(
    echo: Echo, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if served.has_address("::1"):
        assert notes(caplog, "localhost:0", echo) == []
    assert not served.has_address("192.0.2.1")
    monkeypatch.setattr(served, "has_address", "127.0.0.1".__eq__)
    said = "listener localhost: this machine has no ::1; it listens on the other loopback address"
    assert notes(caplog, "localhost:0", echo) == [said]
    assert notes(caplog, "127.0.0.1:0", echo) == []


def test_localhost_is_both(echo: Echo) -> None:
    with Listening("localhost:0", echo.address[1]).bind() as server:
        for host in filter(served.has_address, ("127.0.0.1", "::1")):
            with connect((host, address_of(server)[1])) as client:
                assert echoed(client, b"hello") == b"hello"
