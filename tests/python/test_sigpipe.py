"""A program that has SIGPIPE at its default (many that embed Python do) is not ended by a peer that is gone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from scripts import passes

pytestmark = pytest.mark.skipif(not hasattr(socket, "MSG_NOSIGNAL"), reason="the test itself needs MSG_NOSIGNAL")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_writing_to_a_peer_that_is_gone_is_no_signal(tmp_path: Path, kind: str) -> None:
    text = """
    import signal, socket, sys
    from interpose import TheServer
    from deadline import poll
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
