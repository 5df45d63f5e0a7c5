"""Faults that concern clients before their bytes, and those of a schedule."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from interpose import ArgumentTypeError, CloseReason, ConfigError, Forward, TheServer, faults
from support.peers import Echo, connect, echo, ending

DEADLINE = 10.0


def is_refused(address: Any) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


def until(condition: Callable[[], bool]) -> float:
    """Return the seconds until the condition holds."""
    begun = time.perf_counter()
    while not condition():
        assert time.perf_counter() - begun < DEADLINE
        time.sleep(0.01)
    return time.perf_counter() - begun


def test_clients_are_refused_while_the_fault_is_there_and_the_port_stays(upstream: Echo) -> None:
    with TheServer("", 0, upstream.address, faults=[faults.RefuseConnect()]) as server:
        assert is_refused(server.address)
        assert not server.is_listening
        server.faults = ()
        with connect(server.address) as client:
            assert echo(client, b"1") == b"1"
            with server.fault(faults.RefuseConnect(), faults.RefuseConnect()):
                assert is_refused(server.address)
                assert echo(client, b"2") == b"2"
            assert not is_refused(server.address)


def test_the_users_pause_and_the_faults_hold_apart(upstream: Echo) -> None:
    with TheServer("", 0, upstream.address) as server:
        server.pause_listening()
        with server.fault(faults.RefuseConnect()):
            server.resume_listening()
            assert is_refused(server.address)
            server.pause_listening()
        assert is_refused(server.address)
        server.resume_listening()
        assert not is_refused(server.address)


def test_a_server_that_is_not_started_refuses_too(upstream: Echo) -> None:
    server = TheServer("", 0, upstream.address, faults=[faults.RefuseConnect()])
    assert is_refused(server.address)
    server.faults = ()
    with server:
        assert not is_refused(server.address)


def test_connecting_is_late(upstream: Echo) -> None:
    slow = faults.SlowConnect(0.3, times=1)
    with TheServer("", 0, upstream.address, faults=[slow]) as server:
        for least, most in ((0.3, DEADLINE), (0.0, 0.3)):
            # Before the client connects: the delay begins when it is accepted.
            begun = time.perf_counter()
            with connect(server.address) as client:
                assert echo(client, b"1") == b"1"
                assert least <= time.perf_counter() - begun < most
    assert slow.strikes == 1


def test_connecting_that_is_later_than_its_limit_fails_at_that(upstream: Echo) -> None:
    target = Forward(upstream.address[0], upstream.address[1], connect_timeout=0.05)
    with TheServer("", 0, target, faults=[faults.SlowConnect(60, only=lambda conn: conn.id == 1)]) as server:
        with connect(server.address) as client:
            assert ending(client)[0] in ("eof", "reset")
        with connect(server.address) as client:
            assert echo(client, b"1") == b"1"
    assert server.stats.closed[CloseReason.CONNECT_TIMEOUT] == 1


def test_a_server_goes_down_and_comes_back(upstream: Echo) -> None:
    with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
        assert echo(client, b"1") == b"1"
        with server.fault(faults.Flap([0.1, 0.1])):
            assert ending(client) == ("reset", b"")
            until(lambda: is_refused(server.address))
            until(lambda: not is_refused(server.address))
            until(lambda: is_refused(server.address))
        assert not is_refused(server.address)


def test_an_entrance_goes_down_and_connections_go_on(upstream: Echo) -> None:
    with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
        assert echo(client, b"1") == b"1"
        with server.fault(faults.Flap(0.1, down="entrance")):
            until(lambda: is_refused(server.address))
            assert echo(client, b"2") == b"2"


def test_a_link_goes_down_and_loses_nothing(upstream: Echo) -> None:
    flap = faults.Flap([0.05, 0.1], down="link")
    with TheServer("", 0, upstream.address, faults=[flap]) as server, connect(server.address) as client:
        slowest, begun = 0.0, time.perf_counter()
        while time.perf_counter() - begun < 0.4:
            sent = time.perf_counter()
            assert echo(client, b"ping") == b"ping"
            slowest = max(slowest, time.perf_counter() - sent)
        assert slowest >= 0.08
        assert not is_refused(server.address)


def test_a_schedule_begins_when_it_is_put_in_force(upstream: Echo) -> None:
    flap = faults.Flap([0.3, 30], down="entrance")
    with TheServer("", 0, upstream.address) as server:
        with server.fault(flap):
            assert not is_refused(server.address)
            until(lambda: is_refused(server.address))
        with server.fault(flap):
            assert not is_refused(server.address)
    link = faults.Flap([0.1, 30], down="link")
    with TheServer("", 0, upstream.address, faults=[link], drain=0) as server, connect(server.address) as client:
        time.sleep(0.15)  # the length of a part of the schedule
        client.sendall(b"x")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_wrong_arguments_are_named() -> None:
    for make, kind, wanted in (
        (lambda: faults.RefuseConnect(nth=2), ArgumentTypeError, "nth"),  # type: ignore[call-arg]
        (lambda: faults.SlowConnect(1, direction="both"), ArgumentTypeError, "direction"),  # type: ignore[call-arg]
        (lambda: faults.SlowConnect(-1), ConfigError, "delay"),
        (lambda: faults.Flap([1.0]), ConfigError, "by turns"),
        (lambda: faults.Flap([]), ConfigError, "by turns"),
        (lambda: faults.Flap(0), ConfigError, "by turns"),
        (lambda: faults.Flap("1s"), ArgumentTypeError, "list of seconds"),  # type: ignore[arg-type]
        (lambda: faults.Flap(1, down="client"), ConfigError, "down"),  # type: ignore[arg-type]
    ):
        with pytest.raises(kind, match=wanted):
            make()
