"""The small value objects: addresses, Forward, Timeouts, Limits, and the closed lists of words."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from interpose import CloseReason, ConnectionPhase, Forward, Ledger, Limits, Stats, TheServer, Timeouts, _native

ADDRESSES = [
    ("9090", ("127.0.0.1", 9090)),
    ("127.0.0.1:80", ("127.0.0.1", 80)),
    ("example.org:80", ("example.org", 80)),
    ("example.org.:80", ("example.org.", 80)),
    ("xn--bcher-kva.example:80", ("xn--bcher-kva.example", 80)),
    ("my_host:1", ("my_host", 1)),
    ("[::1]:9090", ("::1", 9090)),
    ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
    ("unix:/run/app.sock", "unix:/run/app.sock"),
    ("unix:@abstract", "unix:@abstract"),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_an_address_text(text: str, address: object) -> None:
    assert Forward(text).address == address


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_an_address_survives_its_own_text(text: str, address: object) -> None:
    shown = repr(Forward(text)).split("'")[1]
    assert Forward(shown).address == address


def test_a_host_and_a_port_are_the_same_as_their_text() -> None:
    assert Forward("::1", 80) == Forward("[::1]", 80) == Forward("[::1]:80")
    assert len({Forward("a:80"), Forward("a", 80), Forward("a", 81)}) == 2
    assert Forward("a:80") != Forward("a:80", connect_timeout=1)
    assert Forward("a:80") != "a:80"


def test_a_forward_keeps_what_it_was_given() -> None:
    forward = Forward("192.0.2.1", 80, connect_timeout=3, source="192.0.2.7")
    assert (forward.connect_timeout, forward.source) == (3.0, "192.0.2.7")
    assert repr(forward) == "Forward('192.0.2.1:80', connect_timeout=3, source='192.0.2.7')"


def test_a_forward_shows_its_other_targets_as_they_may_be_written() -> None:
    forward = Forward("a:1", source="192.0.2.7", fallback=["b:2", ("c", 3), "unix:/d", Forward("e:5")], retry=30)
    others = "'b:2', 'c:3', 'unix:/d', Forward('e:5', connect_timeout=10)"
    assert repr(forward) == f"Forward('a:1', connect_timeout=10, source='192.0.2.7', fallback=[{others}], retry=30)"
    assert eval(repr(forward)) == forward
    assert (forward.fallback[0], forward.retry) == (Forward("b:2", source="192.0.2.7"), 30.0)
    assert len({forward, Forward("a:1"), Forward("a:1", retry=30), Forward("a:1", fallback=["b:2"])}) == 4


def test_targets_of_a_fallback_follow_it() -> None:
    inner = Forward("b:2", connect_timeout=2, fallback=["c:3"])
    forward = Forward("a:1", fallback=[inner, "d:4"])
    assert forward.fallback == (Forward("b:2", connect_timeout=2), Forward("c:3", connect_timeout=2), Forward("d:4"))
    assert inner.fallback == (Forward("c:3", connect_timeout=2),)


@pytest.mark.parametrize("name", ["address", "connect_timeout", "source", "fallback", "retry", "other"])
def test_a_forward_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Forward("a:80"), name, "b")


@pytest.mark.parametrize(
    "value",
    [
        Forward("a", 80, connect_timeout=2),
        Forward("unix:/x"),
        Forward("a:1", fallback=["b:2"], retry=3),
        Timeouts(idle=3),
        Limits(5),
        Ledger(3, 0, 2, 0, 1),
    ],
)
def test_a_value_can_be_pickled_and_copied(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize("value", [Timeouts(), Limits(), Ledger(0, 0, 0, 0, 0)])
def test_a_value_is_frozen(value: Any) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, 1)


def test_the_defaults_are_the_documented_ones() -> None:
    assert Timeouts() == Timeouts(half_close=120.0, idle=None, unacknowledged=None)
    assert Limits() == Limits(max_connections=None)
    assert (Forward("a:80").connect_timeout, Forward("a:80").source) == (10.0, None)


def test_seconds_become_floats() -> None:
    assert [type(value) for value in dataclasses.astuple(Timeouts(1, 2, 3))] == [float] * 3


def test_the_close_reasons_are_those_of_the_core() -> None:
    server = TheServer("", 0, "a:80")
    assert [str(reason) for reason in server.stats.closed] == [str(reason) for reason in CloseReason]
    assert [reason.name for reason in CloseReason] == [reason.value.upper() for reason in CloseReason]
    server.stop()


def test_the_states_are_words() -> None:
    assert [f"{state}" for state in ConnectionPhase] == ["connecting", "open", "closed"]


def test_the_stats_have_every_native_counter() -> None:
    server = _native.Server(("127.0.0.1", 0), None, _native.Config())
    assert set(server.stats()) == {field.name for field in dataclasses.fields(Stats)}
    server.stop(0)
