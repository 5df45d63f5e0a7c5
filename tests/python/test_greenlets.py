"""Programs whose threads are greenlets: a server serves from real threads, or is refused; it never hangs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.scripts import passes

PATCHED = {
    "patched first": "from gevent import monkey; monkey.patch_all(); import interpose",
    "patched later": "import interpose; from gevent import monkey; monkey.patch_all()",
    "threads stay": "from gevent import monkey; monkey.patch_all(thread=False); import interpose",
}
UPSTREAM = """
import gevent, logging, socket, sys, threading, time
from interpose import Forward, Limits, SendTimeoutError, TheServer
listening = socket.create_server(("127.0.0.1", 0))
def echo(sock):
    try:
        while data := sock.recv(65536):
            sock.sendall(data)
    except OSError:
        pass  # reset, as some are meant to be
    sock.close()
def accept():
    while True:
        gevent.spawn(echo, listening.accept()[0])
gevent.spawn(accept)
def said(server, data):
    with socket.create_connection(server.address, 10) as client:
        client.sendall(data)
        return client.recv(100)
"""


@pytest.fixture(params=PATCHED)
def patched(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec("gevent") is None:
        pytest.skip("no gevent: pip install gevent")
    return PATCHED[request.param] + UPSTREAM


def dedented(text: str) -> str:
    return "\n".join(line.removeprefix("        ") for line in text.splitlines())


def test_native_and_hooked_servers_serve_greenlets(patched: str, tmp_path: Path) -> None:
    text = """
        with TheServer("", 0, listening.getsockname()) as server:
            print(said(server, b"abc"), len(server.connections) <= 1)
            server.on_recv = lambda side, data: data.upper() if side.is_client else None
            print(said(server, b"abc"))
        server = TheServer("", 0, listening.getsockname(), on_client_recv=lambda side, data: data.upper()).start()
        print(said(server, b"abc"))
        server.stop()
    """
    assert passes(tmp_path, patched + dedented(text)) == "b'abc' True\nb'ABC'\nb'ABC'\n"


def test_callbacks_may_print_log_lock_and_sleep(patched: str, tmp_path: Path) -> None:
    text = """
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        lock, seen = threading.Lock(), []
        def busy():
            while len(seen) < 50:
                with lock:
                    gevent.sleep(0.0005)
                logging.warning("greenlet")
                gevent.sleep(0.001)
        def on_client_recv(side, data):
            with lock:
                print("callback", flush=True)
            time.sleep(0.001)
            logging.warning("logged")
            seen.append(data)
        with TheServer("", 0, listening.getsockname(), on_client_recv=on_client_recv) as server:
            other = gevent.spawn(busy)
            with socket.create_connection(server.address, 10) as client:
                for _ in range(50):
                    client.sendall(b"abc")
                    assert client.recv(100) == b"abc"
            other.join(10)
        print(len(seen))
    """
    said = passes(tmp_path, patched + dedented(text))
    assert (said.count("callback"), said.count("logged"), said.splitlines()[-1]) == (50, 50, "50")


def test_a_wait_lets_other_greenlets_run(patched: str, tmp_path: Path) -> None:
    """A stop with a drain, a send without room, and a main loop."""
    text = """
        def ticks():
            global ticked
            while True:
                gevent.sleep(0.005)
                ticked += 1
        ticked = 0
        gevent.spawn(ticks)
        def silent(sock):
            gevent.sleep(60)
        conns = []
        with TheServer("", 0, listening.getsockname(), on_accept=lambda conn: conns.append(conn)) as server:
            client = socket.create_connection(server.address, 10)
            client.sendall(b"abc")
            client.recv(3)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            ticked = 0
            try:
                while True:
                    conns[0].client.send(bytes(200_000), timeout=0.2)
            except SendTimeoutError:
                print("send", ticked > 2)
            ticked = 0
            server.stop(0.3)
            print("stop", ticked > 2)
        server = TheServer("", 0, listening.getsockname(), on_client_recv=lambda side, data: data.upper())
        def end():
            print("main loop", said(server, b"abc"))
            server.stop()
        gevent.spawn(end)
        server.main_loop()
        print("over")
    """
    expected = "send True\nstop True\nmain loop b'ABC'\nover\n"
    assert passes(tmp_path, patched + dedented(text)) == expected


def test_a_signal_drains_a_main_loop(patched: str, tmp_path: Path) -> None:
    text = """
        import os, signal
        server = TheServer("", 0, listening.getsockname(), on_client_recv=lambda side, data: data.upper())
        def end():
            print(said(server, b"abc"))
            os.kill(os.getpid(), signal.SIGTERM)
        gevent.spawn(end)
        server.main_loop(handle_signals=True)
        print("over")
    """
    assert passes(tmp_path, patched + dedented(text), seconds=15.0) == "b'ABC'\nover\n"


def test_a_failing_callback_is_in_the_log_and_comes_out(patched: str, tmp_path: Path) -> None:
    text = """
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        def on_client_recv(side, data):
            raise LookupError("of the user's")
        try:
            server = TheServer("", 0, listening.getsockname(), callback_errors="raise")
            server.on_client_recv = on_client_recv
            with server:
                try:
                    said(server, b"abc")
                except OSError:
                    pass
        except LookupError as error:
            print("raised", error)
    """
    said = passes(tmp_path, patched + dedented(text)).splitlines()
    assert "on_client_recv raised LookupError: of the user's" in said[0]
    assert said[-1] == "raised of the user's"


def test_a_server_that_nobody_stops_does_not_hold_up_the_exit(patched: str, tmp_path: Path) -> None:
    text = """
        server = TheServer("", 0, listening.getsockname(), on_client_recv=lambda side, data: data.upper()).start()
        print(said(server, b"abc"))
    """
    assert passes(tmp_path, patched + dedented(text), seconds=10.0) == "b'ABC'\n"


@pytest.mark.parametrize("begin", ["server.start()", "server.main_loop()", "server.__enter__()"])
def test_eventlets_locks_are_refused_with_the_way_out(begin: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("eventlet") is None:
        pytest.skip("no eventlet: pip install eventlet")
    text = """
        import sys, warnings
        warnings.simplefilter("ignore")
        import eventlet
        eventlet.monkey_patch()
        from interpose import RuntimeStartError, TheServer
        server = TheServer("", 0, "127.0.0.1:9", on_recv=lambda side, data: None)
        try:
            exec(sys.argv[1])
        except RuntimeStartError as error:
            print(error)
        server.stop(0)
    """
    said = passes(tmp_path, text, begin)
    assert said.startswith("server: eventlet has patched threading")
    assert "in a process of its own" in said
    assert said.count("\n") == 1
