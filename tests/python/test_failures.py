"""What fails outside: listeners that cannot be had, upstreams that are not there. Told once, and the rest goes on."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from pathlib import Path

import pytest
from conftest import Serve
from interpose import BindError, CloseReason, Forward, ResolveError, TheServer
from support.addresses import address_of, turned_away
from support.deadline import poll
from support.peers import Address, Echo, Served, connect, ending
from support.peers import echo as echoed
from support.scripts import passes


def test_a_port_in_use_is_named_with_its_owner() -> None:
    with TheServer("", 0, "example.org:80") as first:
        port = address_of(first)[1]
        with pytest.raises(BindError) as caught:
            TheServer("", port, "example.org:80")
    message = str(caught.value)
    assert caught.value.errno == errno.EADDRINUSE
    assert f"127.0.0.1:{port}" in message
    assert ";" in message
    if sys.platform == "linux":
        assert str(os.getpid()) in message


def test_an_address_of_another_machine() -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1:9090.*: .*; ") as caught:
        TheServer("192.0.2.1", 9090, "example.org:80")
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_name_to_listen_on_that_does_not_resolve() -> None:
    begin = time.monotonic()
    with pytest.raises(ResolveError, match=r"nowhere\.invalid.*: .*; "):
        TheServer("nowhere.invalid", 0, "example.org:80")
    assert time.monotonic() - begin < 30


def listener_at(address: Address) -> socket.socket:
    """Listen where a socket is bound that does not listen itself."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen()
    return sock


def lowest_free_port() -> int:
    path = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return int(path.read_text()) if path.exists() else 1024


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no privileged ports")
@pytest.mark.skipif(lowest_free_port() <= 1, reason="this machine has no privileged ports")
def test_a_privileged_port(tmp_path: Path) -> None:
    text = """
        import os
        from interpose import BindPermissionError, TheServer
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        try:
            TheServer("", 1, "example.org:80")
        except BindPermissionError as error:
            print(error.errno, error)
    """
    number, message = passes(tmp_path, text).split(" ", 1)
    assert int(number) == errno.EACCES
    assert "127.0.0.1:1" in message
    assert ";" in message


def test_a_unix_path_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"no-such-folder/x.*: .*; ") as caught:
        TheServer(f"unix:{tmp_path}/no-such-folder/x", forward_to="example.org:80")
    assert caught.value.errno == errno.ENOENT


def test_a_refused_upstream_resets_the_client_and_is_told_once(
    refusing: Address, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(refusing)
    for _ in range(20):
        begin = time.monotonic()
        assert turned_away(address_of(server))
        assert time.monotonic() - begin < 1.0
    poll(lambda: server.stats.closed[CloseReason.REFUSED] == 20, 10.0, "every refusal is counted")
    poll(lambda: caplog.records, 10.0, "the refusal is logged")
    server.stop()
    told = [record for record in caplog.records if "refused" in record.getMessage()]
    assert 1 <= len(told) <= 3, caplog.text
    assert told[0].levelno == logging.WARNING
    assert told[0].name.startswith("interpose.")
    assert f"127.0.0.1:{refusing[1]}" in told[0].getMessage()


def test_the_listener_goes_on_when_the_upstream_comes_back(refusing: Address, serve: Serve) -> None:
    server = serve(refusing)
    assert turned_away(address_of(server))
    poll(lambda: server.stats.closed[CloseReason.REFUSED] == 1, 10.0, "the refusal is counted")
    with (
        Served(lambda sock: sock.sendall(b"back"), listening=listener_at(refusing)),
        connect(address_of(server)) as client,
    ):
        assert ending(client) == ("eof", b"back")
    assert server.stats.accepted == 2


def test_an_upstream_whose_name_does_not_resolve(serve: Serve) -> None:
    server = serve(Forward("nowhere.invalid", 80, connect_timeout=10))
    assert turned_away(address_of(server), 20.0)
    failed = (CloseReason.NAME_NOT_FOUND, CloseReason.RESOLVE_FAILED, CloseReason.CONNECT_TIMEOUT)
    poll(lambda: sum(server.stats.closed[reason] for reason in failed) == 1, 10.0, "the failure is counted")


def test_one_failing_server_does_not_disturb_another(refusing: Address, echo: Echo, serve: Serve) -> None:
    bad, good = serve(refusing), serve(echo.address)
    with connect(address_of(good)) as client:
        for _ in range(10):
            assert turned_away(address_of(bad))
            assert echoed(client, b"fine") == b"fine"


def test_a_server_whose_target_is_itself(serve: Serve) -> None:
    server = TheServer("", 0, "127.0.0.1:1")
    port = address_of(server)[1]
    server.stop()
    with pytest.raises(ValueError, match=r"forward_to: .*; "):
        TheServer("", port, ("127.0.0.1", port))


def test_a_failed_connection_says_why(serve: Serve) -> None:
    # The documentation's network answers nobody, or at once that there is no way to it.
    server = serve(Forward("192.0.2.1", 9, connect_timeout=0.3))
    try:
        with connect(address_of(server)) as client:
            connections = server.connections
            ending(client)
    except ConnectionResetError:
        connections = []
    for connection in connections:
        poll(lambda found=connection: found.reason, 10.0, "the end")  # type: ignore[misc]
        assert connection.error is not None
        assert "192.0.2.1:9" in connection.error
