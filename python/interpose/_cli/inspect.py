"""`interpose inspect`: the connections of a capture, as a list, and their bytes as files."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from .. import _native
from .._exceptions import ConfigError, InterposeError, printable
from .._settings_and_help import rows_of
from .arguments import read_words
from .commands import command_of
from .console import FAILED, OK, complain
from .lines import Lines, clock

_AT_ONCE = 256 * 1024
# Names of links that others capture, by their numbers, for those that are not read.
_LINKS = {9: "PPP", 105: "IEEE 802.11", 127: "IEEE 802.11 radiotap", 195: "IEEE 802.15.4", 220: "USB", 239: "NFLOG"}

Event = tuple[int, int, str, str, int, bytes | None, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A connection of a capture."""

    number: int
    client: str
    server: str
    interface: str
    times: tuple[int, int]
    bytes: tuple[int, int]
    missing: tuple[int, int]
    ending: str
    closed: str | None


def run(words: Sequence[str]) -> int:
    """Show a file, and return the exit code."""
    try:
        return _shown(words)
    except OSError as error:
        if error.filename is not None or isinstance(error, InterposeError):
            raise
        complain(f"inspect: {error.strerror or error}; what was shown before may be cut off")
        return FAILED


def _shown(words: Sequence[str]) -> int:
    asked = read_words(command_of(["inspect"]), words)
    if not asked.places:
        raise ConfigError("inspect: the file is missing; write interpose inspect FILE, or - for standard input")
    only = _number(asked.options.get("--connection"))
    out = Lines()
    name = asked.places[0]
    reader = _native.CaptureReader("--extract" in asked.options)
    kinds = [kind for kind in ("hexdump", "text", "json") if f"--{kind}" in asked.options]
    if len(kinds) > 1:
        raise ConfigError(f"--{kinds[1]}: it is not allowed with --{kinds[0]}; give one of them")
    size, messages = _size(asked.options, kinds), _framing(asked.options, kinds)
    if kinds:
        color = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        reader.show(kinds[0], (color, time.localtime().tm_gmtoff), size, only, messages)
    try:
        with _extracting(asked.options.get("--extract")) as files:
            _read(name, reader, only, files, out)
        if not kinds and (_counted(reader, only) or not _is_complained_of(reader, only)):
            for line in _listed(reader, only):
                out.line(line)
        out.flush()
    except BrokenPipeError:
        return OK
    return _judge(name, reader, only)


def _size(options: Mapping[str, str], kinds: Sequence[str]) -> tuple[int, int | None]:
    """Return the bytes of a line, and those that are shown of one packet."""
    rows = {row.flag: row for row in rows_of("looking")}
    read: list[object] = []
    for flag, needed in (("--width", ("hexdump",)), ("--truncate", ("hexdump", "text"))):
        row = rows[flag]
        if flag in options and not set(kinds) & set(needed):
            ways = " or ".join(f"--{kind}" for kind in needed)
            raise ConfigError(f"{flag}: it says how to show the bytes; add {ways}")
        read.append(row.kind.read(flag, options[flag]) if flag in options else row.default)
    width, truncate = read
    return cast("int", width), cast("int | None", truncate)


def _framing(options: Mapping[str, str], kinds: Sequence[str]) -> _native.Framing | None:
    """Return the framing of the messages that are shown; None shows packets."""
    (row,) = (row for row in rows_of("looking") if row.flag == "--framing")
    if "--framing" not in options:
        return None
    word = cast("str | None", row.kind.read("--framing", options["--framing"]))
    if not kinds:
        raise ConfigError("--framing: it says how to show the bytes; add --hexdump, --text or --json")
    from .._framing_pair import native_framing
    from .looking import framing_of

    return native_framing(framing_of(word))


def _counted(reader: _native.CaptureReader, only: int | None) -> int:
    """Return the number of connections to be listed."""
    return sum(only in (None, one.number) for one in found(reader))


def _is_complained_of(reader: _native.CaptureReader, only: int | None) -> bool:
    """Return whether there is an error to be said of a file without such connections: no list belongs before it."""
    _, others, unknown = reader.counts()
    return bool(reader.fault() or others or unknown or only is not None)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
        raise ConfigError(f"--connection: {text!r} is not a number from 1 on; interpose inspect FILE lists them")
    return int(text)


