"""With a framing, on_recv gets exactly one whole message, and what is returned takes the place of that."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Literal

import pytest
from conftest import Serve
from interpose import CloseReason, Relay, Side, TheServer, framing
from interpose.framing import Framing
from support.addresses import address_of
from support.callbacks import CloseRecorder
from support.dialogues import DIALOGUES, Messages, Recorder, Speaker, pg, said, talk
from support.exchanges import Sink, exchange, wait_until_idle
from support.peers import Echo, connect, read_exactly

EVERY = pytest.mark.parametrize(("make", "messages"), DIALOGUES.values(), ids=DIALOGUES)


def sent_on(serve: Serve, data: bytes, made: Any, answer: Callable[[Side, Any], Any], **settings: Any) -> bytes:
    """Return what the upstream gets of `data`."""
    with Sink() as upstream:
        server = serve(upstream.address, framing=made, on_client_recv=answer, **settings)
        assert exchange(server, data) == ("eof", b"")
        how, got = upstream.wait()
        assert how == "eof"
        assert wait_until_idle(server).stats.callback_errors == 0
    return got


@pytest.mark.parametrize("piece", [0, 1, 7])
@EVERY
def test_each_message_comes_whole_and_alone(
    make: Callable[[], Framing], messages: Messages, piece: int, serve: Serve
) -> None:
    """However the stream was cut; and identity is identity."""
    recorder, ends = Recorder(), CloseRecorder()
    with Speaker(messages, piece) as upstream:
        server = serve(upstream.address, framing=make(), on_recv=recorder, on_close=ends)
        assert talk(server, messages, piece) == b"".join(said(messages, False))
        conn = ends.wait()
        assert upstream.wait() == b"".join(said(messages, True))
    assert recorder.seen == {side: said(messages, side) for side in (True, False)}
    assert recorder.partial == []
    assert (conn.reason, conn.to_upstream.added, conn.to_client.dropped) == (CloseReason.FINISHED, 0, 0)


@EVERY
def test_many_at_once_are_called_for_one_by_one(make: Callable[[], Framing], messages: Messages, serve: Serve) -> None:
    """The client's words in one write."""
    recorder = Recorder()
    words = said(messages, True)
    assert sent_on(serve, b"".join(words), make(), recorder) == b"".join(words)
    assert recorder.seen[True] == words


@pytest.mark.parametrize(
    ("made", "data", "answer", "wanted"),
    [
        (framing.length_prefixed(2), b"\0\2hi", b"\0\2hello", b"\0\5hello"),
        (framing.length_prefixed(2, 1, "little", -3), b"x\4\0a", b"y\0\0abc", b"y\6\0abc"),
        (framing.varint(), b"\2hi", b"\2" + b"h" * 300, b"\xac\2" + b"h" * 300),
        (framing.tls_records(), b"\x17\3\3\0\1a", b"\x17\3\3\0\1abc", b"\x17\3\3\0\3abc"),
        (framing.mqtt(), b"\xc0\0", b"\x30\0\0\1tm", b"\x30\4\0\1tm"),
        (framing.modbus(), b"\0\1\0\0\0\2\1\7", b"\0\1\0\0\0\0\1\3\0\0\0\2", b"\0\1\0\0\0\6\1\3\0\0\0\2"),
        (framing.dns(), b"\0\x0c" + bytes(12), b"\0\0" + bytes(20), b"\0\x14" + bytes(20)),
    ],
    ids=lambda value: repr(value) if isinstance(value, Framing) else "",
)
def test_a_length_field_is_set_right(made: Framing, data: bytes, answer: bytes, wanted: bytes, serve: Serve) -> None:
    """Also in each item of a list, and in both directions."""
    assert sent_on(serve, data, made, lambda side, message: answer) == wanted
    assert sent_on(serve, data * 2, made, lambda side, message: [message, answer, b""]) == (data + wanted) * 2
    with Speaker([(False, data)]) as upstream:

        def on_upstream_recv(side: Side, message: bytes) -> tuple[bytes]:
            return (answer,)

        server = serve(upstream.address, framing=made, on_upstream_recv=on_upstream_recv)
        assert talk(server, [(False, wanted)]) == wanted


def test_a_query_of_postgres_is_rewritten(serve: Serve) -> None:
    def on_client_recv(side: Side, message: bytes) -> bytes:
        return message.replace(b"SELECT 1", b"SELECT 1234567")

    make, messages = DIALOGUES["postgres"]
    wanted = [
        (by_client, message.replace(pg(b"Q", b"SELECT 1\0"), pg(b"Q", b"SELECT 1234567\0")))
        for by_client, message in messages
    ]
    with Speaker(wanted) as upstream:
        server = serve(upstream.address, framing=make(), on_client_recv=on_client_recv)
        assert talk(server, messages) == b"".join(said(messages, False))
        assert upstream.wait() == b"".join(said(wanted, True))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("buffer", ["bytes", "view"])
def test_what_is_returned_goes_out_in_its_place(
    buffer: Literal["bytes", "view"], kind: Callable[[bytes], Any], serve: Serve
) -> None:
    seen: list[type] = []

    def answer(side: Side, line: Any) -> Any:
        seen.append(line.__class__)
        text = bytes(line)
        two = [kind(b"one\n"), kind(b"two\n")]
        answers: dict[bytes, Any] = {b"keep\n": None, b"drop\n": b"", b"two\n": two, b"none\n": []}
        return answers.get(text, kind(text.upper()))

    got = sent_on(serve, b"keep\ndrop\ntwo\nnone\nshout\nrest", framing.lines(), answer, relay=Relay(buffer=buffer))
    assert got == b"keep\none\ntwo\nSHOUT\nREST"
    assert set(seen) == {memoryview if buffer == "view" else bytes}


