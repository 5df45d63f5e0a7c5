"""The hooks of a server: what each is called with, what its answer means, and how a callback becomes one."""

from __future__ import annotations

import inspect
import logging
import socket
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

from . import _native
from ._connection import Connection, Side
from ._exceptions import ArgumentTypeError, ConfigError, printable, wrong_type
from ._forward import Forward, forward_of, native_forward
from ._hook_decorators import method_of, wrap_overrides
from ._hook_types import (
    AcceptAnswer,
    Answer,
    EofAnswer,
    accept_hook,
    client_recv_hook,
    close_hook,
    connect_hook,
    eof_hook,
    recv_hook,
    upstream_recv_hook,
)
from ._names import HOOKS as HOOK_ALIASES
from ._names import is_alias, nearest
from ._outgoing import Outgoing
from ._own_socket import side_of, take_over

CallbackErrors: TypeAlias = Literal["close", "pass", "raise"]
"""The effect of an exception in a callback."""
Chunks: TypeAlias = Literal["bytes", "view"]
"""The type in which callbacks get a chunk."""

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

# Those that the tutorial has, where they take no arguments.
TUTORIAL_HOOKS = ("on_accept", "on_recv", "on_close")

# The native side's places, and the hooks that may fill each: the first that is there does.
_PLACES: dict[str, tuple[str, ...]] = {
    "accept": ("on_accept",),
    "connect": ("on_connect",),
    "client_recv": ("on_client_recv", "on_recv"),
    "upstream_recv": ("on_upstream_recv", "on_recv"),
    "eof": ("on_eof",),
    "close": ("on_close",),
}


class HookMethods:
    """The hooks, as methods to override, and as decorators of a server. A hook without a callback costs nothing.

    `@server.on_recv` has the server call the function that follows, from the next chunk on, in the place of one that
    was decorated before, or of a subclass's method.

    A callback runs on its server's lane, the thread of `main_loop()` or one that `start()` makes, one at a time;
    with `callback_threads` above 1, one at a time for each connection. An exception in it closes that connection
    (both sides are reset), is logged once to `interpose.callback`, and counted in `Stats.callback_errors`; with
    `callback_errors="pass"` the answer counts as None instead, with `"raise"` it comes out of `stop()`, `with` or
    `main_loop()` as well. KeyboardInterrupt and SystemExit stop the server
    and come out of `main_loop()`.
    """

    def __init_subclass__(cls, **named: Any) -> None:
        """Have the methods that override hooks decorate as the hooks do."""
        super().__init_subclass__(**named)
        wrap_overrides(cls, HOOKS)

    @accept_hook
    def on_accept(self, conn: Connection) -> AcceptAnswer:
        """Decide where a client goes. Called once for each client, before anything is connected or read.

        Return None to use `forward_to`; a Forward, `(host, port)` or an address text to go there; the side that
        `Forward.start()` has connected, or a connected `socket.socket`, which is taken over;
        `Forward.NOWHERE` for no upstream, so that callbacks answer; False to refuse: the client is reset, or,
        if `conn.client.send()` was called, gets that and an end of stream.
        """

    @connect_hook
    def on_connect(self, conn: Connection) -> None:
        """Greet the upstream. Called once, when it is connected, before a byte was read from either side.

        What `conn.upstream.send()` is given here arrives before anything of the client's.
        """

    @recv_hook
    def on_recv(self, side: Side, data: bytes) -> Answer:
        """See a chunk that `side` has sent. Its borders mean nothing; each byte comes once and in order.

        Return None to pass it on, a bytes-like object to send that instead, a list of them to send those in
        order, or `b""` to drop it. Called for both directions unless `on_client_recv` or `on_upstream_recv`
        is there for one. A chunk has `buffer_size` bytes at most.
        """

    @client_recv_hook
    def on_client_recv(self, side: Side, data: bytes) -> Answer:
        """Do what on_recv does for what the client sends. The other direction is relayed natively."""

    @upstream_recv_hook
    def on_upstream_recv(self, side: Side, data: bytes) -> Answer:
        """Do what on_recv does for what the upstream sends. The other direction is relayed natively."""

    @eof_hook
    def on_eof(self, side: Side) -> EofAnswer:
        """See the end of what `side` sends. Called once a side at most, after on_recv has seen all of it.

        Return None to pass the end on, bytes to send those before it, or False to withhold it: then the other
        side gets it from `side.other.half_close()` or `close()`, or the time limit `Timeouts.half_close` ends
        the connection. A side that resets has no end of stream.
        """

    @close_hook
    def on_close(self, conn: Connection) -> None:
        """See the connection's end. Called exactly once for every client, after everything else.

        `conn.reason`, `conn.error` and the ledgers are final. Called without arguments, in a script of the
        tutorial's form, it hangs up on the side at hand.
        """


