"""Clients of hooked servers: one exchange, seen from outside."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from deadline import poll
from inet import where
from interpose import Connection, Side, TheServer
from peers import Served, connect, ending

Seen = tuple[str, bytes]


def exchange(server: TheServer, data: bytes = b"abc") -> Seen:
    """Send `data` and FIN; return how it ended ("eof" or "reset") and what came back."""
    try:
        client = connect(where(server))
    except ConnectionResetError:
        return "reset", b""
    with client:
        # The connection may be reset at any point. Whoever was told of that once reads an end of stream after it.
        with contextlib.suppress(OSError):
            try:
                client.sendall(data)
            except ConnectionResetError:
                return "reset", b""
            client.shutdown(socket.SHUT_WR)
        return ending(client)


def settled(server: TheServer) -> TheServer:
    """Wait until no connection lives."""
    poll(lambda: server.stats.active == 0, 10.0, "every connection has ended")
    return server


def of_data(answer: Callable[[bytes], Any]) -> Callable[[Side, bytes], Any]:
    """Return a callback that answers a chunk by its bytes alone."""
    return lambda _, data: answer(data)


def calling(answer: Callable[[], Any]) -> Callable[..., Any]:
    """Return a callback that does not look at what it is called with."""
    return lambda *_: answer()


def upper(side: Side, data: bytes) -> bytes:
    """Answer with the chunk in capitals."""
    return data.upper()


class Ends:
    """An on_close that keeps what it was called with."""

    def __init__(self) -> None:
        self.all: list[Connection] = []

    def __call__(self, conn: Connection) -> None:
        self.all.append(conn)

    def wait(self, count: int = 1) -> Connection:
        """Wait until `count` connections have ended; return the first."""
        poll(lambda: len(self.all) >= count, 10.0, f"{count} ends were told, not {len(self.all)}")
        assert len(self.all) == count
        return self.all[0]


class Sink(Served):
    """An upstream that keeps all it gets, and ends its own direction when the client's has ended."""

    def __init__(self) -> None:
        self.got: list[Seen] = []
        super().__init__(self._keep)

    def _keep(self, sock: socket.socket) -> None:
        self.got.append(ending(sock))

    def wait(self) -> Seen:
        """Wait for one connection's end; return how it ended and what had come."""
        return poll(lambda: self.got, 10.0, "the upstream saw the end")[0]

    def __enter__(self) -> Sink:
        return self


def in_thread(run: Callable[[], object]) -> threading.Thread:
    """Start a daemon thread."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def served_by_main_loop(server: TheServer, work: Callable[[], object]) -> list[BaseException]:
    """Run main_loop() here while `work` runs in a thread, then stop; return what either has raised."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            server.stop(0)

    thread = in_thread(run)
    try:
        server.main_loop()
    except BaseException as error:  # noqa: BLE001
        failures.append(error)
    thread.join(10.0)
    assert not thread.is_alive()
    return failures
