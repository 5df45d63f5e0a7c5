"""Accepting at the limit: out of descriptors, at max_connections, and in a burst."""

from __future__ import annotations

import resource
import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.deadline import poll
from support.measurements import Record, percentile
from support.peers import Echo, connect, echo, fate, latencies
from support.proxies import ProxyProcess

from .conftest import Start

WAITING = 200
# The promise is 250 ms; the rest is for a machine that runs other tests beside this one.
RESUMED_WITHIN = 0.25
NOISE = 0.5


def served_first(waiting: list[socket.socket], seconds: float) -> tuple[list[socket.socket], list[socket.socket]]:
    """Wait until waiting clients become readable; those that got their echo, and those that were reset."""
    good: list[socket.socket] = []
    bad: list[socket.socket] = []
    with selectors.DefaultSelector() as selector:
        for sock in waiting:
            selector.register(sock, selectors.EVENT_READ)
        for key, _ in selector.select(seconds):
            assert isinstance(key.fileobj, socket.socket)
            sock = key.fileobj
            try:
                (good if sock.recv(16) == b"waiting" else bad).append(sock)
            except ConnectionError:
                bad.append(sock)
    return good, bad


def serve_all(clients: list[socket.socket], seconds: float) -> int:
    """How many clients are answered (not reset) before the time is over."""
    left, answered = list(clients), 0
    end = time.monotonic() + seconds
    while left and time.monotonic() < end:
        good, bad = served_first(left, 0.5)
        answered += len(good)
        left = [sock for sock in left if sock not in good and sock not in bad]
    return answered


class Exhausted:
    """A proxy whose five connections took every descriptor, and clients that wait behind them."""

    def __init__(self, proxy: ProxyProcess, stack: ExitStack) -> None:
        self.proxy = proxy
        with connect(proxy.address) as first:
            # Whatever is opened lazily is open before the descriptors are counted.
            assert echo(first, b"first") == b"first"
        poll(lambda: proxy.stats()["active"] == 0, 5, "the first client is gone")
        proxy.ask("room", 10)
        self.old: list[socket.socket] = []
        for number in range(5):
            self.old.append(stack.enter_context(connect(proxy.address)))
            assert echo(self.old[-1], b"old %d" % number) == b"old %d" % number
        self.lines_before = len(proxy.log().splitlines())
        self.begin = time.monotonic()
        self.waiting: list[socket.socket] = []
        for _ in range(WAITING):
            self.waiting.append(stack.enter_context(connect(proxy.address)))
            self.waiting[-1].sendall(b"waiting")
        poll(lambda: proxy.stats()["accept_paused"], 5, "the listener pauses")

    def log_lines(self) -> int:
        """Lines logged since the clients began to wait."""
        return len(self.proxy.log().splitlines()) - self.lines_before

    def elapsed(self) -> float:
        """Seconds since the clients began to wait."""
        return time.monotonic() - self.begin


@pytest.fixture
def exhausted(echo_upstream: Echo, start: Start) -> Iterator[Exhausted]:
    """A soft limit ten above what is open, and 200 clients."""
    with ExitStack() as stack:
        yield Exhausted(start({"forward": echo_upstream.address}), stack)


def test_out_of_descriptors_neither_spins_nor_floods_the_log(exhausted: Exhausted, record_property: Record) -> None:
    """AC-01: Out of descriptors, the listener waits without spinning, and connections that live go on."""
    share = exhausted.proxy.cpu_share(2.0)
    lines, seconds = exhausted.log_lines(), exhausted.elapsed()
    stats = exhausted.proxy.stats()
    record_property("cpu_share", share)
    assert share < 0.05
    assert 1 <= lines <= 1 + seconds, exhausted.proxy.log()
    assert stats["accept_paused"]
    # The back-off is 10 ms growing to 500 ms: some tries a second, not thousands.
    assert 1 <= stats["accept_errors"] <= 10 + 20 * seconds
    for sock in exhausted.old:
        assert echo(sock, b"still here") == b"still here"
    assert served_first(exhausted.waiting, 0.0) == ([], []), "waiting clients are left alone"


def test_accepts_again_soon_after_a_descriptor_frees(exhausted: Exhausted, record_property: Record) -> None:
    """AC-06: Accepting goes on soon after a descriptor is free again."""
    taken: list[float] = []
    for sock in exhausted.old[:4]:
        begin = time.monotonic()
        sock.close()
        good, bad = served_first(exhausted.waiting, 5.0)
        taken.append(time.monotonic() - begin)
        assert good, "a waiting client is served by the descriptors of the one that left"
        assert not bad, "and no other client is sacrificed for it"
        exhausted.waiting = [sock for sock in exhausted.waiting if sock not in good]
        poll(lambda: exhausted.proxy.stats()["accept_paused"], 5, "full again")
    record_property("resumed", taken)
    assert statistics.median(taken) <= RESUMED_WITHIN + 0.05, taken
    assert max(taken) <= RESUMED_WITHIN + NOISE, taken
    assert echo(exhausted.old[4], b"still here") == b"still here"


