"""send(): from callbacks behind the chunk, from threads whole and with backpressure, and every way it can fail."""

from __future__ import annotations

import functools
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    ArgumentTypeError,
    ConfigError,
    Connection,
    ConnectionClosedError,
    Forward,
    SendBufferFullError,
    SendTimeoutError,
    Side,
    TheServer,
)
from support.addresses import address_of
from support.callbacks import CloseRecorder, from_data
from support.deadline import poll
from support.exchanges import Sink, exchange, in_thread
from support.peers import Echo, connect, ending, read_exactly, reset
from support.peers import echo as echoed

# What a sender may have on its way before it waits; the same for one on the lane.
WAITING = 256 * 1024
WAITING_ON_LANE = 1024 * 1024


def other_of(side: Side) -> Side:
    other = side.other
    assert other is not None
    return other


@pytest.mark.parametrize(
    ("answer", "out"),
    [(None, b"abc<i>"), (b"instead", b"instead<i>"), (b"", b"<i>"), ([b"a", b"b"], b"ab<i>")],
    ids=["passed", "replaced", "dropped", "several"],
)
def test_cb_21_behind_the_chunk_at_hand(answer: Any, out: bytes, serve: Serve) -> None:
    """CB-21: send() in a callback goes out behind the chunk at hand, to either side."""
    calls: list[bytes] = []

    def inject(side: Side, data: bytes) -> Any:
        calls.append(data)
        assert other_of(side).send(b"<i>") == 3
        return answer

    with Sink() as upstream:
        assert exchange(serve(upstream.address, on_client_recv=inject)) == ("eof", b"")
        assert upstream.wait() == ("eof", out)
    # What is injected is shown to nobody.
    assert calls == [b"abc"]


def test_cb_21_to_both_sides(serve: Serve) -> None:
    def inject(side: Side, data: bytes) -> None:
        side.send(b"to the client")
        other_of(side).sendall(b"to the upstream")

    with Sink() as upstream:
        assert exchange(serve(upstream.address, on_client_recv=inject)) == ("eof", b"to the client")
        assert upstream.wait() == ("eof", b"abcto the upstream")


def test_in_the_order_of_the_calls(serve: Serve) -> None:
    def inject(side: Side, data: bytes) -> bytes:
        for number in range(1000):
            other_of(side).send(b"%d," % number)
        return b""

    with Sink() as upstream:
        exchange(serve(upstream.address, on_client_recv=inject))
        assert upstream.wait() == ("eof", b"".join(b"%d," % number for number in range(1000)))


def test_in_every_callback(serve: Serve) -> None:
    """Before anything of the other side's in on_connect, before the end in on_eof; in on_close it is too late."""
    failures: list[Exception] = []

    def on_accept(conn: Connection) -> None:
        conn.client.send(b"accepted,")

    def on_connect(conn: Connection) -> None:
        assert conn.upstream is not None
        conn.upstream.send(b"connected,")
        conn.client.send(b"greeted,")

    def on_eof(side: Side) -> None:
        other_of(side).send(b",ended")

    def on_close(conn: Connection) -> None:
        for side in (conn.client, conn.upstream):
            assert side is not None
            with pytest.raises(
                ConnectionClosedError, match=r"send: connection 1 takes nothing .*: finished;"
            ) as caught:
                side.send(b"late")
            failures.append(caught.value)

    with Sink() as upstream:
        server = serve(upstream.address, on_accept=on_accept, on_connect=on_connect, on_eof=on_eof, on_close=on_close)
        assert exchange(server) == ("eof", b"accepted,greeted,,ended")
        assert upstream.wait() == ("eof", b"connected,abc,ended")
        poll(lambda: len(failures) == 2, 10.0, "on_close was called")


def test_the_end_in_order_from_a_callback(serve: Serve) -> None:
    """half_close() goes behind what was sent, and the other direction lives on."""

    def inject(side: Side, data: bytes) -> None:
        other_of(side).send(b"last")
        other_of(side).half_close()

    with Sink() as upstream, connect(address_of(serve(upstream.address, on_client_recv=inject))) as client:
        client.sendall(b"abc")
        assert upstream.wait() == ("eof", b"abclast")
        assert client.recv(1) == b""


