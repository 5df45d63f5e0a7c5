"""The tutorial's form: subclasses whose hooks take no arguments run as in 2012.

Then a server had its sockets in `input_list`, the pairs of them in `channel`, and the one at hand, with what it had
received, in `self.s` and `self.data`. All of that is here again, over connections that the native side carries: each
socket is one of its own, and nothing is forwarded unless a method sends it.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ._callbacks import ServerCallbacks
from ._connection import Side
from ._containers import Channel, InputList
from ._exceptions import ArgumentTypeError, ConfigError, printable
from ._forward import Forward
from ._hook_decorators import is_default, method_of, refuse_parentheses
from ._hooks import WITHOUT_ARGUMENTS
from ._script import Listener, Sides
from ._tutorial_hooks import ScriptHooks

if TYPE_CHECKING:
    from ._groups import Callbacks
    from ._hook_types import BareServer


if TYPE_CHECKING:
    _Value = TypeVar("_Value")

    class _OfScripts(Generic[_Value]):
        """An attribute of servers of the tutorial's form alone."""

        def __get__(self, server: BareServer, kind: Any = None, /) -> _Value: ...
        def __set__(self, server: BareServer, value: _Value, /) -> None: ...


class TutorialAttributes:
    """The attributes that methods of the tutorial's form use on their server."""

    if TYPE_CHECKING:
        s: _OfScripts[Side]
        """The side at hand."""
        data: _OfScripts[bytes]
        """The chunk that it has sent, in `on_recv`."""
        channel: _OfScripts[dict[Any, Any]]
        """The other side of each: entering a pair pairs, deleting it unpairs."""
        input_list: _OfScripts[list[Any]]
        """The listener and every side that is read."""
        server: _OfScripts[Listener]
        """The listener; `self.server.accept()` returns the client and its address, in `on_accept`."""

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            container = vars(self).get(name) if name in ("channel", "input_list") else None
            if isinstance(container, (Channel, InputList)):
                # In place: `+=` assigns what it has changed.
                container.replace(value)
            else:
                super().__setattr__(name, value)


class Tutorial:
    """The tutorial's form of one server: the Form that its callbacks ask. It keeps no server of our form alive."""

    def __init__(self, server: object, callbacks: ServerCallbacks, settings: Callbacks) -> None:
        self._server = weakref.ref(server)
        self._callbacks = callbacks
        self._inspect_limit = settings.inspect_limit
        self._sides: Sides | None = None
        self._bare = frozenset(name for name in WITHOUT_ARGUMENTS if _takes_nothing(server, name))
        self.is_used = bool(self._bare)
        if self.is_used and settings.threads > 1:
            raise ConfigError("threads: methods without arguments share self.s, so callbacks run on one; leave it at 1")

    def has(self, name: str) -> bool:
        """Return whether the server's class overrides the hook with a method of no arguments."""
        return name in self._bare

    def put(self, hooks: dict[str, Callable[..., Any]], given: dict[str, Callable[..., Any]]) -> dict[str, str]:
        """Set the tutorial's attributes of the server, and put what calls its methods among `hooks`.

        A callback of our form that stands in the place of a method, or beside it, is called as ever. Return the names
        to log hooks by where they are not their own.
        """
        server, sides = self._server(), self._sides
        if sides is None:
            sides = self._sides = Sides(vars(server), self._callbacks.native, self._callbacks.known)
            self._callbacks.lanes.on_start = sides.begin
        methods = {name: method_of(server, name) for name in self._bare}
        # A callback takes the place of a method, but for on_close: ours sees connections, the script's sees sides.
        own = {name: method for name, method in methods.items() if name == "on_close" or name not in given}
        # Where there is no on_eof of our form, an end of stream does nothing but call the script's on_close.
        logged_as = {"on_eof": "on_close"} if "on_close" in own and "on_eof" not in hooks else {}
        script = ScriptHooks(
            sides,
            own,
            dict(hooks),
            self._send_on,
            passes_errors=self._callbacks.passes_errors,
            inspect_limit=self._inspect_limit,
        )
        if "on_accept" in methods or "on_accept" in hooks:
            hooks["on_accept"] = script.on_accept
        hooks["on_connect"] = script.on_connect
        hooks["on_eof"] = script.on_eof
        hooks["on_close"] = script.on_close
        for name in ("on_recv", "on_client_recv", "on_upstream_recv"):
            if name in hooks:
                hooks[name] = script.passing(name, hooks[name])
        hooks.setdefault("on_recv", script.on_recv)
        return logged_as

    def adapted(self, name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return an on_close that calls `callback` at an end; called without arguments, it hangs up as a method would.

        Other callbacks are returned as they are.
        """
        if name != "on_close" or not self.is_used:
            return callback

        @functools.wraps(callback)
        def on_close(*conn: Any) -> object:
            return callback(*conn) if conn else self.call(name, by_super=False, is_given=True)

        return on_close

    def call(self, name: str, *, by_super: bool, is_given: bool) -> object:
        """Do what the tutorial's method of that name does, or raise ArgumentTypeError for a server of our form.

        Where a callback of our form is given, only on_close does something: it hangs up.
        """
        if by_super and not self.has(name):
            kind = type(self._server())
            takes = printable(str(inspect.signature(method_of(self._server(), name))))
            raise ArgumentTypeError(
                f"{name}: super().{name}() without arguments is of the tutorial's form, and "
                f"{printable(kind.__name__)}.{name} takes {takes}; write the classes in one form"
            )
        if self._sides is None or name not in WITHOUT_ARGUMENTS or (is_given and name != "on_close"):
            refuse_parentheses(name)
        if is_given and self.has(name):
            return method_of(self._server(), name)()
        # The methods that `super()` finds.
        {"on_accept": self._accept, "on_recv": self._send_on, "on_close": self._hang_up}[name]()
        return None

    def _accept(self) -> None:
        """Accept the client, connect to `forward_to`, and pair the two."""
        forward = getattr(self._server(), "forward_to", None)
        if not isinstance(forward, Forward):
            raise ConfigError(
                "forward_to: super().on_accept() connects to it, and it is missing; give it to the server"
            )
        upstream = forward.start()
        sides = cast("Sides", self._sides)
        client, _ = sides.listener.accept()
        if upstream:
            sides.pair(client, upstream)
        else:
            client.close()

    def _send_on(self) -> None:
        """Send what was received to the other side, if there is one."""
        server: Any = self._server()
        if (other := server.channel.get(server.s)) is not None:
            other.send(server.data)

    def _hang_up(self) -> None:
        """Close the side at hand and its other one, and forget both."""
        server: Any = self._server()
        sides = cast("Sides", self._sides)
        if (side := sides.known(server.s)) is not None:
            sides.hang_up(side)


def _takes_nothing(server: object, name: str) -> bool:
    """Return whether the class of `server` overrides the hook with a method of no arguments."""
    if is_default(type(server), name):
        return False
    try:
        return not inspect.signature(method_of(server, name)).parameters
    except (TypeError, ValueError):
        return False
