"""Faults in tests: on a proxy, by a mark, and the same again by a seed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from interpose import ConfigError, faults
from interpose.testing import Proxy
from support.peers import Echo, connect, read_exactly


def test_faults_come_and_go_and_strike_where_the_transcript_says(proxy: Proxy) -> None:
    cut = faults.Cut(after_bytes=3, direction="to_client", how="reset")
    with proxy.fault(cut) as first:
        assert first is cut
        assert proxy.faults == (cut,)
        with connect(proxy.address) as client:
            client.sendall(b"hello")
            assert read_exactly(client, 3) == b"hel"
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert [one.reason for one in proxy.wait_closed()] == ["fault"]
    assert (len(proxy.faults), cut.strikes) == (0, 1)
    struck = [(event.connection, event.direction, event.text) for event in proxy.transcript if event.kind == "fault"]
    shown = "Cut(after_bytes=3, how='reset', direction='to_client')"
    assert [(number, way) for number, way, _ in struck] == [(1, "to_client")]
    assert f"{struck[0][2]} strikes to_client" in str(proxy.transcript)
    assert set(re.findall(r"\w+=", struck[0][2])) == set(re.findall(r"\w+=", shown))
    notes = [event.text for event in proxy.transcript if event.kind == "note"]
    assert notes == [f"{struck[0][2]} added", f"{struck[0][2]} removed"]
    with connect(proxy.address) as client:
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"hello"


@pytest.mark.parametrize("direction", ["to_upstream", "to_client"])
def test_the_second_attempt_works(proxy: Proxy, direction: faults.Direction) -> None:
    proxy.add(reset := faults.Reset(on_match=b"GET", times=1, direction=direction))
    with connect(proxy.address) as client:
        client.sendall(b"GET")
        with pytest.raises(ConnectionResetError):
            while client.recv(100):
                pass
    with connect(proxy.address) as client:
        client.sendall(b"GET")
        assert read_exactly(client, 3) == b"GET"
    assert reset.strikes == 1
    proxy.remove(reset)
    with pytest.raises(ConfigError, match="is not in force"):
        proxy.remove(reset)


def test_a_reset_of_the_proxy_puts_its_own_faults_back(make: Callable[..., Proxy], echo: Echo) -> None:
    own, other = faults.Latency(0.001), faults.Stall()
    proxy = make(echo.address, faults=[own])
    proxy.add(other)
    proxy.remove(own)
    proxy.reset()
    assert proxy.faults == (own,)


def test_another_like_it_has_not_struck(proxy: Proxy) -> None:
    one = faults.Reset(times=1, probability=0.5, on_match="x")
    assert repr(one.again()) == repr(one)
    assert one.again() is not one
    two = faults.Reset(times=1)
    for fault in (two, two.again()):
        with proxy.fault(fault), pytest.raises(ConnectionResetError), connect(proxy.address) as client:
            client.recv(1)
        assert fault.strikes == 1


def test_one_seed_fixes_what_is_drawn(make: Callable[..., Proxy], echo: Echo) -> None:
    def answers(seed: int) -> list[bytes]:
        proxy = make(echo.address, seed=seed, faults=[faults.Corrupt(direction="to_client")])
        assert proxy.seed == seed
        found: list[bytes] = []
        for _ in range(4):
            with connect(proxy.address) as client:
                client.sendall(bytes(64))
                found.append(read_exactly(client, 64))
        return found

    first = answers(1)
    assert first == answers(1)
    assert first != answers(2)
