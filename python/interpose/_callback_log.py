"""The log of callbacks: their exceptions, with the user's part of the traceback, and those that do not return."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import cast

from . import _logging, _native
from ._connection import Connection, Side
from ._exceptions import NoUpstreamError, printable
from ._lost_output import lost_output
from ._threads import ReentrantLock

_logger = logging.getLogger("interpose.callback")
_HERE = str(Path(__file__).parent)

# A callback that has run for longer is logged, with its stack.
_STUCK_SECONDS = 1.0
# Exceptions of one kind in one callback are logged in full this often; a storm of them is counted.
_INTERVAL_SECONDS = 1.0
# A callback may make up classes of exceptions as it goes.
_MOST_KINDS = 100
_MOST_TEXT = 500
# Of a traceback: its frames, its lines, and the exceptions that one leads to.
_MOST_FRAMES = 100
_MOST_LINES = 120
_MOST_EXCEPTIONS = 50
# Exceptions that `Callbacks(errors="raise")` keeps until the end; later ones are only counted.
_MOST_KEPT = 16


class Reports:
    """Logs what the callbacks of one server raise, so that a storm in another hides nothing of it; may keep it too."""

    def __init__(self, *, keeps: bool = False) -> None:
        self._lock = ReentrantLock()
        # By callback and kind of exception: when one was last logged, and how many were held back since.
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._keeps = keeps
        self._kept: list[BaseException] = []
        self._more = 0
        self.ends: _native.Server | None = None
        """The server that the first exception ends: its main loop raises it."""

    def __call__(self, name: str, connection: Connection, error: BaseException, never_answered: bool) -> str | None:
        """Log what the callback `name` raised, and return one line about it.

        None means that nothing ends: a callback that has never answered anything failed on its own output.
        """
        error = _of_no_upstream(name, connection, error)
        line = f"{name} raised {described(error)}"
        lost = lost_output(error) if never_answered else ""
        held_back = self._pass(name, type(error).__name__)
        if held_back is not None:
            _log(connection, f"{line}{lost and f': {lost}'}", held_back, error, is_lost=bool(lost))
        if lost:
            return None
        if self._keeps:
            self._keep(error)
        return printable(line)

    def take(self) -> BaseException | None:
        """Return the exception that is kept, or a group of several, and keep them no more."""
        with self._lock:
            kept, more = self._kept, self._more
            self._kept, self._more = [], 0
        if not kept:
            return None
        if len(kept) == 1 and not more:
            return kept[0]
        rest = f", and {more} more that are not kept" if more else ""
        return BaseExceptionGroup(f"callbacks raised {len(kept)} exceptions{rest}", kept)

    def _keep(self, error: BaseException) -> None:
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._more += 1
            elif all(error is not one for one in self._kept):
                self._kept.append(error.with_traceback(_users_part(error.__traceback__)))
        if self.ends is not None:
            self.ends.stop(0.0)

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


def _of_no_upstream(name: str, connection: Connection, error: BaseException) -> BaseException:
    """Return the error in place of one that None raised for `conn.upstream`, which says too little."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if (
        not isinstance(error, AttributeError)
        or error.obj is not None
        or not hasattr(Side, str(error.name))
        or trace is None
        or "upstream" not in trace.tb_frame.f_code.co_names
        or connection.upstream is not None
    ):
        return error
    text = (
        f"{error.name}: connection {connection.id} has no upstream in {name}; use it from on_connect on, or look "
        "first whether conn.upstream is None"
    )
    return NoUpstreamError(text).with_traceback(error.__traceback__)


def report_stuck() -> None:
    """Log the callbacks that have not returned for a second, each once."""
    for name, taken, thread in _native.stuck_callbacks(_STUCK_SECONDS):
        text = "%s: it has run for %.1f s, and the other connections of its lane wait for it%s"
        _logger.warning(text, name, taken, _stack_of(thread))


def report_kept_loop(name: str | None, taken: float, thread: int) -> None:
    """Log that a loop has begun nothing for `taken` seconds: because of the callback `name`, unless that is None."""
    text = "%s: it has kept its event loop for %.1f s, and other async callbacks wait; await there, or use a thread%s"
    who = "a task that is no callback" if name is None else name
    _logger.warning(text, who, taken, _stack_of(thread))


