"""Waiting for a server's end, in ways that signals can interrupt."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from . import _native

# A signal's Python handler runs between two waits, so this bounds how late Ctrl-C can be.
_SLICE_SECONDS = 0.05


def wait_until_closed(native: _native.Server) -> None:
    """Block until the server is closed. In the main thread Ctrl-C, or what a handler raises, ends it at once."""
    if sys.platform == "win32":
        while not native.wait(_SLICE_SECONDS):
            pass
        return
    closed = native.closed_fd()
    try:
        if threading.current_thread() is threading.main_thread():
            _wait_for_signals_too(closed)
        else:
            # Python runs signal handlers in the main thread only, so nothing has to interrupt this.
            os.read(closed, 1)
    finally:
        os.close(closed)


def wait_at_most(native: _native.Server, limit: float) -> None:
    """Block until the server is closed or `limit` seconds are over; signal handlers run meanwhile."""
    deadline = time.monotonic() + limit
    while not native.wait(min(_SLICE_SECONDS, max(0.0, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            return


if sys.platform != "win32":

    def _wait_for_signals_too(closed: int) -> None:
        """Wait for the end of `closed`, and return to the interpreter for every signal.

        A bare read would not do: a signal that comes after the interpreter's last look and before the system
        call begins interrupts nothing, and its handler would wait for as long as the read does.
        """
        # Not select.select(), which knows no descriptor above 1023.
        import select

        woken, waker = os.pipe()
        previous = -1
        try:
            os.set_blocking(woken, False)
            os.set_blocking(waker, False)
            # When the pipe is full it has woken us already.
            previous = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
            waiting = select.poll()
            waiting.register(closed, select.POLLIN)
            waiting.register(woken, select.POLLIN)
            while all(ready != closed for ready, _ in waiting.poll()):
                os.read(woken, 4096)
        finally:
            signal.set_wakeup_fd(previous)
            os.close(woken)
            os.close(waker)
