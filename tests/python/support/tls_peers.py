"""Clients and upstreams that speak TLS, and the ends of connections, waited for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Generator

from interpose import Connection

from .peers import Address, bound_address, connect, listener


def over_tls(address: Address, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    return context.wrap_socket(connect(address), server_hostname=name)


@contextlib.contextmanager
def tls_upstream(context: ssl.SSLContext, serve_one: Callable[[ssl.SSLSocket], None]) -> Generator[Address]:
    """An upstream that shakes hands with one client after the other."""
    with listener() as listening:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted, _ = listening.accept()
                    accepted.settimeout(10)
                    with contextlib.suppress(OSError), context.wrap_socket(accepted, server_side=True) as client:
                        serve_one(client)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield bound_address(listening)
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def answer(client: ssl.SSLSocket) -> None:
    while data := client.recv(65536):
        client.sendall(data)
    client.unwrap()


class Ends:
    """The ends of a server's connections, waited for."""

    def __init__(self) -> None:
        self._came = threading.Condition()
        self._ended: list[Connection] = []

    def on_close(self, conn: Connection) -> None:
        with self._came:
            self._ended.append(conn)
            self._came.notify_all()

    def next(self) -> Connection:
        with self._came:
            assert self._came.wait_for(lambda: self._ended, 10)
            return self._ended.pop(0)
