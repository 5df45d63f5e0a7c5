"""The threads that run a server's callbacks."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from . import _logging, _native
from ._bridge import Bridge
from ._callback_log import Reports, report_stuck
from ._exceptions import LaneError
from ._threads import Gate, Greenless, ReentrantLock, get_ident, is_cooperative, start_thread
from ._waiting import wait_for


class Lanes:
    """The lanes of one server, made when the first callback needs them.

    `lock` keeps threads apart; a signal handler or a finalizer that comes back on the thread that holds it goes
    through. So whatever is done under it may be done once more in the middle of it.
    """

    def __init__(
        self, native: _native.Server, table: _native.Callbacks, reports: Reports, bridge: Bridge, count: int
    ) -> None:
        self.lock = ReentrantLock()
        self._native = native
        self._table = table
        self._reports = reports
        self._bridge = bridge
        self._count = count
        self._made = False
        # Lanes that the native side has and no thread drives: a main loop's, until it runs.
        self._undriven: list[_native.Lane] = []
        self._entering = False
        self._threads: list[threading.Thread | Greenless] = []
        self.on_start: Callable[[], None] | None = None

    def run_here(self) -> None:
        """Start the server, and be its first lane until it is closed.

        Raises what a signal handler raises, or a callback to end the server; RuntimeStartError if nothing was started.
        """
        if _native.on_lane():
            raise LaneError(
                "main_loop: this thread runs the callbacks of a server already; start() the other in the background"
            )
        self._reports.ends = self._native
        if is_cooperative():
            # This thread has greenlets to run.
            self.start()
            wait_for(self._native.wait, None)
            self.join(1.0)
        else:
            lane = self._enter()
            self._begun()
            with _wakeups() as woken:
                self._native.drive(lane, self._table, get_ident(), woken)

    def start(self) -> None:
        """Start the server, with its lanes in threads of their own once there are callbacks."""
        _native.prepare()
        with self.lock:
            self._native.hook(self._table, [])
            if not self._entering:
                self._drive_rest()
            self.follow()
            self._native.start()
        self._begun()

    def _begun(self) -> None:
        if self.on_start is not None:
            self.on_start()

    def follow(self) -> None:
        """Let the native side call the callbacks that are in force now."""
        with self.lock:
            # A closed server calls nobody any more.
            if not self._native.is_closed:
                if self._table.needs_lane and not self._made:
                    self._make(0)
                if self._table.needs_loop:
                    self._bridge.open()
            self._native.rehook(self._table)

    def join(self, limit: float) -> None:
        """Wait for the threads to end, at most `limit` seconds: one may be in a callback that does not return."""
        end = time.monotonic() + limit
        for thread in [*self._threads, *self._bridge.threads]:
            if thread.ident != get_ident():
                thread.join(max(0.0, end - time.monotonic()))
        if self._native.is_closed:
            # They hold descriptors, and nothing is left for them to do.
            self._undriven = []

    def _enter(self) -> _native.Lane:
        """Start the server, and return the lane that the calling thread is to drive."""
        _native.prepare()
        with self.lock:
            self._entering = True
            try:
                # A server that was started before has its lanes elsewhere; then this one only waits.
                if self._native.started:
                    return _native.Lane()
                if not self._made:
                    self._make(1)
                lane = self._undriven[0] if self._undriven else _native.Lane()
                if self._table.needs_loop:
                    self._bridge.open()
                self._native.rehook(self._table)
                self._native.start()
                self._undriven = []
                return lane
            except BaseException:
                if self._native.started:
                    self._drive_rest()
                raise
            finally:
                self._entering = False

    def _make(self, here: int) -> None:
        """Make the lanes, and drive all but the first `here` of them; all, or none if one cannot be had."""
        _logging.check_each_second(report_stuck)
        lanes = [_native.Lane() for _ in range(self._count)]
        gate = Gate()
        try:
            threads = [
                *self._threads,
                *(self._drive(lane, index, gate) for index, lane in enumerate(lanes[here:], here)),
            ]
            undriven = lanes[:here]
            gate.is_open = True
            # Nothing comes between these and the call, neither a signal nor a failure.
            self._threads, self._undriven, self._made = threads, undriven, True
            self._native.hook(self._table, lanes)
        finally:
            gate.decide()

    def _drive(self, lane: _native.Lane, index: int, gate: Gate) -> threading.Thread | Greenless:
        return start_thread(f"interpose-lane-{index}", _driver(self._native, self._table, lane, gate))

    def _drive_rest(self) -> None:
        """Start threads for the lanes of a main loop that could not start."""
        while self._undriven:
            gate = Gate()
            gate.is_open = True
            gate.decide()
            self._threads.append(self._drive(self._undriven[0], 0, gate))
            del self._undriven[0]


def _driver(native: _native.Server, table: _native.Callbacks, lane: _native.Lane, gate: Gate) -> Callable[[], None]:
    # Not a method: a thread that knew the server would keep it alive.
    def run() -> None:
        if gate.pass_through():
            native.drive(lane, table, get_ident())

    return run


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
        # In this order: a signal that comes in between must not find a pipe that nobody reads.
        os.close(waker)
        os.close(woken)
