"""Names: private hosts files and a name server of our own, each in its own namespace."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from support.deadline import poll
from support.measurements import Record
from support.name_server import NXDOMAIN, SERVFAIL, NameServer
from support.namespaces import Namespace, Network
from support.peers import Address, Echo, bound_address, connect, echo, ending, fate, listener

from .conftest import Start

# RFC 8305: the second address starts 250 ms after the first. The rest is for a busy machine.
STAGGERED = 0.25 + 0.4


@contextmanager
def names(where: Namespace, code: int | None) -> Generator[NameServer]:
    """Name lookup of *where* goes to a name server of the test, and to /etc/hosts before it."""
    where.file("nsswitch.conf", "hosts: files dns\n")
    where.file("hosts", "127.0.0.1 localhost\n")
    where.file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    with where.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    with NameServer(sock, code) as server:
        yield server


@pytest.mark.parametrize(
    ("code", "reason"),
    [(NXDOMAIN, "name_not_found"), (SERVFAIL, "resolve_failed"), (None, "connect_timeout")],
    ids=["nxdomain", "servfail", "silence"],
)
def test_name_that_does_not_resolve(net: Network, start: Start, code: int | None, reason: str) -> None:
    """CN-09 and CN-10, with three kinds of failure: distinct reasons, and healthy connections do not notice."""
    with names(net.near, code), net.near.listener("127.0.0.1") as listening, Echo(listening) as upstream:
        proxy = start(
            {"forward": ["nothing.example", 80], "connect_timeout": 1.0},
            {"forward": upstream.address},
            prefix=net.near.prefix,
        )
        with net.near.connect(proxy.addresses[1]) as healthy:
            begin = time.monotonic()
            with net.near.connect(proxy.address) as client:
                assert echo(healthy, b"before") == b"before"
                assert ending(client) == ("reset", b"")
            assert time.monotonic() - begin < 2.0
            assert echo(healthy, b"after") == b"after"
        poll(lambda: proxy.closed(reason) == 1, 5, f"the reason is {reason}: {proxy.stats()['closed']}")
        lines = proxy.warned("nothing.example")
        assert len(lines) == 1, lines


def test_hanging_name_server_delays_no_other_server(net: Network, start: Start) -> None:
    """CN-10: A name server that hangs delays no other server, and occupies a bounded number of threads.

    With 100 lookups that hang; a name of the hosts file is still found, a bounded number of threads waits.
    """
    with names(net.near, None), net.near.listener("127.0.0.1") as listening, Echo(listening) as upstream:
        proxy = start(
            {"forward": ["nothing.example", 80], "connect_timeout": 3.0},
            {"forward": upstream.address},
            prefix=net.near.prefix,
        )
        hanging = [net.near.connect(proxy.address) for _ in range(100)]
        try:
            poll(lambda: proxy.stats()["active"] == 100, 5, "100 clients wait for a name")
            begin = time.monotonic()
            with net.near.connect(proxy.addresses[1]) as client:
                assert echo(client, b"hello") == b"hello"
            assert time.monotonic() - begin < 0.5
            poll(lambda: proxy.closed("connect_timeout") == 100, 10, "all are given up")
        finally:
            for sock in hanging:
                sock.close()


def test_names_without_an_answer_hold_up_no_other_name(net: Network, start: Start) -> None:
    """60 names whose lookups hang; one that was asked for before them is found as ever, and so is a new one."""
    with names(net.near, None) as server, net.near.listener("127.0.0.1") as listening, Echo(listening) as upstream:
        port = upstream.address[1]
        hanging = [{"forward": [f"silent{number}.example", port]} for number in range(60)]
        server.addresses |= {"known.example": "127.0.0.1", "new.example": "127.0.0.1"}
        good = [{"forward": [name, port]} for name in server.addresses]
        proxy = start(*good, *hanging, prefix=net.near.prefix)

        def echoes(address: Address) -> None:
            with net.near.connect(address) as client:
                client.settimeout(5.0)
                assert echo(client, b"hello") == b"hello"

        echoes(proxy.address)
        waiting = [net.near.connect(address) for address in proxy.addresses[2:]]
        try:
            # Far less than the 30 s after which the first of these lookups fails.
            echoes(proxy.addresses[1])
            poll(
                lambda: len({name for name in server.asked if name.startswith("silent")}) == 60, 10, "all are asked for"
            )
            echoes(proxy.address)
        finally:
            for sock in waiting:
                sock.close()


def test_no_name_server_at_all(net: Network, start: Start) -> None:
    """CN-09, with nobody who listens where resolv.conf points."""
    net.near.file("nsswitch.conf", "hosts: files dns\n")
    net.near.file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    proxy = start({"forward": ["nothing.example", 80]}, prefix=net.near.prefix)
    begin = time.monotonic()
    assert fate(lambda: net.near.connect(proxy.address)) == ("reset", b"")
    assert time.monotonic() - begin < 5.0
    poll(lambda: proxy.closed("resolve_failed") == 1, 5, f"the reason is counted: {proxy.stats()['closed']}")


def test_a_changed_address_is_followed(net: Network, start: Start) -> None:
    """CN-14: New connections follow a name's new address within seconds.

    The record changes while the proxy runs.
    """
    with names(net.near, NXDOMAIN) as server, net.far.listener("0.0.0.0") as listening:
        _, port = bound_address(listening)
        net.far.ip("address", "add", "10.77.0.3/24", "dev", "veth0")
        proxy = start({"forward": ["moving.example", port]}, prefix=net.near.prefix)

        def arrives_at() -> str:
            with net.near.connect(proxy.address):
                accepted, _ = listening.accept()
                with accepted:
                    return bound_address(accepted)[0]

        server.addresses["moving.example"] = net.far_address
        assert arrives_at() == net.far_address
        server.addresses["moving.example"] = "10.77.0.3"
        poll(lambda: arrives_at() == "10.77.0.3", 5, "new connections go to the new address")


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_first_address_dead_second_alive(net: Network, start: Start, family: str, record_property: Record) -> None:
    """CN-11 (two A records), CN-12 (AAAA first, and broken)."""
    dead = net.dead_address if family == "ipv4" else net.dead_address6
    net.near.file("hosts", f"{dead} target\n{net.far_address} target\n")
    net.near.file("nsswitch.conf", "hosts: files\n")
    with Echo(net.far.listener(net.far_address)) as upstream:
        proxy = start({"forward": ["target", upstream.address[1]]}, prefix=net.near.prefix)
        assert proxy.ask("lookup", "target") == [dead, net.far_address], "the dead address is tried first"
        taken: list[float] = []
        for _ in range(3):
            begin = time.monotonic()
            with net.near.connect(proxy.address) as client:
                assert echo(client, b"hello") == b"hello"
                taken.append(time.monotonic() - begin)
        record_property("taken", taken)
        assert min(taken) < STAGGERED
        poll(lambda: proxy.stats()["active"] == 0, 5, "the clients are gone")
        # The attempt that lost is not left behind.
        assert net.near.run("ss", "-Htn", "state", "syn-sent") == ""


def test_first_address_refuses_second_alive(net: Network, start: Start) -> None:
    """A refusal is an answer: the next address is tried at once, not after the stagger."""
    net.near.file("hosts", f"127.0.0.1 target\n{net.far_address} target\n")
    net.near.file("nsswitch.conf", "hosts: files\n")
    with Echo(net.far.listener(net.far_address)) as upstream:
        proxy = start({"forward": ["target", upstream.address[1]]}, prefix=net.near.prefix)
        order = proxy.ask("lookup", "target")
        assert set(order) == {"127.0.0.1", net.far_address}
        begin = time.monotonic()
        with net.near.connect(proxy.address) as client:
            assert echo(client, b"hello") == b"hello"
        assert time.monotonic() - begin < 0.25


def test_localhost_is_ipv6_first_and_the_server_ipv4_only(net: Network, start: Start) -> None:
    """CN-13."""
    net.near.file("hosts", "::1 localhost\n127.0.0.1 localhost\n")
    net.near.file("nsswitch.conf", "hosts: files\n")
    with Echo(net.near.listener("127.0.0.1")) as upstream:
        proxy = start({"forward": ["localhost", upstream.address[1]]}, prefix=net.near.prefix)
        with net.near.connect(proxy.address) as client:
            assert echo(client, b"hello") == b"hello"


def test_every_address_fails_and_the_message_has_them_all(net: Network, start: Start) -> None:
    net.near.file("hosts", "127.0.0.1 target\n127.0.0.2 target\n")
    net.near.file("nsswitch.conf", "hosts: files\n")
    with net.near.listener("127.0.0.1") as closed:
        _, port = bound_address(closed)
    proxy = start({"forward": ["target", port]}, prefix=net.near.prefix)
    assert fate(lambda: net.near.connect(proxy.address)) == ("reset", b"")
    poll(lambda: proxy.closed("refused") == 1, 5, "refused")
    assert len(proxy.warned("target")) == 1


def test_invalid_top_level_name_needs_no_network(start: Start) -> None:
    """`.invalid` never resolves (RFC 6761): without root, on any machine, the client is reset."""
    proxy = start({"forward": ["no-such-host.invalid", 80], "connect_timeout": 5.0})
    assert fate(lambda: connect(proxy.address)) == ("reset", b"")
    poll(lambda: proxy.stats()["active"] == 0, 5, "the connection is over")
    assert set(proxy.stats()["closed"]) <= {"name_not_found", "resolve_failed", "connect_timeout"}


def test_ipv6_only_upstream_by_literal(start: Start) -> None:
    """[::1] as a target, without any name."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        listening = listener("::1")
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with Echo(listening) as upstream:
        proxy = start({"forward": ["::1", upstream.address[1]]})
        with connect(proxy.address) as client:
            assert echo(client, b"hello") == b"hello"
