"""What each answer of a callback means: the table of on_recv, on_eof and on_accept, and how a wrong one is told of."""

from __future__ import annotations

import array
import ctypes
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, Connection, Forward, Side, TheServer
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder, from_data, without_arguments
from support.deadline import poll
from support.exchanges import Sink, exchange, wait_until_idle
from support.peers import Address, Echo, connect

Make = Callable[[bytes], Any]


class Bytes(bytes):
    """A subclass is as good."""


def read_only(data: bytes) -> memoryview:
    return memoryview(data.upper()).toreadonly()


def square(data: bytes) -> memoryview:
    return memoryview(b"ABCD").cast("B", (2, 2))


# What comes out for b"abc".
RIGHT: dict[str, tuple[Make, bytes]] = {
    "None": (lambda data: None, b"abc"),
    "same object": (lambda data: data, b"abc"),
    "equal object": (lambda data: bytes(bytearray(data)), b"abc"),
    "bytes": (lambda data: b"instead", b"instead"),
    "subclass of bytes": (lambda data: Bytes(b"instead"), b"instead"),
    "bytearray": (lambda data: bytearray(data.upper()), b"ABC"),
    "memoryview": (lambda data: memoryview(bytearray(data.upper())), b"ABC"),
    "view of the chunk": (lambda data: memoryview(data)[1:], b"bc"),
    "read-only view": (read_only, b"ABC"),
    "every second byte": (lambda data: memoryview(b"A-B-C-")[::2], b"ABC"),
    "backwards": (lambda data: memoryview(data)[::-1], b"cba"),
    "two dimensions": (square, b"ABCD"),
    "array": (lambda data: array.array("H", [0x4141, 0x4242]), b"AABB"),
    "ctypes": (lambda data: ctypes.create_string_buffer(data.upper(), 3), b"ABC"),
    "list": (lambda data: [b"<", data, bytearray(b"-"), memoryview(b">")], b"<abc->"),
    "tuple": (lambda data: (data, data), b"abcabc"),
    "list of the one object": (
        lambda data: [data, data, bytearray(b"-"), data, data, (large := b"+" * 5000), large],
        b"abcabc-abcabc" + b"+" * 10_000,
    ),
    "tuple of the one object": (lambda data: (data, data, memoryview(b"-"), data, data), b"abcabc-abcabc"),
    "list with empty ones": (lambda data: [b"", data, b"", b"!"], b"abc!"),
    "b''": (lambda data: b"", b""),
    "bytearray()": (lambda data: bytearray(), b""),
    "empty list": (lambda data: [], b""),
    "list of nothing": (lambda data: [b"", bytearray()], b""),
}


@pytest.mark.parametrize(("make", "out"), RIGHT.values(), ids=RIGHT)
def test_cb_15_what_goes_out(make: Make, out: bytes, echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_client_recv=from_data(lambda data: make(data)), on_close=ends)
    assert exchange(server) == ("eof", out)
    ledger = ends.wait().to_upstream
    assert (ledger.read, ledger.delivered, ledger.undeliverable) == (3, len(out), 0)
    assert ledger.read + ledger.added == ledger.delivered + ledger.dropped


