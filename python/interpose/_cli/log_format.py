"""The forms of the command's log lines: as people read them, with time and level, and as JSON."""

from __future__ import annotations

import logging
import os
import re
from typing import TextIO

ACCESS = "interpose.access"
REPORTS = "interpose.report"
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
# The levels of syslog, which the journal reads at the beginning of a line.
_JOURNAL = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class Plain(logging.Formatter):
    """A line as `interpose: message`."""

    def __init__(self, before: str = "interpose: ") -> None:
        super().__init__(f"{before}%(message)s")


class Journal(Plain):
    """A plain line with its level before it, for systemd's journal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, each with its level."""
        level = _JOURNAL.get(record.levelno, 6)
        return "\n".join(f"<{level}>{line}" for line in super().format(record).splitlines())


class Text(logging.Formatter):
    """A line with time and level: `2026-01-31T09:30:00.123Z warning message`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        return f"{_time_of(record)} {record.levelname.lower()} {super().format(record)}"


class Json(logging.Formatter):
    """A line as a JSON object. One of the access log has its values as keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's object."""
        import json

        found: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        if record.name == ACCESS:
            found["message"] = "connection ended"
            found |= {key: _value_of(key, text) for key, text in _PAIR.findall(record.getMessage())}
        return json.dumps(found, ensure_ascii=False)


def formatter(name: str, stream: TextIO | None) -> logging.Formatter:
    """Return the formatter of `--log-format`, for lines on `stream`."""
    if name == "text":
        return Text()
    if name == "json":
        return Json()
    return Journal() if _is_journal(stream) else Plain()


def _is_journal(stream: TextIO | None) -> bool:
    """Return whether `stream` leads to systemd's journal, which then says so."""
    try:
        found = os.fstat(stream.fileno()) if stream else None
    except (OSError, ValueError):
        return False
    return found is not None and os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _time_of(record: logging.LogRecord) -> str:
    # Only where it is needed: it takes time.
    from datetime import UTC, datetime

    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value_of(key: str, text: str) -> object:
    if key in ("id", "to_upstream", "to_client"):
        return int(text)
    if key == "seconds":
        return float(text)
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
