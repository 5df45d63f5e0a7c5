"""What is logged about callbacks: exceptions, with the user's part of the traceback, and those that do not return."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType, TracebackType

from . import _native
from ._connection import Connection
from ._exceptions import printable

_logger = logging.getLogger("interpose.callback")
_HERE = str(Path(__file__).parent)

# From here on a callback that has not returned is told of, with its stack.
_STUCK_SECONDS = 1.0
# Exceptions of one kind in one callback are logged in full this often; a storm of them is counted.
_INTERVAL_SECONDS = 1.0
# A callback may make up classes of exceptions as it goes.
_MOST_KINDS = 100
_MOST_TEXT = 500


class Reports:
    """Logs what the callbacks of one server raise, so that a storm in another hides nothing of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By callback and kind of exception: when one was last logged, and how many were held back since.
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, name: str, connection: Connection, error: BaseException) -> str:
        """Log what the callback `name` raised, and return one line about it."""
        line = f"{name} raised {_describe(error)}"
        held_back = self._pass(name, type(error).__name__)
        if held_back is not None:
            _log(connection, line, held_back, error)
        return printable(line)

    def _pass(self, name: str, kind: str) -> int | None:
        """Return how many were held back since the last that was logged, or None if this one is to be."""
        now = time.monotonic()
        with self._lock:
            last, held_back = self._last.get((name, kind), (-_INTERVAL_SECONDS, 0))
            if now - last < _INTERVAL_SECONDS:
                self._last[name, kind] = (last, held_back + 1)
                return None
            if len(self._last) >= _MOST_KINDS:
                self._last.clear()
            self._last[name, kind] = (now, 0)
            return held_back


def report_stuck() -> None:
    """Log the callbacks that have not returned for a second, each once."""
    for name, taken, thread in _native.stuck_callbacks(_STUCK_SECONDS):
        frame: FrameType | None = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
        stack = "".join(traceback.format_list(_own(traceback.extract_stack(frame)))).rstrip() if frame else ""
        _logger.warning(
            "%s: it has run for %.1f s, and the other connections of its lane wait for it%s",
            name,
            taken,
            f"\n{stack}" if stack else "",
        )


def _log(connection: Connection, line: str, held_back: int, error: BaseException) -> None:
    more = f" ({held_back} like it not shown)" if held_back else ""
    try:
        trace = _users_part(error.__traceback__)
        # Not as the record's exc_info: formatting it asks the exception for its text, without any guard.
        text = "".join(traceback.format_tb(trace)).rstrip()
        _logger.error("%s: %s%s%s", connection, printable(line), more, f"\n{text}" if text else "")
    except Exception:  # noqa: BLE001
        if logging.raiseExceptions:
            traceback.print_exc()


def _describe(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        text = str(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001
        # Whatever it is, it is not what the callback has raised.
        return f"{kind} (whose text cannot be had)"
    return f"{kind}: {text[:_MOST_TEXT]}" if text else kind


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return `trace` without the frames of this package that lead to the user's."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return trace


def _own(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """Return the user's frames of a stack: what comes after the last frame of this package."""
    ours = [index for index, frame in enumerate(stack) if frame.filename.startswith(_HERE)]
    return stack[ours[-1] + 1 :] if ours else list(stack)
