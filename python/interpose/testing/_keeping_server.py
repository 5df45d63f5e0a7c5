"""A server that keeps its connections beyond their ends."""

from __future__ import annotations

import time
from typing import Unpack

from .. import _native
from .._connection import Connection, KnownConnections
from .._exceptions import ConfigError
from .._forward import ForwardTo
from .._hook_decorators import callbacks_of
from .._native import on_lane
from .._server import TheServer
from .._waiting import wait_at_most
from ._keywords import ServerKeywords
from ._waiting import pause, running_loop

# Connections that have ended and are kept.
MOST_ENDED = 10_000
# Callbacks for ends that were seen have as long to return.
_CALLBACK_SECONDS = 1.0
_STEP_SECONDS = 0.001


class _KeptConnections(KnownConnections):
    """The connections that anybody has seen: the same object also after the end, with the state that callbacks left."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, Connection] = {}

    def made(self, native: _native.Connection) -> Connection:
        """Return the object of a connection, made at the first call."""
        found = self.kept.get(native.id)
        if found is None:
            found = self.kept.setdefault(native.id, super().made(native))
            if len(self.kept) > 2 * MOST_ENDED:
                self.keep_only({native.id for native in self.kept.values() if native.reason is None})
        return found

    def keep_only(self, numbers: set[int]) -> None:
        """Forget the connections but these."""
        for number in [number for number in self.kept if number not in numbers]:
            self.kept.pop(number, None)


class KeepingServer(TheServer):
    """A TheServer whose connections can be asked for after their ends."""

    def __init__(self, host: str, port: int, forward_to: ForwardTo | None, **settings: Unpack[ServerKeywords]) -> None:
        # Before anything asks for it.
        self._kept_connections = callbacks_of(self).known = _KeptConnections()
        super().__init__(host, port, forward_to, **settings)
        # Connections that a test has taken over from the one before, with the bytes that had come by then.
        self._taken_over: dict[int, int] = {}
        self._native.keep_ended(MOST_ENDED)

    def all_connections(self) -> list[Connection]:
        """Return the connections that live, and the last that have ended, in the order in which they were accepted.

        Those that lived at the last begin_anew() are among them once something has come on them since.
        """
        natives, still = self._natives(), self.still()
        return [self._kept_connections.made(natives[number]) for number in sorted(natives) if number not in still]

    def connection(self, number: int) -> Connection:
        """Return the connection of that number. Raises ConfigError where there is none, or none any more."""
        native = self._natives().get(number)
        if native is None:
            raise ConfigError(f"connection: there is no connection {number} here; take one of proxy.connections")
        return self._kept_connections.made(native)

    def offer_loop(self) -> None:
        """Have asynchronous callbacks run on the loop of this thread, if one runs here and none has it so far."""
        if (loop := running_loop()) is not None:
            self._callbacks.bridge.offer(loop)

    def end_at_last(self) -> None:
        """Reset what is left, and wait for the end, at most a second; also where the callbacks' loop stands still."""
        if not self._end(0.0) and self._callbacks.bridge.runs_here and running_loop() is None:
            wait_at_most(self._native, _CALLBACK_SECONDS)

    def settle(self) -> None:
        """Wait until on_close has returned for the connections that have ended, at most a second."""
        end = time.monotonic() + _CALLBACK_SECONDS
        # What runs in this thread cannot return while it waits.
        while not (self._is_settled() or on_lane() or self._callbacks.bridge.runs_here) and time.monotonic() < end:
            time.sleep(_STEP_SECONDS)

    async def settle_async(self) -> None:
        """Do what settle() does, without blocking the loop."""
        end = time.monotonic() + _CALLBACK_SECONDS
        while not self._is_settled() and time.monotonic() < end:
            await pause(_STEP_SECONDS)

    def _is_settled(self) -> bool:
        return not self._callbacks.table.wants_close or all(native.close_notified for native in self._native.ended())

    def begin_anew(self) -> None:
        """Forget the connections that have ended."""
        self._native.keep_ended(0)
        self._native.keep_ended(MOST_ENDED)
        self._taken_over = {native.id: _read(native) for native in self._native.connections()}
        self._kept_connections.keep_only(set(self._taken_over))

    def still(self) -> set[int]:
        """Return the numbers of the connections on which nothing has come since the last begin_anew()."""
        if not self._taken_over:
            return set()
        natives = self._natives()
        return {
            number
            for number, before in self._taken_over.items()
            if number not in natives or _read(natives[number]) == before
        }

    def _natives(self) -> dict[int, _native.Connection]:
        # In this order: one that ends meanwhile is in both.
        live = self._native.connections()
        return {native.id: native for native in [*live, *self._native.ended()]}


def _read(native: _native.Connection) -> int:
    return native.ledger(True)[0] + native.ledger(False)[0]
