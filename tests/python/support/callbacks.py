"""Callbacks that many tests use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interpose import Connection, Side

from .deadline import poll


def from_data(answer: Callable[[bytes], Any]) -> Callable[[Side, bytes], Any]:
    """Return a callback that answers a chunk by its bytes alone."""
    return lambda _, data: answer(data)


def without_arguments(answer: Callable[[], Any]) -> Callable[..., Any]:
    """Return a callback that does not look at what it is called with."""
    return lambda *_: answer()


def upper(side: Side, data: bytes) -> bytes:
    """Answer with the chunk in capitals."""
    return data.upper()


class CloseRecorder:
    """An on_close that keeps what it was called with."""

    def __init__(self) -> None:
        self.all: list[Connection] = []

    def __call__(self, conn: Connection) -> None:
        self.all.append(conn)

    def wait(self, count: int = 1) -> Connection:
        """Wait until `count` connections have ended; return the first."""
        poll(lambda: len(self.all) >= count, 10.0, f"{count} ends were told, not {len(self.all)}")
        assert len(self.all) == count
        return self.all[0]
