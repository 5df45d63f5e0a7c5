"""Filters that rewrite what passes, and that choose the connections that are shown."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Sequence

import pytest
from interpose import ArgumentTypeError, ConfigError, TheServer, filters, framing
from support.peers import Echo, connect, echo, read_exactly

HOLD = 20.0


def exchanged(
    chosen: Sequence[filters.Filter], pieces: Sequence[bytes], *, framed: framing.Framing | None = None
) -> bytes:
    """Return what comes back from an echo of pieces, each sent once the bytes before have come."""
    got = b""
    with (
        Echo() as upstream,
        TheServer("", 0, upstream.address, filters=chosen, framing=framed) as server,
        connect(server.address) as client,
    ):
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(65536):
            got += data
    return got


def test_bytes_are_replaced_in_the_direction_that_is_asked_for() -> None:
    up = filters.Replace(b"ping", "pong", direction="to_upstream")
    down = filters.Replace({"pong": "PONG", "ping": "PING"}, direction="to_client")
    assert exchanged([up], [b"a ping", b" b"]) == b"a pong b"
    assert exchanged([up, down], [b"a pi", b"ng b"]) == b"a PONG b"
    assert exchanged([down], [b"ping pong"]) == b"PING PONG"
    assert exchanged([filters.Replace("a", "", count=2)], [b"aaaa" * 2]) == b"aaaa"


def test_an_expression_is_replaced_with_its_groups() -> None:
    mask = filters.ReplaceRegex(rb"(?i)(password)=[^&\s]+", rb"\1=***")
    assert exchanged([mask], [b"user=a&PassWord=", b"secret&x=1"]) == b"user=a&PassWord=***&x=1"


def test_bytes_that_may_begin_a_match_wait_no_longer_than_asked_for() -> None:
    with (
        Echo() as upstream,
        TheServer("", 0, upstream.address, filters=[filters.Replace("secret", "x", hold=0.01)]) as server,
        connect(server.address) as client,
    ):
        assert echo(client, b"a sec") == b"a sec"
        client.sendall(b"a secret!")
        assert read_exactly(client, 4) == b"a x!"


def test_messages_are_rewritten_one_by_one_and_their_lengths_are_set_right() -> None:
    chosen = [filters.Replace({"end\nbegin": "never", "secret": "x"}, hold=HOLD)]
    assert exchanged(chosen, [b"end\nbegin\na secret\nse"], framed=framing.lines()) == b"end\nbegin\na x\nse"
    lengths = framing.length_prefixed(2)
    sent = b"\0\x08a secret\0\x01b"
    assert exchanged(chosen, [sent[:3], sent[3:]], framed=lengths) == b"\0\x03a x\0\x01b"


def test_a_filter_behind_another_sees_what_that_has_made() -> None:
    before, behind = io.StringIO(), io.StringIO()
    chosen = [filters.Text(before), filters.Replace("ping", "pong", direction="to_upstream"), filters.Text(behind)]
    assert exchanged(chosen, [b"ping"]) == b"pong"
    assert "> ping" in before.getvalue()
    assert "> pong" in behind.getvalue()


def test_a_live_side_is_rewritten_from_the_next_read_on() -> None:
    with Echo() as upstream, TheServer("", 0, upstream.address) as server, connect(server.address) as client:
        assert echo(client, b"ping") == b"ping"
        (connection,) = server.connections
        connection.client.filters = [filters.Replace("ping", "pong")]
        assert echo(client, b"ping") == b"pong"
        connection.client.filters = []
        assert echo(client, b"ping") == b"ping"


def test_only_connections_in_which_something_matches_are_shown() -> None:
    out = io.StringIO()
    looking = filters.Grep(r"need\w+", filters.Text(out))
    with Echo() as upstream, TheServer("", 0, upstream.address, filters=[looking]) as server:
        for words in ([b"hay", b"stack"], [b"a ne", b"edle"]):
            with connect(server.address) as client:
                for word in words:
                    echo(client, word)
    text = out.getvalue()
    assert "hay" not in text
    assert "stack" not in text
    assert "#2 open" in text
    assert "#2 > a ne" in text
    assert "#2 > edle" in text
    assert "#2 closed" in text


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: filters.Replace("a"), ArgumentTypeError, "new: it is missing"),  # type: ignore[call-overload]
    (lambda: filters.Replace("", "b"), ConfigError, "old: an empty byte string is everywhere"),
    (lambda: filters.Replace({}), ConfigError, "old: needs at least one"),
    (lambda: filters.Replace({"a": "b"}, "c"), ArgumentTypeError, "leave new out"),  # type: ignore[call-overload]
    (lambda: filters.Replace(1, "c"), ArgumentTypeError, "old"),  # type: ignore[call-overload]
    (lambda: filters.Replace("a", "b", direction="up"), ConfigError, "direction"),  # type: ignore[call-overload]
    (lambda: filters.Replace("a", "b", count=0), ConfigError, "count: it is below 1"),
    (lambda: filters.Replace("a", "b", hold=-1), ConfigError, "hold: it is negative"),
    (lambda: filters.Replace("a", "b", times=2), ArgumentTypeError, "did you mean count?"),  # type: ignore[call-overload]
    (lambda: filters.ReplaceRegex("a(", "b"), ConfigError, "pattern: at character 2: unclosed group"),
    (lambda: filters.ReplaceRegex("a*", "b"), ConfigError, "pattern: a* matches where there is nothing"),
    (lambda: filters.ReplaceRegex("a", r"\1"), ConfigError, "replacement: group 1"),
    (lambda: filters.Grep("a"), ArgumentTypeError, "filters.Grep(pattern, filters.Hexdump())"),
    (lambda: filters.Grep("(", filters.Text()), ConfigError, "pattern: at character 1"),
    (lambda: filters.Grep(["a", "b("], filters.Text()), ConfigError, "pattern b(: at character 2: unclosed group"),
    (lambda: filters.Grep([], filters.Text()), ConfigError, "pattern: the list is empty"),
    (lambda: filters.Grep([1], filters.Text()), ArgumentTypeError, "pattern"),  # type: ignore[list-item]
    (lambda: filters.Grep("a", filters.Text), ArgumentTypeError, "shown"),  # type: ignore[arg-type]
    (lambda: filters.Grep("a", filters.Replace("a", "b")), ArgumentTypeError, "shows nothing"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_filters_are_answered_in_one_line_with_the_right_ones(case: int) -> None:
    make, kind, words = WRONG[case]
    with pytest.raises(kind) as raised:
        make()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
