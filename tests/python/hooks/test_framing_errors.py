"""Bytes that break a protocol, messages that are too long, and answers that their length field cannot say."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import CloseReason, Connection, Relay, Side, framing
from interpose.framing import Framing
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.dialogues import Recorder
from support.exchanges import exchange, wait_until_idle
from support.peers import Echo, connect, ending, read_exactly

UNFRAMES = Relay(framing_errors="chunk")
# Each breaks its protocol behind one good message; the place is that of the first wrong byte.
BROKEN = [
    (framing.tls_records(), b"\x17\3\3\0\1a", b"GET / HTTP/1.1\r\n\r\n", "tls"),
    (framing.modbus(), b"\0\1\0\0\0\2\1\7", b"\0\1\0\7\0\2\1\7", "modbus"),
    (framing.mqtt(), b"\xc0\0", b"\x00\0", "mqtt"),
    (framing.http1(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\3\1\0\5hello", "http1"),
]
EVERY = pytest.mark.parametrize(("made", "good", "bad", "name"), BROKEN, ids=[name for *_, name in BROKEN])
# A length that is claimed, and never comes.
HOSTILE = [
    (framing.length_prefixed(4), b"\x7f\xff\xff\xff"),
    (framing.length_prefixed(8), b"\xff" * 8),
    (framing.varint(), b"\xff" * 9 + b"\1"),
    (framing.mqtt(), b"\x30\xff\xff\xff\x7f"),
    (framing.resp(), b"*1\r\n$2000000000\r\n"),
    (framing.postgres(), b"\0\3\0\0\x7f\xff\xff\xff"),
    (framing.http1(), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"),
]


def ended(serve: Serve, target: Any, data: bytes, **settings: Any) -> tuple[tuple[str, bytes], Connection]:
    """Return what an exchange has seen, and the connection's end."""
    ends = CloseRecorder()
    server = serve(target, on_close=ends, **settings)
    seen = exchange(server, data)
    return seen, ends.wait()


@EVERY
def test_bytes_that_break_the_protocol_end_their_connection_with_the_place(
    made: Framing, good: bytes, bad: bytes, name: str, echo: Echo, serve: Serve
) -> None:
    """Behind the messages before; and no other connection."""
    recorder, ends = Recorder(), CloseRecorder()
    server = serve(echo.address, framing=(made, None), on_client_recv=recorder, on_close=ends)
    with connect(address_of(server)) as other:
        assert exchange(server, good + bad)[0] == "reset"
        conn = ends.wait()
        assert conn.reason is CloseReason.PROTOCOL_ERROR
        assert conn.error is not None
        assert name in conn.error
        assert "to_upstream, byte " in conn.error
        assert ": expected " in conn.error
        assert "\n" not in conn.error
        assert recorder.seen[True] == [good]
        other.sendall(good)
        assert other.recv(100) == good
    assert wait_until_idle(server).stats.closed[CloseReason.PROTOCOL_ERROR] == 1


