"""Bad arguments: the right exception, and one line that says what, why and what to try."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast

import pytest
from interpose import AddressError, ArgumentTypeError, ConfigError, Forward, InterposeError, Limits, TheServer, Timeouts

TARGET = ("example.org", 80)
HUGE = 10**5000


class Hostile:
    """Its text must never be asked for."""

    def __repr__(self) -> str:
        raise RuntimeError("asked for its text")

    __str__ = __repr__


def server(*arguments: Any, **settings: Any) -> object:
    return TheServer(*arguments, **settings)


def forward(*arguments: Any, **settings: Any) -> object:
    return Forward(*arguments, **settings)


def target(forward_to: Any) -> object:
    return TheServer("", 0, forward_to)


def setting(**settings: Any) -> object:
    return TheServer("", 0, TARGET, **settings)


def timeouts(**values: Any) -> object:
    return Timeouts(**values)


def limits(value: Any) -> object:
    return Limits(max_connections=value)


def assert_refused(kind: type[InterposeError], what: str, call: Callable[[], object]) -> None:
    with pytest.raises(InterposeError) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is kind, message
    assert message.startswith(what), message
    assert message.isprintable(), message
    assert re.fullmatch(r".+: .+[;(] ?.+", message), message
    assert len(message) < 400


WRONG_TYPES: list[tuple[str, Callable[[], object]]] = [
    ("host: it is int", lambda: server(9090)),
    ("host: it is NoneType", lambda: server(None, 0, TARGET)),
    ("host: it is bytes", lambda: server(b"127.0.0.1", 0, TARGET)),
    ("host: it is Hostile", lambda: server(Hostile(), 0, TARGET)),
    ("port: it is str", lambda: server("", "9090", TARGET)),
    ("port: it is bool", lambda: server("", True, TARGET)),
    ("port: it is float", lambda: server("", 80.0, TARGET)),
    ("forward_to: it is int", lambda: target(9090)),
    ("forward_to: it is dict", lambda: target({"example.org": 80})),
    ("forward_to: it is set", lambda: target({"example.org", 80})),
    ("forward_to: it is Hostile", lambda: target(Hostile())),
    ("forward_to: it is bytes", lambda: target((b"example.org", 80))),
    ("forward_to: port: it is str", lambda: target(("example.org", "80"))),
    ("forward_to: port: it is bool", lambda: target(("example.org", True))),
    ("timeouts: it is dict", lambda: setting(timeouts={})),
    ("timeouts: it is NoneType", lambda: setting(timeouts=None)),
    ("timeouts: it is type", lambda: setting(timeouts=Timeouts)),
    ("limits: it is int", lambda: setting(limits=5)),
    ("backlog: it is float", lambda: setting(backlog=10.0)),
    ("backlog: it is bool", lambda: setting(backlog=True)),
    ("reuse_port: it is int", lambda: setting(reuse_port=1)),
    ("public: it is str", lambda: setting(public="yes")),
    ("host: it is tuple", lambda: forward(TARGET)),
    ("port: it is float", lambda: forward("example.org", 80.5)),
    ("connect_timeout: it is str", lambda: forward("example.org", 80, connect_timeout="10")),
    ("retry: it is str", lambda: forward("example.org", 80, retry="10")),
    ("retry: it is bool", lambda: forward("example.org", 80, retry=True)),
    ("fallback: it is str, not a list", lambda: forward("example.org", 80, fallback="b:1")),
    ("fallback: it is NoneType, not a list", lambda: forward("example.org", 80, fallback=None)),
    ("fallback: it is int, not an address", lambda: forward("example.org", 80, fallback=[80])),
    ("connect_timeout: it is NoneType", lambda: forward("example.org", 80, connect_timeout=None)),
    ("connect_timeout: it is bool", lambda: forward("example.org", 80, connect_timeout=True)),
    ("source: it is int", lambda: forward("example.org", 80, source=1)),
    ("idle: it is Hostile", lambda: timeouts(idle=Hostile())),
    ("half_close: it is bool", lambda: timeouts(half_close=True)),
    ("unacknowledged: it is complex", lambda: timeouts(unacknowledged=1j)),
    ("max_connections: it is str", lambda: limits("5")),
    ("max_connections: it is bool", lambda: limits(True)),
    ("max_connections: it is float", lambda: limits(1e3)),
]

WRONG_VALUES: list[tuple[str, Callable[[], object]]] = [
    ("port: it is missing", lambda: server()),
    ("port: it is missing", lambda: server("", None, TARGET)),
    ("port: it is not between", lambda: server("", 65536, TARGET)),
    ("port: it is not between", lambda: server("", -1, TARGET)),
    ("port: it is not between", lambda: server("", HUGE, TARGET)),
    ("port: a Unix socket has none", lambda: server("unix:/tmp/x", 80, TARGET)),
    ("forward_to: it is missing", lambda: server("", 0)),
    ("forward_to: the tuple has 1 items", lambda: target(("example.org",))),
    ("forward_to: the tuple has 4 items", lambda: target(("::1", 80, 0, 0))),
    ("forward_to: port: it is not between 1 and 65535; give the one", lambda: target(("example.org", 70000))),
    ("port: it is not between 1 and 65535; give the one", lambda: forward("example.org", 70000)),
    ("forward_to: port: 0 is not a port to connect to", lambda: target(("example.org", 0))),
    ("forward_to: port 0 is not a port", lambda: target("example.org:0")),
    ("port: a Unix socket has none", lambda: forward("unix:/tmp/x", 80)),
    ("backlog: it is below 1", lambda: setting(backlog=0)),
    ("backlog: it is above", lambda: setting(backlog=HUGE)),
    ("retry: it is less", lambda: forward("example.org", 80, retry=0)),
    ("retry: it is negative", lambda: forward("example.org", 80, retry=-1)),
    ("fallback: it is an address, not a list of some; write [('b', 1)]", lambda: forward("a:1", fallback=("b", 1))),
    ("fallback: port: 0 is not a port", lambda: forward("a:1", fallback=["b:0"])),
    ("fallback: a:1 is a target already", lambda: forward("a:1", fallback=["b:1", "a:1"])),
    ("fallback: Forward.NOWHERE names no target", lambda: forward("a:1", fallback=[Forward.NOWHERE])),
    ("fallback: 17 targets", lambda: forward("a:1", fallback=[f"b:{port}" for port in range(1, 17)])),
    ("retry: the fallback b:1 has one", lambda: forward("a:1", fallback=[Forward("b:1", retry=1)])),
    ("connect_timeout: it is less", lambda: forward("example.org", 80, connect_timeout=0)),
    ("connect_timeout: it is not a number", lambda: forward("example.org", 80, connect_timeout=math.nan)),
    ("connect_timeout: it is negative", lambda: forward("example.org", 80, connect_timeout=-1)),
    ("connect_timeout: it is more", lambda: forward("example.org", 80, connect_timeout=math.inf)),
    ("connect_timeout: it is more", lambda: forward("example.org", 80, connect_timeout=HUGE)),
    ("source ", lambda: forward("example.org", 80, source="localhost")),
    ("source ", lambda: forward("127.0.0.1", 80, source="::1")),
    ("half_close: it is negative", lambda: timeouts(half_close=-HUGE)),
    ("idle: it is not a number", lambda: timeouts(idle=math.nan)),
    ("idle: it is less than a millisecond", lambda: timeouts(idle=1e-300)),
    ("unacknowledged: it is more", lambda: timeouts(unacknowledged=1e300)),
    ("max_connections: it is below 1", lambda: limits(0)),
    ("max_connections: it is above", lambda: limits(2**64)),
]

# The advice for each slip.
SLIPS: list[tuple[str, Callable[[], object]]] = [
    ('write TheServer("", 9090, ...)', lambda: server(9090)),
    ('write TheServer("", 9090, ...)', lambda: server(9090, TARGET)),
    ('as in ("127.0.0.1", 8080)', lambda: forward(8080)),
    ('write ("127.0.0.1", 8080) or "127.0.0.1:8080"', lambda: target(8080)),
    ("without quotes, such as 8080", lambda: server("", "8080", TARGET)),
    ("without quotes, such as 8080", lambda: target(["example.org", "8080"])),
    ("such as host.decode()", lambda: forward(b"example.org", 80)),
    ("such as host.decode()", lambda: server(b"127.0.0.1", 0, TARGET)),
    ('give the host alone ("127.0.0.1")', lambda: server("127.0.0.1:80", 80, TARGET)),
    ('give the host alone ("h")', lambda: forward("h:80", 80)),
    ('take it away ("h")', lambda: target(("http://h", 80))),
    ('take it away ("h:80")', lambda: target("http://h")),
    ("the list has 3 items", lambda: target(["h", 80, 0])),
    ('take it away ("127.0.0.1:80")', lambda: forward("127.0.0.1:80 ")),
]

WRONG_ADDRESSES = [
    "",
    ":9090",
    "*:9090",
    "example.org",
    "example.org:",
    "example.org:zzqqy",
    "example.org:99999",
    "example.org:-1",
    "::1:9090",
    "[::1]",
    "[example.org]:80",
    "[::1]:80:90",
    "127.0.0.256:80",
    "127.1:80",
    "0x7f.1:80",
    "a b:80",
    "exa\x1b[31mmple:80",
    "host\n:80",
    "bidi\u202e:80",
    "http://example.org:80",
    "unix:",
    "unix:@",
    "unix:/a\0b",
    "unix:/" + "x" * 200,
    "x" * 254 + ":80",
    "x" * 1_000_000,
    "\ud800:80",
    "70000",
]


@pytest.mark.parametrize(("what", "call"), WRONG_TYPES, ids=[what for what, _ in WRONG_TYPES])
def test_a_wrong_type(what: str, call: Callable[[], object]) -> None:
    assert_refused(ArgumentTypeError, what, call)


@pytest.mark.parametrize(("what", "call"), WRONG_VALUES, ids=[what for what, _ in WRONG_VALUES])
def test_a_wrong_value(what: str, call: Callable[[], object]) -> None:
    assert_refused(ConfigError, what, call)


@pytest.mark.parametrize(("fix", "call"), SLIPS, ids=[fix for fix, _ in SLIPS])
def test_a_slip_is_answered_with_the_fix(fix: str, call: Callable[[], object]) -> None:
    with pytest.raises(InterposeError) as caught:
        call()
    assert fix in str(caught.value)


def test_a_list_of_two_is_a_target() -> None:
    with TheServer("", 0, cast("Any", ["example.org", 80])) as made:
        assert made.forward_to == Forward("example.org", 80)


@pytest.mark.parametrize("text", WRONG_ADDRESSES, ids=lambda text: ascii(text)[:40])
def test_a_text_that_is_no_address(text: str) -> None:
    assert_refused(AddressError, "", lambda: Forward(text))
    assert_refused(AddressError, "", lambda: TheServer("", 0, text))
    if text:
        assert_refused(AddressError, "", lambda: TheServer(text, forward_to=TARGET))


@pytest.mark.parametrize("drain", [math.nan, -1, math.inf, HUGE, 1e-9], ids=["nan", "-1", "inf", "huge", "1e-9"])
def test_a_drain_that_is_no_time_leaves_the_server_running(drain: float) -> None:
    with TheServer("", 0, TARGET) as server:
        assert_refused(ConfigError, "drain: it is ", lambda: server.stop(drain))
        assert "started" in repr(server)


@pytest.mark.parametrize("drain", [b"5", "5", True])
def test_a_drain_of_the_wrong_type_leaves_the_server_running(drain: Any) -> None:
    with TheServer("", 0, TARGET) as server:
        assert_refused(ArgumentTypeError, "drain: it is ", lambda: server.stop(drain))
        assert "started" in repr(server)


def test_a_failed_constructor_leaves_no_listener() -> None:
    with pytest.raises(ConfigError):
        TheServer("", 0, ("example.org", 0))
    with pytest.raises(TypeError, match="positional"):
        server("", 0, TARGET, Timeouts())
