"""The faults that the clients meet, by the words of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from interpose import Side, faults
from interpose.faults import Actions, Fault

# The time limit that each client has been set, in seconds.
LIMIT = 0.4
# In the middle of each question, and of each answer.
MARK = b"MARK"
# The bytes of a long answer, and the rate at which it takes two limits.
LONG = 40_000
RATE = LONG / LIMIT / 2


@dataclass(frozen=True)
class Trouble:
    """A fault that a client meets."""

    label: str
    make: Callable[[], Fault] | None = None
    # For a long answer.
    is_long: bool = False
    # It strikes between two questions.
    is_idle: bool = False
    # The client has not connected before.
    is_first: bool = False
    # It strikes on a connection that lives, and counts that. A client that is refused has none.
    is_counted: bool = True


class Made(Protocol):
    """Makes a fault with conditions."""

    def __call__(self, *, on_match: bytes, times: int, direction: faults.Direction) -> Fault: ...


def _cut_by(how: faults.How) -> Made:
    def made(*, on_match: bytes, times: int, direction: faults.Direction) -> Fault:
        return faults.Cut(how=how, on_match=on_match, times=times, direction=direction)

    return made


def _shortened(*, on_match: bytes, times: int, direction: faults.Direction) -> Fault:
    return faults.Truncate(2, on_match=on_match, times=times, direction=direction)


class Stuttering(faults.Scripted):
    """Sends an answer in pieces, with pauses between them that are shorter than the limit, and together longer."""

    def on_data(self, side: Side, data: bytes, actions: Actions) -> None:
        del side
        third = max(1, len(data) // 3)
        actions.send(data[:third])
        actions.wait(0.85 * LIMIT)
        actions.send(data[third : 2 * third])
        actions.wait(0.85 * LIMIT)
        actions.send(data[2 * third :])


class HalfAndReset(faults.Scripted):
    """Sends the first half of a message, and resets the connection behind it."""

    def on_data(self, side: Side, data: bytes, actions: Actions) -> None:
        del side
        actions.send(data[: len(data) // 2])
        actions.reset()


def _half_and_reset(*, on_match: bytes, times: int, direction: faults.Direction) -> Fault:
    return HalfAndReset(on_match=on_match, times=times, direction=direction)


def _down(seconds: float, down: faults.Down) -> Trouble:
    """Return a flap that is down from the question on, once."""
    label = {"server": "the server flaps", "link": "the link flaps", "entrance": "the entrance flaps"}[down]
    label += ", for too long" if seconds > LIMIT else ""
    return Trouble(label, lambda: faults.Flap([0, seconds, 60, 0], down=down), is_counted=False)


def _both_ways(label: str, make: Made) -> list[Trouble]:
    """Return the fault in the middle of an answer, and in the middle of a question."""
    return [
        Trouble(f"{label}, answer", lambda: make(on_match=MARK, times=1, direction="to_client")),
        Trouble(f"{label}, question", lambda: make(on_match=MARK, times=1, direction="to_upstream")),
    ]


TROUBLES: list[Trouble] = [
    Trouble("refused", is_first=True),
    Trouble("refused by a fault", faults.RefuseConnect, is_first=True, is_counted=False),
    Trouble("refused while connected", faults.RefuseConnect, is_counted=False),
    Trouble("connected late", lambda: faults.SlowConnect(LIMIT / 2), is_first=True),
    Trouble("connected too late", lambda: faults.SlowConnect(1.5 * LIMIT), is_first=True),
    _down(LIMIT / 2, "server"),
    _down(LIMIT / 2, "link"),
    _down(1.5 * LIMIT, "link"),
    _down(LIMIT / 2, "entrance"),
    Trouble("closed when idle", lambda: faults.CloseAfter(0.02, on_match=MARK, times=1), is_idle=True),
    Trouble("a little late", lambda: faults.Latency(0.01, jitter=0.005)),
    Trouble("too late", lambda: faults.Latency(1.5 * LIMIT, direction="to_client")),
    Trouble("narrow", lambda: faults.Bandwidth(RATE, burst=1000, direction="to_client"), is_long=True),
    Trouble("stuttering", lambda: Stuttering(on_match=MARK, times=1, direction="to_client")),
    Trouble("byte by byte", lambda: faults.Slicer(1)),
    *_both_ways("cut by FIN", _cut_by("fin")),
    *_both_ways("cut by RST", _cut_by("reset")),
    *_both_ways("half, and a reset", _half_and_reset),
    *_both_ways("cut by silence", _cut_by("stall")),
    *_both_ways("stalled", faults.Stall),
    *_both_ways("swallowed", faults.Blackhole),
    *_both_ways("half-closed", faults.HalfClose),
    *_both_ways("a bit flipped", faults.Corrupt),
    *_both_ways("doubled", faults.Duplicate),
    *_both_ways("shortened", _shortened),
    *_both_ways("left out", faults.Drop),
]
