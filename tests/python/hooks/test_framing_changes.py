"""side.framing: another framing amid a connection, from the next byte on; and the tutorial's form."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, CloseReason, Connection, Side, TheServer, framing
from interpose.framing import Framing
from support.addresses import address_of
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.dialogues import DIALOGUES, Recorder, Speaker, said, talk
from support.exchanges import Sink, exchange, in_thread, wait_until_idle
from support.peers import Echo, connect, read_exactly


def test_a_side_knows_its_framing(echo: Echo, serve: Serve) -> None:
    seen: list[Framing | None] = []

    def on_connect(conn: Connection) -> None:
        assert conn.upstream is not None
        seen.extend([conn.client.framing, conn.upstream.framing])
        conn.upstream.framing = framing.fixed(1)
        seen.extend([conn.client.framing, conn.upstream.framing])
        with pytest.raises(ArgumentTypeError, match=r"did you mean framing.lines\(\)\?"):
            conn.client.framing = "lines"  # type: ignore[assignment]

    server = serve(echo.address, framing=(framing.lines(), None), on_connect=on_connect)
    exchange(server)
    assert seen == [framing.lines(), None, framing.lines(), framing.fixed(1)]


@pytest.mark.parametrize("piece", [1, 100])
def test_another_one_holds_from_the_next_byte_on(piece: int, echo: Echo, serve: Serve) -> None:
    """Amid one read, and with the messages of both kinds in it."""

    def change(side: Side, data: bytes) -> None:
        if data == b"BINARY\n":
            side.framing = framing.length_prefixed(1)
        elif data == b"\4TEXT":
            side.framing = framing.lines()
        elif data == b"OFF\n":
            side.framing = None

    recorder = Recorder(change)
    server = serve(echo.address, framing=framing.lines(), on_client_recv=recorder)
    data = b"hi\nBINARY\n\3a\nb\4TEXTline\nOFF\nx\ny"
    with connect(address_of(server)) as client:
        for begin in range(0, len(data), piece):
            client.sendall(data[begin : begin + piece])
        assert read_exactly(client, len(data)) == data
    wanted = [b"hi\n", b"BINARY\n", b"\3a\nb", b"\4TEXT", b"line\n", b"OFF\n"]
    seen = recorder.seen[True]
    assert (seen[:6], b"".join(seen[6:])) == (wanted, b"x\ny")
    assert recorder.partial == []


def test_a_connection_may_begin_without_one(echo: Echo, serve: Serve) -> None:
    def on_connect(conn: Connection) -> None:
        conn.client.framing = framing.lines()

    recorder = Recorder()
    server = serve(echo.address, on_connect=on_connect, on_client_recv=recorder)
    assert exchange(server, b"a\nb\n") == ("eof", b"a\nb\n")
    assert recorder.seen[True] == [b"a\n", b"b\n"]


def test_a_length_field_comes_and_goes_with_its_framing(serve: Serve) -> None:
    def change(side: Side, data: bytes) -> bytes:
        side.framing = framing.length_prefixed(1) if data == b"go\n" else framing.lines()
        return data + b"!"

    with Sink() as upstream:
        server = serve(upstream.address, framing=framing.lines(), on_client_recv=change)
        exchange(server, b"go\n\2hiagain\n")
        assert upstream.wait() == ("eof", b"go\n!\3hi!again\n!")


def test_one_framing_on_both_sides_shares_what_they_share(serve: Serve) -> None:
    """The answer to a HEAD has a length and no body; without the request that would be an answer that never comes."""
    http1 = framing.http1()

    def on_connect(conn: Connection) -> None:
        assert conn.upstream is not None
        conn.client.framing = conn.upstream.framing = http1

    recorder = Recorder()
    _, messages = DIALOGUES["http1"]
    with Speaker(messages) as upstream:
        server = serve(upstream.address, on_connect=on_connect, on_recv=recorder)
        assert talk(server, messages) == b"".join(said(messages, False))
        wait_until_idle(server)
    assert recorder.seen == {side: said(messages, side) for side in (True, False)}


def test_from_another_thread_it_holds_from_some_byte_on(echo: Echo, serve: Serve) -> None:
    """From the next that is read once it was set."""
    recorder, there = Recorder(), threading.Event()
    sides: list[Side] = []

    def first(side: Side, data: bytes) -> None:
        sides.append(side)
        there.set()

    recorder.answer = first
    server = serve(echo.address, on_client_recv=recorder)
    with connect(address_of(server)) as client:
        client.sendall(b"chunk")
        assert read_exactly(client, 5) == b"chunk"
        assert there.wait(5.0)

        def set_it() -> None:
            sides[0].framing = framing.lines()

        in_thread(set_it).join(5.0)
        client.sendall(b"a\nb\n")
        assert read_exactly(client, 4) == b"a\nb\n"
    assert recorder.seen[True] == [b"chunk", b"a\n", b"b\n"]


def test_one_of_an_ended_connection_may_be_set_and_does_nothing(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, framing=framing.lines(), on_recv=Recorder(), on_close=ends)
    exchange(server, b"a\n")
    conn = ends.wait()
    conn.client.framing = framing.fixed(2)
    assert conn.client.framing == framing.fixed(2)
    assert conn.client.partial is False


def test_a_callback_that_comes_late_sees_chunks_that_are_no_messages(echo: Echo, serve: Serve) -> None:
    """Where bytes have passed unseen, it is not known where a message begins."""
    recorder = Recorder()
    server = serve(echo.address, framing=framing.lines())
    with connect(address_of(server)) as client:
        client.sendall(b"unseen, ")
        assert read_exactly(client, 8) == b"unseen, "
        server.on_client_recv = recorder
        client.sendall(b"seen\nrest\n")
        assert read_exactly(client, 10) == b"seen\nrest\n"
        assert exchange(server, b"a\nb\n") == ("eof", b"a\nb\n")
    assert b"".join(recorder.partial) == b"seen\nrest\n"
    assert recorder.seen[True][-2:] == [b"a\n", b"b\n"]


class Script(TheServer):
    """A server of the tutorial's form, whose method gets whole lines in self.data."""

    framing = framing.lines()

    def on_recv(self) -> None:
        lines.append(self.data)
        self.channel[self.s].send(self.data.upper() if self.data != b"drop\n" else b"")


