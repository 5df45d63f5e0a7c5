"""A minute of resets as fast as they can be made, and a gibibyte offered to an upstream that never reads."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.deadline import poll
from support.measurements import Record
from support.peers import connect, listener, reset
from support.proxies import ProxyProcess

SECONDS = 60.0
MEBIBYTE = 1 << 20


@pytest.mark.timeout(240)
def test_reset_storm(tmp_path: Path, record_property: Record) -> None:
    """RS-12: A minute of resets leaves descriptors as they were, memory flat and the log short."""
    with listener() as listening, ExitStack() as stack:
        listening.setblocking(False)
        proxy = stack.enter_context(ProxyProcess(tmp_path, [{"forward": listening.getsockname()}]))
        idle, count = proxy.descriptors(), 0
        resident: list[int] = []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for _ in range(500):
                reset(connect(proxy.address))
                try:
                    listening.accept()[0].close()
                except BlockingIOError:
                    pass
            count += 500
            resident.append(proxy.resident())
        while proxy.stats()["active"]:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                time.sleep(0.01)
        record_property("resets_per_second", count / SECONDS)
        assert proxy.stats()["accepted"] == count
        assert proxy.descriptors() == idle
        assert max(resident[-10:]) - max(resident[:10]) < 2 * MEBIBYTE
        assert len(proxy.log().splitlines()) <= SECONDS + 2


@pytest.mark.timeout(240)
def test_stalled_for_a_minute(tmp_path: Path) -> None:
    """BP-01 and BP-03, at length: 500 clients push against upstreams that never read; memory stands still."""
    with listener() as listening, ExitStack() as stack:
        proxy = stack.enter_context(ProxyProcess(tmp_path, [{"forward": listening.getsockname()}]))
        clients = [stack.enter_context(connect(proxy.address)) for _ in range(500)]
        for _ in clients:
            stack.enter_context(listening.accept()[0])
        for client in clients:
            client.setblocking(False)
        poll(lambda: proxy.stats()["active"] == 500, 10, "all are connected")
        resident: list[int] = []
        end = time.monotonic() + SECONDS
        block = bytes(256 << 10)
        while time.monotonic() < end:
            for client in clients:
                try:
                    client.send(block)
                except BlockingIOError:
                    pass
            resident.append(proxy.resident())
            time.sleep(0.5)  # the distance between two samples
        later = resident[len(resident) // 3 :]
        assert max(later) - min(later) < 2 * MEBIBYTE
        # One buffer for each stalled direction, and no more, however much is offered.
        assert max(resident) < 500 * (256 << 10) + 64 * MEBIBYTE
        assert proxy.cpu_share(2.0) < 0.05
