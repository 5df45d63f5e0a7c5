"""Faults that concern clients before their bytes, and those of a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, cast

from ._checks import choice
from ._checks import seconds as duration
from ._exceptions import ConfigError, wrong_type
from ._fault import Fault
from ._fault_names import FAULT_ARGUMENTS
from ._names import names_checked

if TYPE_CHECKING:
    from ._fault import When

Down: TypeAlias = Literal["server", "link", "entrance"]
"""The part that is down while a Flap is down."""

_DOWN = ("server", "link", "entrance")
_MOST_TIMES = 1000


class ConnectConditions(TypedDict, total=False):
    """The conditions of a fault that concerns the connecting of an upstream: each connecting is an occurrence."""

    probability: float
    nth: int | None
    times: int | None
    only: Callable[[Any], object] | None


CONNECT_CONDITIONS = frozenset(ConnectConditions.__annotations__)


class RefuseConnect(Fault):
    """Refuses clients while it is in force: connecting fails with ECONNREFUSED. Connections that live go on.

    The port stays the server's. It takes no conditions, because nobody sees a client that is refused. On a socket that
    the process was started with (`fd:3`) it raises ConfigError when it is put in force.

    >>> import socket
    >>> from interpose import TheServer, faults
    >>> with TheServer("", 0, "127.0.0.1:7070") as server, server.fault(faults.RefuseConnect()):
    ...     try:
    ...         socket.create_connection(server.address)
    ...     except ConnectionRefusedError:
    ...         print("refused")
    refused
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, frozenset())
    def __init__(self) -> None:
        self._made("refuse_connect", {})

    @property
    def _begins(self) -> bool:
        return False


class SlowConnect(Fault):
    """Connects the upstream `delay` seconds later: the client is connected, and nobody answers it before.

    Where connecting has a limit (Forward's `connect_timeout`) and the delay is longer, it fails at that limit.

    >>> from interpose import faults
    >>> faults.SlowConnect(0.5, nth=2)
    faults.SlowConnect(delay=0.5, nth=2)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, CONNECT_CONDITIONS)
    def __init__(self, delay: float, **when: Unpack[ConnectConditions]) -> None:
        seconds = (duration("delay", delay, zero=True), 0.0)
        self._made("slow_connect", cast("When", when), given={"delay": delay}, seconds=seconds)

    @property
    def _begins(self) -> bool:
        return False


class Flap(Fault):
    """Goes up and down by a schedule, from the time on at which it was put in force.

    * `schedule`: seconds that it is up and down, by turns, and then from the beginning again: `[1.0, 0.5]`. A number
      alone is both.
    * `down`: what is down. `"server"`: clients are refused, and connections are reset when it goes down. `"link"`:
      bytes and ends stand still, and go on when it is up again; clients are accepted. `"entrance"`: clients are
      refused, and connections go on.

    Each outage that meets a direction of a connection is a strike, when it begins. What refuses clients raises
    ConfigError on a socket that the process was started with (`fd:3`), when it is put in force.

    >>> from interpose import faults
    >>> faults.Flap([1.0, 0.5], down="link")
    faults.Flap(schedule=[1.0, 0.5], down='link')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, frozenset())
    def __init__(self, schedule: float | Iterable[float], down: Down = "server") -> None:
        word, times = choice("down", down, _DOWN), _times(schedule)
        given: dict[str, object] = {"schedule": times if isinstance(schedule, Iterable) else schedule}
        given.update({"down": down} if down != "server" else {})
        self._made("flap", {}, given=given, schedule=times, word=word)

    @property
    def _begins(self) -> bool:
        return False


def _times(schedule: object) -> list[float]:
    """Return the times of a schedule."""
    if isinstance(schedule, (int, float)) and not isinstance(schedule, bool):
        schedule = [schedule, schedule]
    if isinstance(schedule, (str, bytes)) or not isinstance(schedule, Iterable):
        raise wrong_type("schedule", schedule, "a list of seconds", "write [1.0, 0.5]: 1 s up, then 0.5 s down")
    times = [duration("schedule", time, zero=True) for time in cast("Iterable[object]", schedule)]
    if not times or len(times) % 2 or not any(times) or len(times) > _MOST_TIMES:
        advice = f"give times that it is up and down, by turns, at most {_MOST_TIMES}: [1.0, 0.5]"
        raise ConfigError(f"schedule: {times!r:.80} has {len(times)} times; {advice}")
    return times
