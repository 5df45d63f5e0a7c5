"""One proxied connection with both its ends at hand, and the sides that may be swapped."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interpose import CloseReason, Connection, ConnectionPhase, Ledger, TheServer

from .addresses import address_of
from .deadline import poll
from .exchanges import in_thread
from .peers import Address, bound_address, ending

SECONDS = 20.0
# One that is never filled by bytes that nobody reads, whatever the buffers of both kernels and of the proxy.
MOST = 256 << 20

_POOL = os.urandom(1 << 20)


def pattern(length: int, turned: int = 0) -> bytes:
    """Return the first `length` of an endless stream of bytes; each number has another stream."""
    pool = _POOL[turned:] + _POOL[:turned]
    return (pool * (length // len(pool) + 1))[:length]


OUT, BACK = 0, 4711


@dataclass
class Pair:
    """Who acts is `near`; it is the client, or with the sides swapped the upstream. The other end is `far`."""

    near: socket.socket
    far: socket.socket
    conn: Connection
    client_acts: bool

    @property
    def out(self) -> Ledger:
        """What goes from near to far."""
        return self.conn.to_upstream if self.client_acts else self.conn.to_client

    @property
    def back(self) -> Ledger:
        """What goes from far to near."""
        return self.conn.to_client if self.client_acts else self.conn.to_upstream

    def ended(self) -> CloseReason:
        """Wait for the end; return its reason."""
        poll(lambda: self.conn.phase is ConnectionPhase.CLOSED, SECONDS, f"it has ended: {self.conn}")
        assert self.conn.reason is not None
        return self.conn.reason

    def finishes_with(self, out: int, back: int) -> None:
        """Both directions have ended in order, after all of their bytes."""
        assert self.ended() is CloseReason.FINISHED
        assert (self.out.delivered, self.back.delivered) == (out, back)
        assert (self.out.undeliverable, self.back.undeliverable) == (0, 0)

    def ends_with_reset_of_near(self) -> None:
        """The end was near's reset."""
        expected = CloseReason.CLIENT_RESET if self.client_acts else CloseReason.UPSTREAM_RESET
        assert self.ended() is expected

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


def held(ledger: Ledger) -> int:
    """Return how many bytes the proxy has of a direction."""
    return ledger.read + ledger.added - ledger.delivered - ledger.dropped - ledger.undeliverable


class Site:
    """A server, the listener behind it, and the pairs that were opened through it."""

    def __init__(self, start: Callable[[Address], TheServer], client_acts: bool) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.settimeout(SECONDS)
        self._server = start(bound_address(self._listener))
        self._client_acts = client_acts
        self._pairs: list[Pair] = []

    def pair(self, *, near: int | None = None, far: int | None = None) -> Pair:
        """Open one; `near` and `far` are the most that its ends take unread."""
        sizes = (near, far) if self._client_acts else (far, near)
        client = socket.socket()
        for sock, size in zip((client, self._listener), sizes, strict=True):
            if size is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        client.settimeout(SECONDS)
        client.connect(address_of(self._server))
        upstream, _ = self._listener.accept()
        for sock in (client, upstream):
            sock.settimeout(SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn = poll(self._newest, SECONDS, "the connection is open")
        ends = (client, upstream) if self._client_acts else (upstream, client)
        self._pairs.append(Pair(*ends, conn, self._client_acts))
        return self._pairs[-1]

    def _newest(self) -> Connection | None:
        known = {pair.conn.id for pair in self._pairs}
        found = [conn for conn in self._server.connections if conn.id not in known]
        return found[0] if found and found[0].phase is ConnectionPhase.OPEN else None

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        for pair in self._pairs:
            pair.close()
        self._listener.close()


def fill(sock: socket.socket, turned: int, ledger: Callable[[], Ledger]) -> int:
    """Send until neither end takes more, and the proxy holds some of it; return how much that was."""
    data, sent = memoryview(pattern(4 << 20, turned)), 0
    sock.setblocking(False)
    while True:
        try:
            sent += sock.send(data[sent % len(data) :])
            assert sent < MOST, "nothing has stopped the sender"
        except BlockingIOError:
            if not select.select([], [sock], [], 0.2)[1] and held(ledger()):
                break
    sock.settimeout(SECONDS)
    return sent


class Sending:
    """Sends in a thread, then ends its direction if it is to."""

    def __init__(self, sock: socket.socket, data: bytes, *, fin: bool) -> None:
        self._sock, self._data, self._fin = sock, data, fin
        self._thread: threading.Thread = in_thread(self._run)

    def _run(self) -> None:
        self._sock.sendall(self._data)
        if self._fin:
            self._sock.shutdown(socket.SHUT_WR)

    def wait(self) -> None:
        """Wait until all is sent."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


class Receiving:
    """Reads to the end in a thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._seen: list[Any] = []
        self._thread = in_thread(lambda: self._seen.append(ending(sock)))

    def wait(self) -> tuple[str, bytes]:
        """Wait for the end; return how it was, "eof" or "reset", and what came before."""
        self._thread.join(SECONDS)
        assert self._seen, "no end has come"
        how, data = self._seen[0]
        return how, data
