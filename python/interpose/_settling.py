"""Waiting for the outputs of filters, when a server or the process ends."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable

# How long outputs may hold up an end.
_SECONDS = 0.5
_STEP_SECONDS = 0.005

# The one that waits for all filters, once there are some: nothing is imported for programs without them.
_settle_all: list[Callable[[float], bool]] = []


def register(settle_all: Callable[[float], bool]) -> None:
    """Have `settle_all` wait for outputs at each end; it takes seconds, and returns whether they have everything."""
    _settle_all.append(settle_all)
    atexit.register(settle)


def settle(most: float = _SECONDS) -> None:
    """Wait until all outputs have what was seen so far, at most `most` seconds and not long."""
    for settle_all in _settle_all:
        settle_all(min(most, _SECONDS))


async def settle_async() -> None:
    """Do what settle() does, without blocking the loop."""
    if not _settle_all:
        return
    import asyncio

    end = time.monotonic() + _SECONDS
    # No thread of the native side may wake a loop for this, so it is asked again.
    while not all(settle_all(0.0) for settle_all in _settle_all) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(_STEP_SECONDS)
