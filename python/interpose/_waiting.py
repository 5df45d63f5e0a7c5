"""Waiting for a server's end, in a way that signals can interrupt."""

from __future__ import annotations

import time

from . import _native

# A signal's Python handler runs between two waits, so this bounds how late Ctrl-C can be.
_SLICE_SECONDS = 0.05


def wait_at_most(native: _native.Server, limit: float) -> None:
    """Block until the server is closed or `limit` seconds are over; signal handlers run meanwhile."""
    deadline = time.monotonic() + limit
    while not native.wait(min(_SLICE_SECONDS, max(0.0, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            return
