"""Threads of the operating system's, and locks for them, whatever a program has patched.

gevent and eventlet put greenlets in the place of Python's threads. One that waits in native code would hold up all
others, and itself for ever: what runs here are real threads all the same.
"""

from __future__ import annotations

import _thread
import importlib.machinery
import importlib.util
import sys
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType, ModuleType
from typing import Any

from ._exceptions import RuntimeStartError

# The pause of a waiting greenlet between two checks: the first, and the longest.
_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.02


def is_patched() -> bool:
    """Return whether Python's threads are greenlets."""
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


def is_cooperative() -> bool:
    """Return whether a wait has to let greenlets of its own thread run."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return is_patched() or (monkey is not None and bool(monkey.is_module_patched("time")))


def _genuine() -> ModuleType:
    """Return `_thread` as the interpreter made it: a second one, if the first is patched already."""
    found = importlib.machinery.BuiltinImporter.find_spec("_thread") if is_patched() else None
    if found is None or found.loader is None:
        return _thread
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


_module: Any = _genuine()
_start_new_thread: Callable[..., int] = _module.start_new_thread
_allocate_lock: Callable[[], Any] = _module.allocate_lock
get_ident: Callable[[], int] = _module.get_ident
"""Return the number of the calling thread, not of a greenlet."""
ReentrantLock: Callable[[], Any] = _module.RLock
"""A lock that a signal handler or a finalizer may take again on the thread that holds it."""


class Gate:
    """Holds up threads until decide(); `is_open` then says whether they go on or end."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self._lock.acquire()
        self.is_open = False

    def pass_through(self) -> bool:
        """Wait for the decision, and return whether it is open."""
        self._lock.acquire()
        self._lock.release()
        return self.is_open

    def decide(self) -> None:
        """Release the threads that wait, and those that come later."""
        self._lock.release()


class Pauses:
    """The pauses of a waiting greenlet between two checks: each longer, and others of its thread run meanwhile."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE_SECONDS

    def take(self, most: float) -> None:
        """Pause, at most for `most` seconds."""
        time.sleep(max(0.0, min(self._next, most)))
        self._next = min(self._next * 2, _LONGEST_PAUSE_SECONDS)


class Greenless:
    """A real thread in a program whose threads are greenlets: `threading` knows nothing of it."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._over = _allocate_lock()
        self._over.acquire()
        self.ident = _start_new_thread(self._run, (run,))

    def _run(self, run: Callable[[], None]) -> None:
        try:
            run()
        finally:
            try:
                _leave_hub()
            finally:
                self._over.release()

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return bool(self._over.locked())

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most for `timeout` seconds; greenlets run meanwhile."""
        end, pauses = time.monotonic() + (float("inf") if timeout is None else timeout), Pauses()
        while self.is_alive() and (left := end - time.monotonic()) > 0:
            pauses.take(left)


def start_thread(name: str, run: Callable[[], None]) -> threading.Thread | Greenless:
    """Start a daemon thread, or raise RuntimeStartError."""
    try:
        if is_patched():
            return Greenless(run)
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
    except (RuntimeError, MemoryError, OSError) as error:
        if error.__context__ is not None:
            # A signal handler has raised in the middle of it, which `threading` takes badly.
            raise error.__context__ from None
        raise RuntimeStartError(f"thread {name}: {error}; raise the limit of processes (ulimit -u)") from error
    return thread


def refuse_eventlet() -> None:
    """Raise RuntimeStartError where locks are eventlet's: those of one thread do not wake another."""
    patcher: Any = sys.modules.get("eventlet.patcher")
    if is_patched() and patcher is not None and patcher.is_monkey_patched("thread"):
        raise RuntimeStartError(
            "server: eventlet has patched threading, and its locks do not work between real threads; run the server in "
            "a process of its own (the command interpose, or a script without monkey_patch), or patch with "
            "monkey_patch(thread=False)"
        )


def hub_lets_go(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return `callback`, followed by a turn of gevent's loop: it wakes other threads for locks that were released."""

    def call(*arguments: Any) -> Any:
        try:
            return callback(*arguments)
        finally:
            run_hub()

    return call


def run_hub() -> None:
    """Run gevent's loop of the calling thread once, if there is one: wake-ups of other threads wait there."""
    if _hub() is not None:
        sys.modules["gevent"].sleep(0)


def _hub() -> Any:
    local: Any = sys.modules.get("gevent._hub_local")
    return None if local is None else local.get_hub_if_exists()


def _leave_hub() -> None:
    """End gevent's loop of the calling thread, if something that ran there has made one: it holds descriptors."""
    if (hub := _hub()) is not None:
        hub.destroy(destroy_loop=True)
