"""Connecting over a network that swallows, refuses or delays: bounded, named, and nobody else's problem."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from functools import partial

import pytest
from support.deadline import poll
from support.measurements import Record, percentile
from support.namespaces import Network
from support.peers import Echo, Served, connect, ending, fate, latencies, read_exactly, reset
from support.proxies import ProxyProcess

from .conftest import Start

DEAD = [Network.dead_address, 7777]


def half_open(net: Network) -> str:
    """Sockets of the proxy's machine that still wait for an answer to their SYN."""
    return net.near.run("ss", "-Htn", "state", "syn-sent")


def has_closed(proxy: ProxyProcess, reason: str, count: int) -> bool:
    """Whether that many connections have ended with *reason*."""
    return proxy.closed(reason) == count


def test_silent_upstream_is_given_up_at_the_bound(net: Network, start: Start) -> None:
    """CN-02."""
    proxy = start({"forward": DEAD, "connect_timeout": 1.0}, prefix=net.near.prefix)
    begin = time.monotonic()
    assert fate(lambda: net.near.connect(proxy.address)) == ("reset", b"")
    taken = time.monotonic() - begin
    assert 0.95 <= taken <= 1.6
    poll(lambda: proxy.closed("connect_timeout") == 1, 5, "the reason is counted")
    lines = proxy.warned(f"{DEAD[0]}:{DEAD[1]}")
    assert len(lines) == 1, lines
    assert "1 s" in lines[0] or "1.0 s" in lines[0]
    assert half_open(net) == ""


def test_client_that_resets_ends_the_attempt(net: Network, start: Start) -> None:
    """CN-04."""
    proxy = start({"forward": DEAD}, prefix=net.near.prefix)
    client = net.near.connect(proxy.address)
    poll(lambda: half_open(net), 5, "the attempt is under way")
    reset(client)
    begin = time.monotonic()
    poll(lambda: not half_open(net), 5, "no socket is left in SYN_SENT")
    # 100 ms is the promise; `ss` itself takes some.
    assert time.monotonic() - begin < 0.4
    poll(lambda: proxy.closed("client_gone") == 1, 5, "the reason is counted")


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("unreachable", {"unreachable"}),
        ("prohibit", {"unreachable", "connect_failed"}),
        ("blackhole", {"unreachable", "connect_failed"}),
    ],
)
def test_routes_that_lead_nowhere(net: Network, start: Start, kind: str, reasons: set[str]) -> None:
    """CN-03: A route that leads nowhere is reported at once, in the kernel's words, and tried once.

    Three kinds of route.
    """
    net.near.ip("route", "add", kind, "10.78.0.0/24")
    proxy = start({"forward": ["10.78.0.1", 80]}, prefix=net.near.prefix)
    begin = time.monotonic()
    assert fate(lambda: net.near.connect(proxy.address)) == ("reset", b"")
    assert time.monotonic() - begin < 1.0
    poll(lambda: proxy.stats()["active"] == 0, 5, "the connection is over")
    closed = proxy.stats()["closed"]
    assert sum(closed.values()) == 1
    assert set(closed) <= reasons
    lines = proxy.warned("10.78.0.1:80")
    assert len(lines) == 1, lines


def test_no_route_at_all(net: Network, start: Start) -> None:
    """ENETUNREACH: the machine has no default route."""
    proxy = start({"forward": ["192.0.2.7", 80]}, prefix=net.near.prefix)
    assert fate(lambda: net.near.connect(proxy.address)) == ("reset", b"")
    poll(lambda: proxy.closed("unreachable") == 1, 5, "the reason is counted")


def test_reject_by_a_firewall_on_the_way(net: Network, start: Start) -> None:
    """ICMP administratively prohibited and host unreachable come back from the other machine."""
    proxy = start({"forward": [net.far_address, 80]}, prefix=net.near.prefix)
    for number, kind in enumerate(("host-unreachable", "admin-prohibited"), start=1):
        net.far.firewall(f"tcp dport 80 reject with icmp type {kind}")
        assert fate(lambda: net.near.connect(proxy.address)) == ("reset", b"")
        poll(partial(has_closed, proxy, "unreachable", number), 5, f"unreachable by {kind}")


def test_black_holed_upstream_is_nobody_elses_problem(net: Network, start: Start, record_property: Record) -> None:
    """CN-05, with 100 clients of a dead upstream beside a healthy one, in the same process and the same listener."""
    with Echo(net.far.listener(net.far_address)) as upstream, ExitStack() as stack:
        healthy = {"forward": upstream.address}
        proxy = start(healthy, {"forward": DEAD}, prefix=net.near.prefix)
        old = [stack.enter_context(net.near.connect(proxy.address)) for _ in range(10)]
        quiet = [percentile(latencies(old[0], 300), 0.99) for _ in range(3)]
        # From here on this upstream takes no new connection either, so half of the dead ones share the listener.
        net.far.firewall("tcp flags & (syn | ack) == syn drop")
        for number in range(100):
            stack.enter_context(net.near.connect(proxy.addresses[number % 2]))
        poll(lambda: len(half_open(net).splitlines()) == 100, 10, "100 attempts hang")

        def undisturbed() -> bool:
            busy = percentile(latencies(old[0], 300), 0.99)
            record_property("p99_quiet_busy", (min(quiet), busy))
            return busy - min(quiet) < 0.005

        # The machine has other things to do, so one window in many may be the good one. A proxy that dials where it
        # accepts or reads has none.
        poll(undisturbed, 20, "5 ms at most are added to the p99 of a healthy connection")
        for sock in old:
            assert latencies(sock, 1)
        assert proxy.stats()["active"] == 60
        assert proxy.cpu_share(0.5) < 0.05


def test_bytes_and_fin_sent_while_connecting_arrive(net: Network, start: Start) -> None:
    """CN-06 and HC-06, with 1 MB and FIN before the upstream has answered the SYN."""
    payload = bytes(range(256)) * 4096
    received: list[bytes] = []

    def upstream(sock: socket.socket) -> None:
        how, data = ending(sock)
        received.append(data)
        sock.sendall(how.encode())

    with Served(upstream, net.far.listener(net.far_address)) as served:
        net.far.firewall("tcp flags & (syn | ack) == syn drop")
        proxy = start({"forward": served.address}, prefix=net.near.prefix)
        with net.near.connect(proxy.address) as client:

            def send() -> None:
                client.sendall(payload)
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            poll(lambda: half_open(net), 5, "the first SYN is lost")
            # Nothing of it may be read into the process while nobody can take it.
            assert proxy.stats()["to_upstream"] == [0, 0, 0]
            net.far.firewall()
            assert read_exactly(client, 3) == b"eof"
            assert ending(client) == ("eof", b"")
            sender.join(5.0)
    assert received == [payload]
    poll(lambda: proxy.closed("finished") == 1, 5, "finished")
    assert proxy.stats()["to_upstream"] == [len(payload), len(payload), 0]


def test_full_backlog_of_the_upstream(start: Start) -> None:
    """CN-23: An upstream whose backlog is full: each client is connected or given up, and none is left over.

    An upstream that listens with a backlog of 1 and never accepts.
    """
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(1)
        proxy = start({"forward": full.getsockname(), "connect_timeout": 1.0})
        for _ in range(50):
            stack.enter_context(connect(proxy.address))
        poll(lambda: proxy.closed("connect_timeout") >= 40, 10, "those that found no room are given up")
        assert proxy.stats()["active"] == 50 - proxy.closed("connect_timeout")
