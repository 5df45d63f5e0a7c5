"""`@server.on_recv`: a hook that is read on a server registers the function that it decorates."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, Connection, Forward, Side, TheServer
from support.callbacks import CloseRecorder, from_data, upper
from support.deadline import poll
from support.exchanges import exchange, wait_until_idle
from support.peers import Echo

HOOKS = ("on_accept", "on_connect", "on_recv", "on_client_recv", "on_upstream_recv", "on_eof", "on_close")


def noting(called: list[str], hook: str) -> Callable[..., None]:
    def with_data(side: Side, data: bytes) -> None:
        called.append(hook)

    def with_one(one: object) -> None:
        called.append(hook)

    return with_data if hook.endswith("recv") else with_one


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("started", [True, False])
def test_every_hook_registers_the_function_and_returns_it(hook: str, started: bool, echo: Echo) -> None:
    called: list[str] = []
    function = noting(called, hook)
    with TheServer("", 0, echo.address) as server:
        if started:
            assert exchange(server) == ("eof", b"abc")
        assert getattr(server, hook)(function) is function
        assert exchange(server) == ("eof", b"abc")
        wait_until_idle(server)
    # Stopped, the server has called its last on_close.
    assert set(called) == {hook}
    assert getattr(server, hook) == function


def test_the_next_one_replaces_it_and_deleting_takes_it_away(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)

    @server.on_client_recv
    def first(side: Side, data: bytes) -> bytes:
        return data * 2

    assert exchange(server) == ("eof", b"abcabc")

    @server.on_client_recv
    def second(side: Side, data: bytes) -> bytes:
        return data * 3

    assert exchange(server) == ("eof", b"abcabcabc")
    assert first is not second
    assert server.on_client_recv == second
    del server.on_client_recv
    assert exchange(server) == ("eof", b"abc")
    with pytest.raises(AttributeError, match="on_client_recv: there is no callback"):
        del server.on_client_recv


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("started", [True, False])
def test_it_replaces_what_the_constructor_was_given(hook: str, started: bool, echo: Echo) -> None:
    called: list[str] = []
    first, second = noting(called, "first recv" if hook.endswith("recv") else "first"), noting(called, hook)
    keywords: Any = {hook: first}
    with TheServer("", 0, echo.address, **keywords) as server:
        if started:
            assert exchange(server) == ("eof", b"abc")
            wait_until_idle(server)
            poll(lambda: called, 10.0, "the first was called")
        assert getattr(server, hook) == first
        called.clear()
        assert getattr(server, hook)(second) is second
        assert getattr(server, hook) == second
        assert called == []
        assert exchange(server) == ("eof", b"abc")
    assert set(called) == {hook}


def test_decorating_after_an_assignment_is_assigned_over_by_the_next(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    server.on_client_recv(from_data(lambda data: data * 2))
    server.on_client_recv = upper
    assert server.on_client_recv is upper
    assert exchange(server) == ("eof", b"ABC")


def test_what_was_registered_is_called_through_the_hook(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_close=ends)
    server.on_recv(upper)
    exchange(server)
    assert server.on_recv(ends.wait().client, b"abc") == b"ABC"


def test_the_hook_of_one_server_given_to_another_is_its_function(echo: Echo, serve: Serve) -> None:
    one, other = serve(echo.address), serve(echo.address)
    one.on_client_recv(upper)
    other.on_client_recv = one.on_client_recv
    assert other.on_client_recv is upper
    assert exchange(other) == ("eof", b"ABC")


def test_decorated_before_the_start_it_may_say_where_clients_go(echo: Echo) -> None:
    server = TheServer("", 0, "example.org:1")

    @server.on_accept
    def on_accept(conn: Connection) -> Forward:
        return Forward(*echo.address)

    with server:
        assert exchange(server) == ("eof", b"abc")
    assert on_accept.__name__ == "on_accept"


@pytest.mark.parametrize("hook", HOOKS)
def test_parentheses_are_answered_with_how_to_write_it(hook: str) -> None:
    server = TheServer("", 0, "example.org:80")
    with pytest.raises(ArgumentTypeError, match=f"{hook}: .* write @server.{hook} without parentheses"):
        getattr(server, hook)()
    server.stop()


@pytest.mark.parametrize("hook", HOOKS)
def test_parentheses_are_answered_also_where_a_function_is_registered(hook: str) -> None:
    server = TheServer("", 0, "example.org:80")
    getattr(server, hook)(print)
    with pytest.raises(ArgumentTypeError, match=f"{hook}: .* write @server.{hook} without parentheses"):
        getattr(server, hook)()
    server.stop()


@pytest.mark.parametrize("hook", HOOKS)
def test_what_does_not_fit_is_refused_as_when_it_is_assigned(hook: str) -> None:
    def nothing() -> None: ...

    server = TheServer("", 0, "example.org:80")
    with pytest.raises(ArgumentTypeError, match=f"{hook}: .*nothing takes .*, and is called as {hook}"):
        getattr(server, hook)(nothing)
    server.stop()


def test_an_override_finds_the_default_by_super_whatever_was_registered(echo: Echo) -> None:
    class Polite(TheServer):
        def on_client_recv(self, side: Side, data: bytes) -> Any:
            return super().on_client_recv(side, data)

    with Polite("", 0, echo.address) as server:

        def polite(side: Side, data: bytes) -> Any:
            return Polite.on_client_recv(server, side, data)

        setattr(server, "on_client_recv", polite)  # noqa: B010
        assert exchange(server) == ("eof", b"abc")
        assert wait_until_idle(server).stats.callback_errors == 0


class Overrides(TheServer):
    """Overrides every hook, and notes each call of a method."""

    called: list[str]

    def on_accept(self, conn: Connection) -> None:
        self.called.append("on_accept")

    def on_connect(self, conn: Connection) -> None:
        self.called.append("on_connect")

    def on_recv(self, side: Side, data: bytes) -> None:
        self.called.append("on_recv")

    def on_client_recv(self, side: Side, data: bytes) -> None:
        self.called.append("on_client_recv")

    def on_upstream_recv(self, side: Side, data: bytes) -> None:
        self.called.append("on_upstream_recv")

    def on_eof(self, side: Side) -> None:
        self.called.append("on_eof")

    def on_close(self, conn: Connection) -> None:
        self.called.append("on_close")


class Mixin:
    """Overrides every hook, in a class that is no server."""


for one in HOOKS:
    setattr(Mixin, one, getattr(Overrides, one))


class Mixed(Mixin, TheServer):
    """A server whose methods come from a mixin."""

    called: list[str]


class Descendant(Overrides):
    """Inherits all of them."""


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("kind", [Overrides, Descendant, Mixed])
def test_a_hook_that_the_subclass_overrides_decorates_as_well(
    kind: type[Overrides | Mixed], hook: str, echo: Echo
) -> None:
    methods, functions = list[str](), list[str]()
    function = noting(functions, hook)
    with kind("", 0, echo.address) as server:
        server.called = methods
        assert getattr(server, hook)(function) is function
        assert methods == []
        assert getattr(server, hook) == function
        assert exchange(server) == ("eof", b"abc")
        wait_until_idle(server)
    # Those for one direction go before on_recv.
    assert set(functions) == {hook} - {"on_recv"}
    assert hook not in methods
    assert methods
    with pytest.raises(ArgumentTypeError, match=f"write @server.{hook} without parentheses"):
        getattr(server, hook)()


@pytest.mark.parametrize("kind", [Overrides, Descendant, Mixed])
def test_an_override_is_called_and_read_as_a_method(kind: Any, echo: Echo) -> None:
    server: Any
    with kind("", 0, echo.address) as server:
        called = server.called = list[str]()
        server.on_recv(None, b"abc")
        assert called == ["on_recv"]
        method = kind.on_recv.__get__(server)
        assert server.on_recv == method
        assert {server.on_recv: 1} == {method: 1}
        assert server.on_recv.__func__ is kind.on_recv
        with pytest.raises(ArgumentTypeError, match=r"write @server\.on_recv without parentheses"):
            server.on_recv()
        server.on_recv(upper)
        del server.on_recv
        other = TheServer("", 0, echo.address)
        other.on_recv = server.on_recv
        with other:
            assert exchange(other) == ("eof", b"abc")
    assert called == ["on_recv"] * 3


def test_mixins_are_called_in_the_order_of_the_bases(echo: Echo) -> None:
    """Also where a class that comes later has a mixin's method in its place."""
    calls: list[str] = []

    class Shared:
        def on_client_recv(self, side: Side, data: bytes) -> Any:
            calls.append("shared")
            return super().on_client_recv(side, data)  # type: ignore[misc] # pyright: ignore

    class Special(Shared):
        def on_client_recv(self, side: Side, data: bytes) -> Any:
            calls.append("special")
            return super().on_client_recv(side, data)

    class Base(Shared, TheServer): ...

    class Derived(Base, Special): ...

    with Derived("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"abc")
        assert server.stats.callback_errors == 0
    assert calls == ["special", "shared"]


def test_a_hook_that_was_read_or_decorated_keeps_no_server_alive() -> None:
    server = TheServer("", 0, "example.org:80")
    server.on_recv(upper)
    assert callable(server.on_eof)
    gone = weakref.ref(server)
    server.stop()
    gc.disable()
    try:
        del server
        assert gone() is None
    finally:
        gc.enable()


def test_hooks_say_what_they_are() -> None:
    server = TheServer("", 0, "example.org:80")
    assert "nothing yet" in repr(server.on_eof)
    assert (server.on_eof.__doc__ or "").startswith("See the end of what")
    server.on_eof(print)
    assert repr(server.on_eof).endswith("calls <built-in function print>>")
    assert {server.on_eof: 1} == {print: 1}
    assert repr(server.on_eof) != repr(server.on_recv)
    server.stop()
