"""Lines of a command's result on standard output, in large pieces."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

_AT_ONCE = 64 * 1024


class Lines:
    """Lines that wait to be written. A reader that has gone raises BrokenPipeError."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0

    def line(self, text: str) -> None:
        """Write a line, soon."""
        self._lines.append(text)
        self._size += len(text) + 1
        if self._size >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        # A program without a standard output has None there.
        stream = sys.stdout or None
        if not self._lines or stream is None:
            return
        encoding = stream.encoding or "ascii"
        data = ("\n".join(self._lines) + "\n").encode(encoding, "backslashreplace")
        self._lines, self._size = [], 0
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):  # in memory: a Python program calls the command
            stream.write(data.decode(encoding))
            return
        stream.flush()
        while data:
            data = data[os.write(descriptor, data) :]


def clock(nanoseconds: int) -> str:
    """Return a time in this machine's zone, to the microsecond."""
    at = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S}.{nanoseconds % 1_000_000_000 // 1000:06}"
