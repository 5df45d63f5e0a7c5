"""A hook that is read: `@server.on_recv` registers a function, `server.on_recv(side, data)` calls the hook."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ._connection import Connection, Side
from ._exceptions import ArgumentTypeError

if TYPE_CHECKING:
    from ._callbacks import CallbackHolder
    from ._server import TheServer

# Where a server keeps the names of the hooks that a function has been registered for by decorating.
DECORATED = "_decorated"


class Hook:
    """A hook as an attribute of HookMethods: on the class its function, on a server what was assigned, or a BoundHook.

    A method of that name in a subclass takes its place.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, server: CallbackHolder | None, kind: type | None = None) -> Any:
        if server is None:
            return self._function
        name = self._function.__name__
        # Where a subclass overrides it, only super() comes here, and that is not to find what was assigned.
        given = None if self._is_overridden(server) else vars(server).get(name)
        if given is None or name in vars(server).get(DECORATED, ()):
            return BoundHook(server, self._function, given)
        return given

    def __set__(self, server: CallbackHolder, callback: object) -> None:
        setattr(server, self._function.__name__, callback)

    def __delete__(self, server: CallbackHolder) -> None:
        raise AttributeError(f"{self._function.__name__}: there is no callback to delete")

    def _is_overridden(self, server: CallbackHolder) -> bool:
        return inspect.getattr_static(type(server), self._function.__name__) is not self


class BoundHook:
    """A hook of one server: a decorator for the function to call, and callable as the hook itself."""

    def __init__(
        self, server: CallbackHolder, function: Callable[..., Any], callback: Callable[..., Any] | None
    ) -> None:
        self.__self__ = server
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__ if callback is None else callback.__doc__
        self._function = function
        self.callback = callback

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Register the only argument if it is a function, and return it; or call the hook."""
        if len(arguments) == 1 and not named and _is_function(arguments[0]):
            setattr(self.__self__, self.__name__, arguments[0])
            vars(self.__self__).setdefault(DECORATED, set()).add(self.__name__)
            return arguments[0]
        if not arguments and not named and self.callback is None:
            return self._as_in_the_tutorial()
        return self._target()(*arguments, **named)

    def _target(self) -> Callable[..., Any]:
        return functools.partial(self._function, self.__self__) if self.callback is None else self.callback

    def _as_in_the_tutorial(self) -> object:
        """Do what the tutorial's method of that name does, or raise ArgumentTypeError for a server of our form."""
        from ._tutorial import METHODS, forms

        server = cast("TheServer", self.__self__)
        method = METHODS.get(self.__name__) if forms(server) else None
        if method is None:
            raise ArgumentTypeError(
                f"{self.__name__}: it was called without arguments; to decorate a function, "
                f"write @server.{self.__name__} without parentheses"
            )
        return method(server)

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the hook that it stands for."""
        return inspect.signature(self._target())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BoundHook):
            return (self.__self__, self.__name__, self.callback) == (other.__self__, other.__name__, other.callback)
        return self.callback is not None and self.callback == other

    def __hash__(self) -> int:
        return hash(self.__name__ if self.callback is None else self.callback)

    def __repr__(self) -> str:
        calls = "nothing yet" if self.callback is None else repr(self.callback)
        return f"<hook {self.__name__} of {self.__self__!r}, calls {calls}>"


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, (Connection, Side))
