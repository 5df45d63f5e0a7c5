"""The clients' side of records, played to servers on plain sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from interpose import ConfigError, ConnectError, RecordError, ReplayError, replay
from support.peers import Address, Echo, bound_address, ending, listener, read_exactly
from support.records import Turn, record_of, talk

TALK: tuple[Turn, ...] = ((">", b"one"), ("<", b"ONE"), (">", b"two"), ("<", b"TWO"))
Serves = Callable[[socket.socket], Any]


@contextmanager
def serving(*serves: Serves) -> Generator[Address]:
    """A server whose n-th connection is served by the n-th of these, one after the other."""
    with listener() as sock:

        def run() -> None:
            for serve in serves:
                connection, _ = sock.accept()
                with connection:
                    connection.settimeout(10)
                    serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield bound_address(sock)
        finally:
            thread.join()


def upper(*sizes: int) -> Serves:
    """Read as many bytes as each size says, answer each time in capital letters, then wait for the end."""

    def serve(connection: socket.socket) -> None:
        for size in sizes:
            connection.sendall(read_exactly(connection, size).upper())
        ending(connection)

    return serve


def test_a_server_that_answers_the_same_passes() -> None:
    record = record_of(
        talk(1, *TALK, (">", None), ("<", None)), talk(2, (">", b"x"), ("<", b"X"), reason=None, began=10)
    )
    with serving(upper(3, 3), upper(1)) as address:
        assert replay.play(record, address) == 2


def test_what_is_sent_waits_for_the_answers_before_it() -> None:
    came: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        came.append(read_exactly(connection, 3))
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        connection.sendall(b"ON")
        connection.sendall(b"E")
        came.append(read_exactly(connection, 3))
        connection.sendall(b"TWO")
        ending(connection)

    with serving(serve) as address:
        assert replay.play(record_of(talk(1, *TALK, reason=None)), address) == 1
    assert came == [b"one", b"two"]


def test_another_answer_is_one_line() -> None:
    record = record_of(talk(1, (">", b"one"), ("<", b"One"), (">", b"two")))
    with serving(upper(3)) as address, pytest.raises(ReplayError) as raised:
        replay.play(record, address)
    assert f"{raised.value}" == "replay: connection 1, to_client, byte 1: expected b'ne', got b'NE'"


def test_more_than_the_answer_is_a_difference_too() -> None:
    record = record_of(talk(1, (">", b"one"), ("<", b"O"), (">", None), ("<", None)))
    with serving(upper(3)) as address, pytest.raises(ReplayError, match=r"byte 1: expected nothing more, got b'NE'$"):
        replay.play(record, address)


def test_masks_are_for_what_changes() -> None:
    record = record_of(talk(1, (">", b"time?"), ("<", b"it is 12:00 now"), (">", None), ("<", None)))

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, 5)
        connection.sendall(b"it is 9:05:33 now")
        ending(connection)

    with serving(serve) as address:
        assert replay.play(record, address, mask=rb"\d+(:\d+)+") == 1


def test_a_wait_has_its_deadline() -> None:
    record = record_of(talk(1, (">", b"one"), ("<", b"ONE!")))
    with serving(upper(3)) as address, pytest.raises(ReplayError) as raised:
        replay.play(record, address, timeout=0.1)
    assert f"{raised.value}" == (
        "replay: connection 1, to_client, byte 3: expected b'!', but nothing came within 0.1 s (1 byte is missing)"
    )


@pytest.mark.parametrize("ends", ["end", "reset"])
def test_a_server_that_ends_otherwise_is_named(ends: str) -> None:
    def serve(connection: socket.socket) -> None:
        # With bytes that were not read, the close is a reset.
        read_exactly(connection, 3 if ends == "end" else 1)

    words = "the peer has ended" if ends == "end" else "the connection was reset"
    with serving(serve) as address, pytest.raises(ReplayError, match=f"byte 0: expected b'ONETWO', but {words}$"):
        replay.play(record_of(talk(1, *TALK)), address)


@pytest.mark.parametrize(("reason", "how"), [("client_reset", "reset"), ("aborted", "reset"), ("closed", "eof")])
def test_it_ends_as_the_client_did(reason: str, how: str) -> None:
    seen: list[tuple[str, bytes]] = []
    with serving(lambda connection: seen.append(ending(connection))) as address:
        replay.play(record_of(talk(1, (">", b"bye"), reason=reason)), address)
    assert seen == [(how, b"bye")]


def test_the_end_of_a_server_is_waited_for() -> None:
    went = threading.Event()

    def serve(connection: socket.socket) -> None:
        assert ending(connection) == ("eof", b"")
        went.wait(10)

    record = record_of(talk(1, (">", None), ("<", None)))
    with serving(serve) as address:
        with pytest.raises(ReplayError, match="byte 0: expected the end of the peer, but nothing came"):
            replay.play(record, address, timeout=0.05)
        went.set()


def test_the_order_of_the_record_holds_across_connections() -> None:
    """The second connection asks once the first has its first answer; the first gets the second behind that."""
    first: tuple[Turn, ...] = ((">", b"subscribe"), ("<", b"yes"), ("<", b"news"))
    second: tuple[Turn, ...] = ((">", b"publish"), ("<", b"ok"))
    one, two = talk(1, *first, reason=None), talk(2, *second, reason=None, began=10)
    lines = {b"subscribe": 2, b"yes": 3, b"publish": 5, b"ok": 6, b"news": 7}
    from dataclasses import replace

    one, two = (
        replace(each, line=line, events=tuple(replace(event, line=lines[event.data]) for event in each.events))
        for each, line in ((one, 1), (two, 4))
    )
    with listener() as sock:

        def run() -> None:
            subscriber = sock.accept()[0]
            with subscriber:
                assert read_exactly(subscriber, 9) == b"subscribe"
                sock.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    sock.accept()
                sock.settimeout(10)
                subscriber.sendall(b"yes")
                publisher = sock.accept()[0]
                with publisher:
                    assert read_exactly(publisher, 7) == b"publish"
                    publisher.sendall(b"ok")
                    subscriber.sendall(b"news")
                    ending(subscriber)

        thread = threading.Thread(target=run)
        thread.start()
        assert replay.play(record_of(one, two), bound_address(sock)) == 2
        thread.join()


def test_recorded_timing_keeps_the_pauses() -> None:
    record = record_of(talk(1, *TALK, reason=None, pause=0.1))
    with serving(upper(3, 3)) as address:
        began = time.monotonic()
        replay.play(record, address, timing="recorded")
        assert time.monotonic() - began >= 0.19


def test_large_ones_move_both_ways(echo: Echo) -> None:
    big = bytes(range(256)) * 20_000
    record = record_of(talk(1, (">", big), ("<", big), (">", None), ("<", None)))
    assert replay.play(record, echo.address) == 1


def test_without_an_upstream_there_is_nothing_to_play(echo: Echo) -> None:
    from dataclasses import replace

    alone = replace(talk(1, reason="refused"), upstream=None)
    with pytest.raises(RecordError, match=r"^record: none of its connections had an upstream; record one"):
        replay.play(record_of(alone), echo.address)
    assert replay.play(record_of(alone, talk(2, (">", b"a"), ("<", b"a"), reason=None)), echo.address) == 1


def test_a_server_that_is_not_there(refusing: Address) -> None:
    with pytest.raises(ConnectError, match=r"^replay: 127.0.0.1:[0-9]+: connection refused; start the server first$"):
        replay.play(record_of(talk(1, *TALK)), refusing)
    with pytest.raises(ConfigError, match="target: "):
        replay.play(record_of(talk(1, *TALK)), ("127.0.0.1", 0))
