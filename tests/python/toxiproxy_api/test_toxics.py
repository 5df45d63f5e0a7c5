"""Toxics do what toxiproxy says of them: in either stream, on connections that are there already, and until they go."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from interpose.toxiproxy import ToxiproxyApi
from support.deadline import poll
from support.peers import Address, Echo, connect, echo, ending, read_exactly
from support.toxiproxy_client import Client

STREAMS = ("downstream", "upstream")
both = pytest.mark.parametrize("stream", STREAMS)


def seconds_of(sock: socket.socket, data: bytes = b"hello") -> float:
    begin = time.monotonic()
    assert echo(sock, data) == data
    return time.monotonic() - begin


@both
def test_latency_delays_a_live_connection_until_it_is_changed(client: Client, upstream: Echo, stream: str) -> None:
    with connect(client.proxy(upstream.address)) as sock:
        echo(sock, b"first")
        client.toxic("latency", stream=stream, latency=200)
        assert seconds_of(sock) >= 0.2
        client.done("PATCH", f"/proxies/redis/toxics/latency_{stream}", {"attributes": {"latency": 400}})
        assert seconds_of(sock) >= 0.4
        client.done("DELETE", f"/proxies/redis/toxics/latency_{stream}")
        assert seconds_of(sock) < 0.2


def test_two_of_one_type_add_up(client: Client, upstream: Echo) -> None:
    with connect(client.proxy(upstream.address)) as sock:
        client.toxic("latency", latency=100)
        body = {"type": "latency", "name": "second", "attributes": {"latency": 100}}
        client.done("POST", "/proxies/redis/toxics", body)
        client.toxic("latency", stream="upstream", latency=100)
        assert seconds_of(sock) >= 0.3


@both
def test_bandwidth_counts_thousands_of_bytes(client: Client, upstream: Echo, stream: str) -> None:
    with connect(client.proxy(upstream.address)) as sock:
        client.toxic("bandwidth", stream=stream, rate=100)
        # A tenth of a second's bytes may pass at once.
        assert seconds_of(sock, b"x" * 40_000) >= 0.25


@both
def test_limit_data_lets_exactly_so_many_bytes_through(client: Client, upstream: Echo, stream: str) -> None:
    address = client.proxy(upstream.address)
    client.toxic("limit_data", stream=stream, bytes=100_001)
    with connect(address) as sock:
        sock.sendall(b"x" * 100_000)
        assert read_exactly(sock, 100_000) == b"x" * 100_000
        sock.sendall(b"yz")
        how, rest = ending(sock)
        assert how == "eof"
        # What reaches the upstream last may have no time to come back.
        assert rest == b"y" if stream == "downstream" else rest in (b"", b"y")


@both
def test_reset_peer_resets_and_nothing_else(client: Client, upstream: Echo, stream: str) -> None:
    address = client.proxy(upstream.address)
    client.toxic("reset_peer", stream=stream, timeout=10)
    for _ in range(20):
        with connect(address) as sock:
            assert ending(sock)[0] == "reset"


@both
def test_timeout_swallows_and_closes(client: Client, upstream: Echo, stream: str) -> None:
    address = client.proxy(upstream.address)
    client.toxic("timeout", stream=stream, timeout=200)
    with connect(address) as sock:
        begin = time.monotonic()
        sock.sendall(b"hello")
        assert ending(sock) == ("eof", b"")
        assert time.monotonic() - begin >= 0.15


def _by_delete(client: Client, stream: str) -> None:
    client.done("DELETE", f"/proxies/redis/toxics/timeout_{stream}")


def _by_reset(client: Client, _: str) -> None:
    client.done("POST", "/reset")


@both
@pytest.mark.parametrize("end", [_by_delete, _by_reset])
def test_a_timeout_that_is_taken_away_closes_its_connections(
    client: Client, api: ToxiproxyApi, upstream: Echo, stream: str, end: Callable[[Client, str], None]
) -> None:
    address = client.proxy(upstream.address)
    client.toxic("timeout", stream=stream, timeout=0)
    with connect(address) as sock:
        sock.sendall(b"hello")
        server = api.servers["redis"]
        poll(lambda: server.stats.to_upstream.dropped + server.stats.to_client.dropped or None, 5.0, "it is swallowed")
        end(client, stream)
        assert ending(sock) == ("eof", b"")
    with connect(address) as sock:
        assert echo(sock, b"hello") == b"hello"


@both
def test_slow_close_delays_the_end(client: Client, upstream: Echo, stream: str) -> None:
    address = client.proxy(upstream.address)
    client.toxic("slow_close", stream=stream, delay=200)
    with connect(address) as sock:
        sock.sendall(b"hello")
        begin = time.monotonic()
        sock.shutdown(socket.SHUT_WR)
        assert ending(sock) == ("eof", b"hello")
        assert time.monotonic() - begin >= 0.2


@both
def test_slicer_pauses_between_pieces(client: Client, upstream: Echo, stream: str) -> None:
    with connect(client.proxy(upstream.address)) as sock:
        client.toxic("slicer", stream=stream, average_size=10, size_variation=0, delay=20_000)
        assert seconds_of(sock, b"x" * 100) >= 0.15


def test_a_noop_does_nothing(client: Client, api: ToxiproxyApi, upstream: Echo) -> None:
    address = client.proxy(upstream.address)
    client.toxic("noop")
    with connect(address) as sock:
        assert echo(sock, b"hello") == b"hello"
    assert api.servers["redis"].faults == ()


def _fates(address: Address, count: int) -> list[bool]:
    """Return for some connections, one after the other, whether each was cut."""
    found: list[bool] = []
    for _ in range(count):
        with connect(address) as sock:
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            found.append(ending(sock)[1] == b"")
    return found


def test_toxicity_is_a_share_that_the_seed_fixes(client: Client, upstream: Echo) -> None:
    body = {"type": "limit_data", "toxicity": 0.5, "attributes": {"bytes": 0}}
    runs: list[list[bool]] = []
    for name in ("one", "two"):
        address = client.proxy(upstream.address, name)
        client.done("POST", f"/proxies/{name}/toxics", body)
        runs.append(_fates(address, 30))
    assert runs[0] == runs[1]
    assert 5 <= sum(runs[0]) <= 25


def test_toxics_that_come_while_it_is_disabled_hold_when_it_is_back(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address)
    client.done("POST", "/proxies/redis", {"enabled": False})
    client.toxic("limit_data", bytes=2)
    client.done("POST", "/proxies/redis", {"enabled": True})
    with connect(address) as sock:
        sock.sendall(b"hello")
        assert ending(sock) == ("eof", b"he")


def test_others_go_on_where_one_is_changed(client: Client, api: ToxiproxyApi, upstream: Echo) -> None:
    client.proxy(upstream.address)
    client.toxic("latency", latency=5)
    client.toxic("limit_data", bytes=10)
    latency, limit = api.servers["redis"].faults
    client.done("PATCH", "/proxies/redis/toxics/latency_downstream", {"attributes": {"latency": 6}})
    changed, same = api.servers["redis"].faults
    assert changed is not latency
    assert same is limit
    client.done("PATCH", "/proxies/redis/toxics/latency_downstream", {"attributes": {"latency": 6}})
    assert api.servers["redis"].faults == (changed, limit)
