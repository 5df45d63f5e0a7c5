"""Where filters write: a path, an open file, a descriptor, or an object with `write(text)`."""

from __future__ import annotations

import codecs
import os
import select
import sys
import threading
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from ._exceptions import ConfigError, RuntimeStartError, wrong_type


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
        hand = _Hand(file)
        return Output(name, hand.writer, hand)
    flush = getattr(file, "flush", None)
    if callable(flush):
        # What was written before comes first.
        flush()
    return Output(name, descriptor, file)


class _Hand(_Opened):
    """A pipe whose text a thread of Python's hands to an object: no native thread calls Python."""

    def __init__(self, file: TextWriter) -> None:
        self._reader, writer = os.pipe()
        super().__init__(writer)
        self.writer = writer
        self._busy = threading.Lock()
        # The thread knows the reader's end and no more, so that the last reference closes the pipe.
        thread = threading.Thread(
            target=_hand, args=(self._reader, self._busy, file), name="interpose-filter-output", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            os.close(self._reader)
            raise RuntimeStartError(f"thread {thread.name}: {error}; raise the limit of processes") from error

    def is_drained(self) -> bool:
        """Return whether the object has all that was written."""
        if sys.platform == "win32":
            return True
        with self._busy:
            try:
                return not select.select((self._reader,), (), (), 0)[0]
            except (OSError, ValueError):
                return True  # the object has failed


def _hand(reader: int, busy: threading.Lock, file: TextWriter) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        while True:
            if sys.platform != "win32":
                select.select((reader,), (), ())
            with busy:
                data = os.read(reader, 65536)
                if not data:
                    return
                file.write(decoder.decode(data))
    except Exception:  # noqa: BLE001 (an object that fails ends the looking)
        pass
    finally:
        os.close(reader)


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
