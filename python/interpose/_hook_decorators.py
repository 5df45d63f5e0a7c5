"""A hook that is read: `@server.on_recv` registers a function, `server.on_recv(side, data)` calls the hook."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, cast

from ._callbacks import ServerCallbacks
from ._connection import Connection, Side
from ._exceptions import ArgumentTypeError
from ._hooks import HOOKS

# A server's attribute that has its ServerCallbacks.
_ATTRIBUTE = "_callbacks"


def callbacks_of(server: object) -> ServerCallbacks:
    """Return the callbacks of `server`, made when the first is given: that may be before its constructor has run."""
    attributes: dict[str, Any] = vars(server)
    if _ATTRIBUTE not in attributes:
        itself = weakref.ref(server)

        def show(given: Mapping[str, Callable[..., Any]]) -> None:
            shown = vars(itself())
            for name in HOOKS:
                if name in given:
                    shown[name] = given[name]
                else:
                    shown.pop(name, None)

        attributes.setdefault(_ATTRIBUTE, ServerCallbacks(lambda name: override_of(itself(), name), show))
    callbacks: ServerCallbacks = attributes[_ATTRIBUTE]
    return callbacks


class Hook:
    """A hook as an attribute of HookMethods: on the class its function, on a server what was assigned, or a BoundHook.

    An Override takes its place in a subclass that has a method of that name.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, server: object | None, kind: type | None = None) -> Any:
        if server is None:
            return self.of_class(kind)
        if _found(type(server), self.name) is not self:
            # Only super() comes here, and it must not find a callback that was assigned.
            return self.of_super(server)
        callbacks: ServerCallbacks | None = vars(server).get(_ATTRIBUTE)
        given = None if callbacks is None else callbacks.given(self.name)
        if given is None or (callbacks is not None and callbacks.is_decorated(self.name)):
            return BoundHook(server, self, given)
        return given

    def __set__(self, server: object, callback: object) -> None:
        if isinstance(callback, BoundHook):
            callback = callback.callback
        callbacks_of(server).set(self.name, callback)

    def __delete__(self, server: object) -> None:
        callbacks = callbacks_of(server)
        if callbacks.given(self.name) is None:
            raise AttributeError(f"{self.name}: there is no callback to delete")
        callbacks.set(self.name, None)

    def of_class(self, kind: type | None) -> Any:  # noqa: ARG002 (a method that overrides it may depend on the class)
        """Return the function of the class."""
        return self._function

    def of_super(self, server: object) -> Any:
        """Return the attribute that `super()` finds."""
        return BoundHook(server, self, None, by_super=True)

    def bind(self, server: object) -> Any:
        """Return the method of the class, bound to `server`."""
        return functools.partial(self._function, server)

    def method(self, server: object) -> Any:
        """Return the subclass's method, bound to `server`, or None: the default is none."""
        del server
        return None

    def without_arguments(self, bound: BoundHook) -> object:
        """Call the hook as another form of methods does, or raise ArgumentTypeError."""
        return bound.call_bare(is_given=False)


class Override(Hook):
    """A hook as the attribute of a subclass that overrides it: `attribute` is what stands there.

    `inherited_by` is the class that has it from a class beside TheServer, so that the order of its bases decides.
    """

    def __init__(self, name: str, attribute: Any, inherited_by: type | None) -> None:
        self.name = name
        self._attribute = attribute
        self._inherited_by = inherited_by
        self.__doc__ = attribute.__doc__
        self._takes_nothing: bool | None = None

    def of_class(self, kind: type | None) -> Any:
        """Return the attribute that the class would have without this."""
        return self._get(None, kind)

    def of_super(self, server: object) -> Any:
        """Return the method: a class that overrides it in turn calls it as such."""
        return self.bind(server)

    def bind(self, server: object) -> Any:
        """Return the method, bound to `server`."""
        return self._get(server, type(server))

    def method(self, server: object) -> Any:
        """Return the method, bound to `server`."""
        return self.bind(server)

    def without_arguments(self, bound: BoundHook) -> object:
        """Call a method that takes none, as the tutorial's, or raise ArgumentTypeError."""
        method = self.bind(bound.__self__)
        if self._takes_nothing is None:
            self._takes_nothing = _may_take_nothing(method)
        if not self._takes_nothing:
            refuse_parentheses(self.name)
        return method()

    def _get(self, server: object, kind: type | None) -> Any:
        if self._inherited_by is not None:
            return getattr(cast("Any", super)(self._inherited_by, kind if server is None else server), self.name)
        get = getattr(cast("object", type(self._attribute)), "__get__", None)
        return self._attribute if get is None else get(self._attribute, server, kind)


