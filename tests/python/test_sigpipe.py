"""A program that has SIGPIPE at its default (many that embed Python do) is not ended by a peer that is gone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.scripts import passes

pytestmark = pytest.mark.skipif(not hasattr(socket, "MSG_NOSIGNAL"), reason="the test itself needs MSG_NOSIGNAL")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_writing_to_a_peer_that_is_gone_is_no_signal(tmp_path: Path, kind: str) -> None:
    text = """
    import signal, socket, sys
    from interpose import TheServer
    from support.deadline import poll
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    kind, folder = sys.argv[1:]
    if kind == "tcp":
        upstream = socket.create_server(("127.0.0.1", 0))
        target = upstream.getsockname()
    else:
        upstream = socket.socket(socket.AF_UNIX)
        upstream.bind(folder + "/upstream")
        upstream.listen()
        target = "unix:" + folder + "/upstream"
    with TheServer("", 0, target) as server:
        for _ in range(20):
            client = socket.create_connection(server.address)
            side, _ = upstream.accept()
            side.send(b"x" * 1000, socket.MSG_NOSIGNAL)
            side.close()
            # What is written now meets a socket that is closed, at first or at the second time.
            try:
                for _ in range(50):
                    client.send(b"y" * 1000, socket.MSG_NOSIGNAL)
            except OSError:
                pass
            client.close()
        poll(lambda: server.stats.active == 0, 20, "all have ended")
        print(server.stats.accepted)
    """
    assert passes(tmp_path, text, kind, str(tmp_path)) == "20\n"


@pytest.mark.parametrize("reader", ["client", "upstream"])
def test_a_stream_that_comes_to_a_callback_s_thread_is_no_signal(tmp_path: Path, reader: str) -> None:
    """Bytes that were in a pipe when the connection left its I/O thread meet a peer that is gone."""
    text = """
    import signal, socket, sys, threading
    from interpose import TheServer
    from support.deadline import poll
    from support.peers import reset
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    listening = socket.create_server(("127.0.0.1", 0))

    def feed(sock):
        try:
            while True:
                sock.send(bytes(1 << 16), socket.MSG_NOSIGNAL)
        except OSError:
            pass

    def stands_still(figures=[]):
        stats = server.stats
        figures.append(stats.to_client.read + stats.to_upstream.read)
        return len(figures) > 10 and len(set(figures[-10:])) == 1

    with TheServer("", 0, listening.getsockname()) as server:
        for _ in range(3):
            server.on_recv = None
            client = socket.create_connection(server.address)
            upstream, _ = listening.accept()
            reads, writes = (client, upstream) if sys.argv[1] == "client" else (upstream, client)
            reads.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            feeding = threading.Thread(target=feed, args=[writes])
            feeding.start()
            # It streams, and then stands still.
            for _ in range(64):
                reads.recv(1 << 18, socket.MSG_WAITALL)
            poll(stands_still, 10, "it stands still")
            seen = []
            server.on_recv = lambda side, data: seen.append(side)
            reads.send(b"x", socket.MSG_NOSIGNAL)
            poll(lambda: seen, 10, "the callback has its thread")
            reads.shutdown(socket.SHUT_WR)
            reset(reads)
            poll(lambda: server.stats.active == 0, 10, "it has ended")
            feeding.join()
            writes.close()
        print({str(reason) for reason, count in server.stats.closed.items() if count})
    """
    assert passes(tmp_path, text, reader) == f"{{'{reader}_reset'}}\n"


def test_words_for_nobody_are_no_signal(tmp_path: Path) -> None:
    """The message about a callback's lost output goes to a standard error that may be lost as well."""
    text = """
    import os, signal
    from interpose._lost_output import say_aside
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    read, write = os.pipe()
    os.dup2(write, 2)
    say_aside("somebody reads")
    assert os.read(read, 100) == b"somebody reads\\n"
    os.close(read)
    say_aside("nobody reads")
    print("it lives")
    """
    assert passes(tmp_path, text) == "it lives\n"
