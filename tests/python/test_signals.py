"""Signals while the main thread is in main_loop() or stop(): Ctrl-C is an exception within 100 ms."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from support.addresses import refuses
from support.deadline import poll
from support.peers import Address, Echo, connect, ending
from support.peers import echo as echoed
from support.processes import Child, find_program
from support.scripts import passes, python, python_argv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

INTERRUPTED = """
    import os, signal, threading, time
    from interpose import TheServer
    from support.peers import Echo, connect, echo, ending
    upstream = Echo()
    server = TheServer("", 0, upstream.address)
    client = connect(server.address)
    pressed = []
    def press():
        echo(client, b"main_loop runs")
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=press).start()
    try:
        server.main_loop()
    except KeyboardInterrupt:
        print(time.monotonic() - pressed[0])
    print(ending(client)[0], server.stats.active, repr(server).split()[-1])
    try:
        connect(server.address)
    except ConnectionRefusedError:
        print("refused")
"""


def interrupt(folder: Path) -> float:
    """Return the seconds from Ctrl-C to KeyboardInterrupt; everything is closed by then."""
    seconds, state, listener = passes(folder, INTERRUPTED).splitlines()
    assert (state, listener) == ("reset 0 closed>", "refused")
    return float(seconds)


def test_ctrl_c_is_a_keyboard_interrupt_within_100_ms(tmp_path: Path) -> None:
    # The best of a few: other processes may have the machine for longer than that.
    assert min(interrupt(tmp_path) for _ in range(3)) < 0.1


def test_no_ctrl_c_is_lost_however_early_it_comes(tmp_path: Path) -> None:
    """One in a few hundred comes between the interpreter's last look for signals and its wait."""
    text = """
        import os, signal, threading
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        upstream = Echo()
        def press(client):
            echo(client, b"main_loop runs")
            os.kill(os.getpid(), signal.SIGINT)
        for _ in range(300):
            server = TheServer("", 0, upstream.address)
            with connect(server.address) as client:
                thread = threading.Thread(target=press, args=(client,))
                thread.start()
                try:
                    server.main_loop()
                except KeyboardInterrupt:
                    thread.join()
        print("all seen")
    """
    assert passes(tmp_path, text) == "all seen\n"


def test_main_loop_gives_the_wakeup_descriptor_back(tmp_path: Path) -> None:
    text = """
        import os, signal, threading
        from interpose import TheServer
        from support.deadline import poll
        mine = os.pipe()[1]
        os.set_blocking(mine, False)
        signal.set_wakeup_fd(mine)
        server = TheServer("", 0, "example.org:80")
        def stop():
            poll(lambda: "started" in repr(server), 10, "started")
            server.stop()
        threading.Thread(target=stop).start()
        server.main_loop()
        print(signal.set_wakeup_fd(-1) == mine)
    """
    assert passes(tmp_path, text) == "True\n"


def test_an_uncaught_ctrl_c_ends_the_script_as_usual(tmp_path: Path) -> None:
    text = """
        import os, signal, threading
        from support.deadline import poll
        from interpose import TheServer
        server = TheServer("", 0, "example.org:80")
        def press():
            poll(lambda: "started" in repr(server), 10, "started")
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=press).start()
        server.main_loop()
    """
    with Child(python_argv(text), tmp_path) as child:
        assert child.wait(20) in (-2, 130)
        assert child.output().rstrip().endswith("KeyboardInterrupt")


def test_stop_from_a_signal_handler(tmp_path: Path) -> None:
    text = """
        import os, signal, threading
        from support.deadline import poll
        from interpose import TheServer
        server = TheServer("", 0, "example.org:80")
        signal.signal(signal.SIGUSR1, lambda *_: server.stop())
        def press():
            poll(lambda: "started" in repr(server), 10, "started")
            os.kill(os.getpid(), signal.SIGUSR1)
        threading.Thread(target=press).start()
        server.main_loop()
        print(repr(server).split()[-1])
    """
    assert passes(tmp_path, text) == "closed>\n"


def test_stop_in_a_handler_that_interrupts_stop(tmp_path: Path) -> None:
    text = """
        import os, signal, threading, time
        from support.deadline import poll
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        upstream = Echo()
        server = TheServer("", 0, upstream.address).start()
        client = connect(server.address)
        echo(client, b"x")
        signal.signal(signal.SIGUSR1, lambda *_: server.stop(0))
        def press():
            poll(lambda: "stopping" in repr(server), 10, "stopping")
            os.kill(os.getpid(), signal.SIGUSR1)
        threading.Thread(target=press).start()
        begin = time.monotonic()
        server.stop(60)
        print(time.monotonic() - begin < 5)
    """
    assert passes(tmp_path, text) == "True\n"


def test_ctrl_c_cuts_a_drain_short(tmp_path: Path) -> None:
    text = """
        import os, signal, threading, time
        from support.deadline import poll
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        upstream = Echo()
        server = TheServer("", 0, upstream.address).start()
        client = connect(server.address)
        echo(client, b"x")
        def press():
            poll(lambda: "stopping" in repr(server), 10, "stopping")
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=press).start()
        begin = time.monotonic()
        try:
            server.stop(60)
        except KeyboardInterrupt:
            print(time.monotonic() - begin < 5, repr(server).split()[-1])
    """
    assert passes(tmp_path, text) == "True closed>\n"


