"""Ends in the tutorial's form: on_close at once where the script has one; else FIN and RST are passed on."""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Any

import pytest
from interpose import Callbacks, CloseReason, TheServer, Timeouts
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.exchanges import wait_until_idle
from support.peers import Echo, connect, ending, listener, read_exactly, reset
from support.peers import bound_address as name_of
from support.peers import echo as echoed
from support.tutorial_scripts import OnlyRecv, WholeTutorial, unpaired

SIDES = pytest.mark.parametrize("ends", ["client", "upstream"])


class Passing(TheServer):
    """Passes on what comes, and has no on_close."""

    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)


class Rig:
    """A client and an upstream's socket, with a server between them; `near` is the one that the test ends."""

    def __init__(self, server: TheServer, listening: socket.socket, ends: str) -> None:
        self.client = connect(address_of(server))
        self.upstream, _ = listening.accept()
        self.upstream.settimeout(10)
        both = (self.client, self.upstream)
        self.near, self.far = both if ends == "client" else both[::-1]
        self.near.sendall(b"x")
        assert read_exactly(self.far, 1) == b"x"

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.upstream.close()


@SIDES
def test_without_an_on_close_an_end_is_passed_on_and_the_other_direction_lives(ends: str) -> None:
    with listener() as upstream, Passing("", 0, name_of(upstream)) as server, Rig(server, upstream, ends) as rig:
        rig.near.sendall(b"last")
        rig.near.shutdown(socket.SHUT_WR)
        assert ending(rig.far) == ("eof", b"last")
        rig.far.sendall(b"answer")
        assert read_exactly(rig.near, 6) == b"answer"
        rig.far.close()
        assert ending(rig.near) == ("eof", b"")
        assert wait_until_idle(server).stats.closed[CloseReason.FINISHED] == 1
        poll(lambda: unpaired(server), 10.0, "it is unpaired")


@SIDES
def test_without_an_on_close_a_reset_is_passed_on_after_what_was_sent_before(ends: str) -> None:
    ended = CloseRecorder()
    with (
        listener() as upstream,
        Passing("", 0, name_of(upstream), on_close=ended) as server,
        Rig(server, upstream, ends) as rig,
    ):
        rig.near.sendall(b"last")
        assert read_exactly(rig.far, 2) == b"la"
        reset(rig.near)
        assert ending(rig.far) == ("reset", b"st")
        expected = CloseReason.CLIENT_RESET if ends == "client" else CloseReason.UPSTREAM_RESET
        assert ended.wait().reason is expected
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        assert wait_until_idle(server).stats.closed[expected] == 1


