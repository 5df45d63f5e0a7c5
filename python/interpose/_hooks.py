"""The contracts of the hooks: what each is called with, what may be its callback, and what its answer means."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

from . import _native
from ._client_hello import PASS, ClientHello
from ._connection import Connection
from ._coroutine_functions import called_of, is_async
from ._exceptions import ArgumentTypeError, printable, wrong_type
from ._forward import Forward, forward_of, native_forward
from ._outgoing import Outgoing
from ._own_socket import side_of, take_over
from ._preread import MORE
from ._tls import Tls, native_tls

# Each hook, and what its callback is called with.
HOOKS: dict[str, tuple[str, ...]] = {
    "on_accept": ("conn",),
    "on_client_hello": ("conn", "hello"),
    "on_preread": ("conn", "data"),
    "on_connect": ("conn",),
    "on_recv": ("side", "data"),
    "on_client_recv": ("side", "data"),
    "on_upstream_recv": ("side", "data"),
    "on_eof": ("side",),
    "on_close": ("conn",),
}

# Those for which a class may have a method without arguments as well.
WITHOUT_ARGUMENTS = ("on_accept", "on_recv", "on_close")

# The native side's places, and the hooks that may fill each: the first that is there does.
_PLACES: dict[str, tuple[str, ...]] = {
    "accept": ("on_accept",),
    "client_hello": ("on_client_hello",),
    "preread": ("on_preread",),
    "connect": ("on_connect",),
    "client_recv": ("on_client_recv", "on_recv"),
    "upstream_recv": ("on_upstream_recv", "on_recv"),
    "eof": ("on_eof",),
    "close": ("on_close",),
}


def check(name: str, callback: object) -> Callable[..., Any]:
    """Return `callback` if it can be called as the hook `name` is, or raise ArgumentTypeError."""
    arguments = HOOKS[name]
    wanted = f"{name}({', '.join(arguments)})"
    if not callable(callback):
        raise wrong_type(name, callback, "a function", f"give one that can be called as {wanted}")
    if inspect.isasyncgenfunction(callback) or inspect.isasyncgenfunction(called_of(callback)):
        raise ArgumentTypeError(f"{name}: it is async def with a yield, which answers nothing; return the answer")
    try:
        inspect.signature(callback).bind(*arguments)
    except ValueError:
        pass  # A built-in without a signature.
    except TypeError:
        shown = printable(getattr(callback, "__qualname__", type(callback).__name__))
        takes = printable(str(inspect.signature(callback)))
        bare = ", ".join(WITHOUT_ARGUMENTS)
        few = "" if name in WITHOUT_ARGUMENTS else f"; only {bare} may be methods without arguments"
        raise ArgumentTypeError(f"{name}: {shown} takes {takes}, and is called as {wanted}{few}") from None
    return callback


def refuse_async(name: str, callback: object) -> None:
    """Raise ArgumentTypeError for a coroutine function beside methods without arguments."""
    if is_async(callback):
        raise ArgumentTypeError(
            f"{name}: it is async def, and methods without arguments share self.s, which would change while it waits; "
            "make it a plain def, or give all methods their arguments"
        )


def refuse_early(name: str, callback: object) -> None:
    """Raise ArgumentTypeError for an on_client_hello or on_preread beside methods without arguments."""
    if callback is not None:
        raise ArgumentTypeError(
            f"{name}: methods without arguments accept clients themselves, so there is nothing to decide; "
            "decide in on_accept, or give all methods their arguments"
        )


def routed(name: str, callback: Callable[..., Any]) -> Callable[..., object]:
    """Return an on_accept or on_preread whose answer is in the native side's terms: True is nowhere."""

    async def later(conn: Connection, answer: Awaitable[object]) -> object:
        return _route(name, conn, await answer)

    def decide(conn: Connection, *data: bytes) -> object:
        answer = callback(conn, *data)
        return later(conn, answer) if inspect.isawaitable(answer) else _route(name, conn, answer)

    async def decide_later(conn: Connection, *data: bytes) -> object:
        return _route(name, conn, await callback(conn, *data))

    return decide_later if is_async(callback) else decide


def _route(name: str, conn: Connection, answer: object) -> object:
    """Return the answer of the hook `name` in the native side's terms: an ellipsis asks for more bytes."""
    if answer is MORE and name == "on_preread":
        return ...
    if answer is None or answer is False or isinstance(answer, _native.Outgoing):
        return answer
    if isinstance(answer, socket.socket):
        answer = side_of(answer) or take_over(answer)
    if isinstance(answer, Outgoing):
        answer.check_free()
        answer.pair(conn)
        return answer.native
    if answer is Forward.NOWHERE:
        return True
    if isinstance(answer, (Forward, str, tuple)):
        return native_forward(forward_of(cast("object", answer), name))
    raise TypeError(
        f"{name} returned {printable(type(answer).__name__)}, not "
        f"{'interpose.MORE (call again when more has come), ' if name == 'on_preread' else ''}None (use forward_to), "
        "a Forward or an address (go there) or False (refuse)"
    )


def greeting(callback: Callable[..., Any]) -> Callable[..., object]:
    """Return an on_client_hello for the native side: it gets the parts of the hello, and True passes."""

    async def later(answer: Awaitable[object]) -> object:
        return _greet(await answer)

    def decide(conn: Connection, parts: tuple[Any, ...]) -> object:
        answer = callback(conn, ClientHello(*parts))
        return later(answer) if inspect.isawaitable(answer) else _greet(answer)

    async def decide_later(conn: Connection, parts: tuple[Any, ...]) -> object:
        return _greet(await callback(conn, ClientHello(*parts)))

    return decide_later if is_async(callback) else decide


def _greet(answer: Any) -> object:
    """Return the answer of on_client_hello in the native side's terms."""
    if answer is None or answer is False:
        return answer
    if answer is PASS:
        return True
    if isinstance(answer, Tls):
        return native_tls(answer)
    if isinstance(answer, (Forward, str, tuple)) and answer is not Forward.NOWHERE:
        return native_forward(forward_of(cast("object", answer), "on_client_hello"))
    shown = "Forward.NOWHERE" if answer is Forward.NOWHERE else printable(type(cast("object", answer)).__name__)
    raise TypeError(
        f"on_client_hello returned {shown}, not None (as tls and forward_to say), interpose.PASS (undecrypted), "
        "a Forward or an address (go there), a Tls (decrypt with that) or False (refuse)"
    )


def places_of(
    hooks: dict[str, Callable[..., Any]], logged_as: dict[str, str]
) -> list[tuple[str, str, Callable[..., Any] | None, bool]]:
    """Return the native side's places.

    Each has its word, the name for messages, the callback of `hooks`, and whether that is a coroutine function.
    `logged_as` has the names for messages of hooks that are not logged by their own.
    """
    places: list[tuple[str, str, Callable[..., Any] | None, bool]] = []
    for place, names in _PLACES.items():
        name = next((name for name in names if name in hooks), names[0])
        callback = hooks.get(name)
        if place in ("accept", "preread") and callback is not None:
            callback = routed(name, callback)
        elif place == "client_hello" and callback is not None:
            callback = greeting(callback)
        places.append((place, logged_as.get(name, name), callback, is_async(callback)))
    return places
