"""Faults about which functions in Python decide: `on_data`, predicates of messages, and of connections."""
# ruff: noqa: ARG002, what a fault is called with is fixed

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

import pytest
from interpose import ArgumentTypeError, CloseReason, ConfigError, ConnectionClosedError, TheServer, faults, framing
from interpose.testing import Proxy
from support.peers import Echo, connect, echo, ending, read_exactly

from .conftest import nothing, nothing_later

LINES = framing.lines()
PATHS: dict[str, dict[str, Any]] = {
    "alone": {"framing": LINES},
    "callback": {"framing": LINES, "on_recv": nothing},
    "async": {"framing": LINES, "on_recv": nothing_later},
    "custom": {"framing": framing.custom(lambda seen: 5 if len(seen) >= 5 else None)},
}
paths = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
directions = pytest.mark.parametrize("direction", ["to_upstream", "to_client"])


class Second(faults.Scripted):
    """Acts on the second message only."""

    seen = 0

    def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None:
        self.seen += 1
        if self.seen == 2:
            self.act(data, actions)

    def act(self, data: bytes, actions: faults.Actions) -> None:
        raise NotImplementedError


class Resetting(Second):
    def act(self, data: bytes, actions: faults.Actions) -> None:
        actions.reset()


class Halving(Second):
    def act(self, data: bytes, actions: faults.Actions) -> None:
        actions.send(data[:2])
        actions.wait(0.05)
        actions.send(bytearray(data[2:]), "!\n")


class Closing(Second):
    def act(self, data: bytes, actions: faults.Actions) -> None:
        actions.send(data)
        actions.close()


@paths
@directions
def test_messages_before_the_one_that_resets_arrive(upstream: Echo, path: dict[str, Any], direction: Any) -> None:
    fault = Resetting(direction=direction)
    with TheServer("", 0, upstream.address, **path, faults=[fault]) as server:
        with connect(server.address) as client:
            assert echo(client, b"1234\n") == b"1234\n"
            client.sendall(b"5678\n")
            assert ending(client) == ("reset", b"")
        assert fault.strikes == 1


@paths
@directions
def test_what_is_sent_waits_in_order(upstream: Echo, path: dict[str, Any], direction: Any) -> None:
    fault = Halving(direction=direction)
    with (
        TheServer("", 0, upstream.address, **path, faults=[fault]) as server,
        connect(server.address) as client,
    ):
        assert echo(client, b"1234\n") == b"1234\n"
        begun = time.perf_counter()
        client.sendall(b"5678\n")
        assert read_exactly(client, 7) == b"5678\n!\n"
        assert time.perf_counter() - begun >= 0.05
        assert echo(client, b"9012\n") == b"9012\n"


@directions
def test_what_is_sent_before_a_close_arrives(upstream: Echo, direction: Any) -> None:
    with (
        TheServer("", 0, upstream.address, framing=LINES, faults=[Closing(direction=direction)]) as server,
        connect(server.address) as client,
    ):
        assert echo(client, b"1\n") == b"1\n"
        client.sendall(b"2\n")
        end, seen = ending(client)
        assert end == "eof"
        assert seen == (b"2\n" if direction == "to_client" else b"")


def test_an_effect_goes_on_behind_its_message_until_another_begins(upstream: Echo) -> None:
    class Slowing(faults.Scripted):
        def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None:
            if data == b"slow\n":
                actions.begin(faults.Latency(0.05))
            elif data == b"lost\n":
                actions.blackhole()

    fault = Slowing(direction="to_upstream")
    with (
        TheServer("", 0, upstream.address, framing=LINES, faults=[fault], drain=0) as server,
        connect(server.address) as client,
    ):
        for sent in (b"slow\n", b"more\n"):
            begun = time.perf_counter()
            assert echo(client, sent) == sent
            assert time.perf_counter() - begun >= 0.05
        client.sendall(b"lost\nnever\n")
        client.settimeout(0.15)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_stall_holds_what_comes_behind_until_the_fault_is_gone(upstream: Echo) -> None:
    class Stalling(faults.Scripted):
        def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None:
            if data == b"stall\n":
                actions.stall()

    with TheServer("", 0, upstream.address, framing=LINES) as server, connect(server.address) as client:
        with server.fault(Stalling(direction="to_upstream")):
            assert echo(client, b"a\n") == b"a\n"
            client.sendall(b"stall\nbehind\n")
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)
        client.settimeout(5)
        assert read_exactly(client, 13) == b"stall\nbehind\n"


def test_without_actions_and_with_drop(upstream: Echo) -> None:
    class Dropping(faults.Scripted):
        def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None:
            if data.startswith(b"no"):
                actions.drop()

    fault = Dropping(direction="to_upstream")
    with TheServer("", 0, upstream.address, framing=LINES, faults=[fault]) as server:
        with connect(server.address) as client:
            client.sendall(b"yes\nno 1\nno 2\nend\n")
            assert read_exactly(client, 8) == b"yes\nend\n"
        assert fault.strikes == 2


@paths
def test_a_predicate_chooses_messages(upstream: Echo, path: dict[str, Any]) -> None:
    drop = faults.Drop(on_match=lambda message: message[:1] == b"n", direction="to_upstream")
    with (
        TheServer("", 0, upstream.address, **path, faults=[drop]) as server,
        connect(server.address) as client,
    ):
        client.sendall(b"y123\nn456\ny789\n")
        assert read_exactly(client, 10) == b"y123\ny789\n"
    assert drop.strikes == 1


