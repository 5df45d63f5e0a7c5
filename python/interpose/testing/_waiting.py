"""Waiting for something to be seen: blocking, and on an event loop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .._exceptions import RuntimeStartError
from .._waiting import wait_for

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .._native import Transcript as NativeTranscript

_Found = TypeVar("_Found")

# A wait in a thread of trio's, which cannot be woken, is asked again as often.
_SLICE_SECONDS = 0.05


def wait(native: NativeTranscript, look: Callable[[], _Found | None], limit: float) -> _Found | None:
    """Block until `look` returns something, and return that; None after `limit` seconds.

    `look` is called at once, after each event, and at the end.
    """
    found: _Found | None = None

    def ask(left: float) -> bool:
        nonlocal found
        # Before looking, so that what comes meanwhile ends the wait.
        count = native.count
        found = look()
        if found is None and left > 0:
            native.wait(count, left)
            found = look()
        return found is not None

    wait_for(ask, limit)
    return found


async def wait_async(native: NativeTranscript, look: Callable[[], _Found | None], limit: float) -> _Found | None:
    """Do what wait() does, while the loop of asyncio or trio goes on."""
    end = time.monotonic() + limit
    while True:
        count = native.count
        found = look()
        left = end - time.monotonic()
        if found is not None or left <= 0:
            return found
        if _in_trio():
            await sys.modules["trio"].to_thread.run_sync(
                native.wait, count, min(left, _SLICE_SECONDS), abandon_on_cancel=True
            )
        else:
            await _changed(native, count, left)


async def pause(seconds: float) -> None:
    """Let the loop of asyncio or trio go on for a while."""
    import asyncio

    await (sys.modules["trio"].sleep(seconds) if _in_trio() else asyncio.sleep(seconds))


async def _changed(native: NativeTranscript, count: int, left: float) -> None:
    import asyncio

    try:
        async with asyncio.timeout(left):
            await native.changed(count)
    except TimeoutError:
        pass


def refuse_loop(name: str) -> None:
    """Raise RuntimeStartError where a wait would block an event loop, on which the client most likely runs."""
    if running_loop() is not None or _in_trio():
        raise RuntimeStartError(
            f"{name}: an event loop runs in this thread, and would stand still; write `await proxy.aio.{name}(...)`"
        )


def running_loop() -> AbstractEventLoop | None:
    """Return the loop of asyncio that runs in this thread; it need not have been imported."""
    events: Any = sys.modules.get("asyncio.events")
    loop: AbstractEventLoop | None = None if events is None else events._get_running_loop()
    return loop


def _in_trio() -> bool:
    lowlevel: Any = sys.modules.get("trio.lowlevel")
    return lowlevel is not None and bool(lowlevel.in_trio_run())
