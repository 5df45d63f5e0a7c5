"""The command's output: a bounded queue and a thread for each stream, so that no reader ever holds up the command.

A pipe that nobody reads, a paused terminal or a full disk blocks or fails that thread alone. Lines that find no room
are dropped and counted, and the number is written when there is room again.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from typing import TextIO

from .._exceptions import RuntimeStartError

# Bytes that may wait for one stream's reader, beside what the kernel holds.
_MOST_WAITING = 256 * 1024
# How long the exit waits for a reader.
_LAST_SECONDS = 0.5


class Output:
    """One stream. Lines of all threads are written by a thread of its own, in the order they were put."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = stream.encoding or "ascii"
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, ValueError):
            self._descriptor = None  # in memory: a Python program calls the command
        self._changed = threading.Condition()
        # Each with the number of lines that are lost if it cannot be written.
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._size = 0  # of those that wait, and of the one that is being written
        self._dropped = 0
        self._cut = False
        thread = threading.Thread(target=self._carry, name="interpose-output", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise RuntimeStartError(f"thread {thread.name}: {error}; raise the limit of processes") from error

    def put(self, text: str) -> None:
        """Write `text` and a line's end soon, or count it as dropped. Never blocks, and never raises for the stream."""
        # A terminal that cannot show a character gets an escape, not a traceback.
        self.put_bytes(text.encode(self._encoding, "backslashreplace") + b"\n")

    def put_bytes(self, line: bytes) -> None:
        """Write bytes as they are soon, as put() does."""
        with self._changed:
            if self._size and self._size + len(line) > _MOST_WAITING:
                self._dropped += 1
                return
            self._report_dropped()
            self._append(line, 1)

    def flush(self, limit: float) -> None:
        """Wait until everything is written, at most `limit` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._size == 0, limit)

    def _append(self, line: bytes, stands_for: int) -> None:
        self._waiting.append((line, stands_for))
        self._size += len(line)
        self._changed.notify_all()

    def _report_dropped(self) -> None:
        if self._dropped:
            lines = "1 line was" if self._dropped == 1 else f"{self._dropped} lines were"
            self._append(f"interpose: {lines} dropped: the output could not take more\n".encode(), self._dropped)
            self._dropped = 0

    def _carry(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line, stands_for = self._waiting.popleft()
            written = self._write(line)
            with self._changed:
                self._size -= len(line)
                if not written:
                    self._dropped += stands_for
                elif not self._waiting:
                    self._report_dropped()
                self._changed.notify_all()

    def _write(self, line: bytes) -> bool:
        if self._descriptor is None:
            return self._write_to_object(line)
        # A line that failed half-way, on a full disk, must not be the beginning of this one.
        rest = b"\n" + line if self._cut else line
        whole = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Somebody else who has the same terminal or pipe has made it non-blocking.
                _wait_for_room(self._descriptor)
            except OSError:
                self._cut = self._cut or len(rest) < whole
                return False
        self._cut = False
        return True

    def _write_to_object(self, line: bytes) -> bool:
        try:
            self._stream.write(line.decode(self._encoding))
            self._stream.flush()
        except (OSError, ValueError):
            return False
        return True


def _wait_for_room(descriptor: int) -> None:
    if hasattr(select, "poll"):
        # select() knows no descriptor beyond 1,023.
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll()
    else:
        select.select((), (descriptor,), ())


class Outputs:
    """Standard output and standard error. One that was closed when the program began takes everything and is silent."""

    def __init__(self) -> None:
        self.out = Output(sys.stdout) if sys.stdout else None
        self.err = Output(sys.stderr) if sys.stderr else None
        self._patience = _LAST_SECONDS
        # Registered before the log's own end, so it runs after that.
        atexit.register(self.finish)

    def flush(self, limit: float) -> None:
        """Wait until everything is written, at most `limit` seconds."""
        end = time.monotonic() + limit
        for output in (self.out, self.err):
            if output:
                output.flush(max(0.0, end - time.monotonic()))

    def finish(self) -> None:
        """Wait for the last lines, in all calls together at most half a second."""
        begin = time.monotonic()
        self.flush(self._patience)
        self._patience = max(0.0, self._patience - (time.monotonic() - begin))


class LogHandler(logging.Handler):
    """Puts each record on `output`, in the form of `formatter`."""

    def __init__(self, output: Output, formatter: logging.Formatter) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Put the record's text."""
        try:
            self._output.put(self.format(record))
        except Exception:  # noqa: BLE001 (logging's own policy decides what is shown of it)
            self.handleError(record)


def keep_standard_descriptors() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed.

    Otherwise a client's socket could get that number, and whatever is written to standard error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
