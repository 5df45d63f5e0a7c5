"""`on_preread`: where a client goes is decided by what it says first."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Iterator
from typing import Any

import interpose
import pytest
from conftest import Serve
from interpose import (
    MORE,
    ArgumentTypeError,
    Callbacks,
    CloseReason,
    ConfigError,
    Connection,
    Forward,
    Side,
    TheServer,
)
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Address, Echo, Served, connect, ending, read_exactly

SECONDS = 10.0


def named(name: bytes) -> Served:
    """An upstream that sends back what it gets, behind its name."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(name + b" ")
        while data := sock.recv(65536):
            sock.sendall(data)

    return Served(serve)


@pytest.fixture
def other() -> Iterator[Address]:
    with named(b"other") as upstream:
        yield upstream.address


def by_line(other: Address) -> Callable[[Connection, bytes], Any]:
    """Return an on_preread that decides by the first line."""

    def on_preread(conn: Connection, data: bytes) -> Any:
        line, end, _ = data.partition(b"\n")
        if not end:
            return MORE
        if line == b"refuse":
            conn.client.send(b"no\n")
            return False
        return other if line == b"other" else None

    return on_preread


def later(callback: Callable[[Connection, bytes], Any]) -> Callable[..., Any]:
    async def on_preread(conn: Connection, data: bytes) -> Any:
        await asyncio.sleep(0)
        return callback(conn, data)

    return on_preread


def returning(callback: Callable[[Connection, bytes], Any]) -> Callable[..., Any]:
    def on_preread(conn: Connection, data: bytes) -> Any:
        return later(callback)(conn, data)

    return on_preread


def as_it_is(callback: Callable[..., Any]) -> Callable[..., Any]:
    return callback


def answering(answer: object) -> Callable[[Connection, bytes], Any]:
    """Return a callback that always answers so."""
    return lambda conn, data: answer


def upper(_: Side, data: bytes) -> bytes:
    return data.upper()


FORMS: dict[str, Callable[..., Any]] = {"def": as_it_is, "async def": later, "awaitable": returning}


@pytest.mark.parametrize("form", FORMS)
def test_the_first_line_decides_and_every_byte_is_relayed(form: str, other: Address, echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_preread=FORMS[form](by_line(other)), on_close=ends)
    assert exchange(server, b"some\nthing") == ("eof", b"some\nthing")
    assert exchange(server, b"other\nthing") == ("eof", b"other other\nthing")
    assert exchange(server, b"refuse\nthing") == ("eof", b"no\n")
    poll(lambda: len(ends.all) == 3, SECONDS, "all have ended")
    reasons = [conn.reason for conn in ends.all]
    assert reasons == [CloseReason.FINISHED, CloseReason.FINISHED, CloseReason.REJECTED]
    assert [(conn.to_upstream.read, conn.to_upstream.delivered) for conn in ends.all[:2]] == [(10, 10), (11, 11)]


def test_it_is_called_again_with_all_bytes(echo: Echo, serve: Serve) -> None:
    shown: list[bytes] = []

    def has(number: int) -> bool:
        return len(shown) == number

    def on_preread(conn: Connection, data: bytes) -> Any:
        shown.append(data)
        return None if data.endswith(b"!") else MORE

    with connect(address_of(serve(echo.address, on_preread=on_preread))) as client:
        for number, part in enumerate((b"a", b"b", b"c!"), 1):
            client.sendall(part)
            poll(functools.partial(has, number), SECONDS, "it was called")
        assert read_exactly(client, 4) == b"abc!"
    assert shown == [b"a", b"ab", b"abc!"]
    assert repr(MORE) == "interpose.MORE"


def test_on_accept_comes_first_and_what_it_decides_is_decided(other: Address, echo: Echo, serve: Serve) -> None:
    calls: list[str] = []

    def on_accept(conn: Connection) -> Any:
        calls.append("accept")
        return answers.pop(0)

    def on_preread(conn: Connection, data: bytes) -> None:
        calls.append("preread")

    answers: list[Any] = [None, other]
    server = serve(echo.address, on_accept=on_accept, on_preread=on_preread)
    assert exchange(server) == ("eof", b"abc")
    assert exchange(server) == ("eof", b"other abc")
    assert calls == ["accept", "preread", "accept"]


def test_what_was_shown_comes_to_on_recv(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_preread=answering(None), on_client_recv=upper)
    assert exchange(server) == ("eof", b"ABC")


def test_it_may_answer_without_an_upstream(serve: Serve) -> None:
    def on_preread(conn: Connection, data: bytes) -> Forward:
        conn.client.send(b"you said " + data)
        conn.close()
        return Forward.NOWHERE

    assert exchange(serve(None, on_preread=on_preread)) == ("eof", b"you said abc")


def test_it_may_take_over_a_socket(other: Address, serve: Serve) -> None:
    def on_preread(conn: Connection, data: bytes) -> socket.socket:
        return socket.create_connection(other)

    server = serve(None, on_preread=on_preread)
    assert exchange(server) == ("eof", b"other abc")


class Deciding(TheServer):
    """A subclass whose method decides."""

    def on_preread(self, conn: Connection, data: bytes) -> Any:
        return MORE if len(data) < 3 else None


class DecidingLater(TheServer):
    """A subclass whose coroutine method decides."""

    async def on_preread(self, conn: Connection, data: bytes) -> Any:
        return MORE if len(data) < 3 else None


