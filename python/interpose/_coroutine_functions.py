"""The difference between coroutine functions and plain ones."""

from __future__ import annotations

import inspect


def is_async(callback: object) -> bool:
    """Return whether a callback is a coroutine function, also as a partial, a bound method or an object's `__call__`.

    Not what a wrapper wraps: that may run the coroutine itself.
    """
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(called_of(callback))


def called_of(callback: object) -> object:
    """Return what is called when an object is called, if it has that."""
    return getattr(callback, "__call__", None)  # noqa: B004
