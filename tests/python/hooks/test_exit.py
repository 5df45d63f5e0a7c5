"""Leaving the interpreter while callbacks run, in every way: the right exit code, soon, and never a crash."""

from __future__ import annotations

import signal
import sys
import textwrap
from pathlib import Path

import pytest
from support.processes import Child
from support.repeated_exits import TIMES, exit_many_times
from support.rounds import rounds
from support.scripts import python, python_argv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork")

# Seconds that leaving may take.
MOST = 3.0

BUSY = """
    upstream = Echo()
    def on_recv(side, data):
        return data[::-1]
    server = TheServer("", 0, upstream.address, on_recv=on_recv, on_close=lambda conn: None).start()
    def run():
        try:
            with connect(server.address) as client:
                while echo(client, b"abc" * 1000):
                    pass
        except OSError:
            pass
    for _ in range(3):
        threading.Thread(target=run, daemon=True).start()
    poll(lambda: server.stats.to_client.delivered > 30_000, 20, "bytes flow")
"""

# The rest of the script, its exit code, and what its stderr must end with.
WAYS = {
    "end of script": ("about_to_exit()", 0, ""),
    "sys.exit": ("about_to_exit(); sys.exit(3)", 3, ""),
    "exception": ("about_to_exit(); raise ValueError('mine')", 1, "ValueError: mine"),
    "daemon threads send": (
        """
        def send():
            try:
                while True:
                    for conn in server.connections:
                        conn.client.send(b"x" * 1000, timeout=1)
            except Exception:
                pass
        for _ in range(3):
            threading.Thread(target=send, daemon=True).start()
        poll(lambda: server.stats.to_client.added > 1_000_000, 20, "what they send flows")
        about_to_exit()
        """,
        0,
        "",
    ),
}


@pytest.mark.parametrize(("way", "code", "last"), WAYS.values(), ids=WAYS)
def test_py_01_leaving_with_callbacks_running(way: str, code: int, last: str, tmp_path: Path) -> None:
    """PY-01: A script that ends while callbacks run leaves soon, with its own exit code, and does not crash."""
    left = exit_many_times(tmp_path, textwrap.dedent(BUSY) + textwrap.dedent(way), at_once=2)
    assert left.codes == [code] * TIMES, left
    assert left.slowest < MOST
    assert left.said.rstrip().endswith(last)
    assert last or not left.said, left


# A callback that does not return when the script ends, how often it is tried, and how many times at once.
STUCK = {
    "time.sleep": ("time.sleep(60)", TIMES, 10),
    # Busy ones have the machine's cores for themselves.
    "pure Python": ("while True: pass", rounds(3), 3),
    "a lock": ("lock.acquire()", TIMES, 10),
    "sends without end": ("while True: side.send(b'x' * 1000)", TIMES, 10),
}


@pytest.mark.parametrize(("stuck", "times", "at_once"), STUCK.values(), ids=STUCK)
def test_py_01_leaving_with_a_callback_that_does_not_return(
    stuck: str, times: int, at_once: int, tmp_path: Path
) -> None:
    text = f"""
        lock = threading.Lock()
        lock.acquire()
        entered = threading.Event()
        upstream = Echo()
        def on_recv(side, data):
            entered.set()
            try:
                {stuck}
            except BlockingIOError:
                time.sleep(60)
        server = TheServer("", 0, upstream.address, on_recv=on_recv).start()
        client = connect(server.address)
        client.sendall(b"x")
        entered.wait(20)
        about_to_exit()
    """
    # A second is what the exit waits for the connection to end.
    left = exit_many_times(tmp_path, text, times, at_once)
    assert left.codes == [0] * times, left
    assert left.slowest < MOST
    assert "Traceback" not in left.said


@pytest.mark.parametrize("where", ["log handler", "text of an exception"])
def test_py_01_leaving_while_an_exception_is_told_of(where: str, tmp_path: Path) -> None:
    """A log handler, or the exception's own text, that does not return."""
    text = f"""
        import logging
        entered = threading.Event()
        def wait_inside():
            entered.set()
            # Not in one piece: it wants the interpreter back again and again, also when that goes.
            while True:
                time.sleep(0.001)
        class Slow(logging.Handler):
            # Not emit(), which is called with a lock that the end of logging waits for.
            def handle(self, record):
                wait_inside()
        class Broken(Exception):
            def __str__(self):
                if {where == "text of an exception"}:
                    wait_inside()
                return "text"
        if {where == "log handler"}:
            logging.getLogger("interpose.callback").addHandler(Slow())
        upstream = Echo()
        def on_recv(side, data):
            raise Broken
        server = TheServer("", 0, upstream.address, on_recv=on_recv).start()
        client = connect(server.address)
        client.sendall(b"x")
        entered.wait(20)
        about_to_exit()
    """
    left = exit_many_times(tmp_path, text, 5, at_once=5)
    assert left.codes == [0] * 5, left
    assert left.slowest < MOST


