"""Each fault in both directions and on each path: its effect, as the two peers see it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from interpose import TheServer, faults, framing
from support.peers import bound_address, connect, ending, listener, read_exactly

from .conftest import nothing, nothing_later

PATHS: dict[str, dict[str, Any]] = {
    "native": {},
    "callback": {"on_recv": nothing},
    "framed": {"on_recv": nothing, "framing": framing.lines()},
    "async": {"on_recv": nothing_later},
}
DIGITS = b"0123456789"
LINE = DIGITS + b"abcde\n"
SILENCE = 0.03


@dataclass
class Way:
    """One direction: who sends, who gets it, and the server between them."""

    source: socket.socket
    sink: socket.socket
    server: TheServer
    is_framed: bool
    fault: faults.Fault

    def send(self, data: bytes) -> None:
        self.source.sendall(data)

    def is_silent(self) -> bool:
        self.sink.settimeout(SILENCE)
        try:
            self.sink.recv(1)
        except TimeoutError:
            return True
        finally:
            self.sink.settimeout(10)
        return False

    def gets(self, unframed: bytes, framed: bytes) -> None:
        """Send two lines, the first of which is struck, and expect this and the second."""
        expected = (framed if self.is_framed else unframed) + b"next\n"
        self.send(LINE + b"next\n")
        assert read_exactly(self.sink, len(expected)) == expected


def late(way: Way) -> None:
    began = time.perf_counter()
    way.send(LINE)
    assert read_exactly(way.sink, len(LINE)) == LINE
    assert time.perf_counter() - began >= 0.05
    began = time.perf_counter()
    way.source.shutdown(socket.SHUT_WR)
    assert ending(way.sink) == ("eof", b"")
    assert time.perf_counter() - began >= 0.04


def slow(way: Way) -> None:
    began = time.perf_counter()
    way.send(LINE * 5)
    assert read_exactly(way.sink, 80) == LINE * 5
    assert time.perf_counter() - began >= 0.025


def in_pieces(way: Way) -> None:
    began = time.perf_counter()
    way.send(LINE)
    assert read_exactly(way.sink, len(LINE)) == LINE
    assert time.perf_counter() - began >= 0.015


def cut(end: str) -> Callable[[Way], None]:
    def check(way: Way) -> None:
        way.send(LINE * 3)
        assert ending(way.sink) == (end, (LINE * 3)[:20])
        assert ending(way.source)[0] in (end, "reset")

    return check


def stands_still(way: Way) -> None:
    way.send(LINE * 3)
    assert read_exactly(way.sink, 20) == (LINE * 3)[:20]
    assert way.is_silent()
    way.server.remove_fault(way.fault)
    assert read_exactly(way.sink, 28) == (LINE * 3)[20:]


def swallows(way: Way) -> None:
    way.send(LINE * 3)
    assert read_exactly(way.sink, 20) == (LINE * 3)[:20]
    way.source.shutdown(socket.SHUT_WR)
    assert way.is_silent()
    way.server.remove_fault(way.fault)
    assert ending(way.sink) == ("eof", b"")


def is_reset(way: Way) -> None:
    way.send(LINE)
    assert ending(way.sink) == ("reset", b"" if way.is_framed else DIGITS)


def half_closes(way: Way) -> None:
    way.send(LINE * 3)
    assert ending(way.sink) == ("eof", (LINE * 3)[:20])
    way.sink.sendall(LINE)
    assert read_exactly(way.source, len(LINE)) == LINE


def closes_later(way: Way) -> None:
    began = time.perf_counter()
    way.send(LINE)
    assert read_exactly(way.sink, len(LINE)) == LINE
    assert ending(way.sink) == ("eof", b"")
    assert time.perf_counter() - began >= 0.04


def ends_later(way: Way) -> None:
    way.send(LINE)
    began = time.perf_counter()
    way.source.shutdown(socket.SHUT_WR)
    assert read_exactly(way.sink, len(LINE)) == LINE
    assert ending(way.sink) == ("eof", b"")
    assert time.perf_counter() - began >= 0.04


def corrupts(way: Way) -> None:
    way.send(LINE)
    got = read_exactly(way.sink, len(LINE))
    assert sum((one ^ other).bit_count() for one, other in zip(got, LINE, strict=True)) == 1


def goes_up_and_down(way: Way) -> None:
    begun, slowest = time.perf_counter(), 0.0
    while time.perf_counter() - begun < 0.1:
        sent = time.perf_counter()
        way.send(LINE)
        assert read_exactly(way.sink, len(LINE)) == LINE
        slowest = max(slowest, time.perf_counter() - sent)
    assert slowest >= 0.03
    assert way.fault.strikes >= 1


class Shouting(faults.Scripted):
    def on_data(self, side: Any, data: bytes, actions: faults.Actions) -> None:  # noqa: ARG002
        actions.wait(0.02)
        actions.send(data.upper())


def shouts(way: Way) -> None:
    began = time.perf_counter()
    way.send(LINE)
    assert read_exactly(way.sink, len(LINE)) == LINE.upper()
    assert time.perf_counter() - began >= 0.02


FAULTS: dict[str, tuple[Callable[..., faults.Fault], Callable[[Way], None]]] = {
    "latency": (partial(faults.Latency, 0.05), late),
    "bandwidth": (partial(faults.Bandwidth, 2000, burst=20), slow),
    "slicer": (partial(faults.Slicer, 4, delay=0.006), in_pieces),
    "cut-fin": (partial(faults.Cut, 20), cut("eof")),
    "cut-reset": (partial(faults.Cut, 20, "reset"), cut("reset")),
    "cut-stall": (partial(faults.Cut, 20, "stall"), stands_still),
    "stall": (partial(faults.Stall, after_bytes=20), stands_still),
    "blackhole": (partial(faults.Blackhole, after_bytes=20), swallows),
    "reset": (partial(faults.Reset, on_match=DIGITS), is_reset),
    "half-close": (partial(faults.HalfClose, after_bytes=20), half_closes),
    "close-after": (partial(faults.CloseAfter, 0.05, after_bytes=len(LINE)), closes_later),
    "slow-close": (partial(faults.SlowClose, 0.05), ends_later),
    "corrupt": (partial(faults.Corrupt, on_match=LINE), corrupts),
    "duplicate": (
        partial(faults.Duplicate, on_match=DIGITS),
        lambda way: way.gets(DIGITS + LINE, LINE * 2),
    ),
    "truncate": (
        partial(faults.Truncate, 4, on_match=DIGITS),
        lambda way: way.gets(DIGITS[:4] + LINE[10:], LINE[:4]),
    ),
    "drop": (partial(faults.Drop, on_match=DIGITS), lambda way: way.gets(LINE[10:], b"")),
    "flap": (partial(faults.Flap, [0.03, 0.05], down="link"), goes_up_and_down),
    "scripted": (Shouting, shouts),
}


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with listener() as far:
        far.settimeout(10)
        yield far


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("direction", ["to_upstream", "to_client"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_effect(far: socket.socket, name: str, direction: str, path: str) -> None:
    make, check = FAULTS[name]
    fault = make() if name == "flap" else make(direction=direction)
    server = TheServer("", 0, bound_address(far), faults=[fault], drain=0, **PATHS[path])
    with server, connect(server.address) as client:
        upstream, _ = far.accept()
        with upstream:
            upstream.settimeout(10)
            source, sink = (client, upstream) if direction == "to_upstream" else (upstream, client)
            check(Way(source, sink, server, "framing" in PATHS[path], fault))
    assert fault.strikes >= 1
