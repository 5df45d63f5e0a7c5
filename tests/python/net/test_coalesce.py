"""Directions that stream fast wait for many bytes at once, unless that is off."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from support.deadline import poll
from support.namespaces import require_root
from support.peers import Served, connect
from support.proxies import ProxyProcess

BLOCK = bytes(1 << 18)
# Bytes after which a direction has streamed for more than long enough, however fast the machine is.
SIZE = 1 << 30


def sink(sock: socket.socket) -> None:
    """Read to the end."""
    buffer = bytearray(1 << 18)
    while sock.recv_into(buffer):
        pass


def marks_set(tmp_path: Path, coalesce: bool) -> int:
    """Stream until a low-water mark is set, or everything is sent; give how many were set."""
    require_root("strace")
    log = tmp_path / "strace"
    prefix = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=setsockopt", "-o", str(log))
    with (
        Served(sink) as served,
        ProxyProcess(tmp_path, [{"forward": served.address, "coalesce": coalesce}], prefix=prefix) as proxy,
        connect(proxy.address, 30.0) as client,
    ):
        done = threading.Event()

        def send() -> None:
            for _ in range(SIZE // len(BLOCK)):
                if done.is_set():
                    return
                client.sendall(BLOCK)
            done.set()

        sender = threading.Thread(target=send)
        sender.start()
        try:
            poll(lambda: done.is_set() or "SO_RCVLOWAT" in log.read_text(), 60, "a low-water mark")
        finally:
            done.set()
            sender.join(30)
    return log.read_text().count("SO_RCVLOWAT, [262144]")


def test_what_streams_fast_waits_for_many_bytes(tmp_path: Path) -> None:
    assert marks_set(tmp_path, coalesce=True) > 0


def test_nothing_waits_when_that_is_off(tmp_path: Path) -> None:
    assert marks_set(tmp_path, coalesce=False) == 0
