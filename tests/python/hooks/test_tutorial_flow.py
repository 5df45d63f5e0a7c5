"""Bytes that a script sends to a reader that stands still are bounded: their source is not read meanwhile."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from interpose import TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import bound_address as name_of
from support.peers import connect, listener, read_exactly
from support.tutorial_scripts import Chat

SIZE = 48 << 20
# Bytes that the kernel's buffers of the two connections, and the proxy, may hold together.
MOST = 24 << 20


class Passing(TheServer):
    """Passes on what comes."""

    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)


def pour(sock: socket.socket, size: int) -> threading.Thread:
    """Send that much from a thread, and an end of stream."""

    def run() -> None:
        chunk = bytes(1 << 20)
        for _ in range(size >> 20):
            sock.sendall(chunk)
        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def count_to_end(sock: socket.socket) -> int:
    count = 0
    while data := sock.recv(1 << 20):
        count += len(data)
    return count


def read_of(server: TheServer) -> int:
    stats = server.stats
    return stats.to_upstream.read + stats.to_client.read


def stands_still(server: TheServer) -> bool:
    seen: list[int] = []

    def same() -> bool:
        seen.append(read_of(server))
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    poll(same, 20.0, "nothing more is read")
    return 0 < seen[-1] < MOST


@pytest.mark.parametrize("source", ["client", "upstream"])
def test_a_reader_that_stands_still_stops_the_reading_of_the_other_side(source: str) -> None:
    with listener() as upstream, Passing("", 0, name_of(upstream)) as server, connect(address_of(server), 60) as client:
        peer, _ = upstream.accept()
        with peer:
            peer.settimeout(60)
            near, far = (client, peer) if source == "client" else (peer, client)
            thread = pour(near, SIZE)
            assert stands_still(server)
            # The other direction, and other clients, are not concerned.
            far.sendall(b"ping")
            assert read_exactly(near, 4) == b"ping"
            assert count_to_end(far) == SIZE
            thread.join(20)
        assert server.stats.callback_errors == 0


def test_many_sources_and_one_reader_that_stands_still() -> None:
    class Funnel(TheServer):
        """The first client gets what the others say."""

        first: Any = None

        def on_accept(self) -> None:
            client, _ = self.server.accept()
            self.input_list.append(client)
            if self.first is None:
                self.first = client
            else:
                self.channel[client] = self.first

        def on_recv(self) -> None:
            self.channel[self.s].send(self.data)

    with Funnel("", 0) as server, connect(address_of(server), 60) as reader:
        poll(lambda: server.first, 10.0, "the reader is there")
        sources = [connect(address_of(server), 60) for _ in range(8)]
        threads = [pour(source, 6 << 20) for source in sources]
        assert stands_still(server)
        got = 0
        while got < 8 * (6 << 20):
            got += len(reader.recv(1 << 20))
        for thread, source in zip(threads, sources, strict=True):
            thread.join(20)
            source.close()
        assert server.stats.callback_errors == 0


def test_one_source_and_many_readers_of_which_one_stands_still() -> None:
    with (
        Chat("", 0) as server,
        connect(address_of(server), 60) as source,
        connect(address_of(server), 60) as slow,
        connect(address_of(server), 60) as fast,
    ):
        poll(lambda: len(server.input_list) == 4, 10.0, "all are there")
        counts: list[int] = []
        reading = threading.Thread(target=lambda: counts.append(len(read_exactly(fast, SIZE))), daemon=True)
        reading.start()
        thread = pour(source, SIZE)
        assert stands_still(server)
        # It gives up: the others go on.
        slow.close()
        reading.join(60)
        thread.join(20)
        assert counts == [SIZE]
        assert server.stats.callback_errors == 0