class BoundHook:
    """A hook of one server: a decorator for the function to call, and callable as the hook itself."""

    def __init__(
        self, server: object, hook: Hook, callback: Callable[..., Any] | None, *, by_super: bool = False
    ) -> None:
        self.__self__ = server
        self.__name__ = hook.name
        self.__doc__ = hook.__doc__ if callback is None else callback.__doc__
        self._hook = hook
        self._callback = callback
        self.by_super = by_super

    @property
    def callback(self) -> Callable[..., Any] | None:
        """The registered function, else the subclass's method, else None."""
        return self._hook.method(self.__self__) if self._callback is None else self._callback

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Register the only argument if it is a function, and return it; or call the hook."""
        if len(arguments) == 1 and not named and _is_function(arguments[0]):
            function = arguments[0]
            given = function.callback if isinstance(function, BoundHook) else function
            callbacks_of(self.__self__).set(self.__name__, given, is_decorated=True)
            return function
        if arguments or named:
            return self._target()(*arguments, **named)
        if self._callback is None:
            return self._hook.without_arguments(self)
        return self.call_bare(is_given=True)

    def call_bare(self, *, is_given: bool) -> object:
        """Call the hook without arguments, as another form of methods does, or raise ArgumentTypeError."""
        form = callbacks_of(self.__self__).form
        if form is None:
            refuse_parentheses(self.__name__)
        return form.call(self.__name__, by_super=self.by_super, is_given=is_given)

    def _target(self) -> Callable[..., Any]:
        return self._hook.bind(self.__self__) if self._callback is None else self._callback

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the hook that it stands for."""
        return inspect.signature(self._target())

    def __getattr__(self, name: str) -> Any:
        """Return what a subclass's method has of that name, as a bound method would."""
        if "_hook" in vars(self) and (method := self._hook.method(self.__self__)) is not None:
            return getattr(method, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BoundHook):
            return (self.__self__, self.__name__, self.callback) == (other.__self__, other.__name__, other.callback)
        callback = self.callback
        return callback is not None and callback == other

    def __hash__(self) -> int:
        callback = self.callback
        return hash(self.__name__ if callback is None else callback)

    def __repr__(self) -> str:
        callback = self.callback
        calls = "nothing yet" if callback is None else repr(callback)
        return f"<hook {self.__name__} of {self.__self__!r}, calls {calls}>"


def wrap_overrides(kind: type, names: Iterable[str]) -> None:
    """Make the hooks that a new subclass overrides usable as decorators, when they are read on a server.

    A method that is put into the class later stays as it is.
    """
    for name in names:
        found = _found(kind, name)
        is_method = (callable(found) or hasattr(type(found), "__get__")) and not hasattr(type(found), "__set__")
        if is_method and not isinstance(found, Hook):
            setattr(kind, name, Override(name, found, None if name in vars(kind) else kind))


def method_of(server: object, name: str) -> Any:
    """Return the hook `name` as the class of `server` has it, bound, whatever was assigned to the server."""
    found: Any = _found(type(server), name)
    if isinstance(found, Hook):
        return found.bind(server)
    get = getattr(cast("object", type(found)), "__get__", None)
    return found if get is None else get(found, server, type(server))


def is_default(kind: type, name: str) -> bool:
    """Return whether `kind` overrides the hook nowhere."""
    # By its name: after a reload of modules there is more than one class of that name.
    return getattr(getattr(kind, name), "__qualname__", "") == f"HookMethods.{name}"


def override_of(server: object, name: str) -> Callable[..., Any] | None:
    """Return the method that the class of `server` has for the hook in the place of the default, bound; else None."""
    method: Callable[..., Any] | None = None if is_default(type(server), name) else method_of(server, name)
    return method


def _found(kind: type, name: str) -> object:
    """Return what `kind` has of that name, as it stands in the class."""
    return next((vars(one)[name] for one in kind.__mro__ if name in vars(one)), None)


def _may_take_nothing(method: Callable[..., Any]) -> bool:
    try:
        inspect.signature(method).bind()
    except ValueError:
        return True  # A built-in that has no signature.
    except TypeError:
        return False
    return True


def refuse_parentheses(name: str) -> NoReturn:
    """Raise for a hook that was called without arguments."""
    raise ArgumentTypeError(
        f"{name}: it was called without arguments; to decorate a function, write @server.{name} without parentheses"
    )


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, (Connection, Side))
