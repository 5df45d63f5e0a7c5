"""The callbacks of a server: given, assigned, deleted, overridden."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ._callback_log import Reports
from ._connection import Connection, side_of
from ._exceptions import ConfigError
from ._forward import Forward, ForwardTo, forward_of
from ._hook_decorators import DECORATED, BoundHook
from ._hooks import (
    HOOKS,
    HookMethods,
    check,
    errors_policy,
    fill,
    hooks_of,
    own_hook,
    refuse_slip,
    wants_views,
    warn_of_slips,
)
from ._lanes import Lanes
from ._names import ServerNames
from ._native import Callbacks, Server
from ._threads import hub_lets_go, is_patched
from ._tutorial import TutorialAttributes, adapt, closing, forms

if TYPE_CHECKING:
    from ._server import TheServer


class CallbackHolder(HookMethods, TutorialAttributes, ServerNames):
    """What a server is as the owner of its callbacks."""

    forward_to: ForwardTo | None
    _native: Server
    _table: Callbacks
    _reports: Reports
    _known: dict[int, Connection]
    _passes_errors: bool
    _lanes: Lanes
    _changes: int = 0

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            if name in HOOKS:
                self._assign(name, value)
                return
            if name in ("channel", "input_list") and "_sides" in self.__dict__:
                # In place: `+=` assigns what it has changed.
                getattr(self, name).replace(value)
                return
            if name in ("forward_to", "buffer_size") and "_native" in self.__dict__:
                raise AttributeError(f"{name}: it is fixed once the server listens; make a new TheServer")
            if name.startswith("on"):
                refuse_slip(self, name)
            object.__setattr__(self, name, value)

        def __delattr__(self, name: str) -> None:
            if name in HOOKS and name in self.__dict__:
                self._assign(name, None)
            else:
                object.__delattr__(self, name)

    def _make_table(self, errors: str, buffer: str) -> None:
        """Make the native side's table of callbacks, empty, and what is kept for it."""
        policy, views = errors_policy(errors), wants_views(buffer)
        self._known = {}
        self._passes_errors = policy == "pass"
        self._reports = Reports(keeps=policy == "raise")
        self._table = Callbacks(
            Connection,
            side_of,
            self._reports,
            self._known,
            policy == "pass",
            views,
            bool(forms(cast("TheServer", self))),
        )

    def _assign(self, name: str, callback: object) -> None:
        """Give the hook `name` this callback, or with None what its class has; from the next chunk on."""
        if isinstance(callback, BoundHook):
            callback = callback.callback
        given = None if callback is None else self._checked(name, callback)
        if "_lanes" not in self.__dict__:
            self._put(name, given)
            return
        # First, because it raises in a forked child: another thread may have held the lock.
        _ = self._native.started
        with self._lanes.lock:
            before = self.__dict__.get(name)
            try:
                self._put(name, given)
                self._settle()
            except BaseException:
                if self.__dict__.get(name) is given:
                    self._put(name, before)
                self._settle()
                raise

    def _put(self, name: str, callback: Callable[..., object] | None) -> None:
        if callback is None:
            self.__dict__.pop(name, None)
        else:
            self.__dict__[name] = callback
        self.__dict__.get(DECORATED, set[str]()).discard(name)

    def _settle(self) -> None:
        """Have called what the attributes say. Under the lock of the lanes.

        A signal handler may assign in the middle of it, and is done when this goes on: then it begins anew.
        """
        while True:
            self._changes = change = self._changes + 1
            self._fill(hooks_of(self))
            if self._native.started:
                self._lanes.follow()
            if self._changes == change:
                return

    def _follow_patches(self) -> None:
        """Have callbacks called as greenlets need it, where the program was patched after they were given."""
        if is_patched():
            with self._lanes.lock:
                self._settle()

    def _fill(self, hooks: dict[str, Callable[..., object]]) -> None:
        server = cast("TheServer", self)
        if own := forms(server):
            adapt(server, own, hooks)
        if is_patched():
            hooks = {name: hub_lets_go(callback) for name, callback in hooks.items()}
        fill(self._table, hooks)

    def _target(self, forward_to: ForwardTo | None) -> Forward | None:
        wanted = self.forward_to if forward_to is None else forward_to
        if wanted is not None:
            return forward_of(wanted)
        if own_hook(self, "on_accept") is None:
            raise ConfigError(
                "forward_to: it is missing; give it as the third argument or as a class attribute, "
                "or give an on_accept that says where each client goes"
            )
        return None

    def _take(self, given: dict[str, object]) -> None:
        """Take the callbacks that the constructor was given, before there is anything to tell of them."""
        self.__dict__.update({name: self._checked(name, one) for name, one in given.items() if one is not None})

    def _checked(self, name: str, callback: object) -> Callable[..., object]:
        checked, server = check(name, callback), cast("TheServer", self)
        return closing(server, checked) if name == "on_close" and forms(server) else checked

    def _check_form(self, threads: int) -> None:
        if forms(cast("TheServer", self)) and threads > 1:
            raise ConfigError(
                "callback_threads: methods without arguments share self.s, so they run on one; leave it at 1"
            )
        if type(self).__module__ != __name__.rpartition(".")[0] + "._server":
            warn_of_slips(type(self))