class Noting(Passing):
    """Notes whose end it was, and closes nothing."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.notes: list[Any] = []
        super().__init__(*arguments, **named)

    def on_close(self) -> None:
        self.notes.append((self.s.is_client, self.s.getpeername()))


@SIDES
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_on_close_is_called_at_once_and_what_it_leaves_open_lives_on(ends: str, how: str) -> None:
    with listener() as upstream, Noting("", 0, name_of(upstream)) as server, Rig(server, upstream, ends) as rig:
        names = [rig.near.getsockname(), rig.far.getsockname()]
        first, second = (True, False) if ends == "client" else (False, True)
        if how == "fin":
            rig.near.shutdown(socket.SHUT_WR)
        else:
            reset(rig.near)
        poll(lambda: server.notes == [(first, names[0])], 10.0, f"{server.notes}")
        rig.far.settimeout(0.1)
        with pytest.raises(TimeoutError):
            rig.far.recv(1)
        if how == "fin":
            rig.far.sendall(b"answer")
            assert read_exactly(rig.near, 6) == b"answer"
        rig.far.close()
        poll(lambda: server.notes == [(first, names[0]), (second, names[1])], 10.0, f"{server.notes}")
        server.stop(drain=0.0)


@SIDES
def test_what_on_close_closes_gets_all_that_was_sent_first(ends: str) -> None:
    class Farewell(Passing):
        def on_close(self) -> None:
            self.channel[self.s].send(bytes(300_000))
            super().on_close()

    with listener() as upstream, Farewell("", 0, name_of(upstream)) as server, Rig(server, upstream, ends) as rig:
        rig.near.sendall(b"last")
        rig.near.shutdown(socket.SHUT_WR)
        assert ending(rig.far) == ("eof", b"last" + bytes(300_000))
        assert ending(rig.near) == ("eof", b"")
        wait_until_idle(server)
        assert unpaired(server)
        assert server.stats.callback_errors == 0


@SIDES
def test_an_exception_resets_both_sides(ends: str, callback_log: CallbackLog) -> None:
    class Broken(WholeTutorial):
        def on_recv(self) -> None:
            if self.data != b"x":
                raise LookupError
            super().on_recv()

    with listener() as upstream, Broken("", 0, name_of(upstream)) as server, Rig(server, upstream, ends) as rig:
        rig.near.sendall(b"boom")
        assert ending(rig.near)[0] == "reset"
        assert ending(rig.far)[0] == "reset"
        callback_log.wait("on_recv raised LookupError")
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        assert wait_until_idle(server).stats.closed[CloseReason.CALLBACK_ERROR] == 1


@SIDES
def test_what_on_close_raises_is_said_to_be_its_and_resets_both(ends: str, callback_log: CallbackLog) -> None:
    class Broken(Passing):
        def on_close(self) -> None:
            raise LookupError

    with listener() as upstream, Broken("", 0, name_of(upstream)) as server, Rig(server, upstream, ends) as rig:
        rig.near.shutdown(socket.SHUT_WR)
        assert ending(rig.far)[0] == "reset"
        callback_log.wait("on_close raised LookupError")
        poll(lambda: unpaired(server), 10.0, "it is unpaired")


def test_a_stop_calls_on_close_for_what_lives() -> None:
    with listener() as upstream:
        server = Noting("", 0, name_of(upstream)).start()
        with Rig(server, upstream, "client") as rig:
            server.stop(drain=0.0)
            assert sorted(one[0] for one in server.notes) == [False, True]
            assert ending(rig.client)[0] == "reset"


def test_one_that_a_method_closes_is_not_said_to_have_ended() -> None:
    class Picky(Noting):
        def on_recv(self) -> None:
            self.input_list.remove(self.s)
            self.s.close()

    with listener() as upstream, Picky("", 0, name_of(upstream)) as server, connect(address_of(server)) as client:
        peer, _ = upstream.accept()
        with peer:
            client.sendall(b"x")
            assert ending(client) == ("eof", b"")
            assert server.notes == []
            assert len(server.input_list) == 2
        poll(lambda: len(server.notes) == 1, 10.0, "the upstream has ended by itself")
        assert server.notes[0][0] is False
        server.stop(drain=0.0)


def test_a_side_that_ended_and_stands_still_is_given_up() -> None:
    with (
        listener() as upstream,
        Noting("", 0, name_of(upstream), timeouts=Timeouts(half_close=0.3)) as server,
        Rig(server, upstream, "client") as rig,
    ):
        rig.near.shutdown(socket.SHUT_WR)
        assert ending(rig.near)[0] == "reset"
        assert wait_until_idle(server).stats.closed[CloseReason.HALF_CLOSE_TIMEOUT] == 1
        assert [one[0] for one in server.notes] == [True]


def test_passthrough_passes_on_without_the_method(echo: Echo) -> None:
    class Once(OnlyRecv):
        def on_recv(self) -> None:
            self.channel[self.s].send(self.data.upper())
            if self.s.is_client:
                self.s.passthrough()

    with Once("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"ABC"
        assert echoed(client, b"abc") == b"ABC"
        assert settled_after(client, server)


def settled_after(client: socket.socket, server: TheServer) -> bool:
    client.close()
    return wait_until_idle(server).stats.callback_errors == 0


def test_threads_from_outside_may_send_on_sides(echo: Echo) -> None:
    sides: list[Any] = []

    class Open(WholeTutorial):
        def on_recv(self) -> None:
            sides.append(self.s)
            self.channel[self.s].send(self.data)

    with Open("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"x") == b"x"
        data = bytes(range(256)) * 4096
        sender = threading.Thread(target=lambda: [sides[0].sendall(data) for _ in range(8)])
        sender.start()
        assert read_exactly(client, 8 * len(data)) == data * 8
        sender.join(10)


def test_on_eof_of_our_form_may_withhold_the_end() -> None:
    with (
        listener() as upstream,
        Passing("", 0, name_of(upstream), on_eof=lambda side: False) as server,
        Rig(server, upstream, "client") as rig,
    ):
        rig.near.shutdown(socket.SHUT_WR)
        rig.far.settimeout(0.1)
        with pytest.raises(TimeoutError):
            rig.far.recv(1)
        server.stop(drain=0.0)


def test_with_errors_passed_over_no_chunk_is_missing(callback_log: CallbackLog) -> None:
    class Broken(TheServer):
        def on_recv(self) -> None:
            if self.data == b"before":
                raise LookupError
            self.channel[self.s].send(self.data)
            raise LookupError

    with (
        listener() as upstream,
        Broken("", 0, name_of(upstream), callbacks=Callbacks(errors="pass")) as server,
        Rig(server, upstream, "client") as rig,
    ):
        for data in (b"before", b"after"):
            rig.near.sendall(data)
            assert read_exactly(rig.far, len(data)) == data
        callback_log.wait("on_recv raised LookupError")
        server.stop(drain=0.0)


def test_looking_ends_nothing_where_a_method_s_own_output_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", buffering=1) as output, listener() as upstream:
        os.close(reading)
        monkeypatch.setattr(sys, "stdout", output)

        class Printing(TheServer):
            def on_recv(self) -> None:
                print(self.data, flush=True)
                self.channel[self.s].send(self.data)

        with Printing("", 0, name_of(upstream)) as server, Rig(server, upstream, "client") as rig:
            for _ in range(2):
                rig.near.sendall(b"abc")
                assert read_exactly(rig.far, 3) == b"abc"
            server.stop(drain=0.0)
        monkeypatch.undo()
