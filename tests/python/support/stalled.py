"""TLS handshakes that clients begin and never finish, against a proxy in a process of its own."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .certificates import Certificate
from .deadline import poll
from .peers import Address, connect, listener
from .proxies import ProxyProcess
from .scale import DESCRIPTORS

SILENT = b""
# A hello that is as long as one may be, and another that is longer, without their ends.
BROKEN_OFF = b"\x16\x03\x01\x3f\x00" + b"\x01\x00\x40\x00\x03\x03" + bytes(16_000)
TOO_LONG = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\x00\x03\x03" + bytes(16_378) + b"\x16\x03\x01\x10\x00" + bytes(4096)

# From so many connections on, memory is given back behind them.
BURST = 1000


@dataclass(frozen=True)
class Stalled:
    """Memory of each handshake that stands still, and of all together, before and behind their end."""

    bytes_each: float
    bytes_held: int
    bytes_left: int


def stall(folder: Path, own: Certificate, count: int, said: bytes) -> Stalled:
    """Begin *count* handshakes with these bytes, measure, and leave."""
    with _clients_may_be_many(count), _proxy(folder, own, 60.0) as proxy:
        with _begun(proxy.address, 64, said):
            poll(lambda: proxy.stats()["active"] == 64, 20, "the warm-up is accepted")
        poll(lambda: proxy.stats()["active"] == 0, 20, "the warm-up is over")
        before = proxy.resident()
        with _begun(proxy.address, count, said):
            poll(lambda: proxy.stats()["active"] == count, 60, "all are accepted")
            proxy.descriptors()
            held = proxy.resident() - before
        poll(lambda: proxy.stats()["active"] == 0, 60, "all are over")
        if count >= BURST:
            poll(lambda: proxy.resident() - before < held / 4, 30, "memory is given back")
        return Stalled(held / count, held, proxy.resident() - before)


def end(folder: Path, own: Certificate, count: int, said: bytes) -> None:
    """Begin *count* handshakes, and wait until their time limit has ended them all."""
    with _clients_may_be_many(count), _proxy(folder, own, 0.5) as proxy, _begun(proxy.address, count, said):
        poll(lambda: proxy.closed("handshake_timeout") == count, 60, "the time limit has ended all")
        assert proxy.stats()["active"] == 0


@contextmanager
def _proxy(folder: Path, own: Certificate, limit: float) -> Generator[ProxyProcess]:
    with listener() as upstream:
        tls = {"cert": str(own.cert), "key": str(own.key), "handshake_timeout": limit}
        servers = [
            {"forward": upstream.getsockname(), "backlog": 4096, "tls": tls, "limits": {"max_connections": 10_000}}
        ]
        with ProxyProcess(folder, servers, plan={"soft_limit": DESCRIPTORS}) as proxy:
            yield proxy
        # A client that has not shaken hands has no upstream.
        upstream.setblocking(False)
        with pytest.raises(BlockingIOError):
            upstream.accept()


@contextmanager
def _begun(address: Address, count: int, said: bytes) -> Generator[None]:
    with ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(connect(address)).sendall(said)
        yield


@contextmanager
def _clients_may_be_many(count: int) -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count + 200 > hard:
        pytest.skip(f"a descriptor each, and the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 200)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
