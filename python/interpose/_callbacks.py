"""The callbacks of a server: one object that checks them, keeps them, and publishes them to the native side.

A callback comes as a keyword of the constructor, by an assignment, by a decorator, or as a method of a subclass. The
first three meet in `ServerCallbacks.set()`; its `_publish()` fills the native table, from which the lanes call them.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ._bridge import Bridge
from ._by_name import ByName
from ._callback_log import Reports
from ._connection import KnownConnections, side_of
from ._coroutine_functions import is_async
from ._fault import Fault
from ._framing_pair import Framings
from ._groups import Callbacks
from ._hooks import HOOKS, check, places_of, refuse_async, refuse_early
from ._lanes import Lanes
from ._native import Callbacks as Table
from ._native import Server
from ._threads import hub_lets_go, is_patched


class Form(Protocol):
    """Another form of methods than the hooks of a class, and how these are called as hooks."""

    @property
    def is_used(self) -> bool:
        """True if the class has such methods; each socket is a connection of its own then."""
        ...

    def has(self, name: str) -> bool:
        """Return whether the class has such a method for the hook."""
        ...

    def adapted(self, name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return `callback` as it is kept for a server with such methods."""
        ...

    def put(self, hooks: dict[str, Callable[..., Any]], given: dict[str, Callable[..., Any]]) -> dict[str, str]:
        """Put what calls the methods among the callbacks of `hooks`, of which `given` are no methods.

        Return the names to log hooks by where they are not their own.
        """
        ...

    def call(self, name: str, *, by_super: bool, is_given: bool) -> object:
        """Call the hook without arguments, or raise ArgumentTypeError."""
        ...


