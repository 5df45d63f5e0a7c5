"""The native stages by which a proxy records what passes, and holds it up."""

from __future__ import annotations

from .. import _native
from .._filter import Filter


class Recording(Filter):
    """Records what passes in memory."""

    __slots__ = ("transcript",)

    def __init__(self, most: int) -> None:
        self.transcript = _native.Transcript(most)
        self._made(self.transcript.filter(), None)


class Gates(Filter):
    """Holds up what passes while a direction is shut."""

    __slots__ = ("native",)
    _looks = False

    def __init__(self) -> None:
        self.native = _native.Gate()
        self._made(self.native.filter(), None)