def _stack_of(thread: int) -> str:
    """Return the user's part of the stack of a thread, on lines of its own."""
    frame: FrameType | None = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    stack = "".join(traceback.format_list(_own(traceback.extract_stack(frame)))).rstrip() if frame else ""
    return f"\n{stack}" if stack else ""


def _log(connection: Connection, line: str, held_back: int, error: BaseException, *, is_lost: bool) -> None:
    """Queue the exception for the log's thread: no handler may hold up the lane."""
    level = logging.WARNING if is_lost else logging.ERROR
    if not _logger.isEnabledFor(level):
        return
    more = f" ({held_back} like it not shown)" if held_back else ""
    trace = _users_part(error.__traceback__)
    # Made here, so that it names the thread of the callback.
    record = _logger.makeRecord(
        _logger.name, level, __file__, 0, "%s: %s%s", (repr(connection), f"{printable(line)}{more}", ""), None
    )

    def hand_on() -> None:
        if is_lost:
            _logger.handle(record)
            return
        lines = _lines(error, trace)
        last = lines.pop() if lines and not _has_more_to_say(error) else printable(described(error))
        record.args = (repr(connection), f"{printable(line)}{more}", "".join(f"\n{one}" for one in lines))
        record.exc_info = (type(error), error, trace)
        # The last line of the text above: with it no formatter asks the exception for its text, which may do anything.
        record.exc_text = last
        _logger.handle(record)

    _logging.queue(hand_on)
    # So that it is in the log before the connection ends, as long as the log is quick.
    _logging.flush_if_quick()


def _has_more_to_say(error: BaseException) -> bool:
    """Return whether something follows the line that names the exception: notes, the exceptions of a group."""
    return isinstance(error, BaseExceptionGroup) or bool(getattr(error, "__notes__", None))


def _lines(error: BaseException, trace: TracebackType | None) -> list[str]:
    """Return the text of the exception and of those that led to it, in bounds and inert."""
    try:
        if _is_small(error):
            shown = traceback.TracebackException(type(error), error, trace, limit=-_MOST_FRAMES, compact=True)
            _own_frames(shown)
            text = "".join(shown.format())
        else:
            text = "".join(traceback.format_tb(trace, limit=-_MOST_FRAMES)) + described(error)
    except Exception:  # noqa: BLE001
        # An attribute of it was not what it is elsewhere.
        text = "".join(traceback.format_tb(trace, limit=-_MOST_FRAMES)) + described(error)
    lines = [printable(line[:_MOST_TEXT]) for line in text.rstrip("\n").split("\n")]
    # The line of the log that is above it says as much.
    del lines[: lines[0] == "Traceback (most recent call last):"]
    if len(lines) > _MOST_LINES:
        half = _MOST_LINES // 2
        lines = [*lines[:half], f"  ... ({len(lines) - 2 * half} lines not shown)", *lines[-half:]]
    return lines


def _led_to(error: BaseException) -> list[BaseException]:
    found = [error.__cause__, error.__context__]
    if isinstance(error, BaseExceptionGroup):
        inside = cast("BaseExceptionGroup[BaseException]", error).exceptions
        found += inside[:_MOST_EXCEPTIONS]
    return [one for one in found if one is not None]


def _is_small(error: BaseException) -> bool:
    found, known = [error], {id(error)}
    while found and len(known) <= _MOST_EXCEPTIONS:
        new = [one for one in _led_to(found.pop()) if id(one) not in known]
        known.update(map(id, new))
        found += new
    return not found


def _own_frames(shown: traceback.TracebackException) -> None:
    """Leave out this package's frames that lead to the user's, and what could pass for another line of the log."""
    waiting, known = [shown], {id(shown)}
    while waiting:
        one = waiting.pop()
        ours = next((at for at, frame in enumerate(one.stack) if not frame.filename.startswith(_HERE)), 0)
        del one.stack[:ours]
        if isinstance(text := getattr(one, "_str", None), str):
            vars(one)["_str"] = printable(text[:_MOST_TEXT])
        more = [one.__cause__, one.__context__, *(one.exceptions or ())]
        new = [other for other in more if other is not None and id(other) not in known]
        known.update(map(id, new))
        waiting += new


def described(error: BaseException) -> str:
    """Return one line about an exception."""
    kind = type(error).__name__
    try:
        text = str(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001
        # This exception is another one than the callback has raised.
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
