"""Reading a settings file again, while what it says is served: all of it comes into force, or nothing does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .._addresses import address_text
from .._connection import Connection
from .._exceptions import InterposeError, ServerStoppedError, printable
from .._groups import CommandSettings
from .._server import TheServer
from .._settings_and_help import GROUPS, Setting, rows_of
from .._threads import start_thread
from .combinations import STANDARD_OUTPUT
from .combinations import check as check_combinations
from .console import complain
from .given import Values
from .parsing import Listener, Options
from .scripting.server import filters_of, put_filters
from .served import Served, bound, started
from .serving import set_level

if TYPE_CHECKING:
    from .._filter import Filter

# The groups that a server takes while it runs; the others are fixed once it listens.
_LIVE = ("forward", "server", "upstream", "timeouts", "limits")
_SHOWING = ("looking", "capture")
_LIVE_OF_COMMAND = ("on_reload", "drain", "verbose", "quiet")
_FIXED = "; that is fixed while it listens: start again for it"
_FIXED_OF_COMMAND = "; that is fixed while the command runs: start again for it"
_FOREVER_SECONDS = 1e9

_logger = logging.getLogger("interpose.command")


@dataclass(slots=True)
class _Change:
    """A listener that stays: its server, its settings before and from now on, and what is said of that."""

    server: TheServer
    before: Listener
    after: Listener
    lines: list[str]
    holds: bool = False
    # The filters from now on, if these are others.
    filters: list[Filter] | None = None
    filters_before: list[Filter] = field(default_factory=list["Filter"])


class Reloader:
    """Keeps the settings that the file had last, and serves what it says now when it is read again."""

    def __init__(self, served: Served, options: Options) -> None:
        self._served = served
        self._options = options
        # Those of the servers, in the same order.
        self._listeners = list(options.listeners)

    def reload(self) -> None:
        """Read the file again and serve what it says now; say what has changed, or why nothing has."""
        again = self._options.again
        if again is None:
            return
        name = self._options.command.config
        try:
            lines = self._apply(again())
        except InterposeError as error:
            complain(f"reload: {error}; nothing has changed", *getattr(error, "excerpt", ()))
            return
        for line in lines or [f"{name}: it says what it said before"]:
            _logger.info("reload: %s", printable(line))

    def _apply(self, options: Options) -> list[str]:
        """Serve what `options` say from now on, and return the lines that say what is new; or raise."""
        check_combinations(options.listeners, options.command, options.values, has_file=True)
        servers = [server for _, server in self._served.pairs()]
        left = dict(zip(_names(self._listeners), zip(self._listeners, servers, strict=True), strict=True))
        names = _names(options.listeners)
        added = [listener for name, listener in zip(names, options.listeners, strict=True) if name not in left]
        fresh = bound(added)
        new = iter(zip(added, fresh, strict=True))
        changes: list[_Change] = []
        pairs: list[tuple[Listener, TheServer]] = []
        for name, listener in zip(names, options.listeners, strict=True):
            if name in left:
                changes.append(_compared(*left.pop(name), listener))
                pairs.append((changes[-1].after, changes[-1].server))
            else:
                pairs.append(next(new))
        # Before the clients come that have the new settings.
        old = [one for change in changes if change.holds for one in change.server.connections]
        leaving = [server for _, server in left.values()]
        try:
            _put_in_force(changes)
            lines = [started(server, listener) for listener, server in zip(added, fresh, strict=True)]
            if not self._served.exchange(pairs, leaving):
                raise ServerStoppedError("the command is being stopped")
        except BaseException:
            for server in fresh:
                server.stop(0.0)
            raise
        lines += [line for change in changes for line in change.lines]
        lines += [_leave(server, options.command) for server in leaving]
        lines += _of_command(self._options, options)
        if options.command.on_reload == "drain":
            _end_in(options.command.drain, old)
        self._served.drain = options.command.drain
        self._options, self._listeners = options, [listener for listener, _ in pairs]
        set_level(options.command)
        return lines


def _names(listeners: Sequence[Listener]) -> list[tuple[str, int]]:
    """Return for each listener its address, and how many before it have the same."""
    addresses = [listener.address for listener in listeners]
    return [(address, addresses[:number].count(address)) for number, address in enumerate(addresses)]


def _compared(before: Listener, server: TheServer, after: Listener) -> _Change:
    where = address_text(server.address)
    lines: list[str] = []
    if before.target_text != after.target_text:
        lines.append(f"{where}: forward_to: {before.target_text} -> {after.target_text}")
    lines += _differences(f"{where}: ", before.values, after.values, _LIVE)
    late = {group.name: _FIXED for group in GROUPS if group.name not in (*_LIVE, *_SHOWING, "command")}
    if before.cuts != after.cuts:
        late["looking"] = "; how messages are cut for replacing is fixed while it listens: start again for it"
    if before.capture != after.capture and before.capture.file is not None:
        if after.capture.file == before.capture.file:
            late["capture"] = "; the file is being written: give another one, or start again for it"
        elif before.capture.file == STANDARD_OUTPUT:
            late["capture"] = _FIXED
    if before.capture.file != after.capture.file == STANDARD_OUTPUT:
        late["capture"] = "; standard output has the command's lines already: start again for it"
    shown = _differences(f"{where}: ", before.values, after.values, [name for name in _SHOWING if name not in late])
    lines += shown
    holds = bool(lines)
    for name, why in late.items():
        lines += [line + why for line in _differences(f"{where}: ", before.values, after.values, [name])]
    fixed = list(late)
    # What is fixed stays as it is, and is said again at the next reload.
    rows = [row for group in GROUPS if group.name in fixed for row in group.rows]
    values = {row: given for row, given in after.values.items() if row not in rows}
    values |= {row: given for row, given in before.values.items() if row in rows}
    kept = {name: getattr(before, name) for name in fixed}
    chosen = replace(after, values=values, **kept)
    # Made before anything changes: an output may fail.
    return _Change(server, before, chosen, lines, holds, chosen.filters() if shown else None)


def _differences(begin: str, before: Values, after: Values, groups: Sequence[str]) -> list[str]:
    rows = [row for group in GROUPS if group.name in groups for row in group.rows]
    shown = [(row, _shown(row, before), _shown(row, after)) for row in rows]
    return [f"{begin}{row.key}: {old} -> {new}" for row, old, new in shown if old != new]


def _of_command(before: Options, after: Options) -> list[str]:
    rows = [row for row in rows_of("command") if row.in_file]
    shown = [(row, _shown(row, before.values), _shown(row, after.values)) for row in rows]
    return [
        f"{row.key}: {old} -> {new}{'' if row.name in _LIVE_OF_COMMAND else _FIXED_OF_COMMAND}"
        for row, old, new in shown
        if old != new
    ]


def _shown(row: Setting, values: Values) -> str:
    return row.kind.show(values[row].value if row in values else row.default)


def _put_in_force(changes: Sequence[_Change]) -> None:
    """Give all servers their settings; if one cannot have its own, give back those before."""
    done: list[_Change] = []
    try:
        for change in changes:
            if change.holds:
                done.append(change)
                change.filters_before = filters_of(change.server)
                _set(change.server, change.after, change.filters)
    except BaseException:
        for change in done:
            with suppress(InterposeError):
                _set(change.server, change.before, None if change.filters is None else change.filters_before)
        raise


def _set(server: TheServer, listener: Listener, filters: list[Filter] | None) -> None:
    if filters is not None:
        put_filters(server, filters)
    server.forward_to = listener.target()
    server.mirror_to = listener.mirror()
    server.timeouts = listener.timeouts
    server.limits = listener.limits


def _leave(server: TheServer, command: CommandSettings) -> str:
    """Begin to stop a server that the file no longer has, and return the line that says so."""
    line, active = f"no longer listening on {address_text(server.address)}", server.stats.active
    drains = command.on_reload == "drain"
    server._native.stop(command.drain if drains else _FOREVER_SECONDS)  # pyright: ignore[reportPrivateUsage]
    if not active:
        return line
    connections = "1 connection" if active == 1 else f"{active} connections"
    return f"{line}; {connections} left{f', for {command.drain:g} s at most' if drains else ''}"


def _end_in(seconds: float, connections: Sequence[Connection]) -> None:
    """Close in order what of `connections` is left after `seconds`."""
    if not connections:
        return

    def end() -> None:
        threading.Event().wait(seconds)
        for one in connections:
            with suppress(InterposeError):
                one.close()

    start_thread("interpose-drain", end)
