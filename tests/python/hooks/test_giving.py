"""How a callback is given: as a keyword, assigned, deleted, overridden; and what may be one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, ConfigError, Connection, Side, TheServer
from support.callbacks import from_data, upper
from support.exchanges import exchange, wait_until_idle
from support.peers import Echo

HOOKS = ("on_accept", "on_connect", "on_recv", "on_client_recv", "on_upstream_recv", "on_eof", "on_close")


class Shouter:
    """Everything that a class can offer as a callback."""

    def method(self, side: Side, data: bytes) -> bytes:
        return data.upper()

    @classmethod
    def of_class(cls, side: Side, data: bytes) -> bytes:
        return data.upper()

    @staticmethod
    def static(side: Side, data: bytes) -> bytes:
        return data.upper()

    def __call__(self, side: Side, data: bytes) -> bytes:
        return data.upper()


class Shouted(bytes):
    """A class that is called itself; what it makes is bytes."""

    def __new__(cls, side: Side, data: bytes) -> Shouted:
        return super().__new__(cls, data.upper())


def with_more(side: Side, data: bytes, times: int = 1, *, unused: object = None) -> bytes:
    return data.upper() * times


def anything(*arguments: Any, **_: Any) -> bytes:
    shout: bytes = arguments[1].upper()
    return shout


@functools.wraps(upper)
def wrapper(*arguments: Any) -> bytes:
    return upper(*arguments)


CALLABLES: dict[str, Callable[..., Any]] = {
    "function": upper,
    "bound method": Shouter().method,
    "class method": Shouter.of_class,
    "static method": Shouter.static,
    "callable object": Shouter(),
    "partial": functools.partial(with_more, times=1),
    "partial of a method": functools.partial(Shouter().method),
    "lambda": from_data(lambda data: data.upper()),
    "defaults": with_more,
    "any arguments": anything,
    "wrapper": wrapper,
    "class": Shouted,
}


@pytest.mark.parametrize("callback", CALLABLES.values(), ids=CALLABLES)
def test_cb_28_what_may_be_a_callback(callback: Callable[..., Any], echo: Echo, serve: Serve) -> None:
    """CB-28: Any callable with room for the arguments may be a callback."""
    server = serve(echo.address, on_client_recv=callback)
    assert exchange(server) == ("eof", b"ABC")


def test_a_mock_is_a_callback_whose_attributes_mean_nothing(echo: Echo, serve: Serve) -> None:
    callback = Mock(return_value=b"mocked")
    assert exchange(serve(echo.address, on_client_recv=callback)) == ("eof", b"mocked")
    callback.assert_called_once()


def test_a_builtin(echo: Echo, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """`print` passes everything on."""
    assert exchange(serve(echo.address, on_recv=print)) == ("eof", b"abc")
    assert capsys.readouterr().out.count("b'abc'") == 2


def test_given_as_keyword_assigned_and_deleted(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_client_recv=upper)
    assert server.on_client_recv == upper
    assert exchange(server) == ("eof", b"ABC")
    server.on_client_recv = from_data(lambda data: data * 2)
    assert exchange(server) == ("eof", b"abcabc")
    del server.on_client_recv
    assert exchange(server) == ("eof", b"abc")
    with pytest.raises(AttributeError):
        del server.on_client_recv
    server.on_client_recv = upper
    assert server.on_client_recv is upper
    assert exchange(server) == ("eof", b"ABC")


def test_none_takes_a_callback_away(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_client_recv=upper)
    setattr(server, "on_client_recv", None)  # noqa: B010
    assert exchange(server) == ("eof", b"abc")


def test_assigned_to_a_server_that_was_started_without_any(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    assert exchange(server) == ("eof", b"abc")
    server.on_client_recv = upper
    assert exchange(server) == ("eof", b"ABC")


def test_assigned_before_the_start(echo: Echo) -> None:
    server = TheServer("", 0, echo.address)
    server.on_client_recv = upper
    with server:
        assert exchange(server) == ("eof", b"ABC")


class Upper(TheServer):
    """Overrides a hook as a method."""

    def on_client_recv(self, side: Side, data: bytes) -> bytes:
        return data.upper()


class Attribute(TheServer):
    """Overrides a hook with something that is not a method."""

    on_client_recv = staticmethod(upper)  # pyright: ignore[reportAssignmentType]


class Partial(TheServer):
    on_client_recv = functools.partial(upper)  # pyright: ignore[reportAssignmentType]


@pytest.mark.parametrize("kind", [Upper, Attribute, Partial])
def test_overridden_in_a_subclass(kind: type[TheServer], echo: Echo) -> None:
    with kind("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"ABC")


def test_an_instances_own_goes_before_its_classs(echo: Echo) -> None:
    with Upper("", 0, echo.address, on_client_recv=from_data(lambda data: data * 2)) as server:
        assert exchange(server) == ("eof", b"abcabc")
        del server.on_client_recv
        assert exchange(server) == ("eof", b"ABC")


def test_a_method_may_call_what_it_overrides(echo: Echo) -> None:
    class Polite(TheServer):
        def on_connect(self, conn: Connection) -> None:
            super().on_connect(conn)

        def on_client_recv(self, side: Side, data: bytes) -> Any:
            return super().on_client_recv(side, data)

    with Polite("", 0, echo.address) as server:
        assert exchange(server) == ("eof", b"abc")
        assert wait_until_idle(server).stats.callback_errors == 0


def test_one_direction_s_goes_before_both_directions_(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_recv=from_data(lambda data: data + b"!"), on_client_recv=upper)
    # What the upstream sends is one chunk: it is sent back in one.
    assert exchange(server) == ("eof", b"ABC!")


async def asynchronous(conn: object, data: object = None) -> None: ...


class Yielding:
    """Callables that answer nothing."""

    async def method(self, conn: object, data: object = None) -> AsyncIterator[bytes]:
        yield b""

    async def __call__(self, conn: object, data: object = None) -> AsyncIterator[bytes]:
        yield b""


YIELDING = {"method": Yielding().method, "object": Yielding(), "partial": functools.partial(Yielding().method)}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("callback", YIELDING.values(), ids=YIELDING)
def test_async_def_with_a_yield_is_refused_when_it_is_given(hook: str, callback: Callable[..., Any]) -> None:
    with pytest.raises(ArgumentTypeError, match=f"{hook}: it is async def with a yield"):
        TheServer("", 0, "example.org:80", **{hook: callback})  # type: ignore[arg-type]


def nothing() -> None: ...


def one(a: object) -> None: ...


def three(a: object, b: object, c: object) -> None: ...


def needs_keyword(a: object, b: object = None, *, must: object) -> None: ...


UNFIT = {"nothing": nothing, "three": three, "needs_keyword": needs_keyword}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("callback", UNFIT.values(), ids=UNFIT)
def test_cb_29_a_wrong_signature_is_an_error_when_given(hook: str, callback: Callable[..., Any]) -> None:
    """CB-29: A callback with a wrong signature is refused when it is assigned."""
    with pytest.raises(ArgumentTypeError, match=f"{hook}: {callback.__name__} takes .*, and is called as {hook}\\("):
        TheServer("", 0, "example.org:80", **{hook: callback})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [3, "text", b"bytes", [], object()], ids=lambda value: type(value).__name__)
def test_not_callable(value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=f"on_recv: it is {type(value).__name__}, not a function"):
        TheServer("", 0, "example.org:80", on_recv=value)


def test_a_wrong_method_of_a_subclass(echo: Echo) -> None:
    class OneTooFew(TheServer):
        def on_recv(self, side: Side) -> None: ...  # type: ignore[override] # pyright: ignore

    yielding_kind = type("Asynchronous", (TheServer,), {"on_recv": Yielding.method})

    with pytest.raises(ArgumentTypeError, match=r"on_recv: .*OneTooFew\.on_recv takes .*, and is called as on_recv"):
        OneTooFew("", 0, echo.address)
    with pytest.raises(ArgumentTypeError, match="on_recv: it is async def with a yield"):
        yielding_kind("", 0, echo.address)


def test_a_wrong_one_leaves_the_one_before_in_force(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    server.on_client_recv = upper
    for wrong in (one, Yielding(), 7):
        with pytest.raises(ArgumentTypeError):
            setattr(server, "on_client_recv", wrong)  # noqa: B010
    assert server.on_client_recv is upper
    assert exchange(server) == ("eof", b"ABC")


@pytest.mark.parametrize("settings", [{"callback_threads": 0}, {"callback_errors": "ignore"}, {"buffer_size": 0}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        TheServer("", 0, "example.org:80", on_recv=print, **settings)


@functools.wraps(asynchronous)
def awaited(side: Side, data: bytes) -> Any:
    return asyncio.run(asynchronous(side, data))


def test_a_wrapper_that_runs_its_coroutine_is_a_plain_callback(echo: Echo, serve: Serve) -> None:
    assert exchange(serve(echo.address, on_client_recv=awaited)) == ("eof", b"abc")
