"""The end of a server: waiting for it, and raising what callbacks have raised."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from . import _logging
from ._bridge import in_async_callback
from ._callback_log import described
from ._callbacks import ServerCallbacks
from ._exceptions import ForkError, RuntimeStartError
from ._native import Server, on_lane
from ._settling import settle, settle_async
from ._waiting import wait_at_most

if TYPE_CHECKING:
    import asyncio

# Seconds that stop() may take beyond its drain; the promise is one second.
_GRACE_SECONDS = 0.9


class Ending:
    """The part of a server that ends it."""

    _native: Server
    _callbacks: ServerCallbacks
    _pid: int
    _drain: float

    def _ours(self) -> Server:
        """Return the native server, in the process that made it."""
        if os.getpid() != self._pid:
            raise ForkError(
                "server: it belongs to the process this one was forked from; make a new TheServer here, or use spawn"
            )
        return self._native

    def _end(self, drain: float, *, leave: bool = True) -> bool:
        """Stop, and wait for the end and for the log; return False in a callback, which cannot wait.

        With `leave` only connections in which something is under way have the drain.
        """
        native = self._ours()
        native.stop(drain, leave=leave)
        if on_lane() or in_async_callback() or self._callbacks.bridge.runs_here:
            return False
        end = time.monotonic() + drain + _GRACE_SECONDS
        try:
            wait_at_most(native, drain + _GRACE_SECONDS)
            self._callbacks.lanes.join(max(0.0, end - time.monotonic()))
            # Within the second that stop() may take, also if a callback has used it up.
            _logging.flush(max(0.05, end - time.monotonic()))
            settle(max(0.05, end - time.monotonic()))
        except BaseException:
            self._abort(native)
            raise
        return True

    def _raise_ended(self, error: BaseException | None) -> None:
        """Raise what a callback has raised to end the server, else what _raise_failed() does."""
        raised = self._callbacks.table.raised() if error is None else None
        if raised is not None:
            raise raised
        self._raise_failed(error)

    def _raise_failed(self, error: BaseException | None) -> None:
        """Raise what callbacks have raised, if that is wanted; only note it on `error`, which is on its way already."""
        failed = self._callbacks.reports.take()
        if failed is None or failed is error:
            return
        if error is None:
            raise failed
        error.add_note(f"A callback of {self!r} had failed before: {described(failed)}")

    @staticmethod
    def _abort(native: Server) -> None:
        native.stop(0.0)
        wait_at_most(native, _GRACE_SECONDS)

    async def _closed(self, native: Server) -> None:
        """Wait for the end of the server, and of its asynchronous callbacks if they run on this loop."""
        await native.closed()
        await self._callbacks.bridge.finish()

    async def _stop_async(self, drain: float) -> None:
        native = self._ours()
        native.stop(drain, leave=True)
        try:
            is_closed = await native.closed(drain + _GRACE_SECONDS)
        except BaseException:
            native.stop(0.0)
            raise
        if is_closed:
            await self._callbacks.bridge.finish()
            await _logging.flush_async()
            await settle_async()


def check_loop(what: str) -> asyncio.AbstractEventLoop:
    """Return the loop of asyncio's that runs in this thread, or raise RuntimeStartError."""
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeStartError(
            f"{what}: it needs a running loop of asyncio's, and there is none here; under trio or curio write "
            "`with server:`, which serves in the background, or run server.main_loop in a thread "
            "(await trio.to_thread.run_sync(server.main_loop, abandon_on_cancel=True))"
        ) from None
