"""Everything at once for ten minutes: memory flat, descriptors and threads back where they were.

INTERPOSE_SOAK_SECONDS sets another length; under five minutes the memory has not settled.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from support.deadline import poll
from support.heavy_load import exchange_random
from support.measurements import Record
from support.peers import Address, Echo, Served, connect, echo, fate, reset
from support.proxies import ProxyProcess

SECONDS = float(os.environ.get("INTERPOSE_SOAK_SECONDS", "600"))
MEBIBYTE = 1 << 20


def threads_of(pid: int) -> int:
    """Threads of a process."""
    return len(os.listdir(f"/proc/{pid}/task"))


def is_quiet(proxy: ProxyProcess, index: int) -> bool:
    """Whether a server has no connection left."""
    active: int = proxy.stats(index)["active"]
    return active == 0


class Soak:
    """Threads that each repeat one kind of connection until the time is over; the first failure ends all."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.failures: list[BaseException] = []
        self.rounds: dict[str, int] = {}
        self._threads: list[threading.Thread] = []

    def repeat(self, name: str, once: Callable[[random.Random], None]) -> None:
        """Do it again and again in a thread."""

        def loop() -> None:
            chance = random.Random(name)
            try:
                while time.monotonic() < self.end and not self.failures:
                    once(chance)
                    self.rounds[name] = self.rounds.get(name, 0) + 1
            except BaseException as failure:  # noqa: BLE001
                self.failures.append(failure)

        self._threads.append(threading.Thread(target=loop, name=name, daemon=True))
        self._threads[-1].start()

    def watch(self, sample: Callable[[], int]) -> list[tuple[float, int]]:
        """A sample a second until the end."""
        samples: list[tuple[float, int]] = []
        while time.monotonic() < self.end and not self.failures:
            samples.append((time.monotonic(), sample()))
            time.sleep(1.0)  # the distance between two samples
        for thread in self._threads:
            thread.join(60.0)
        if self.failures:
            raise self.failures[0]
        return samples


def churn(address: Address) -> Callable[[random.Random], None]:
    def once(chance: random.Random) -> None:
        with connect(address) as client:
            for _ in range(chance.randrange(4)):
                text = chance.randbytes(chance.randrange(1, 5000))
                assert echo(client, text) == text

    return once


def reset_midway(address: Address) -> Callable[[random.Random], None]:
    def once(chance: random.Random) -> None:
        client = connect(address)
        client.sendall(chance.randbytes(chance.randrange(200_000)))
        reset(client)

    return once


def never_read(address: Address) -> Callable[[random.Random], None]:
    def once(chance: random.Random) -> None:
        with connect(address) as client:
            client.setblocking(False)
            end = time.monotonic() + chance.random() * 3
            while time.monotonic() < end:
                try:
                    client.send(bytes(65536))
                except BlockingIOError:
                    time.sleep(0.05)  # a client that stands still is what this is about

    return once


def bulk(address: Address) -> Callable[[random.Random], None]:
    def once(chance: random.Random) -> None:
        with connect(address, 60.0) as client:
            exchange_random(client, 20 * MEBIBYTE, chance.randrange(1 << 30))

    return once


@pytest.mark.timeout(SECONDS + 180)
def test_soak(tmp_path: Path, record_property: Record) -> None:
    with ExitStack() as stack:
        echoing = stack.enter_context(Echo()).address
        bulk_end = stack.enter_context(Served(lambda sock: void(exchange_random(sock, 20 * MEBIBYTE, 1))))
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            refusing = nobody.getsockname()
            # A client that never reads leaves its echo behind with both directions full: that takes half_close.
            targets = (echoing, bulk_end.address, refusing)
            servers = [{"forward": target, "timeouts": {"half_close": 5.0}} for target in targets]
            proxy = stack.enter_context(ProxyProcess(tmp_path, servers))
            idle, threads = proxy.descriptors(), threads_of(proxy.pid)
            soak = Soak(SECONDS)
            for number in range(4):
                soak.repeat(f"churn {number}", churn(proxy.addresses[0]))
            soak.repeat("reset", reset_midway(proxy.addresses[0]))
            soak.repeat("never read", never_read(proxy.addresses[0]))
            soak.repeat("bulk", bulk(proxy.addresses[1]))
            soak.repeat("refused", lambda _: refused(proxy.addresses[2]))
            samples = soak.watch(proxy.resident)
        for index in range(3):
            poll(partial(is_quiet, proxy, index), 30, "all connections are over")
        assert proxy.descriptors() == idle
        assert threads_of(proxy.pid) == threads
        settled = samples[len(samples) // 3 :]
        line = statistics.linear_regression([at for at, _ in settled], [size for _, size in settled])
        record_property("rounds", soak.rounds)
        record_property("resident_kib", [size // 1024 for _, size in samples])
        record_property("slope_bytes_per_hour", line.slope * 3600)
        # Allocators settle for minutes, so a short run says nothing here. In ten, a page a second is noise: a leak of
        # one byte per connection would be a third of it, and nothing leaks single bytes.
        assert line.slope < 4096
        for index in range(3):
            stats = proxy.stats(index)
            for read, delivered, undeliverable in (stats["to_upstream"], stats["to_client"]):
                assert read == delivered + undeliverable
            assert stats["accepted"] == sum(stats["closed"].values())
        assert len(proxy.log().splitlines()) <= SECONDS + 5, "one line a second at most"


def void(_: object) -> None:
    """An upstream's function gives nothing."""


def refused(address: Address) -> None:
    """A client of an upstream that is not there."""
    assert fate(lambda: connect(address)) == ("reset", b""), "a refusal is a reset, not an end of file"
