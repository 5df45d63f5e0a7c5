"""Waiting for the outputs of filters, when a server or the process ends."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable

# How long outputs may hold up an end.
_SECONDS = 0.5
_STEP_SECONDS = 0.005
# How long the last writes may take at the process's end, behind that.
_FINISH_SECONDS = 0.2
# How long it is not said again that some is left, and when it was said last.
_SAID_SECONDS = 5.0
_said = [-_SAID_SECONDS]

# The one that waits for all filters, once there are some, with the process that has their threads: nothing is imported
# for programs without them, and a forked child, which has no such thread, waits for nothing.
_settle_all: list[tuple[int, Callable[[float], bool]]] = []
_missed_of_all: list[Callable[[], tuple[int, int]]] = []


def register(
    settle_all: Callable[[float], bool],
    finish_all: Callable[[float], None],
    missed_of_all: Callable[[], tuple[int, int]],
) -> None:
    """Have `settle_all` wait for outputs at each end; it takes seconds, and returns whether they have everything.

    At the process's end `finish_all` then ends those that have something to write behind everything. `missed_of_all`
    returns the number of the events that outputs have missed so far, and of their bytes.
    """
    process = os.getpid()
    _settle_all.append((process, settle_all))
    _missed_of_all.append(missed_of_all)

    def end() -> None:
        settle()
        if process == os.getpid():
            finish_all(_FINISH_SECONDS)

    atexit.register(end)


def _ours() -> list[Callable[[float], bool]]:
    return [settle_all for process, settle_all in _settle_all if process == os.getpid()]


def settle(most: float = _SECONDS) -> None:
    """Wait until all outputs have what was seen so far, at most `most` seconds and not long; say if they have not."""
    if not all([settle_all(min(most, _SECONDS)) for settle_all in _ours()]):  # noqa: C419 (each is asked)
        _say_that_some_is_left()


async def settle_async() -> None:
    """Do what settle() does, without blocking the loop."""
    waiting = _ours()
    if not waiting:
        return
    import asyncio

    end = time.monotonic() + _SECONDS
    # No thread of the native side may wake a loop for this, so it is asked again.
    while not (is_settled := all(settle_all(0.0) for settle_all in waiting)) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(_STEP_SECONDS)
    if not is_settled:
        _say_that_some_is_left()


def _say_that_some_is_left() -> None:
    # The end of the process is right behind that of its server.
    now = time.monotonic()
    if now - _said[-1] < _SAID_SECONDS:
        return
    _said[:] = [now]
    events, size = (sum(figures) for figures in zip(*(missed() for missed in _missed_of_all), strict=True))
    before = f"; {events} events with {size} bytes were left out before" if events else ""
    logging.getLogger("interpose.tap").warning(
        "an output of a filter, a capture or a keylog is too slow: what passed last is not yet written there, and is "
        "lost if the process ends now; give it a faster disk or reader%s",
        before,
    )