@pytest.fixture
def accepted() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection without an upstream, and its client, which reads only when it is told to."""
    conns: list[Connection] = []

    def on_accept(conn: Connection) -> Forward:
        conns.append(conn)
        return Forward.NOWHERE

    with TheServer("", 0, on_accept=on_accept) as server:
        with connect(address_of(server), 30.0) as client:
            conn = poll(lambda: conns, 10.0, "it was accepted")[0]
            poll(lambda: conn.phase == "open", 10.0, "it is open")
            yield conn, client
        server.stop(0)


def fill(side: Side) -> int:
    """Send until there is no room; return how many bytes were taken."""
    sent = 0
    block = b"x" * 65536
    while True:
        try:
            sent += side.send(block, timeout=0.1)
        except SendTimeoutError:
            return sent


def test_from_any_thread_at_any_time(accepted: tuple[Connection, socket.socket]) -> None:
    conn, client = accepted
    assert conn.client.send(b"one ") == 4
    in_thread(lambda: conn.client.send(memoryview(b"--two--")[2:5])).join(10.0)
    conn.client.sendall(bytearray(b" three"))
    assert conn.client.send(b"") == 0
    assert read_exactly(client, 13) == b"one two three"


def test_a_peer_that_does_not_read_makes_it_wait(accepted: tuple[Connection, socket.socket]) -> None:
    conn, client = accepted
    sent = fill(conn.client)
    assert sent >= WAITING
    begin = time.monotonic()
    with pytest.raises(SendTimeoutError, match=r"send: <client 127.0.0.1:\d+> had no room for it in 0.2 s"):
        conn.client.send(b"y" * 100, timeout=0.2)
    assert 0.2 <= time.monotonic() - begin < 5
    # Nothing of a call that timed out is taken, and everything of the others comes.
    done: list[int] = []
    thread = in_thread(lambda: done.append(conn.client.send(b"z" * 1000)))
    assert read_exactly(client, sent + 1000) == b"x" * sent + b"z" * 1000
    thread.join(10.0)
    assert done == [1000]


@pytest.mark.parametrize("end", ["close", "abort", "client", "stop"])
def test_one_that_waits_is_let_go_by_the_end(end: str, accepted: tuple[Connection, socket.socket]) -> None:
    conn, client = accepted
    fill(conn.client)
    failures: list[BaseException] = []

    def send() -> None:
        try:
            while True:
                conn.client.send(b"y")
        except ConnectionClosedError as error:
            failures.append(error)

    thread = in_thread(send)
    if end == "close":
        conn.close()
        assert set(ending(client)[1]) <= set(b"xy")
    elif end == "client":
        reset(client)
    else:
        conn.abort()
    thread.join(10.0)
    assert not thread.is_alive()
    assert len(failures) == 1
    assert "send: connection 1 takes nothing for its client any more" in str(failures[0])


def test_in_a_callback_it_raises_where_it_would_wait(serve: Serve, echo: Echo) -> None:
    taken: list[int] = []
    texts: list[str] = []

    def flood(side: Side, data: bytes) -> bytes:
        sent = 0
        try:
            while True:
                sent += side.send(b"x" * 65536)
        except SendBufferFullError as error:
            texts.append(str(error))
        taken.append(sent)
        return data

    with connect(address_of(serve(echo.address, on_client_recv=flood))) as client:
        client.sendall(b"abc")
        poll(lambda: taken, 10.0, "the callback has returned")
        assert taken == [WAITING_ON_LANE]
        assert texts[0].startswith("send: 1024 KiB wait for the client of connection 1, which does not read; ")
        # All of it comes, and so does what comes after it.
        assert read_exactly(client, taken[0] + 3) == b"x" * taken[0] + b"abc"


def test_a_full_buffer_that_nobody_catches_is_an_error_of_the_callback(serve: Serve, echo: Echo) -> None:
    def flood(side: Side, data: bytes) -> None:
        while True:
            side.send(b"x" * 65536)

    ends = CloseRecorder()
    with connect(address_of(serve(echo.address, on_client_recv=flood, on_close=ends))) as client:
        client.sendall(b"abc")
        assert ending(client)[0] == "reset"
    error = ends.wait().error
    assert error is not None
    assert error.startswith("on_client_recv raised SendBufferFullError: send: 1024 KiB wait")


def test_a_callback_that_answers_is_not_asked_faster_than_its_answers_are_read(serve: Serve) -> None:
    """An answerer whose client writes and does not read: memory stays bounded, and nothing is lost."""
    most = [0]

    def answer(side: Side, data: bytes) -> bytes:
        side.send(data)
        ledger = side.connection.to_client
        most[0] = max(most[0], ledger.added - ledger.delivered)
        return b""

    data = struct.pack("<4I", 1, 2, 3, 4) * (1 << 20)
    with Sink() as upstream, connect(address_of(serve(upstream.address, on_client_recv=answer)), 30.0) as client:
        writer = in_thread(lambda: client.sendall(data))
        # It stands still: as much as the kernel and the proxy hold was written.
        writer.join(0.3)
        assert writer.is_alive()
        assert read_exactly(client, len(data)) == data
        writer.join(10.0)
    assert most[0] <= 2 * WAITING_ON_LANE


def test_cb_23_two_threads_and_a_callback_never_mix(serve: Serve, echo: Echo) -> None:
    """CB-23: Messages that several threads and a callback send arrive whole, one after the other.

    Messages of many sizes, larger than any buffer among them, arrive whole.
    """
    count, sizes = 24, (1, 700, 65_536, 300_000, 1 << 20)
    head = struct.Struct("<II")

    def messages(who: int) -> Iterator[bytes]:
        for number in range(count):
            size = sizes[number % len(sizes)]
            yield head.pack(who, size) + bytes([who]) * size

    server = serve(echo.address, on_upstream_recv=from_data(lambda data: head.pack(0, len(data)) + b"\0" * len(data)))
    with connect(address_of(server), 60.0) as client:
        poll(lambda: [conn for conn in server.connections if conn.phase == "open"], 10.0, "it is open")
        side = server.connections[0].client

        def send(who: int) -> None:
            for message in messages(who):
                side.send(message)

        threads = [in_thread(functools.partial(send, who)) for who in (1, 2)]
        client.sendall(b"e" * 1000)
        counts, echoes = {1: 0, 2: 0}, 0
        while min(counts.values()) < count or echoes < 1000:
            who, size = head.unpack(read_exactly(client, head.size))
            assert read_exactly(client, size) == bytes([who]) * size
            if who:
                assert size == sizes[counts[who] % len(sizes)]
                counts[who] += 1
            else:
                echoes += size
        for thread in threads:
            thread.join(10.0)
        assert (counts, echoes) == ({1: count, 2: count}, 1000)


def test_in_a_thread_while_chunks_flow(serve: Serve) -> None:
    """A timer's command among the client's lines: nothing is torn."""
    lines = 20_000

    def keep_borders(side: Side, data: bytes) -> bytes:
        held = (side.connection.state or b"") + data
        whole, newline, rest = held.rpartition(b"\n")
        side.connection.state = rest
        return whole + newline

    with Sink() as upstream:
        server = serve(upstream.address, on_client_recv=keep_borders)
        with connect(address_of(server)) as client:
            poll(lambda: [conn for conn in server.connections if conn.phase == "open"], 10.0, "it is open")
            conn = server.connections[0]
            over = threading.Event()

            def command() -> None:
                assert conn.upstream is not None
                for _ in range(2000):
                    conn.upstream.send(b"command\n")
                over.set()

            in_thread(command)
            client.sendall(b"line of the client's\n" * lines)
            assert over.wait(20.0)
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", b"")
        got = upstream.wait()[1].split(b"\n")
    assert got.count(b"command") == 2000
    assert got.count(b"line of the client's") == lines
    assert len(got) == lines + 2000 + 1


@pytest.mark.parametrize("data", ["text", 3, None, [b"a"], object(), (b"a",)], ids=lambda data: type(data).__name__)
def test_not_bytes(data: Any, accepted: tuple[Connection, socket.socket]) -> None:
    conn, client = accepted
    with pytest.raises(ArgumentTypeError, match=f"data: it is {type(data).__name__}, not bytes; give bytes"):
        conn.client.send(data)
    assert conn.client.send(b"fine") == 4
    assert read_exactly(client, 4) == b"fine"


def test_wrong_timeouts(accepted: tuple[Connection, socket.socket]) -> None:
    conn, _ = accepted
    wrong: Any
    for wrong in ("1", object()):
        with pytest.raises(ArgumentTypeError, match="timeout: it is"):
            conn.client.send(b"x", timeout=wrong)
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="timeout: "):
            conn.client.send(b"x", timeout=wrong)


def test_after_the_end(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_close=ends)
    with connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"abc"
    conn = ends.wait()
    for side in (conn.client, conn.upstream):
        assert side is not None
        with pytest.raises(ConnectionClosedError):
            side.send(b"late", timeout=0)
        side.half_close()
        side.passthrough()
        side.close()
    conn.abort()
