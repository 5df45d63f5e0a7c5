"""What callbacks leave behind: nothing. Memory, references, threads and descriptors after many of them, and cycles."""

from __future__ import annotations

import functools
import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
from interpose import Connection, Forward, Side, TheServer
from support.addresses import address_of, refuses
from support.callbacks import upper
from support.deadline import poll
from support.exchanges import exchange, served_by_main_loop
from support.peers import Echo
from support.scripts import passes
from support.tutorial_scripts import OnlyRecv


def collected(gone: weakref.ref[Any]) -> bool:
    gc.collect()
    return gone() is None


def is_closed(server: TheServer) -> bool:
    return repr(server).endswith("closed>")


class Application:
    """Has a server whose callbacks are its own methods: a cycle through the native side."""

    def __init__(self, target: Any) -> None:
        self.server = TheServer("", 0, target, on_accept=self.on_conn, on_recv=self.on_recv, on_close=self.on_conn)
        self.seen = 0

    def on_conn(self, conn: Connection) -> None:
        conn.state = self

    def on_recv(self, side: Side, data: bytes) -> None:
        self.seen += len(data)


def test_a_cycle_is_collected_after_the_stop(echo: Echo) -> None:
    application = Application(echo.address)
    with application.server as server:
        for _ in range(5):
            exchange(server)
    assert application.seen == 5 * 6
    gone = weakref.ref(application), weakref.ref(server)
    del application, server
    assert collected(gone[0])
    assert collected(gone[1])


def test_a_cycle_is_collected_after_main_loop(echo: Echo) -> None:
    application = Application(echo.address)
    server = application.server
    assert served_by_main_loop(server, functools.partial(exchange, server)) == []
    gone = weakref.ref(application), weakref.ref(server)
    del application, server
    assert collected(gone[0])
    assert collected(gone[1])


def test_a_cycle_of_a_server_that_was_never_started_is_collected(echo: Echo) -> None:
    application = Application(echo.address)
    gone = weakref.ref(application), weakref.ref(application.server)
    del application
    assert collected(gone[0])
    assert collected(gone[1])


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_has_ended_a_server_and_nobody_took_is_collected_with_it(error: type[BaseException], echo: Echo) -> None:
    """Its traceback leads to the callback's frame, which knows the application."""

    class Ending(Application):
        def on_recv(self, side: Side, data: bytes) -> None:
            raise error

    application = Ending(echo.address)
    server = application.server.start()
    assert exchange(server)[0] == "reset"
    poll(functools.partial(is_closed, server), 10.0, "it is closed")
    server.stop()
    gone = weakref.ref(application), weakref.ref(server)
    del application, server
    assert collected(gone[0])
    assert collected(gone[1])


@pytest.mark.parametrize("started", [True, False])
def test_a_subclass_that_overrides_is_collected(started: bool, echo: Echo) -> None:
    class Upper(TheServer):
        def on_recv(self, side: Side, data: bytes) -> bytes:
            return data.upper()

    for kind in (Upper, OnlyRecv):
        server = kind("", 0, echo.address)
        if started:
            with server:
                assert exchange(server)[1] == b"ABC"
        gone = weakref.ref(server)
        del server
        assert collected(gone)


def test_a_callback_that_is_replaced_goes_at_once(echo: Echo) -> None:
    class Callback:
        def __call__(self, side: Side, data: bytes) -> None: ...

    first = Callback()
    gone = weakref.ref(first)
    with TheServer("", 0, echo.address, on_recv=first) as server:
        exchange(server)
        server.on_recv = Callback()
        del first
        assert gone() is None
        exchange(server)


def test_callbacks_that_nobody_else_keeps_are_kept_by_the_server(echo: Echo) -> None:
    """And a server that runs is kept by what runs it as long as it has callbacks that know it; stop() lets it go."""

    def start() -> tuple[weakref.ref[Application], TheServer]:
        application = Application(echo.address)
        return weakref.ref(application), application.server.start()

    application, server = start()
    gc.collect()
    assert application() is not None
    assert exchange(server) == ("eof", b"abc")
    server.stop()
    gone = weakref.ref(server)
    del server
    assert collected(gone)
    assert collected(application)