lines: list[Any] = []


def test_the_tutorials_form_gets_whole_messages(serve: Serve) -> None:
    lines.clear()
    with Sink() as upstream, Script("", 0, upstream.address) as server:
        with connect(address_of(server)) as client:
            for piece in (b"one\ntw", b"o\ndrop\n", b"rest"):
                client.sendall(piece)
        assert upstream.wait() == ("eof", b"ONE\nTWO\nREST")
        wait_until_idle(server)
    assert lines == [b"one\n", b"two\n", b"drop\n", b"rest"]


def test_the_tutorials_form_gets_answers_whole_too() -> None:
    lines.clear()
    messages = [(True, b"go\n"), (False, b"a\nb"), (False, b"c\n")]
    with Speaker(messages, 1) as upstream, Script("", 0, upstream.address) as server:
        assert talk(server, messages) == b"A\nBC\n"
        wait_until_idle(server)
    assert sorted(lines) == [b"a\n", b"bc\n", b"go\n"]


def test_a_framing_error_in_the_tutorials_form_ends_both_sockets() -> None:
    class Strict(TheServer):
        framing = framing.tls_records()

        def on_recv(self) -> None:
            self.channel[self.s].send(self.data)

    with Sink() as upstream, Strict("", 0, upstream.address) as server:
        assert exchange(server, b"this is not TLS")[0] == "reset"
        poll(lambda: upstream.got, 10.0, "the upstream saw the end")
        assert wait_until_idle(server).stats.closed[CloseReason.PROTOCOL_ERROR] >= 1
