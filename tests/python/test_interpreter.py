"""Leaving the interpreter with traffic running, in every way, many times; and the odd places to import from."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.processes import Child
from support.rounds import rounds
from support.scripts import Ended, passes, python, python_argv

RUNS = rounds(4)
# Together with the others on a busy machine; alone it takes a fraction of a second.
SECONDS = 30.0

# What a script does when traffic runs: (its last lines, its exit code, what its stderr must end with).
LEAVES = {
    "end_of_script": ("", 0, ""),
    "sys_exit": ("sys.exit(3)", 3, ""),
    "exception": ("raise ValueError('mine')", 1, "ValueError: mine"),
    "os_exit": ("os._exit(7)", 7, ""),
    "sigterm": ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", -signal.SIGTERM, ""),
}

BUSY = """
    import os, signal, sys, threading
    from support.background_traffic import BackgroundTraffic
    traffic = BackgroundTraffic(clients=4)
"""


def assert_left(ended: Ended, code: int, last: str) -> None:
    assert ended.code == code, ended
    assert ended.err.rstrip().endswith(last), ended
    assert last or not ended.err, ended


@pytest.mark.parametrize(("leave", "code", "last"), LEAVES.values(), ids=LEAVES)
def test_exit_with_traffic_running(leave: str, code: int, last: str, tmp_path: Path) -> None:
    """Several times for each of the five ways, two at once."""
    if sys.platform == "win32" and "signal" in leave:
        pytest.skip("POSIX signals")
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(python, tmp_path, BUSY + f"    {leave}\n", seconds=SECONDS) for _ in range(RUNS)]
        for run in runs:
            assert_left(run.result(), code, last)


def test_the_exit_itself_takes_less_than_two_seconds(tmp_path: Path) -> None:
    text = BUSY + "    import time; print(time.monotonic(), flush=True)\n"
    with Child(python_argv(text), tmp_path, stdout=subprocess.PIPE) as child:
        out, _ = child.popen.communicate(timeout=SECONDS)
        assert child.popen.returncode == 0, child.output()
    assert time.monotonic() - float(out) < 2.0


def test_exit_with_a_server_in_with_and_an_open_connection(tmp_path: Path) -> None:
    text = """
        import sys
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        upstream = Echo()
        with TheServer("", 0, upstream.address) as server:
            client = connect(server.address)
            echo(client, b"x")
            sys.exit(5)
    """
    ended = python(tmp_path, text)
    assert (ended.code, ended.err) == (5, "")


def test_exit_while_threads_use_the_api(tmp_path: Path) -> None:
    """PY-04: Threads may call it while the interpreter ends."""
    text = (
        BUSY
        + """
    def use():
        while True:
            traffic.server.stats, traffic.server.connections, repr(traffic.server), traffic.server.address
    for _ in range(4):
        threading.Thread(target=use, daemon=True).start()
    traffic.flow()
    """
    )
    for _ in range(rounds(2)):
        assert_left(python(tmp_path, text, seconds=SECONDS), 0, "")


def test_exit_while_a_daemon_thread_is_in_main_loop_or_stop(tmp_path: Path) -> None:
    text = """
        import threading
        from support.deadline import poll
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        upstream = Echo()
        looping = TheServer("", 0, upstream.address)
        threading.Thread(target=looping.main_loop, daemon=True).start()
        draining = TheServer("", 0, upstream.address).start()
        clients = [connect(server.address) for server in (looping, draining)]
        for client in clients:
            echo(client, b"x")
        threading.Thread(target=draining.stop, args=(60,), daemon=True).start()
        poll(lambda: "stopping" in repr(draining), 10, "the drain begins")
    """
    assert_left(python(tmp_path, text), 0, "")


def test_exit_with_a_server_that_a_module_global_keeps(tmp_path: Path) -> None:
    text = """
        import atexit
        from interpose import TheServer
        server = TheServer("", 0, "example.org:80").start()
        atexit.register(lambda: print(server.stats.active, server.stop()))
    """
    assert passes(tmp_path, text) == "0 None\n"


def test_exit_after_an_event_loop_was_left_alone(tmp_path: Path) -> None:
    text = """
        import asyncio
        from interpose import TheServer
        server = TheServer("", 0, "example.org:80").start()
        async def main():
            task = asyncio.ensure_future(server.wait_closed())
            await asyncio.sleep(0)
            return task
        loop = asyncio.new_event_loop()
        task = loop.run_until_complete(main())
    """
    ended = python(tmp_path, text)
    assert ended.code == 0, ended
    assert "Fatal" not in ended.err, ended
    assert "panicked" not in ended.err, ended


def test_a_subinterpreter_imports_or_says_why_not(tmp_path: Path) -> None:
    """PY-10: A subinterpreter imports it, or says in one line why not."""
    text = """
        import importlib, sys
        for name in ("_interpreters", "_xxsubinterpreters"):
            try:
                interpreters = importlib.import_module(name)
                break
            except ImportError:
                pass
        else:
            sys.exit("no sub-interpreters")
        import interpose
        interpose.TheServer
        inner = interpreters.create()
        lines = (
            "try:",
            "    import interpose",
            "    interpose.TheServer('', 0, 'example.org:80').stop()",
            "    print('works')",
            "except ImportError as error:",
            "    print('ImportError', len(str(error)) > 10)",
        )
        failure = interpreters.run_string(inner, chr(10).join(lines) + chr(10) + "import sys; sys.stdout.flush()")
        sys.stdout.flush()
        interpreters.destroy(inner)
        with interpose.TheServer("", 0, "example.org:80"):
            print(failure)
    """
    ended = python(tmp_path, text)
    if "no sub-interpreters" in ended.err:
        pytest.skip("this Python has no sub-interpreters")
    assert ended.code == 0, ended
    assert ended.out in ("works\nNone\n", "ImportError True\nNone\n")


def test_a_child_process_inherits_no_descriptor(tmp_path: Path) -> None:
    """PY-07: A child process inherits no descriptor.

    A peer sees the end when we close, although a program that we started lives on.
    """
    text = """
        import subprocess, sys
        from interpose import TheServer
        from support.peers import Echo, connect, echo, ending
        with Echo() as upstream:
            server = TheServer("", 0, upstream.address).start()
            client = connect(server.address)
            echo(client, b"x")
            child = subprocess.Popen(["sleep", "60"], close_fds=False)
            try:
                server.stop(0)
                print(ending(client)[0])
                try:
                    connect(server.address)
                except ConnectionRefusedError:
                    print("refused")
            finally:
                child.kill()
                child.wait()
    """
    assert passes(tmp_path, text) == "reset\nrefused\n"


def test_threads_are_named_and_go_with_the_exit(tmp_path: Path) -> None:
    """PY-20: Threads have names that tools show, and go with the exit."""
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc to read threads' names in")
    text = """
        import os
        from support.deadline import poll
        from interpose import TheServer
        def names():
            found = set()
            for task in os.listdir("/proc/self/task"):
                with open(f"/proc/self/task/{task}/comm") as file:
                    found.add(file.read().strip()[:12])
            return found
        server = TheServer("", 0, "example.org:80").start()
        poll(lambda: "interpose-io" in names(), 10, f"I/O threads by name: {names()}")
        server.stop()
    """
    passes(tmp_path, text)


def test_a_broken_standard_stream_does_not_matter(tmp_path: Path) -> None:
    text = """
        import sys
        sys.stdout = sys.stderr = None
        from interpose import TheServer
        from support.addresses import turned_away
        server = TheServer("", 0, "127.0.0.1:1").start()
        turned_away(server.address)
        server.stop()
    """
    assert python(tmp_path, text).code == 0


def test_exit_with_a_server_that_was_never_started(tmp_path: Path) -> None:
    text = """
        from interpose import TheServer
        server = TheServer("", 0, "example.org:80")
    """
    assert passes(tmp_path, text) == ""
