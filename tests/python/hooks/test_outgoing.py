"""What `Forward.start()` has connected, before it belongs to a connection: sending, and what ends a send that waits."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interpose import (
    ArgumentTypeError,
    CloseReason,
    ConnectionClosedError,
    Forward,
    SendTimeoutError,
    Side,
    TheServer,
)
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.exchanges import Sink, in_thread
from support.peers import Address, Echo, Served, bound_address, connect, fate, listener, read_exactly
from support.peers import echo as echoed
from support.scripts import passes

# More than the buffers of a connection on the loopback ever have.
TOO_MUCH = bytes(64 << 20)


@pytest.fixture
def pair() -> Iterator[tuple[Side, socket.socket]]:
    """A side, and its peer, which reads only when asked to."""
    with listener() as listening:
        side = Forward(*bound_address(listening)).start()
        assert side
        peer, _ = listening.accept()
        with peer:
            yield side, peer
        side.close()


def test_a_large_send_is_whole() -> None:
    data = bytes(range(256)) * (32 << 10)
    with Sink() as upstream:
        side = Forward(*upstream.address).start()
        assert side
        assert side.send(data) == len(data)
        assert side.send(b"") == 0
        side.close()
        assert upstream.wait() == ("eof", data)


def test_close_ends_a_send_that_waits_and_holds_up_nobody(pair: tuple[Side, socket.socket]) -> None:
    side, peer = pair
    raised: list[BaseException] = []

    def send() -> None:
        try:
            side.send(TOO_MUCH)
        except OSError as error:
            raised.append(error)

    thread = in_thread(send)
    assert select.select([peer], [], [], 10.0)[0]
    begin = time.monotonic()
    side.close()
    thread.join(10.0)
    assert time.monotonic() - begin < 5.0
    assert [type(error) for error in raised] == [ConnectionClosedError]
    assert str(raised[0]).endswith("is closed; send before close()")
    with pytest.raises(ConnectionClosedError):
        side.send(b"x")


def test_one_limit_for_the_whole_of_it() -> None:
    """However often the peer takes a little."""
    over = threading.Event()

    def read_slowly(sock: socket.socket) -> None:
        while not over.is_set():
            sock.recv(1)

    with Served(read_slowly) as upstream:
        side = Forward(*upstream.address).start()
        assert side
        begin = time.monotonic()
        with pytest.raises(SendTimeoutError, match=r"had no room for all of it in 0\.3 s, because its peer"):
            side.send(TOO_MUCH, 0.3)
        assert time.monotonic() - begin < 5.0
        over.set()
        side.close()


def test_what_is_not_bytes(pair: tuple[Side, socket.socket]) -> None:
    with pytest.raises(ArgumentTypeError, match="data: it is str, not bytes"):
        pair[0].send("text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_signal_handlers_run_while_it_waits(tmp_path: Path) -> None:
    text = """
        import signal
        from interpose import Forward
        from support.peers import bound_address, listener
        def on_alarm(*_):
            raise LookupError("the alarm")
        with listener() as listening:
            side = Forward(*bound_address(listening)).start()
            signal.signal(signal.SIGALRM, on_alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            try:
                side.send(bytes(64 << 20), 20.0)
            except LookupError as error:
                print(error)
    """
    assert passes(tmp_path, text, seconds=15.0) == "the alarm\n"


def test_a_peer_that_has_gone_raises_no_signal(tmp_path: Path) -> None:
    """Also where the program has SIGPIPE end it."""
    text = """
        import signal
        from support.deadline import poll
        from interpose import Forward
        from support.peers import bound_address, listener
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        with listener() as listening:
            side = Forward(*bound_address(listening)).start()
            listening.accept()[0].close()
            def failed():
                try:
                    side.send(b"x")
                except OSError as error:
                    return error
            print(isinstance(poll(failed, 10, "it fails"), ConnectionError))
    """
    assert passes(tmp_path, text) == "True\n"


def by_start(address: Address) -> Any:
    return Forward(*address).start()


def by_own_socket(address: Address) -> Any:
    return socket.create_connection(address, 10.0)


@pytest.mark.parametrize("make", [by_start, by_own_socket])
def test_one_that_belongs_to_a_connection_is_given_to_no_other(
    make: Callable[[Address], Any], echo: Echo, callback_log: CallbackLog
) -> None:
    shared = make(echo.address)
    ends = CloseRecorder()
    with TheServer("", 0, on_accept=lambda conn: shared, on_close=ends) as server, connect(address_of(server)) as first:
        assert echoed(first, b"1") == b"1"
        own = shared.connection
        assert fate(lambda: connect(address_of(server)))[0] == "reset"
        assert f"belongs to connection {own.id} already" in callback_log.wait("on_accept raised ConfigError")
        assert shared.connection is own
        assert own.upstream is not None
        shared.send(b"from the script")
        assert read_exactly(first, 15) == b"from the script"
        assert ends.wait().reason is CloseReason.CALLBACK_ERROR
