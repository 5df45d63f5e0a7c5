"""Waiting for a condition with a bound: the only way tests here wait for another process or thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def poll(condition: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """Return the first true value of *condition*; fail the test when there is none within *seconds*."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.005)
