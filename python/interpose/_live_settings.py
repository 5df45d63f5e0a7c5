"""The settings of a server that may change while it runs: its targets, its timeouts and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ._checks import instance
from ._exceptions import ServerStoppedError
from ._filter_list import filters_or_none, native_filters
from ._forward import Forward, ForwardTo, mirror_of, native_forward, target_of
from ._framing_pair import FramingFor
from ._groups import Callbacks, Limits, Listen, Relay, Timeouts, native_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from . import _native
    from ._callbacks import ServerCallbacks
    from .filters import Filter

_KINDS = {"timeouts": Timeouts, "limits": Limits, "mirror_to": Forward, "filters": list}
# Settings of hooks, by the names of their keywords: an attribute so named would be taken for the setting.
_FIXED_NAMES = ("buffer_size", "framing", "inspect_limit", "callback_timeout", "preread_limit", "preread_timeout")
_FIXED = {"relay": Relay, "listen": Listen, "callbacks": Callbacks}


def is_fixed(name: str, value: object) -> bool:
    """Return whether assigning `value` to the attribute `name` is meant to change a setting that cannot change."""
    return name in _FIXED_NAMES or isinstance(value, _FIXED.get(name, ()))


def is_live(name: str, value: object, *, is_free: bool) -> bool:
    """Return whether assigning `value` to the attribute `name` changes a setting.

    Where it `is_free`, because a script of the tutorial's form may have an attribute of that name, only a value of the
    setting's own kind does.
    """
    kind = _KINDS.get(name)
    return name == "forward_to" or (kind is not None and (not is_free or isinstance(value, kind)))


class Settable:
    """The settings of a server that are attributes as well."""

    forward_to: ForwardTo | None = None
    """Where clients are forwarded to: an instance has a Forward; a subclass may set a default. Assigned to a server, it
    holds for clients that are accepted from then on."""

    mirror_to: ForwardTo | None = None
    """The second target, which gets a copy of what clients send: an instance has a Forward or None; a subclass may set
    a default. Assigned to a server, it holds for clients that are accepted from then on."""

    filters: Sequence[Filter] = ()
    """The native stages that watch or change what passes; a subclass may set a default. Assigned to a server, others
    hold for clients that are accepted from then on. `Side.filters` are those of one side of a connection."""

    timeouts: Timeouts
    """The time limits. Assigned, another Timeouts holds for clients that are accepted from then on."""

    limits: Limits
    """The quantity limits. Assigned, another Limits holds at once; a lower one ends no connection."""

    buffer_size: int = 262144
    """The most bytes of one chunk; a subclass may set a default."""

    framing: FramingFor = None
    """Where messages end; a subclass may set a default. `Side.framing` is that of one side of a connection."""


def native_or_none(forward: Forward | None, name: str = "forward_to") -> _native.Forward | None:
    """Return the native side's twin of `forward`, if there is one."""
    return None if forward is None else native_forward(forward, name)


class LiveSettings:
    """The values in force, which the native side has too: they change together, or not at all."""

    def __init__(
        self,
        server: object,
        native: _native.Server,
        targets: tuple[Forward | None, Forward | None],
        timeouts: Timeouts,
        limits: Limits,
        filters: list[Filter],
    ) -> None:
        self._native = native
        self._filters = filters
        # Those of live connections: what they show at the end of the process is waited for.
        self._filters_before: list[Filter] = []
        (self._forward, self._mirror), self._timeouts, self._limits = targets, timeouts, limits
        attributes = vars(server)
        attributes["forward_to"] = self._forward
        attributes.setdefault("filters", filters)
        if attributes.get("mirror_to") is None:
            attributes["mirror_to"] = self._mirror
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
            forward, mirror, timeouts, limits = self._forward, self._mirror, self._timeouts, self._limits
            filters = self._filters
            if name == "forward_to":
                value = forward = target_of(cast("ForwardTo | None", value), is_needed=not callbacks.decides)
                mirror_of(mirror, forward)
            elif name == "mirror_to":
                value = mirror = mirror_of(value, forward)
            elif name == "filters":
                value = filters = filters_or_none(value)
            elif name == "timeouts":
                value = timeouts = instance(name, value, Timeouts)
            else:
                value = limits = instance(name, value, Limits)
            config = native_config(timeouts, limits)
            native.change(native_or_none(forward), config, native_or_none(mirror), native_filters(filters))
            self._forward, self._mirror, self._timeouts, self._limits = forward, mirror, timeouts, limits
            before, self._filters = (*self._filters_before, *self._filters), filters
            self._filters_before = [one for one in before if one not in filters and one._native.is_in_use]  # pyright: ignore[reportPrivateUsage]
            vars(server)[name] = value
