"""A client as the table sees it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

# The answer to a long question has this name for a number.
LONG_NUMBER = 0


def question_of(number: int) -> str:
    """Return a text with the mark in its middle."""
    return f"k-MARK-{number}"


def answer_of(number: int) -> str:
    """Return the text that a server answers with."""
    from .trouble import LONG

    return f"v-MARK-{number}" if number != LONG_NUMBER else "x" * LONG


class Subject(ABC):
    """A client with its limits set, which connects with its first question. One thread calls it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    @abstractmethod
    def ask(self, number: int) -> str:
        """Ask, and return what has come as the answer."""

    def wait_ready(self) -> None:
        """Wait, for some limits at most, until it says that it is connected again, if it connects by itself."""
        return

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""


class AsyncSubject(Subject):
    """A client of asyncio."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._runner = asyncio.Runner()

    @abstractmethod
    async def answered(self, number: int) -> str:
        """Do what ask() does."""

    @abstractmethod
    async def left(self) -> None:
        """Do what close() does."""

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it on the client's own loop."""
        return self._runner.run(work)

    def ask(self, number: int) -> str:
        text: str = self.run(self.answered(number))
        return text

    def close(self) -> None:
        with self._runner:
            self.run(self.left())