@EVERY
def test_by_choice_they_end_the_framing_alone(
    made: Framing, good: bytes, bad: bytes, name: str, echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first byte of the bad message on callbacks get chunks, and the log says so once."""
    recorder = Recorder()
    data = good + bad + bad * 3
    seen, conn = ended(serve, echo.address, data, framing=(made, None), on_client_recv=recorder, relay=UNFRAMES)
    assert seen == ("eof", data)
    assert conn.reason is CloseReason.FINISHED
    first, *rest = recorder.seen[True]
    assert (first, b"".join(rest)) == (good, bad * 4)
    assert recorder.partial == rest
    lines = poll(lambda: [one for one in caplog.messages if "expected" in one], 5.0, "a warning")
    assert len(lines) == 1
    assert name in lines[0]


def test_by_choice_each_direction_of_each_connection_has_one_warning(
    echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """However many more messages there are that would be too long."""
    relay = Relay(max_message=4, framing_errors="chunk")
    server = serve(echo.address, framing=framing.lines(), on_recv=Recorder(), relay=relay)
    data = b"too long a line\n"
    for _ in range(2):
        with connect(address_of(server)) as client:
            for _ in range(5):
                client.sendall(data)
                assert read_exactly(client, len(data)) == data
    wait_until_idle(server)
    server.stop()
    lines = [one for one in caplog.messages if "unframed from byte 0 on" in one]
    assert sorted(line.split(": ", 1)[1].split(",")[0] for line in lines) == [
        *["lines to_client"] * 2,
        *["lines to_upstream"] * 2,
    ]


@pytest.mark.parametrize(("made", "data"), HOSTILE, ids=[repr(made) for made, _ in HOSTILE])
def test_a_hostile_length_is_refused_before_memory_is_needed(
    made: Framing, data: bytes, echo: Echo, serve: Serve
) -> None:
    """FR-02: A length that no message may have is refused before memory is needed for it."""
    recorder = Recorder()
    ends = CloseRecorder()
    server = serve(echo.address, framing=(made, None), on_client_recv=recorder, on_close=ends)
    with connect(address_of(server)) as client:
        client.sendall(data)
        assert ending(client) == ("reset", b"")
    conn = ends.wait()
    assert conn.reason in (CloseReason.MESSAGE_TOO_LONG, CloseReason.PROTOCOL_ERROR)
    assert recorder.seen[True] == []


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_message_without_end_takes_no_more_memory_than_max_message(echo: Echo, serve: Serve) -> None:
    """FR-01: A message that never ends is refused at its limit, and memory stays flat."""
    ends = CloseRecorder()
    server = serve(
        echo.address, framing=framing.lines(), on_recv=Recorder(), on_close=ends, relay=Relay(max_message=1 << 20)
    )
    before = resident()
    with connect(address_of(server)) as client, contextlib.suppress(ConnectionError):
        for _ in range(640):
            client.sendall(b"x" * 100_000)
    assert resident() - before < 24 << 20
    conn = ends.wait()
    assert conn.reason is CloseReason.MESSAGE_TOO_LONG
    assert conn.error is not None
    assert "max_message" in conn.error


@pytest.mark.parametrize("length", [99, 100, 101])
def test_a_message_of_max_message_passes_and_a_longer_one_does_not(length: int, echo: Echo, serve: Serve) -> None:
    data = b"x" * (length - 1) + b"\n"
    relay = Relay(max_message=100)
    seen, conn = ended(serve, echo.address, data, framing=framing.lines(), on_recv=Recorder(), relay=relay)
    assert seen == (("reset", b"") if length > 100 else ("eof", data))
    assert conn.reason is (CloseReason.MESSAGE_TOO_LONG if length > 100 else CloseReason.FINISHED)


def test_by_choice_a_long_message_comes_in_chunks(echo: Echo, serve: Serve) -> None:
    recorder = Recorder()
    relay = Relay(max_message=100, framing_errors="chunk")
    data = b"a\n" + b"x" * 5000 + b"\nb\n"
    seen, conn = ended(serve, echo.address, data, framing=framing.lines(), on_client_recv=recorder, relay=relay)
    assert (seen, conn.reason) == (("eof", data), CloseReason.FINISHED)
    assert recorder.seen[True][0] == b"a\n"
    assert b"".join(recorder.partial) == data[2:]


def test_an_answer_that_its_length_field_cannot_say_ends_the_connection(
    echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    def too_long(side: Side, message: bytes) -> bytes:
        return b"\0" + bytes(256)

    ends = CloseRecorder()
    server = serve(echo.address, on_close=ends, framing=framing.length_prefixed(1), on_client_recv=too_long)
    assert exchange(server, b"\1a") == ("reset", b"")
    conn = ends.wait()
    counts = [server.stats.callback_errors]
    assert conn.reason is CloseReason.CALLBACK_ERROR
    assert conn.error is not None
    assert "a message of 257 bytes" in conn.error
    callback_log.wait("a message of 257 bytes")
    assert counts == [1]


def test_a_client_that_resets_amid_a_message_leaves_nothing(echo: Echo, serve: Serve) -> None:
    recorder, ends = Recorder(), CloseRecorder()
    server = serve(echo.address, framing=framing.lines(), on_recv=recorder, on_close=ends)
    client = connect(address_of(server))
    client.sendall(b"a\nb")
    assert client.recv(2) == b"a\n"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    conn = ends.wait()
    assert conn.reason is CloseReason.CLIENT_RESET
    ledger = conn.to_upstream
    assert ledger.read == ledger.delivered + ledger.dropped + ledger.undeliverable == 3
