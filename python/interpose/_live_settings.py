"""The settings of a server that may change while it runs: where it forwards, its timeouts and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ._checks import instance
from ._exceptions import ServerStoppedError
from ._forward import Forward, ForwardTo, native_forward, target_of
from ._groups import Callbacks, Limits, Listen, Relay, Timeouts, native_config

if TYPE_CHECKING:
    from . import _native
    from ._callbacks import ServerCallbacks

_KINDS = {"timeouts": Timeouts, "limits": Limits}
_TARGETS = ("forward_to", "mirror_to")
_FIXED = {"relay": Relay, "listen": Listen, "callbacks": Callbacks}


def is_fixed(name: str, value: object) -> bool:
    """Return whether assigning `value` to the attribute `name` is meant to change a setting that cannot change."""
    return name == "buffer_size" or isinstance(value, _FIXED.get(name, ()))


def is_live(name: str, value: object, *, is_free: bool) -> bool:
    """Return whether assigning `value` to the attribute `name` changes a setting.

    Where it `is_free`, because a script of the tutorial's form may have an attribute of that name, only a value of the
    setting's own kind does.
    """
    kind = _KINDS.get(name)
    return name in _TARGETS or (kind is not None and (not is_free or isinstance(value, kind)))


class LiveSettings:
    """The values in force, which the native side has too: they change together, or not at all."""

    def __init__(
        self, server: object, native: _native.Server, forward: Forward | None, timeouts: Timeouts, limits: Limits
    ) -> None:
        self._native = native
        self._forward, self._timeouts, self._limits = forward, timeouts, limits
        attributes = vars(server)
        attributes["forward_to"] = forward
        for name, value in (("timeouts", timeouts), ("limits", limits)):
            # A script may have an attribute of that name; one that is a group is no default, and would deceive.
            if isinstance(attributes.get(name, getattr(type(server), name, value)), _KINDS[name]):
                attributes[name] = value

    def change(self, server: object, callbacks: ServerCallbacks, name: str, value: object) -> None:
        """Put `value` in force for the clients to come. Raises what the constructor does, and ServerStoppedError."""
        # First, because it raises in a forked child: another thread may have held the lock.
        native = self._native
        if native.stopping:
            raise ServerStoppedError(f"{name}: the server was stopped; make a new TheServer")
        with callbacks.lanes.lock:
            forward, timeouts, limits = self._forward, self._timeouts, self._limits
            if name == "forward_to":
                is_needed = callbacks.of("on_accept") is None
                value = forward = target_of(cast("ForwardTo | None", value), is_needed=is_needed)
            elif name == "timeouts":
                value = timeouts = instance(name, value, Timeouts)
            else:
                value = limits = instance(name, value, Limits)
            native.change(None if forward is None else native_forward(forward), native_config(timeouts, limits))
            self._forward, self._timeouts, self._limits = forward, timeouts, limits
            vars(server)[name] = value
