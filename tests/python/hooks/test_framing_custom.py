"""framing.custom(): a function that says where a message ends, and what becomes of its mistakes."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, Relay, Side, TheServer, framing
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.dialogues import Recorder
from support.exchanges import exchange, wait_until_idle
from support.peers import Echo, connect, read_exactly


def netstring(buffer: memoryview) -> int | None:
    head, found, _ = bytes(buffer[:12]).partition(b":")
    end = len(head) + 1 + int(head) + 1 if found else 0
    return end if found and len(buffer) >= end else None


WORDS = [b"5:hello,", b"0:,", b"3:a:b,", b"40000:" + b"x" * 40_000 + b",", b"1:z,"]


@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
def test_a_function_cuts_as_a_framer_does(piece: int, echo: Echo, serve: Serve) -> None:
    recorder = Recorder()
    words = WORDS if piece > 1 else [word for word in WORDS if len(word) < 100]
    server = serve(echo.address, framing=framing.custom(netstring), on_recv=recorder)
    data = b"".join(words)
    with connect(address_of(server)) as client:
        for begin in range(0, len(data), piece):
            client.sendall(data[begin : begin + piece])
        assert read_exactly(client, len(data)) == data
    assert recorder.seen == {True: words, False: words}


def test_it_is_called_where_callbacks_are_and_with_a_view_that_may_be_kept(echo: Echo, serve: Serve) -> None:
    kept: list[tuple[memoryview, bytes]] = []
    threads: set[str] = set()

    def cut(buffer: memoryview) -> int | None:
        assert type(buffer) is memoryview
        assert buffer.readonly
        threads.add(threading.current_thread().name)
        kept.append((buffer[1:], bytes(buffer[1:])))
        return netstring(buffer)

    def on_client_recv(side: Side, data: bytes) -> None:
        threads.add(threading.current_thread().name)

    server = serve(echo.address, framing=(framing.custom(cut), None), on_client_recv=on_client_recv)
    data = b"".join(WORDS)
    assert exchange(server, data) == ("eof", data)
    assert threads == {"interpose-lane-0"}
    assert all(bytes(view) == copy for view, copy in kept)


def raises(buffer: memoryview) -> int | None:
    raise KeyError("no such length")


class Cutter:
    """A callable without a name."""

    def __call__(self, buffer: memoryview) -> Any:
        return "5"


def answers(value: Any) -> Callable[[memoryview], Any]:
    def cut(buffer: memoryview) -> Any:
        return value

    cut.__qualname__ = "cut"
    return cut


WRONG: list[tuple[Callable[[memoryview], Any], str]] = [
    (answers(0), "framing raised ValueError: cut returned 0 for 3 bytes; return the length of the message"),
    (answers(-1), "framing raised ValueError: cut returned a negative number for 3 bytes; return the number of bytes"),
    (answers(4), "framing raised ValueError: cut returned 4 for 3 bytes; return None until the whole message is there"),
    (
        answers(1 << 70),
        "framing raised ValueError: cut returned a number of more than 63 bits for 3 bytes; return None",
    ),
    (answers(True), "framing raised TypeError: cut returned bool, not the number of bytes of the message, or None"),
    (answers(1.0), "framing raised TypeError: cut returned float, not the number of bytes of the message, or None"),
    (answers(b"abc"), "framing raised TypeError: cut returned bytes, not the number of bytes of the message, or None"),
    (Cutter(), "framing raised TypeError: Cutter returned str, not the number of bytes of the message, or None"),
    (raises, "framing raised KeyError: 'no such length'"),
]


@pytest.mark.parametrize(("cut", "line"), WRONG, ids=[line for _, line in WRONG])
def test_nonsense_is_an_error_in_one_line_and_ends_that_connection_alone(
    cut: Callable[[memoryview], Any], line: str, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    recorder, ends = Recorder(), CloseRecorder()

    def mistaken(buffer: memoryview) -> Any:
        return 2 if bytes(buffer[:1]) == b"+" else cut(buffer)

    mistaken.__qualname__ = getattr(cut, "__qualname__", type(cut).__name__)
    server = serve(echo.address, framing=(framing.custom(mistaken), None), on_client_recv=recorder, on_close=ends)
    with connect(address_of(server)) as other:
        assert exchange(server, b"abc") == ("reset", b"")
        conn = ends.wait()
        assert conn.reason is CloseReason.CALLBACK_ERROR
        assert (conn.error or "").startswith(line)
        assert "\n" not in (conn.error or "\n")
        other.sendall(b"+a")
        assert other.recv(10) == b"+a"
    assert wait_until_idle(server).stats.callback_errors == 1
    assert recorder.seen[True] == [b"+a"]
    assert line in callback_log.wait("framing raised")


@pytest.mark.parametrize(
    "settings", [{"callbacks": Callbacks(errors="pass")}, {"relay": Relay(framing_errors="chunk")}], ids=str
)
def test_by_choice_a_mistake_ends_the_framing_alone(settings: dict[str, Any], echo: Echo, serve: Serve) -> None:
    """With errors="pass". What bytes that break the protocol mean is another choice, and of no account here."""
    recorder, ends = Recorder(), CloseRecorder()
    server = serve(
        echo.address, framing=(framing.custom(raises), None), on_client_recv=recorder, on_close=ends, **settings
    )
    passes = "callbacks" in settings
    assert exchange(server, b"abc") == (("eof", b"abc") if passes else ("reset", b""))
    assert ends.wait().reason is (CloseReason.FINISHED if passes else CloseReason.CALLBACK_ERROR)
    assert recorder.partial == ([b"abc"] if passes else [])
    assert wait_until_idle(server).stats.callback_errors == 1


def test_a_function_that_never_sees_an_end_is_bounded_by_max_message(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(
        echo.address,
        framing=framing.custom(answers(None)),
        on_client_recv=Recorder(),
        on_close=ends,
        relay=Relay(max_message=50_000),
    )
    assert exchange(server, b"x" * 60_000)[0] == "reset"
    assert ends.wait().reason is CloseReason.MESSAGE_TOO_LONG


def test_what_it_raises_may_come_out_of_the_server(echo: Echo) -> None:
    server = TheServer(
        "", 0, echo.address, framing=framing.custom(raises), on_recv=Recorder(), callbacks=Callbacks(errors="raise")
    )
    assert exchange(wait_until_idle(server.start()), b"abc")[0] == "reset"
    wait_until_idle(server)
    with pytest.raises(KeyError, match="no such length"):
        server.stop()


def test_one_that_is_slow_is_named(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    waited = threading.Event()

    def slow(buffer: memoryview) -> int | None:
        waited.wait(0.12)
        return len(buffer)

    server = serve(echo.address, framing=(framing.custom(slow), None), on_client_recv=Recorder())
    assert exchange(server, b"abc") == ("eof", b"abc")
    callback_log.wait("framing: it took")


def test_a_circle_of_server_and_function_is_collected(echo: Echo) -> None:
    class Owner(TheServer):
        def __init__(self, target: Any) -> None:
            super().__init__("", 0, target, framing=framing.custom(self.cut), on_recv=Recorder())

        def cut(self, buffer: memoryview) -> int | None:
            return len(buffer)

    server = Owner(echo.address)
    with server:
        assert exchange(server, b"abc") == ("eof", b"abc")
    gone = weakref.ref(server)
    del server

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    poll(is_gone, 5.0, "nothing keeps the server")


def test_nothing_of_it_is_logged_where_all_is_well(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    server = serve(echo.address, framing=framing.custom(netstring), on_recv=Recorder())
    assert exchange(server, b"1:a,") == ("eof", b"1:a,")
    wait_until_idle(server)
    assert callback_log.lines("framing", level=logging.DEBUG) == []
