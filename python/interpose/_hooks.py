"""The contracts of the hooks: what each is called with, what may be its callback, and what its answer means."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable
from typing import Any, cast

from . import _native
from ._connection import Connection
from ._exceptions import ArgumentTypeError, printable, wrong_type
from ._forward import Forward, forward_of, native_forward
from ._outgoing import Outgoing
from ._own_socket import side_of, take_over

# Each hook, and what its callback is called with.
HOOKS: dict[str, tuple[str, ...]] = {
    "on_accept": ("conn",),
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
    # Not what a wrapper wraps: it may run the coroutine itself.
    if any(map(_is_async, (callback, getattr(callback, "__call__", None)))):  # noqa: B004
        raise ArgumentTypeError(f"{name}: it is async def, and callbacks run outside of asyncio; give a plain def")
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


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def routed(callback: Callable[..., Any]) -> Callable[[Connection], object]:
    """Return an on_accept whose answer is in the native side's terms: True is nowhere."""

    def on_accept(conn: Connection) -> object:
        answer = callback(conn)
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
            return native_forward(forward_of(cast("object", answer), "on_accept"))
        if inspect.iscoroutine(answer):
            # Python would complain later, and elsewhere, that nobody awaited it.
            answer.close()
        raise TypeError(
            f"on_accept returned {printable(type(answer).__name__)}, not None (use forward_to), "
            "a Forward or an address (go there) or False (refuse)"
        )

    return on_accept


def places_of(
    hooks: dict[str, Callable[..., Any]], logged_as: dict[str, str]
) -> list[tuple[str, str, Callable[..., Any] | None]]:
    """Return the native side's places: for each its word, the name for messages, and the callback of `hooks`.

    `logged_as` has the names for messages of hooks that are not logged by their own.
    """
    places: list[tuple[str, str, Callable[..., Any] | None]] = []
    for place, names in _PLACES.items():
        name = next((name for name in names if name in hooks), names[0])
        callback = hooks.get(name)
        if place == "accept" and callback is not None:
            callback = routed(callback)
        places.append((place, logged_as.get(name, name), callback))
    return places
