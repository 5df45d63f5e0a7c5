"""The two ends of a proxied connection, as plain sockets: clients, upstreams, and what they saw at the end."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

Address = tuple[str, int]


def listener(host: str = "127.0.0.1", backlog: int = 4096) -> socket.socket:
    """A listening socket on a port the kernel chose."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind((host, 0))
    sock.listen(backlog)
    sock.settimeout(10.0)
    return sock


def bound_address(sock: socket.socket) -> Address:
    """The (host, port) a socket is bound to."""
    name = sock.getsockname()
    return str(name[0]), int(name[1])


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot choose one and say so.

    Not one of those the kernel gives to clients: beside a test with thousands of connects it would soon be taken.
    """
    lowest_of_clients = 32_768
    with contextlib.suppress(OSError):
        lowest_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = random.randrange(10_000, max(lowest_of_clients, 11_000))
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports, and all of them taken")


def connect(address: Address, seconds: float = 10.0) -> socket.socket:
    """A connected client whose every operation is bounded."""
    return socket.create_connection(address, seconds)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """*count* bytes; fewer only at end of file."""
    data = bytearray()
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def echo(sock: socket.socket, data: bytes) -> bytes:
    """Send *data* and read as much back."""
    sock.sendall(data)
    return read_exactly(sock, len(data))


def ending(sock: socket.socket) -> tuple[str, bytes]:
    """Read to the end: ("eof" or "reset", the bytes that came before)."""
    data = bytearray()
    while True:
        try:
            chunk = sock.recv(65536)
        except ConnectionError:
            return "reset", bytes(data)
        if not chunk:
            return "eof", bytes(data)
        data += chunk


def fate(open_client: Callable[[], socket.socket]) -> tuple[str, bytes]:
    """What becomes of a client that only connects and listens. A reset may come before connect() has returned."""
    try:
        client = open_client()
    except ConnectionResetError:
        return "reset", b""
    with client:
        return ending(client)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def latencies(sock: socket.socket, count: int) -> list[float]:
    """Round-trip seconds of *count* small echoes."""
    taken: list[float] = []
    for _ in range(count):
        begin = time.perf_counter()
        assert echo(sock, b"ping") == b"ping"
        taken.append(time.perf_counter() - begin)
    return taken


class Served:
    """An upstream that runs *serve* on each connection in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None], listening: socket.socket | None = None) -> None:
        self._listener = listening or listener()
        self._serve = serve
        self.address = bound_address(self._listener)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        self._listener.settimeout(None)
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock: socket.socket) -> None:
        sock.settimeout(60.0)
        with sock:
            try:
                self._serve(sock)
            except OSError:
                pass  # the tests judge what the client saw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # close() alone does not wake a thread that is blocked in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
        self._listener.close()


class Echo:
    """An upstream that echoes on any number of connections from one thread, and never reads what it cannot write."""

    def __init__(self, listening: socket.socket | None = None) -> None:
        self._listener = listening or listener()
        self._listener.setblocking(False)
        self.address = bound_address(self._listener)
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[socket.socket, bytes] = {}
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def open(self) -> int:
        """How many connections it has that have not ended."""
        # Besides those it waits for clients, and for its own end.
        return len(self._selector.get_map() or ()) - 2

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._wake:
                    return
                if sock is self._listener:
                    self._accept()
                else:
                    self._turn(sock)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        self.accepted += 1
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ)

    def _turn(self, sock: socket.socket) -> None:
        try:
            data = self._waiting.pop(sock, b"") or sock.recv(65536)
            if not data:
                raise ConnectionError
            sent = self._send(sock, data)
        except BlockingIOError:
            return
        except OSError:
            self._selector.unregister(sock)
            sock.close()
            return
        if sent < len(data):
            self._waiting[sock] = data[sent:]
        self._selector.modify(sock, selectors.EVENT_WRITE if sent < len(data) else selectors.EVENT_READ)

    @staticmethod
    def _send(sock: socket.socket, data: bytes) -> int:
        try:
            return sock.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """End the thread and every connection."""
        self._waker.send(b"x")
        self._thread.join(5.0)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._waker.close()
        self._selector.close()

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()
