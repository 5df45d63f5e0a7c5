"""Connections and sides as objects: one for each, the user's state on them, and what is left after the end."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import weakref
from typing import Any

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, CloseReason, Connection, ConnectionPhase, Side, TheServer
from support.addresses import address_of
from support.callbacks import CloseRecorder, from_data
from support.deadline import poll
from support.exchanges import exchange, in_thread, wait_until_idle
from support.peers import Address, Echo, connect
from support.peers import echo as echoed


def test_one_object_wherever_it_comes_from(echo: Echo, serve: Serve) -> None:
    conns: list[Connection] = []
    sides: list[Side] = []

    def on_conn(conn: Connection) -> None:
        conns.append(conn)

    def on_recv(side: Side, data: bytes) -> None:
        sides.append(side)
        conns.append(side.connection)

    def on_eof(side: Side) -> None:
        on_recv(side, b"")

    server = serve(
        echo.address, on_accept=on_conn, on_connect=on_conn, on_recv=on_recv, on_eof=on_eof, on_close=on_conn
    )
    with connect(address_of(server)) as client:
        for _ in range(3):
            echoed(client, b"abc")
        conns += server.connections
    poll(lambda: conns[-1].phase is ConnectionPhase.CLOSED, 10.0, "it is closed")
    wait_until_idle(server)
    assert len({id(conn) for conn in conns}) == 1
    # One Side for each end, too.
    assert len({id(side) for side in sides}) == 2
    assert len(set(sides)) == 2


def test_sides_know_each_other(echo: Echo, serve: Serve) -> None:
    seen: list[Any] = []

    def on_recv(side: Side, data: bytes) -> None:
        conn, other = side.connection, side.other
        assert other is not None
        seen.append((side.is_client, other.is_client, other.other == side, hash(other.other) == hash(side)))
        assert conn.upstream is not None
        assert {conn.client, conn.upstream} == {side, other}
        assert side != other
        assert side != "side"
        ours, theirs = conn.client.getpeername(), conn.upstream.getpeername()
        assert (ours, theirs) == (name[0], echo.address)
        assert conn.client.getsockname() == address_of(server)
        assert repr(side) == f"<{'client' if side.is_client else 'upstream'} 127.0.0.1:{side.getpeername()[1]}>"

    name: list[Address] = []
    server = serve(echo.address, on_recv=on_recv)
    with connect(address_of(server)) as client:
        name.append(client.getsockname())
        assert echoed(client, b"abc") == b"abc"
    assert seen == [(True, False, True, True), (False, True, True, True)]


def test_there_is_no_upstream_at_on_accept(echo: Echo, serve: Serve) -> None:
    seen: list[Any] = []

    def on_accept(conn: Connection) -> None:
        seen.extend((conn.upstream, conn.client.other, conn.phase, conn.reason, conn.state))

    exchange(serve(echo.address, on_accept=on_accept))
    assert seen == [None, None, ConnectionPhase.CONNECTING, None, None]


def test_state_is_the_users(echo: Echo, serve: Serve) -> None:
    """Set at the beginning, changed on the way, read at the end; each connection has its own."""
    ends = CloseRecorder()

    def on_accept(conn: Connection) -> None:
        conn.state = {"chunks": 0}

    def on_recv(side: Side, data: bytes) -> None:
        side.connection.state["chunks"] += 1

    server = serve(echo.address, on_accept=on_accept, on_recv=on_recv, on_close=ends)
    for rounds in (1, 5, 20):
        with connect(address_of(server)) as client:
            for _ in range(rounds):
                echoed(client, b"abc")
    ends.wait(3)
    assert [conn.state for conn in ends.all] == [{"chunks": 2}, {"chunks": 10}, {"chunks": 40}]


def test_state_set_from_outside(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_close=ends)
    with connect(address_of(server)) as client:
        echoed(client, b"x")
        server.connections[0].state = "seen"
        assert server.connections[0].state == "seen"
    assert ends.wait().state == "seen"
    with pytest.raises(AttributeError):
        setattr(ends.all[0], "other", 1)  # noqa: B010


def test_on_close_comes_exactly_once_with_final_figures(echo: Echo, refusing: Address, serve: Serve) -> None:
    figures: list[Any] = []

    def on_close(conn: Connection) -> None:
        figures.append((conn.phase, conn.reason, conn.to_upstream, conn.to_client))

    server = serve(echo.address, on_client_recv=from_data(lambda data: data * 2), on_close=on_close)
    data = os.urandom(300_000)
    exchange(server, data)
    poll(lambda: figures, 10.0, "on_close was called")
    conn, reason, up, down = figures[0]
    assert (conn, reason) == (ConnectionPhase.CLOSED, CloseReason.FINISHED)
    assert (up.read, up.added, up.delivered, up.dropped, up.undeliverable) == (300_000, 600_000, 600_000, 300_000, 0)
    assert (down.read, down.added, down.delivered) == (600_000, 0, 600_000)
    unserved = serve(refusing, on_close=on_close)
    exchange(unserved)
    poll(lambda: len(figures) == 2, 10.0, "on_close was called for a client without an upstream")
    assert figures[1][1] is CloseReason.REFUSED


def test_on_close_once_for_each_of_many(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_recv=from_data(lambda data: None), on_close=ends)
    for _ in range(300):
        exchange(server)
    ends.wait(300)
    server.stop(0)
    assert len({conn.id for conn in ends.all}) == 300
    assert {conn.reason for conn in ends.all} == {CloseReason.FINISHED}


def test_stop_tells_on_close_before_it_returns(echo: Echo) -> None:
    ends = CloseRecorder()
    server = TheServer("", 0, echo.address, on_close=ends).start()
    clients = [connect(address_of(server)) for _ in range(20)]
    for client in clients:
        echoed(client, b"x")
    server.stop(0)
    assert {conn.reason for conn in ends.all} == {CloseReason.STOPPED}
    assert len(ends.all) == 20
    for client in clients:
        client.close()


def test_cb_32_objects_that_are_kept_say_that_it_is_over(echo: Echo, serve: Serve) -> None:
    """CB-32: Objects that outlive their connection say that it is over."""
    kept: list[Any] = []

    def keep(side: Side, data: bytes) -> None:
        kept.append(side)

    server = serve(echo.address, on_recv=keep, on_close=kept.append)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112
    for _ in range(200):
        exchange(server)
    poll(lambda: len(kept) >= 600, 10.0, "every end was told")
    assert server.connections == []
    conns = [one if isinstance(one, Connection) else one.connection for one in kept]
    assert {conn.phase for conn in conns} == {ConnectionPhase.CLOSED}
    if before:
        poll(lambda: len(os.listdir("/proc/self/fd")) <= before + 4, 10.0, "the sockets are closed")


def test_objects_that_nobody_keeps_go_with_their_connection(echo: Echo, serve: Serve) -> None:
    gone: list[weakref.ref[Connection]] = []

    def watch(side: Side, data: bytes) -> None:
        gone.append(weakref.ref(side.connection))

    server = serve(echo.address, on_recv=watch)
    for _ in range(20):
        exchange(server)
    assert len(gone) == 40

    def all_gone() -> bool:
        gc.collect()
        return all(ref() is None for ref in gone)

    poll(all_gone, 10.0, "nothing keeps the objects of ended connections")
    assert vars(server)["_callbacks"].known == {}


def test_a_connection_that_ends_while_it_is_listed_is_not_kept(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_close=ends)
    native, known = vars(server)["_native"], vars(server)["_callbacks"].known
    client = connect(address_of(server))
    echoed(client, b"x")

    class EndsThem:
        def connections(self) -> Any:
            found = native.connections()
            assert len(found) == 1
            client.close()
            ends.wait()
            poll(lambda: known == {}, 10.0, "it is forgotten")
            return found

    vars(server)["_ours"] = EndsThem
    assert server.connections == []
    del vars(server)["_ours"]
    assert known == {}
    assert server.connections == []


def test_connections_that_are_listed_all_the_time_are_one_object_each_and_go(echo: Echo, serve: Serve) -> None:
    ends, listed = CloseRecorder(), dict[int, Connection]()
    over = threading.Event()
    server = serve(echo.address, on_close=ends)

    def look() -> None:
        while not over.is_set():
            for conn in server.connections:
                assert listed.setdefault(conn.id, conn) is conn

    thread = in_thread(look)
    for _ in range(100):
        exchange(server)
    ends.wait(100)
    over.set()
    thread.join(10.0)
    assert all(listed.get(conn.id, conn) is conn for conn in ends.all)
    assert server.connections == []
    poll(lambda: vars(server)["_callbacks"].known == {}, 10.0, "none is kept")


def test_they_cannot_be_copied(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    exchange(serve(echo.address, on_close=ends))
    for one in (ends.wait(), ends.wait().client):
        with pytest.raises(ArgumentTypeError, match="cannot be pickled or copied"):
            pickle.dumps(one)


@pytest.mark.parametrize("whole", [True, False], ids=["connection", "side"])
def test_passthrough_ends_the_callbacks(whole: bool, echo: Echo, serve: Serve) -> None:
    seen: list[tuple[bool, bytes]] = []
    ends = CloseRecorder()

    def on_recv(side: Side, data: bytes) -> bytes:
        seen.append((side.is_client, data))
        if data == b"enough":
            (side.connection if whole else side).passthrough()
        # The chunk at hand is still subject to the answer.
        return data.upper()

    def on_eof(side: Side) -> None:
        seen.append((side.is_client, b""))

    server = serve(echo.address, on_recv=on_recv, on_eof=on_eof, on_close=ends)
    with connect(address_of(server)) as client:
        assert echoed(client, b"first") == b"FIRST"
        assert echoed(client, b"enough") == b"ENOUGH"
        data = os.urandom(1 << 20)
        if whole:
            thread = threading.Thread(target=client.sendall, args=(data,))
            thread.start()
            got = b""
            while len(got) < len(data):
                got += client.recv(1 << 20)
            thread.join(10.0)
            assert got == data
        else:
            assert echoed(client, b"third") == b"THIRD"
    assert ends.wait().reason is CloseReason.FINISHED
    begin = [(True, b"first"), (False, b"FIRST"), (True, b"enough")]
    if whole:
        assert seen == begin
    else:
        # Only what the client sends was let go; the ends of both are still told.
        assert seen == [*begin, (False, b"ENOUGH"), (False, b"third"), (True, b""), (False, b"")]


def test_what_was_let_through_flows_while_the_lane_is_stuck(echo: Echo, serve: Serve) -> None:
    stuck, let_go = threading.Event(), threading.Event()

    def on_recv(side: Side, data: bytes) -> None:
        if data == b"stick":
            stuck.set()
            let_go.wait(30.0)
        else:
            side.connection.passthrough()

    server = serve(echo.address, on_recv=on_recv)
    try:
        with connect(address_of(server)) as client, connect(address_of(server)) as other:
            # The second of these is carried by the native side already.
            assert echoed(client, b"one") == b"one"
            assert echoed(client, b"two") == b"two"
            other.sendall(b"stick")
            assert stuck.wait(10.0)
            for _ in range(50):
                assert echoed(client, b"three") == b"three"
            let_go.set()
            assert other.recv(5) == b"stick"
    finally:
        let_go.set()


def test_passthrough_from_another_thread(echo: Echo, serve: Serve) -> None:
    seen: list[bytes] = []
    server = serve(echo.address, on_recv=from_data(lambda data: seen.append(data)))
    with connect(address_of(server)) as client:
        assert echoed(client, b"one") == b"one"
        server.connections[0].passthrough()
        count = len(seen)
        assert echoed(client, b"two") == b"two"
        assert len(seen) == count == 2