class ServerCallbacks:
    """The callbacks of one server. It knows its server only by two functions, so it keeps none alive.

    `override` returns the method that the server's class has for a hook, or None. `show` is called with the
    callbacks that are given, whenever they change: `vars(server)` has them like any attribute that was assigned.
    """

    native: Server
    """The native server; there from connect() on, as the next two."""
    bridge: Bridge
    """The event loop that calls asynchronous callbacks."""
    lanes: Lanes
    """The threads that call the callbacks."""
    reports: Reports
    """The exceptions of callbacks; there from prepare() on, as the next two."""
    table: Table
    """The native side's table of callbacks."""
    passes_errors: bool
    """True if a callback that raises counts as one that answers None."""

    def __init__(
        self,
        override: Callable[[str], Callable[..., Any] | None],
        show: Callable[[Mapping[str, Callable[..., Any]]], None],
    ) -> None:
        self.form: Form | None = None
        self.known = KnownConnections()
        self._override = override
        self._show = show
        self._given: dict[str, Callable[..., Any]] = {}
        self._decorated: set[str] = set()
        self._changes = 0
        self._is_connected = False
        self._routes = False

    def take(self, callbacks: Iterable[tuple[str, object]], tls: object) -> None:
        """Set each callback that is not None. Its hook stays a decorator, whose function takes the callback's place.

        `tls` is the server's, which may route as callbacks do.
        """
        self._routes = isinstance(tls, ByName)
        for name, callback in callbacks:
            if callback is not None:
                self.set(name, callback, is_decorated=True)

    def prepare(self, form: Form, settings: Callbacks, buffer: str, framings: Framings) -> None:
        """Check everything that was given so far, and make the native side's table, empty. Raises what check() raises.

        Called before the listener is bound: what is wrong then binds no port.
        """
        self.form = form
        self._given = {name: self._checked(name, callback) for name, callback in self._given.items()}
        self._wanted()
        self.passes_errors = settings.errors == "pass"
        self.reports = Reports(keeps=settings.errors == "raise")
        self.known.framings = framings
        self.table = Table(
            connection=self.known.made,
            side=side_of,
            report=self.reports,
            open_loop=self._open_loop,
            known=self.known,
            passes_errors=self.passes_errors,
            views=buffer == "view",
            apart=form.is_used,
            timeout=settings.callback_timeout,
            on_timeout=settings.on_timeout,
            framings=framings.pair(),
            max_message=framings.max_message,
            unframes=framings.unframes,
        )

    def connect(self, native: Server, threads: int) -> None:
        """Publish the callbacks to `native`, and from here on every change. `threads` lanes call it."""
        self.bridge = Bridge(native, self.table, contextvars.copy_context())
        self.lanes = Lanes(native, self.table, self.reports, self.bridge, threads)
        self.native = native
        self._is_connected = True
        self._publish()

    def of(self, name: str) -> Callable[..., Any] | None:
        """Return the callback that was given for the hook, else the method that the class has for it, else None."""
        given = self._given.get(name)
        return self._override(name) if given is None else given

    @property
    def decides(self) -> bool:
        """True if a callback, or the server's `tls`, may decide where clients go."""
        hooks = ("on_accept", "on_client_hello", "on_preread")
        return self._routes or any(self.of(name) is not None for name in hooks)

    def given(self, name: str) -> Callable[..., Any] | None:
        """Return the callback that was given for the hook, else None."""
        return self._given.get(name)

    def is_decorated(self, name: str) -> bool:
        """Return whether the callback was given by decorating it, or to the constructor: not by an assignment."""
        return name in self._decorated

    def set(self, name: str, callback: object, *, is_decorated: bool = False) -> None:
        """Keep `callback` for the hook `name`, None for what the class has; live connections follow at once.

        Raises ArgumentTypeError, RuntimeStartError and ForkError, and then nothing has changed.
        """
        given = None if callback is None else self._checked(name, callback)
        if not self._is_connected:
            self._keep(name, given, is_decorated)
            return
        # First, because it raises in a forked child: another thread may have held the lock.
        _ = self.native.started
        with self.lanes.lock:
            before, was_decorated = self._given.get(name), name in self._decorated
            try:
                self._keep(name, given, is_decorated)
                self._settle()
            except BaseException:
                if self._given.get(name) is given:
                    self._keep(name, before, was_decorated)
                self._settle()
                raise

    def replace(self, callbacks: Mapping[str, object]) -> None:
        """Keep `callbacks`, and none beside them, in one step: no connection calls half of them.

        Raises what set() raises, and then nothing has changed.
        """
        checked = {name: self._checked(name, callback) for name, callback in callbacks.items()}
        _ = self.native.started
        with self.lanes.lock:
            before, decorated = self._given, self._decorated
            try:
                self._given, self._decorated = checked, set(checked)
                self._settle()
            except BaseException:
                self._given, self._decorated = before, decorated
                self._settle()
                raise

    def decide(self, faults: Iterable[Fault], forgotten: Iterable[int]) -> None:
        """Let the functions of these faults decide for them, and forget those of the faults with these numbers."""
        asking = [fault for fault in faults if fault._asks()]  # pyright: ignore[reportPrivateUsage]
        deciding = [(fault._native.number, fault._decide) for fault in asking]  # pyright: ignore[reportPrivateUsage]
        if is_patched():
            deciding = [(number, hub_lets_go(decide)) for number, decide in deciding]
        gone = list(forgotten)
        if not self._is_connected:
            self.table.decide(deciding, gone)
            return
        if not deciding and not gone:
            return
        with self.lanes.lock:
            self.table.decide(deciding, gone)
            if self.native.started:
                self.lanes.follow()

    def follow_patches(self) -> None:
        """Publish again where the program was patched to greenlets after the callbacks were given."""
        if is_patched():
            with self.lanes.lock:
                self._settle()

    def _open_loop(self) -> None:
        """See to an event loop, because a plain callback has returned an awaitable."""
        with self.lanes.lock:
            self.bridge.open()

    def _checked(self, name: str, callback: object) -> Callable[..., Any]:
        checked = check(name, callback)
        return checked if self.form is None else self.form.adapted(name, checked)

    def _keep(self, name: str, callback: Callable[..., Any] | None, is_decorated: bool) -> None:
        if callback is None:
            self._given.pop(name, None)
        else:
            self._given[name] = callback
        self._show(self._given)
        if is_decorated:
            self._decorated.add(name)
        else:
            self._decorated.discard(name)

    def _settle(self) -> None:
        """Publish until nothing has changed meanwhile. Under the lock of the lanes.

        A signal handler may call set() in the middle of it, and is done when this goes on: then it begins anew.
        """
        while True:
            self._changes = change = self._changes + 1
            self._show(self._given)
            self._publish()
            if self.native.started:
                self.lanes.follow()
            if self._changes == change:
                return

    def _wanted(self) -> dict[str, Callable[..., Any]]:
        """Return the callbacks by hook, checked, without the methods of another form."""
        form = self.form
        names = [name for name in HOOKS if name in self._given or form is None or not form.has(name)]
        found = {name: self.of(name) for name in names}
        if form is not None and form.is_used:
            for name in HOOKS:
                refuse_async(name, self.of(name))
            for name in ("on_client_hello", "on_preread"):
                refuse_early(name, self.of(name))
        return {name: check(name, callback) for name, callback in found.items() if callback is not None}

    def _publish(self) -> None:
        """Fill the native side's table with the callbacks in force, in one call."""
        hooks, logged_as = self._wanted(), dict[str, str]()
        if self.form is not None and self.form.is_used:
            logged_as = self.form.put(hooks, self._given)
        if is_patched():
            plain = {name: callback for name, callback in hooks.items() if not is_async(callback)}
            hooks |= {name: hub_lets_go(callback) for name, callback in plain.items()}
        self.table.fill(places_of(hooks, logged_as))