@pytest.mark.parametrize(
    ("raised", "code", "last"),
    [("SystemExit(5)", 5, ""), ("SystemExit('words')", 1, "words"), ("KeyboardInterrupt", -2, "KeyboardInterrupt")],
)
def test_py_02_leaving_by_what_a_callback_raises_in_main_loop(
    raised: str, code: int, last: str, tmp_path: Path
) -> None:
    """PY-02: main_loop() left by an exception or a signal ends the script in the same way."""
    text = f"""
        upstream = Echo()
        def on_recv(side, data):
            if data == b"leave":
                about_to_exit()
                raise {raised}
        server = TheServer("", 0, upstream.address, on_recv=on_recv)
        def run():
            try:
                with connect(server.address) as client:
                    for _ in range(20):
                        echo(client, b"abc")
                    client.sendall(b"leave")
                    client.recv(1)
            except OSError:
                pass
        threading.Thread(target=run, daemon=True).start()
        server.main_loop()
    """
    left = exit_many_times(tmp_path, text, at_once=2)
    assert left.codes == [code] * TIMES, left
    assert left.slowest < MOST
    lines = [line for line in left.said.splitlines() if "the server stops" not in line]
    assert not lines or lines[-1].endswith(last), left


def test_py_02_leaving_main_loop_by_a_signal(tmp_path: Path) -> None:
    """SIGTERM's handler raises SystemExit while a callback runs: the callback is cut short by it."""
    text = """
        upstream = Echo()
        def on_recv(side, data):
            about_to_exit()
            os.kill(os.getpid(), signal.SIGTERM)
            while True:
                time.sleep(0.01)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        server = TheServer("", 0, upstream.address, on_recv=on_recv)
        client = connect(server.address)
        client.sendall(b"x")
        server.main_loop()
    """
    left = exit_many_times(tmp_path, text, 10, at_once=5)
    assert left.codes == [9] * 10, left
    assert left.slowest < MOST


def test_py_03_the_interpreter_goes_while_lanes_call(tmp_path: Path) -> None:
    """PY-03: The interpreter may end while lanes call into it.

    Several lanes, started by a thread that is not the main one.
    """
    text = """
        upstream = Echo()
        made = []
        def start():
            made.append(TheServer("", 0, upstream.address, on_recv=lambda side, data: data, callback_threads=4).start())
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        def run():
            try:
                with connect(made[0].address) as client:
                    while echo(client, b"abc"):
                        pass
            except OSError:
                pass
        for _ in range(6):
            threading.Thread(target=run, daemon=True).start()
        poll(lambda: made[0].stats.to_client.delivered > 1000, 20, "bytes flow")
        about_to_exit()
    """
    left = exit_many_times(tmp_path, text, at_once=2)
    assert left.codes == [0] * TIMES, left
    assert left.said == ""
    assert left.slowest < MOST


def test_a_real_script_from_its_start_to_its_end(tmp_path: Path) -> None:
    """Not forked: the interpreter's own main thread runs main_loop() and leaves."""
    text = """
        import sys, threading
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        upstream = Echo()
        server = TheServer("", 0, upstream.address, on_recv=lambda side, data: data.upper())
        def run():
            with connect(server.address) as client:
                print(echo(client, b"abc"))
            server.stop()
        threading.Thread(target=run).start()
        server.main_loop()
        TheServer("", 0, upstream.address, on_recv=print).start()
        sys.exit(4)
    """
    ended = python(tmp_path, text)
    assert (ended.code, ended.out) == (4, "b'ABC'\n")
    # Left running, and never stopped: Python is told of it only where it shows such warnings.
    assert "Fatal" not in ended.err


def test_a_ctrl_c_during_a_callback_cuts_it_short(tmp_path: Path) -> None:
    text = """
        import os, signal, threading, time
        from interpose import TheServer
        from support.peers import Echo, connect
        upstream = Echo()
        def on_recv(side, data):
            print("entered", flush=True)
            time.sleep(60)
        server = TheServer("", 0, upstream.address, on_recv=on_recv)
        client = connect(server.address)
        client.sendall(b"x")
        try:
            server.main_loop()
        except KeyboardInterrupt:
            print(f"interrupted {repr(server).split()[-1]} {server.stats.callback_errors}")
    """
    with Child(python_argv(text), tmp_path) as child:
        child.wait_for("entered")
        child.popen.send_signal(signal.SIGINT)
        assert child.wait(10.0) == 0, child.output()
        assert "interrupted closed> 0" in child.output()


def test_what_a_signal_handler_raises_during_a_callback_is_the_callbacks_error(tmp_path: Path) -> None:
    """But for what ends a program."""
    text = """
        import logging, os, signal, threading
        from interpose import TheServer
        from support.peers import Echo, connect, echo, ending
        logging.disable()
        def stumble(*_):
            raise LookupError
        def leave(*_):
            raise SystemExit(3)
        signal.signal(signal.SIGUSR1, stumble)
        signal.signal(signal.SIGUSR2, leave)
        upstream = Echo()
        def on_client_recv(side, data):
            if data != b"fine":
                os.kill(os.getpid(), getattr(signal, data.decode()))
        server = TheServer("", 0, upstream.address, on_client_recv=on_client_recv)
        def ask(words):
            with connect(server.address) as client:
                client.sendall(words)
                return ending(client)[0]
        def run():
            print(ask(b"SIGUSR1"), server.stats.callback_errors)
            with connect(server.address) as client:
                print(echo(client, b"fine"))
            print(ask(b"SIGUSR2"))
        thread = threading.Thread(target=run)
        thread.start()
        try:
            server.main_loop()
        finally:
            thread.join()
    """
    ended = python(tmp_path, text)
    assert (ended.code, ended.out.splitlines()) == (3, ["reset 1", "b'fine'", "reset"])
