"""Replays of a test, made one by one and left together."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ._masks import Mask
from ._recording import Recording
from ._server import SECONDS, Match, Replay, Timing, serve


class ReplayFactory:
    """Plays records to the client of a test: the fixture `tcp_replay` is one. close() ends all.

    >>> from interpose.replay import ReplayFactory
    >>> make = ReplayFactory()
    >>> make.close()
    >>> make.replays
    []
    """

    def __init__(self) -> None:
        self.replays: list[Replay] = []
        """The replays that were made, in order."""
        self._deferred: list[Replay] = []

    def __call__(
        self,
        recording: Recording | str | os.PathLike[str],
        *,
        host: str = "",
        port: int = 0,
        match: Match = "order",
        timing: Timing = "lockstep",
        mask: Mask | Iterable[Mask] = (),
        timeout: float = SECONDS,
        expect_all: bool = True,
    ) -> Replay:
        """Return a replay, which listens already. The arguments are those of serve()."""
        made = serve(
            recording,
            host=host,
            port=port,
            match=match,
            timing=timing,
            mask=mask,
            timeout=timeout,
            expect_all=expect_all,
        )
        self.replays.append(made)
        return made

    def check(self, *, has_failed: bool = False) -> None:
        """Raise ReplayError for what went on otherwise, at the end of a test. With `has_failed` only of what was sent.

        A connection that is open and not played to its end may still be, by what closes the client: check_deferred().
        """
        __tracebackhide__ = True
        self._deferred = []
        for one in self.replays:
            if has_failed or one.settle():
                if not has_failed:
                    one.stop()
                one.check()
            else:
                self._deferred.append(one)

    def check_deferred(self) -> None:
        """Raise ReplayError for what check() has left for later."""
        __tracebackhide__ = True
        for one in self._deferred:
            one.check()

    def close(self) -> None:
        """End all replays."""
        for one in self.replays:
            one.stop()
