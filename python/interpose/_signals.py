"""Signals that end a server: the first lets connections finish, the next one stops at once.

A handler only notes its signal. A thread acts on it, so that no handler waits for anything, and a second signal that
comes together with the first is seen at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from _queue import Empty, SimpleQueue  # not queue's: gevent may have put its own there, for greenlets alone
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from . import _native
from ._exceptions import ConfigError, ServerStoppedError
from ._threads import Greenless, start_thread
from ._waiting import wait_at_most

# Seconds that a server may take beyond its drain, and a callback beyond its server's end.
_GRACE_SECONDS = 1.0


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask for an end. A SIGHUP that nohup has had ignored stays ignored."""
    found = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


class SignalThread:
    """Calls `act` in a thread with each signal of `numbers` that comes between begin() and end().

    `check` is called in the handler itself, in the main thread, and may raise.
    """

    def __init__(
        self,
        numbers: Iterable[signal.Signals],
        act: Callable[[signal.Signals], None],
        check: Callable[[], None] | None = None,
    ) -> None:
        self._numbers = tuple(numbers)
        self._act = act
        self._check = check
        # Its put() may interrupt another one in the same thread, which no other queue allows.
        self._noted: SimpleQueue[int] = SimpleQueue()
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

    def end(self, last: Callable[[], None] | None = None) -> None:
        """End the thread, call `last`, and put back the handlers that were there before."""
        if self._thread:
            self._noted.put(0)
            self._thread.join()
            self._thread = None
        if last:
            last()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _note(self, number: int, _frame: object) -> None:
        self._noted.put(number)
        if self._check:
            self._check()

    def _run(self) -> None:
        while number := self._noted.get():
            self._act(signal.Signals(number))


class _CallbackInterrupted(KeyboardInterrupt):
    """Raised in a callback that keeps the main thread although its server has ended."""


class _Stop:
    """Stops one server at signals: at the first with a drain, at the second at once."""

    def __init__(self, native: _native.Server, drain: float) -> None:
        self._native = native
        self._drain = drain
        self.asked = 0
        self._returned = False
        self._return: SimpleQueue[None] = SimpleQueue()
        self._interrupting = False
        self._interrupter: threading.Thread | Greenless | None = None

    def act(self, number: signal.Signals) -> None:
        """Begin to stop. The next signal must find this thread free."""
        self.asked += 1
        self._native.stop(0.0 if self.asked > 1 else self._drain)
        if self._interrupter is None and sys.platform != "win32":
            self._interrupter = start_thread("interpose-interrupt", lambda: self._interrupt(number))

    def check(self) -> None:
        """In the handler: leave the callback that runs, if it has run for too long."""
        if self._interrupting and not self._returned:
            raise _CallbackInterrupted

    def finish(self) -> None:
        """Interrupt nothing from here on."""
        self._returned = True
        self._return.put(None)
        if self._interrupter:
            self._interrupter.join()

    def _interrupt(self, number: signal.Signals) -> None:
        # A callback may print to a pipe that nobody reads, and would have the main thread for ever.
        wait_at_most(self._native, self._drain + _GRACE_SECONDS)
        try:
            self._return.get(timeout=_GRACE_SECONDS)
        except Empty:
            self._interrupting = True
            signal.pthread_kill(threading.main_thread().ident or 0, number)


@contextmanager
def handled_signals(native: _native.Server, drain: float | None) -> Generator[None]:
    """Stop the server when signals ask for it: the first with `drain`, the second at once. None handles none."""
    if drain is None:
        yield
        return
    stop = _Stop(native, drain)
    signals = SignalThread(stop_signals(), stop.act, stop.check)
    signals.begin()
    try:
        yield
    except ServerStoppedError:
        # A signal can come before the loop does. What it began must end.
        if not stop.asked:
            raise
        wait_at_most(native, drain + _GRACE_SECONDS)
    except _CallbackInterrupted:
        pass
    finally:
        # The handlers stay until nothing can interrupt any more: the interruption is a signal, too.
        signals.end(stop.finish)
