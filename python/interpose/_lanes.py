"""The threads that run a server's callbacks."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from . import _logging, _native
from ._exceptions import LaneError


class Lanes:
    """The lanes of one server, from its start on. None has a thread before there is something to run."""

    def __init__(self, native: _native.Server, table: _native.Callbacks, count: int) -> None:
        self._native = native
        self._table = table
        self._count = count
        self._lanes: list[_native.Lane] = []
        self._driven = False
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def run_here(self) -> None:
        """Start the server, and be its first lane until it is closed.

        Raises what a signal handler raises, or a callback to end the server.
        """
        if _native.on_lane():
            raise LaneError(
                "main_loop: this thread runs the callbacks of a server already; start() the other in the background"
            )
        with self._lock:
            lane = _native.Lane()
            # A server that was started before has its lanes elsewhere; then this one only waits.
            if not self._native.started:
                self._make(lane)
                self._drive(self._lanes[1:])
        self._native.start()
        with _wakeups() as woken:
            lane.run(self._native, self._table, threading.get_ident(), woken)
        self._raise()

    def start(self) -> None:
        """Start the server, with its lanes in threads of their own once there are callbacks."""
        with self._lock:
            if not self._lanes:
                self._make(_native.Lane())
        self.follow()
        self._native.start()

    def follow(self) -> None:
        """See to it that the callbacks that are there now are called."""
        with self._lock:
            if self._table.any and not self._driven:
                self._drive(self._lanes)
            self._native.rehook(self._table)

    def join(self, limit: float) -> None:
        """Wait for the threads to end, at most `limit` seconds: one may be in a callback that does not return."""
        end = time.monotonic() + limit
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))

    def raise_ending(self) -> None:
        """Raise what a callback has raised to end the server, if one has."""
        self._raise()

    def _make(self, first: _native.Lane) -> None:
        # Also where there is no callback yet: a connection may live when the first is given.
        self._lanes = [first, *(_native.Lane() for _ in range(self._count - 1))]
        self._native.hook(self._table, self._lanes)

    def _drive(self, lanes: list[_native.Lane]) -> None:
        native, table = self._native, self._table
        self._driven = True
        for lane in lanes:
            # Not a method: a thread that knew the server would keep it alive.
            def run(lane: _native.Lane = lane) -> None:
                lane.run(native, table, threading.get_ident())

            self._threads.append(_logging.start_thread(f"interpose-lane-{self._lanes.index(lane)}", run))

    def _raise(self) -> None:
        raised = self._table.raised()
        if raised is not None:
            raise raised


@contextmanager
def _wakeups() -> Generator[int | None]:
    """A pipe that every signal writes to, if this is the thread whose signals Python handles.

    A lane waits in the system, where a signal that comes just before the wait begins would interrupt nothing.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield None
        return
    woken, waker = os.pipe()
    previous = -1
    try:
        os.set_blocking(woken, False)
        os.set_blocking(waker, False)
        # When the pipe is full it has woken the lane already.
        previous = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        yield woken
    finally:
        signal.set_wakeup_fd(previous)
        os.close(woken)
        os.close(waker)
