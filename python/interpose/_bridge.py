"""The event loop on which a server's asynchronous callbacks run: the one that serves it, or one of ours in a thread."""

from __future__ import annotations

import contextvars
import threading
import weakref
from typing import TYPE_CHECKING

from . import _native
from ._exceptions import RuntimeStartError
from ._reads import CURRENT, Failure, Wish
from ._threads import Greenless, get_ident, is_patched, start_thread

# asyncio is imported when the first asynchronous callback is there: its import takes longer than that of this package.
if TYPE_CHECKING:
    import asyncio

    from ._async_calls import AsyncCalls


def in_async_callback() -> bool:
    """Return whether the calling code runs in an asynchronous callback, or in a task that one has made."""
    return CURRENT.get() is not None


class Bridge:
    """The event loop of one server's asynchronous callbacks, found when the first of them needs it.

    It knows its server only by the native side, so it keeps none alive. `context` is the context of the callbacks.
    """

    def __init__(self, native: _native.Server, table: _native.Callbacks, context: contextvars.Context) -> None:
        self._native = native
        self._table = table
        self._context = context
        self._offered: asyncio.AbstractEventLoop | None = None
        self._calls: AsyncCalls | None = None
        self.threads: list[threading.Thread | Greenless] = []
        """The threads of this bridge, which end with the server."""
        context.run(CURRENT.set, weakref.ref(self))

    def offer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use `loop`, which runs in the calling thread, if one is needed from here on."""
        if self._calls is None:
            self._offered = loop

    def open(self) -> None:
        """See to a loop, unless there is one. Raises RuntimeStartError."""
        if self._calls is not None:
            return
        loop = self._offered
        if loop is None:
            self._calls = self._own_loop()
            return
        from ._async_calls import AsyncCalls, runs_here

        calls = AsyncCalls(self._native, self._table, loop, self._context)

        def watch() -> None:
            thread = calls.watch()
            if thread is not None:
                self.threads.append(thread)

        if runs_here(loop):
            watch()
        else:
            try:
                loop.call_soon_threadsafe(watch)
            except RuntimeError as error:
                raise RuntimeStartError(
                    "server: its async callbacks need the loop that served it, and that is closed; keep it running "
                    "until the server is stopped"
                ) from error
        self._calls = calls

    @property
    def runs_here(self) -> bool:
        """True in the thread whose loop runs the callbacks."""
        return self._calls is not None and self._calls.thread == get_ident()

    async def read(self, native: _native.Connection, is_client: bool, wish: Wish) -> bytes | Failure:
        """Return what a side has sent, or why it cannot be read. In the loop's thread."""
        if self._calls is None:
            return "closed", 0, ""
        return await self._calls.read(native, is_client, wish)

    async def finish(self) -> None:
        """End the tasks that are left once the server is closed, if this is their loop."""
        if self._calls is not None and self.runs_here:
            await self._calls.finish()

    def _own_loop(self) -> AsyncCalls:
        """Start a thread that runs a loop until the server is closed."""
        if is_patched():
            raise RuntimeStartError(
                "server: its async callbacks need an event loop in a thread of its own, and threading is patched to "
                "greenlets here; serve with `async with server` in asyncio, or give plain defs"
            )
        from ._async_calls import OwnLoop

        own = OwnLoop(self._native, self._table, self._context)
        self.threads.append(start_thread("interpose-loop", own.run))
        return own.wait()
