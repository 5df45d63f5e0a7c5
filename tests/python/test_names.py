"""Names that are nearly ours are answered with the nearest right one; other names stay free."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import interpose
import pytest
from conftest import Serve
from interpose import (
    ArgumentTypeError,
    Callbacks,
    ConfigError,
    Connection,
    Forward,
    Limits,
    Listen,
    Relay,
    Side,
    TheServer,
    Timeouts,
)
from support.peers import Echo, connect
from support.scripts import passes

TARGET = ("example.org", 80)
HOOK_SLIPS = [
    ("on_receive", "on_recv"),
    ("on_reciv", "on_recv"),
    ("onrecv", "on_recv"),
    ("onRecv", "on_recv"),
    ("on_data", "on_recv"),
    ("on_message", "on_recv"),
    ("on_client_data", "on_client_recv"),
    ("on_server_data", "on_upstream_recv"),
    ("on_connection", "on_accept"),
    ("on_client", "on_accept"),
    ("on_connected", "on_connect"),
    ("on_disconnect", "on_close"),
    ("on_end", "on_close"),
    ("on_closed", "on_close"),
    ("onclose", "on_close"),
]


@pytest.fixture
def server() -> Any:
    made = TheServer("", 0, TARGET)
    yield made
    made.stop()


@pytest.mark.parametrize(("wrong", "right"), HOOK_SLIPS)
def test_a_hook_by_another_name_is_refused_when_it_is_assigned_or_decorated(
    wrong: str, right: str, server: TheServer
) -> None:
    with pytest.raises(AttributeError, match=rf"{wrong}: it is no hook.*did you mean {right}\?"):
        setattr(server, wrong, print)
    with pytest.raises(AttributeError, match=rf"'TheServer' object has no attribute '{wrong}'; did you mean {right}\?"):
        getattr(server, wrong)(print)


@pytest.mark.parametrize(
    ("wrong", "right"), [*HOOK_SLIPS, ("data_received", "on_recv"), ("connection_lost", "on_close")]
)
def test_a_method_by_another_name_is_warned_of(wrong: str, right: str, caplog: pytest.LogCaptureFixture) -> None:
    kind: Any = type("Descendant", (TheServer,), {wrong: print})
    kind("", 0, TARGET).stop()
    assert [record.getMessage() for record in caplog.records if record.name == "interpose.callback"] == [
        f"Descendant.{wrong}: it is no hook, so it is not called as one; {right} is"
    ]


def test_a_class_that_has_the_hook_may_have_helpers_and_attributes(caplog: pytest.LogCaptureFixture) -> None:
    class Descendant(TheServer):
        on_message: Any = None
        on_receive: Any
        t = 0.0

        def __init__(self) -> None:
            self.msg_count = 0
            self.one_more = self.port = 1
            self.on_message = self.on_receive = print
            super().__init__("", 0, TARGET)
            self.t, self.run, self.host = 1.0, True, "mine"

        def on_recv(self, side: Side, data: bytes) -> None:
            self.on_data(side, data)

        def on_data(self, side: Side, data: bytes) -> None: ...

    server = Descendant()
    assert (server.port, server.run, server.host, server.msg_count) == (1, True, "mine", 0)
    server.stop()
    assert caplog.records == []


def test_an_attribute_of_a_subclass_that_looks_like_a_hook_is_kept_and_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Descendant(TheServer): ...

    server: Any = Descendant("", 0, TARGET)
    server.on_receive = print
    assert server.on_receive is print
    assert "on_recv is" in caplog.text
    server.stop()


KEYWORDS: list[tuple[Callable[..., object], str, str]] = [
    (TheServer, "target", "forward_to"),
    (TheServer, "upstream", "forward_to"),
    (TheServer, "dest", "forward_to"),
    (TheServer, "forwardto", "forward_to"),
    (TheServer, "onrecv", "on_recv"),
    (TheServer, "on_receive", "on_recv"),
    (TheServer, "on_data", "on_recv"),
    (TheServer, "timeout", "timeouts=Timeouts(idle=...)"),
    (TheServer, "idle_timeout", "timeouts=Timeouts(idle=...)"),
    (TheServer, "connect_timeout", "forward_to=Forward(host, port, connect_timeout=...)"),
    (TheServer, "max_connections", "limits=Limits(max_connections=...)"),
    (TheServer, "threads", "callbacks=Callbacks(threads=...)"),
    (TheServer, "bufsize", "relay=Relay(buffer_size=...)"),
    (TheServer, "backlg", "listen=Listen(backlog=...)"),
    (Relay, "idle", "timeouts=Timeouts(idle=...)"),
    (Callbacks, "workers", "threads"),
    (Forward, "timeout", "connect_timeout"),
    (Forward, "source_address", "source"),
    (Timeouts, "idle_timeout", "idle"),
    (Timeouts, "halfclose", "half_close"),
    (Timeouts, "drain", "TheServer(..., drain=...), or stop(drain=...)"),
    (Timeouts, "connect", "forward_to=Forward(host, port, connect_timeout=...)"),
    (Limits, "connections", "max_connections"),
    (Limits, "timeout", "timeouts=Timeouts(idle=...)"),
    (Listen, "port", "TheServer(host, port, ...)"),
    (Listen, "bind", "TheServer(host, port, ...)"),
    (Callbacks, "on_recv", "TheServer(..., on_recv=...)"),
    (Callbacks, "on_rcv", "TheServer(..., on_recv=...)"),
]


@pytest.mark.parametrize(("call", "wrong", "right"), KEYWORDS)
def test_a_keyword_by_another_name_is_answered_with_the_right_one(
    call: Callable[..., object], wrong: str, right: str
) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        call(**{wrong: 1})
    assert str(caught.value) == f"{wrong}: there is no such argument; did you mean {right}?"
    assert isinstance(caught.value, TypeError)


def test_keywords_of_methods_are_answered_too(server: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"timeout: there is no such argument; did you mean drain\?"):
        server.stop(timeout=5)
    with pytest.raises(
        ArgumentTypeError, match=r"handle_signal: there is no such argument; did you mean handle_signals\?"
    ):
        server.main_loop(handle_signal=True)


def test_a_keyword_that_looks_like_none_is_answered_with_all_there_are() -> None:
    arguments: dict[str, Any] = {"zzz\n": 1}
    with pytest.raises(ArgumentTypeError, match=r"zzz\\n: there is no such argument; there are half_close, idle, una"):
        Timeouts(**arguments)


SERVER_NAMES = [
    ("run", "main_loop()"),
    ("serve", "main_loop()"),
    ("listen", "start()"),
    ("close", "stop()"),
    ("shutdown", "stop()"),
    ("port", "address[1]"),
    ("host", "address[0]"),
    ("adress", "address"),
    ("mainloop", "main_loop"),
    ("conections", "connections"),
]


@pytest.mark.parametrize(("wrong", "right"), SERVER_NAMES)
def test_what_a_server_does_not_have_is_answered_with_what_it_has(wrong: str, right: str, server: TheServer) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{wrong}'; did you mean {re.escape(right)}"):
        getattr(server, wrong)
    assert not hasattr(server, wrong)


def test_what_looks_like_nothing_of_ours_is_plainly_not_there(server: TheServer) -> None:
    for name in ("zzz", "_private", "x" * 1_000_000):
        with pytest.raises(AttributeError, match=r"'TheServer' object has no attribute '\w+'$"):
            getattr(server, name)


SIDE_NAMES = [
    ("write", "send()"),
    ("peer", "getpeername()"),
    ("address", "getpeername()"),
    ("port", "getpeername()[1]"),
    ("abort", "connection.abort()"),
    ("shutdown", "half_close()"),
    ("upstream", "other"),
]
CONNECTION_NAMES = [
    ("peer", "client.getpeername()"),
    ("remote", "client.getpeername()"),
    ("send", "client.send()"),
    ("kill", "abort()"),
    ("is_closed", "phase"),
    ("server", "upstream"),
]


def test_what_sides_and_connections_do_not_have_is_answered_with_what_they_have(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with connect(server.address) as client:
        client.sendall(b"abc")
        assert client.recv(3) == b"abc"
        (conn,) = server.connections
        for owner, names in ((conn.client, SIDE_NAMES), (conn.upstream, SIDE_NAMES), (conn, CONNECTION_NAMES)):
            for wrong, right in names:
                with pytest.raises(AttributeError, match=rf"no attribute '{wrong}'; did you mean {re.escape(right)}"):
                    getattr(owner, wrong)
                assert not hasattr(owner, wrong)
                assert wrong not in dir(owner)


MODULE_NAMES = [
    ("MOAR", "MORE"),
    ("Proxy", "TheServer"),
    ("Server", "TheServer"),
    ("proxy", "TheServer"),
    ("TheSever", "TheServer"),
    ("theserver", "TheServer"),
    ("Foward", "Forward"),
    ("Timeout", "Timeouts"),
    ("Error", "InterposeError"),
]


@pytest.mark.parametrize(("wrong", "right"), MODULE_NAMES)
def test_what_the_package_does_not_have_is_answered_with_what_it_has(wrong: str, right: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'interpose' has no attribute '{wrong}'; did you mean {right}"):
        getattr(interpose, wrong)
    with pytest.raises(ImportError, match=f"cannot import name '{wrong}' from 'interpose'; did you mean {right}"):
        exec(f"from interpose import {wrong}")
    assert not hasattr(interpose, wrong)


def test_modules_of_the_package_are_imported_as_ever(tmp_path: Path) -> None:
    assert (
        passes(tmp_path, "from interpose import _settings_and_help, _cli; print(_settings_and_help.__name__)")
        == "interpose._settings_and_help\n"
    )


class Forgetful(TheServer):
    def __init__(self) -> None:
        self.mine = 1


async def with_asyncio(server: TheServer) -> None:
    async with server:
        pass


USES: dict[str, Callable[[TheServer], object]] = {
    "start": lambda server: server.start(),
    "main_loop": lambda server: server.main_loop(),
    "stop": lambda server: server.stop(),
    "address": lambda server: server.address,
    "stats": lambda server: server.stats,
    "connections": lambda server: server.connections,
    "with": lambda server: server.__enter__(),
    "async with": lambda server: asyncio.run(with_asyncio(server)),
    "serve_forever": lambda server: asyncio.run(server.serve_forever()),
    "wait_closed": lambda server: asyncio.run(server.wait_closed()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_an_init_that_forgets_that_of_the_server_is_told_so(use: Callable[[TheServer], object]) -> None:
    server = Forgetful()
    with pytest.raises(ConfigError, match=r"^Forgetful: super\(\).__init__\(\) was not called.*; call it in __init__"):
        use(server)
    assert repr(server) == "<Forgetful that was not made>"
    assert server.mine == 1


def test_checkers_and_signatures_see_the_names_that_there_are() -> None:
    import inspect

    assert "forward_to" in inspect.signature(TheServer).parameters
    assert list(inspect.signature(Timeouts).parameters) == ["half_close", "idle", "unacknowledged"]
    assert not hasattr(Connection, "peer")
