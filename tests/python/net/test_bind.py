"""Binding: what is said when it cannot be done, and what is bound when it can."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from interpose import BindError, InterposeError, TheServer
from support.namespaces import Network
from support.peers import Address, Echo, bound_address, connect, echo, listener
from support.processes import Child, may_change_user
from support.proxies import ProxyProcess, command
from support.scripts import python_argv

from .conftest import Start

NOBODY = 65534


def test_backlog_beyond_the_kernels_limit_is_said(echo_upstream: Echo, start: Start) -> None:
    """AC-11: A backlog beyond the kernel's limit is reported with the length that it has."""
    effective = int(Path("/proc/sys/net/core/somaxconn").read_text())
    asked = effective * 2
    proxy = start({"forward": echo_upstream.address, "backlog": asked})
    warnings = proxy.warned(str(asked), str(effective), "net.core.somaxconn")
    assert len(warnings) == 1


def test_backlog_within_the_kernels_limit_is_silent(echo_upstream: Echo, start: Start) -> None:
    effective = int(Path("/proc/sys/net/core/somaxconn").read_text())
    proxy = start({"forward": echo_upstream.address, "backlog": effective})
    assert "WARNING" not in proxy.log()


def test_port_in_use_names_port_and_owner() -> None:
    """AC-12."""
    with listener() as taken:
        _, port = bound_address(taken)
        with pytest.raises(BindError) as caught:
            TheServer("127.0.0.1", port, forward_to=("127.0.0.1", 1))
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(port) in str(caught.value)
    if sys.platform == "linux":
        assert f"this process (pid {os.getpid()}) listens there itself" in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("ours", ["127.0.0.2", "::1"])
def test_a_port_of_ours_on_another_address_is_not_blamed(tmp_path: Path, ours: str) -> None:
    text = """
    import socket, sys
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
        print("listens", flush=True)
        sys.stdin.read()
    """
    try:
        own = listener(ours)
    except OSError:
        pytest.skip(f"this machine has no {ours}")
    with own, Child(python_argv(text, str(bound_address(own)[1])), tmp_path, stdin=subprocess.PIPE) as other:
        other.wait_for("listens")
        with pytest.raises(BindError, match=f".pid {other.pid}. listens there; stop it"):
            TheServer("127.0.0.1", bound_address(own)[1], forward_to=("127.0.0.1", 1))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_path_in_use_names_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "listen.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        with pytest.raises(BindError, match=f"this process .pid {os.getpid()}. listens there itself"):
            TheServer(f"unix:{path}", forward_to=("127.0.0.1", 1))


def test_port_in_use_ends_the_command_with_4(tmp_path: Path) -> None:
    with listener() as taken:
        _, port = bound_address(taken)
        with Child([*command(), str(port), "127.0.0.1:1"], tmp_path) as child:
            assert child.wait(10) == 4
            said = child.output()
    assert str(port) in said
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said


def test_privileged_port_explains_three_ways_out(start: Start) -> None:
    """AC-13: The error of a privileged port explains three ways out."""
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free <= 80:
        pytest.skip("port 80 is free for everybody here (ip_unprivileged_port_start)")
    plan = {"uid": NOBODY} if may_change_user() else {}
    proxy = start({"forward": ["127.0.0.1", 1], "listen": ["127.0.0.1", 80]}, plan=plan)
    assert {"BindPermissionError", "BindError", "PermissionError"} <= set(proxy.hello["kinds"])
    assert proxy.hello["errno"] in (errno.EACCES, errno.EPERM)
    message = proxy.hello["error"].lower()
    assert "80" in message
    for way in ("1024", "cap_net_bind_service", "ip_unprivileged_port_start"):
        assert way in message


def test_address_that_is_not_ours_is_named() -> None:
    """AC-14, with 192.0.2.1, which is for documentation: nobody has it."""
    with pytest.raises(BindError) as caught:
        TheServer("192.0.2.1", 0, forward_to=("127.0.0.1", 1))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert "192.0.2.1" in str(caught.value)


def test_port_0_is_known_and_connectable_at_once(echo_upstream: Echo) -> None:
    """AC-15, so that asking for the port and using it cannot race."""
    server = TheServer("127.0.0.1", 0, forward_to=echo_upstream.address)
    assert server.unix_path is None
    host, port = server.address
    assert host == "127.0.0.1"
    assert port > 0
    client = connect((host, port))
    client.sendall(b"early")
    # Entering starts it; leaving waits for the client, which is gone by then.
    with server, client:
        assert client.recv(16) == b"early"


def reachable(proxy: ProxyProcess, network: Network) -> dict[str, bool]:
    """From which addresses the listener of *proxy* answers."""
    _, port = proxy.address
    found: dict[str, bool] = {}
    for host in ("127.0.0.1", "::1", network.near_address, network.near_address6):
        try:
            with network.near.connect((host, port), 2.0) as client:
                found[host] = echo(client, b"hello") == b"hello"
        except OSError:
            found[host] = False
    return found


@pytest.mark.parametrize("bindv6only", ["0", "1"])
def test_wildcard_listeners_mean_the_same_on_every_machine(net: Network, start: Start, bindv6only: str) -> None:
    """AC-16: The address alone says which families a listener serves, not the machine's settings.

    Whatever net.ipv6.bindv6only says, [::] is both families and 0.0.0.0 is IPv4.
    """
    net.near.sysctl("ipv6.bindv6only", bindv6only)
    with net.near.listener("127.0.0.1") as listening, Echo(listening) as upstream:
        both = start({"forward": upstream.address, "listen": ["::", 0]}, prefix=net.near.prefix)
        assert reachable(both, net) == dict.fromkeys(("127.0.0.1", "::1", net.near_address, net.near_address6), True)
        four = start({"forward": upstream.address, "listen": ["0.0.0.0", 0]}, prefix=net.near.prefix)
        assert reachable(four, net) == {
            "127.0.0.1": True,
            "::1": False,
            net.near_address: True,
            net.near_address6: False,
        }


def test_no_thread_to_be_had_is_an_error_not_a_hang(start: Start) -> None:
    """AC-20: A start without a thread to be had is an error, and does not hang.

    The user may have one process only.
    """
    if not may_change_user():
        pytest.skip("only root can become a user who may have one process only")
    nobody_else = 54_321  # a user without processes, so that the limit counts this one alone
    proxy = start({"forward": ["127.0.0.1", 1]}, plan={"uid": nobody_else, "processes": 1})
    assert "InterposeError" in proxy.hello["kinds"]
    assert "thread" in proxy.hello["error"].lower()


def test_a_failed_bind_leaves_the_port_free() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    address: Address = bound_address(sock)
    with pytest.raises(InterposeError):
        TheServer(*address, forward_to=("127.0.0.1", 1))
    sock.close()
    server = TheServer(*address, forward_to=("127.0.0.1", 1))
    server.stop(0)
