"""The native side's log, carried into `logging` by a thread; and its calls at exit and after a fork.

No native thread ever runs Python, so a record waits in a bounded native queue until the thread
`interpose-log` takes it. That thread starts with the first server that starts.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable

from . import _native
from ._exceptions import printable
from ._lost_output import say_aside
from ._threads import Greenless, ReentrantLock, is_patched, refuse_eventlet, run_hub, start_thread
from ._waiting import wait_for

# How often a changed level is noticed, and how long the exit may wait for a handler that does not return.
_CHECK_SECONDS = 1.0
# How long stop() waits for the log, and when a handler counts as one that does not return.
_FLUSH_SECONDS = 0.5
_STUCK_SECONDS = 1.0
# How long a lane waits for the log.
_QUICK_SECONDS = 0.02
# A handler that takes longer is warned about, once in this interval.
_SLOW_SECONDS = 0.1
_SLOW_INTERVAL_SECONDS = 60.0

# Every logger that native records go to. Each may have a level of its own.
_loggers = [
    logging.getLogger(f"interpose{child}") for child in ("", ".listener", ".connection", ".access", ".callback")
]
_thread: threading.Thread | Greenless | None = None
_starting = False
_lock = ReentrantLock()
# Calls that the thread makes between native lines, by the keys queued among those lines: the native queue bounds them.
_waiting: dict[int, Callable[[], None]] = {}
_keys = itertools.count(1)
# Calls that the thread makes once a second: of modules above this one, each once.
_checks: list[Callable[[], None]] = []
_slow_since = -_SLOW_INTERVAL_SECONDS
_held_up_since = -_SLOW_INTERVAL_SECONDS


def start() -> None:
    """Start the thread, unless it runs, and let the native side queue what the loggers want."""
    global _thread, _starting
    refuse_eventlet()
    _native.start_logging(_level())
    with _lock:
        # A forked child inherits the variable, not the thread. A signal handler may come here in the middle of it.
        if _starting or (_thread is not None and _thread.is_alive()):
            return
        _starting = True
        try:
            _thread = start_thread("interpose-log", _carry)
        finally:
            _starting = False


def check_each_second(check: Callable[[], None]) -> None:
    """Call `check` once a second on the log's thread, and after each line; registering it again does nothing."""
    if check not in _checks:
        _checks.append(check)


def queue(work: Callable[[], None]) -> None:
    """Queue `work` for the thread, in order with the records; a full queue drops it and counts it."""
    key = next(_keys)
    _waiting[key] = work
    if not _native.queue_record(key):
        _waiting.pop(key, None)


def flush_if_quick() -> None:
    """Wait a moment until earlier records are handed to the loggers, unless those are slow."""
    if _native.log_held_up()[0] < _QUICK_SECONDS:
        _native.flush_logs(_QUICK_SECONDS)


def flush(most: float = _FLUSH_SECONDS) -> None:
    """Wait until earlier records are handed to the loggers: not long, if a handler does not return."""
    if _thread is None:
        return
    if not wait_for(_is_flushed, min(most, _FLUSH_SECONDS)) or _native.log_held_up()[0] >= _STUCK_SECONDS:
        _report_held_up()


async def flush_async() -> None:
    """Do what flush() does, without blocking the loop."""
    if _thread is not None and not await _native.logs_flushed(_FLUSH_SECONDS, _STUCK_SECONDS):
        _report_held_up()


def _is_flushed(timeout: float) -> bool:
    return _native.flush_logs(timeout) or _native.log_held_up()[0] >= _STUCK_SECONDS


def _report_held_up() -> None:
    """Say on standard error, once a minute, that the log stands still: through the log it cannot be said."""
    global _held_up_since
    seconds, waiting, dropped = _native.log_held_up()
    now = time.monotonic()
    if seconds >= _FLUSH_SECONDS and now - _held_up_since >= _SLOW_INTERVAL_SECONDS:
        _held_up_since = now
        say_aside(
            f"interpose: a handler or filter of logging has not returned for {seconds:.1f} s; "
            f"{waiting} log lines wait for it, {dropped} were dropped"
        )


def _carry() -> None:
    while (records := _native.next_logs(_CHECK_SECONDS)) is not None:
        for number, name, message in records:
            begin = time.monotonic()
            if name:
                _log(number, name, message)
            else:
                _do(int(message))
            if is_patched():
                run_hub()
            _warn_of_slow_handler(name or "interpose.callback", time.monotonic() - begin)
        _check_each()
        # Every time, not only when it has changed: a server that starts sets it in between.
        _native.start_logging(_level())


def _do(key: int) -> None:
    try:
        if (work := _waiting.pop(key, None)) is not None:
            work()
    except Exception:  # noqa: BLE001
        if logging.raiseExceptions:
            traceback.print_exc()


def _warn_of_slow_handler(name: str, taken: float) -> None:
    global _slow_since
    now = time.monotonic()
    if taken >= _SLOW_SECONDS and now - _slow_since >= _SLOW_INTERVAL_SECONDS:
        _slow_since = now
        _log(
            logging.WARNING,
            "interpose",
            f"a handler of the logger {name} took {taken * 1000:.0f} ms; other log lines waited, and no connection",
        )


def _level() -> int:
    """Return the lowest level that one of the loggers wants; the others drop the records that they do not want."""
    return min(logger.getEffectiveLevel() for logger in _loggers)


def _check_each() -> None:
    for check in _checks:
        try:
            check()
        except Exception:  # noqa: BLE001
            if logging.raiseExceptions:
                traceback.print_exc()


def _log(level: int, name: str, message: str) -> None:
    try:
        logging.getLogger(name).log(level, "%s", printable(message))
    except Exception:  # noqa: BLE001
        # A filter of the user's that raises must not end the log; logging's own policy says how to complain.
        if logging.raiseExceptions:
            traceback.print_exc()


def _leave() -> None:
    """At exit: end every server before the interpreter goes, then let the last records out."""
    _native.shutdown()
    if _thread is not None:
        _thread.join(_CHECK_SECONDS)
        _, waiting, dropped = _native.log_held_up()
        if _thread.is_alive() and waiting + dropped:
            say_aside(f"interpose: {waiting + dropped} log lines are lost: a handler of logging does not return")


def _forget() -> None:
    """In a forked child: only the forking thread lives on, so a lock somebody else held stays held."""
    global _thread, _lock, _starting
    _thread, _starting = None, False
    _lock = ReentrantLock()
    _waiting.clear()
    _native.forget_after_fork()


atexit.register(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