def _is_default(kind: type, name: str) -> bool:
    # By its name: after a reload of modules there is more than one class of that name.
    return getattr(getattr(kind, name), "__qualname__", "") == f"HookMethods.{name}"


def own_hook(server: object, name: str) -> object:
    """Return the hook that `server` has: an attribute of its own, or what its class overrides; else None."""
    given = vars(server).get(name)
    if given is None and not _is_default(type(server), name):
        given = method_of(server, name)
    return given


def hooks_of(server: object) -> dict[str, Callable[..., Any]]:
    """Return the callbacks of `server` by hook, checked, without the methods of the tutorial's form."""
    given = vars(server)
    own = {name: own_hook(server, name) for name in HOOKS if name in given or not takes_nothing(server, name)}
    return {name: check(name, callback) for name, callback in own.items() if callback is not None}


def warn_of_slips(kind: type) -> None:
    """Warn of methods whose names are nearly those of hooks: nobody would ever call them."""
    for name in dir(kind):
        meant = _meant(name)
        # A class that has the hook may well have helpers of such names.
        if meant and callable(getattr(kind, name)) and not (is_alias(name) and not _is_default(kind, meant)):
            _say_slip(kind, name, meant)


def refuse_slip(server: object, name: str) -> None:
    """Raise for an attribute whose name is nearly that of a hook, before it is assigned; only warn in a subclass.

    What a class has declared is its own business.
    """
    kind = type(server)
    meant = _meant(name)
    if meant is None or hasattr(kind, name) or _declares(kind, name):
        return
    if kind.__module__ == "interpose._server":
        raise AttributeError(f"{printable(name)}: it is no hook, so it would never be called; did you mean {meant}?")
    _say_slip(kind, name, meant)


def _declares(kind: type, name: str) -> bool:
    try:
        return any(name in inspect.get_annotations(one) for one in kind.__mro__)
    except NameError:
        return True  # Annotations that name what is not there yet, and are evaluated by asking.


def _meant(name: str) -> str | None:
    if name in HOOKS or not (name.lower().startswith("on") or is_alias(name)):
        return None
    return nearest(name, HOOKS, HOOK_ALIASES)


def _say_slip(kind: type, name: str, meant: str) -> None:
    text = "%s.%s: it is no hook, so it is not called as one; %s is"
    logging.getLogger("interpose.callback").warning(text, kind.__name__, printable(name), meant)


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
        pass  # A built-in that tells nothing of its arguments.
    except TypeError:
        shown = printable(getattr(callback, "__qualname__", type(callback).__name__))
        takes = printable(str(inspect.signature(callback)))
        few = "" if name in TUTORIAL_HOOKS else f"; only {', '.join(TUTORIAL_HOOKS)} may be methods without arguments"
        raise ArgumentTypeError(f"{name}: {shown} takes {takes}, and is called as {wanted}{few}") from None
    return callback


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def takes_nothing(server: object, name: str) -> bool:
    """Whether the class of `server` overrides the hook with a method of no arguments: the tutorial's form."""
    if name not in TUTORIAL_HOOKS or _is_default(type(server), name):
        return False
    try:
        return not inspect.signature(method_of(server, name)).parameters
    except (TypeError, ValueError):
        return False


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


def fill(table: _native.Callbacks, hooks: dict[str, Callable[..., Any]]) -> None:
    """Give the native side the callbacks of `hooks`, by hook."""
    places: list[tuple[str, str, Callable[..., Any] | None]] = []
    for place, names in _PLACES.items():
        name = next((name for name in names if name in hooks), None)
        callback = None if name is None else hooks[name]
        if place == "accept" and callback is not None:
            callback = routed(callback)
        places.append((place, getattr(callback, "shown", name or names[0]), callback))
    table.fill(places)


def wants_views(value: object) -> bool:
    """Return whether `buffer` is to be a view, or raise."""
    if value not in ("bytes", "view"):
        raise ConfigError('buffer: it is neither "bytes" nor "view"; give one of them')
    return value == "view"


def errors_policy(value: str) -> str:
    """Return `callback_errors`, or raise."""
    if value not in ("close", "pass", "raise"):
        raise ConfigError('callback_errors: it is none of "close", "pass" and "raise"; give one of them')
    return value
