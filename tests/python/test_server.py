"""TheServer while it runs: where it listens, what it forwards, what it says about its connections."""

from __future__ import annotations

import copy
import logging
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Serve
from interpose import CloseReason, Connection, ConnectionPhase, Forward, Limits, Listen, Side, TheServer, Timeouts
from support.addresses import address_of, turned_away
from support.deadline import poll
from support.peers import Echo, Served, connect, ending, read_exactly, reset
from support.peers import echo as echoed


def closed(connection: Connection) -> Connection:
    poll(lambda: connection.phase is ConnectionPhase.CLOSED, 10.0, f"{connection} closes")
    return connection


def only(server: TheServer) -> Connection:
    """Return the one connection, once it is open."""

    def found() -> list[Connection]:
        return [connection for connection in server.connections if connection.phase is ConnectionPhase.OPEN]

    (connection,) = poll(found, 10.0, "an open connection")
    return connection


def test_the_address_is_known_and_takes_clients_before_the_start(echo: Echo) -> None:
    server = TheServer("", 0, echo.address)
    host, port = address_of(server)
    assert (host, port > 0) == ("127.0.0.1", True)
    early = connect(address_of(server))
    early.sendall(b"before the start")
    with server, early:
        assert read_exactly(early, 16) == b"before the start"


def test_bytes_pass_both_ways_and_ends_as_ends(echo: Echo, serve: Serve) -> None:
    data = bytes(range(256)) * 4000
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        assert echoed(client, data) == data
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", b"")
    poll(lambda: server.stats.closed[CloseReason.FINISHED] == 1, 10.0, "the connection ends")
    stats = server.stats
    assert (stats.accepted, stats.active) == (1, 0)
    assert stats.to_upstream.delivered == stats.to_client.delivered == len(data)


@pytest.mark.parametrize("form", ["tuple", "text", "forward"])
def test_every_form_of_forward_to(form: str, echo: Echo, serve: Serve) -> None:
    host, port = echo.address
    server = serve({"tuple": (host, port), "text": f"{host}:{port}", "forward": Forward(host, port)}[form])
    assert server.forward_to == Forward(host, port)
    with connect(address_of(server)) as client:
        assert echoed(client, b"x") == b"x"


def test_a_subclass_may_say_where_to(echo: Echo) -> None:
    class Mine(TheServer):
        forward_to = echo.address

    with Mine("", 0) as server, connect(address_of(server)) as client:
        assert echoed(client, b"mine") == b"mine"
        assert server.forward_to == Forward(*echo.address)
    assert Mine.forward_to == echo.address


