"""The server's side of records, played to clients on plain sockets: bytes, ends, waits, and what differs."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from interpose import BindError, ConfigError, ReplayError, replay
from interpose.replay import Conversation, Recording
from support.peers import bound_address, ending, listener, read_exactly
from support.records import Turn, record_of, talk

BIG = bytes(range(256)) * 20_000
ECHO: tuple[Turn, ...] = ((">", b"one"), ("<", b"ONE"), (">", b"two"), ("<", b"TWO"))


def connected(server: replay.Replay) -> socket.socket:
    client = socket.create_connection(server.address, 10)
    client.settimeout(10)
    return client


def end_of(server: replay.Replay) -> str:
    """How a client ends that says nothing. A reset may come while it still connects."""
    try:
        with connected(server) as client:
            return ending(client)[0]
    except ConnectionResetError:
        return "reset"


def test_answers_come_when_what_was_before_them_has_come() -> None:
    with replay.serve(record_of(talk(1, *ECHO, (">", None), ("<", None)))) as server:
        with connected(server) as client:
            client.sendall(b"on")
            client.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(10)
            client.sendall(b"e")
            assert read_exactly(client, 3) == b"ONE"
            client.sendall(b"two")
            assert read_exactly(client, 3) == b"TWO"
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", b"")
        assert server.wait(10)
        assert (server.mismatches, server.played) == ([], 1)


def test_a_client_that_does_not_wait_for_answers_gets_them_all() -> None:
    with replay.serve(record_of(talk(1, *ECHO))) as server, connected(server) as client:
        client.sendall(b"onetwo")
        assert read_exactly(client, 6) == b"ONETWO"


def test_a_server_that_speaks_first_does() -> None:
    record = record_of(talk(1, ("<", b"hello"), (">", b"a"), ("<", None)))
    with replay.serve(record) as server, connected(server) as client:
        assert read_exactly(client, 5) == b"hello"
        client.sendall(b"a")
        assert ending(client) == ("eof", b"")


@pytest.mark.parametrize(
    ("turns", "reason", "how"),
    [
        (((">", b"a"), ("<", b"b"), ("<", None)), "finished", "eof"),
        (((">", b"a"), ("<", b"b")), "closed", "eof"),
        (((">", b"a"), ("<", b"b")), "upstream_reset", "reset"),
        (((">", b"a"), ("<", b"b")), "idle_timeout", "reset"),
        (((">", b"a"), ("<", BIG)), "upstream_reset", "reset"),
    ],
)
def test_it_ends_as_it_did(turns: tuple[Turn, ...], reason: str, how: str) -> None:
    with replay.serve(record_of(talk(1, *turns, reason=reason))) as server, connected(server) as client:
        client.sendall(b"a")
        assert ending(client) == (how, turns[1][1])


def test_a_client_that_was_refused_its_upstream_is_reset() -> None:
    with replay.serve(record_of(talk(1, reason="refused"))) as server:
        assert end_of(server) == "reset"


def test_a_half_closed_client_still_gets_its_answer() -> None:
    record = record_of(talk(1, (">", b"all"), (">", None), ("<", b"answer"), ("<", None)))
    with replay.serve(record) as server, connected(server) as client:
        client.sendall(b"all")
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", b"answer")


def test_a_half_closed_server_still_hears() -> None:
    with replay.serve(record_of(talk(1, ("<", b"bye"), ("<", None), (">", b"well"), (">", None)))) as server:
        with connected(server) as client:
            assert ending(client) == ("eof", b"bye")
            client.sendall(b"well")
        assert server.wait(10)


@pytest.mark.parametrize("reason", ["client_reset", "finished", None, "stopped"])
def test_a_client_may_leave_its_connection_open(reason: str | None) -> None:
    turns: tuple[Turn, ...] = (*ECHO, (">", None), ("<", None)) if reason == "finished" else ECHO
    with replay.serve(record_of(talk(1, *turns, reason=reason)), timeout=0.05) as server:
        client = connected(server)
        client.sendall(b"onetwo")
        assert read_exactly(client, 6) == b"ONETWO"
        assert server.wait(10)
    client.close()


@pytest.mark.parametrize("big", ["asked", "answered"])
def test_what_is_large_moves_both_ways_at_its_readers_speed(big: str) -> None:
    turns: tuple[Turn, ...] = ((">", BIG), ("<", b"ok")) if big == "asked" else ((">", b"a"), ("<", BIG))
    with replay.serve(record_of(talk(1, *turns, ("<", None)))) as server, connected(server) as client:
        sending = threading.Thread(target=client.sendall, args=(turns[0][1],))
        sending.start()
        assert ending(client) == ("eof", turns[1][1])
        sending.join()


def failure(server: replay.Replay) -> str:
    """What a replay says that is over."""
    server.stop()
    with pytest.raises(ReplayError) as raised:
        server.check()
    return f"{raised.value}"


def mismatch(server: replay.Replay, use: Callable[[socket.socket], Any]) -> str:
    """What a replay says of a client that does this, and is reset."""
    with connected(server) as client:
        use(client)
        assert ending(client)[0] == "reset"
    text = failure(server)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"onx", r"replay: connection 1, to_upstream, byte 2: expected b'etwo', got b'x'"),
        (b"one!!", r"replay: connection 1, to_upstream, byte 3: expected b'two', got b'!!'"),
        (b"onetwo\x1b[2J", r"replay: connection 1, to_upstream, byte 6: expected nothing more, got b'\x1b[2J'"),
        (b"?" * 1000, f"replay: connection 1, to_upstream, byte 0: expected b'onetwo', got b'{'?' * 40}'..."),
    ],
)
def test_another_word_is_one_line_and_a_reset(data: bytes, text: str) -> None:
    assert mismatch(replay.serve(record_of(talk(1, *ECHO))), lambda client: client.sendall(data)) == text


def test_a_client_that_ends_too_early_is_named() -> None:
    def use(client: socket.socket) -> None:
        client.sendall(b"one")
        client.shutdown(socket.SHUT_WR)

    text = mismatch(replay.serve(record_of(talk(1, *ECHO))), use)
    assert text == "replay: connection 1, to_upstream, byte 3: expected b'two', but the peer has ended"


def test_a_wait_has_a_deadline_that_says_what_came() -> None:
    server = replay.serve(record_of(talk(1, (">", b"id=12 end"), ("<", b"ok"))), timeout=0.05, mask=rb"\d+")
    text = mismatch(server, lambda client: client.sendall(b"id=34"))
    assert text == (
        r"replay: connection 1, to_upstream, byte 3: expected a match of the mask b'\\d+', as b'12' is, and got b'34' "
        "so far, but nothing came within 0.05 s (6 bytes are missing)"
    )


def test_what_no_mask_can_match_any_more_is_said_at_once() -> None:
    server = replay.serve(record_of(talk(1, (">", b"id=12 end"), ("<", b"ok"))), timeout=600, mask=rb"\d+")
    text = mismatch(server, lambda client: client.sendall(b"id=ab"))
    assert text == (
        r"replay: connection 1, to_upstream, byte 3: expected a match of the mask b'\\d+', as b'12' is, got b'ab'"
    )


def test_a_client_that_does_not_read_has_a_deadline_too() -> None:
    server = replay.serve(record_of(talk(1, ("<", bytes(30_000_000)))), timeout=0.05)
    with connected(server) as client:
        assert server.wait(10)
        assert ending(client)[0] == "reset"
    text = failure(server)
    assert re.search(r"to_client, byte \d+: the peer has read nothing for 0.05 s before the rest was sent$", text)


def test_a_client_that_resets_before_its_answer_is_named() -> None:
    server = replay.serve(record_of(talk(1, (">", b"a"), ("<", bytes(30_000_000)))))
    with connected(server) as client:
        client.sendall(b"a")
        read_exactly(client, 1000)
    assert server.wait(10)
    assert re.search(r"to_client, byte \d+: the connection was reset before the rest was sent$", failure(server))


@pytest.mark.parametrize(("expect_all", "by_call"), [(True, False), (False, False), (True, True)])
def test_what_was_not_played_is_named_unless_it_may_be(expect_all: bool, by_call: bool) -> None:
    server = replay.serve(record_of(talk(1, *ECHO), talk(2, *ECHO)), expect_all=expect_all)
    client = connected(server)
    client.sendall(b"one")
    assert read_exactly(client, 3) == b"ONE"
    server.stop()
    server.stop()
    client.close()
    if by_call:
        server.expect_all(False)
    if by_call or not expect_all:
        server.check()
        return
    with pytest.raises(ReplayError) as raised:
        server.check()
    assert f"{raised.value}".splitlines() == [
        "replay: connection 1, to_upstream, byte 3: expected b'two', but the replay was left (3 bytes are missing)",
        "replay: no client came for the recorded connection 2",
    ]


def test_more_connections_than_were_recorded_are_refused_by_name() -> None:
    server = replay.serve(record_of(talk(1, ("<", None))))
    assert [end_of(server), end_of(server)] == ["eof", "reset"]
    assert failure(server) == "replay: connection 2: it was never recorded: the record has 1 connection"


def test_an_exception_under_way_gets_the_mismatch_as_a_note() -> None:
    with pytest.raises(ConnectionResetError) as raised:
        _ask_wrong(record_of(talk(1, *ECHO)))
    assert raised.value.__notes__ == ["replay: connection 1, to_upstream, byte 0: expected b'onetwo', got b'two'"]


def _ask_wrong(record: Recording) -> None:
    with replay.serve(record) as server, connected(server) as client:
        client.sendall(b"two")
        client.recv(1)


def asking(*words: str) -> list[Conversation]:
    return [
        talk(number, (">", word.encode()), ("<", f"{word} {number}".encode()), ("<", None))
        for number, word in enumerate(words, 1)
    ]


def answers(server: replay.Replay, *words: str) -> list[str]:
    found: list[str] = []
    for word in words:
        with connected(server) as client:
            client.sendall(word.encode())
            found.append(ending(client)[1].decode())
    return found


def test_the_nth_connection_gets_the_nth_conversation() -> None:
    with replay.serve(record_of(*asking("a", "b", "a"))) as server:
        assert answers(server, "a", "b", "a") == ["a 1", "b 2", "a 3"]
    text = mismatch(replay.serve(record_of(*asking("a", "b"))), lambda client: client.sendall(b"b"))
    assert text == "replay: connection 1, to_upstream, byte 0: expected b'a', got b'b'"


def test_by_bytes_a_connection_gets_the_earliest_that_fits() -> None:
    with replay.serve(record_of(*asking("a", "b", "a", "abc")), match="bytes") as server:
        assert answers(server, "abc", "b", "a", "a") == ["abc 4", "b 2", "a 1", "a 3"]


def test_by_bytes_two_that_begin_alike_change_places() -> None:
    greeting: tuple[Turn, ...] = ((">", b"hi "), ("<", b"hi "))
    ends = [(b"a", b"1"), (b"b", b"2")]
    record = record_of(
        *(talk(number, *greeting, (">", ask), ("<", say), ("<", None)) for number, (ask, say) in enumerate(ends, 1))
    )
    with replay.serve(record, match="bytes") as server, connected(server) as one, connected(server) as two:
        for client in (one, two):
            client.sendall(b"hi ")
            assert read_exactly(client, 3) == b"hi "
        # The first had the first conversation so far, and the second the second.
        one.sendall(b"b")
        two.sendall(b"a")
        assert (ending(one)[1], ending(two)[1]) == (b"2", b"1")


def test_by_bytes_what_fits_nothing_is_compared_with_the_nearest() -> None:
    server = replay.serve(record_of(*asking("axx", "abcd", "b")), match="bytes", expect_all=False)
    text = mismatch(server, lambda client: client.sendall(b"abx"))
    assert text == "replay: connection 1 (recorded as 2), to_upstream, byte 2: expected b'cd', got b'x'"


def test_many_connections_are_played_at_once() -> None:
    words = [f"word {number:03}" for number in range(100)]
    with replay.serve(record_of(*asking(*words)), match="bytes") as server:
        clients = [connected(server) for _ in words]
        for client, word in zip(reversed(clients), words, strict=True):
            client.sendall(f"{word}".encode()[:-1])
        for client, word in zip(reversed(clients), words, strict=True):
            client.sendall(f"{word}".encode()[-1:])
        for client, word in zip(reversed(clients), words, strict=True):
            assert ending(client)[1].startswith(word.encode())
            client.close()
        assert server.wait(10)


@pytest.mark.parametrize("timing", ["lockstep", "recorded"])
def test_recorded_timing_keeps_the_pauses(timing: Any) -> None:
    record = record_of(talk(1, (">", b"a"), ("<", b"b"), ("<", b"c"), ("<", None), pause=0.1))
    with replay.serve(record, timing=timing) as server, connected(server) as client:
        began = time.monotonic()
        client.sendall(b"a")
        assert ending(client) == ("eof", b"bc")
        assert (time.monotonic() - began >= 0.29) == (timing == "recorded")


def test_it_is_ready_at_once_and_leaves_nothing_behind() -> None:
    before = {thread.name for thread in threading.enumerate()}
    times: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        with replay.serve(record_of(talk(1, *ECHO[:2]))) as server, connected(server) as client:
            times.append(time.perf_counter() - began)
            client.sendall(b"one")
            read_exactly(client, 3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.address, 10)
    # 0.5 ms on an idle machine.
    assert sorted(times)[10] < 0.05
    assert {thread.name for thread in threading.enumerate()} == before


def test_wrong_arguments_are_named() -> None:
    record = record_of(talk(1, *ECHO))
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'masks'; did you mean mask\?|mask"):
        replay.serve(record, masks=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(ConfigError, match='match: it is neither "order" nor "bytes"; give one of them'):
        replay.serve(record, match="any")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="timeout: it is less than a millisecond"):
        replay.serve(record, timeout=0)
    with pytest.raises(TypeError, match="path: it is int, not a path"):
        replay.serve(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with (
        listener() as taken,
        pytest.raises(BindError, match=r"address already in use.*; give port 0 for any free port"),
    ):
        replay.serve(record, port=bound_address(taken)[1])


def test_its_text_is_its_address() -> None:
    with replay.serve(Recording((talk(1, ("<", None)),)), expect_all=False) as server:
        assert f"{server}" == f"{server.host}:{server.port}" == f"{server.address}"
        assert re.fullmatch(r"<Replay 127\.0\.0\.1:\d+ of 1 conversation>", repr(server))
