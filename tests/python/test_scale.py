"""Hundreds of connections, thousands of connects, a large stream: all arrives, and all is given back afterwards.

The sizes that take long are in `long/test_scale.py`.
"""

from __future__ import annotations

from pathlib import Path

from support.scale import MEBIBYTE, connect_many, hold_at_once, move_both_ways, proxy_to_an_echo


def test_connections_at_once_take_two_descriptors_each_and_no_buffer(tmp_path: Path) -> None:
    with proxy_to_an_echo(tmp_path) as proxy:
        held = hold_at_once(proxy, tmp_path, 500)
    # An idle connection has no buffer: it takes about two thousand bytes.
    assert held.bytes_per_connection < 8192


def test_connects_leave_nothing_behind(tmp_path: Path) -> None:
    with proxy_to_an_echo(tmp_path) as proxy:
        connected = connect_many(proxy, tmp_path, warm_up=1000, count=3000)
    # That is 87 bytes a connection, and what a connection takes while it lives is far more.
    assert connected.grown < MEBIBYTE // 4


def test_bytes_both_ways_at_once_take_a_few_buffers(tmp_path: Path) -> None:
    moved = move_both_ways(tmp_path, 64 * MEBIBYTE)
    assert moved.grown < 8 * MEBIBYTE
