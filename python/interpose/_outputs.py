"""Where filters write: a path, an open file, a descriptor, or an object with `write(text)`."""

from __future__ import annotations

import codecs
import logging
import os
import select
import sys
import threading
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from ._exceptions import ConfigError, RuntimeStartError, printable, wrong_type


class TextWriter(Protocol):
    """An object with `write(text)`, such as an open text file or an io.StringIO."""

    def write(self, text: str, /) -> object:
        """Take a piece of text."""
        ...


OutputTo: TypeAlias = str | os.PathLike[str] | int | TextWriter | None
"""The types that a filter's `file` may have. None is standard output."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output: its name in messages, its descriptor (on Windows its handle), and what has to stay open for it."""

    name: str
    descriptor: int
    kept: object

    @property
    def named(self) -> tuple[str, int]:
        """The name and what the native side copies: the descriptor, on Windows the handle."""
        if sys.platform == "win32":
            import msvcrt

            return self.name, msvcrt.get_osfhandle(self.descriptor)
        return self.name, self.descriptor


class _Opened:
    """A descriptor of ours, closed with the last reference."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


def output_of(file: OutputTo) -> Output:
    """Return the output that `file` names, or raise ArgumentTypeError, ConfigError or OSError."""
    if file is None:
        if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] (pythonw has none)
            raise ConfigError("file: there is no standard output in this process; give a path")
        return _of_object(sys.stdout, "standard output")
    if isinstance(file, bool):
        raise wrong_type("file", file, "a path, a file or a descriptor", "leave it out for standard output")
    if isinstance(file, int):
        os.fstat(file)
        return Output(f"descriptor {file}", file, None)
    if isinstance(file, (str, os.PathLike)):
        path = os.fspath(file)
        if not path:
            raise ConfigError("file: the path is empty; give one such as 'dump.txt'")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        return Output(path, descriptor, _Opened(descriptor))
    if not callable(getattr(file, "write", None)):
        advice = "give one, or leave it out for standard output"
        raise wrong_type("file", file, "a path, a file or a descriptor", advice)
    return _of_object(file, str(getattr(file, "name", type(file).__name__)))


def _of_object(file: TextWriter, name: str) -> Output:
    try:
        descriptor = cast("int", file.fileno())  # type: ignore[attr-defined]  # pyright: ignore
    except (AttributeError, OSError, ValueError):
        hand = _Hand(file, name)
        return Output(name, hand.writer, hand)
    flush = getattr(file, "flush", None)
    if callable(flush):
        # What was written before comes first.
        flush()
    return Output(name, descriptor, file)


class _Hand(_Opened):
    """A pipe whose text a thread of Python's hands to an object: no native thread calls Python."""

    def __init__(self, file: TextWriter, name: str) -> None:
        reader, writer = os.pipe()
        super().__init__(writer)
        self.writer = writer
        self._reader = _Reader(reader)
        # The thread knows the reader's end and no more, so that the last reference closes the pipe.
        thread = threading.Thread(
            target=_hand, args=(self._reader, file, name), name="interpose-filter-output", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            self._reader.close()
            raise RuntimeStartError(f"thread {thread.name}: {error}; raise the limit of processes") from error

    def is_drained(self) -> bool:
        """Return whether the object has all that was written."""
        return self._reader.is_drained()


class _Reader:
    """The end of a pipe that a thread reads from, and others ask about."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_closed = False
        # Held while bytes are on their way from the pipe to the object, and while the descriptor is closed.
        self.busy = threading.Lock()

    def wait(self) -> None:
        """Return when there is something to read. The thread alone calls it, which closes the descriptor, too."""
        _has_data(self._descriptor, None)

    def read(self) -> bytes:
        """Return bytes, or none at the end."""
        return os.read(self._descriptor, 65536)

    def is_drained(self) -> bool:
        """Return whether nothing waits and nothing is on its way. It waits for no object."""
        if sys.platform == "win32":
            return True
        if not self.busy.acquire(blocking=False):
            return False
        try:
            return self._is_closed or not _has_data(self._descriptor, 0)
        finally:
            self.busy.release()

    def close(self) -> None:
        """Close the descriptor, behind an is_drained() that is under way."""
        with self.busy:
            self._is_closed = True
            os.close(self._descriptor)


def _has_data(descriptor: int, milliseconds: int | None) -> bool:
    """Wait for bytes or the end, or `milliseconds`; return whether there are some. On Windows return True at once."""
    if sys.platform == "win32":
        return True
    # select() knows no descriptor beyond 1,023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _hand(reader: _Reader, file: TextWriter, name: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    has_failed = False
    try:
        while True:
            reader.wait()
            with reader.busy:
                data = reader.read()
                if not data:
                    return
                try:
                    file.write(decoder.decode(data))
                except BaseException as error:  # noqa: BLE001 (no object ends the looking of others)
                    if not has_failed:
                        _say_failed(name, error)
                    has_failed = True
    finally:
        reader.close()


def _say_failed(name: str, error: BaseException) -> None:
    logging.getLogger("interpose.tap").warning(
        "%s: its write() raised %s; that text is lost, and the connections go on",
        printable(name),
        printable(f"{type(error).__name__}: {error}" if f"{error}" else type(error).__name__),
    )


def is_drained(kept: object) -> bool:
    """Return whether what an output has passed on has arrived, as far as that is in our hands."""
    return not isinstance(kept, _Hand) or kept.is_drained()


def wants_color(output: Output, color: bool | None) -> bool:
    """Return whether an output may have colours: as `color` says, else on a terminal that shows them."""
    if color is not None:
        return color
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return os.isatty(output.descriptor)
    except OSError:
        return False