def test_an_override_may_call_what_it_overrides(echo: Echo, callback_log: CallbackLog) -> None:
    """Whose answer is None, as of one that nobody overrides."""
    calls: list[str] = []

    class Calls(TheServer):
        def on_accept(self, conn: Connection) -> Any:
            calls.append("on_accept")
            return super().on_accept(conn)

        def on_connect(self, conn: Connection) -> None:
            calls.append("on_connect")
            super().on_connect(conn)

        def on_recv(self, side: Side, data: bytes) -> Any:
            return super().on_recv(side, data)

        def on_client_recv(self, side: Side, data: bytes) -> Any:
            calls.append("on_client_recv")
            assert self.on_recv(side, data) is None
            return super().on_client_recv(side, data)

        def on_upstream_recv(self, side: Side, data: bytes) -> Any:
            calls.append("on_upstream_recv")
            return super().on_upstream_recv(side, data)

        def on_eof(self, side: Side) -> Any:
            calls.append("on_eof")
            return super().on_eof(side)

        def on_close(self, conn: Connection) -> None:
            super().on_close(conn)
            calls.append("on_close")

    with Calls("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"abc")
        expected = ["on_accept", "on_connect", "on_client_recv", "on_upstream_recv", "on_eof", "on_eof", "on_close"]
        poll(lambda: len(calls) == len(expected), 10.0, f"every one is called: {calls}")
        assert sorted(calls) == sorted(expected)
        assert wait_until_idle(server).stats.callback_errors == 0
    assert callback_log.lines() == []


def test_both_directions_of_one_callback(echo: Echo, serve: Serve) -> None:
    def mark(side: Side, data: bytes) -> bytes:
        return data + (b">" if side.is_client else b"<")

    assert exchange(serve(echo.address, on_recv=mark)) == ("eof", b"abc><")


def generator(data: bytes) -> Any:
    yield data


# Each with the name of its type.
WRONG: dict[str, tuple[Make, str]] = {
    "str": (lambda data: "text", "str"),
    "int": (lambda data: 3, "int"),
    "float": (lambda data: 0.5, "float"),
    "True": (lambda data: True, "bool"),
    "False": (lambda data: False, "bool"),
    "object": (lambda data: object(), "object"),
    "generator": (generator, "generator"),
    "set": (lambda data: {data}, "set"),
    "dict": (lambda data: {data: data}, "dict"),
    "iterator": (lambda data: iter([data]), "list_iterator"),
    "list of str": (lambda data: [data, "text"], "list"),
    "list of int": (lambda data: list(data), "list"),
    "list in a list": (lambda data: [[data]], "list"),
    "class": (lambda data: bytes, "type"),
    "type with an ugly name": (lambda data: type("a\x1b[2Jb", (), {})(), "a\\u{1b}[2Jb"),
}


@pytest.mark.parametrize(("make", "kind"), WRONG.values(), ids=WRONG)
def test_cb_15_a_wrong_answer_is_a_type_error_that_names_all(
    make: Make, kind: str, serve: Serve, callback_log: CallbackLog
) -> None:
    """CB-15: An answer that has no meaning is a TypeError that names those that have one."""
    ends = CloseRecorder()
    with Sink() as upstream:
        server = serve(upstream.address, on_client_recv=from_data(lambda data: make(data)), on_close=ends)
        assert exchange(server) == ("reset", b"")
        # Nothing of the chunk has gone out, and the upstream does not take the end for an orderly one.
        assert upstream.wait() == ("reset", b"")
    line = callback_log.wait("TypeError")
    assert re.search(
        f"on_client_recv returned (a )?{re.escape(kind)}.*, not None \\(pass it on\\), bytes or a list of bytes", line
    )
    assert "\x1b" not in line
    conn = ends.wait()
    assert conn.reason is CloseReason.CALLBACK_ERROR
    assert conn.error is not None
    assert kind in conn.error
    ledger = conn.to_upstream
    assert (ledger.read, ledger.delivered, ledger.undeliverable) == (3, 0, 3)
    assert wait_until_idle(server).stats.callback_errors == 1


def test_a_wrong_answer_passes_where_errors_do(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    server = serve(echo.address, on_client_recv=from_data(lambda data: "text"), callbacks=Callbacks(errors="pass"))
    assert exchange(server) == ("eof", b"abc")
    callback_log.wait("on_client_recv returned str")
    assert wait_until_idle(server).stats.callback_errors == 1


def test_a_buffer_may_be_changed_once_the_callback_has_returned(echo: Echo, serve: Serve) -> None:
    """The same bytearray each time, resized, while what it held before may not be written yet."""
    own = bytearray()

    def reuse(side: Side, data: bytes) -> bytearray:
        own[:] = b"?" * 100_000
        own[:] = data
        return own

    data = b"".join(bytes([number % 251]) * 10_000 for number in range(800))
    assert exchange(serve(echo.address, on_recv=reuse), data) == ("eof", data)


@pytest.mark.parametrize(
    ("answer", "out"),
    [(None, b"abc"), (b"last", b"abclast"), ([b"la", bytearray(b"st")], b"abclast"), (b"", b"abc"), ([], b"abc")],
)
def test_on_eof_passes_the_end_on_behind_its_answer(answer: Any, out: bytes, serve: Serve) -> None:
    def on_eof(side: Side) -> Any:
        return answer if side.is_client else None

    with Sink() as upstream:
        server = serve(upstream.address, on_eof=on_eof)
        assert exchange(server) == ("eof", b"")
        assert upstream.wait() == ("eof", out)


def test_on_eof_withholds_the_end_until_the_other_side_is_ended(serve: Serve) -> None:
    withheld: list[Side] = []

    def on_eof(side: Side) -> bool | None:
        if not side.is_client:
            return None
        withheld.append(side)
        return False

    with Sink() as upstream, connect(address_of(serve(upstream.address, on_eof=on_eof))) as client:
        client.sendall(b"abc")
        client.shutdown(socket.SHUT_WR)
        side = poll(lambda: withheld, 10.0, "the end is withheld")[0]
        other = side.other
        assert other is not None
        other.send(b"def")
        assert upstream.got == []
        other.half_close()
        assert upstream.wait() == ("eof", b"abcdef")
        assert client.recv(1) == b""


@pytest.mark.parametrize("answer", [True, "text", 0, object()], ids=lambda answer: type(answer).__name__)
def test_a_wrong_answer_of_on_eof(answer: Any, echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    server = serve(echo.address, on_eof=without_arguments(lambda: answer))
    assert exchange(server)[0] == "reset"
    callback_log.wait(f"on_eof returned {type(answer).__name__}, not None (pass the end on), bytes")


def test_on_accept_decides_where_a_client_goes(echo: Echo, refusing: Address, serve: Serve) -> None:
    host, port = echo.address
    ways: list[Any] = [Forward(host, port), (host, port), f"{host}:{port}"]
    server = serve(refusing, on_accept=without_arguments(lambda: ways.pop(0)))
    for _ in range(3):
        assert exchange(server) == ("eof", b"abc")
    assert exchange(server)[0] == "reset"  # pop from an empty list


def test_on_accept_without_any_forward_to(echo: Echo) -> None:
    answers: list[Any] = [None, echo.address]
    ends = CloseRecorder()
    with TheServer("", 0, on_accept=without_arguments(lambda: answers.pop(0)), on_close=ends) as server:
        assert exchange(server) == ("reset", b"")
        assert ends.wait().reason is CloseReason.CONNECT_FAILED
        assert exchange(server) == ("eof", b"abc")


def test_on_accept_refuses(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_accept=without_arguments(lambda: False), on_close=ends)
    assert exchange(server) == ("reset", b"")
    assert ends.wait().reason is CloseReason.REJECTED
    assert echo.accepted == 0


def test_on_accept_says_goodbye_to_one_that_it_refuses(echo: Echo, serve: Serve) -> None:
    def on_accept(conn: Connection) -> bool:
        conn.client.send(b"closed on Sundays")
        return False

    assert exchange(serve(echo.address, on_accept=on_accept)) == ("eof", b"closed on Sundays")


def test_on_accept_answers_without_an_upstream() -> None:
    def reverse(side: Side, data: bytes) -> bytes:
        side.send(data[::-1])
        return b""

    with TheServer("", 0, on_accept=without_arguments(lambda: Forward.NOWHERE), on_client_recv=reverse) as server:
        assert exchange(server) == ("eof", b"cba")


@pytest.mark.parametrize("answer", [True, 80, b"host:80", ("host",), ("host", "80"), "nonsense", Forward()])
def test_a_wrong_answer_of_on_accept(answer: Any, echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_accept=without_arguments(lambda: answer), on_close=ends)
    assert exchange(server) == ("reset", b"")
    assert "on_accept" in callback_log.wait("Error")
    assert ends.wait().reason is CloseReason.CALLBACK_ERROR
    assert echo.accepted == 0


def test_answers_that_have_no_meaning_are_let_be(echo: Echo, serve: Serve) -> None:
    server = serve(
        echo.address, on_connect=without_arguments(lambda: "connected"), on_close=without_arguments(lambda: 3)
    )
    assert exchange(server) == ("eof", b"abc")
    assert wait_until_idle(server).stats.callback_errors == 0