def test_a_started_server_that_is_dropped_is_warned_about_and_stopped(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its callbacks know nothing of it, so nothing keeps it: it stops as a file is closed, with a warning."""
    texts: list[str] = []

    def note(message: Warning | str, *_: object) -> None:
        texts.append(str(message))

    server = TheServer("", 0, echo.address, on_recv=upper).start()
    exchange(server)
    address = address_of(server)
    gone = weakref.ref(server)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Not recorded: a record would keep the server.
        monkeypatch.setattr(warnings, "showwarning", note)
        del server
        assert collected(gone)
    (text,) = [text for text in texts if "unstopped" in text]
    assert text.startswith("unstopped <TheServer 127.0.0.1:")
    poll(lambda: refuses(address), 10.0, "its listener is closed")


def test_nowhere_and_forwards_of_callbacks_are_let_go(echo: Echo) -> None:
    forwards: list[weakref.ref[Any]] = []

    class Mine(Forward):
        __slots__ = ("__weakref__",)

    def on_accept(conn: Connection) -> Forward:
        forward = Mine(*echo.address)
        forwards.append(weakref.ref(forward))
        return forward

    with TheServer("", 0, on_accept=on_accept) as server:
        for _ in range(10):
            assert exchange(server) == ("eof", b"abc")
    assert all(collected(one) for one in forwards)


def test_py_15_many_callbacks_leave_memory_and_references_flat(tmp_path: Path) -> None:
    """PY-15: Memory and references stay flat over a hundred thousand callbacks.

    Every kind of answer in turn, one byte a chunk.
    """
    text = """
        import gc, logging, resource, sys, tracemalloc
        from pathlib import Path
        from interpose import Relay, TheServer
        import socket, threading
        from support.deadline import poll
        from interpose import Forward
        from support.peers import connect
        from support.rounds import rounds
        def pour(count):
            with connect(server.address, 60.0) as client:
                client.sendall(bytes(count))
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
            poll(lambda: server.stats.active == 0, 20, "it has ended")
        # On a busy machine a callback may take long, and that is told of.
        logging.disable()
        constant, view = b"constant", memoryview(b"view")
        answers = [None, constant, bytearray(b"x"), view, [constant, view], b"", (b"y",)]
        calls = 0
        def on_recv(side, data):
            global calls
            calls += 1
            side.connection.state = data
            return answers[calls % len(answers)] if calls % 5 == 0 else data
        known = [constant, view, on_recv, None, b"", *answers]
        def counts():
            gc.collect()
            return [sys.getrefcount(one) for one in known if one is not None and one != b""]
        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        def on_accept(conn):
            return Forward.NOWHERE
        with TheServer("", 0, on_accept=on_accept, on_client_recv=on_recv, relay=Relay(buffer_size=1)) as server:
            pour(20_000)
            before, memory = counts(), resident()
            tracemalloc.start()
            pour(1)
            traced = tracemalloc.get_traced_memory()[0]
            pour(10_000)
            grown = tracemalloc.get_traced_memory()[0] - traced
            tracemalloc.stop()
            pour(rounds(70_000))
            assert calls == 30_001 + rounds(70_000)
            print(counts() == before, grown < 50_000, resident() - memory < 8 << 20, server.stats.callback_errors)
    """
    assert passes(tmp_path, text, seconds=100.0) == "True True True 0\n"


def test_py_15_connections_and_exceptions_leave_memory_flat(tmp_path: Path) -> None:
    text = """
        import gc, resource, sys
        from pathlib import Path
        from interpose import TheServer
        from support.peers import Echo, connect, ending
        from support.rounds import rounds
        import logging
        logging.disable()
        class Blunder(Exception):
            pass
        def on_client_recv(side, data):
            side.connection.state = [side, data]
            if data == b"raise":
                raise Blunder(side)
        ends = 0
        def on_close(conn):
            global ends
            ends += 1
        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        def load(count):
            for number in range(count):
                with connect(server.address) as client:
                    client.sendall(b"raise" if number % 2 else b"fine")
                    if number % 2:
                        ending(client)
                    else:
                        client.recv(4)
            gc.collect()
        def living():
            return sum(type(one).__name__ in ("Connection", "Side", "Blunder") for one in gc.get_objects())
        with Echo() as upstream, TheServer(
            "", 0, upstream.address, on_client_recv=on_client_recv, on_close=on_close
        ) as server:
            load(200)
            memory = resident()
            load(rounds(600))
            grown = resident() - memory
        gc.collect()
        expected = 200 + rounds(600)
        print(ends == expected, server.stats.callback_errors == expected // 2, grown < 6 << 20, living() <= 1)
    """
    assert passes(tmp_path, text, seconds=60.0) == "True True True True\n"


def test_many_servers_leave_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    text = """
        import gc, logging, os, threading
        logging.disable()
        from support.deadline import poll
        from interpose import Callbacks, TheServer
        from support.peers import Echo, connect, echo
        from support.rounds import rounds
        def baseline():
            gc.collect()
            return threading.active_count(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        with Echo() as upstream:
            def cycle(number):
                two = Callbacks(threads=2)
                server = TheServer("", 0, upstream.address, on_recv=lambda side, data: data.upper(), callbacks=two)
                with server:
                    if number % 10 == 0:
                        with connect(server.address) as client:
                            assert echo(client, b"abc") == b"ABC"
            for number in range(20):
                cycle(number)
            before = baseline()
            for number in range(rounds(250)):
                cycle(number)
            poll(lambda: all(now <= then for now, then in zip(baseline(), before)), 10, f"{before}, not {baseline()}")
            print("back to the baseline")
    """
    assert passes(tmp_path, text, seconds=90.0) == "back to the baseline\n"


def test_py_18_the_modules_can_be_reloaded(tmp_path: Path) -> None:
    """PY-18: The modules can be imported anew while a server of the old ones serves."""
    text = """
        import importlib, logging, sys
        import interpose
        logging.disable()
        from support.peers import Echo, connect, echo
        with Echo() as upstream:
            def upper(side, data):
                return data.upper()
            def serve():
                return interpose.TheServer("", 0, upstream.address, on_recv=upper).start()
            def ask(server):
                with connect(server.address) as client:
                    return echo(client, b"abc")
            old = serve()
            print(ask(old))
            for name in sorted(name for name in sys.modules if name.startswith("interpose.")):
                if name != "interpose._native":
                    importlib.reload(sys.modules[name])
            for name in list(vars(interpose)):
                if name in interpose.__all__:
                    delattr(interpose, name)
            importlib.reload(interpose)
            new = serve()
            print(ask(new), ask(old), type(new) is type(old))
            new.stop()
            old.stop()
    """
    assert passes(tmp_path, text) == "b'ABC'\nb'ABC' b'ABC' False\n"
