"""Many connections, many connects, many bytes: everything arrives, and everything is given back afterwards."""

from __future__ import annotations

from pathlib import Path

from support.deadline import poll
from support.measurements import Record
from support.scale import MEBIBYTE, connect_many, hold_at_once, move_both_ways, proxy_to_an_echo


def test_five_thousand_connections_at_once(tmp_path: Path, record_property: Record) -> None:
    with proxy_to_an_echo(tmp_path) as proxy:
        held = hold_at_once(proxy, tmp_path, 5000)
        record_property("bytes_per_connection", held.bytes_per_connection)
        # The memory of the burst is given back within seconds, but for what the allocator's own books take.
        poll(lambda: proxy.resident() - held.resident_before < 4 * MEBIBYTE, 20, "memory is back where it was")


def test_fifty_thousand_connects(tmp_path: Path, record_property: Record) -> None:
    with proxy_to_an_echo(tmp_path) as proxy:
        connected = connect_many(proxy, tmp_path, warm_up=2000, count=50_000)
    record_property("seconds", connected.seconds)
    record_property("grown", connected.grown)
    # That is 20 bytes a connection: whatever a connection leaks is more.
    assert connected.grown < MEBIBYTE


def test_a_gibibyte_each_way_at_once(tmp_path: Path, record_property: Record) -> None:
    moved = move_both_ways(tmp_path, 1024 * MEBIBYTE)
    record_property("cpu_seconds", moved.cpu_seconds)
    # Whatever the size: a buffer per direction and per worker, no more.
    assert moved.grown < 8 * MEBIBYTE