@pytest.mark.parametrize("size", [10, 20_000, 600_000])
def test_a_view_of_a_message_may_be_kept(size: int, serve: Serve) -> None:
    kept: list[memoryview] = []
    words = [bytes([65 + number]) * size + b"\n" for number in range(8)]
    got = sent_on(
        serve, b"".join(words), framing.lines(), lambda side, line: kept.append(line), relay=Relay(buffer="view")
    )
    assert got == b"".join(words) == b"".join(kept)
    assert all(view.readonly for view in kept)
    assert [bytes(view) for view in kept] == words


def test_a_message_may_be_longer_than_a_chunk(echo: Echo, serve: Serve) -> None:
    recorder = Recorder()
    data = b"x" * 3_000_000 + b"\n"
    assert exchange(
        serve(echo.address, framing=framing.lines(), on_recv=recorder, relay=Relay(buffer_size=1000)), data
    ) == (
        "eof",
        data,
    )
    assert recorder.seen == {True: [data], False: [data]}


def test_each_direction_may_have_its_own(serve: Serve) -> None:
    recorder = Recorder()
    messages = [(True, b"a\n"), (False, b"abcdef"), (True, b"b\n")]
    with Speaker(messages, 1) as upstream:
        server = serve(upstream.address, framing=(framing.lines(), framing.fixed(3)), on_recv=recorder)
        talk(server, messages)
        wait_until_idle(server)
    assert recorder.seen == {True: [b"a\n", b"b\n"], False: [b"abc", b"def"]}


def test_a_direction_without_one_has_chunks(serve: Serve) -> None:
    recorder = Recorder()
    messages = [(True, b"a\nb\n"), (False, b"a\nb\n")]
    with Speaker(messages) as upstream:
        server = serve(upstream.address, framing=(None, framing.lines()), on_recv=recorder)
        talk(server, messages)
        wait_until_idle(server)
    assert recorder.seen == {True: [b"a\nb\n"], False: [b"a\n", b"b\n"]}
    assert recorder.partial == []


def test_what_is_incomplete_at_the_end_is_delivered_as_the_rest(echo: Echo, serve: Serve) -> None:
    recorder = Recorder()
    assert exchange(serve(echo.address, framing=framing.lines(), on_recv=recorder), b"a\nb") == ("eof", b"a\nb")
    assert recorder.seen == {True: [b"a\n", b"b"], False: [b"a\n", b"b"]}
    assert recorder.partial == [b"b", b"b"]


def test_a_rest_is_dropped_or_replaced_as_a_message_is(serve: Serve) -> None:
    def answer(side: Side, message: bytes) -> bytes | None:
        return b"..." if side.partial else None

    assert sent_on(serve, b"\0\2hi\0\5the", framing.length_prefixed(2), answer) == b"\0\2hi..."


def test_what_is_sent_in_a_callback_goes_out_behind_its_message(echo: Echo, serve: Serve) -> None:
    def on_client_recv(side: Side, line: bytes) -> None:
        side.other.send(b"behind " + line)

    server = serve(echo.address, framing=framing.lines(), on_client_recv=on_client_recv)
    wanted = b"a\nbehind a\nb\nbehind b\n"
    assert exchange(server, b"a\nb\n") == ("eof", wanted)


def test_a_close_in_a_callback_delivers_what_was_read_message_by_message(serve: Serve) -> None:
    """The callback decides about each of them: nothing passes unseen."""

    def on_client_recv(side: Side, line: bytes) -> bytes | None:
        if line == b"b\n":
            side.connection.close()
        return b"" if line == b"c\n" else None

    ends = CloseRecorder()
    with Sink() as upstream:
        server = serve(upstream.address, framing=framing.lines(), on_client_recv=on_client_recv, on_close=ends)
        exchange(server, b"a\nb\nc\nd\n")
        assert upstream.wait() == ("eof", b"a\nb\nd\n")
    assert ends.wait().reason is CloseReason.CLOSED


def test_from_a_passthrough_on_the_rest_is_native(echo: Echo, serve: Serve) -> None:
    recorder = Recorder(lambda side, line: side.passthrough() if line == b"go\n" else None)
    server = serve(echo.address, framing=framing.lines(), on_client_recv=recorder)
    with connect(address_of(server)) as client:
        client.sendall(b"one\ngo\ntw")
        assert read_exactly(client, 9) == b"one\ngo\ntw"
        client.sendall(b"o" * 100_000 + b"\n")
        assert read_exactly(client, 100_001) == b"o" * 100_000 + b"\n"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert recorder.seen[True] == [b"one\n", b"go\n"]


class Lined(TheServer):
    """A framing is an attribute of the class, and the hooks are its methods."""

    framing = framing.lines()
    seen: list[bytes]

    def on_client_recv(self, side: Side, line: bytes) -> bytes:
        self.seen.append(line)
        return line.upper()


def test_a_subclass_may_have_one_and_decorators_work(echo: Echo) -> None:
    server: Any = Lined("", 0, echo.address)
    with server:
        server.seen = list[bytes]()
        assert exchange(server, b"a\nb\n") == ("eof", b"A\nB\n")
        assert server.seen == [b"a\n", b"b\n"]

        def quiet(side: Side, line: bytes) -> bytes:
            return b"." + line

        server.on_client_recv(quiet)
        assert exchange(server, b"a\nb\n") == ("eof", b".a\n.b\n")
        del server.on_client_recv
        assert exchange(server, b"a\nb\n") == ("eof", b"A\nB\n")


def test_without_a_callback_for_bytes_a_framing_costs_and_checks_nothing(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, framing=framing.tls_records(), on_close=ends)
    assert exchange(server, b"this is not TLS") == ("eof", b"this is not TLS")
    assert ends.wait().reason is CloseReason.FINISHED
