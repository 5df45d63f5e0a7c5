"""Framers against the parsers of other projects: both find the ends of messages at the same places.

A parser that is fed a stream byte by byte shows where each message ends: at the byte with which it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import h11
import hiredis
from hypothesis import given, settings
from hypothesis import strategies as st
from interpose import framing

pg: Any = import_module("pg8000.core")  # it has no types

SLOWLY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def cut(made: Any, stream: bytes, *, client: bool) -> list[bytes]:
    """Return the messages of a stream that ends with a whole one."""
    messages: list[bytes] = made.split(stream, client=client)
    rest = messages.pop()
    assert rest == b""
    return messages


def bytewise(stream: bytes, is_whole_behind: Callable[[bytes], bool]) -> Iterator[bytes]:
    """Yield the messages of a parser that is fed single bytes."""
    start = 0
    for end in range(1, len(stream) + 1):
        if is_whole_behind(stream[end - 1 : end]):
            yield stream[start:end]
            start = end
    assert start == len(stream)


# HTTP/1.1, by h11.

TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=8)
FIELDS = st.lists(st.tuples(TOKENS.map("x-{}".format), st.text("abc ;=,", max_size=8)), max_size=4)
DATA = st.binary(max_size=40)


def _chunked(chunks: list[bytes], extension: str, trailers: list[tuple[str, str]]) -> bytes:
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension.encode(), chunk) for chunk in chunks if chunk)
    return body + b"0\r\n" + _lines(trailers) + b"\r\n"


def _lines(fields: list[tuple[str, str]]) -> bytes:
    return b"".join(f"{name}: {value.strip()}\r\n".encode() for name, value in fields)


def _request(method: str, fields: list[tuple[str, str]], body: bytes) -> bytes:
    return f"{method} /a?b HTTP/1.1\r\nHost: a\r\n".encode() + _lines(fields) + body


def _answer(status: str, fields: list[tuple[str, str]], body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\n".encode() + _lines(fields) + body


BODIES = st.one_of(
    st.just(b"\r\n"),
    DATA.map(lambda data: b"Content-Length: %d\r\n\r\n%s" % (len(data), data)),
    st.builds(_chunked, st.lists(DATA, max_size=3), st.sampled_from(["", ";a", ';a="b"', " "]), FIELDS).map(
        lambda body: b"Transfer-Encoding: Chunked\r\n\r\n" + body
    ),
)
REQUESTS = st.builds(
    _request,
    st.sampled_from(["GET", "HEAD", "POST", "X-A"]),
    FIELDS,
    BODIES,
)
ANSWERS = st.builds(
    _answer,
    st.sampled_from(["200 OK", "404 Not Found", "500 "]),
    FIELDS,
    BODIES.filter(lambda body: body != b"\r\n"),
)


def _by_h11(stream: bytes, *, client: bool) -> list[bytes]:
    def fresh() -> h11.Connection:
        connection = h11.Connection(h11.SERVER if client else h11.CLIENT)
        if not client:
            connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
            connection.send(h11.EndOfMessage())
        return connection

    connection = fresh()

    def is_whole_behind(byte: bytes) -> bool:
        nonlocal connection
        connection.receive_data(byte)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.EndOfMessage):
                connection = fresh()
                return True
        return False

    return list(bytewise(stream, is_whole_behind))


@SLOWLY
@given(st.lists(REQUESTS, max_size=4))
def test_requests_end_where_h11_ends_them(requests: list[bytes]) -> None:
    stream = b"".join(requests)
    assert cut(framing.http1(), stream, client=True) == _by_h11(stream, client=True) == requests


@SLOWLY
@given(st.lists(ANSWERS, max_size=4))
def test_answers_end_where_h11_ends_them(answers: list[bytes]) -> None:
    stream = b"".join(answers)
    assert cut(framing.http1(), stream, client=False) == _by_h11(stream, client=False) == answers


# RESP, by hiredis.

INCOMPLETE = object()

LINES = st.text("abc 019", max_size=8).map(str.encode)
REPLIES = st.recursive(
    st.one_of(
        LINES.map(lambda line: b"+%s\r\n" % line),
        LINES.map(lambda line: b"-%s\r\n" % line),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: b":%d\r\n" % number),
        DATA.map(lambda data: b"$%d\r\n%s\r\n" % (len(data), data)),
        st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b"#f\r\n", b",1.5\r\n", b",inf\r\n"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: b"*%d\r\n%s" % (len(items), b"".join(items))),
        st.lists(inner, max_size=3).map(lambda items: b">%d\r\n%s" % (len(items), b"".join(items))),
        st.lists(st.tuples(LINES.map(lambda line: b"+%s\r\n" % line), inner), max_size=2).map(
            lambda pairs: b"%%%d\r\n%s" % (len(pairs), b"".join(key + value for key, value in pairs))
        ),
    ),
    max_leaves=8,
)


@SLOWLY
@given(st.lists(REPLIES, max_size=5))
def test_replies_end_where_hiredis_ends_them(replies: list[bytes]) -> None:
    stream = b"".join(replies)
    reader = hiredis.Reader(notEnoughData=INCOMPLETE)

    def is_whole_behind(byte: bytes) -> bool:
        reader.feed(byte)
        return reader.gets() is not INCOMPLETE

    found = list(bytewise(stream, is_whole_behind))
    assert cut(framing.resp(), stream, client=False) == found == replies


# DNS, by dnspython: its own serializer writes the length as well, and its parser takes each message.

LABELS = st.text("abc019", min_size=1, max_size=10)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join(labels) + ".")


def _question_or_answer(number: int, name: str, texts: list[str]) -> bytes:
    message = dns.message.make_query(name, "TXT", id=number)
    if texts:
        message.flags |= dns.flags.QR
        message.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", " ".join(texts)))
    wire: bytes = message.to_wire(prepend_length=True)
    return wire


@SLOWLY
@given(st.lists(st.tuples(st.integers(0, 65_535), NAMES, st.lists(LABELS, max_size=10)), max_size=4), st.booleans())
def test_messages_end_where_dnspython_ends_them(parts: list[tuple[int, str, list[str]]], client: bool) -> None:
    # Made here, because the serializer has a random source, and strategies may have none.
    messages = [_question_or_answer(*part) for part in parts]
    found = cut(framing.dns(), b"".join(messages), client=client)
    assert found == messages
    for message in found:
        # What is left behind a message is an error of its parser.
        assert dns.message.from_wire(message[2:]).to_wire(prepend_length=True) == message


# PostgreSQL, by the serializer of pg8000.

TYPED = st.builds(pg._create_message, st.sampled_from([pg.QUERY, pg.PARSE, pg.BIND, pg.COPY_DATA, pg.PASSWORD]), DATA)
FIXED = st.sampled_from([pg.SYNC_MSG, pg.FLUSH_MSG, pg.EXECUTE_MSG, pg.COPY_DONE_MSG, pg.TERMINATE_MSG])
START = b"\0\3\0\0user\0me\0\0"


@SLOWLY
@given(st.lists(st.one_of(TYPED, FIXED), max_size=6))
def test_messages_end_where_pg8000_ends_them(messages: list[bytes]) -> None:
    started = [pg._create_message(b"", START), *messages]
    assert cut(framing.postgres(), b"".join(started), client=True) == started