def _read(name: str, reader: _native.CaptureReader, only: int | None, files: _Files | None, out: Lines) -> None:
    """Read a file, write its bytes into `files`, and what is shown of it."""

    def hand(events: list[Event]) -> None:
        for event in events:
            if files and only in (None, event[1]):
                files.take(event)
        if shown := reader.shown().decode():
            out.line(shown.removesuffix("\n"))

    with _opened(name) as file:
        try:
            while data := file.read(_AT_ONCE):
                hand(reader.feed(data))
                if reader.fault():
                    break
        except BrokenPipeError:
            raise
        except IsADirectoryError as error:
            raise ConfigError(f"{printable(name)}: it is a folder; give a file") from error
    hand(reader.finish())


@contextmanager
def _opened(name: str) -> Generator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb", buffering=0)  # noqa: SIM115 (its errors are other ones than those of reading)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        advice = "give a file that you may read" if isinstance(error, PermissionError) else "give a capture"
        raise ConfigError(printable(f"{name}: {what}; {advice}")) from error
    with file:
        yield file


class _Files:
    """Writes the bytes of each connection and direction into a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The file that was written last stays open: most events go where the one before went.
        self._last: tuple[Path, BinaryIO] | None = None
        self._begun: set[Path] = set()

    def take(self, event: Event) -> None:
        """Write the bytes of an event. Missing ones are left out."""
        _, number, kind, direction, _, data, _ = event
        if kind == "data" and data:
            path = self.folder / f"{number:04}-{direction}"
            if self._last is None or self._last[0] != path:
                self.close()
                mode = os.O_APPEND if path in self._begun else os.O_TRUNC
                self._last = (path, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | mode, 0o600), "wb"))
                self._begun.add(path)
            self._last[1].write(data)

    def close(self) -> None:
        """Close the file that is open."""
        if self._last:
            self._last[1].close()
            self._last = None


@contextmanager
def _extracting(folder: str | None) -> Generator[_Files | None]:
    if folder is None:
        yield None
        return
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        files = _Files(Path(folder))
        try:
            yield files
        finally:
            files.close()
    except BrokenPipeError:
        raise
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        advice = "give a folder that you may write to, on a disk with room"
        raise ConfigError(printable(f"--extract {folder}: {what}; {advice}")) from error


def found(reader: _native.CaptureReader) -> list[Found]:
    """Return the connections that were found so far."""
    return [Found(*one) for one in reader.connections()]


def _listed(reader: _native.CaptureReader, only: int | None) -> Iterator[str]:
    """Yield the list of connections."""
    rows = [("number", "began", "seconds", "client", "server", "to server", "to client", "end")]
    for one in found(reader):
        if only not in (None, one.number):
            continue
        began, last = one.times
        client = f"{one.client}" + (f" ({one.interface})" if one.interface == "upstream" else "")
        end = one.closed or one.ending
        missing = sum(one.missing)
        if missing:
            end += f", {missing} bytes are missing"
        counts = (str(one.bytes[0]), str(one.bytes[1]))
        seconds = f"{(last - began) / 1e9:.3f}"
        rows.append((str(one.number), clock(began), seconds, client, one.server, *counts, printable(end)))
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    for row in rows:
        # Numbers end below each other.
        cells = [
            cell.rjust(width) if column in (0, 2, 5, 6) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        yield "  ".join([*cells, row[7]])


def _judge(name: str, reader: _native.CaptureReader, only: int | None) -> int:
    """Say what was not read, and return the exit code."""
    shown = "standard input" if name == "-" else printable(name)
    packets, others, unknown = reader.counts()
    for link, count in unknown:
        kind = _LINKS.get(link, "a kind that is not known here")
        complain(f"{shown}: {_packets(count)} of link type {link} ({kind}) not read; open the file in Wireshark")
    if others and not reader.connections():
        complain(f"{shown}: {_packets(others)} without a TCP segment left out; only TCP is shown")
    if fault := reader.fault():
        place, why = fault
        before = f"; {packets} packet{'s' if packets > 1 else ''} before it were read" if packets else ""
        complain(f"{shown}: byte {place}: {why}{before}")
        return FAILED
    if only is not None and only > len(reader.connections()):
        count = len(reader.connections())
        has = f"it has 1 to {count}" if count > 1 else f"it has {count or 'none'}"
        complain(f"{shown}: there is no connection {only}; {has}; see interpose inspect {printable(name)}")
        return FAILED
    return OK


def _packets(count: int) -> str:
    return "1 packet was" if count == 1 else f"{count} packets were"
