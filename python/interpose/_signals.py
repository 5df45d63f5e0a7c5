"""Signals that end a server: the first lets connections finish, the next one stops at once.

A handler only notes its signal. A thread acts on it, so that no handler waits for anything, and a second signal that
comes together with the first is seen at once.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from . import _native
from ._exceptions import ConfigError, ServerStoppedError
from ._threads import Greenless, start_thread
from ._waiting import wait_at_most


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask for an end. A SIGHUP that nohup has had ignored stays ignored."""
    found = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


class SignalThread:
    """Calls `act` in a thread with each signal of `numbers` that comes between begin() and end()."""

    def __init__(self, numbers: Iterable[signal.Signals], act: Callable[[signal.Signals], None]) -> None:
        self._numbers = tuple(numbers)
        self._act = act
        # Its put() may interrupt another one in the same thread, which no other queue allows.
        self._noted: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread: threading.Thread | Greenless | None = None
        self._previous: dict[signal.Signals, signal.Handlers] = {}

    def begin(self) -> None:
        """Install the handlers. Raises ConfigError outside the main thread, RuntimeStartError."""
        if threading.current_thread() is not threading.main_thread():
            raise ConfigError(
                "handle_signals: only the main thread can handle signals, and this is another; "
                "call main_loop(handle_signals=True) there, or leave it out here"
            )
        self._thread = start_thread("interpose-signals", self._run)
        for number in self._numbers:
            # None is a handler that was not installed from Python, and cannot be put back.
            self._previous[number] = signal.signal(number, self._note) or signal.SIG_DFL  # type: ignore[assignment]

    def end(self) -> None:
        """Put back the handlers that were there before, and end the thread."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
        if self._thread:
            self._noted.put(0)
            self._thread.join()
            self._thread = None

    def _note(self, number: int, _frame: object) -> None:
        self._noted.put(number)

    def _run(self) -> None:
        while number := self._noted.get():
            self._act(signal.Signals(number))


@contextmanager
def handled_signals(native: _native.Server, drain: float | None) -> Generator[None]:
    """Stop the server when signals ask for it: the first with `drain`, the second at once. None handles none."""
    if drain is None:
        yield
        return
    asked: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        native.stop(0.0 if asked else drain)
        asked.append(number)

    signals = SignalThread(stop_signals(), stop)
    signals.begin()
    try:
        yield
    except ServerStoppedError:
        # A signal can come before the loop does. What it began must end.
        if not asked:
            raise
        wait_at_most(native, drain + 1.0)
    finally:
        signals.end()
