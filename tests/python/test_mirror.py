"""The second target, which gets a copy of what clients send, by program and by command."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import AddressError, ArgumentTypeError, CloseReason, ConfigError, Forward, Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Address, Echo, Served, connect, listener
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import command as command_argv


class Shadow(Served):
    """A server that keeps what it gets, and answers to each read what no client must see."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = False
        super().__init__(self._keep)

    def _keep(self, sock: socket.socket) -> None:
        while data := sock.recv(65536):
            self.got += data
            sock.sendall(b"of the shadow")
        self.ended = True


def upper(_: Side, data: bytes) -> bytes:
    return data.upper()


@pytest.mark.parametrize("hooks", [{}, {"on_client_recv": upper}], ids=["native", "callback"])
def test_a_shadow_gets_what_the_client_sent_and_answers_nobody(hooks: dict[str, Any], echo: Echo, serve: Serve) -> None:
    with Shadow() as shadow:
        server = serve(echo.address, mirror_to=shadow.address, **hooks)
        with connect(address_of(server)) as client:
            for word in (b"one", b"two", b"six"):
                assert echoed(client, word) == (word.upper() if hooks else word)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        poll(lambda: shadow.ended, 10.0, "the shadow has the end")
        assert shadow.got == b"onetwosix"
        poll(lambda: server.stats.mirror_bytes == 9, 10.0, "the copy is counted")
        assert server.stats.mirror_missed_bytes == 0
        poll(lambda: server.stats.closed[CloseReason.FINISHED] == 1, 10.0, "it has ended in order")


def test_a_form_of_the_tutorial_has_a_shadow_as_well(echo: Echo) -> None:
    class Upper(TheServer):
        def on_recv(self) -> None:
            self.channel[self.s].send(self.data)

    with Shadow() as shadow, Upper("", 0, echo.address, mirror_to=shadow.address) as server:
        with connect(address_of(server)) as client:
            assert echoed(client, b"old form") == b"old form"
        poll(lambda: shadow.got == b"old form", 10.0, "the shadow has it")


def test_a_shadow_that_is_not_there_is_logged_and_counted(
    refusing: Address, echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "interpose"):
        server = serve(echo.address, mirror_to=refusing)
        with connect(address_of(server)) as client:
            assert echoed(client, b"alone") == b"alone"
            poll(lambda: server.stats.mirror_missed_bytes == 5, 10.0, "the bytes are counted")
        poll(lambda: server.stats.closed[CloseReason.FINISHED] == 1, 10.0, "it has ended in order")
        server.stop()
    line = f"mirror_to 127.0.0.1:{refusing[1]} misses the rest of what the client sends: cannot connect to "
    assert caplog.text.count(line) == 1


def test_a_shadow_that_reads_nothing_slows_nobody(echo: Echo, serve: Serve) -> None:
    with listener() as deaf:
        server = serve(echo.address, mirror_to=deaf.getsockname())
        block = bytes(1 << 20)
        with connect(address_of(server)) as client:
            for _ in range(24):
                assert echoed(client, block) == block
            poll(lambda: server.stats.mirror_missed_bytes > 0, 10.0, "the shadow misses some")


def test_a_shadow_may_be_assigned_and_is_what_was_given(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    assert server.mirror_to is None
    with Shadow() as shadow:
        server.mirror_to = shadow.address
        assert server.mirror_to == Forward(*shadow.address)
        with connect(address_of(server)) as client:
            assert echoed(client, b"now") == b"now"
            poll(lambda: shadow.got == b"now", 10.0, "the shadow has it")
    server.mirror_to = None
    assert server.mirror_to is None


def test_a_class_may_have_a_shadow() -> None:
    class Service(TheServer):
        forward_to = ("192.0.2.1", 80)
        mirror_to = "192.0.2.2:80"

    server = Service("", 0)
    assert server.mirror_to == Forward("192.0.2.2", 80)
    server.stop()


def test_a_shadow_that_is_the_upstream_is_refused_because_it_would_get_each_client_twice(
    echo: Echo, refusing: Address, serve: Serve
) -> None:
    refused = r"^mirror_to: 127\.0\.0\.1:\d+ is forward_to as well, .* twice; give another target$"
    with pytest.raises(ConfigError, match=refused):
        serve(echo.address, mirror_to=Forward(*echo.address, connect_timeout=1))
    server = serve(echo.address, mirror_to=refusing)
    with pytest.raises(ConfigError, match=refused):
        server.mirror_to = echo.address
    with pytest.raises(ConfigError, match=refused):
        server.forward_to = refusing
    assert (server.forward_to, server.mirror_to) == (Forward(*echo.address), Forward(*refusing))
    # A shadow that takes over is no shadow any more.
    server.mirror_to = None
    server.forward_to = refusing


@pytest.mark.parametrize(
    "value", ["host", "::1:80", "host:0", ("host", 70000), ("host", "80"), ("", 80), "x" * 400, 80]
)
def test_an_error_of_an_address_names_the_setting_that_has_it(value: Any) -> None:
    for name, call in (
        ("forward_to", lambda: TheServer("", 0, value)),
        ("mirror_to", lambda: TheServer("", 0, "192.0.2.1:80", mirror_to=value)),
        ("fallback", lambda: Forward("192.0.2.1:80", fallback=[value])),
    ):
        with pytest.raises((AddressError, ArgumentTypeError, ConfigError)) as raised:
            call()
        text = str(raised.value)
        assert text.startswith(f"{name}: ")
        assert text.count("forward_to") == (name == "forward_to")
        assert "; " in text
        assert text.isprintable()


def test_a_shadow_that_is_the_server_itself_is_refused(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with pytest.raises(ConfigError, match=r"^mirror_to .*own address; "):
        server.mirror_to = address_of(server)
    assert server.mirror_to is None
    with pytest.raises(ConfigError, match=r"^mirror_to: .* names no target"):
        server.mirror_to = Forward.NOWHERE


def test_the_command_has_a_shadow(echo: Echo, tmp_path: Path) -> None:
    with Shadow() as shadow:
        options = ["--mirror-to", f"127.0.0.1:{shadow.address[1]}"]
        argv = [*command_argv(), "0", f"127.0.0.1:{echo.address[1]}", *options]
        with Child(argv, tmp_path, name="interpose") as child:
            port = int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1])
            with connect(("127.0.0.1", port)) as client:
                assert echoed(client, b"by command") == b"by command"
            poll(lambda: shadow.got == b"by command", 10.0, "the shadow has it")
            assert child.stop() == 0
