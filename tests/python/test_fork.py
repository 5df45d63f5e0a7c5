"""A process that forks while a server runs: the child is told at once, and the parent notices nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.scripts import passes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

BEGIN = """
    import asyncio, gc, os, sys, time, warnings
    from interpose import ForkError, TheServer
    from support.peers import Echo, connect, echo
    # Newer Pythons warn about any fork with threads; that is what is tried here.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    upstream = Echo()
    server = TheServer("", 0, upstream.address).start()
    client = connect(server.address)
    echo(client, b"before the fork")
    connection = server.connections[0]
    def child(run):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                run()
                sys.stdout.flush()
                code = 0
            finally:
                os._exit(code)
        end = time.monotonic() + 20
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                return "hangs"
            time.sleep(0.005)
"""

END = """
    assert echo(client, b"after the fork") == b"after the fork"
    with connect(server.address) as another:
        assert echo(another, b"another") == b"another"
    client.close()
    server.stop()
    print(server.stats.closed["finished"])
"""


def test_every_use_in_the_child_is_an_error_at_once(tmp_path: Path) -> None:
    middle = """
    def use():
        async def awaits(method):
            await method()
        uses = [
            lambda: server.address,
            lambda: server.stats,
            lambda: server.connections,
            lambda: server.start(),
            lambda: server.stop(),
            lambda: server.main_loop(),
            lambda: server.__enter__(),
            lambda: asyncio.run(awaits(server.serve_forever)),
            lambda: asyncio.run(awaits(server.wait_closed)),
            lambda: connection.close(),
            lambda: connection.client.connection.abort(),
        ]
        for number, attempt in enumerate(uses):
            begin = time.monotonic()
            try:
                attempt()
            except ForkError as error:
                assert "forked from; " in str(error), error
            else:
                print(number, "passes")
            assert time.monotonic() - begin < 1
        print(repr(server), connection.reason)
    print(child(use))
    """
    out = passes(tmp_path, BEGIN + middle + END)
    assert out == "<TheServer of a parent process> None\n0\n2\n"


def test_a_server_of_the_childs_own_works(tmp_path: Path) -> None:
    middle = """
    def make():
        with TheServer("", 0, upstream.address) as mine, connect(mine.address) as sock:
            # The upstream is the parent's.
            print(echo(sock, b"in the child"))
            print(len(mine.connections))
    print(child(make), child(make))
    """
    out = passes(tmp_path, BEGIN + middle + END)
    assert out == "b'in the child'\n1\n" * 2 + "0 0\n2\n"


def test_a_child_in_a_child(tmp_path: Path) -> None:
    middle = """
    def make():
        with TheServer("", 0, upstream.address) as mine, connect(mine.address) as sock:
            assert echo(sock, b"child") == b"child"
            def grandchild():
                try:
                    mine.stats
                except ForkError:
                    with TheServer("", 0, upstream.address) as own, connect(own.address) as again:
                        print(echo(again, b"grandchild"))
            print(child(grandchild))
            assert echo(sock, b"child") == b"child"
    print(child(make))
    """
    assert passes(tmp_path, BEGIN + middle + END) == "b'grandchild'\n0\n0\n2\n"


def test_a_child_that_drops_everything_harms_nobody(tmp_path: Path) -> None:
    middle = """
    def drop():
        global server, connection
        del server, connection
        gc.collect()
    print(child(drop))
    """
    assert passes(tmp_path, BEGIN + middle + END) == "0\n2\n"


def test_a_child_that_leaves_with_and_the_interpreter_in_order(tmp_path: Path) -> None:
    middle = """
    def leave():
        with_block = server.__exit__
        with_block(None, None, None)
        import atexit
        atexit._run_exitfuncs()
    print(child(leave))
    """
    assert passes(tmp_path, BEGIN + middle + END) == "0\n2\n"


def test_a_fork_inside_with_and_sys_exit_in_the_child(tmp_path: Path) -> None:
    text = """
        import os, sys, warnings
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        upstream = Echo()
        with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
            echo(client, b"x")
            pid = os.fork()
            if pid == 0:
                sys.exit(4)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            print(echo(client, b"lives"))
    """
    assert passes(tmp_path, text) == "4\nb'lives'\n"


def test_a_fork_before_the_start(tmp_path: Path) -> None:
    text = """
        import os, warnings
        from interpose import ForkError, TheServer
        from support.peers import Echo, connect, echo
        server = TheServer("", 0, "example.org:80")
        pid = os.fork()
        if pid == 0:
            try:
                server.start()
            except ForkError:
                os._exit(6)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        server.stop()
    """
    assert passes(tmp_path, text) == "6\n"


def test_forks_under_load_never_hang(tmp_path: Path) -> None:
    middle = """
    from support.background_traffic import BackgroundTraffic
    traffic = BackgroundTraffic()
    def make():
        with TheServer("", 0, upstream.address) as mine, connect(mine.address) as sock:
            assert echo(sock, b"in the child") == b"in the child"
    print({child(make) for _ in range(30)})
    traffic.flow()
    traffic.server.stop(0)
    """
    assert passes(tmp_path, BEGIN + middle + END, seconds=60.0) == "{0}\n2\n"


def test_a_multiprocessing_pool_by_fork(tmp_path: Path) -> None:
    text = """
        import multiprocessing, warnings
        from interpose import TheServer
        from support.peers import Echo, connect, echo
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        def square(number):
            return number * number
        upstream = Echo()
        with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
            echo(client, b"x")
            with multiprocessing.get_context("fork").Pool(4) as pool:
                print(sum(pool.map_async(square, range(100)).get(20)))
                print(echo(client, b"during the pool"))
            print(echo(client, b"after the pool"))
            print(server.stats.active)
    """
    out = passes(tmp_path, text, seconds=60.0)
    assert out == "328350\nb'during the pool'\nb'after the pool'\n1\n"


UNPAIRED = """
    from interpose import Forward
    from support.peers import bound_address, listener
    waiting = listener()
    side = Forward().start(*bound_address(waiting))
    peer, _ = waiting.accept()
    peer.settimeout(10)
