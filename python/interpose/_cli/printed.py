"""Standard output and standard error as scripts see them: what is printed waits in the command's bounded queue."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TextIO

from .output import Output, Outputs

# A line that never ends is written in parts of this size.
_MOST_WAITING = 64 * 1024


class Printed(io.TextIOBase):
    """A text stream that never blocks: whole lines go to `output`, which drops what finds no room, and counts it."""

    def __init__(self, output: Output, stream: TextIO) -> None:
        super().__init__()
        self._output = output
        self._stream = stream
        self._lock = threading.RLock()
        self._line = b""
        self._bytes = _Bytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream behind it."""
        return self._stream.encoding or "ascii"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """The way of characters that the encoding lacks."""
        return "backslashreplace"

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The stream of bytes behind it."""
        return self._bytes

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether a terminal is behind it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream behind it."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text` as soon as its line is whole."""
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] (a script is not checked)
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.put(text.encode(self.encoding, "backslashreplace"))
        return len(text)

    def put(self, data: bytes) -> None:
        """Write bytes as soon as their line is whole."""
        with self._lock:
            lines, end, rest = data.rpartition(b"\n")
            if end:
                self._output.put_bytes(self._line + lines + end)
                self._line = b""
            self._line += rest
            if len(self._line) > _MOST_WAITING:
                self.flush()

    def flush(self) -> None:
        """Write the beginning of a line as well. It does not wait for the writing."""
        with self._lock:
            if self._line:
                self._output.put_bytes(self._line)
                self._line = b""


class _Bytes(io.BufferedIOBase):
    def __init__(self, printed: Printed) -> None:
        super().__init__()
        self._printed = printed

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._printed.fileno()

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        self._printed.put(bytes(data))
        return len(data)

    def flush(self) -> None:
        self._printed.flush()


@contextmanager
def queued(outputs: Outputs) -> Generator[None]:
    """Let what is printed in between wait in the queues of `outputs`."""
    before = sys.stdout, sys.stderr
    own = [
        None if stream is None or output is None else Printed(output, stream)
        for stream, output in zip(before, (outputs.out, outputs.err), strict=True)
    ]
    sys.stdout, sys.stderr = (one or stream for one, stream in zip(own, before, strict=True))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for one in own:
            with suppress(ValueError):
                if one is not None:
                    one.flush()
