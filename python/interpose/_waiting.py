"""Blocking waits, in a way that signals can interrupt and that holds up no greenlet."""

from __future__ import annotations

import time
from collections.abc import Callable

from . import _native
from ._threads import Pauses, is_cooperative

# A signal's Python handler runs between two waits, so this bounds how late Ctrl-C can be.
SLICE_SECONDS = 0.05


def wait_for(ask: Callable[[float], bool], limit: float | None) -> bool:
    """Ask for slices of at most `limit` seconds until the answer is True; return whether it was.

    `ask` waits natively for as long as it is given, and answers. Signal handlers run between two slices.
    """
    deadline = None if limit is None else time.monotonic() + limit
    pauses = Pauses()
    while True:
        left = SLICE_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
        cooperative = is_cooperative()
        if ask(0.0 if cooperative else min(SLICE_SECONDS, left)):
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        if cooperative:
            pauses.take(left)


def wait_at_most(native: _native.Server, limit: float) -> bool:
    """Block until the server is closed or `limit` seconds are over; return whether it is closed."""
    return wait_for(native.wait, limit)
