"""Ends are true while a forked child lives: it has a copy of every socket, so no close here is the last one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support.scripts import passes

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux disconnects a socket that somebody else holds too"),
]

BEGIN = """
    import contextlib, logging, os, signal, socket, time, warnings
    from interpose import Limits, TheServer
    from support.deadline import poll
    from support.addresses import refuses
    from support.peers import bound_address, connect, ending, fate, listener, reset
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.disable(logging.CRITICAL)
    up = listener()
    opened = [up]

    @contextlib.contextmanager
    def held():
        # A child that has copies of the sockets of interpose, and of those alone.
        pid = os.fork()
        if pid == 0:
            for sock in opened:
                sock.close()
            signal.pause()
            os._exit(0)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def dial(server):
        client = connect(server.address)
        opened.append(client)
        return client

    def pair(server):
        client = dial(server)
        client.sendall(b"hello")
        upstream, _ = up.accept()
        upstream.settimeout(10)
        opened.append(upstream)
        assert upstream.recv(5) == b"hello"
        return client, upstream

    def seen(sock):
        sock.settimeout(10)
        return ending(sock)[0]
"""


# On an I/O thread, and on a lane.
HOOKS = pytest.mark.parametrize("hooks", ["", ", on_recv=lambda side, data: None"], ids=["native", "hooked"])


@HOOKS
def test_a_reset_of_either_side_is_a_reset_of_the_other(tmp_path: Path, hooks: str) -> None:
    text = f"""
    with TheServer("", 0, bound_address(up){hooks}) as server:
        (client, upstream), (other, its_upstream) = pair(server), pair(server)
        with held():
            reset(client)
            reset(its_upstream)
            print(seen(upstream), seen(other))
    """
    assert passes(tmp_path, BEGIN + text) == "reset reset\n"


@HOOKS
def test_abort_and_stop_reset_both_sides_and_the_listener_ends(tmp_path: Path, hooks: str) -> None:
    text = f"""
    server = TheServer("", 0, bound_address(up){hooks}).start()
    (client, upstream), (other, its_upstream) = pair(server), pair(server)
    with held():
        server.connections[0].abort()
        print(seen(client), seen(upstream))
        server.stop(0)
        print(seen(other), seen(its_upstream), refuses(server.address))
        TheServer(*server.address, bound_address(up)).stop()
    """
    assert passes(tmp_path, BEGIN + text) == "reset reset\nreset reset True\n"


def test_close_sends_fin_and_what_comes_later_is_reset(tmp_path: Path) -> None:
    text = """
    with TheServer("", 0, bound_address(up)) as server:
        client, upstream = pair(server)
        with held():
            server.connections[0].close()
            print(seen(client), seen(upstream))
            poll(lambda: not server.stats.active, 5, "it is over")
            for peer in client, upstream:
                with contextlib.suppress(ConnectionError):
                    end = time.monotonic() + 5
                    while time.monotonic() < end:
                        peer.sendall(b"late")
                    print("nobody says that nobody reads")
    """
    assert passes(tmp_path, BEGIN + text) == "eof eof\n"


@pytest.mark.parametrize("kind", ["refused", "rejected"])
def test_a_client_that_is_turned_away_is_reset(tmp_path: Path, kind: str) -> None:
    text = f"""
    closed = bound_address(up)
    up.close()
    children = contextlib.ExitStack()
    def on_accept(connection):
        # A child that a callback forks has the client's socket.
        children.enter_context(held())
        return False if {kind!r} == "rejected" else None
    with TheServer("", 0, closed, on_accept=on_accept) as server, children:
        print(fate(lambda: dial(server))[0])
        poll(lambda: server.stats.closed[{kind!r}] == 1, 5, "the reason")
    """
    assert passes(tmp_path, BEGIN + text) == "reset\n"


def test_clients_that_wait_at_a_stop_are_reset(tmp_path: Path) -> None:
    text = """
    server = TheServer("", 0, bound_address(up), limits=Limits(max_connections=1)).start()
    pair(server)
    waiting = [dial(server) for _ in range(3)]
    never_started = TheServer("", 0, bound_address(up))
    waiting.append(dial(never_started))
    with held():
        server.stop(0)
        never_started.stop()
        print([seen(client) for client in waiting], refuses(never_started.address))
    """
    assert passes(tmp_path, BEGIN + text) == "['reset', 'reset', 'reset', 'reset'] True\n"


def test_a_connect_that_is_given_up_does_not_go_on(tmp_path: Path) -> None:
    text = """
    def connecting():
        # Sockets in SYN_SENT towards the upstream (proc_pid_net(5)).
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table]
        return sum(row[2].endswith(f":{bound_address(full)[1]:04X}") and row[3] == "02" for row in rows)
    full = listener(backlog=0)
    opened.extend([full, connect(bound_address(full))])
    server = TheServer("", 0, bound_address(full)).start()
    client = dial(server)
    poll(lambda: connecting() == 1, 10, "the connect waits")
    with held():
        server.stop(0)
        print(seen(client), connecting())
    """
    assert passes(tmp_path, BEGIN + text) == "reset 0\n"


def test_unix_sockets_end_too(tmp_path: Path) -> None:
    text = """
    path = "unix:" + os.path.abspath("listen.sock")
    def unix():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path[5:])
        opened.append(sock)
        return sock
    server = TheServer(path, None, bound_address(up), limits=Limits(max_connections=1)).start()
    client = unix()
    client.sendall(b"hello")
    upstream, _ = up.accept()
    opened.append(upstream)
    waiting = unix()
    server_path, path = path, "unix:" + os.path.abspath("never.sock")
    never_started = TheServer(path, None, bound_address(up))
    waits_too = unix()
    path = server_path
    probe = socket.socket(socket.AF_UNIX)
    opened.append(probe)
    with held():
        os.link(path[5:], "another.sock")
        server.stop(0)
        never_started.stop()
        print(seen(client), seen(upstream), seen(waiting), seen(waits_too), os.path.exists(path[5:]))
        try:
            probe.connect("another.sock")
        except ConnectionRefusedError:
            print("refused")
    """
    assert passes(tmp_path, BEGIN + text) == "eof reset eof eof False\nrefused\n"


def test_what_the_child_does_with_its_copies_harms_nobody(tmp_path: Path) -> None:
    text = """
    import gc
    from interpose import Forward
    never_started = TheServer("", 0, bound_address(up))
    upstream = Forward().start(*bound_address(up))
    server = TheServer("", 0, bound_address(up)).start()
    side_of_upstream, _ = up.accept()
    side_of_upstream.settimeout(10)
    client, side = pair(server)
    pid = os.fork()
    if pid == 0:
        del server, never_started, upstream
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    client.sendall(b"lives")
    print(side.recv(5), refuses(never_started.address))
    upstream.send(b"lives")
    print(side_of_upstream.recv(5))
    client.close()
    side.close()
    server.stop()
    never_started.stop()
    """
    assert passes(tmp_path, BEGIN + text) == "b'lives' False\nb'lives'\n"
