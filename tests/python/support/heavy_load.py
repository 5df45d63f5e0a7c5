"""Load processes, and a megabyte-eating exchange that hashes what it sends and what it gets."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .peers import Address
from .processes import Child

SCRIPT = str(Path(__file__).with_name("load_process.py"))
LARGEST_WRITE = 1 << 20
# Random once; each write is a window of it at a random place, so making data costs nothing while it flows.
POOL = os.urandom(8 << 20)


class LoadProcess:
    """A load process; `step` waits for its next line."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.child = Child(
            [sys.executable, SCRIPT, *map(str, arguments)],
            folder,
            name=f"load-{arguments[0]}",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def step(self, seconds: float) -> dict[str, Any]:
        """What it says next."""
        stream = self.child.popen.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], seconds)
        line = stream.readline() if ready else b""
        assert line, f"{self.child.name} says nothing:\n{self.child.output()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def go_on(self) -> None:
        """Let it take the next step."""
        stream = self.child.popen.stdin
        assert stream is not None
        stream.write(b"\n")
        stream.flush()

    def __enter__(self) -> LoadProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()


def upstream_process(folder: Path) -> tuple[LoadProcess, Address]:
    """An echoing upstream and its address."""
    load = LoadProcess(folder, "upstream")
    host, port = load.step(10)["address"]
    return load, (host, port)


def send_random(sock: socket.socket, size: int, seed: int) -> str:
    """*size* random bytes in writes of 1 B to 1 MiB, every magnitude as often; then FIN. The digest."""
    chance = random.Random(seed)
    digest = hashlib.sha256()
    view = memoryview(POOL)
    left = size
    while left:
        length = min(left, int(math.exp(chance.uniform(0.0, math.log(LARGEST_WRITE)))))
        start = chance.randrange(len(POOL) - length)
        block = view[start : start + length]
        sock.sendall(block)
        digest.update(block)
        left -= length
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def receive(sock: socket.socket) -> tuple[int, str]:
    """Everything to the end: the count and the digest."""
    digest, count = hashlib.sha256(), 0
    block = bytearray(1 << 20)
    view = memoryview(block)
    while got := sock.recv_into(block):
        digest.update(view[:got])
        count += got
    return count, digest.hexdigest()


def exchange_random(sock: socket.socket, size: int, seed: int) -> tuple[str, int, str]:
    """Send and receive at once: (digest sent, count received, digest received)."""
    sent: list[str] = []
    sender = threading.Thread(target=lambda: sent.append(send_random(sock, size, seed)), daemon=True)
    sender.start()
    count, digest = receive(sock)
    sender.join(60.0)
    return sent[0], count, digest
