"""Callbacks see every byte once and in order, change exactly what they are to, and cost nothing where nobody looks."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from conftest import Serve
from interpose import Relay, Side
from support.addresses import address_of
from support.callbacks import CloseRecorder, from_data
from support.exchanges import Sink, exchange
from support.heavy_load import exchange_random
from support.peers import Echo, connect, read_exactly

SIZE = (1 << 30) if os.environ.get("INTERPOSE_LONG") else (64 << 20)


def in_pieces(data: bytes) -> list[Any]:
    return [data[:7], memoryview(data)[7:]]


class Witness:
    """An on_recv that counts and digests each direction."""

    def __init__(self, answer: Any = None) -> None:
        self.digests = {True: hashlib.sha256(), False: hashlib.sha256()}
        self.counts = {True: 0, False: 0}
        self.largest = 0
        self._answer = answer

    def __call__(self, side: Side, data: bytes) -> Any:
        self.digests[side.is_client].update(data)
        self.counts[side.is_client] += len(data)
        self.largest = max(self.largest, len(data))
        return None if self._answer is None else self._answer(data)


@pytest.mark.timeout(900)
def test_every_byte_once_and_in_order_both_ways(echo: Echo, serve: Serve) -> None:
    """In writes of 1 B to 1 MiB; what the callback sees is what either end has sent."""
    witness, ends = Witness(), CloseRecorder()
    server = serve(echo.address, on_recv=witness, on_close=ends)
    with connect(address_of(server), 120.0) as client:
        sent, count, got = exchange_random(client, SIZE, seed=1)
    assert (count, got) == (SIZE, sent)
    assert witness.counts == {True: SIZE, False: SIZE}
    assert {digest.hexdigest() for digest in witness.digests.values()} == {sent}
    conn = ends.wait()
    for ledger in (conn.to_upstream, conn.to_client):
        assert (ledger.read, ledger.added, ledger.delivered) == (SIZE, 0, SIZE)


@pytest.mark.parametrize("buffer_size", [1000, 16_384, 262_144])
def test_large_chunks_that_are_kept_stay_what_they_are(buffer_size: int, serve: Serve) -> None:
    """Those are read straight into their bytes object, which must be as good as any other."""
    kept: list[tuple[bytes, int]] = []

    def keep(_: Side, data: bytes) -> None:
        assert type(data) is bytes
        kept.append((data, hash(data)))

    data = os.urandom(16 << 20)
    with Sink() as upstream:
        server = serve(upstream.address, on_client_recv=keep, relay=Relay(buffer_size=buffer_size))
        assert exchange(server, data) == ("eof", b"")
        assert upstream.wait() == ("eof", data)
    largest = max(len(chunk) for chunk, _ in kept)
    # So much has come at once, however busy the machine is.
    assert largest == buffer_size if buffer_size < 20_000 else largest <= buffer_size
    assert b"".join(chunk for chunk, _ in kept) == data
    assert all(hash(bytes(bytearray(chunk))) == its for chunk, its in kept)


@pytest.mark.parametrize("answer", [bytearray, in_pieces], ids=["copy", "pieces"])
def test_every_byte_once_and_in_order_through_copies(answer: Any, echo: Echo, serve: Serve) -> None:
    witness = Witness(answer)
    with connect(address_of(serve(echo.address, on_recv=witness)), 60.0) as client:
        sent, count, got = exchange_random(client, 8 << 20, seed=2)
    assert (count, got) == (8 << 20, sent)
    assert witness.counts == {True: count, False: count}


def test_a_rewriting_callback_changes_exactly_what_it_is_to(echo: Echo, serve: Serve) -> None:
    """Longer one way, shorter the other, whatever the borders of chunks."""
    data = os.urandom(4 << 20).translate(bytes(b"abc\n"[number % 4] for number in range(256)))
    server = serve(
        echo.address,
        on_client_recv=from_data(lambda chunk: chunk.replace(b"\n", b"\r\n")),
        on_upstream_recv=from_data(lambda chunk: chunk.replace(b"a", b"")),
    )
    assert exchange(server, data) == ("eof", data.replace(b"\n", b"\r\n").replace(b"a", b""))


@pytest.mark.parametrize("hook", ["on_client_recv", "on_upstream_recv"])
def test_a_callback_for_one_direction_sees_that_one_only(hook: str, echo: Echo, serve: Serve) -> None:
    witness = Witness()
    server = serve(echo.address, **{hook: witness})
    data = os.urandom(1 << 20)
    assert exchange(server, data) == ("eof", data)
    is_client = hook == "on_client_recv"
    assert witness.counts == {is_client: len(data), not is_client: 0}
    assert witness.digests[is_client].digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("most", [1, 1000, 65_536, 262_144])
def test_a_chunk_has_no_more_than_buffer_size(most: int, echo: Echo, serve: Serve) -> None:
    witness = Witness()
    data = os.urandom(min(most * 2000, 4 << 20))
    assert exchange(serve(echo.address, on_recv=witness, relay=Relay(buffer_size=most)), data) == ("eof", data)
    assert 0 < witness.largest <= most
    assert witness.counts == {True: len(data), False: len(data)}


def test_cb_17_dropped_chunks_leave_the_connection_open(echo: Echo, serve: Serve) -> None:
    """CB-17: Chunks that are dropped leave the connection open."""

    def only_capitals(side: Side, data: bytes) -> bytes:
        return data if data.isupper() else b""

    with connect(address_of(serve(echo.address, on_client_recv=only_capitals))) as client:
        for _ in range(100):
            # Each is answered before the next is sent, so no chunk has two.
            client.sendall(b"A" * 10)
            assert read_exactly(client, 10) == b"A" * 10
        client.sendall(b"b")
        client.shutdown(1)
        assert client.recv(1) == b""


def test_cb_16_a_very_large_answer_goes_out_whole(serve: Serve, echo: Echo) -> None:
    """CB-16: A very large answer goes out whole."""
    large = os.urandom(32 << 20)
    with connect(address_of(serve(echo.address, on_client_recv=from_data(lambda data: large))), 60.0) as client:
        client.sendall(b"x")
        assert read_exactly(client, len(large)) == large
