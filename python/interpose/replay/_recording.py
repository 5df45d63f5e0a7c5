"""A record that is read: its header and its conversations."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from .._exceptions import ConfigError, RecordError, printable, wrong_type
from .._recording import VERSION
from ._conversation import Conversation, Direction, Event

_HOW = "record it with interpose record LISTEN TARGET FILE, or with proxy.record(path)"
_Kind = TypeVar("_Kind")


@dataclass(slots=True)
class _Open:
    """A conversation that is being read."""

    number: int
    fields: dict[str, Any]
    events: list[Event] = field(default_factory=list[Event])

    def made(self) -> Conversation:
        return Conversation(self.number, events=tuple(self.events), **self.fields)


class Recording:
    """A record: the conversations that were recorded, in the order in which their clients were accepted.

    `Recording.load(path)` reads one. Two are equal if their conversations are: bytes, order and ends, but not times,
    addresses and the cuts between reads.

    >>> import tempfile
    >>> from interpose.replay import Recording
    >>> from interpose.testing import Proxy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Proxy("127.0.0.1:7070") as proxy:
    ...         proxy.record(f"{folder}/session.jsonl")
    ...     len(Recording.load(f"{folder}/session.jsonl").conversations)
    <Undo>
    0
    """

    def __init__(self, conversations: tuple[Conversation, ...], *, name: str = "", framing: str | None = None) -> None:
        self.conversations: tuple[Conversation, ...] = conversations
        """The conversations, in the order in which their clients were accepted."""
        self.name: str = name
        """The path that it was read from."""
        self.framing: str | None = framing
        """The name of the framing that cut it into messages; None for chunks."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a record. Raises ConfigError for a file that cannot be read, and RecordError for one that is broken."""
        if not isinstance(path, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong_type("path", path, "a path", 'give one such as "session.jsonl"')
        name = os.fspath(path)
        return _Reader(name, _read(name)).read()

    def __iter__(self) -> Iterator[Conversation]:
        return iter(self.conversations)

    def __len__(self) -> int:
        return len(self.conversations)

    def __eq__(self, other: object) -> bool:
        return self.conversations == other.conversations if isinstance(other, Recording) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.conversations)

    def __repr__(self) -> str:
        return f"<Recording of {len(self)} conversation{'' if len(self) == 1 else 's'}>"


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        what = (getattr(error, "strerror", None) or str(error)).lower()
        advice = "give a file that you may read" if isinstance(error, PermissionError) else f"give a record; {_HOW}"
        if isinstance(error, IsADirectoryError):
            advice = "give a file, not a folder"
        raise ConfigError(printable(f"record {name}: {what}; {advice}")) from error


class _Reader:
    """Reads the lines of one file."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data
        self._line = 1
        # By the number of the listener as well, if the record has one.
        self._open: dict[tuple[int, int], _Open] = {}
        self._found: list[_Open] = []
        self._at = 0.0

    def read(self) -> Recording:
        if not self._data:
            raise RecordError(printable(f"record {self._name}: it is empty; {_HOW}"))
        lines = self._data.split(b"\n")
        header = self._header(lines[0])
        if lines.pop():
            self._line = len(lines) + 1
            self._refuse("it is cut off in the middle; record it again")
        for self._line, line in enumerate(lines[1:], 2):
            if line.strip():
                self._take(self._object(line))
        conversations = tuple(one.made() for one in self._found)
        return Recording(conversations, name=self._name, framing=header.get("framing"))

    def _header(self, line: bytes) -> dict[str, Any]:
        try:
            found = self._object(line)
        except RecordError:
            found = {}
        if found.get("interpose") != "record":
            self._refuse(f"it has no header, so it is no record; {_HOW}")
        version = found.get("version")
        if version != VERSION:
            self._refuse(f"it has version {version!r}, and this interpose reads {VERSION}; record it again")
        return found

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError as error:
            place = f" from character {error.pos + 1} on" if isinstance(error, json.JSONDecodeError) else ""
            self._refuse(f"it is no JSON{place}; record it again")
        if not isinstance(found, dict):
            self._refuse("it is no object of JSON; record it again")
        return cast("dict[str, Any]", found)

    def _take(self, line: dict[str, Any]) -> None:
        event, number = self._value(line, "event", str), self._value(line, "connection", int)
        key = (self._value({"listener": 1, **line}, "listener", int), number)
        self._at = self._time(line)
        if event == "missed":
            events, size = line.get("events", "some"), line.get("bytes", "some")
            self._refuse(
                f"{events} events with {size} bytes were left out here, because they came faster than they could be "
                "written; record again, onto a faster disk, or less at once"
            )
        if event == "open":
            if key in self._open:
                self._refuse(f"connection {number} is opened twice; record it again")
            client, changed = line.get("client"), line.get("changed") is True
            made = _Open(number, {"client": client, "line": self._line, "began": self._at, "changed": changed})
            self._open[key] = made
            self._found.append(made)
            return
        if key not in self._open:
            self._refuse(f"connection {number} has no open before its {printable(event)}; record it again")
        self._follow(self._open[key], event, line)

    def _follow(self, one: _Open, event: str, line: dict[str, Any]) -> None:
        """Take an event of a connection that was opened before."""
        if "closed" in one.fields:
            self._refuse(f"connection {one.number} is closed before this; record it again")
        if event == "connect":
            one.fields["upstream"] = line.get("upstream")
        elif event == "close":
            one.fields.update(closed=self._at, reason=self._value(line, "reason", str))
        elif event in ("data", "end"):
            direction = self._value(line, "direction", str)
            if direction not in ("to_upstream", "to_client"):
                self._refuse(f"there is no direction {direction!r}; there are to_upstream and to_client")
            way: Direction = "to_upstream" if direction == "to_upstream" else "to_client"
            data, is_out = self._bytes(line) if event == "data" else b"", line.get("place") == "out"
            one.events.append(Event(self._at, self._line, way, data, event == "end", is_out))
        elif event != "fault":
            self._refuse(f"there is no event {event!r}; record it again")

    def _bytes(self, line: dict[str, Any]) -> bytes:
        if "text" in line:
            return self._value(line, "text", str).encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(self._value(line, "base64", str), validate=True)
        except (binascii.Error, ValueError) as error:
            if isinstance(error, RecordError):
                raise
            self._refuse("its base64 is broken; record it again")

    def _time(self, line: dict[str, Any]) -> float:
        if "time" not in line:
            return self._at
        try:
            return datetime.fromisoformat(self._value(line, "time", str)).timestamp()
        except ValueError as error:
            if isinstance(error, RecordError):
                raise
            self._refuse(f"{line['time']!r} is no time; write one such as 2026-01-31T12:00:00.000000Z")

    def _value(self, line: dict[str, Any], name: str, kind: type[_Kind]) -> _Kind:
        value = line.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            what = f"its {name} is missing" if value is None else f"its {name} is {value!r}"
            self._refuse(f"{what}, which is to be {'a number' if kind is int else 'a text'}; record it again")
        return value

    def _refuse(self, why: str) -> NoReturn:
        raise RecordError(printable(f"record {self._name}: line {self._line}: {why}"))


def playable(recording: object) -> Recording:
    """Return a record that has something to be played; a path is read. Raises RecordError and what load() raises."""
    found = recording if isinstance(recording, Recording) else Recording.load(cast("str", recording))
    if not found.conversations:
        name = f" {found.name}" if found.name else ""
        raise RecordError(
            printable(
                f"record{name}: it has no connection, so there is nothing to replay; "
                "record again while a client connects"
            )
        )
    return found
