"""buffer="view": what a callback gets, for how long it is what it is, and what may be answered with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Serve
from interpose import CloseReason, ConfigError, Relay, Side, TheServer
from support.addresses import address_of
from support.callbacks import CloseRecorder, from_data
from support.deadline import poll
from support.exchanges import Sink, exchange, in_thread, wait_until_idle
from support.peers import Echo, connect, read_exactly
from support.peers import echo as echoed

# The small ones are copied, the large ones are read where they lie.
SIZES = pytest.mark.parametrize("size", [1, 1000, 16_383, 16_384, 65_536])


def viewing(serve: Serve, target: Any, answer: Callable[[memoryview], Any], **settings: Any) -> TheServer:
    def on_client_recv(side: Side, view: memoryview) -> Any:
        return answer(view)

    return serve(target, on_client_recv=on_client_recv, relay=Relay(buffer="view"), **settings)


@SIZES
def test_a_chunk_is_a_read_only_memoryview(size: int, echo: Echo, serve: Serve) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(view: memoryview) -> None:
        seen.append((type(view), view.readonly, view.format, view.ndim, view.itemsize, view.contiguous, bytes(view)))
        assert len(view) == view.nbytes
        with pytest.raises(TypeError):
            view[0] = 1

    data = os.urandom(size)
    server = viewing(serve, echo.address, look)
    assert exchange(server, data) == ("eof", data)
    assert {one[:6] for one in seen} == {(memoryview, True, "B", 1, 1, True)}
    assert b"".join(one[6] for one in seen) == data
    assert wait_until_idle(server).stats.callback_errors == 0


@SIZES
def test_views_that_are_kept_stay_what_they_are(size: int, echo: Echo, serve: Serve) -> None:
    """Whatever comes after them, through the same server and after its end."""
    kept: list[memoryview] = []
    server = viewing(serve, echo.address, kept.append)
    sent = [os.urandom(size) for _ in range(20)]
    with connect(address_of(server)) as client:
        for data in sent:
            assert echoed(client, data) == data
        for _ in range(3):
            assert exchange(server, os.urandom(200_000))[0] == "eof"
    assert b"".join(kept)[: 20 * size] == b"".join(sent)
    server.stop()
    assert b"".join(kept)[: 20 * size] == b"".join(sent)


def test_many_large_ones_that_are_kept(serve: Serve) -> None:
    kept: list[memoryview] = []
    data = os.urandom(8 << 20)
    with Sink() as upstream:
        assert exchange(viewing(serve, upstream.address, kept.append), data) == ("eof", b"")
        assert upstream.wait() == ("eof", data)
    assert b"".join(kept) == data
    assert max(map(len, kept)) <= 262_144


@SIZES
def test_the_same_view_passes_the_chunk_on(size: int, echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    data = os.urandom(size)
    assert exchange(viewing(serve, echo.address, lambda view: view, on_close=ends), data) == ("eof", data)
    # Passed on, not replaced by something equal.
    ledger = ends.wait().to_upstream
    assert (ledger.read, ledger.added, ledger.dropped, ledger.delivered) == (size, 0, 0, size)


ANSWERS: dict[str, Callable[[memoryview], Any]] = {
    "slice": lambda view: view[:],
    "two slices": lambda view: [view[:1], view[1:]],
    "view of it": memoryview,
    "copy": bytes,
}


@SIZES
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_is_made_of_a_view_is_an_answer(answer: Any, size: int, echo: Echo, serve: Serve) -> None:
    data = os.urandom(size)
    assert exchange(viewing(serve, echo.address, answer), data) == ("eof", data)


@SIZES
def test_a_view_may_be_sent(size: int, echo: Echo, serve: Serve) -> None:
    """Now or later."""
    kept: list[tuple[Side, memoryview]] = []

    def back(side: Side, data: Any) -> bytes:
        kept.append((side, data))
        side.send(data)
        return b""

    data = os.urandom(size)
    with connect(address_of(serve(echo.address, on_client_recv=back, relay=Relay(buffer="view")))) as client:
        client.sendall(data)
        assert read_exactly(client, size) == data
        assert read_later(client, kept, size) == data


def read_later(client: Any, kept: list[tuple[Side, memoryview]], size: int) -> bytes:
    in_thread(lambda: [side.send(view) for side, view in kept])
    return read_exactly(client, size)


@SIZES
def test_one_that_is_released_harms_nobody(size: int, echo: Echo, serve: Serve) -> None:
    server = viewing(serve, echo.address, lambda view: view.release())
    data = os.urandom(size)
    assert exchange(server, data) == ("eof", data)
    assert wait_until_idle(server).stats.callback_errors == 0


@SIZES
def test_one_that_is_released_and_returned_passes_the_chunk_on(size: int, echo: Echo, serve: Serve) -> None:
    def released(view: memoryview) -> memoryview:
        view.release()
        return view

    data = os.urandom(size)
    assert exchange(viewing(serve, echo.address, released), data) == ("eof", data)


def test_one_that_is_released_later(echo: Echo, serve: Serve) -> None:
    kept: list[memoryview] = []
    with connect(address_of(viewing(serve, echo.address, kept.append))) as client:
        data = os.urandom(65_536)
        for _ in range(10):
            assert echoed(client, data) == data
            kept.pop().release()


def test_a_view_of_a_connection_that_was_aborted(echo: Echo, serve: Serve) -> None:
    kept: list[memoryview] = []
    ends = CloseRecorder()

    def end(side: Side, view: Any) -> None:
        kept.append(view)
        side.connection.abort()

    data = os.urandom(65_536)
    exchange(serve(echo.address, on_client_recv=end, on_close=ends, relay=Relay(buffer="view")), data)
    assert ends.wait().reason is CloseReason.ABORTED
    assert data.startswith(bytes(kept[0]))


def test_what_a_view_keeps_goes_with_it(echo: Echo, serve: Serve) -> None:
    owners: list[Any] = []
    kept: list[memoryview] = []

    def keep(view: memoryview) -> None:
        kept.append(view)
        owners.append(view.obj)

    with connect(address_of(viewing(serve, echo.address, keep))) as client:
        data = os.urandom(65_536)
        assert echoed(client, data) == data
        kept.clear()
        # The list's, the loop's and the call's own.
        poll(lambda: all(sys.getrefcount(owner) <= 3 for owner in owners), 10.0, "nobody else keeps them")


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ("views", 'did you mean "view"?'),
        *((other, "give one of them") for other in ("", None, memoryview, b"view", 1)),
    ],
)
def test_another_word_is_refused(wrong: Any, advice: str, echo: Echo) -> None:
    with pytest.raises(ConfigError) as caught:
        TheServer("", 0, echo.address, buffer=wrong)
    assert str(caught.value).endswith(f'buffer: it is neither "bytes" nor "view"; {advice}')


def test_bytes_is_the_default(echo: Echo, serve: Serve) -> None:
    kinds: list[type] = []
    for settings in ({}, {"buffer": "bytes"}):
        exchange(serve(echo.address, on_recv=from_data(lambda data: kinds.append(type(data))), **settings))
    assert set(kinds) == {bytes}
