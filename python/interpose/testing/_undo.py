"""The end of something that was begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Undo:
    """The end of something that was begun: with `with`, or never.

    >>> from interpose.testing import Proxy
    >>> with Proxy("127.0.0.1:7070") as proxy:
    ...     with proxy.refuse():
    ...         print(proxy.server.is_listening)
    ...     print(proxy.server.is_listening)
    False
    True
    """

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo = undo

    def __enter__(self) -> None:
        """Do nothing more."""

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._undo()

    def __repr__(self) -> str:
        return "<Undo>"
