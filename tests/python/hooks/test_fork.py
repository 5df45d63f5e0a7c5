"""A process that forks while callbacks run, or in one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.scripts import passes, python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

BEGIN = """
    import logging, os, sys, threading, time, warnings
    from support.deadline import poll
    from interpose import ForkError, TheServer
    from support.peers import Echo, connect, echo
    # Newer Pythons warn about any fork with threads; that is what is tried here.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # On a busy machine any callback may take long, and that is told of.
    logging.getLogger("interpose.callback").setLevel(logging.ERROR)
    upstream = Echo()
    def exit_code(pid):
        end = time.monotonic() + 20
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(pid, 9)
                return "hangs"
            time.sleep(0.005)
"""


def test_py_05_in_the_main_thread_while_callbacks_run(tmp_path: Path) -> None:
    """PY-05: A fork while callbacks run leaves the parent serving, and its child may serve by itself.

    Each child has a hooked server of its own; the parent's goes on.
    """
    text = """
    server = TheServer("", 0, upstream.address, on_recv=lambda side, data: data.upper()).start()
    def run():
        with connect(server.address) as client:
            while not over.is_set():
                assert echo(client, b"abc") == b"ABC"
    over = threading.Event()
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    # A child that is forked while a thread imports something can never import that; connecting imports a codec.
    poll(lambda: server.stats.active == 3, 20, "all are connected")
    codes = set()
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                try:
                    server.on_recv = print
                except ForkError:
                    code = 2
                with TheServer("", 0, upstream.address, on_recv=lambda side, data: data[::-1]) as mine:
                    with connect(mine.address) as client:
                        if echo(client, b"ab") == b"ab" and mine.stats.callback_errors == 0 and code == 2:
                            code = 0
            finally:
                os._exit(code)
        codes.add(exit_code(pid))
    over.set()
    for thread in threads:
        thread.join(20)
    server.stop()
    print(codes, server.stats.callback_errors, server.stats.closed["finished"])
    """
    assert passes(tmp_path, BEGIN + text, seconds=60.0) == "{0} 0 3\n"


@pytest.mark.parametrize("here", [True, False], ids=["main_loop", "start"])
def test_py_06_in_a_callback_whose_child_leaves_there(here: bool, tmp_path: Path) -> None:
    """PY-06: A callback may fork, and the child leave there."""
    serve = "server.main_loop()" if here else "server.start(); thread.join()"
    text = f"""
    def on_client_recv(side, data):
        pid = os.fork()
        if pid == 0:
            try:
                side.send(b"from the child")
            except ForkError:
                os._exit(6)
            os._exit(1)
        return b"%d" % exit_code(pid)
    server = TheServer("", 0, upstream.address, on_client_recv=on_client_recv)
    def run():
        with connect(server.address) as client:
            for _ in range(5):
                client.sendall(b"fork")
                print(client.recv(10))
        server.stop()
    thread = threading.Thread(target=run)
    thread.start()
    {serve}
    thread.join()
    """
    assert passes(tmp_path, BEGIN + text) == "b'6'\n" * 5


def test_a_child_that_comes_back_from_the_callback_is_ended_with_a_message(tmp_path: Path) -> None:
    text = """
    def on_client_recv(side, data):
        pid = os.fork()
        return b"%d" % exit_code(pid) if pid else b"from the child"
    server = TheServer("", 0, upstream.address, on_client_recv=on_client_recv).start()
    with connect(server.address) as client:
        client.sendall(b"fork")
        print(client.recv(100))
        client.sendall(b"fork")
        print(client.recv(100))
    server.stop()
    """
    ended = python(tmp_path, BEGIN + text)
    assert (ended.code, ended.out) == (0, "b'-6'\nb'-6'\n"), ended
    said = [line for line in ended.err.splitlines() if line.startswith("interpose: ")]
    assert (
        said
        == [
            "interpose: a process that a callback forked came back from the callback; "
            "end it with os._exit() or exec there"
        ]
        * 2
    )


def test_a_child_that_raises_in_the_callback_is_ended_too(tmp_path: Path) -> None:
    """sys.exit() in a forked child comes back from the callback as well."""
    text = """
    def on_client_recv(side, data):
        pid = os.fork()
        if pid == 0:
            sys.exit(3)
        return b"%d" % exit_code(pid)
    server = TheServer("", 0, upstream.address, on_client_recv=on_client_recv).start()
    with connect(server.address) as client:
        client.sendall(b"fork")
        print(client.recv(100))
        client.sendall(b"again")
        print(client.recv(100))
    server.stop()
    print(server.stats.callback_errors)
    """
    ended = python(tmp_path, BEGIN + text)
    assert (ended.code, ended.out) == (0, "b'-6'\nb'-6'\n0\n"), ended


def test_a_program_that_a_callback_runs(tmp_path: Path) -> None:
    text = """
    import subprocess
    def on_client_recv(side, data):
        return subprocess.run([sys.executable, "-c", "print('hello')"], stdout=subprocess.PIPE).stdout
    with TheServer("", 0, upstream.address, on_client_recv=on_client_recv) as server:
        with connect(server.address) as client:
            client.sendall(b"x")
            print(client.recv(100))
    """
    ended = python(tmp_path, BEGIN + text)
    assert (ended.code, ended.out) == (0, "b'hello\\n'\n"), ended