def test_a_predicate_counts_for_nth_and_begins_effects(upstream: Echo) -> None:
    reset = faults.Reset(on_match=lambda message: b"x" in message, nth=2, direction="to_upstream")
    with (
        TheServer("", 0, upstream.address, framing=LINES, faults=[reset]) as server,
        connect(server.address) as client,
    ):
        assert [echo(client, line) for line in (b"x1\n", b"y\n")] == [b"x1\n", b"y\n"]
        client.sendall(b"x2\n")
        assert ending(client) == ("reset", b"")


@paths
def test_only_some_connections_are_concerned(upstream: Echo, path: dict[str, Any]) -> None:
    asked: list[int] = []

    def odd(conn: Any) -> bool:
        asked.append(conn.id)
        return bool(conn.id % 2)

    with TheServer("", 0, upstream.address, faults=[faults.Cut(only=odd)], **path) as server:
        for number in range(1, 5):
            with connect(server.address) as client:
                client.sendall(b"1234\n")
                assert ending(client)[0] in ("eof", "reset") if number % 2 else read_exactly(client, 5) == b"1234\n"
    # Once for each direction that had bytes.
    assert all(1 <= asked.count(number) <= 2 for number in range(1, 5))


def test_a_live_connection_is_asked_when_the_fault_comes(upstream: Echo) -> None:
    with TheServer("", 0, upstream.address) as server, connect(server.address) as one, connect(server.address) as two:
        assert echo(one, b"1") == b"1"
        assert echo(two, b"2") == b"2"
        port = two.getsockname()[1]
        with server.fault(faults.Drop(only=lambda conn: conn.client.getpeername()[1] == port)):
            two.sendall(b"lost")
            assert echo(one, b"here") == b"here"
            two.settimeout(0.1)
            with pytest.raises(TimeoutError):
                two.recv(1)
        two.settimeout(5)
        assert echo(two, b"again") == b"again"


def meet(upstream: Echo, fault: faults.Fault) -> None:
    """Let a client meet the fault, which ends its connection."""
    with Proxy(upstream.address, faults=[fault]) as proxy, connect(proxy.address) as client:
        client.sendall(b"x")
        assert ending(client) == ("reset", b"")


def test_what_a_function_raises_is_a_callbacks_failure(upstream: Echo) -> None:
    class Failing(faults.Scripted):
        def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None:
            raise ValueError("boo")

    def raises(_: object) -> bool:
        raise ValueError("boo")

    for fault in (Failing(), faults.Drop(on_match=raises), faults.Drop(only=raises)):
        with TheServer("", 0, upstream.address, faults=[fault]) as server, connect(server.address) as client:
            client.sendall(b"x")
            assert ending(client) == ("reset", b"")
        assert server.stats.closed[CloseReason.CALLBACK_ERROR] == 1
        with pytest.raises(ValueError, match="boo"):
            meet(upstream, fault)


def test_an_answer_and_late_actions_are_refused(upstream: Echo) -> None:
    kept: list[faults.Actions] = []

    class Answering(faults.Scripted):
        def on_data(self, side: object, data: bytes, actions: faults.Actions) -> Any:
            kept.append(actions)
            return data

    with pytest.raises(ArgumentTypeError, match=r"has returned bytes, .*use actions.send"):
        meet(upstream, Answering())
    with pytest.raises(ConfigError, match="on_data has returned"):
        kept[0].drop()


def test_wrong_functions_are_refused_at_once() -> None:
    async def later(_: object) -> bool:
        return True

    class Later(faults.Scripted):
        async def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None: ...  # type: ignore[override]

    for make, wanted in (
        (lambda: faults.Stall(only=later), "only: it is async def"),
        (lambda: faults.Stall(on_match=later), "on_match: it is async def"),
        (lambda: faults.Stall(only=3), "only: it is int"),  # type: ignore[arg-type]
        (Later, "on_data: it is async def"),
        (lambda: faults.Actions().send(3), "actions.send: it is int"),
        (lambda: faults.Actions().begin("reset"), "actions.begin: it is str"),
        (faults.Scripted, "derive a class"),
    ):
        with pytest.raises(ArgumentTypeError, match=wanted):
            make()
    with pytest.raises(ConfigError, match="does not act on the bytes"):
        faults.Actions().begin(faults.RefuseConnect())


def test_a_side_has_no_functions(upstream: Echo) -> None:
    with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
        echo(client, b"x")
        with pytest.raises((ConfigError, ConnectionClosedError), match="add_fault"):
            server.connections[0].client.faults = [faults.Stall(only=bool)]


def test_a_subclass_needs_no_super_and_begins_anew() -> None:
    class Counting(faults.Scripted):
        def __init__(self, start: int) -> None:
            self.count = start

        def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None:
            self.count += 1

    one = Counting(3)
    one.count = 9
    assert repr(one) == "faults.Counting()"
    assert one.again().count == 3


def test_a_server_with_functions_is_collected(upstream: Echo) -> None:
    class Own(faults.Scripted):
        server: TheServer | None = None

        def on_data(self, side: object, data: bytes, actions: faults.Actions) -> None:
            actions.send(data)

    def make() -> weakref.ref[TheServer]:
        fault = Own()
        with TheServer("", 0, upstream.address, faults=[fault]) as server, connect(server.address) as client:
            assert echo(client, b"x") == b"x"
            fault.server = server
        return weakref.ref(server)

    gone = make()
    gc.collect()
    assert gone() is None
