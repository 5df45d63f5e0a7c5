"""Faults from Python: what clients and upstreams see, on every path, and faults that come and go."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import interpose
import pytest
from interpose import ConfigError, ConnectionClosedError, TheServer, faults, framing
from support.peers import Echo, Served, connect, echo, ending, read_exactly

from .conftest import nothing, nothing_later

PATHS: dict[str, dict[str, Any]] = {
    "native": {},
    "callback": {"on_recv": nothing},
    "async": {"on_recv": nothing_later},
    "framed": {"on_recv": nothing, "framing": framing.lines()},
    "framed-async": {"on_recv": nothing_later, "framing": framing.lines()},
}
paths = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
ANY_CASE = re.compile(b"T.O", re.IGNORECASE)
LINE = b"0123456789abcde\n"


@paths
@pytest.mark.parametrize("direction", ["to_upstream", "to_client"])
@pytest.mark.parametrize(("how", "end"), [("fin", "eof"), ("reset", "reset")])
def test_a_cut_lets_exactly_its_bytes_through(
    upstream: Echo, path: dict[str, Any], direction: Any, how: Any, end: str
) -> None:
    cut = faults.Cut(160, how, direction=direction)
    with TheServer("", 0, upstream.address, faults=[cut], **path) as server, connect(server.address) as client:
        client.sendall(LINE * 20)
        seen = ending(client)
        if direction == "to_client":
            assert seen == (end, LINE * 10)
        else:
            assert seen[0] == end
        reasons = [reason for reason, number in server.stats.closed.items() if number]
        assert reasons in ([], ["fault"])
    assert cut.strikes == 1


@paths
@pytest.mark.parametrize("size", [1, 155, 167])
def test_a_cut_is_exact_in_the_middle_of_a_message(upstream: Echo, path: dict[str, Any], size: int) -> None:
    harm = [faults.Drop(on_match=b"none", direction="to_client"), faults.Cut(size, direction="to_client")]
    with TheServer("", 0, upstream.address, faults=harm, **path) as server, connect(server.address) as client:
        client.sendall(LINE * 20)
        assert ending(client) == ("eof", (LINE * 20)[:size])


@pytest.mark.parametrize("pattern", [re.compile("a.b"), re.compile(rb"a..b"), re.compile("A..B", re.IGNORECASE)])
def test_an_expression_of_text_is_of_characters(upstream: Echo, pattern: Any) -> None:
    drop = faults.Drop(on_match=pattern, direction="to_upstream")
    with TheServer("", 0, upstream.address, faults=[drop]) as server, connect(server.address) as client:
        client.sendall("a\u00e9b-".encode())
        assert read_exactly(client, 1) == b"-"
    assert drop.strikes == 1


def test_what_callbacks_add_counts_for_a_fault_that_comes_later(upstream: Echo) -> None:
    def thrice(side: object, data: bytes) -> bytes:
        return data * 3

    with TheServer("", 0, upstream.address, on_upstream_recv=thrice) as server, connect(server.address) as client:
        client.sendall(b"0123456789")
        assert read_exactly(client, 30) == b"0123456789" * 3
        server.add_fault(faults.Cut(40, direction="to_client"))
        client.sendall(b"0123456789")
        assert ending(client) == ("eof", b"0123456789")


def test_a_fault_twice_is_refused(upstream: Echo) -> None:
    stall = faults.Stall()
    with pytest.raises(ConfigError, match="is there twice"):
        TheServer("", 0, upstream.address, faults=[stall, stall])
    with TheServer("", 0, upstream.address) as server, pytest.raises(ConfigError, match="is there twice"):
        server.add_fault(stall, stall)


def test_a_faulty_way_takes_a_drain(upstream: Echo) -> None:
    with interpose.faulty(upstream.address, drain=1.0) as address, connect(address) as client:
        assert echo(client, b"x") == b"x"


@paths
def test_latency_is_there_and_order_stays(upstream: Echo, path: dict[str, Any]) -> None:
    late = faults.Latency(0.03, jitter=0.02)
    with TheServer("", 0, upstream.address, faults=[late], **path) as server, connect(server.address) as client:
        begun = time.perf_counter()
        client.sendall(LINE)
        assert read_exactly(client, len(LINE)) == LINE
        assert time.perf_counter() - begun >= 0.02
        numbered = b"".join(b"%015d\n" % number for number in range(200))
        client.sendall(numbered)
        assert read_exactly(client, len(numbered)) == numbered


@paths
def test_a_stall_comes_and_goes(upstream: Echo, path: dict[str, Any]) -> None:
    with TheServer("", 0, upstream.address, **path) as server, connect(server.address) as client:
        assert echo(client, LINE) == LINE
        with server.fault(faults.Stall(direction="to_client")) as stall:
            assert server.faults == (stall,)
            client.sendall(LINE)
            client.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(10)
        assert read_exactly(client, len(LINE)) == LINE
        assert not server.faults


def test_a_message_is_dropped_repeated_and_cut_short(upstream: Echo) -> None:
    for fault, expected in [
        (faults.Drop(on_match=b"two", direction="to_upstream"), b"one\nthree\n"),
        (
            faults.Duplicate(on_match=re.compile(b"T.O", re.IGNORECASE), direction="to_upstream"),
            b"one\ntwo\ntwo\nthree\n",
        ),
        (faults.Truncate(1, nth=2, direction="to_upstream"), b"one\ntthree\n"),
    ]:
        settings: dict[str, Any] = PATHS["framed"]
        with (
            TheServer("", 0, upstream.address, faults=[fault], **settings) as server,
            connect(server.address) as client,
        ):
            client.sendall(b"one\ntwo\nthree\n")
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", expected), fault
        assert fault.strikes == 1


def test_matched_bytes_are_changed_without_a_framing(upstream: Echo) -> None:
    drop = faults.Drop(on_match="secret", direction="to_client")
    with TheServer("", 0, upstream.address, faults=[drop]) as server, connect(server.address) as client:
        client.sendall(b"a secret and a secret.")
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", b"a  and a .")


def test_the_second_connection_is_reset_and_the_third_lives(upstream: Echo) -> None:
    reset = faults.Reset(on_match=b"GET", nth=2, direction="to_upstream")
    with TheServer("", 0, upstream.address, faults=[reset]) as server:
        seen: list[str] = []
        for _ in range(3):
            with connect(server.address) as client:
                client.sendall(b"GET")
                try:
                    seen.append(read_exactly(client, 3).decode())
                except ConnectionError:
                    seen.append("reset")
        assert seen == ["GET", "reset", "GET"]


def test_a_side_has_its_own(upstream: Echo) -> None:
    with TheServer("", 0, upstream.address) as server, connect(server.address) as client:
        assert echo(client, b"a") == b"a"
        (connection,) = server.connections
        side = connection.client
        assert connection.upstream
        assert side.faults is None
        side.faults = [faults.Drop()]
        connection.upstream.faults = []
        server.add_fault(faults.Reset())
        assert repr(side.faults) == "[faults.Drop()]"
        side.faults = []
        assert echo(client, b"b").endswith(b"b")
        connection.close()
        assert ending(client)[0] == "eof"
        client.close()
        server.stop()
        with pytest.raises(ConnectionClosedError, match="has ended"):
            side.faults = [faults.Stall()]


def transcript(upstream: Echo, seed: int, others: int) -> list[bytes]:
    harm = [faults.Corrupt(probability=0.5, on_match=b"x", direction="to_client"), faults.Slicer(3, 2)]
    got: list[bytes] = []
    with TheServer("", 0, upstream.address, faults=harm, seed=seed) as server:
        assert server.seed == seed
        for _ in range(3):
            with connect(server.address) as client:
                client.sendall(b"-x" * 100)
                client.shutdown(socket.SHUT_WR)
                got.append(ending(client)[1])
        for _ in range(others):
            connect(server.address).close()
    return got


def test_a_seed_fixes_what_is_drawn(upstream: Echo) -> None:
    first = transcript(upstream, 7, 0)
    assert len(set(first)) == 3, "each connection draws its own"
    for others in range(10):
        assert transcript(upstream, 7, others) == first
    assert transcript(upstream, 8, 0) != first
    seeds = {TheServer("", 0, upstream.address).seed for _ in range(3)}
    assert len(seeds) == 3


def test_bandwidth_and_slices(upstream: Echo) -> None:
    slow = faults.Bandwidth("1MB/s", burst="10kB", direction="to_client")
    with TheServer("", 0, upstream.address, faults=[slow]) as server, connect(server.address) as client:
        begun = time.perf_counter()
        client.sendall(bytes(100_000))
        assert len(read_exactly(client, 100_000)) == 100_000
        assert time.perf_counter() - begun >= 0.08


def test_a_half_close_leaves_the_other_direction() -> None:
    def answer(sock: socket.socket) -> None:
        while sock.recv(100):
            pass
        sock.sendall(b"all of it")

    half = faults.HalfClose(after_bytes=3, direction="to_upstream")
    with (
        Served(answer) as upstream,
        TheServer("", 0, upstream.address, faults=[half]) as server,
        connect(server.address) as client,
    ):
        client.sendall(b"abcdef")
        assert ending(client) == ("eof", b"all of it")


def test_faults_that_are_there_or_not_are_said(upstream: Echo) -> None:
    stall = faults.Stall()
    with TheServer("", 0, upstream.address, faults=[stall]) as server:
        with pytest.raises(ConfigError, match="is in force already"):
            server.add_fault(stall)
        server.remove_fault(stall)
        with pytest.raises(ConfigError, match="is not in force"):
            server.remove_fault(stall)


# Slips, which a type checker would find as well.
WRONG: Any = faults
SERVER: Any = TheServer


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        (lambda: WRONG.Reset(probability=1.5), "probability: 1.5 is not between 0 and 1"),
        (lambda: WRONG.Cut(-1), "after_bytes: it is below 0; give at least 0"),
        (lambda: WRONG.Cut(1, "rst"), 'how: it is none of "fin", "reset" and "stall"; did you mean "reset"\\?'),
        (lambda: WRONG.Cut(1, "softly"), 'how: it is none of "fin", "reset" and "stall"; give one of them'),
        (lambda: WRONG.Stall(direction="upstream"), 'none of .*; did you mean "to_upstream"\\?'),
        (lambda: WRONG.Reset(probabilty=1), "probabilty: there is no such argument; did you mean probability\\?"),
        (lambda: WRONG.Reset(whatever=1), "whatever: .*; there are after_bytes, direction, nth, on_match, only, prob"),
        (lambda: WRONG.RefuseConnect(probability=1), "probability: there is no such argument; it takes none"),
        (lambda: WRONG.SlowConnect(1, on_match=b"x"), "on_match: .*; there are delay, nth, only, probability, times"),
        (lambda: WRONG.toxic("latency", toxicity=2), "toxicity: 2 is not between 0 and 1"),
        (lambda: type("Own", (faults.Scripted,), {"on_recv": len})(), "Own: it has no on_data, .* meant by on_recv"),
        (lambda: type("Own", (faults.Scripted,), {})(), "Own: it has no on_data, .*; write on_data\\(self, side"),
        (lambda: WRONG.Actions().sned(b"x"), "'Actions' object has no attribute 'sned'; did you mean send"),
        (lambda: WRONG.Actions().sleep(1), "did you mean wait\\(\\)\\?"),
        (lambda: WRONG.Latency(dely=1), "dely: there is no such argument; did you mean delay?"),
        (lambda: WRONG.Stall(after=3), "after: there is no such argument; did you mean after_bytes?"),
        (lambda: WRONG.Latncy(1), "faults: there is no Latncy; did you mean Latency?"),
        (lambda: WRONG.Bandwidth("10MBs"), "rate: '10MBs' has no unit known here"),
        (lambda: WRONG.Reset(on_match=3), "on_match: it is int, not bytes, text, a compiled re.Pattern or a function"),
        (lambda: WRONG.Reset(on_match=re.compile(b"a*")), "on_match: a\\* matches where there is nothing"),
        (lambda: WRONG.Reset(nth=0), "nth: it is below 1; give at least 1"),
        (lambda: WRONG.toxic("latencey"), "toxic: there is no 'latencey'; did you mean 'latency'?"),
        (lambda: WRONG.toxic("latency", delay=3), "delay: toxic latency has no such attribute"),
        (lambda: SERVER("", 0, "a:1", faults=[faults.Stall]), "faults: Stall is the class; write faults.Stall"),
        (lambda: SERVER("", 0, "a:1", faults=faults.Stall()), "faults: it is one fault, not a list of them"),
        (lambda: SERVER("", 0, "a:1", seed=-1), "seed: it is below 0; give at least 0"),
    ],
)
def test_bad_input_is_one_line(wrong: Any, answer: str) -> None:
    with pytest.raises(Exception, match=answer) as caught:
        wrong()
    assert isinstance(caught.value, (interpose.InterposeError, AttributeError))
    assert "\n" not in str(caught.value)
