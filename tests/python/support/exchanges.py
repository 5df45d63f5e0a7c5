"""One exchange through a server, seen from both ends, and the threads that go with it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from interpose import TheServer

from .addresses import address_of
from .deadline import poll
from .peers import Served, connect, ending

Seen = tuple[str, bytes]


def exchange(server: TheServer, data: bytes = b"abc") -> Seen:
    """Send `data` and FIN; return how it ended ("eof" or "reset") and what came back."""
    try:
        client = connect(address_of(server))
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


def wait_until_idle(server: TheServer) -> TheServer:
    """Wait until no connection lives."""
    poll(lambda: server.stats.active == 0, 10.0, "every connection has ended")
    return server


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
