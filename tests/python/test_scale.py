"""Many connections, many connects, many bytes: everything arrives, and everything is given back afterwards."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.deadline import poll
from support.heavy_load import LoadProcess, exchange_random, upstream_process
from support.measurements import Record
from support.peers import Address, Served, connect
from support.proxies import ProxyProcess

MEBIBYTE = 1 << 20
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def echoing(tmp_path: Path, stack: ExitStack) -> Address:
    """An echoing upstream in a process of its own."""
    load, address = upstream_process(tmp_path)
    stack.enter_context(load)
    return address


def proxy_to(address: Address, folder: Path, stack: ExitStack) -> ProxyProcess:
    """A proxy in a process of its own, with every descriptor that may be had."""
    plan = {"soft_limit": HARD}
    return stack.enter_context(ProxyProcess(folder, [{"forward": address, "backlog": 4096}], plan=plan))


def test_five_thousand_connections_at_once(
    echoing: Address, stack: ExitStack, tmp_path: Path, record_property: Record
) -> None:
    count = 5000
    if 2 * count + 100 > HARD:
        pytest.skip(f"two descriptors each, and the hard limit of open files is {HARD}")
    proxy = proxy_to(echoing, tmp_path, stack)
    warm_up = 64
    with LoadProcess(tmp_path, "hold", *proxy.address, warm_up) as first:
        first.step(60)
        first.go_on()
        first.step(60)
    poll(lambda: proxy.stats()["active"] == 0, 20, "the first connections are over")
    idle, resident = proxy.descriptors(), proxy.resident()
    clients = stack.enter_context(LoadProcess(tmp_path, "hold", *proxy.address, count))
    assert clients.step(60) == {"open": count}
    assert proxy.stats()["active"] == count
    assert proxy.descriptors() == idle + 2 * count
    record_property("bytes_per_connection", (proxy.resident() - resident) / count)
    clients.go_on()
    assert clients.step(60) == {"closed": count}
    poll(lambda: proxy.stats()["active"] == 0, 20, "all connections are over")
    stats = proxy.stats()
    total = 128 * (count + warm_up)
    assert stats["closed"] == {"finished": count + warm_up}
    assert stats["to_upstream"] == stats["to_client"] == [total, total, 0]
    assert proxy.descriptors() == idle
    # The memory of the burst is given back within seconds, but for what the allocator's own books take.
    poll(lambda: proxy.resident() - resident < 4 * MEBIBYTE, 20, "memory is back where it was")


def test_fifty_thousand_connects(echoing: Address, stack: ExitStack, tmp_path: Path, record_property: Record) -> None:
    warm_up, count = 2000, 50_000
    proxy = proxy_to(echoing, tmp_path, stack)
    idle = proxy.descriptors()
    with LoadProcess(tmp_path, "churn", *proxy.address, warm_up, 64) as load:
        assert load.step(60)["done"] == warm_up
    poll(lambda: proxy.stats()["active"] == 0, 10, "all connections are over")
    resident = proxy.resident()
    with LoadProcess(tmp_path, "churn", *proxy.address, count, 64) as load:
        step = load.step(100)
        assert step["done"] == count
        record_property("seconds", step["seconds"])
    poll(lambda: proxy.stats()["active"] == 0, 10, "all connections are over")
    assert proxy.stats()["closed"] == {"finished": warm_up + count}
    assert proxy.descriptors() == idle
    grown = proxy.resident() - resident
    record_property("grown", grown)
    # That is 20 bytes a connection: whatever a connection leaks is more.
    assert grown < MEBIBYTE


def test_a_gibibyte_each_way_at_once(stack: ExitStack, tmp_path: Path, record_property: Record) -> None:
    size = 1024 * MEBIBYTE
    far: list[tuple[str, int, str]] = []
    served = stack.enter_context(Served(lambda sock: far.append(exchange_random(sock, size, 2))))
    proxy = proxy_to(served.address, tmp_path, stack)
    resident = proxy.resident()
    with connect(proxy.address, 60.0) as client:
        near = exchange_random(client, size, 1)
        poll(lambda: far, 20, "the upstream has everything")
    assert near[1] == far[0][1] == size
    assert near[2] == far[0][0]
    assert far[0][2] == near[0]
    poll(lambda: proxy.closed("finished") == 1, 5, "finished")
    assert proxy.stats()["to_upstream"] == proxy.stats()["to_client"] == [size, size, 0]
    record_property("cpu_seconds", proxy.cpu_seconds())
    # Whatever the size: a buffer per direction and per worker, no more.
    assert proxy.resident() - resident < 8 * MEBIBYTE
