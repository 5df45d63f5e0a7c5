"""What the log says about callbacks, as it comes."""

from __future__ import annotations

import logging

import pytest

from .deadline import poll


class CallbackLog:
    """The records of `interpose.callback`, from whatever thread."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def lines(self, *words: str, level: int = logging.WARNING) -> list[str]:
        """Return the messages of `level` and above that have all of `words`."""
        records = [one for one in self._caplog.records if one.name == "interpose.callback" and one.levelno >= level]
        texts = [record.getMessage() for record in records]
        return [text for text in texts if all(word in text for word in words)]

    def wait(self, *words: str, seconds: float = 10.0) -> str:
        """Wait for the first such message."""
        return poll(lambda: self.lines(*words), seconds, f"a message with {words}: {self.lines()}")[0]