"""


def test_an_upstream_that_belongs_to_no_connection_is_the_parents(tmp_path: Path) -> None:
    middle = """
    import socket
    def use():
        for attempt in [
            lambda: side.send(b"from the child"),
            lambda: side.recv(1, 0.1),
            lambda: side.shutdown(socket.SHUT_WR),
            side.close,
        ]:
            try:
                attempt()
            except ForkError as error:
                assert "forked from; " in str(error), error
            else:
                print("passes")
    print(child(use))
    side.send(b"from the parent")
    print(peer.recv(100))
    peer.sendall(b"answer")
    print(side.recv(100))
    side.close()
    print(peer.recv(1))
    """
    out = passes(tmp_path, BEGIN + UNPAIRED + middle + END)
    assert out == "0\nb'from the parent'\nb'answer'\nb''\n2\n"


def test_an_upstream_is_the_parents_before_there_is_a_server(tmp_path: Path) -> None:
    text = """
        import os, warnings
        from interpose import Forward
        from support.peers import bound_address, listener
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        waiting = listener()
        waiting.settimeout(10)
        side = Forward().start(*bound_address(waiting))
        peer, _ = waiting.accept()
        peer.settimeout(10)
        pid = os.fork()
        if pid == 0:
            try:
                side.close()
            except Exception as error:
                own = Forward().start(*bound_address(waiting))
                own.send(type(error).__name__.encode())
            os._exit(0)
        child, _ = waiting.accept()
        child.settimeout(10)
        print(child.recv(100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        side.send(b"lives")
        print(peer.recv(100))
    """
    assert passes(tmp_path, text) == "b'ForkError' 0\nb'lives'\n"


def test_a_child_that_drops_an_upstream_of_its_parent_never_hangs(tmp_path: Path) -> None:
    """Check a fork while the parent's threads use the state that they share with an upstream."""
    middle = """
    import signal, threading
    first = TheServer("", 0, server.address).start()
    # Known as one that comes to a listener of this process, as those are that come and go meanwhile.
    side = Forward().start(*server.address)
    address = first.address
    def connect_and_leave():
        while True:
            with connect(address):
                pass
    flow = os.fork()
    if flow == 0:
        for _ in range(4):
            threading.Thread(target=connect_and_leave, daemon=True).start()
        time.sleep(60)
        os._exit(0)
    def drop():
        global side
        side = None
    outcomes = {child(drop) for _ in range(60)}
    os.kill(flow, signal.SIGKILL)
    os.waitpid(flow, 0)
    first.stop(0)
    side.close()
    print(outcomes)
    with connect(server.address) as another:
        print(echo(another, b"lives"))
    client.close()
    """
    assert passes(tmp_path, BEGIN + "    from interpose import Forward\n" + middle, seconds=60.0) == "{0}\nb'lives'\n"


def test_the_log_works_in_the_child(tmp_path: Path) -> None:
    middle = """
    import logging
    from support.addresses import turned_away
    seen = []
    class Collect(logging.Handler):
        def emit(self, record):
            seen.append(record.name)
    logging.getLogger("interpose").addHandler(Collect())
    def fail():
        import threading
        from support.deadline import poll
        mine = TheServer("", 0, "127.0.0.1:1").start()
        turned_away(mine.address)
        poll(lambda: seen, 10, "a record in the child")
        mine.stop()
        print(seen[0], [thread.name for thread in threading.enumerate() if thread.name == "interpose-log"])
    print(child(fail))
    """
    assert passes(tmp_path, BEGIN + middle + END) == "interpose.connection ['interpose-log']\n0\n2\n"


def test_main_loop_ends_while_a_child_lives(tmp_path: Path) -> None:
    """A child has a copy of every descriptor of its parent, also of those that tell the parent of the end."""
    text = """
    import os, signal, threading
    import warnings
    from interpose import TheServer
    from support.deadline import poll
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    server = TheServer("", 0, "127.0.0.1:1")
    children = []
    def fork_and_stop():
        poll(lambda: "started" in repr(server), 10, "started")
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        children.append(pid)
        server.stop()
    thread = threading.Thread(target=fork_and_stop)
    thread.start()
    server.main_loop()
    thread.join()
    gone, _ = os.waitpid(children[0], os.WNOHANG)
    print("the child lives" if gone == 0 else "the child is gone")
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)
    """
    assert passes(tmp_path, text) == "the child lives\n"