def test_the_sides_of_a_connection(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        echoed(client, b"hello")
        connection = only(server)
        near, far = connection.client, connection.upstream
        assert far is not None
        assert (near.is_client, far.is_client) == (True, False)
        assert (near.getpeername(), near.getsockname()) == (client.getsockname(), address_of(server))
        assert far.getpeername() == echo.address
        assert (near.other, far.other) == (far, near)
        assert near.connection == connection == far.connection
        assert len({near, connection.client, far}) == 2
        assert near != far
        assert near != "near"
        assert repr(near) == f"<client 127.0.0.1:{client.getsockname()[1]}>"
        assert repr(far) == f"<upstream 127.0.0.1:{echo.address[1]}>"
        assert repr(connection) == f"<Connection {connection.id} {near!r} {far!r} open>"


def test_a_connection_counts_while_it_lives_and_after(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        echoed(client, b"12345")
        connection = only(server)
        assert (connection.phase, connection.reason, connection.error) == (ConnectionPhase.OPEN, None, None)
        poll(lambda: connection.to_client.delivered == 5, 10.0, "the bytes are counted")
        assert connection.to_upstream.delivered == 5
        assert {connection: 1}[server.connections[0]] == 1
    assert closed(connection).reason is CloseReason.FINISHED
    assert connection.to_client.read == 5
    assert server.connections == []
    assert connection != server


def test_ids_are_never_used_twice(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    seen: set[int] = set()
    for _ in range(5):
        with connect(address_of(server)) as client:
            echoed(client, b"x")
            seen.add(closed_after(only(server), client))
    assert len(seen) == 5


def closed_after(connection: Connection, client: socket.socket) -> int:
    client.close()
    return closed(connection).id


@pytest.mark.parametrize(
    ("end", "reason", "seen"),
    [(Connection.close, CloseReason.CLOSED, "eof"), (Connection.abort, CloseReason.ABORTED, "reset")],
    ids=["close", "abort"],
)
def test_ending_a_connection(
    end: Callable[[Connection], None], reason: CloseReason, seen: str, echo: Echo, serve: Serve
) -> None:
    server = serve(echo.address)
    with connect(address_of(server)) as client, connect(address_of(server)) as other:
        echoed(client, b"x")
        connection = only(server) if server.stats.active == 1 else server.connections[0]
        echoed(other, b"y")
        mine, theirs = (client, other) if connection.client.getpeername() == client.getsockname() else (other, client)
        end(connection)
        end(connection)
        assert ending(mine) == (seen, b"")
        mine.close()
        assert closed(connection).reason is reason
        end(connection)
        assert echoed(theirs, b"still there") == b"still there"
    assert server.stats.closed[reason] == 1


def test_a_reset_is_told_apart_from_an_end(serve: Serve) -> None:
    with Served(reset) as upstream:
        server = serve(upstream.address)
        assert turned_away(address_of(server))
        poll(lambda: server.stats.closed[CloseReason.UPSTREAM_RESET] == 1, 10.0, "the reset is counted")


def test_a_connection_without_an_upstream_yet(tmp_path: Path, serve: Serve) -> None:
    # Nobody accepts there, and the backlog of one is full.
    with socket.socket(socket.AF_INET) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with connect(full.getsockname()), connect(address_of(serve(full.getsockname()))):
            pass
        server = serve(Forward(*full.getsockname(), connect_timeout=30))
        with connect(address_of(server)):
            connection: Connection = poll(lambda: server.connections, 10.0, "accepted")[0]
            if connection.phase is ConnectionPhase.CONNECTING:
                assert (connection.upstream, connection.client.other) == (None, None)
                assert "connecting" in repr(connection)
                connection.abort()
                assert closed(connection).reason is CloseReason.ABORTED


def test_unix_sockets_on_both_ends(tmp_path: Path) -> None:
    path, target = tmp_path / "listener", tmp_path / "upstream"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(target))
        listening.listen()
        with TheServer(f"unix:{path}", forward_to=f"unix:{target}") as server, socket.socket(socket.AF_UNIX) as client:
            assert (repr(server.address), server.unix_path) == (repr(f"unix:{path}"), str(path))
            client.settimeout(10)
            client.connect(str(path))
            upstream, _ = listening.accept()
            with upstream:
                client.sendall(b"over files")
                assert read_exactly(upstream, 10) == b"over files"
                side = only(server).client
                names: tuple[object, ...] = (side.getpeername(), side.getsockname(), side.unix_path)
                assert names == ("unix:", f"unix:{path}", "")
                assert repr(side) == "<client unix:>"
    assert not path.exists()


def test_ipv6(echo: Echo) -> None:
    with TheServer("::1", 0, echo.address) as server:
        assert address_of(server)[0] == "::1"
        assert f"[::1]:{address_of(server)[1]} ->" in repr(server)
        with connect(address_of(server)) as client:
            assert echoed(client, b"six") == b"six"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize("public", [False, True])
def test_a_listener_for_everybody_is_warned_about_once(
    host: str, public: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with TheServer(host, 0, "example.org:80", listen=Listen(public=public)):
        pass
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == (0 if public else 1)
    assert all("every machine" in text and "127.0.0.1" in text for text in warnings)


def test_the_loopback_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    TheServer("", 0, "example.org:80").stop()
    assert caplog.records == []


def test_the_settings_are_in_force(serve: Serve) -> None:
    server = serve("example.org:80", limits=Limits(max_connections=7), timeouts=Timeouts(idle=1))
    assert server.stats.max_connections == 7


def test_an_idle_timeout_is_kept(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, timeouts=Timeouts(idle=0.2))
    with connect(address_of(server)) as client:
        assert ending(client) == ("reset", b"")
    poll(lambda: server.stats.closed[CloseReason.IDLE_TIMEOUT] == 1, 10.0, "the end is counted")


def test_two_servers_share_a_port_when_both_say_so(echo: Echo) -> None:
    with TheServer("", 0, echo.address, listen=Listen(reuse_port=True)) as first:
        TheServer("", address_of(first)[1], echo.address, listen=Listen(reuse_port=True)).stop()


def test_a_server_says_its_state() -> None:
    server = TheServer("", 0, "example.org:80")
    port = address_of(server)[1]
    assert repr(server) == f"<TheServer 127.0.0.1:{port} -> example.org:80, listening>"
    server.start()
    assert repr(server).endswith(", started>")
    server.stop()
    assert repr(server).endswith(", closed>")


def test_a_server_or_connection_is_not_pickled_or_copied(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        echoed(client, b"x")
        connection = only(server)
        for value in (server, connection, connection.client):
            for way in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match=r"cannot be pickled or copied, .*; "):
                    way(value)


def test_a_side_is_what_the_reference_calls_it(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        echoed(client, b"x")
        assert isinstance(only(server).client, Side)