@pytest.mark.parametrize("kind", [Deciding, DecidingLater])
def test_a_method_of_a_subclass(kind: type[TheServer], echo: Echo) -> None:
    with kind("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"abc")


def test_by_decorator_and_by_assignment(other: Address, echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)

    @server.on_preread
    def to_other(conn: Connection, data: bytes) -> Any:
        return other

    assert exchange(server) == ("eof", b"other abc")
    server.on_preread = later(lambda conn, data: None)
    assert exchange(server) == ("eof", b"abc")
    server.on_preread = to_other
    assert exchange(server) == ("eof", b"other abc")
    del server.on_preread
    assert exchange(server) == ("eof", b"abc")


def test_without_it_forward_to_is_needed() -> None:
    with pytest.raises(ConfigError, match="forward_to"):
        TheServer("", 0)
    TheServer("", 0, on_preread=lambda conn, data: None).stop()


@pytest.mark.parametrize("answer", [3, True, b"example.org", ["example.org"]])
@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_means_nothing(
    answer: object, form: str, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_preread=FORMS[form](answering(answer)), on_close=ends)
    assert exchange(server)[0] == "reset"
    assert ends.wait().reason is CloseReason.CALLBACK_ERROR
    line = callback_log.wait(f"on_preread returned {type(answer).__name__}, not interpose.MORE (call again when more")
    assert "None (use forward_to), a Forward or an address (go there) or False (refuse)" in line


def test_more_is_no_answer_of_on_accept(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    def on_accept(conn: Connection) -> object:
        return MORE

    assert exchange(serve(echo.address, on_accept=on_accept))[0] == "reset"
    callback_log.wait("on_accept returned More, not None (use forward_to)")


@pytest.mark.parametrize("data", [b"x" * 8, b"x" * 20])
def test_undecided_within_the_limit(data: bytes, echo: Echo, serve: Serve) -> None:
    ends, shown = CloseRecorder(), list[bytes]()

    def on_preread(conn: Connection, data: bytes) -> Any:
        shown.append(data)
        return MORE

    server = serve(echo.address, on_preread=on_preread, on_close=ends, callbacks=Callbacks(preread_limit=8))
    assert exchange(server, data)[0] == "reset"
    assert ends.wait().reason is CloseReason.UNDECIDED
    assert ends.wait().error == "on_preread had not decided by the first 8 bytes (preread_limit)"
    assert shown[-1] == b"x" * 8


def test_undecided_within_the_time(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    callbacks = Callbacks(preread_timeout=0.05)
    server = serve(echo.address, on_preread=answering(MORE), on_close=ends, callbacks=callbacks)
    with connect(address_of(server)) as client:
        assert ending(client) == ("reset", b"")
    assert ends.wait().reason is CloseReason.UNDECIDED


def test_undecided_clients_may_go_to_forward_to(serve: Serve) -> None:
    """As in a protocol in which the server speaks first, whose clients are silent until then."""

    def greet(sock: socket.socket) -> None:
        sock.sendall(b"220 ready\n")
        sock.sendall(read_exactly(sock, 5))

    bounds: list[tuple[dict[str, Any], bytes]] = [({"preread_timeout": 0.05}, b""), ({"preread_limit": 2}, b"he")]
    for settings, first in bounds:
        callbacks = Callbacks(on_timeout="pass", **settings)
        with Served(greet) as upstream:
            server = serve(upstream.address, on_preread=answering(MORE), callbacks=callbacks)
            with connect(address_of(server)) as client:
                client.sendall(first)
                assert read_exactly(client, 10) == b"220 ready\n"
                client.sendall(b"hello"[len(first) :])
                assert read_exactly(client, 5) == b"hello"


@pytest.mark.parametrize(("on_timeout", "reason"), [("close", "callback_timeout"), ("drop", "rejected")])
def test_an_async_one_that_does_not_answer_in_time(on_timeout: Any, reason: str, echo: Echo, serve: Serve) -> None:
    async def on_preread(conn: Connection, data: bytes) -> None:
        await asyncio.sleep(60)

    ends = CloseRecorder()
    callbacks = Callbacks(callback_timeout=0.05, on_timeout=on_timeout)
    server = serve(echo.address, on_preread=on_preread, on_close=ends, callbacks=callbacks)
    assert exchange(server)[0] == "reset"
    assert ends.wait().reason == reason
    assert server.stats.callback_timeouts == 1


def test_reading_is_for_on_accept(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    async def on_preread(conn: Connection, data: bytes) -> None:
        await conn.client.read(1)

    assert exchange(serve(echo.address, on_preread=on_preread))[0] == "reset"
    callback_log.wait("read in an `async def` on_accept or on_connect")


def test_it_is_not_for_methods_without_arguments(echo: Echo) -> None:
    class Tutorial(TheServer):
        def on_recv(self) -> None: ...

    with pytest.raises(ArgumentTypeError, match="on_preread: methods without arguments accept clients themselves"):
        Tutorial("", 0, echo.address, on_preread=lambda conn, data: None)


def test_a_callback_that_cannot_be_called_so(echo: Echo) -> None:
    def on_preread(conn: Connection) -> None: ...

    wrong: Any = on_preread
    with pytest.raises(ArgumentTypeError, match=r"is called as on_preread\(conn, data\)"):
        TheServer("", 0, echo.address, on_preread=wrong)


def test_more_is_public() -> None:
    assert interpose.MORE is MORE
    assert isinstance(Side, type)