def test_a_storm_of_other_signals_disturbs_nothing(tmp_path: Path) -> None:
    text = """
        import os, signal, threading
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread() is threading.main_thread()))
        upstream = Echo()
        server = TheServer("", 0, upstream.address)
        def storm():
            with connect(server.address) as client:
                for _ in range(300):
                    os.kill(os.getpid(), signal.SIGUSR1)
                    assert echo(client, b"calm") == b"calm"
            server.stop()
        thread = threading.Thread(target=storm)
        thread.start()
        server.main_loop()
        thread.join(10)
        print(len(seen) > 0, all(seen), server.stats.closed["finished"])
    """
    assert passes(tmp_path, text) == "True True 1\n"


HANDLED = """
    import signal, sys, threading
    from interpose import TheServer
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    server = TheServer("", 0, ("127.0.0.1", int(sys.argv[1])))
    print("listening on", server.address[1], flush=True)
    server.main_loop(handle_signals=True)
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    print(before == after, threading.active_count() - 1 - ("interpose-log" in str(threading.enumerate())))
"""


def handling(folder: Path, upstream: Address, *prefix: str) -> tuple[Child, Address]:
    child = Child([*prefix, *python_argv(HANDLED, str(upstream[1]))], folder, name="script")
    try:
        return child, ("127.0.0.1", int(child.wait_for(r"listening on (\d+)")[1]))
    except BaseException:
        child.kill()
        raise


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_main_loop_drains_at_the_first_signal_it_is_to_handle(name: str, echo: Echo, tmp_path: Path) -> None:
    child, address = handling(tmp_path, echo.address)
    with child:
        with connect(address) as client:
            echoed(client, b"x")
            child.popen.send_signal(getattr(signal, name))
            poll(lambda: refuses(address), 5.0, "the listener is closed")
            assert echoed(client, b"while it drains") == b"while it drains"
        assert child.wait(10) == 0
        assert child.output().endswith("\nTrue 0\n")


def test_main_loop_stops_at_once_at_the_second_signal(echo: Echo, tmp_path: Path) -> None:
    child, address = handling(tmp_path, echo.address)
    with child, connect(address) as client:
        echoed(client, b"x")
        child.popen.send_signal(signal.SIGSTOP)
        child.popen.send_signal(signal.SIGTERM)
        child.popen.send_signal(signal.SIGINT)
        child.popen.send_signal(signal.SIGCONT)
        assert ending(client) == ("reset", b"")
        assert child.wait(10) == 0
        assert child.output().endswith("\nTrue 0\n")


def test_main_loop_handles_signals_as_the_first_process_of_a_container(echo: Echo, tmp_path: Path) -> None:
    """The kernel ignores a signal that PID 1 has no handler for."""
    unshare = find_program("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare")
    child, address = handling(tmp_path, echo.address, unshare, "--pid", "--fork", "--kill-child")
    with child:
        with connect(address) as client:
            assert echoed(client, b"x") == b"x"
        first = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text())
        assert Path(f"/proc/{first}/status").read_text().split("NSpid:")[1].splitlines()[0].split()[-1] == "1"
        os.kill(first, signal.SIGTERM)
        assert child.wait(10) == 0
        assert child.output().endswith("\nTrue 0\n")


def test_main_loop_handles_signals_in_the_main_thread_only(tmp_path: Path) -> None:
    text = """
        import threading
        from interpose import ConfigError, TheServer
        from support.deadline import poll
        server = TheServer("", 0, "example.org:80")
        def serve():
            try:
                server.main_loop(handle_signals=True)
            except ConfigError as error:
                print(error)
        thread = threading.Thread(target=serve)
        thread.start()
        thread.join()
        def stop():
            poll(lambda: "started" in repr(server), 10, "started")
            server.stop()
        threading.Thread(target=stop).start()
        server.main_loop(handle_signals=True)
    """
    said = passes(tmp_path, text)
    assert said.startswith("handle_signals: only the main thread can handle signals")
    assert said.count("\n") == 1


def test_main_loop_ends_although_a_callback_does_not_return(tmp_path: Path) -> None:
    """As one that prints to a pipe which nobody reads: it has the main thread."""
    text = """
        import os, signal, socket, threading
        from support.deadline import poll
        from interpose import Forward, TheServer
        reader, writer = os.pipe()
        def on_client_recv(side, data):
            while True:
                os.write(writer, bytes(65536))
        server = TheServer("", 0, on_accept=lambda conn: Forward.NOWHERE, on_client_recv=on_client_recv)
        client = socket.create_connection(server.address)
        client.sendall(b"x")
        def blocked():
            # Not a moment before: Python runs no handler of a signal that comes just before a call that blocks.
            return "pipe_write" in open(f"/proc/self/task/{os.getpid()}/wchan").read()
        def press():
            poll(blocked, 10, "the callback is blocked")
            os.kill(os.getpid(), signal.SIGTERM)
            poll(lambda: "stopping" in repr(server), 10, "stopping")
            poll(blocked, 10, "the callback is blocked again")
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=press).start()
        server.main_loop(handle_signals=True)
        print("returned", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    """
    if not Path("/proc/self/wchan").exists():
        pytest.skip("no /proc to see what it waits for")
    ended = python(tmp_path, text)
    assert (ended.code, ended.out) == (0, "returned True\n"), ended
