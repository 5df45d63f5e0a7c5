"""One seed, in many processes, beside other load: what faults draw is the same to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.measurements import Record
from support.peers import Echo, connect

PROCESSES = 100
# Beside two processors' worth of load.
AT_ONCE = 4
DRAWS = """
import hashlib, socket, sys
from interpose import TheServer, faults
target = ("127.0.0.1", int(sys.argv[1]))
harm = [
    faults.Corrupt(bits=3, probability=0.5, on_match=b"x", direction="to_client"),
    faults.Duplicate(probability=0.1, on_match=b"-y", direction="to_upstream"),
    faults.Slicer(3, 2),
    faults.Cut(after_bytes=3000, probability=0.5, direction="to_client"),
]
digest = hashlib.sha256()
with TheServer("", 0, target, faults=harm, seed=20261127) as server:
    for _ in range(8):
        with socket.create_connection(server.address, timeout=60) as client:
            try:
                client.sendall(b"-x-y" * 1000)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            digest.update(client.makefile("rb").read() + b"|")
print(digest.hexdigest())
"""


@pytest.mark.timeout(600)
def test_a_seed_draws_the_same_in_every_process(record_property: Record) -> None:
    busy = threading.Event()

    def load(address: tuple[str, int]) -> None:
        while not busy.is_set():
            with connect(address) as client:
                client.sendall(os.urandom(10_000))
                client.recv(10_000)

    def draw(port: int) -> str:
        argv = [sys.executable, "-c", DRAWS, str(port)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout

    begun = time.monotonic()
    with Echo() as upstream, ThreadPoolExecutor(AT_ONCE + 2) as pool:
        loads = [pool.submit(load, upstream.address) for _ in range(2)]
        try:
            seen = list(pool.map(draw, [upstream.address[1]] * PROCESSES))
        finally:
            busy.set()
        assert [one.result() for one in loads] == [None, None]
    record_property("seconds", round(time.monotonic() - begun, 1))
    assert len(seen) == PROCESSES
    assert len(set(seen)) == 1
