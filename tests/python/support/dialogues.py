"""Dialogues in the protocols that framings know, message by message, and two ends that hold them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from interpose import Side, TheServer, framing
from interpose.framing import Framing

from .addresses import address_of
from .peers import Served, connect, ending, read_exactly

Messages = list[tuple[bool, bytes]]
"""Who sends, True for the client, and one message."""


def packed(number: int, width: int) -> bytes:
    return number.to_bytes(width, "big")


def pg(kind: bytes, body: bytes) -> bytes:
    return kind + packed(len(body) + 4, 4) + body


def mysql(sequence: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([sequence]) + body


def modbus(transaction: int, body: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(body) + 1, 1) + body


_MYSQL_CAPABILITIES = 0x0200 | 0x8000  # protocol 4.1, its way to authenticate; no TLS, no compression
_GREETING = (
    b"\x0a8.0.30\0"
    + bytes(4)
    + b"12345678\0"
    + struct.pack("<H", _MYSQL_CAPABILITIES)
    + b"\x21"
    + bytes(15)
    + b"1" * 12
    + b"\0"
)

DIALOGUES: dict[str, tuple[Callable[[], Framing], Messages]] = {
    "lines": (
        framing.lines,
        [(False, b"220 here\r\n"), (True, b"EHLO a\r\n"), (False, b"250-a\n"), (False, b"\n"), (True, b"QUIT\r\n")],
    ),
    "delimited": (lambda: framing.delimited(b"\0"), [(True, b"one\0"), (True, b"\0"), (False, b"two\n\0")]),
    "fixed": (lambda: framing.fixed(4), [(True, b"abcd"), (True, b"\0\0\0\0"), (False, b"efgh")]),
    "length_prefixed": (
        lambda: framing.length_prefixed(2, 1, "little", -3),
        [(True, b"x\4\0a"), (True, b"y\3\0"), (False, b"z\x2c\1" + b"z" * 297)],
    ),
    "varint": (framing.varint, [(True, b"\2hi"), (True, b"\0"), (False, b"\xc8\1" + b"v" * 200)]),
    "tls_records": (
        framing.tls_records,
        [(True, b"\x16\3\1\0\3abc"), (False, b"\x16\3\3\0\1x"), (True, b"\x17\3\3\1\0" + b"t" * 256)],
    ),
    "resp": (
        framing.resp,
        [
            (True, b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"),
            (False, b"$2\r\nhi\r\n"),
            (True, b"PING\r\n"),
            (False, b"+PONG\r\n"),
        ],
    ),
    "postgres": (
        framing.postgres,
        [
            (True, pg(b"", packed(196_608, 4) + b"user\0me\0\0")),
            (False, pg(b"R", bytes(4))),
            (False, pg(b"Z", b"I")),
            (True, pg(b"Q", b"SELECT 1\0")),
            (False, pg(b"C", b"SELECT 1\0")),
            (False, pg(b"Z", b"I")),
            (True, pg(b"X", b"")),
        ],
    ),
    "mysql": (
        framing.mysql,
        [
            (False, mysql(0, _GREETING)),
            (True, mysql(1, struct.pack("<IIB", _MYSQL_CAPABILITIES, 1 << 24, 33) + bytes(23) + b"me\0\0")),
            (False, mysql(2, b"\0\0\0\2\0\0\0")),
            (True, mysql(0, b"\3SELECT 1")),
            (False, mysql(1, b"\0\0\0\2\0\0\0")),
        ],
    ),
    "mqtt": (
        framing.mqtt,
        [
            (True, b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1a"),
            (False, b"\x20\2\0\0"),
            (True, b"\x30\xca\1\0\1t" + b"m" * 199),
            (True, b"\xe0\0"),
        ],
    ),
    "modbus": (framing.modbus, [(True, modbus(1, b"\3\0\0\0\2")), (False, modbus(1, b"\3\4\0\1\0\2"))]),
    "dns": (framing.dns, [(True, b"\0\x0c" + bytes(12)), (False, b"\0\x0d" + bytes(13))]),
    "http1": (
        framing.http1,
        [
            (True, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (False, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
            (True, b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
            (False, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            # Its answer has a length, and no body.
            (True, b"HEAD /c HTTP/1.1\r\nHost: a\r\n\r\n"),
            (False, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
            (True, b"GET /d HTTP/1.1\r\nHost: a\r\n\r\n"),
            (False, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        ],
    ),
}


def said(messages: Messages, is_client: bool) -> list[bytes]:
    """Return what one side says."""
    return [message for by_client, message in messages if by_client is is_client]


def pass_on(side: Side, data: Any) -> None:
    """Answer nothing."""
    del side, data


@dataclass
class Recorder:
    """An on_recv that keeps each message, and whether it was none, by side."""

    answer: Callable[[Side, Any], Any] = pass_on
    seen: dict[bool, list[bytes]] = field(default_factory=lambda: {True: [], False: []})
    partial: list[bytes] = field(default_factory=list[bytes])

    def __call__(self, side: Side, data: Any) -> Any:
        self.seen[side.is_client].append(bytes(data))
        if side.partial:
            self.partial.append(bytes(data))
        return self.answer(side, data)


class Speaker(Served):
    """An upstream that holds its part of a dialogue, in pieces of `piece` bytes, and keeps what it got."""

    def __init__(self, messages: Messages, piece: int = 0) -> None:
        self._got = b""
        self._over = threading.Event()
        self._messages, self._piece = messages, piece
        super().__init__(self._speak)

    def _speak(self, sock: socket.socket) -> None:
        self._got = speak(sock, self._messages, False, self._piece)
        self._over.set()

    def wait(self) -> bytes:
        """Wait until the dialogue is over; return what it got."""
        assert self._over.wait(10.0), "the dialogue is not over"
        return self._got

    def __enter__(self) -> Speaker:
        return self


def speak(sock: socket.socket, messages: Messages, is_client: bool, piece: int = 0) -> bytes:
    """Hold one side's part of a dialogue, then end it; return what came."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    got = b""
    for by_client, message in messages:
        if by_client is not is_client:
            got += read_exactly(sock, len(message))
            continue
        for begin in range(0, len(message), piece or len(message)):
            sock.sendall(message[begin : begin + (piece or len(message))])
    sock.shutdown(socket.SHUT_WR)
    return got + ending(sock)[1]


def talk(server: TheServer, messages: Messages, piece: int = 0) -> bytes:
    """Hold the client's part through a server; return what came."""
    with connect(address_of(server)) as client:
        return speak(client, messages, True, piece)
