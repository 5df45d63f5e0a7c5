"""The native side's log, carried into `logging` by a thread; and what this process owes the native side.

No native thread ever runs Python, so a record waits in a bounded native queue until the thread
`interpose-log` takes it. That thread starts with the first server that starts.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import traceback
from collections.abc import Callable

from . import _native
from ._exceptions import RuntimeStartError, printable

# How often a changed level is noticed, and how long the exit may wait for a handler that does not return.
_LOOK_SECONDS = 1.0

# Every logger that native records go to. Each may have a level of its own.
_loggers = [logging.getLogger(f"interpose{child}") for child in ("", ".listener", ".connection", ".callback")]
_thread: threading.Thread | None = None
_lock = threading.RLock()


def start() -> None:
    """Start the thread, unless it runs, and let the native side queue what the loggers want."""
    global _thread
    _native.start_logging(_level())
    with _lock:
        # A forked child inherits the variable, not the thread.
        if _thread is None or not _thread.is_alive():
            _thread = start_thread("interpose-log", _carry)


def start_thread(name: str, run: Callable[[], None]) -> threading.Thread:
    """Start a daemon thread, or raise RuntimeStartError."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise RuntimeStartError(f"thread {name}: {error}; raise the limit of processes (ulimit -u)") from error
    return thread


def _carry() -> None:
    while (records := _native.next_logs(_LOOK_SECONDS)) is not None:
        for number, name, message in records:
            _log(number, name, message)
        _look_after_callbacks()
        # Not only when it differs from the last look: a server that starts sets it in between.
        _native.start_logging(_level())


def _level() -> int:
    """Give the lowest level that one of the loggers wants; the others drop what they do not."""
    return min(logger.getEffectiveLevel() for logger in _loggers)


def _look_after_callbacks() -> None:
    # Only where there are any: the module is loaded with the first server.
    from ._callback_log import report_stuck

    try:
        report_stuck()
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
        _thread.join(_LOOK_SECONDS)


def _forget() -> None:
    """In a forked child: only the forking thread lives on, so a lock somebody else held stays held."""
    global _thread, _lock
    _thread = None
    _lock = threading.RLock()
    _native.forget_after_fork()


atexit.register(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
