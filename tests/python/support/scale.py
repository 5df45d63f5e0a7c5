"""Many connections, many connects, many bytes through a proxy in a process of its own: sizes are the caller's."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .deadline import poll
from .heavy_load import LoadProcess, exchange_random, upstream_process
from .peers import Address, Served, connect
from .proxies import ProxyProcess

MEBIBYTE = 1 << 20
# The most descriptors that a process may have here.
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@contextmanager
def proxy_to(address: Address, folder: Path) -> Generator[ProxyProcess]:
    """A proxy that may have every descriptor there is."""
    servers = [{"forward": address, "backlog": 4096}]
    with ProxyProcess(folder, servers, plan={"soft_limit": DESCRIPTORS}) as proxy:
        yield proxy


@contextmanager
def proxy_to_an_echo(folder: Path) -> Generator[ProxyProcess]:
    """A proxy, and behind it an echoing upstream in another process."""
    load, address = upstream_process(folder)
    with load, proxy_to(address, folder) as proxy:
        yield proxy


def wait_until_all_are_over(proxy: ProxyProcess) -> None:
    """Wait until the proxy has no connection."""
    poll(lambda: proxy.stats()["active"] == 0, 20, "all connections are over")


@dataclass(frozen=True)
class Held:
    """Resident memory before there were connections, and what each has taken while all were open."""

    resident_before: int
    bytes_per_connection: float


def hold_at_once(proxy: ProxyProcess, folder: Path, count: int) -> Held:
    """Open *count*, echo on all of them, and close them; all of their descriptors come back."""
    if 2 * count + 100 > DESCRIPTORS:
        pytest.skip(f"two descriptors each, and the hard limit of open files is {DESCRIPTORS}")
    warm_up = 64
    with LoadProcess(folder, "hold", *proxy.address, warm_up) as first:
        first.step(60)
        first.go_on()
        first.step(60)
    wait_until_all_are_over(proxy)
    idle, resident = proxy.descriptors(), proxy.resident()
    with LoadProcess(folder, "hold", *proxy.address, count) as clients:
        assert clients.step(60) == {"open": count}
        assert proxy.stats()["active"] == count
        assert proxy.descriptors() == idle + 2 * count
        cost = (proxy.resident() - resident) / count
        clients.go_on()
        assert clients.step(60) == {"closed": count}
        wait_until_all_are_over(proxy)
        stats = proxy.stats()
        total = 128 * (count + warm_up)
        assert stats["closed"] == {"finished": count + warm_up}
        assert stats["to_upstream"] == stats["to_client"] == [total, total, 0]
        assert proxy.descriptors() == idle
    return Held(resident, cost)


@dataclass(frozen=True)
class Connected:
    """What connections one after the other have cost."""

    seconds: float
    grown: int


def connect_many(proxy: ProxyProcess, folder: Path, warm_up: int, count: int) -> Connected:
    """Connect, echo and close *count* times, 64 at once; every descriptor comes back."""
    idle = proxy.descriptors()
    with LoadProcess(folder, "churn", *proxy.address, warm_up, 64) as load:
        assert load.step(60)["done"] == warm_up
    wait_until_all_are_over(proxy)
    resident = proxy.resident()
    with LoadProcess(folder, "churn", *proxy.address, count, 64) as load:
        step = load.step(100)
        assert step["done"] == count
    wait_until_all_are_over(proxy)
    assert proxy.stats()["closed"] == {"finished": warm_up + count}
    assert proxy.descriptors() == idle
    return Connected(step["seconds"], proxy.resident() - resident)


@dataclass(frozen=True)
class Moved:
    """What bytes both ways at once have cost."""

    cpu_seconds: float
    grown: int


def move_both_ways(folder: Path, size: int) -> Moved:
    """Send *size* bytes each way at once; all of them arrive unchanged."""
    far: list[tuple[str, int, str]] = []
    with (
        Served(lambda sock: far.append(exchange_random(sock, size, 2))) as served,
        proxy_to(served.address, folder) as proxy,
    ):
        resident = proxy.resident()
        with connect(proxy.address, 60.0) as client:
            near = exchange_random(client, size, 1)
            poll(lambda: far, 20, "the upstream has everything")
        assert near[1] == far[0][1] == size
        assert near[2] == far[0][0]
        assert far[0][2] == near[0]
        poll(lambda: proxy.closed("finished") == 1, 5, "finished")
        assert proxy.stats()["to_upstream"] == proxy.stats()["to_client"] == [size, size, 0]
        return Moved(proxy.cpu_seconds(), proxy.resident() - resident)
