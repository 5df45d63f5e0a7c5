"""The relay's promises, kept beside callbacks that change nothing: each case with the sides swapped too.

The whole list is in tests/core/conformance, and runs there on every path that bytes can take through the core. Here are
those of its cases that could come out otherwise through Python: ends and resets, which pass callbacks on their way, and
the order and sizes of bytes that become Python's objects and come back. What is about pressure and single bytes is
there alone, and so is a server without callbacks, of which no byte is seen by Python.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Serve
from interpose import CloseReason, Side
from support.connection_pairs import BACK, OUT, SECONDS, Pair, Receiving, Sending, Site, fill, pattern
from support.deadline import poll
from support.peers import ending, read_exactly, reset

MIB = 1 << 20
CLAMP = 16_384


def identity(side: Side, data: Any) -> Any:
    return data


def halves(side: Side, data: bytes) -> list[bytes]:
    middle = len(data) // 2
    return [data[:middle], data[middle:]]


async def async_identity(side: Side, data: Any) -> Any:
    return data


CALLBACKS: dict[str, dict[str, Any]] = {
    "identity": {"on_recv": identity},
    "views": {"on_recv": identity, "buffer": "view"},
    "halves": {"on_recv": halves},
    "async": {"on_recv": async_identity},
}


@pytest.fixture(params=[True, False], ids=["client", "upstream"])
def client_acts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=CALLBACKS)
def site(request: pytest.FixtureRequest, client_acts: bool, serve: Serve) -> Iterator[Site]:
    """A server with a callback, between the two ends of each connection."""
    with Site(lambda address: serve(address, **CALLBACKS[request.param]), client_acts) as made:
        yield made


def test_hc_01_an_answer_after_the_half_close(site: Site) -> None:
    pair = site.pair()
    pair.near.sendall(b"request")
    pair.near.shutdown(socket.SHUT_WR)
    assert ending(pair.far) == ("eof", b"request")
    sending = Sending(pair.far, pattern(2 * MIB), fin=True)
    assert ending(pair.near) == ("eof", pattern(2 * MIB))
    sending.wait()
    pair.finishes_with(7, 2 * MIB)


def test_hc_03_both_half_close_at_once(site: Site) -> None:
    for _ in range(3):
        pair = site.pair()
        sending = [
            Sending(pair.near, pattern(300_000, OUT), fin=True),
            Sending(pair.far, pattern(300_000, BACK), fin=True),
        ]
        receiving = Receiving(pair.near)
        assert ending(pair.far) == ("eof", pattern(300_000, OUT))
        assert receiving.wait() == ("eof", pattern(300_000, BACK))
        for one in sending:
            one.wait()
        pair.finishes_with(300_000, 300_000)


def test_hc_04_a_fin_behind_a_full_buffer(site: Site) -> None:
    pair = site.pair(near=CLAMP, far=CLAMP)
    sent = fill(pair.near, OUT, lambda: pair.out)
    pair.near.shutdown(socket.SHUT_WR)
    # Little by little at first, so that the FIN arrives while much is still held.
    first = b"".join(read_exactly(pair.far, 500) for _ in range(100))
    how, rest = ending(pair.far)
    assert (how, first + rest == pattern(sent, OUT)) == ("eof", True)
    pair.far.sendall(b"still open")
    pair.far.close()
    assert ending(pair.near) == ("eof", b"still open")
    pair.finishes_with(sent, 10)


@pytest.mark.parametrize("size", [1, 1000, 20_000])
def test_rs_01_a_reset_after_delivered_data(size: int, site: Site) -> None:
    pair = site.pair()
    pair.near.sendall(pattern(size))
    poll(lambda: pair.out.read == size, SECONDS, "all of it was read")
    reset(pair.near)
    assert ending(pair.far) == ("reset", pattern(size))
    pair.ends_with_reset_of_near()
    assert (pair.out.delivered, pair.out.undeliverable) == (size, 0)


def test_rs_02_a_reset_in_the_middle(site: Site) -> None:
    pair = site.pair()
    receiving = Receiving(pair.far)
    pair.near.sendall(pattern(3 * MIB))
    poll(lambda: pair.out.read == 3 * MIB, SECONDS, "all of it was read")
    reset(pair.near)
    assert receiving.wait() == ("reset", pattern(3 * MIB))
    pair.ends_with_reset_of_near()


def test_rs_03_a_reset_with_both_ways_full(site: Site) -> None:
    pair = site.pair(near=CLAMP, far=CLAMP)
    sent = fill(pair.near, OUT, lambda: pair.out)
    fill(pair.far, BACK, lambda: pair.back)
    read = pair.out.read
    reset(pair.near)
    how, got = ending(pair.far)
    assert how == "reset"
    assert read <= len(got) <= sent
    assert got == pattern(len(got), OUT)
    pair.ends_with_reset_of_near()
    assert pair.back.undeliverable > 0


def test_rs_08_close_delivers_what_was_read(site: Site) -> None:
    pair = site.pair()
    pair.near.sendall(b"abc")
    pair.far.sendall(b"defg")
    poll(lambda: (pair.out.read, pair.back.read) == (3, 4), SECONDS, "both were read")
    pair.conn.close()
    assert ending(pair.far) == ("eof", b"abc")
    assert ending(pair.near) == ("eof", b"defg")
    pair.close()
    assert pair.ended() is CloseReason.CLOSED


def test_rs_08_close_does_not_reset_what_is_full(site: Site) -> None:
    pair = site.pair(near=CLAMP, far=CLAMP)
    fill(pair.near, OUT, lambda: pair.out)
    pair.far.sendall(b"go away")
    poll(lambda: pair.back.read == 7, SECONDS, "the message was read")
    pair.conn.close()
    assert ending(pair.near) == ("eof", b"go away")
    how, got = ending(pair.far)
    assert (how, got == pattern(len(got), OUT)) == ("eof", True)
    pair.close()
    assert pair.ended() is CloseReason.CLOSED
    assert pair.out.delivered == len(got)


def test_rs_14_abort_resets_both(site: Site) -> None:
    pair = site.pair(near=CLAMP, far=CLAMP)
    fill(pair.near, OUT, lambda: pair.out)
    fill(pair.far, BACK, lambda: pair.back)
    pair.conn.abort()
    assert pair.ended() is CloseReason.ABORTED
    for sock, turned in ((pair.far, OUT), (pair.near, BACK)):
        how, got = ending(sock)
        assert (how, got == pattern(len(got), turned)) == ("reset", True)
    assert pair.out.undeliverable > 0
    assert pair.back.undeliverable > 0


def test_di_01_both_ways_at_once(site: Site) -> None:
    pair = site.pair()
    out, back = 8 * MIB, 8 * MIB - 7
    sending = [Sending(pair.near, pattern(out, OUT), fin=True), Sending(pair.far, pattern(back, BACK), fin=True)]
    receiving = Receiving(pair.near)
    how, got = ending(pair.far)
    assert (how, got == pattern(out, OUT)) == ("eof", True)
    how, got = receiving.wait()
    assert (how, got == pattern(back, BACK)) == ("eof", True)
    for one in sending:
        one.wait()
    pair.finishes_with(out, back)


def test_di_04_edges_of_buffers(site: Site) -> None:
    pair = site.pair()
    for edge in (8192, 16_384, 65_536):
        for size in (edge - 1, edge, edge + 1):
            there_and_back(pair, size)
    pair.near.close()
    assert ending(pair.far) == ("eof", b"")
    pair.far.close()
    total = 3 * (8192 + 16_384 + 65_536)
    pair.finishes_with(total, total)


def there_and_back(pair: Pair, size: int) -> None:
    pair.near.sendall(pattern(size, OUT))
    assert read_exactly(pair.far, size) == pattern(size, OUT)
    pair.far.sendall(pattern(size, BACK))
    assert read_exactly(pair.near, size) == pattern(size, BACK)
