"""The tutorial's form: methods without arguments, as scripts of 2012 have them."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from contextlib import ExitStack
from typing import Any

import pytest
from conftest import Serve
from interpose import CloseReason, ConfigError, Connection, Forward, Side, TheServer
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.exchanges import Sink, exchange, wait_until_idle
from support.peers import Address, Echo, connect, ending
from support.peers import echo as echoed
from support.tutorial_scripts import BOTH, OnlyRecv, WholeTutorial, unpaired


@BOTH
def test_an_exchange(kind: type[OnlyRecv | WholeTutorial], echo: Echo) -> None:
    with kind("", 0, echo.address) as server:
        for _ in range(3):
            with connect(address_of(server)) as client:
                expected = b"ABC" if kind is OnlyRecv else b"abc"
                for _ in range(5):
                    assert echoed(client, b"abc") == expected
        poll(lambda: unpaired(server), 10.0, f"all are unpaired: {server.channel}")
        assert wait_until_idle(server).stats.callback_errors == 0


def test_the_article_in_full(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    with WholeTutorial("", 0, echo.address) as server:
        with connect(address_of(server)) as client:
            name = client.getsockname()
            assert echoed(client, b"abc") == b"abc"
            assert len(server.input_list) == 3
            assert len(server.channel) == 2
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        poll(lambda: server.stats.active == 0, 10.0, "it is closed")
    assert capsys.readouterr().out.splitlines() == [
        f"{name} has connected",
        "b'abc'",
        "b'abc'",
        f"{name} has disconnected",
    ]
    assert server.stats.callback_errors == 0


def test_the_article_says_that_the_target_is_not_there(
    refusing: Address, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with WholeTutorial("", 0, refusing) as server:
        assert exchange(server) == ("eof", b"")
        poll(lambda: server.stats.active == 0, 10.0, "the client is closed")
        assert unpaired(server)
    said = capsys.readouterr().out
    assert said.startswith("Can't establish connection with remote server. Closing connection with client side ('127")
    assert any("refused" in record.getMessage() for record in caplog.records)
    assert server.stats.callback_errors == 0


def test_an_upstream_that_ends_first_is_the_side_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    from support.peers import Served

    def greet(sock: socket.socket) -> None:
        sock.sendall(b"go away")

    with Served(greet) as upstream, WholeTutorial("", 0, upstream.address) as server:
        with connect(address_of(server)) as client:
            assert ending(client) == ("eof", b"go away")
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
    assert "has disconnected" in capsys.readouterr().out
    assert server.stats.callback_errors == 0


def test_nothing_is_forwarded_unless_it_is_sent(serve: Serve) -> None:
    class Silent(TheServer):
        def on_recv(self) -> None:
            if self.data == b"answer":
                self.s.send(b"from the proxy")

    with Sink() as upstream, Silent("", 0, upstream.address) as server, connect(address_of(server)) as client:
        client.sendall(b"abc")
        client.sendall(b"answer")
        # In one chunk or two: the answer is only to a chunk of its own.
        poll(lambda: server.stats.to_upstream.read == 9, 10.0, "it was read")
        client.shutdown(socket.SHUT_WR)
        assert ending(client)[0] == "eof"
        assert upstream.wait() == ("eof", b"")


def test_sendall_and_names_of_sockets(echo: Echo) -> None:
    seen: list[Any] = []

    class Names(TheServer):
        def on_recv(self) -> None:
            other = self.channel[self.s]
            seen.append((self.s.getpeername(), self.s.getsockname(), other.getpeername()))
            other.sendall(self.data)

    with Names("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"abc"
        assert seen[0] == (client.getsockname(), address_of(server), echo.address)
        assert seen[1][0] == echo.address
        assert seen[1][2] == client.getsockname()
        assert server.server.getsockname() == address_of(server)


def test_on_close_in_on_recv_hangs_up(echo: Echo) -> None:
    class Picky(TheServer):
        def on_recv(self) -> None:
            if b"secret" in self.data:
                self.channel[self.s].send(b"hush")
                self.on_close()
            else:
                self.channel[self.s].send(self.data)

    with Picky("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"abc"
        client.sendall(b"a secret")
        assert ending(client)[0] == "eof"
        client.close()
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        assert wait_until_idle(server).stats.closed[CloseReason.CLOSED] == 1
        assert server.stats.callback_errors == 0


def test_the_article_s_on_close_called_by_on_recv(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    class Picky(WholeTutorial):
        def on_recv(self) -> None:
            if self.data == b"quit":
                self.on_close()
            else:
                self.channel[self.s].send(self.data)

    with Picky("", 0, echo.address) as server, connect(address_of(server)) as client:
        assert echoed(client, b"abc") == b"abc"
        client.sendall(b"quit")
        assert ending(client)[0] == "eof"
        client.close()
        poll(lambda: server.stats.active == 0, 10.0, "it is closed")
        assert unpaired(server)
    # Once, although the connection's end comes after it.
    assert capsys.readouterr().out.count("has disconnected") == 1
    assert server.stats.callback_errors == 0


def test_class_attributes(echo: Echo) -> None:
    largest = [0]

    class Configured(TheServer):
        forward_to = echo.address
        buffer_size = 100
        delay = 0.0001

        def on_recv(self) -> None:
            largest[0] = max(largest[0], len(self.data))
            self.channel[self.s].send(self.data)

    with Configured("", 0) as server:
        data = b"x" * 5000
        with connect(address_of(server)) as client:
            assert echoed(client, data) == data
        assert server.buffer_size == 100
        assert server.delay == 0.0001
    assert largest[0] == 100


def test_without_any_target_it_says_where_to_put_it() -> None:
    for kind in (TheServer, OnlyRecv):
        with pytest.raises(ConfigError, match="forward_to: it is missing; give it as the third argument or as a class"):
            kind("", 0)


def test_the_article_s_way_to_its_own_target(echo: Echo) -> None:
    """on_accept alone decides, so no forward_to is needed."""

    class Own(TheServer):
        def on_accept(self) -> None:
            forward = Forward().start(*echo.address)
            client, _ = self.server.accept()
            assert forward
            self.channel[client] = forward
            self.channel[forward] = client

    with Own("", 0) as server:
        # Without an on_recv, what flows is relayed natively.
        assert exchange(server) == ("eof", b"abc")
        poll(lambda: server.channel == {}, 10.0, "it is unpaired")


def test_one_that_is_accepted_and_not_paired_is_refused(echo: Echo) -> None:
    class Forgetful(TheServer):
        def on_accept(self) -> None:
            self.server.accept()

    with Forgetful("", 0, echo.address) as server:
        assert exchange(server) == ("reset", b"")
        assert wait_until_idle(server).stats.closed[CloseReason.REJECTED] == 1


def test_accept_is_good_once(echo: Echo, callback_log: CallbackLog) -> None:
    class Greedy(TheServer):
        def on_accept(self) -> None:
            self.server.accept()
            self.server.accept()

    with Greedy("", 0, echo.address) as server:
        assert exchange(server)[0] == "reset"
        assert "accept: no client waits; call it once, in on_accept" in callback_log.wait(
            "on_accept raised BlockingIOError"
        )
        with pytest.raises(BlockingIOError):
            server.server.accept()


def test_what_is_sent_before_it_is_paired_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    class Polite(WholeTutorial):
        def on_accept(self) -> None:
            super().on_accept()
            for one in self.input_list[1:]:
                one.send(b"hello,")

    with Sink() as upstream, Polite("", 0, upstream.address) as server:
        assert exchange(server) == ("eof", b"hello,")
        assert upstream.wait() == ("eof", b"hello,abc")
        assert wait_until_idle(server).stats.callback_errors == 0


def test_forward_start_without_a_server(echo: Echo, refusing: Address) -> None:
    side = Forward(*echo.address).start()
    assert side
    assert side.getpeername() == echo.address
    assert side.send(b"abc") == 3
    assert not side.is_client
    assert side.other is None
    for use in (lambda: side.connection, side.half_close, side.passthrough):
        with pytest.raises(AttributeError, match="this side belongs to no connection until on_accept has paired it"):
            use()
    side.close()
    side.close()
    assert Forward().start(*refusing) is False


def test_many_at_once(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    with WholeTutorial("", 0, echo.address) as server:
        failures: list[Any] = []

        def run(number: int) -> None:
            data = b"%d" % number * 1000
            with connect(address_of(server)) as client:
                for _ in range(20):
                    if echoed(client, data) != data:
                        failures.append(number)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20.0)
        assert failures == []
        poll(lambda: unpaired(server), 10.0, "all are unpaired")
        assert server.stats.callback_errors == 0


def test_a_thousand_that_end_together_end_quickly(echo: Echo) -> None:
    """What each end costs does not grow with what is open so far that it could be felt."""
    with OnlyRecv("", 0, echo.address) as server, ExitStack() as clients:
        opened = [clients.enter_context(connect(address_of(server))) for _ in range(1000)]
        poll(lambda: len(server.input_list) == 2001, 20.0, "all are paired")
        begin = time.monotonic()
        for client in opened:
            client.close()
        poll(lambda: unpaired(server), 20.0, "all are unpaired")
        assert time.monotonic() - begin < 2.0


def test_what_is_equal_goes_too(echo: Echo) -> None:
    """Of whatever side of a connection somebody has put in input_list, once or more often."""

    class Twice(TheServer):
        def on_recv(self) -> None:
            conn = self.s.connection
            self.input_list += [conn.client, conn.upstream, self.s, "mine"]
            self.channel[self.s].send(self.data)

    with Twice("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"abc")
        poll(lambda: server.channel == {}, 10.0, "it is unpaired")
        assert server.input_list == [server.server, "mine", "mine"]


def test_an_exception_in_each_method(echo: Echo, callback_log: CallbackLog) -> None:
    class Broken(WholeTutorial):
        def on_recv(self) -> None:
            raise ValueError(self.data)

    with Broken("", 0, echo.address) as server:
        assert exchange(server) == ("reset", b"")
        line = callback_log.wait("on_recv raised ValueError: b'abc'")
        assert line.splitlines()[-1].strip().startswith(("raise ValueError", "^"))
        assert "interpose/_tutorial.py" not in line
        poll(lambda: unpaired(server), 10.0, "it is unpaired")
        assert server.stats.callback_errors == 1


def test_on_accept_that_raises_leaves_nothing_behind(echo: Echo) -> None:
    class Broken(TheServer):
        def on_accept(self) -> None:
            client, _ = self.server.accept()
            self.input_list.append(client)
            forward = Forward().start(*echo.address)
            assert forward
            self.input_list.append(forward)
            self.channel[client] = forward
            self.channel[forward] = client
            raise LookupError

    with Broken("", 0) as server:
        for _ in range(3):
            assert exchange(server)[0] == "reset"
        poll(lambda: unpaired(server), 10.0, f"it is unpaired: {server.channel} {server.input_list}")


def test_the_same_method_with_arguments_is_our_form(echo: Echo) -> None:
    class Ours(TheServer):
        def on_recv(self, side: Side, data: bytes) -> bytes:
            return data.upper()

        def on_close(self, conn: Connection) -> None:
            ends(conn)

    ends = CloseRecorder()
    with Ours("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"ABC")
        assert ends.wait().reason is CloseReason.FINISHED
        assert not hasattr(server, "channel")


def test_a_server_of_this_form_is_collected(echo: Echo) -> None:
    """It refers to itself: from its hooks, and from the listener that is self.server."""
    server = OnlyRecv("", 0, echo.address)
    with server:
        exchange(server)
    gone = weakref.ref(server)
    del server
    gc.collect()
    assert gone() is None
