"""A server's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._checks import count, optional_seconds
from ._names import LIMITS_ARGUMENTS, TIMEOUTS_ARGUMENTS, names_checked


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection may stay without progress. Seconds; None is no limit.

    * `half_close`: after one direction has ended, how long the other may stand still.
    * `idle`: how long both directions may stand still. None by default, because a relay cannot know what
      silence means.
    * `unacknowledged`: how long sent bytes may stay unacknowledged, or wait for a peer that does not read.

    Raises ArgumentTypeError for what is no number and ConfigError for NaN, a negative number, less than a
    millisecond or more than 1,000,000,000 seconds.

    >>> from interpose import Timeouts
    >>> Timeouts(idle=300)
    Timeouts(half_close=120.0, idle=300.0, unacknowledged=None)
    """

    half_close: float | None = 120.0
    idle: float | None = None
    unacknowledged: float | None = None

    def __post_init__(self) -> None:
        for name in ("half_close", "idle", "unacknowledged"):
            object.__setattr__(self, name, optional_seconds(name, getattr(self, name)))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server may take.

    * `max_connections`: connections at once; more wait in the listener's backlog. None is half of the
      descriptors that this process may open, less a reserve, and at most 10,000.

    Raises ArgumentTypeError for what is no int and ConfigError for less than 1 or more than 2,147,483,647.

    >>> from interpose import Limits
    >>> Limits(max_connections=500)
    Limits(max_connections=500)
    """

    max_connections: int | None = None

    def __post_init__(self) -> None:
        if self.max_connections is not None:
            count("max_connections", self.max_connections, 1)


_kinds: dict[Any, dict[str, str]] = {Timeouts: TIMEOUTS_ARGUMENTS, Limits: LIMITS_ARGUMENTS}
for _kind, _others in _kinds.items():
    _kind.__init__ = names_checked(_others)(_kind.__init__)