def test_everybody_is_served_when_the_limit_is_lifted(exhausted: Exhausted) -> None:
    exhausted.proxy.ask("room", 1000)
    assert serve_all(exhausted.waiting, 10.0) == WAITING
    stats = exhausted.proxy.stats()
    assert not stats["accept_paused"]
    assert stats["active"] == WAITING + 5


def test_no_descriptor_for_the_upstream_socket(echo_upstream: Echo, start: Start) -> None:
    """AC-04: Without a descriptor for the upstream, that client alone is reset, with the reason.

    The next one is served.
    """
    proxy = start({"forward": echo_upstream.address})
    with connect(proxy.address) as old:
        assert echo(old, b"old") == b"old"
        proxy.ask("room", 1)
        assert fate(lambda: connect(proxy.address)) == ("reset", b"")
        poll(lambda: proxy.closed("fd_exhausted") == 1, 5, "the reason is counted")
        assert len(proxy.warned("cannot connect", "open files")) == 1
        assert echo(old, b"still here") == b"still here"
        proxy.ask("room", 10)
        with connect(proxy.address) as lucky:
            assert echo(lucky, b"lucky") == b"lucky"


@pytest.mark.parametrize("soft", [100, 256, 1024, 20_000])
def test_default_limit_leaves_room_for_pairs(echo_upstream: Echo, start: Start, soft: int) -> None:
    """AC-05: The default limit of connections leaves two descriptors for each, and 64 in reserve.

    It is 10,000 at most.
    """
    if soft > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
        pytest.skip(f"the hard limit of open files is under {soft}")
    proxy = start({"forward": echo_upstream.address}, plan={"soft_limit": soft})
    assert proxy.stats()["max_connections"] == min(10_000, (soft - 64) // 2)


def test_default_limit_keeps_out_of_exhaustion(echo_upstream: Echo, start: Start) -> None:
    """AC-05, with more clients than the descriptors carry: those inside work, the others wait, nobody is reset."""
    proxy = start({"forward": echo_upstream.address}, plan={"soft_limit": 128})
    limit = proxy.stats()["max_connections"]
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy.address)) for _ in range(limit + 50)]
        for sock in clients:
            sock.sendall(b"waiting")
        assert serve_all(clients[:limit], 5.0) == limit
        assert served_first(clients[limit:], 0.0) == ([], [])
        stats = proxy.stats()
        assert (stats["active"], stats["accept_errors"], stats["closed"]) == (limit, 0, {})


def test_max_connections_makes_the_rest_wait_in_order(echo_upstream: Echo, start: Start) -> None:
    """AC-07; and of each time that somebody waited for a place the statistics know, of the first the log."""
    begin = time.monotonic()
    proxy = start({"forward": echo_upstream.address, "limits": {"max_connections": 100}})
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy.address)) for _ in range(150)]
        for sock in clients:
            sock.sendall(b"waiting")
        assert serve_all(clients[:100], 5.0) == 100
        assert served_first(clients[100:], 0.2) == ([], [])
        assert proxy.stats()["active"] == 100
        for at in range(100, 150):
            clients[at - 100].close()
            assert serve_all([clients[at]], 5.0) == 1, f"client {at} is next"
        assert proxy.stats()["active"] == 100
        assert proxy.stats()["max_connections"] == 100
        # One of the 50 waited each time; when the last of them is in nobody does.
        assert proxy.stats()["max_connections_reached"] == 50
        lines = [line for line in proxy.log().splitlines() if "max_connections (100) is reached" in line]
        assert 1 <= len(lines) <= 1 + time.monotonic() - begin, lines


def test_a_burst_of_clients_does_not_starve_an_old_one(
    echo_upstream: Echo, start: Start, record_property: Record
) -> None:
    """AC-10: A burst of clients does not starve a connection that lives.

    2,000 connects at once while one connection plays ping-pong.
    """
    proxy = start({"forward": echo_upstream.address, "backlog": 4096})
    with ExitStack() as stack:
        old = stack.enter_context(connect(proxy.address))
        latencies(old, 100)
        burst: list[socket.socket] = []
        for _ in range(2000):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(proxy.address)
            burst.append(sock)
        taken = latencies(old, 200)
        poll(lambda: proxy.stats()["active"] == 2001, 10, "the whole burst is connected")
        taken += latencies(old, 200)
        record_property("ping_p99", percentile(taken, 0.99))
        # The burst shares the upstream's thread and the test's cores too, so this is about starvation, not speed.
        assert max(taken) < 1.0
        for number, sock in enumerate(burst):
            sock.settimeout(5.0)
            text = b"client %d" % number
            assert echo(sock, text) == text
