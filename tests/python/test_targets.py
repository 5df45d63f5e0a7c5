"""Targets that take another's place, and targets that come up later, by program and by command."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from conftest import Serve
from interpose import CloseReason, Connection, ConnectionPhase, Forward, Side, TheServer
from support.addresses import address_of, turned_away
from support.deadline import poll
from support.peers import Address, Echo, connect, ending, free_port, reset
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import command as command_argv
from test_failures import listener_at


@pytest.mark.parametrize("hooked", [False, True])
def test_a_standby_takes_a_client_and_its_connection_says_why(
    hooked: bool, refusing: Address, echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[bytes] = []

    def on_client_recv(_: Side, data: bytes) -> None:
        seen.append(data)

    settings = {"on_client_recv": on_client_recv} if hooked else {}
    with caplog.at_level(logging.WARNING, "interpose"):
        server = serve(Forward(*refusing, fallback=[echo.address]), **settings)
        with connect(address_of(server)) as client:
            assert echoed(client, b"standby") == b"standby"
            (connection,) = server.connections
            line = f"connected to 127.0.0.1:{echo.address[1]}; before that cannot connect to 127.0.0.1:{refusing[1]}: "
            assert connection.error == f"{line}connection refused"
            assert connection.upstream is not None
            assert connection.upstream.getpeername() == echo.address
        server.stop()
    assert line in caplog.text
    assert b"".join(seen) == (b"standby" if hooked else b"")


def test_on_accept_may_answer_with_several_targets(refusing: Address, echo: Echo, serve: Serve) -> None:
    def on_accept(_: Connection) -> Forward:
        return Forward(*refusing, fallback=[echo.address])

    server = serve(None, on_accept=on_accept)
    with connect(address_of(server)) as client:
        assert echoed(client, b"chosen") == b"chosen"


def test_a_client_waits_for_an_upstream_that_comes_up(refusing: Address, serve: Serve) -> None:
    server = serve(Forward(*refusing, retry=60))
    with connect(address_of(server)) as client:
        client.sendall(b"patience")
        poll(lambda: server.connections, 10.0, "the client is accepted")
        (connection,) = server.connections
        assert connection.phase is ConnectionPhase.CONNECTING
        with Echo(listener_at(refusing)):
            assert client.recv(8) == b"patience"
            # It may have come up before the first attempt.
            assert connection.error is None or ", tried " in connection.error
            client.close()
            poll(lambda: connection.reason, 10.0, "the end")


def test_a_wait_has_an_end(refusing: Address, serve: Serve) -> None:
    server = serve(Forward(*refusing, retry=0.2))
    begin = time.monotonic()
    assert turned_away(address_of(server))
    assert time.monotonic() - begin >= 0.2
    poll(lambda: server.stats.closed[CloseReason.REFUSED] == 1, 10.0, "the failure is counted")


def test_a_client_that_resets_waits_no_longer(refusing: Address, serve: Serve) -> None:
    server = serve(Forward(*refusing, retry=600))
    client = connect(address_of(server))
    poll(lambda: server.connections, 10.0, "the client is accepted")
    reset(client)
    poll(lambda: server.stats.closed[CloseReason.CLIENT_GONE] == 1, 10.0, "the client is gone")


def test_a_client_that_waits_has_the_drain_of_a_server_that_is_left(refusing: Address) -> None:
    with TheServer("", 0, Forward(*refusing, retry=600), drain=0.2) as server:
        client = connect(address_of(server))
        poll(lambda: server.connections, 10.0, "the client is accepted")
    assert server.stats.closed[CloseReason.STOPPED] == 1
    assert ending(client) == ("reset", b"")
    client.close()


def test_targets_of_a_running_server_may_be_assigned(refusing: Address, echo: Echo, serve: Serve) -> None:
    server = serve(refusing)
    assert turned_away(address_of(server))
    server.forward_to = Forward(*refusing, fallback=[echo.address])
    with connect(address_of(server)) as client:
        assert echoed(client, b"now") == b"now"


def test_start_tries_every_target(refusing: Address, echo: Echo) -> None:
    side = Forward(*refusing, fallback=[echo.address]).start()
    assert side is not False
    assert side.getpeername() == echo.address
    side.close()


def test_the_command_has_a_standby_and_waits(refusing: Address, echo: Echo, tmp_path: Path) -> None:
    dead = f"127.0.0.1:{free_port()}"
    options = ["--fallback", dead, "--fallback", f"127.0.0.1:{echo.address[1]}", "--retry", "500ms"]
    with Child([*command_argv(), "0", f"127.0.0.1:{refusing[1]}", *options], tmp_path, name="interpose") as child:
        port = int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1])
        with connect(("127.0.0.1", port)) as client:
            assert echoed(client, b"by command") == b"by command"
        child.wait_for(f"before that cannot connect to 127.0.0.1:{refusing[1]}: connection refused; {dead}: ")
        assert child.stop() == 0
